//! The transformer: its shape, its parameters, the hooks at its activations, and the candle reference.

mod hooks;
mod parameters;
pub(crate) mod reference;
mod shape;

pub use hooks::{ChannelWeights, HookPoint, Hooks, Intervention};
pub use parameters::{ablated, copied, expanded, from_map, initial};
pub use shape::{Activation, Architecture, Norm, Position};
