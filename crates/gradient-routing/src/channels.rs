//! Forward masks: channels weighed, set to zero, or cut out of a tensor.
#![expect(
    clippy::needless_pass_by_value,
    reason = "dimensions are given as to candle's own functions: `1`, `D::Minus1`"
)]

use std::collections::BTreeSet;

use candle_core::shape::Dim;
use candle_core::{Tensor, Var};

use crate::mask::constant_like;
use crate::{Result, RoutingError};

/// Multiplies each channel by its weight, in both passes.
///
/// ```text
/// forward:   y[…, c, …] = weights[c] · x[…, c, …]          backward:   ∂L/∂x[…, c, …] = weights[c] · ∂L/∂y[…, c, …]
/// ```
///
/// Unlike [`route`](crate::route) this changes what the network computes. The weights are constants and get no
/// gradient. To set channels to zero use [`ablate`], which also removes NaN and infinity.
///
/// # Shapes
///
/// `x` any float tensor with `C` channels in dimension `dim`; `weights` (C), converted to the dtype of `x`.
///
/// # Errors
///
/// [`RoutingError::ChannelWeights`] where `weights` is no vector of `C` elements, [`RoutingError::MaskDevice`],
/// [`RoutingError::NotFloat`], and candle's error for a dimension out of range.
///
/// # Example
///
/// ```
/// use candle_core::{D, Device, Tensor};
///
/// let x = Tensor::new(&[[1f32, 2., 3.]], &Device::Cpu)?;
/// let weights = Tensor::new(&[1f32, 0.5, -1.], &Device::Cpu)?;
/// let y = gradient_routing::mask_channels(&x, D::Minus1, &weights)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[1., 1., -3.]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
///
/// Cloud et al. 2024, arXiv 2410.04332, section 3 (a mask of the forward pass, for comparison).
pub fn mask_channels<D: Dim>(x: &Tensor, dim: D, weights: &Tensor) -> Result<Tensor> {
    if !x.dtype().is_float() {
        return Err(RoutingError::NotFloat { dtype: x.dtype() });
    }
    let dim = dim.to_index(x.shape(), "mask_channels")?;
    if weights.dims() != [x.dims()[dim]] {
        return Err(RoutingError::ChannelWeights {
            weights: weights.shape().clone(),
            dim,
            x: x.shape().clone(),
        });
    }
    Ok(x.mul(&constant_like(&along(weights, dim, x)?, x)?)?)
}

/// Sets channels to zero and leaves the others bit for bit as they are.
///
/// ```text
/// forward:   y[…, c, …] = 0 for c in channels, else x[…, c, …]          backward:   the same for the gradient
/// ```
///
/// Zeros even where `x` holds NaN or infinity. For the activations of a network this deletes the computation of
/// those units; for a weight matrix it clears rows or columns (see also [`ablate_parameter`], which does it in
/// place, and [`remove_channels`], which gives a smaller matrix).
///
/// # Shapes
///
/// `x` any tensor with the channels in dimension `dim`; the result has its shape. `channels` may repeat and
/// come in any order.
///
/// # Errors
///
/// [`RoutingError::ChannelOutOfRange`], and candle's error for a dimension out of range.
///
/// # Example
///
/// ```
/// use candle_core::{D, Device, Tensor};
///
/// let x = Tensor::new(&[[1f32, 2., f32::NAN], [4., 5., 6.]], &Device::Cpu)?;
/// let y = gradient_routing::ablate(&x, D::Minus1, &[2])?;
/// assert_eq!(y.to_vec2::<f32>()?, [[1., 2., 0.], [4., 5., 0.]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
///
/// Cloud et al. 2024, arXiv 2410.04332, section 3 (the last step of expand, route, ablate).
pub fn ablate<D: Dim>(x: &Tensor, dim: D, channels: &[usize]) -> Result<Tensor> {
    let dim = dim.to_index(x.shape(), "ablate")?;
    let kept = kept_channels(x, dim, channels)?;
    let mut keep = vec![0u8; x.dims()[dim]];
    for channel in kept {
        keep[channel] = 1;
    }
    let keep = along(&Tensor::new(keep, x.device())?, dim, x)?.broadcast_as(x.shape())?;
    Ok(keep.where_cond(x, &x.zeros_like()?)?)
}

