//! A product with a frozen matrix.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use learning::kernels::{Matrix, Write, matmul, transpose_columns};
use rayon::prelude::*;

use super::{Numbers, gradient_of, numbers, rows_each};

/// y = x · Wᵀ; a gradient reaches W only where it is a variable.
///
/// # Shapes
/// `x` (rows, inputs), `weight` (outputs, inputs) → (rows, outputs).
pub(crate) fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if weight.is_variable() {
        return x.matmul(&weight.t()?);
    }
    x.contiguous()?.apply_op1(Frozen { weight: weight.clone() })
}

struct Frozen {
    weight: Tensor,
}

impl CustomOp1 for Frozen {
    fn name(&self) -> &'static str {
        "frozen-linear"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, inputs) = layout.shape().dims2()?;
        let outputs = self.weight.dim(0)?;
        let (x, w) = (numbers(storage, layout)?, &*Numbers::of(&self.weight)?);
        let mut y = vec![0.0; rows * outputs];
        if rows == 1 {
            let each = rows_each(outputs);
            y.par_chunks_mut(each).zip(w.par_chunks(each * inputs)).for_each(|(y, w)| {
                matmul(y, Matrix::new(x, 1, inputs), Matrix::new(w, y.len(), inputs).t(), Write::Set);
            });
        } else {
            product(&mut y, x, Matrix::new(&transposed(w, inputs), inputs, outputs));
        }
        Ok((CpuStorage::F32(y), Shape::from((rows, outputs))))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (outputs, inputs) = self.weight.dims2()?;
        let gradient = gradient.contiguous()?;
        let mut dx = vec![0.0; x.elem_count()];
        product(&mut dx, &Numbers::of(&gradient)?, Matrix::new(&Numbers::of(&self.weight)?, outputs, inputs));
        gradient_of(x, dx)
    }
}

/// y = x · m, the rows shared out.
pub(super) fn product(y: &mut [f32], x: &[f32], m: Matrix<'_>) {
    let (inner, outputs) = (m.rows(), m.cols());
    let each = rows_each(y.len() / outputs.max(1));
    y.par_chunks_mut(each * outputs).zip(x.par_chunks(each * inner)).for_each(|(y, x)| {
        matmul(y, Matrix::new(x, y.len() / outputs, inner), m, Write::Set);
    });
}

/// A matrix (rows, cols) transposed, in the memory of one more: a product rearranges an operand whose rows are not what it
/// runs along number by number, which takes longer than all of this.
pub(super) fn transposed(values: &[f32], cols: usize) -> Vec<f32> {
    let rows = values.len() / cols;
    let each = rows_each(cols);
    let mut out = vec![0.0; values.len()];
    let parts = out.par_chunks_mut(each * rows).enumerate();
    parts.for_each(|(part, out)| transpose_columns(out, values, cols, part * each));
    out
}
