//! The loss at a frozen vocabulary, whose logits are never all in memory.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use learning::kernels::{Matrix, Write, cross_entropy, cross_entropy_gradient, matmul};
use rayon::prelude::*;

use super::linear::transposed;
use super::{Numbers, numbers};

/// Rows whose logits are there at a time, in each thread: 25 MB at 49,152 tokens. Fixed, so that results do not depend on
/// the number of threads.
const TILE: usize = 128;

/// What is to be predicted from each row.
pub(crate) struct Targets {
    pub tokens: Vec<u32>,
    pub weights: Vec<f32>,
    /// What the weighed sum is multiplied by.
    pub scale: f64,
}

/// scale · Σ weight · cross-entropy(x · Wᵀ, token) over the rows. Where x has a graph its gradient is computed along with
/// the loss, while the logits are there; none ever reaches W.
///
/// # Shapes
/// `x` (rows, width), `weight` (vocabulary, width) → a scalar.
pub(crate) fn loss(x: &Tensor, weight: &Tensor, targets: Targets) -> Result<Tensor> {
    let (vocabulary, rows) = (weight.dim(0)?, x.dim(0)?);
    if targets.tokens.len() != rows || targets.weights.len() != rows {
        candle_core::bail!("{} tokens for {rows} rows", targets.tokens.len());
    }
    if let Some(token) = targets.tokens.iter().find(|token| **token as usize >= vocabulary) {
        candle_core::bail!("there is no token {token} of {vocabulary}");
    }
    let gradient = Mutex::new(x.track_op().then(Vec::new));
    x.contiguous()?.apply_op1(Loss { weight: weight.clone(), targets, gradient })
}

struct Loss {
    weight: Tensor,
    targets: Targets,
    /// That of x for a loss of 1, where it is wanted.
    gradient: Mutex<Option<Vec<f32>>>,
}

impl CustomOp1 for Loss {
    fn name(&self) -> &'static str {
        "frozen-loss"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Self { targets: Targets { tokens, weights, scale }, .. } = self;
        let (rows, width) = layout.shape().dims2()?;
        let (x, w) = (numbers(storage, layout)?, Numbers::of(&self.weight)?);
        let unembed = Matrix::new(&w, self.weight.dim(0)?, width);
        let turned = transposed(&w, width);
        let turned = Matrix::new(&turned, width, unembed.rows());
        let mut losses = vec![0.0; rows];
        let tiles = losses.par_chunks_mut(TILE).zip(x.par_chunks(TILE * width));
        let tiles = tiles.zip(tokens.par_chunks(TILE).zip(weights.par_chunks(TILE)));
        let logits_of = |logits: &mut Vec<f32>, x: &[f32]| {
            let rows = x.len() / width;
            logits.resize(rows * unembed.rows(), 0.0);
            matmul(logits, Matrix::new(x, rows, width), turned, Write::Set);
        };
        let mut gradient = self.gradient.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(gradient) = &mut *gradient {
            gradient.resize(x.len(), 0.0);
            tiles.zip(gradient.par_chunks_mut(TILE * width)).for_each_init(
                Vec::new,
                |logits, (((losses, x), (tokens, weights)), gradient)| {
                    logits_of(logits, x);
                    cross_entropy_gradient(logits, losses, tokens, weights, *scale as f32);
                    let logits = Matrix::new(logits, tokens.len(), unembed.rows());
                    matmul(gradient, logits, unembed, Write::Set);
                },
            );
        } else {
            tiles.for_each_init(Vec::new, |logits, ((losses, x), (tokens, _))| {
                logits_of(logits, x);
                cross_entropy(logits, losses, tokens);
            });
        }
        let sum: f64 = losses.iter().zip(weights).map(|(loss, weight)| f64::from(loss * weight)).sum();
        Ok((CpuStorage::F32(vec![(sum * scale) as f32]), Shape::from(())))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let held = self.gradient.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(of_one) = &*held else { candle_core::bail!("the gradient of a loss without a graph") };
        let of_one = Tensor::from_slice(of_one, x.shape(), x.device())?;
        of_one.broadcast_mul(gradient).map(Some)
    }
}
