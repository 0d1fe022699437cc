//! Logits and the loss, with its gradient down to the residual stream.

use learning::kernels::{Matrix, Write, matmul};

use super::backward::norm_backward;
use super::{Lane, Layout, Span, Weights, norm_forward, passes};

/// Logits held at a time, in numbers: a part of the tokens where the vocabulary is large.
const LOGITS: usize = 1 << 25;

impl Lane {
    /// Norms the residual stream after the last block, for the logits.
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

    /// The losses, and the gradient of Σ scale · weight · loss down to the residual stream after the last block.
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
}
