//! Norms over the last dimension.

use candle_core::{D, Result, Tensor};

/// (x − mean x) / √(mean (x − mean x)² + ε) ⊙ w + b, means over the last dimension; without b where there is none.
///
/// # Shapes
/// `x` (…, n), `weight` and `bias` (n) → (…, n).
///
/// # Errors
/// Fails where candle does.
///
/// # Source
/// Ba et al. 2016.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let scaled = rms_norm(&centred, weight, eps)?;
    match bias {
        Some(bias) => scaled.broadcast_add(bias),
        None => Ok(scaled),
    }
}

/// x / √(mean x² + ε) ⊙ w, the mean over the last dimension.
///
/// # Shapes
/// `x` (…, n), `weight` (n) → (…, n).
///
/// # Errors
/// Fails where candle does.
///
/// # Source
/// Zhang and Sennrich 2019.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let size = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    x.broadcast_div(&size)?.broadcast_mul(weight)
}