/// Sets channels of a parameter to zero, in place.
///
/// ```text
/// parameter[…, c, …] ← 0 for c in channels
/// ```
///
/// The optimizer's moments are not touched: under Adam the next update moves the zeros again. Ablate after
/// training, or give the parameter [`ParameterMask::SkipUpdate`](crate::ParameterMask::SkipUpdate).
///
/// # Shapes
///
/// Any variable with the channels in dimension `dim`. In a linear layer's weight of (outputs, inputs) dimension
/// 0 clears what a unit receives (its bias apart), dimension 1 what a unit sends on.
///
/// # Errors
///
/// As [`ablate`]; the parameter is then unchanged.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Var};
///
/// let weight = Var::new(&[[1f32, 2.], [3., 4.]], &Device::Cpu)?;
/// gradient_routing::ablate_parameter(&weight, 0, &[1])?;
/// assert_eq!(weight.to_vec2::<f32>()?, [[1., 2.], [0., 0.]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
///
/// Cloud et al. 2024, arXiv 2410.04332, section 3 (the last step of expand, route, ablate).
pub fn ablate_parameter<D: Dim>(parameter: &Var, dim: D, channels: &[usize]) -> Result<()> {
    Ok(parameter.set(&ablate(&parameter.detach(), dim, channels)?)?)
}

/// Cuts channels out of a tensor, so that it becomes smaller.
///
/// ```text
/// y = the channels of x that are not in channels, in their order
/// ```
///
/// Deletes the neurons that were added for a class: cut them out of dimension 0 of their layer's weight and bias
/// and out of dimension 1 of the next layer's weight. The gradient flows to the channels that are kept.
///
/// # Shapes
///
/// `x` any tensor with `C` channels in dimension `dim`; the result has `C − k` there for `k` distinct channels.
///
/// # Errors
///
/// [`RoutingError::ChannelOutOfRange`], [`RoutingError::NoChannelLeft`], and candle's error for a dimension out
/// of range.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
///
/// let weight = Tensor::new(&[[1f32, 2.], [3., 4.], [5., 6.]], &Device::Cpu)?;
/// let smaller = gradient_routing::remove_channels(&weight, 0, &[1])?;
/// assert_eq!(smaller.to_vec2::<f32>()?, [[1., 2.], [5., 6.]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
///
/// Cloud et al. 2024, arXiv 2410.04332, section 3 (the last step of expand, route, ablate).
pub fn remove_channels<D: Dim>(x: &Tensor, dim: D, channels: &[usize]) -> Result<Tensor> {
    let dim = dim.to_index(x.shape(), "remove_channels")?;
    let kept = kept_channels(x, dim, channels)?;
    if kept.is_empty() {
        return Err(RoutingError::NoChannelLeft { dim, x: x.shape().clone() });
    }
    let kept = kept.into_iter().map(|channel| channel as u32).collect::<Vec<_>>();
    Ok(x.index_select(&Tensor::new(kept, x.device())?, dim)?)
}

/// The channels of dimension `dim` that are not in `channels`, in order.
fn kept_channels(x: &Tensor, dim: usize, channels: &[usize]) -> Result<Vec<usize>> {
    let size = x.dims()[dim];
    if let Some(&channel) = channels.iter().find(|&&channel| channel >= size) {
        return Err(RoutingError::ChannelOutOfRange { channel, dim, x: x.shape().clone() });
    }
    let removed = channels.iter().collect::<BTreeSet<_>>();
    Ok((0..size).filter(|channel| !removed.contains(channel)).collect())
}

/// A vector laid along dimension `dim` of `x`, with 1 in every other dimension.
fn along(vector: &Tensor, dim: usize, x: &Tensor) -> Result<Tensor> {
    let mut shape = vec![1; x.rank()];
    shape[dim] = vector.elem_count();
    Ok(vector.reshape(shape)?)
}
