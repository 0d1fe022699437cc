//! From samples to gradients: the same losses on the fused path and by autograd.

use learning::Parameters;

use crate::Error;

mod batch;
mod fused;
mod groups;
mod reference;
mod sample;

pub use batch::{Batch, LossWeights, Losses, PolicyLoss};
pub use fused::{FusedLearner, RolloutLoss};
pub use reference::{reference_gradient, reference_loss};

/// What computes the gradients of a trainer.
pub(crate) enum Learner {
    /// The fused passes.
    Fused(Box<FusedLearner>),
    /// Candle's autograd, on the trainer's own policy.
    Candle,
}

impl Learner {
    /// Takes over changed parameters.
    pub(crate) fn load(&mut self, parameters: &Parameters) -> Result<(), Error> {
        match self {
            Self::Fused(learner) => learner.load(parameters),
            Self::Candle => Ok(()),
        }
    }
}
