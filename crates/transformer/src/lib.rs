//! A decoder-only transformer whose activations and gradients can be intervened on.
//!
//! | to | use |
//! |---|---|
//! | describe a network, start it, widen it, cut neurons out | [`Architecture`], [`initial`], [`expanded`], [`Network::keeping`] |
//! | run and train it, with routes, ablations and steering at its activations | [`Model`], [`Hooks`] |
//! | save and load it | [`Network`] |
//! | continue a text | [`generate`] |
//!
//! On the CPU the passes are written by hand; the same network in candle operations is the reference they are tested
//! against, and what runs on a GPU.
//!
//! ```
//! use candle_core::Device;
//! use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};
//! use transformer::{Architecture, Backend, Batch, Hooks, Model, Norm, Position, initial};
//!
//! # fn main() -> Result<(), transformer::Error> {
//! let architecture = Architecture {
//!     n_layer: 2,
//!     n_head: 2,
//!     n_embd: 16,
//!     mlp_widths: vec![64, 64],
//!     block_size: 8,
//!     vocab_size: 32,
//!     position: Position::Rotary,
//!     norm: Norm::RmsNorm,
//!     tied: true,
//!     ..Architecture::default()
//! };
//! let parameters = initial(&architecture, &mut Xoshiro256PlusPlus::seed_from_u64(0), &Device::Cpu)?;
//! let mut model = Model::new(&architecture, parameters, 8, 1, Backend::Auto)?;
//! let documents: [&[u32]; 2] = [&[1, 2, 3, 4, 5], &[6, 7, 8]];
//! let batch = Batch::new(documents, 8, 0);
//! let loss = model.gradient(&batch, &Hooks::default())?;
//! assert!((loss.loss - 32f64.ln()).abs() < 0.1); // it knows nothing yet
//! # Ok(())
//! # }
//! ```

mod batch;
mod engine;
mod error;
mod fused;
pub mod generate;
mod model;
mod network;
mod submodels;
mod text_cache;

pub use batch::{Batch, StepLoss};
pub use engine::{ClassGradient, Model, ParameterWeights};
pub use error::Error;
pub use fused::{ResidualLoss, attention};
pub use learning::Backend;
pub use model::{
    Activation, Architecture, ChannelGroups, ChannelWeights, HookPoint, Hooks, Intervention, Norm, Position,
    copied, edited, expanded, from_map, initial, rotary,
};
pub use network::Network;
pub use submodels::Submodels;
pub use text_cache::TextCache;
