//! From samples to gradients: the same losses on the fused path and by autograd.

mod batch;
mod fused;
mod groups;
mod reference;
mod sample;

use candle_core::Device;

use crate::{Backend, Error};

pub use batch::{Batch, LossWeights, Losses, PolicyLoss};
pub use fused::{FusedLearner, RolloutLoss};
pub use reference::{reference_gradient, reference_loss};

/// Whether a run with this setting computes on the fused path.
///
/// # Errors
/// Fails where the fused path is asked for off the CPU.
pub(crate) fn is_fused(backend: Backend, device: &Device) -> Result<bool, Error> {
    match backend {
        Backend::Auto => Ok(device.is_cpu()),
        Backend::Fused if !device.is_cpu() => Err(Error::Setting(
            "train.backend = \"fused\" runs on the CPU only: use \"auto\", or --device cpu".to_owned(),
        )),
        Backend::Fused => Ok(true),
        Backend::Candle => Ok(false),
    }
}
