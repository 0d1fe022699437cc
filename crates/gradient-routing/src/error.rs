//! What can go wrong, and what to do about it.

use candle_core::{DType, DeviceLocation, Shape};

use crate::flow::FlowMismatch;
use crate::route_table::RouteTableError;
use crate::table_flow::TableFlowMismatch;

/// The result of every fallible function of this crate.
pub type Result<T> = std::result::Result<T, RoutingError>;

/// What can go wrong; each message names the shapes or names at fault and the remedy.
///
/// It converts into [`candle_core::Error`], so `?` also works inside a model that returns candle's results.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoutingError {
    /// A mask does not broadcast to the tensor it weighs.
    #[error(
        "mask {mask:?} does not broadcast to {x:?}: give each of its dimensions, counted from the last, the \
         size of that tensor or 1 (a weight per example of a (batch, channel) tensor has the shape (batch, 1))"
    )]
    MaskShape {
        /// Shape of the mask.
        mask: Shape,
        /// Shape of the tensor it should weigh.
        x: Shape,
    },

    /// A mask lies on another device than the tensor it weighs.
    #[error("mask on {mask:?} for a tensor on {x:?}: move the mask with `to_device`")]
    MaskDevice {
        /// Where the mask lies.
        mask: DeviceLocation,
        /// Where the tensor lies.
        x: DeviceLocation,
    },

    /// A tensor of integers was to be routed.
    #[error(
        "cannot route a tensor of {dtype:?}: no gradient passes through integers, convert it to floats first"
    )]
    NotFloat {
        /// Element type of the tensor.
        dtype: DType,
    },

    /// The weights of [`mask_channels`](crate::mask_channels) are not one for each channel.
    #[error(
        "channel weights {weights:?} for dimension {dim} of {x:?}: give a vector with one weight per channel"
    )]
    ChannelWeights {
        /// Shape of the weights.
        weights: Shape,
        /// Dimension that holds the channels.
        dim: usize,
        /// Shape of the tensor.
        x: Shape,
    },

    /// A channel that the tensor does not have.
    #[error("no channel {channel} in dimension {dim} of {x:?}: channels count from 0 to its size less one")]
    ChannelOutOfRange {
        /// The channel asked for.
        channel: usize,
        /// Dimension that holds the channels.
        dim: usize,
        /// Shape of the tensor.
        x: Shape,
    },

    /// Removing the channels would leave an empty tensor.
    #[error(
        "removing every channel of dimension {dim} of {x:?} leaves nothing: keep one, or use `ablate` to zero them"
    )]
    NoChannelLeft {
        /// Dimension that holds the channels.
        dim: usize,
        /// Shape of the tensor.
        x: Shape,
    },

    /// A rule or an expectation names a parameter that is not among those given.
    #[error("no parameter named {}: the parameters are {}", quoted(names), quoted(known))]
    UnknownParameter {
        /// The names that match no parameter.
        names: Vec<String>,
        /// The parameters there are.
        known: Vec<String>,
    },

    /// The mask of a named parameter does not fit it.
    #[error("parameter `{name}`: {source}")]
    Parameter {
        /// Name of the parameter.
        name: String,
        /// What is wrong with its mask.
        source: Box<RoutingError>,
    },

    /// Masks of parameters were asked of a table that routes at activations.
    #[error(
        "this table routes at activations and has no masks for parameters: use `channel_masks` with `route`, or \
         build it with `Site::Parameters`"
    )]
    NotAtParameters,

    /// A parameter that the groups of a table should share, and that does not have their channels.
    #[error(
        "dimension {dim} of parameter `{name}` {shape:?} cannot hold the {channels} channels of the table: name \
         one of that size, of a parameter that no group owns as a whole"
    )]
    SharedChannels {
        /// Name of the parameter.
        name: String,
        /// Dimension that should hold the channels.
        dim: usize,
        /// Shape of the parameter.
        shape: Shape,
        /// Channels of the table.
        channels: usize,
    },

    /// Some channels of a parameter should be frozen and others not.
    #[error(
        "cannot freeze some channels of parameter `{name}`, since an optimizer skips whole parameters only: use \
         `Semantics::ZeroGradient`, or give each group a parameter of its own"
    )]
    FrozenChannels {
        /// Name of the parameter.
        name: String,
    },

    /// A loss trains other parameters than expected.
    #[error(transparent)]
    Flow(#[from] FlowMismatch),

    /// A class trains other parameters than its table says.
    #[error(transparent)]
    TableFlow(#[from] TableFlowMismatch),

    /// A class sends gradients into other channels than its table says.
    #[error(
        "class `{class}` does not train the channels that the table says: no gradient at {missing:?}, a gradient \
         at {unexpected:?}; weigh the activation with `channel_masks` of that class"
    )]
    ChannelFlow {
        /// Name of the class.
        class: String,
        /// Channels that should have a gradient and have none.
        missing: Vec<usize>,
        /// Channels that have a gradient and should have none.
        unexpected: Vec<usize>,
    },

    /// Parameters have changed in a step that should have left them alone.
    #[error(
        "{} changed although frozen: keep them out of the optimizer's step, or remove their gradients, since zeros \
         still move a parameter under momentum or weight decay",
        quoted(names)
    )]
    NotFrozen {
        /// Names of the parameters.
        names: Vec<String>,
    },

    /// A table of routes was refused.
    #[error(transparent)]
    Table(#[from] RouteTableError),

    /// candle refused an operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl From<RoutingError> for candle_core::Error {
    fn from(error: RoutingError) -> Self {
        match error {
            RoutingError::Candle(error) => error,
            error => Self::wrap(error),
        }
    }
}

/// `` `a`, `b` ``, or `none`.
pub(crate) fn quoted<S: AsRef<str>>(names: &[S]) -> String {
    if names.is_empty() {
        return "none".to_string();
    }
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}
