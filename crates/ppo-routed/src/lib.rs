//! Oversight experiments: PPO and REINFORCE with gradient routing in the oversight gridworlds.
//!
//! One update reads in the order of the paper: rollout, labels carried back over whole episodes, a route for
//! each step, returns or advantages, losses, gradients, optimiser step. See [`Trainer::update`].
//!
//! ```
//! use candle_core::Device;
//! use ppo_routed::{Config, Trainer};
//!
//! # fn main() -> Result<(), ppo_routed::Error> {
//! let mut config = Config::default();
//! (config.env.num_envs, config.train.num_steps, config.eval.num_envs) = (16, 8, 16);
//! let mut trainer = Trainer::new(&config, 0, 1, &Device::Cpu)?;
//! trainer.update()?;
//! assert_eq!(trainer.env_steps(), 128);
//! assert_eq!(trainer.evaluate()?.len(), 3); // diamond, ghost and full policy
//! # Ok(())
//! # }
//! ```

pub mod bench;
mod checkpoint;
pub mod cli;
mod config;
mod error;
pub mod eval;
mod evaluate;
mod grouped;
mod inoculation;
pub mod learner;
pub mod losses;
mod method;
mod metrics;
mod minibatches;
mod own_envs;
pub mod plots;
pub mod returns;
mod reward_model;
pub mod rollout;
pub mod run;
mod samples;
mod shard_state;
mod snapshot;
mod summary;
pub mod sweep;
mod trainer;

pub use config::{
    Algo, Backend, CheckpointSection, Config, EnvSection, EvalSection, GateConv, LossSection, ModelSection,
    PpoSection, TrainSection,
};
pub use error::Error;
pub use evaluate::{Evaluation, EvaluationPart, Evaluator, KindShare, evaluate};
pub use method::{Extra, Label, Method, Part, PolicyShape, Recipe, Supervision, UpdateShare};
pub use metrics::{GradientStep, RoutingShares, UpdateReport};
pub use minibatches::Shuffle;
pub use run::Ppo;
pub use samples::{Endings, Samples};
pub use snapshot::{Snapshot, picture_layout};
pub use summary::{PolicySummary, Stopped, Summary};
pub use trainer::Trainer;
