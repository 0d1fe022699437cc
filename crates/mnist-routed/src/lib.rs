//! Splitting the latent space of an MNIST autoencoder by gradient routing.
//!
//! An encoder turns an image into 32 numbers. The gradient of the reconstruction of a digit 0–4 may reach the
//! first 16 of them only, that of 5–9 the last 16 only. Then a *certificate*, a decoder that is trained on one
//! half without training it, shows what that half knows.
//!
//! | here | what |
//! |---|---|
//! | [`Setting`], [`Split`], [`Config`] | the ten rows of the paper's Table 2, partitions of the digits, all keys |
//! | [`Objective`] | the losses, and where each digit's gradient may go |
//! | [`mod@reference`] | candle and autograd, with routing by `gradient_routing::route` |
//! | [`fused`] | the same by hand for the CPU; the tests hold its gradients to autograd's |
//! | [`Trainer`] | batches, steps, evaluations |
//! | [`Autoencoder`] | the experiment as a program of [`experiment::driver`] |
//! | `table`, [`eval`], [`plots`], [`bench`](mod@bench), [`cli`] | the verbs |
//!
//! ```
//! use std::sync::Arc;
//!
//! use candle_core::Device;
//! use mnist_routed::{Config, DatasetName, Trainer, data};
//!
//! # fn main() -> anyhow::Result<()> {
//! let mut config = Config::default();
//! (config.model.hidden, config.train.batch_size) = (vec![16, 8], 50);
//! let dataset = Arc::new(data::load(DatasetName::Sample, None, true)?);
//! let mut trainer = Trainer::new(&config, &dataset, 0, 1, 1, &Device::Cpu)?;
//! trainer.update()?;
//! let evaluation = trainer.evaluate()?;
//! assert_eq!(evaluation.certificates[1].mse.len(), 10); // the bottom certificate's error on each digit
//! # Ok(())
//! # }
//! ```
//!
//! # Source
//! Cloud et al. 2024, arXiv 2410.04332, section 4.1 and app. B.

pub mod bench;
pub mod cli;
mod config;
pub mod data;
mod error;
pub mod eval;
mod evaluate;
pub mod fused;
mod model;
mod objective;
mod pages;
pub mod plots;
mod program;
pub mod reference;
mod setting;
mod split;
mod summary;
mod sweep;
mod table;
mod trainer;

pub use config::{
    Backend, CheckpointSection, Config, DataSection, EvalSection, LossSection, ModelSection, PAPER,
    RouteSection, TrainSection,
};
pub use data::{DatasetName, Reconstruction};
pub use error::Error;
pub use evaluate::{Errors, Evaluation};
pub use model::{Architecture, Shape, State};
pub use objective::{Losses, Objective, StepReport};
pub use program::Autoencoder;
pub use setting::Setting;
pub use split::{CLASSES, Split};
pub use summary::{NetworkSummary, Summary};
pub use sweep::TableKeys;
pub use trainer::{Trainer, UpdateReport};
