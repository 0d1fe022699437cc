//! Splitting the latent space of an MNIST autoencoder by gradient routing.

pub mod bench;
pub mod cli;
mod config;
pub mod data;
mod error;
mod evaluate;
pub mod fast;
mod model;
mod objective;
pub mod pictures;
pub mod reference;
pub mod run;
mod saved;
pub mod scoring;
mod setting;
mod split;
mod summary;
pub mod table;
mod trainer;

pub use config::{
    Backend, CheckpointSection, Config, DataSection, EvalSection, LossSection, ModelSection, PAPER,
    RouteSection, TrainSection,
};
pub use data::{DatasetName, Reconstruction};
pub use error::Error;
pub use evaluate::{Errors, Evaluation};
pub use model::{Architecture, Shape, State};
pub use objective::{Losses, Objective};
pub use setting::{Recipe, Setting};
pub use split::{CLASSES, Split};
pub use summary::{NetworkSummary, Summary};
pub use trainer::{Trainer, UpdateReport};
