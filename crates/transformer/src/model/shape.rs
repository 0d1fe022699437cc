//! The shape of a transformer.

use serde::{Deserialize, Serialize};

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

/// Added to the variance in every norm.
pub(crate) const NORM_EPS: f64 = 1e-5;

/// Everything that fixes the names and shapes of the parameters, with nanoGPT's names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl Architecture {
    /// Width of one head.
    pub fn head_width(&self) -> usize {
        self.n_embd / self.n_head
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
            if self.norm == Norm::LayerNorm {
                all.push((format!("{name}.b"), vec![d]));
            }
        };
        for (layer, width) in self.mlp_widths.iter().enumerate() {
            let block = |name: &str| format!("blocks.{layer}.{name}");
            norm(&mut all, &block("ln1"));
            all.push((block("attn.W_QKV"), vec![d, 3 * d]));
            all.push((block("attn.b_QKV"), vec![3 * d]));
            all.push((block("attn.W_O"), vec![d, d]));
            all.push((block("attn.b_O"), vec![d]));
            norm(&mut all, &block("ln2"));
            all.push((block("mlp.W_in"), vec![d, *width]));
            all.push((block("mlp.b_in"), vec![*width]));
            all.push((block("mlp.W_out"), vec![*width, d]));
            all.push((block("mlp.b_out"), vec![d]));
        }
        norm(&mut all, "ln_final");
        all.sort();
        all
    }
}
