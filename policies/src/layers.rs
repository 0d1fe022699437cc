//! The layers of the networks in candle operations that all have gradients.

use candle_core::{DType, Tensor};
use learning::ops::softmax;

use crate::{PolicyError, Steering};

/// x·Wᵀ + b.
///
/// # Shapes
/// `x` (n, in), `weight` (out, in), `bias` (out).
pub(crate) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor, PolicyError> {
    Ok(x.matmul(&weight.t()?)?.broadcast_add(bias)?)
}

/// The linear layer on a flattened 1×1 convolution as one linear layer: (W', b') with
/// W'·x + b' = W·flatten(conv(x)) + b. Exact, and cheap since it does not depend on the batch.
///
/// # Shapes
/// `kernel` (out planes, in planes), `kernel_bias` (out planes), `weight` (out, out planes × cells),
/// `bias` (out) → (out, in planes × cells), (out).
pub(crate) fn fold_conv(
    kernel: &Tensor,
    kernel_bias: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
) -> Result<(Tensor, Tensor), PolicyError> {
    let (planes_out, planes_in) = kernel.dims2()?;
    let (out, width) = weight.dims2()?;
    let cells = width / planes_out;
    let by_plane = weight.reshape((out, planes_out, cells))?.transpose(1, 2)?.contiguous()?;
    let by_plane = by_plane.reshape((out * cells, planes_out))?;
    let folded = by_plane.matmul(kernel)?.reshape((out, cells, planes_in))?.transpose(1, 2)?;
    let folded = folded.contiguous()?.reshape((out, planes_in * cells))?;
    let shift = by_plane.matmul(&kernel_bias.unsqueeze(1)?)?.reshape((out, cells))?.sum(1)?;
    Ok((folded, (bias + shift)?))
}

/// The experts' weights from the gate's logits: softmax, over the experts that are kept, of the logits with a 0 appended
/// for the last expert.
///
/// # Shapes
/// (n, experts − 1) → (n, experts).
pub(crate) fn gate_weights(gate_logits: &Tensor, steering: Steering) -> Result<Tensor, PolicyError> {
    let zero = Tensor::zeros((gate_logits.dim(0)?, 1), DType::F32, gate_logits.device())?;
    let logits = Tensor::cat(&[gate_logits, &zero.to_dtype(gate_logits.dtype())?], 1)?;
    let experts = logits.dim(1)?;
    if (0..experts).all(|expert| steering.keeps(expert)) {
        return Ok(softmax(&logits)?);
    }
    // far below every logit, so that its exponential is exactly 0
    let removed: Vec<f32> = (0..experts).map(|e| if steering.keeps(e) { 0.0 } else { -1e30 }).collect();
    let removed = Tensor::from_vec(removed, (1, experts), logits.device())?.to_dtype(logits.dtype())?;
    Ok(softmax(&logits.broadcast_add(&removed)?)?)
}
