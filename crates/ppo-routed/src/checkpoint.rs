//! Checkpoints: everything that changes in a run, saved and taken back exactly.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use envs::{EnvError, VectorEnv};
use experiment::{Checkpoint, SeedStreams};
use policies::Policy;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use crate::rollout::{Shard, ShardState};
use crate::{Config, Error, Supervision, Trainer};

const POLICY: &str = "policy.";
const ADAM: &str = "adam.";
const SHARDS: &str = "state.shards";

/// What stands in a checkpoint's header.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    /// Updates done.
    pub update: u64,
    /// The run's seed.
    pub seed: u64,
    /// Seconds spent so far.
    pub seconds: f64,
    config: Config,
    shuffle: Xoshiro256PlusPlus,
}

impl Header {
    pub fn of(checkpoint: &Checkpoint, path: &Path) -> Result<Self, Error> {
        serde_json::from_value(checkpoint.header.clone())
            .map_err(|e| Error::State(format!("{} has no header of a ppo-routed run: {e}", path.display())))
    }
}

/// The trainer's state after an update.
pub(crate) fn checkpoint(trainer: &Trainer, seconds: f64) -> Result<Checkpoint, Error> {
    let header = Header {
        update: trainer.update,
        seed: trainer.seed,
        seconds,
        config: trainer.config().clone(),
        shuffle: trainer.shuffle.clone(),
    };
    let mut tensors = BTreeMap::new();
    for (name, tensor) in trainer.policy.parameters().snapshot()? {
        tensors.insert(format!("{POLICY}{name}"), tensor);
    }
    for (name, tensor) in trainer.adam.state()? {
        tensors.insert(format!("{ADAM}{name}"), tensor);
    }
    let shards: Result<Vec<ShardState>, Error> = trainer.shards.iter().map(Shard::save_state).collect();
    let shards = shards?;
    let shards = serde_json::to_vec(&shards).map_err(|e| Error::State(e.to_string()))?;
    let len = shards.len();
    tensors.insert(SHARDS.to_owned(), Tensor::from_vec(shards, len, &Device::Cpu)?);
    let header = serde_json::to_value(header).map_err(|e| Error::State(e.to_string()))?;
    Ok(Checkpoint { header, tensors })
}

/// A trainer that goes on exactly where the checkpoint was taken.
pub(crate) fn restore(
    checkpoint: &Checkpoint,
    path: &Path,
    config: &Config,
    make_env: &dyn Fn(usize, usize) -> Result<Box<dyn VectorEnv>, EnvError>,
    threads: usize,
    device: &Device,
) -> Result<(Trainer, Header), Error> {
    let header = Header::of(checkpoint, path)?;
    if header.config != *config {
        return Err(Error::State(format!("{} was written under another config.toml", path.display())));
    }
    let broken = |what: String| Error::State(format!("{}: {what}", path.display()));
    let shards = checkpoint.tensors.get(SHARDS).ok_or_else(|| broken(format!("it lacks {SHARDS}")))?;
    let shards: Vec<ShardState> =
        serde_json::from_slice(&shards.to_vec1::<u8>()?).map_err(|e| broken(format!("{SHARDS}: {e}")))?;
    let mut trainer =
        Trainer::with_shards(config, make_env, header.seed, threads, Some(shards.len()), device)?;
    if trainer.shards.len() != shards.len() {
        return Err(broken(format!("{} parts of {} environments", shards.len(), config.env.num_envs)));
    }
    load_parameters(&trainer.policy, checkpoint, path)?;
    trainer.adam.load_state(&with_prefix(checkpoint, ADAM), &path.display().to_string())?;
    for (shard, state) in trainer.shards.iter_mut().zip(&shards) {
        shard.load_state(state)?;
    }
    trainer.shuffle = header.shuffle.clone();
    trainer.update = header.update;
    trainer.parameters_changed()?;
    Ok((trainer, header))
}

/// The policy of a run with these settings as it stands in the checkpoint, without anything else of the run.
pub(crate) fn policy(
    checkpoint: &Checkpoint,
    path: &Path,
    config: &Config,
    device: &Device,
) -> Result<Policy, Error> {
    let probe = envs::make(&config.env.config(), 1)?;
    let supervision = Supervision::new(config.train.method, probe.kinds())?;
    let network = supervision.policy_config(probe.single_observation_space(), probe.single_action_space())?;
    let policy = Policy::new(network, &mut SeedStreams::new(0).stream("init"), device)?;
    load_parameters(&policy, checkpoint, path)?;
    Ok(policy)
}

fn load_parameters(policy: &Policy, checkpoint: &Checkpoint, path: &Path) -> Result<(), Error> {
    let values = with_prefix(checkpoint, POLICY);
    Ok(policy.parameters().load(&values, &path.display().to_string())?)
}

fn with_prefix(checkpoint: &Checkpoint, prefix: &str) -> BTreeMap<String, Tensor> {
    let named = checkpoint.tensors.iter();
    named.filter_map(|(name, t)| Some((name.strip_prefix(prefix)?.to_owned(), t.clone()))).collect()
}
