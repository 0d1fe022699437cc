//! Layers and losses in candle operations, each with a gradient by autograd on every device.
//!
//! candle and candle-nn have some of these names as well, but several without a gradient (`softmax_last_dim`,
//! `layer_norm`, `rms_norm`), some with another one than PyTorch's (`Tensor::relu` has slope 1 at 0), and a binary
//! cross-entropy that becomes infinite. Here every formula is made of operations whose gradients are right, in
//! `f32` and `f64`.
//!
//! ```
//! use candle_core::{Device, Var};
//! use learning::ops;
//!
//! # fn main() -> candle_core::Result<()> {
//! let x = Var::new(&[-1f32, 0.0, 2.0], &Device::Cpu)?;
//! let gradients = ops::relu(&x)?.sum_all()?.backward()?;
//! let slope = gradients.get(&x).map(|slope| slope.to_vec1::<f32>()).transpose()?;
//! assert_eq!(slope, Some(vec![0.0, 0.0, 1.0]));
//! # Ok(())
//! # }
//! ```

mod activations;
mod losses;
mod norms;
#[cfg(test)]
mod tests;

pub use activations::{clamp, log_softmax, maximum, relu, softmax};
pub use losses::{binary_cross_entropy, cross_entropy};
pub use norms::{layer_norm, rms_norm};
