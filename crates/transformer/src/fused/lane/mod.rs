//! What one thread works with: activations of some sequences, and the gradient it adds up.

mod backward;
mod gradient;
mod loss;

use learning::kernels::{self, Dense, Matrix, Write};

use super::attention::{self, HeadBuffers, Heads, Rotary};
use super::layout::{BlockIndex, DenseIndex, Layout, NormIndex, Weights};
use crate::model::rotary::ROPE_THETA;
use crate::model::{Architecture, HookPoint, Hooks, Intervention, Position};
use gradient::Gradient;

/// Some sequences, and what a pass over them reads.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub weights: &'a Weights<'a>,
    pub layout: &'a Layout,
    pub hooks: &'a Hooks,
    /// Blocks that run: the first `depth`.
    pub depth: usize,
    /// Tokens of the whole batch, over which penalties are means.
    pub batch_tokens: usize,
    /// The first token's index in the batch, which is that of its weights in the hooks.
    pub first: usize,
    /// From a row to the next in the batch: 1 for whole sequences.
    pub stride: usize,
    pub inputs: &'a [u32],
    pub targets: &'a [u32],
    /// The weight of each target in the loss.
    pub shares: &'a [f32],
}

impl<'a> Pass<'a> {
    /// The same pass over some of its tokens.
    pub(crate) fn part(self, tokens: std::ops::Range<usize>) -> Self {
        Self {
            first: self.first + tokens.start,
            inputs: &self.inputs[tokens.clone()],
            targets: &self.targets[tokens.clone()],
            shares: &self.shares[tokens],
            ..self
        }
    }

    /// The intervention at an activation of a block, if there is one.
    fn hook(&self, layer: usize, point: HookPoint) -> Option<&'a Intervention> {
        self.hooks.get(layer, point)
    }

    /// What an intervention does to an activation.
    fn intervene(&self, layer: usize, point: HookPoint, activation: &mut [f32]) {
        let Some(intervention) = self.hook(layer, point) else { return };
        if let Some(scale) = &intervention.scale {
            scale.weigh(activation, self.first, self.stride);
        }
        if let Some(add) = &intervention.add {
            kernels::add_bias(activation, add);
        }
    }

    /// What an intervention does to the gradient of an activation.
    fn intervene_backward(&self, layer: usize, point: HookPoint, gradient: &mut [f32]) {
        let Some(intervention) = self.hook(layer, point) else { return };
        if let Some(scale) = &intervention.scale {
            scale.weigh(gradient, self.first, self.stride);
        }
        if let Some(route) = &intervention.route {
            route.weigh(gradient, self.first, self.stride);
        }
    }
}

/// What a norm's backward pass needs.
#[derive(Clone, Debug, Default)]
pub(super) struct NormCache {
    /// The norm's output, (tokens, width).
    out: Vec<f32>,
    /// Mean and 1 / deviation of each token, (tokens, 2).
    stats: Vec<f32>,
}

impl NormCache {
    fn fill(&mut self, x: &[f32], pass: &Pass<'_>, norm: &NormIndex) {
        let norm = pass.weights.norm(norm);
        self.out.resize(x.len(), 0.0);
        self.stats.resize(2 * x.len() / norm.w.len(), 0.0);
        kernels::norm_forward(&mut self.out, &mut self.stats, x, norm);
    }
}

/// Activations of a block that its backward pass needs, each (tokens, channels).
#[derive(Clone, Debug, Default)]
pub(super) struct BlockActivations {
    /// The residual stream before the block.
    before: Vec<f32>,
    normed1: NormCache,
    qkv: Vec<f32>,
    /// The attention patterns of each sequence, as [`Heads::pattern_len`] says.
    patterns: Vec<f32>,
    z: Vec<f32>,
    /// The residual stream between attention and MLP.
    middle: Vec<f32>,
    normed2: NormCache,
    /// The derivative of the GELU.
    slope: Vec<f32>,
    /// The neurons, as the output matrix sees them.
    post: Vec<f32>,
}

