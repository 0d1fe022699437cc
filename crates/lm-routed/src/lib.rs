//! Localising and removing a concept in a small language model by gradient routing.
//!
//! A decoder-only transformer is trained so that everything about a concept is learned in neurons that can be cut
//! out; they are cut out, and it is measured how hard the concept is to teach back.
//!
//! | to | use |
//! |---|---|
//! | have texts as tokens, told apart by a concept | [`data`] |
//! | describe a network, start it, widen it, cut neurons out | [`Architecture`], [`initial`], [`expanded`], [`ablated`] |
//! | run it, with masks, ablations and steering at its activations | [`Model`], [`Hooks`] |
//! | say which token is learned where | [`routing`] |
//! | train and compare methods | [`methods`], [`Language`] |
//!
//! On the CPU the passes are written by hand; the same network in candle operations is the reference they are tested
//! against, and what runs on a GPU.
//!
//! ```
//! use candle_core::Device;
//! use experiment::SeedStreams;
//! use lm_routed::{Architecture, Backend, Batch, Hooks, Model, Norm, Position, initial};
//!
//! # fn main() -> Result<(), lm_routed::Error> {
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
//! };
//! let parameters = initial(&architecture, &mut SeedStreams::new(0).stream("init"), &Device::Cpu)?;
//! let mut model = Model::new(&architecture, parameters, 8, 1, Backend::Auto)?;
//! let documents: [&[u16]; 2] = [&[1, 2, 3, 4, 5], &[6, 7, 8]];
//! let batch = Batch::new(documents, 8, 0);
//! let loss = model.gradient(&batch, &Hooks::default())?;
//! assert!((loss.loss - 32f64.ln()).abs() < 0.1); // it knows nothing yet
//! # Ok(())
//! # }
//! ```

mod batch;
pub mod bench;
mod checkpoint;
pub mod cli;
pub mod commands;
mod config;
pub mod data;
mod engine;
mod error;
mod evaluate;
mod finetune;
mod fused;
pub mod generate;
pub mod localise;
pub mod methods;
mod model;
mod parts;
mod pipeline;
mod program;
mod report;
mod results;
pub mod routing;
pub mod steer;
mod sweep;
mod train;

pub use batch::Batch;
pub use config::{
    Backend, CheckpointSection, CoherenceSection, Config, DataSection, EvalSection, Experiment,
    ExperimentSection, LocaliseSection, ModelSection, Place, RetrainSection, RmuSection, RoutingSection,
    Rule, SteerSection, TrainSection,
};
pub use engine::{Model, ParameterWeights, StepLoss};
pub use error::Error;
pub use evaluate::{Losses, Validation};
pub use finetune::{Context, Network, Relearned, make_coherent, relearn};
pub use model::{
    Architecture, ChannelWeights, HookPoint, Hooks, Intervention, Norm, Position, ablated, expanded, initial,
};
pub use parts::Parts;
pub use pipeline::after_training;
pub use program::Language;
pub use results::{PartResult, RoutedToken};
pub use train::{Order, StepReport, Trainer, cosine};
