//! The transformer: its shape, its parameters, the hooks at its activations, and the candle reference.

mod groups;
mod hooks;
mod parameters;
pub(crate) mod reference;
pub mod rotary;
mod shape;

pub use groups::ChannelGroups;
pub use hooks::{ChannelWeights, HookPoint, Hooks, Intervention};
pub use parameters::{copied, expanded, from_map, initial};
pub use reference::edited;
pub use shape::{Activation, Architecture, Norm, Position};
