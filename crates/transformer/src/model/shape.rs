//! The shape of a transformer.

use serde::{Deserialize, Serialize};

use crate::Error;

/// How a token's position enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// A learned vector for each place, added to the embedding.
    Learned,
    /// Queries and keys are turned by an angle that grows with the place (Su et al. 2021).
    Rotary,
}

/// The normalisation before each block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// (x − mean) / √(variance + ε) · w + b.
    LayerNorm,
    /// x / √(mean of x² + ε) · w.
    RmsNorm,
}

/// What a neuron of an MLP does with its input h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// h · (1 + tanh(√(2/π) · (h + 0.044715 h³))) / 2, as in GPT-2 and GPT-Neo.
    #[default]
    GeluTanh,
    /// h · Φ(h) with the normal distribution's Φ, as in Pythia. The fused passes do not compute it.
    Gelu,
    /// h · σ(h). The fused passes do not compute it.
    Silu,
}

/// Everything that fixes what a network computes and the names and shapes of its parameters, with nanoGPT's names.
///
/// What the saved form of older networks lacks has a default, and is not written where it has that value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Architecture {
    /// Blocks.
    pub n_layer: usize,
    /// Attention heads of a block.
    pub n_head: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Neurons of each block's MLP; one entry a block, since expansion widens some of them.
    pub mlp_widths: Vec<usize>,
    /// Most tokens of a context.
    pub block_size: usize,
    /// Tokens of the vocabulary.
    pub vocab_size: usize,
    /// How a token's position enters.
    pub position: Position,
    /// The normalisation.
    pub norm: Norm,
    /// Whether the unembedding is the embedding.
    pub tied: bool,
    /// Heads of keys and values of a block, each for as many heads of queries as every other; `None` for one each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_kv_head: Option<usize>,
    /// ε, which every norm adds to the variance.
    #[serde(default = "norm_eps", skip_serializing_if = "is_norm_eps")]
    pub norm_eps: f64,
    /// What the neurons compute.
    #[serde(default, skip_serializing_if = "is_default")]
    pub activation: Activation,
    /// Whether matrices and layer norms have biases.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub bias: bool,
}

fn norm_eps() -> f64 {
    1e-5
}

#[expect(clippy::float_cmp, reason = "only the very number is left out")]
#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_norm_eps(eps: &f64) -> bool {
    *eps == norm_eps()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_yes(value: &bool) -> bool {
    *value
}

impl Default for Architecture {
    /// The smallest network: one block with one head of width 2, one neuron and one token.
    fn default() -> Self {
        Self {
            n_layer: 1,
            n_head: 1,
            n_embd: 2,
            mlp_widths: vec![1],
            block_size: 1,
            vocab_size: 1,
            position: Position::Learned,
            norm: Norm::LayerNorm,
            tied: true,
            n_kv_head: None,
            norm_eps: norm_eps(),
            activation: Activation::default(),
            bias: true,
        }
    }
}

impl Architecture {
    /// Width of one head.
    pub fn head_width(&self) -> usize {
        self.n_embd / self.n_head
    }

    /// Heads of keys and values.
    pub fn kv_heads(&self) -> usize {
        self.n_kv_head.unwrap_or(self.n_head)
    }

    /// Queries, keys and values of a token: what `attn.W_QKV` gives, in this order, each head after head.
    pub fn qkv_width(&self) -> usize {
        (self.n_head + 2 * self.kv_heads()) * self.head_width()
    }

    /// Refuses sizes of which no network can be made.
    ///
    /// # Errors
    /// [`Error::Architecture`] with the field and what it has to be.
    pub fn check(&self) -> Result<(), Error> {
        let fault = |fault: String| Err(Error::Architecture(fault));
        let Self { n_layer, n_head, n_embd, .. } = self;
        if self.mlp_widths.len() != *n_layer {
            let found = self.mlp_widths.len();
            return fault(format!(
                "mlp_widths must have one entry for each of {n_layer} blocks, has {found}"
            ));
        }
        if *n_head == 0 || *n_embd == 0 || !n_embd.is_multiple_of(*n_head) {
            return fault(format!("n_embd must be a multiple of n_head ({n_head}), is {n_embd}"));
        }
        if self.position == Position::Rotary && !self.head_width().is_multiple_of(2) {
            return fault(format!("rotary heads must have an even width, have {}", self.head_width()));
        }
        let kv_heads = self.kv_heads();
        if kv_heads == 0 || !n_head.is_multiple_of(kv_heads) {
            return fault(format!("n_kv_head must divide n_head ({n_head}), is {kv_heads}"));
        }
        if !(self.norm_eps > 0.0 && self.norm_eps.is_finite()) {
            return fault(format!("norm_eps must be above 0, is {}", self.norm_eps));
        }
        Ok(())
    }

