//! What one thread works with: activations of some sequences, and the gradient it adds up.

mod backward;
mod loss;

use learning::kernels::{Matrix, Write, matmul};

use super::attention::{self, HeadBuffers, Heads, Rotary};
use super::layout::{BlockIndex, Layout, NormIndex, Weights};
use super::passes;
use crate::model::{Architecture, HookPoint, Hooks, Intervention, Norm, Position};

/// Activations of a block that its backward pass needs.
#[derive(Clone, Debug, Default)]
struct BlockActivations {
    /// The residual stream before the block.
    before: Vec<f32>,
    stats1: Vec<f32>,
    normed1: Vec<f32>,
    qkv: Vec<f32>,
    patterns: Vec<f32>,
    z: Vec<f32>,
    /// The residual stream between attention and MLP.
    middle: Vec<f32>,
    stats2: Vec<f32>,
    normed2: Vec<f32>,
    /// The derivative of the GELU.
    slope: Vec<f32>,
    /// The neurons, as the output matrix sees them.
    post: Vec<f32>,
}

/// The sequences in hand and where they stand in the batch.
#[derive(Clone, Copy)]
pub(super) struct Span<'a> {
    /// The first token's index in the batch, which is that of its weights in the hooks.
    pub first: usize,
    pub inputs: &'a [u32],
    pub targets: &'a [u32],
    pub weights: &'a [f32],
}

/// Buffers of one thread.
pub(super) struct Lane {
    heads: Heads,
    width: usize,
    norm_kind: Norm,
    rotary: Option<Rotary>,
    blocks: Vec<BlockActivations>,
    /// The residual stream after the last block that ran.
    last: Vec<f32>,
    last_stats: Vec<f32>,
    last_normed: Vec<f32>,
    logits: Vec<f32>,
    /// Gradient of the residual stream.
    residual: Vec<f32>,
    /// Gradients of a (tokens, width) activation, of queries, keys and values, and of neurons.
    narrow: Vec<f32>,
    dqkv: Vec<f32>,
    neurons: Vec<f32>,
    head: HeadBuffers,
    /// The gradient, in the order of the parameters.
    pub gradient: Vec<Vec<f32>>,
    /// Whether the gradient holds something already.
    pub started: bool,
    /// Σ |a| under every l1, times it.
    pub penalty: f64,
}

impl Lane {
    pub fn new(architecture: &Architecture, tokens: usize) -> Self {
        let heads = Heads { tokens, count: architecture.n_head, width: architecture.head_width() };
        let rotary = (architecture.position == Position::Rotary).then(|| Rotary::new(tokens, heads.width));
        Self {
            heads,
            width: architecture.n_embd,
            norm_kind: architecture.norm,
            rotary,
            blocks: vec![BlockActivations::default(); architecture.n_layer],
            last: Vec::new(),
            last_stats: Vec::new(),
            last_normed: Vec::new(),
            logits: Vec::new(),
            residual: Vec::new(),
            narrow: Vec::new(),
            dqkv: Vec::new(),
            neurons: Vec::new(),
            head: HeadBuffers::new(heads),
            gradient: Vec::new(),
            started: false,
            penalty: 0.0,
        }
    }

    /// Makes room for the gradient of every parameter and empties it.
    pub fn begin(&mut self, layout: &Layout) {
        if self.gradient.len() != layout.parameters.len() {
            self.gradient = layout.parameters.iter().map(|(_, len)| vec![0.0; *len]).collect();
        }
        self.started = false;
        self.penalty = 0.0;
    }

    /// The residual stream of the last pass, after its last block.
    pub fn residual_after(&self) -> &[f32] {
        &self.last
    }

    /// The gradient of the residual stream that [`Lane::backward`] begins with, to be filled in.
    pub fn residual_gradient(&mut self) -> &mut Vec<f32> {
        &mut self.residual
    }

