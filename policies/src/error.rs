//! The errors of this crate.

/// What can go wrong with a policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A configuration that describes no network.
    #[error("no such network: {0}")]
    Config(String),
    /// A steering that the policy does not have.
    #[error("cannot steer to expert {expert}: the policy has {experts}")]
    NoSuchExpert {
        /// The expert asked for.
        expert: usize,
        /// The number of experts.
        experts: usize,
    },
    /// An input of the wrong shape.
    #[error("{what} has shape {found:?}, needed is {expected:?}")]
    Shape {
        /// Which input.
        what: &'static str,
        /// The shape needed.
        expected: Vec<usize>,
        /// The shape given.
        found: Vec<usize>,
    },
    /// Parameters could not be read, written or found.
    #[error(transparent)]
    Learning(#[from] learning::LearningError),
    /// A mask could not be applied.
    #[error(transparent)]
    Routing(#[from] gradient_routing::RoutingError),
    /// candle refused an operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
