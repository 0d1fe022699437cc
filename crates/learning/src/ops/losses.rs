//! Losses from logits that are finite wherever the logits are.

use candle_core::{Result, Tensor};

use super::activations::{maximum, shifted};

/// −ln softmax(z)\[target\] of each row of logits z, as ln Σⱼ e^(zⱼ − max z) − (z − max z)\[target\].
///
/// # Shapes
/// `logits` (rows, classes), `targets` (rows) of type `u32` → (rows).
///
/// # Errors
/// Fails where candle does.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let shifted = shifted(logits)?;
    let total = shifted.exp()?.sum_keepdim(1)?.log()?;
    let chosen = shifted.gather(&targets.unsqueeze(1)?, 1)?;
    (total - chosen)?.squeeze(1)
}

/// −y·ln σ(z) − (1 − y)·ln(1 − σ(z)) of each entry, as max(z, 0) − z·y + ln(1 + e^−|z|), which is finite for every
/// finite logit z.
///
/// # Shapes
/// `logits` and `targets` of one shape.
///
/// # Errors
/// Fails where candle does.
///
/// # Source
/// PyTorch's `binary_cross_entropy_with_logits`.
pub fn binary_cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let softplus = (logits.abs()?.neg()?.exp()? + 1.0)?.log()?;
    (maximum(logits, &logits.zeros_like()?)? - (logits * targets)?)? + softplus
}