impl BlockActivations {
    /// Queries, keys and values of every token.
    pub(crate) fn qkv(&self) -> &[f32] {
        &self.qkv
    }

    /// Room for `len` numbers of z, and what they are made of.
    pub(crate) fn z_of_qkv(&mut self, len: usize) -> (&mut [f32], &[f32]) {
        self.z.resize(len, 0.0);
        (&mut self.z, &self.qkv)
    }
}

/// Buffers of one thread.
pub(super) struct Lane {
    pub heads: Heads,
    width: usize,
    rotary: Option<Rotary>,
    blocks: Vec<BlockActivations>,
    /// The residual stream after the last block that ran.
    last: Vec<f32>,
    last_normed: NormCache,
    logits: Vec<f32>,
    /// Gradient of the residual stream.
    residual: Vec<f32>,
    /// Gradients of a (tokens, width) activation, of queries, keys and values, and of neurons.
    narrow: Vec<f32>,
    dqkv: Vec<f32>,
    neurons: Vec<f32>,
    head: HeadBuffers,
    pub gradient: Gradient,
}

impl Lane {
    /// Buffers for sequences of `tokens` tokens.
    pub(crate) fn new(architecture: &Architecture, tokens: usize) -> Self {
        let heads = Heads {
            tokens,
            count: architecture.n_head,
            kv_count: architecture.kv_heads(),
            width: architecture.head_width(),
        };
        let rotary =
            (architecture.position == Position::Rotary).then(|| Rotary::new(tokens, heads.width, ROPE_THETA));
        Self {
            heads,
            width: architecture.n_embd,
            rotary,
            blocks: vec![BlockActivations::default(); architecture.n_layer],
            last: Vec::new(),
            last_normed: NormCache::default(),
            logits: Vec::new(),
            residual: Vec::new(),
            narrow: Vec::new(),
            dqkv: Vec::new(),
            neurons: Vec::new(),
            head: HeadBuffers::new(heads),
            gradient: Gradient::default(),
        }
    }

    /// The residual stream of the last pass, after its last block.
    pub(crate) fn residual_after(&self) -> &[f32] {
        &self.last
    }

    /// The activations of the last pass, block by block.
    pub(crate) fn blocks(&self) -> &[BlockActivations] {
        &self.blocks
    }

    pub(crate) fn rotary(&self) -> Option<&Rotary> {
        self.rotary.as_ref()
    }

    /// Runs the first blocks on whole sequences.
    pub(crate) fn trunk(&mut self, pass: &Pass<'_>) {
        let tokens = self.heads.tokens;
        self.run(pass, |row| row % tokens, |lane, _, block| lane.attend(block));
    }

    /// Runs the first blocks on tokens that stand at `place` of their row, with `attend` for what is shared between them:
    /// it computes z of a block from its queries, keys and values.
    pub(crate) fn run(
        &mut self,
        pass: &Pass<'_>,
        place: impl Fn(usize) -> usize,
        mut attend: impl FnMut(&mut Self, usize, &mut BlockActivations),
    ) {
        let (rows, width) = (pass.inputs.len(), self.width);
        let mut stream = std::mem::take(&mut self.last);
        stream.resize(rows * width, 0.0);
        let embedding = pass.weights.get(pass.layout.embedding);
        let positions = pass.layout.positions.map(|index| pass.weights.get(index));
        for (row, (stream, token)) in stream.chunks_exact_mut(width).zip(pass.inputs).enumerate() {
            stream.copy_from_slice(&embedding[*token as usize * width..][..width]);
            if let Some(positions) = positions {
                kernels::add_assign(stream, &positions[place(row) * width..][..width]);
            }
        }
        for layer in 0..pass.depth {
            let mut block = std::mem::take(&mut self.blocks[layer]);
            // the stream goes on in the buffer that the block had for its input, and leaves its own there
            std::mem::swap(&mut block.before, &mut stream);
            self.block(pass, layer, &mut block, &mut stream, &mut attend);
            self.blocks[layer] = block;
        }
        self.last = stream;
    }

