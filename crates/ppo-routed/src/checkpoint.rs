//! Checkpoints: everything that changes in a run, saved and taken back exactly.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use experiment::driver::{ResumePoint, State};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use crate::rollout::ShardState;
use crate::{Config, Error, Trainer};

const POLICY: &str = "policy.";
const ADAM: &str = "adam.";
const SHARDS: &str = "state.shards";

/// What stands in a checkpoint's header beside what every run has there.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    shuffle: Xoshiro256PlusPlus,
}

/// The trainer's state after an update.
pub(crate) fn state(trainer: &Trainer) -> Result<State, Error> {
    let header = Header { shuffle: trainer.shuffle.clone() };
    let mut tensors = BTreeMap::new();
    for (name, tensor) in trainer.policy.parameters().snapshot()? {
        tensors.insert(format!("{POLICY}{name}"), tensor);
    }
    for (name, tensor) in trainer.adam.state()? {
        tensors.insert(format!("{ADAM}{name}"), tensor);
    }
    let shards: Vec<ShardState> = trainer.shards.iter().map(crate::rollout::Shard::save_state).collect();
    let shards = serde_json::to_vec(&shards).map_err(|e| Error::State(e.to_string()))?;
    let len = shards.len();
    tensors.insert(SHARDS.to_owned(), Tensor::from_vec(shards, len, &Device::Cpu)?);
    let header = serde_json::to_value(header).map_err(|e| Error::State(e.to_string()))?;
    Ok(State { header, tensors })
}

/// A trainer that goes on exactly where the checkpoint was taken.
pub(crate) fn restore(
    point: &ResumePoint,
    config: &Config,
    threads: usize,
    device: &Device,
) -> anyhow::Result<Trainer> {
    let Header { shuffle } = point.header()?;
    let broken = |what: String| Error::State(format!("{}: {what}", point.origin()));
    let shards = point.tensors.get(SHARDS).ok_or_else(|| broken(format!("it lacks {SHARDS}")))?;
    let shards: Vec<ShardState> =
        serde_json::from_slice(&shards.to_vec1::<u8>()?).map_err(|e| broken(format!("{SHARDS}: {e}")))?;
    let mut trainer = Trainer::with_shards(config, point.seed, threads, Some(shards.len()), device)?;
    if trainer.shards.len() != shards.len() {
        return Err(broken(format!("{} parts of {} environments", shards.len(), config.env.num_envs)).into());
    }
    load_policy(&trainer, point)?;
    trainer.adam.load_state(&point.tensors_under(ADAM), &point.origin())?;
    for (shard, state) in trainer.shards.iter_mut().zip(&shards) {
        shard.load_state(state)?;
    }
    trainer.shuffle = shuffle;
    trainer.update = point.update;
    trainer.parameters_changed()?;
    Ok(trainer)
}

/// Takes over a checkpoint's parameters alone.
pub(crate) fn load_policy(trainer: &Trainer, point: &ResumePoint) -> Result<(), Error> {
    Ok(trainer.policy.parameters().load(&point.tensors_under(POLICY), &point.origin())?)
}
