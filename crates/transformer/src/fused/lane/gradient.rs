//! The gradient that a lane adds up.

use learning::kernels::{self, NormGradients, Write};

use super::{NormCache, Pass};
use crate::fused::layout::{DenseIndex, Layout, NormIndex};

/// Gradients of all parameters. The first pass of a lane overwrites what is left of the last batch, the next ones
/// add to it.
#[derive(Default)]
pub(in crate::fused) struct Gradient {
    /// In the order of the parameters.
    pub values: Vec<Vec<f32>>,
    /// Whether a pass has been added.
    pub started: bool,
    /// Σ |a| under every l1, times it.
    pub penalty: f64,
}

impl Gradient {
    /// Makes room for the gradient of every parameter; what it holds counts no more.
    pub(crate) fn begin(&mut self, layout: &Layout) {
        if self.values.len() != layout.parameters.len() {
            self.values = layout.parameters.iter().map(|(_, len)| vec![0.0; *len]).collect();
        }
        self.started = false;
        self.penalty = 0.0;
    }

    /// Before the first backward pass: empties what is added to element by element. The products overwrite.
    pub(crate) fn empty_sums(&mut self, layout: &Layout) {
        self.empty(|index| {
            let small = !layout.parameters[index].0.contains(".W_");
            // the loss has written the unembedding's already
            let scattered = index == layout.embedding || Some(index) == layout.positions;
            index != layout.unembedding && (small || scattered)
        });
    }

    /// As [`Gradient::empty_sums`], for a backward pass that does not reach every parameter.
    pub(crate) fn empty_all(&mut self) {
        self.empty(|_| true);
    }

    fn empty(&mut self, which: impl Fn(usize) -> bool) {
        if self.started {
            return;
        }
        for (index, values) in self.values.iter_mut().enumerate() {
            if which(index) {
                values.fill(0.0);
            }
        }
    }

    /// How a product is written.
    pub(crate) fn write(&self) -> Write {
        if self.started { Write::Add } else { Write::Set }
    }

    /// dW ← or += xᵀ · dy and db += Σ dy of a dense layer.
    pub(crate) fn add_dense(&mut self, index: &DenseIndex, x: &[f32], dy: &[f32]) {
        let write = self.write();
        let (x, dy_rows) = (DenseIndex::rows(x, index.inputs), DenseIndex::rows(dy, index.outputs));
        index.layer().weight_grad(&mut self.values[index.w], x, dy_rows, write);
        if let Some(b) = index.b {
            kernels::add_column_sums(&mut self.values[b], dy);
        }
    }

    /// dw += and db += of a norm with input `x`, and dx += its input's gradient. Overwrites `dy`.
    pub(crate) fn add_norm(
        &mut self,
        pass: &Pass<'_>,
        index: &NormIndex,
        (x, cache): (&[f32], &NormCache),
        dx: &mut [f32],
        dy: &mut [f32],
    ) {
        let mut dw = std::mem::take(&mut self.values[index.w]);
        let mut db = index.b.map(|b| std::mem::take(&mut self.values[b]));
        let mut sums = NormGradients { x: dx, w: &mut dw, b: db.as_deref_mut() };
        kernels::norm_backward(&mut sums, dy, x, &cache.stats, pass.weights.norm(index));
        self.values[index.w] = dw;
        if let (Some(b), Some(db)) = (index.b, db) {
            self.values[b] = db;
        }
    }

    /// Adds the gradient of each vector, `width` numbers of `dy`, to the row of an embedding that it comes from.
    pub(crate) fn add_rows(
        &mut self,
        index: usize,
        rows: impl Iterator<Item = usize>,
        dy: &[f32],
        width: usize,
    ) {
        for (row, dy) in rows.zip(dy.chunks_exact(width)) {
            kernels::add_assign(&mut self.values[index][row * width..][..width], dy);
        }
    }
}
