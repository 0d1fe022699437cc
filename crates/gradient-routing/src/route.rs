//! Routing at an activation: the identity forward, a weight backward.

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, MetalStorage, Shape, Tensor};

use crate::mask::constant_like;
use crate::{Result, RoutingError};

/// Passes `x` on unchanged and weighs its gradient by `mask`.
///
/// ```text
/// forward:   y = x, bit for bit          backward:   ∂L/∂x = mask ⊙ ∂L/∂y
/// ```
///
/// This is `mask ⊙ x + (1 − mask) ⊙ stop_gradient(x)` without its rounding. A weight of 1 lets the gradient
/// through, 0 makes it zero, a fraction weakens it, a negative number reverses it. Under a weight of 0 the
/// parameters before `x` still get a gradient, of zeros: use [`stop`] where they should get none. A gradient
/// that is infinite or NaN is not hidden by a weight of 0, since 0 · ∞ is NaN.
///
/// The mask is a constant: it never gets a gradient. Where no gradient can flow to `x` (in a rollout, say) `x`
/// itself comes back and nothing is copied.
///
/// # Shapes
///
/// `x` any float tensor; `mask` of any dtype, converted to that of `x`, broadcastable to the shape of `x`:
///
/// | weight per | mask for `x` of (batch, channel) | mask for `x` of (batch, token, channel) |
/// |---|---|---|
/// | example | (batch, 1) | (batch, 1, 1) |
/// | token | | (batch, token, 1) or (token, 1) |
/// | channel | (channel) | (channel) |
///
/// Dimensions are matched from the last: a mask of shape (batch) is read as one weight per *channel*, and is
/// refused only where the two sizes differ. Add the missing dimensions with `unsqueeze`.
///
/// # Errors
///
/// [`RoutingError::MaskShape`] where the mask does not broadcast to `x` (one that would enlarge `x` too),
/// [`RoutingError::MaskDevice`], [`RoutingError::NotFloat`].
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor, Var};
///
/// let x = Var::new(&[[1f32, 2.], [3., 4.]], &Device::Cpu)?;
/// let per_example = Tensor::new(&[[1f32], [-0.75]], &Device::Cpu)?;
/// let y = gradient_routing::route(&x, &per_example)?;
/// assert_eq!(y.to_vec2::<f32>()?, x.to_vec2::<f32>()?);
///
/// let gradients = y.sum_all()?.backward()?;
/// assert_eq!(gradients.get(&x).unwrap().to_vec2::<f32>()?, [[1., 1.], [-0.75, -0.75]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
///
/// Cloud et al. 2024, arXiv 2410.04332, section 3.
pub fn route(x: &Tensor, mask: &Tensor) -> Result<Tensor> {
    require_float(x)?;
    weigh_gradient(x, Weight::Mask(constant_like(mask, x)?))
}

/// Passes `x` on unchanged and multiplies its gradient by one number.
///
/// ```text
/// forward:   y = x, bit for bit          backward:   ∂L/∂x = factor · ∂L/∂y
/// ```
///
/// [`route`] with a mask of one element. A factor of −1 is gradient reversal; with a factor of 0 the parameters
/// before `x` get a gradient of zeros (see [`stop`] for none).
///
/// # Shapes
///
/// `x` any float tensor; the result has its shape.
///
/// # Errors
///
/// [`RoutingError::NotFloat`].
///
/// # Example
///
/// ```
/// use candle_core::{Device, Var};
///
/// let x = Var::new(&[1f32, 2.], &Device::Cpu)?;
/// let gradients = gradient_routing::scale(&x, -0.5)?.sum_all()?.backward()?;
/// assert_eq!(gradients.get(&x).unwrap().to_vec1::<f32>()?, [-0.5, -0.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
///
/// Cloud et al. 2024, arXiv 2410.04332, section 3.
pub fn scale(x: &Tensor, factor: f64) -> Result<Tensor> {
    require_float(x)?;
    weigh_gradient(x, Weight::Factor(factor))
}

/// Passes `x` on unchanged and lets no gradient back.
///
/// ```text
/// forward:   y = x, bit for bit          backward:   the graph ends here
/// ```
///
/// A parameter that reaches the loss only through `x` gets *no entry* in the gradient store, so an optimizer
/// skips it. `scale(x, 0.0)` gives it an entry of zeros instead, and under Adam zeros still move a parameter by
/// its moments and its weight decay.
///
/// That holds for `x` as a whole. Where only a slice of a tensor is stopped and the rest of it reaches the loss,
/// the gradient of the rest goes back through the whole tensor, and what lies before the slice gets zeros.
///
/// The result shares its memory with `x`: where `x` is a variable itself, a later update shows in both.
///
/// # Shapes
///
/// Any tensor; the result has its shape.
///
/// # Errors
///
/// None.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Var};
///
/// let x = Var::new(&[1f32, 2.], &Device::Cpu)?;
/// let gradients = (gradient_routing::stop(&x) * x.as_tensor())?.sum_all()?.backward()?;
/// assert_eq!(gradients.get(&x).unwrap().to_vec1::<f32>()?, [1., 2.]); // not 2x: one factor is a constant
///
/// let gradients = gradient_routing::stop(&x).sum_all()?.backward()?;
/// assert!(gradients.get(&x).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
///
/// Cloud et al. 2024, arXiv 2410.04332, section 3 (`stop_gradient`).
pub fn stop(x: &Tensor) -> Tensor {
    x.detach()
}

fn require_float(x: &Tensor) -> Result<()> {
    if x.dtype().is_float() { Ok(()) } else { Err(RoutingError::NotFloat { dtype: x.dtype() }) }
}

fn weigh_gradient(x: &Tensor, weight: Weight) -> Result<Tensor> {
    if x.track_op() { Ok(x.apply_op1(weight)?) } else { Ok(x.clone()) }
}

/// The identity, with a weight on its gradient.
enum Weight {
    /// Constant, of the shape and dtype of the argument.
    Mask(Tensor),
    Factor(f64),
}

impl CustomOp1 for Weight {
    fn name(&self) -> &'static str {
        "gradient-routing"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        copy(x, layout)
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        copy(x, layout)
    }

    fn metal_fwd(&self, x: &MetalStorage, layout: &Layout) -> candle_core::Result<(MetalStorage, Shape)> {
        copy(x, layout)
    }

    // Always a gradient, of zeros where the weight is zero: with `None` candle panics at the node before, whose
    // gradient it then looks up in vain.
    fn bwd(&self, _x: &Tensor, _y: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        match self {
            Self::Mask(mask) => gradient.mul(mask).map(Some),
            Self::Factor(factor) => gradient.affine(*factor, 0.).map(Some),
        }
    }
}

/// The elements that `layout` selects, laid out contiguously from offset 0, as candle expects of a custom op.
///
/// A storage's own `try_clone` would keep the offset and the strides of a view.
fn copy<S>(storage: &S, layout: &Layout) -> candle_core::Result<(S, Shape)>
where
    S: BackendStorage,
    S::Device: BackendDevice<Storage = S>,
{
    let mut copied = storage.device().zeros_impl(layout.shape(), storage.dtype())?;
    storage.copy_strided_src(&mut copied, 0, layout)?;
    Ok((copied, layout.shape().clone()))
}
