//! What one thread works with: activations of some sequences, and the gradient it adds up.

use learning::kernels::{Matrix, Write, matmul};

use super::attention::{self, HeadBuffers, Heads, Rotary};
use super::layout::{BlockIndex, Layout, NormIndex, Weights};
use super::passes;
use crate::model::{Architecture, Edit, HookPoint, Hooks, Norm, Position};

/// Logits held at a time, in numbers: a part of the tokens where the vocabulary is large.
const LOGITS: usize = 1 << 25;

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
    /// The residual stream behind the last block that ran.
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

    /// The residual stream of the last pass, behind its last block.
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

    /// Norms the residual stream behind the last block, for the logits.
    pub fn final_norm(&mut self, weights: &Weights<'_>, layout: &Layout) {
        let (normed, stats) = (&mut self.last_normed, &mut self.last_stats);
        norm_forward(self.norm_kind, weights, &layout.ln_final, &self.last, normed, stats);
    }

    /// The logits of one token of the last pass, after [`Lane::final_norm`].
    pub fn logits_of(&self, weights: &Weights<'_>, layout: &Layout, row: usize, logits: &mut [f32]) {
        let width = self.width;
        let unembedding = Matrix::new(weights.get(layout.unembedding), logits.len(), width);
        let row = Matrix::new(&self.last_normed[row * width..], 1, width);
        matmul(logits, row, unembedding.t(), Write::Set);
    }

    /// The losses of the span's tokens, after [`Lane::final_norm`].
    pub fn losses(&mut self, weights: &Weights<'_>, layout: &Layout, span: Span<'_>, losses: &mut [f32]) {
        self.by_parts(weights, layout, span, losses, |_, part, logits, losses| {
            passes::cross_entropy_only(logits, losses, &span.targets[part.clone()]);
        });
    }

    /// The losses, and the gradient of Σ scale · weight · loss down to the residual stream behind the last block.
    pub fn loss_gradient(
        &mut self,
        weights: &Weights<'_>,
        layout: &Layout,
        span: Span<'_>,
        losses: &mut [f32],
        scale: f32,
    ) {
        let width = self.width;
        let rows = span.targets.len();
        self.narrow.resize(rows * width, 0.0);
        let vocabulary = weights.get(layout.unembedding).len() / width;
        let mut gradient = std::mem::take(&mut self.gradient[layout.unembedding]);
        let mut write = if self.started { Write::Add } else { Write::Set };
        self.by_parts(weights, layout, span, losses, |lane, part, logits, losses| {
            let count = part.len();
            passes::cross_entropy(
                logits,
                losses,
                &span.targets[part.clone()],
                &span.weights[part.clone()],
                scale,
            );
            let dlogits = Matrix::new(logits, count, vocabulary);
            let unembedding = Matrix::new(weights.get(layout.unembedding), vocabulary, width);
            matmul(&mut lane.narrow[part.start * width..part.end * width], dlogits, unembedding, Write::Set);
            let normed = Matrix::new(&lane.last_normed[part.start * width..], count, width);
            matmul(&mut gradient, dlogits.t(), normed, write);
            write = Write::Add;
        });
        self.gradient[layout.unembedding] = gradient;
        self.residual.resize(rows * width, 0.0);
        self.residual.fill(0.0);
        self.start(layout, false);
        let (x, stats) = (&self.last, &self.last_stats);
        norm_backward(
            self.norm_kind,
            weights,
            &layout.ln_final,
            &mut self.gradient,
            &mut self.residual,
            &mut self.narrow,
            x,
            stats,
        );
    }

    fn by_parts(
        &mut self,
        weights: &Weights<'_>,
        layout: &Layout,
        span: Span<'_>,
        losses: &mut [f32],
        mut each: impl FnMut(&mut Self, &std::ops::Range<usize>, &mut [f32], &mut [f32]),
    ) {
        let width = self.width;
        let unembedding = weights.get(layout.unembedding);
        let vocabulary = unembedding.len() / width;
        let rows = span.targets.len();
        let most = (LOGITS / vocabulary).max(1).min(rows);
        let mut logits = std::mem::take(&mut self.logits);
        logits.resize(most * vocabulary, 0.0);
        for from in (0..rows).step_by(most) {
            let part = from..(from + most).min(rows);
            let logits = &mut logits[..part.len() * vocabulary];
            let normed = Matrix::new(&self.last_normed[from * width..], part.len(), width);
            matmul(logits, normed, Matrix::new(unembedding, vocabulary, width).t(), Write::Set);
            each(self, &part, logits, &mut losses[part.clone()]);
        }
        self.logits = logits;
    }

    /// Empties what is added to, element by element, in the first backward pass. The products overwrite.
    pub fn start(&mut self, layout: &Layout, trunk_only: bool) {
        if self.started {
            return;
        }
        let tied = layout.embedding == layout.unembedding;
        for (index, gradient) in self.gradient.iter_mut().enumerate() {
            // the loss has written the unembedding's already
            let keep = index == layout.unembedding && !trunk_only;
            let scattered = index == layout.embedding && !tied;
            let small = !layout.parameters[index].0.contains(".W_");
            let rest = trunk_only || Some(index) == layout.positions;
            if !keep && (scattered || small || rest) {
                gradient.fill(0.0);
            }
        }
    }

    /// The backward pass from the residual stream's gradient behind block `depth` − 1 down to the embeddings.
    pub fn backward(
        &mut self,
        weights: &Weights<'_>,
        layout: &Layout,
        span: Span<'_>,
        hooks: &Hooks,
        depth: usize,
        l1_scale: f32,
    ) {
        let mut residual = std::mem::take(&mut self.residual);
        for layer in (0..depth).rev() {
            let block = std::mem::take(&mut self.blocks[layer]);
            self.block_backward(
                &block,
                &mut residual,
                weights,
                &layout.blocks[layer],
                span.first,
                layer,
                hooks,
                l1_scale,
            );
            self.blocks[layer] = block;
        }
        let (width, tokens) = (self.width, self.heads.tokens);
        for (row, (residual, token)) in residual.chunks_exact(width).zip(span.inputs).enumerate() {
            let place = *token as usize * width;
            learning::kernels::add_assign(
                &mut self.gradient[layout.embedding][place..place + width],
                residual,
            );
            if let Some(positions) = layout.positions {
                let place = row % tokens * width;
                learning::kernels::add_assign(&mut self.gradient[positions][place..place + width], residual);
            }
        }
        self.residual = residual;
        self.started = true;
    }

    #[expect(clippy::too_many_arguments, reason = "a block's weights, place and hooks")]
    fn block_backward(
        &mut self,
        block: &BlockActivations,
        residual: &mut [f32],
        weights: &Weights<'_>,
        index: &BlockIndex,
        first: usize,
        layer: usize,
        hooks: &Hooks,
        l1_scale: f32,
    ) {
        let (width, neurons) = (self.width, index.neurons);
        let rows = residual.len() / width;
        let write = if self.started { Write::Add } else { Write::Set };
        edit_backward(hooks.get(layer, HookPoint::ResidPost), residual, first);

        let mut d = std::mem::take(&mut self.neurons);
        d.resize(rows * neurons, 0.0);
        product_t(&mut d, residual, weights.get(index.w_out), rows, width, neurons);
        weight_gradient(&mut self.gradient[index.w_out], &block.post, residual, rows, neurons, width, write);
        learning::kernels::add_column_sums(&mut self.gradient[index.b_out], residual);
        if let Some(edit) = hooks.get(layer, HookPoint::MlpPost) {
            edit_backward(Some(edit), &mut d, first);
            if edit.l1 > 0.0 {
                let sum = passes::add_sign(&mut d, &block.post, edit.l1 * l1_scale);
                self.penalty += f64::from(edit.l1 * l1_scale * sum);
            }
        }
        passes::multiply(&mut d, &block.slope);
        weight_gradient(&mut self.gradient[index.w_in], &block.normed2, &d, rows, width, neurons, write);
        learning::kernels::add_column_sums(&mut self.gradient[index.b_in], &d);
        self.narrow.resize(rows * width, 0.0);
        product_t(&mut self.narrow, &d, weights.get(index.w_in), rows, neurons, width);
        self.neurons = d;
        let kind = self.norm_kind;
        let (gradient, narrow) = (&mut self.gradient, &mut self.narrow);
        norm_backward(kind, weights, &index.ln2, gradient, residual, narrow, &block.middle, &block.stats2);

        product_t(&mut self.narrow, residual, weights.get(index.w_o), rows, width, width);
        weight_gradient(&mut self.gradient[index.w_o], &block.z, residual, rows, width, width, write);
        learning::kernels::add_column_sums(&mut self.gradient[index.b_o], residual);
        edit_backward(hooks.get(layer, HookPoint::AttnZ), &mut self.narrow, first);
        self.dqkv.resize(rows * 3 * width, 0.0);
        let each = self.heads.tokens * width;
        let pattern_len = self.heads.pattern_len();
        for sequence in 0..rows / self.heads.tokens {
            attention::backward(
                &mut self.dqkv[sequence * 3 * each..][..3 * each],
                &self.narrow[sequence * each..][..each],
                &block.patterns[sequence * pattern_len..][..pattern_len],
                &block.qkv[sequence * 3 * each..][..3 * each],
                self.heads,
                self.rotary.as_ref(),
                &mut self.head,
            );
        }
        weight_gradient(
            &mut self.gradient[index.w_qkv],
            &block.normed1,
            &self.dqkv,
            rows,
            width,
            3 * width,
            write,
        );
        learning::kernels::add_column_sums(&mut self.gradient[index.b_qkv], &self.dqkv);
        product_t(&mut self.narrow, &self.dqkv, weights.get(index.w_qkv), rows, 3 * width, width);
        let (gradient, narrow) = (&mut self.gradient, &mut self.narrow);
        norm_backward(kind, weights, &index.ln1, gradient, residual, narrow, &block.before, &block.stats1);
    }
}

