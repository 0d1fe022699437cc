//! Activations, and comparisons whose gradient is defined everywhere.

use candle_core::{D, Result, Tensor};

/// max(x, 0), written as x ⊙ \[x > 0\] so that ReLU'(0) is 0 (`Tensor::relu` has 1 there). NaN stays NaN.
///
/// # Shapes
/// Any.
///
/// # Errors
/// Fails where candle does.
///
/// # Source
/// PyTorch's `relu`, whose gradient at 0 is 0.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    let positive = x.detach().gt(0.0)?.to_dtype(x.dtype())?;
    x * positive
}

/// eˣⁱ / Σⱼ eˣʲ over the last dimension, with the largest entry taken off first: finite for all finite x.
///
/// # Shapes
/// (…, n) → (…, n).
///
/// # Errors
/// Fails where candle does.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    let exp = shifted(x)?.exp()?;
    exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)
}

/// xᵢ − ln Σⱼ eˣʲ over the last dimension, with the largest entry taken off first: finite for all finite x.
///
/// # Shapes
/// (…, n) → (…, n).
///
/// # Errors
/// Fails where candle does.
pub fn log_softmax(x: &Tensor) -> Result<Tensor> {
    let shifted = shifted(x)?;
    shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(D::Minus1)?.log()?)
}

/// x − max x over the last dimension. The maximum counts as a constant, which leaves the gradients of softmax and
/// its logarithm what they are.
pub(super) fn shifted(x: &Tensor) -> Result<Tensor> {
    x.broadcast_sub(&x.detach().max_keepdim(D::Minus1)?)
}

/// The larger of two tensors, entry by entry; where they are equal the gradient goes to `a` alone.
///
/// # Shapes
/// Both of one shape.
///
/// # Errors
/// Fails where candle does.
pub fn maximum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    a.detach().ge(&b.detach())?.where_cond(a, b)
}

/// x kept between two numbers, with gradient 1 from `low` to `high`, both included, and 0 outside.
///
/// # Shapes
/// Any.
///
/// # Errors
/// Fails where candle does.
pub fn clamp(x: &Tensor, low: f64, high: f64) -> Result<Tensor> {
    let inside = (x.detach().ge(low)? * x.detach().le(high)?)?;
    inside.where_cond(x, &x.detach().clamp(low, high)?)
}
