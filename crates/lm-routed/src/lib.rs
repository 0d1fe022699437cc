//! Localising and removing a concept in a small language model by gradient routing.
mod batch;
pub mod bench;
pub mod cli;
mod config;
pub mod data;
mod engine;
mod error;
mod evaluate;
mod finetune;
mod fused;
mod localise;
pub mod methods;
mod model;
mod pipeline;
mod report;
mod results;
pub mod routing;
pub mod run;
mod saved;
mod steer;
mod train;
mod watch;

pub use batch::Batch;
pub use config::*;
pub use engine::{Model, ParameterWeights, StepLoss};
pub use error::Error;
pub use model::*;
