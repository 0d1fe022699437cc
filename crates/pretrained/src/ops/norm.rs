//! Layer norm and RMS norm with frozen weights.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use learning::kernels::{Norm, NormGradients, norm_backward, norm_forward};
use learning::ops::{layer_norm, rms_norm};
use rayon::prelude::*;

use super::{Numbers, gradient_of, numbers, rows_each};

/// Weights of a norm: with a bias it is a layer norm, without one an RMS norm.
pub(crate) struct NormWeights {
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    pub eps: f64,
}

/// The norm of every row; a gradient reaches the weights only where they are variables.
///
/// # Shapes
/// (rows, width) → the same.
pub(crate) fn norm(x: &Tensor, weights: NormWeights) -> Result<Tensor> {
    let NormWeights { weight, bias, eps } = &weights;
    if weight.is_variable() {
        return match bias {
            Some(bias) => layer_norm(x, weight, Some(bias), *eps),
            None => rms_norm(x, weight, *eps),
        };
    }
    x.contiguous()?.apply_op1(weights)
}

impl NormWeights {
    fn with<R>(&self, work: impl FnOnce(Norm<'_>) -> R) -> Result<R> {
        let w = Numbers::of(&self.weight)?;
        let b = self.bias.as_ref().map(Numbers::of).transpose()?;
        let b = b.as_deref();
        Ok(work(Norm { w: &w, b, centred: b.is_some(), eps: self.eps as f32 }))
    }
}

impl CustomOp1 for NormWeights {
    fn name(&self) -> &'static str {
        "frozen-norm"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        let x = numbers(storage, layout)?;
        let mut y = vec![0.0; x.len()];
        let each = rows_each(rows) * width;
        self.with(|norm| {
            y.par_chunks_mut(each).zip(x.par_chunks(each)).for_each(|(y, x)| {
                norm_forward(y, &mut vec![0.0; 2 * x.len() / width], x, norm);
            });
        })?;
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (rows, width) = x.dims2()?;
        let (held_x, held_dy) = (x.contiguous()?, gradient.contiguous()?);
        let (x_numbers, dy) = (Numbers::of(&held_x)?, Numbers::of(&held_dy)?);
        let mut dx = vec![0.0; x_numbers.len()];
        let each = rows_each(rows) * width;
        let chunks = dx.par_chunks_mut(each).zip(x_numbers.par_chunks(each)).zip(dy.par_chunks(each));
        self.with(|norm| {
            chunks.for_each(|((dx, x), dy)| {
                let (mut scratch, mut stats) = (vec![0.0; x.len()], vec![0.0; 2 * x.len() / width]);
                norm_forward(&mut scratch, &mut stats, x, norm);
                scratch.copy_from_slice(dy);
                let mut gradients = NormGradients { x: dx, w: &mut vec![0.0; width], b: None };
                norm_backward(&mut gradients, &mut scratch, x, &stats, norm);
            });
        })?;
        gradient_of(x, dx)
    }
}
