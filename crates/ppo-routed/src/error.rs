//! The errors of this crate.

/// What can go wrong in a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The update was cut off between two of its steps, as it was asked to be; the parameters are those after some of
    /// them.
    #[error("the update was cut off")]
    CutOff,
    /// A loss or gradient that is not a number.
    #[error("update {update}: {fault}: lower train.learning_rate, or raise ppo.max_grad_norm from 0")]
    NotFinite {
        /// The update in hand.
        update: u64,
        /// Which number, among the parts of the loss.
        fault: learning::NotFinite,
    },
    /// A saved state that does not fit this run.
    #[error("the checkpoint does not fit this run: {0}")]
    State(String),
    /// Settings that only show to be impossible while running.
    #[error("{0}")]
    Setting(String),
    /// A method whose routes make no sense in this environment.
    #[error("the environment's kinds cannot be routed: {0}")]
    Routes(#[from] gradient_routing::RouteTableError),
    /// The environment refused.
    #[error(transparent)]
    Env(#[from] envs::EnvError),
    /// The policy refused.
    #[error(transparent)]
    Policy(#[from] policies::PolicyError),
    /// The optimiser refused.
    #[error(transparent)]
    Learning(#[from] learning::LearningError),
    /// A picture could not be made.
    #[error(transparent)]
    Plot(#[from] plots::PlotError),
    /// candle refused an operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
