//! A product with a frozen matrix: candle would compute and keep the gradient of the matrix as well.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use learning::kernels::{Matrix, Write, matmul};
use rayon::prelude::*;

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
        let (CpuStorage::F32(x), Some((from, to))) = (storage, layout.contiguous_offsets()) else {
            candle_core::bail!("a frozen product is of contiguous f32")
        };
        let x = &x[from..to];
        let (guard, weight_layout) = self.weight.storage_and_layout();
        let (candle_core::Storage::Cpu(CpuStorage::F32(w)), Some((from, to))) =
            (&*guard, weight_layout.contiguous_offsets())
        else {
            candle_core::bail!("a frozen matrix is of contiguous f32")
        };
        let w = &w[from..to];
        let mut y = vec![0.0; rows * outputs];
        let threads = rayon::current_num_threads();
        if rows == 1 {
            let each = outputs.div_ceil(threads).max(1);
            y.par_chunks_mut(each).zip(w.par_chunks(each * inputs)).for_each(|(y, w)| {
                matmul(y, Matrix::new(x, 1, inputs), Matrix::new(w, y.len(), inputs).t(), Write::Set);
            });
        } else {
            let each = rows.div_ceil(threads).max(1);
            y.par_chunks_mut(each * outputs).zip(x.par_chunks(each * inputs)).for_each(|(y, x)| {
                let rows = x.len() / inputs;
                matmul(y, Matrix::new(x, rows, inputs), Matrix::new(w, outputs, inputs).t(), Write::Set);
            });
        }
        Ok((CpuStorage::F32(y), Shape::from((rows, outputs))))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(gradient.contiguous()?.matmul(&self.weight)?))
    }
}