    /// The same with `extra` more neurons in the MLPs of `layers`.
    #[must_use]
    pub fn expanded(&self, layers: &[usize], extra: usize) -> Self {
        let mut wider = self.clone();
        for layer in layers {
            wider.mlp_widths[*layer] += extra;
        }
        wider
    }

    /// The name of the unembedding, whose rows are the unembedding vectors.
    pub fn unembedding(&self) -> &'static str {
        if self.tied { "embed.W_E" } else { "unembed.W_U" }
    }

    /// Name and shape of every parameter.
    ///
    /// # Shapes
    /// Weights are (inputs, outputs), so that `y = x · W + b`; `embed.W_E` and `unembed.W_U` are
    /// (vocabulary, width).
    pub fn parameters(&self) -> Vec<(String, Vec<usize>)> {
        let d = self.n_embd;
        let mut all = vec![("embed.W_E".to_owned(), vec![self.vocab_size, d])];
        if !self.tied {
            all.push(("unembed.W_U".to_owned(), vec![self.vocab_size, d]));
        }
        if self.position == Position::Learned {
            all.push(("pos_embed.W_pos".to_owned(), vec![self.block_size, d]));
        }
        let norm = |all: &mut Vec<(String, Vec<usize>)>, name: &str| {
            all.push((format!("{name}.w"), vec![d]));
            if self.norm == Norm::LayerNorm && self.bias {
                all.push((format!("{name}.b"), vec![d]));
            }
        };
        for (layer, width) in self.mlp_widths.iter().enumerate() {
            let block = |name: &str| format!("blocks.{layer}.{name}");
            norm(&mut all, &block("ln1"));
            norm(&mut all, &block("ln2"));
            let mut dense = |weight: &str, bias: &str, inputs: usize, outputs: usize| {
                all.push((block(weight), vec![inputs, outputs]));
                if self.bias {
                    all.push((block(bias), vec![outputs]));
                }
            };
            dense("attn.W_QKV", "attn.b_QKV", d, self.qkv_width());
            dense("attn.W_O", "attn.b_O", d, d);
            dense("mlp.W_in", "mlp.b_in", d, *width);
            dense("mlp.W_out", "mlp.b_out", *width, d);
        }
        norm(&mut all, "ln_final");
        all.sort();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_older_networks_lack_is_read_as_its_default_and_not_written() {
        let old = r#"{"n_layer":1,"n_head":2,"n_embd":4,"mlp_widths":[3],"block_size":5,"vocab_size":7,"position":"learned","norm":"layer_norm","tied":true}"#;
        let read: Architecture = serde_json::from_str(old).unwrap();
        assert_eq!((read.kv_heads(), read.norm_eps, read.activation), (2, 1e-5, Activation::GeluTanh));
        assert!(read.bias);
        assert_eq!(serde_json::to_string(&read).unwrap(), old);
        let new = Architecture { n_kv_head: Some(1), norm_eps: 1e-6, bias: false, ..read };
        let again: Architecture = serde_json::from_str(&serde_json::to_string(&new).unwrap()).unwrap();
        assert_eq!(again, new);
    }

    #[test]
    fn networks_that_cannot_be_made_are_refused() {
        let good = Architecture { n_head: 2, n_embd: 6, ..Architecture::default() };
        good.check().unwrap();
        for (bad, words) in [
            (Architecture { n_layer: 2, ..good.clone() }, "mlp_widths must have one entry for each of 2"),
            (Architecture { n_head: 0, ..good.clone() }, "n_embd must be a multiple of n_head (0)"),
            (Architecture { n_head: 4, ..good.clone() }, "n_embd must be a multiple of n_head (4), is 6"),
            (Architecture { position: Position::Rotary, ..good.clone() }, "an even width, have 3"),
            (Architecture { n_kv_head: Some(3), ..good.clone() }, "n_kv_head must divide n_head (2), is 3"),
            (Architecture { n_kv_head: Some(0), ..good.clone() }, "n_kv_head must divide n_head (2), is 0"),
            (Architecture { norm_eps: f64::NAN, ..good.clone() }, "norm_eps must be above 0"),
        ] {
            let error = bad.check().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