    /// Takes the residual stream from `block.before` through a block into `after`.
    fn block(
        &mut self,
        pass: &Pass<'_>,
        layer: usize,
        block: &mut BlockActivations,
        after: &mut Vec<f32>,
        attend: &mut impl FnMut(&mut Self, usize, &mut BlockActivations),
    ) {
        let BlockIndex { ln1, qkv, o, ln2, mlp_in, mlp_out } = &pass.layout.blocks[layer];
        block.normed1.fill(&block.before, pass, ln1);
        product(&mut block.qkv, &block.normed1.out, pass, qkv);
        kernels::add_bias(&mut block.qkv, pass.weights.bias(qkv));
        attend(self, layer, block);
        pass.intervene(layer, HookPoint::AttnZ, &mut block.z);
        add_product(&mut block.middle, &block.before, &block.z, pass, o);

        block.normed2.fill(&block.middle, pass, ln2);
        product(&mut block.slope, &block.normed2.out, pass, mlp_in);
        block.post.resize(block.slope.len(), 0.0);
        kernels::bias_gelu(&mut block.post, &mut block.slope, pass.weights.bias(mlp_in));
        pass.intervene(layer, HookPoint::MlpPost, &mut block.post);
        add_product(after, &block.middle, &block.post, pass, mlp_out);
        pass.intervene(layer, HookPoint::ResidPost, after);
    }

    /// z and the patterns of every sequence, from its queries, keys and values.
    fn attend(&mut self, block: &mut BlockActivations) {
        let Heads { tokens, .. } = self.heads;
        let (z_len, qkv_len) = (tokens * self.width, tokens * self.heads.qkv_width());
        let (pattern_len, sequences) = (self.heads.pattern_len(), block.qkv.len() / qkv_len);
        block.z.resize(sequences * z_len, 0.0);
        block.patterns.resize(sequences * pattern_len, 0.0);
        let parts = block.z.chunks_exact_mut(z_len).zip(block.patterns.chunks_exact_mut(pattern_len));
        for ((z, patterns), qkv) in parts.zip(block.qkv.chunks_exact(qkv_len)) {
            attention::forward(z, patterns, qkv, self.heads, self.rotary.as_ref(), &mut self.head);
        }
    }
}

impl DenseIndex {
    /// The layer's sizes, and the order in which a transformer stores its weight.
    fn layer(&self) -> Dense {
        Dense::transposed(self.inputs, self.outputs)
    }

    /// A layer's input or output as a matrix.
    fn rows(values: &[f32], columns: usize) -> Matrix<'_> {
        Matrix::new(values, values.len() / columns, columns)
    }
}

/// y ← x · W of a dense layer, without its bias.
fn product(y: &mut Vec<f32>, x: &[f32], pass: &Pass<'_>, index: &DenseIndex) {
    let x = DenseIndex::rows(x, index.inputs);
    y.resize(x.rows() * index.outputs, 0.0);
    index.layer().forward(y, x, pass.weights.get(index.w), Write::Set);
}

/// y ← skipped + x · W + b of a dense layer.
fn add_product(y: &mut Vec<f32>, skipped: &[f32], x: &[f32], pass: &Pass<'_>, index: &DenseIndex) {
    y.resize(skipped.len(), 0.0);
    kernels::copy_with_bias(y, skipped, pass.weights.bias(index));
    index.layer().forward(y, DenseIndex::rows(x, index.inputs), pass.weights.get(index.w), Write::Add);
}

/// dx ← dy · Wᵀ of a dense layer.
fn product_backward(dx: &mut Vec<f32>, dy: &[f32], pass: &Pass<'_>, index: &DenseIndex) {
    let dy = DenseIndex::rows(dy, index.outputs);
    dx.resize(dy.rows() * index.inputs, 0.0);
    index.layer().input_grad(dx, dy, pass.weights.get(index.w));
}
