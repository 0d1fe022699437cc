//! A step of some training that is only taken where its numbers are numbers.

use gradient_routing::Semantics;
use learning::{Adam, Moves, require_finite};
use transformer::{Model, StepLoss};

use crate::Error;

/// The step in hand, for the words of its error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepContext<'a> {
    /// What is trained, such as `era`.
    pub part: &'a str,
    /// The step, from 1.
    pub step: u64,
    /// The section of the config with its learning rate.
    pub section: &'static str,
}

/// Which parts of the parameters a step trains, and what happens to the others.
#[derive(Clone, Copy)]
pub(crate) struct StepMask<'a> {
    /// The parts that it trains.
    pub trained: &'a Moves,
    /// Whether the others stay, or move by their moments.
    pub semantics: Semantics,
}

impl StepContext<'_> {
    /// Refuses numbers of which one is NaN or infinite.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with all of them.
    pub(crate) fn require_finite(self, watched: &[(&str, f64)]) -> Result<(), Error> {
        let Self { part, step, section } = self;
        let part = part.to_owned();
        require_finite(watched).map_err(|fault| Error::NotFinite { part, step, fault, section })
    }

    /// Moves the model along its gradient, which `loss` came with, and returns the gradient's norm; of what a mask does
    /// not train nothing is in the gradient.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where loss or gradient are not numbers; the parameters are then as they were.
    pub(crate) fn take(
        self,
        model: &mut Model,
        adam: &mut Adam,
        loss: StepLoss,
        learning_rate: f64,
        max_norm: f64,
        mask: Option<StepMask<'_>>,
    ) -> Result<f64, Error> {
        let losses = [("the loss", loss.loss), ("the L1 penalty", loss.penalty)];
        self.require_finite(&losses)?;
        let norm = match mask {
            Some(StepMask { trained, semantics }) => {
                model.step_parts(adam, learning_rate, max_norm, trained, semantics)?
            }
            None => model.step(adam, learning_rate, max_norm)?,
        };
        let [loss, penalty] = losses;
        self.require_finite(&[loss, penalty, ("the gradient's norm", norm)])?;
        Ok(norm)
    }
}
