//! The errors of this crate.

/// What can go wrong with a network and its passes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Sizes of which no network can be made.
    #[error("no such network: {0}")]
    Architecture(String),
    /// The fused passes were asked for an activation that they do not compute.
    #[error(
        "the fused passes compute the activation GeluTanh only, not {0:?}: use the backend `auto` or `candle`"
    )]
    FusedActivation(crate::Activation),
    /// A parameter that is not what the passes expect.
    #[error("the parameter {0} is not of this model, on the CPU and of type f32")]
    Parameter(String),
    /// Weights of a parameter's gradient that are not one for each of its elements.
    #[error("{found} weights for the {expected} elements of {name}")]
    ParameterWeights {
        /// The parameter.
        name: String,
        /// Its elements.
        expected: usize,
        /// The weights that were given.
        found: usize,
    },
    /// A saved network whose header does not say its shape.
    #[error("{origin} has no network's shape: {fault}")]
    Header {
        /// The file or whatever else the header comes from.
        origin: String,
        /// What is wrong with it.
        fault: String,
    },
    /// The parameters refused.
    #[error(transparent)]
    Learning(#[from] learning::LearningError),
    /// A mask does not fit.
    #[error(transparent)]
    Routing(#[from] gradient_routing::RoutingError),
    /// candle refused an operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// Groups of neurons or heads are not all of a block's.
    #[error("the groups of block {layer} have {found} {what}, the block has {needed}")]
    Groups {
        /// Neurons or heads.
        what: &'static str,
        /// The block.
        layer: usize,
        /// How many the block has.
        needed: usize,
        /// How many the groups have.
        found: usize,
    },
}
