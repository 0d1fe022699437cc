//! A mask made ready for the tensor it weighs.

use candle_core::Tensor;

use crate::{Result, RoutingError};

/// The mask as a constant view of the shape, dtype and device of `x`.
///
/// Everything that could fail in the backward pass fails here instead, where the caller can see it.
pub(crate) fn constant_like(mask: &Tensor, x: &Tensor) -> Result<Tensor> {
    if !mask.device().same_device(x.device()) {
        return Err(RoutingError::MaskDevice { mask: mask.device().location(), x: x.device().location() });
    }
    let mask = mask.detach().to_dtype(x.dtype())?;
    mask.broadcast_as(x.shape())
        .map_err(|_| RoutingError::MaskShape { mask: mask.shape().clone(), x: x.shape().clone() })
}
