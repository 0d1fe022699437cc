//! Logits and the loss, with its gradient down to the residual stream.

use std::ops::Range;

use learning::kernels::{self, Matrix, Write, matmul};

use super::{Lane, Pass};

/// Logits held at a time, in numbers: a part of the tokens where the vocabulary is large.
const LOGITS: usize = 1 << 25;

impl Lane {
    /// Norms the residual stream after the last block, for the logits.
    pub(crate) fn final_norm(&mut self, pass: &Pass<'_>) {
        self.last_normed.fill(&self.last, pass, &pass.layout.ln_final);
    }

    /// The logits of one token of the last pass, after [`Lane::final_norm`].
    pub(crate) fn logits_of(&self, pass: &Pass<'_>, row: usize, logits: &mut [f32]) {
        matmul(logits, self.normed(&(row..row + 1)), self.unembedding(pass).t(), Write::Set);
    }

    /// Calls `each` with the logits of every token of the last pass and the size of the vocabulary, after
    /// [`Lane::final_norm`].
    pub(crate) fn with_logits(&mut self, pass: &Pass<'_>, each: impl FnOnce(&[f32], usize)) {
        let unembedding = self.unembedding(pass);
        let (rows, vocabulary) = (pass.inputs.len(), unembedding.rows());
        let mut logits = std::mem::take(&mut self.logits);
        logits.resize(rows * vocabulary, 0.0);
        matmul(&mut logits, self.normed(&(0..rows)), unembedding.t(), Write::Set);
        each(&logits, vocabulary);
        self.logits = logits;
    }

    /// The losses of the pass's tokens, after [`Lane::final_norm`].
    pub(crate) fn losses(&mut self, pass: &Pass<'_>, losses: &mut [f32]) {
        self.by_parts(pass, losses, |_, part, logits, losses| {
            kernels::cross_entropy(logits, losses, &pass.targets[part.clone()]);
        });
    }

    /// The losses, and the gradient of Σ scale · share · loss down to the residual stream after the last block.
    pub(crate) fn loss_gradient(&mut self, pass: &Pass<'_>, losses: &mut [f32], scale: f32) {
        let width = self.width;
        let unembedding = self.unembedding(pass);
        self.narrow.resize(pass.targets.len() * width, 0.0);
        let mut gradient = std::mem::take(&mut self.gradient.values[pass.layout.unembedding]);
        let mut write = self.gradient.write();
        self.by_parts(pass, losses, |lane, part, logits, losses| {
            let (targets, shares) = (&pass.targets[part.clone()], &pass.shares[part.clone()]);
            kernels::cross_entropy_gradient(logits, losses, targets, shares, scale);
            let dlogits = Matrix::new(logits, part.len(), unembedding.rows());
            matmul(&mut lane.narrow[part.start * width..part.end * width], dlogits, unembedding, Write::Set);
            matmul(&mut gradient, dlogits.t(), lane.normed(part), write);
            write = Write::Add;
        });
        self.gradient.values[pass.layout.unembedding] = gradient;
        self.gradient.empty_sums(pass.layout);
        self.residual.resize(self.last.len(), 0.0);
        self.residual.fill(0.0);
        let input = (self.last.as_slice(), &self.last_normed);
        let norm = &pass.layout.ln_final;
        self.gradient.add_norm(pass, norm, input, &mut self.residual, &mut self.narrow);
    }

    /// The gradient of a loss of the residual stream after the last block of the pass, for [`Lane::backward`]:
    /// `loss` gets the stream and fills in its gradient.
    pub(crate) fn residual_gradient(&mut self, loss: impl FnOnce(&[f32], &mut [f32]) -> f64) -> f64 {
        self.residual.resize(self.last.len(), 0.0);
        loss(&self.last, &mut self.residual)
    }

    /// The unembedding, (vocabulary, width).
    fn unembedding<'a>(&self, pass: &Pass<'a>) -> Matrix<'a> {
        let values = pass.weights.get(pass.layout.unembedding);
        Matrix::new(values, values.len() / self.width, self.width)
    }

    /// The normed residual stream of some tokens, (tokens, width).
    fn normed(&self, tokens: &Range<usize>) -> Matrix<'_> {
        Matrix::new(&self.last_normed.out[tokens.start * self.width..], tokens.len(), self.width)
    }

    /// Calls `each` with the logits of as many tokens at a time as memory is taken for, and with their losses.
    fn by_parts(
        &mut self,
        pass: &Pass<'_>,
        losses: &mut [f32],
        mut each: impl FnMut(&mut Self, &Range<usize>, &mut [f32], &mut [f32]),
    ) {
        let unembedding = self.unembedding(pass);
        let (rows, vocabulary) = (pass.targets.len(), unembedding.rows());
        let most = (LOGITS / vocabulary).max(1).min(rows);
        let mut logits = std::mem::take(&mut self.logits);
        logits.resize(most * vocabulary, 0.0);
        for from in (0..rows).step_by(most) {
            let part = from..(from + most).min(rows);
            let logits = &mut logits[..part.len() * vocabulary];
            matmul(logits, self.normed(&part), unembedding.t(), Write::Set);
            each(self, &part, logits, &mut losses[part.clone()]);
        }
        self.logits = logits;
    }
}