    /// Runs the blocks up to `depth` (all of them for the number of blocks) on whole sequences.
    pub fn trunk(
        &mut self,
        weights: &Weights<'_>,
        layout: &Layout,
        span: Span<'_>,
        hooks: &Hooks,
        depth: usize,
    ) {
        let (rows, width, tokens) = (span.inputs.len(), self.width, self.heads.tokens);
        let mut stream = std::mem::take(&mut self.last);
        stream.resize(rows * width, 0.0);
        let embedding = weights.get(layout.embedding);
        let positions = layout.positions.map(|index| weights.get(index));
        for (row, (stream, token)) in stream.chunks_exact_mut(width).zip(span.inputs).enumerate() {
            stream.copy_from_slice(&embedding[*token as usize * width..][..width]);
            if let Some(positions) = positions {
                learning::kernels::add_assign(stream, &positions[row % tokens * width..][..width]);
            }
        }
        for (layer, index) in layout.blocks.iter().enumerate().take(depth) {
            let mut block = std::mem::take(&mut self.blocks[layer]);
            // the stream goes on in the buffer that the block had for its input, and leaves its own there
            std::mem::swap(&mut block.before, &mut stream);
            self.block(&mut block, &mut stream, weights, index, span.first, layer, hooks);
            self.blocks[layer] = block;
        }
        self.last = stream;
    }

    #[expect(clippy::too_many_arguments, reason = "a block's weights, place and hooks")]
    fn block(
        &mut self,
        block: &mut BlockActivations,
        out: &mut Vec<f32>,
        weights: &Weights<'_>,
        index: &BlockIndex,
        first: usize,
        layer: usize,
        hooks: &Hooks,
    ) {
        let width = self.width;
        let rows = block.before.len() / width;
        let sequences = rows / self.heads.tokens;
        norm_forward(
            self.norm_kind,
            weights,
            &index.ln1,
            &block.before,
            &mut block.normed1,
            &mut block.stats1,
        );
        block.qkv.resize(rows * 3 * width, 0.0);
        product(&mut block.qkv, &block.normed1, weights.get(index.w_qkv), rows, width, 3 * width, Write::Set);
        passes::add_bias(&mut block.qkv, weights.get(index.b_qkv));
        block.z.resize(rows * width, 0.0);
        let pattern_len = self.heads.pattern_len();
        block.patterns.resize(sequences * pattern_len, 0.0);
        let each = self.heads.tokens * width;
        for sequence in 0..sequences {
            attention::forward(
                &mut block.z[sequence * each..][..each],
                &mut block.patterns[sequence * pattern_len..][..pattern_len],
                &block.qkv[sequence * 3 * each..][..3 * each],
                self.heads,
                self.rotary.as_ref(),
                &mut self.head,
            );
        }
        edit_forward(hooks.get(layer, HookPoint::AttnZ), &mut block.z, first);
        block.middle.resize(rows * width, 0.0);
        passes::copy_with_bias(&mut block.middle, &block.before, weights.get(index.b_o));
        product(&mut block.middle, &block.z, weights.get(index.w_o), rows, width, width, Write::Add);

        norm_forward(
            self.norm_kind,
            weights,
            &index.ln2,
            &block.middle,
            &mut block.normed2,
            &mut block.stats2,
        );
        let neurons = index.neurons;
        block.slope.resize(rows * neurons, 0.0);
        block.post.resize(rows * neurons, 0.0);
        product(&mut block.slope, &block.normed2, weights.get(index.w_in), rows, width, neurons, Write::Set);
        passes::gelu(&mut block.post, &mut block.slope, weights.get(index.b_in));
        edit_forward(hooks.get(layer, HookPoint::MlpPost), &mut block.post, first);
        out.resize(rows * width, 0.0);
        passes::copy_with_bias(out, &block.middle, weights.get(index.b_out));
        product(out, &block.post, weights.get(index.w_out), rows, neurons, width, Write::Add);
        edit_forward(hooks.get(layer, HookPoint::ResidPost), out, first);
    }
}

/// out (rows, outputs) ← or += x (rows, inputs) · w (inputs, outputs).
fn product(out: &mut [f32], x: &[f32], w: &[f32], rows: usize, inputs: usize, outputs: usize, write: Write) {
    matmul(out, Matrix::new(x, rows, inputs), Matrix::new(w, inputs, outputs), write);
}

fn norm_forward(
    kind: Norm,
    weights: &Weights<'_>,
    index: &NormIndex,
    x: &[f32],
    normed: &mut Vec<f32>,
    stats: &mut Vec<f32>,
) {
    let w = weights.get(index.w);
    normed.resize(x.len(), 0.0);
    stats.resize(2 * x.len() / w.len(), 0.0);
    passes::norm(normed, stats, x, w, index.b.map(|b| weights.get(b)), kind);
}

fn edit_forward(intervention: Option<&Intervention>, values: &mut [f32], first: usize) {
    let Some(intervention) = intervention else { return };
    if let Some(scale) = &intervention.scale {
        scale.weigh(values, first);
    }
    if let Some(add) = &intervention.add {
        passes::add_bias(values, add);
    }
}
