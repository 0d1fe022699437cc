//! What a model from disk is.

/// The families of decoders that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Llama and those of its shape: RMS norm, rotary positions, gated MLP.
    Llama,
    /// Llama with biases at queries, keys and values.
    Qwen2,
    /// Layer norm, learned positions, GELU.
    Gpt2,
    /// Attention and MLP side by side, rotary positions in a part of each head.
    GptNeoX,
    /// GPT-2 with attention to a window in some blocks, and without a scale.
    GptNeo,
}

impl Family {
    /// All of them, with their names in `config.json`.
    pub const ALL: [(&'static str, Self); 5] = [
        ("llama", Self::Llama),
        ("qwen2", Self::Qwen2),
        ("gpt2", Self::Gpt2),
        ("gpt_neox", Self::GptNeoX),
        ("gpt_neo", Self::GptNeo),
    ];

    /// The name in `config.json`.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, family)| *family == self).map_or("", |(name, _)| name)
    }

    /// Whether the MLPs are gated, norms have no bias and positions are rotary.
    pub fn gated(self) -> bool {
        matches!(self, Self::Llama | Self::Qwen2)
    }
}

/// A matrix of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Projection {
    /// Queries.
    Q,
    /// Keys.
    K,
    /// Values.
    V,
    /// Out of the heads.
    O,
    /// The gate of a gated MLP.
    Gate,
    /// Into the MLP.
    Up,
    /// Out of the MLP.
    Down,
}

impl Projection {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Q, Self::K, Self::V, Self::O, Self::Gate, Self::Up, Self::Down];

    /// The name in parameters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q => "q",
            Self::K => "k",
            Self::V => "v",
            Self::O => "o",
            Self::Gate => "gate",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// Everything that fixes what a model computes and the shapes of its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// The family.
    pub family: Family,
    /// Blocks.
    pub n_layer: usize,
    /// Heads of queries.
    pub n_head: usize,
    /// Heads of keys and values.
    pub n_kv_head: usize,
    /// Width of a head.
    pub head_width: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Neurons of an MLP.
    pub d_mlp: usize,
    /// Tokens of the vocabulary.
    pub vocab_size: usize,
    /// Most tokens of a context.
    pub context: usize,
    /// ε of the norms.
    pub norm_eps: f64,
    /// The base of the rotary angles.
    pub rope_theta: f64,
    /// Channels of a head that are turned.
    pub rotary_width: usize,
    /// Whether attention and MLP read the same stream.
    pub parallel: bool,
    /// Whether the unembedding is the embedding.
    pub tied: bool,
    /// The tokens that each block attends to at most; none for all.
    pub windows: Vec<Option<usize>>,
}

impl Shape {
    /// Inputs and outputs of a projection; none where the family does not have it.
    pub fn projection(&self, projection: Projection) -> Option<(usize, usize)> {
        let Self { n_embd: d, d_mlp, head_width, .. } = *self;
        Some(match projection {
            Projection::Q => (d, self.n_head * head_width),
            Projection::K | Projection::V => (d, self.n_kv_head * head_width),
            Projection::O => (self.n_head * head_width, d),
            Projection::Gate if !self.family.gated() => return None,
            Projection::Gate | Projection::Up => (d, d_mlp),
            Projection::Down => (d_mlp, d),
        })
    }

    /// The projections into the MLPs.
    pub(crate) fn of_mlp_input(&self) -> &'static [Projection] {
        if self.family.gated() { &[Projection::Gate, Projection::Up] } else { &[Projection::Up] }
    }

    /// Whether a projection has a bias.
    pub fn has_bias(&self, projection: Projection) -> bool {
        use Projection::{K, Q, V};
        match self.family {
            Family::Llama => false,
            Family::Qwen2 => matches!(projection, Q | K | V),
            Family::GptNeo => !matches!(projection, Q | K | V),
            Family::Gpt2 | Family::GptNeoX => true,
        }
    }

    /// Refuses sizes that no file has.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (what, size, most) in [
            ("blocks", self.n_layer, 1 << 10),
            ("heads", self.n_head, 1 << 12),
            ("key-value heads", self.n_kv_head, 1 << 12),
            ("channels of a head", self.head_width, 1 << 12),
            ("channels", self.n_embd, 1 << 17),
            ("neurons", self.d_mlp, 1 << 20),
            ("tokens of the vocabulary", self.vocab_size, 1 << 24),
            ("tokens of a context", self.context, 1 << 24),
        ] {
            if size == 0 || size > most {
                return Err(format!("it says {size} {what}, between 1 and {most} can be used"));
            }
        }
        if !self.n_head.is_multiple_of(self.n_kv_head) {
            return Err(format!("{} heads cannot share {} key-value heads", self.n_head, self.n_kv_head));
        }
        if !self.rotary_width.is_multiple_of(2) || self.rotary_width > self.head_width {
            return Err(format!("it turns {} of {} channels", self.rotary_width, self.head_width));
        }
        if self.windows.len() != self.n_layer || self.windows.contains(&Some(0)) {
            return Err(format!("it says no window for each of {} blocks", self.n_layer));
        }
        if !(self.norm_eps > 0.0 && self.norm_eps.is_finite() && self.rope_theta > 0.0) {
            return Err("its epsilon or rope_theta is no number above 0".to_owned());
        }
        Ok(())
    }
}
