//! From samples to gradients: the same losses on the fused path and by autograd.

mod batch;
mod fused;
mod groups;
mod reference;
mod sample;

pub use batch::{Batch, LossWeights, Losses, PolicyLoss};
pub use fused::{FusedLearner, RolloutLoss};
pub use reference::{reference_gradient, reference_loss};
