//! The backward pass through the blocks.

use learning::kernels::{Matrix, Write, matmul};

use super::{BlockActivations, Lane, NormIndex, Span, attention, passes};
use super::{BlockIndex, HookPoint, Hooks, Intervention, Layout, Norm, Weights};

impl Lane {
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

    /// The backward pass from the residual stream's gradient after block `depth` − 1 down to the embeddings.
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
        intervention_backward(hooks.get(layer, HookPoint::ResidPost), residual, first);

        let mut d = std::mem::take(&mut self.neurons);
        d.resize(rows * neurons, 0.0);
        product_t(&mut d, residual, weights.get(index.w_out), rows, width, neurons);
        weight_gradient(&mut self.gradient[index.w_out], &block.post, residual, rows, neurons, width, write);
        learning::kernels::add_column_sums(&mut self.gradient[index.b_out], residual);
        if let Some(intervention) = hooks.get(layer, HookPoint::MlpPost) {
            intervention_backward(Some(intervention), &mut d, first);
            if intervention.l1 > 0.0 {
                let sum = passes::add_sign(&mut d, &block.post, intervention.l1 * l1_scale);
                self.penalty += f64::from(intervention.l1 * l1_scale * sum);
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
        intervention_backward(hooks.get(layer, HookPoint::AttnZ), &mut self.narrow, first);
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

#[expect(clippy::too_many_arguments, reason = "a norm's weights, inputs and the gradients of both")]
pub(super) fn norm_backward(
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

fn intervention_backward(intervention: Option<&Intervention>, gradient: &mut [f32], first: usize) {
    let Some(intervention) = intervention else { return };
    if let Some(scale) = &intervention.scale {
        scale.weigh(gradient, first);
    }
    if let Some(route) = &intervention.route {
        route.weigh(gradient, first);
    }
}