/// out (rows, outputs) ← or += x (rows, inputs) · w (inputs, outputs).
fn product(out: &mut [f32], x: &[f32], w: &[f32], rows: usize, inputs: usize, outputs: usize, write: Write) {
    matmul(out, Matrix::new(x, rows, inputs), Matrix::new(w, inputs, outputs), write);
}

/// dx (rows, inputs) ← dy (rows, outputs) · wᵀ, with w (inputs, outputs).
fn product_t(dx: &mut [f32], dy: &[f32], w: &[f32], rows: usize, outputs: usize, inputs: usize) {
    matmul(dx, Matrix::new(dy, rows, outputs), Matrix::new(w, inputs, outputs).t(), Write::Set);
}

/// dw (inputs, outputs) ← or += xᵀ · dy.
fn weight_gradient(
    dw: &mut [f32],
    x: &[f32],
    dy: &[f32],
    rows: usize,
    inputs: usize,
    outputs: usize,
    write: Write,
) {
    matmul(dw, Matrix::new(x, rows, inputs).t(), Matrix::new(dy, rows, outputs), write);
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

#[expect(clippy::too_many_arguments, reason = "a norm's weights, inputs and the gradients of both")]
fn norm_backward(
    kind: Norm,
    weights: &Weights<'_>,
    index: &NormIndex,
    gradient: &mut [Vec<f32>],
    dx: &mut [f32],
    dy: &mut [f32],
    x: &[f32],
    stats: &[f32],
) {
    let mut dw = std::mem::take(&mut gradient[index.w]);
    let mut db = index.b.map(|b| std::mem::take(&mut gradient[b]));
    let mut sums = passes::NormGradients { x: dx, w: &mut dw, b: db.as_deref_mut() };
    passes::norm_backward(&mut sums, dy, x, stats, weights.get(index.w), kind);
    gradient[index.w] = dw;
    if let (Some(b), Some(db)) = (index.b, db) {
        gradient[b] = db;
    }
}

fn edit_forward(edit: Option<&Edit>, values: &mut [f32], first: usize) {
    let Some(edit) = edit else { return };
    if let Some(scale) = &edit.scale {
        scale.weigh(values, first);
    }
    if let Some(add) = &edit.add {
        passes::add_bias(values, add);
    }
}

fn edit_backward(edit: Option<&Edit>, gradient: &mut [f32], first: usize) {
    let Some(edit) = edit else { return };
    if let Some(scale) = &edit.scale {
        scale.weigh(gradient, first);
    }
    if let Some(route) = &edit.route {
        route.weigh(gradient, first);
    }
}
