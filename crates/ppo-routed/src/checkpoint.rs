//! Checkpoints: everything that changes in a run, saved and taken back exactly.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use envs::{EnvError, VectorEnv};
use experiment::driver::{ResumePoint, State};
use experiment::{MOST_THREADS, SeedStreams};
use policies::Policy;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use crate::inoculation::seen_by;
use crate::reward_model::RewardModelState;
use crate::rollout::{Shard, ShardState};
use crate::{Config, Error, Supervision, Trainer};

const POLICY: &str = "policy.";
const ADAM: &str = "adam.";
const SHARDS: &str = "state.shards";

/// What stands in a checkpoint's header beside what every run has there.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    shuffle: Xoshiro256PlusPlus,
    /// Parts that the work is split in; nothing in a checkpoint of an earlier version.
    lanes: Option<usize>,
    /// Of a method that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reward_model: Option<RewardModelState>,
    /// The experts in the order of their logits at the gate, for readers elsewhere; none in an earlier version.
    #[serde(default)]
    experts: Vec<String>,
}

/// The trainer's state after an update.
pub(crate) fn state(trainer: &Trainer) -> Result<State, Error> {
    let mut tensors = BTreeMap::new();
    let reward_model = trainer.reward_model.as_ref().map(|model| model.save(&mut tensors)).transpose()?;
    let header = Header {
        shuffle: trainer.shuffle.clone(),
        lanes: Some(trainer.lanes),
        reward_model,
        experts: trainer.supervision().expert_names(),
    };
    for (name, tensor) in trainer.policy.parameters().snapshot()? {
        tensors.insert(format!("{POLICY}{name}"), tensor);
    }
    for (name, tensor) in trainer.adam.state()? {
        tensors.insert(format!("{ADAM}{name}"), tensor);
    }
    let shards: Result<Vec<ShardState>, Error> = trainer.shards.iter().map(Shard::save_state).collect();
    let shards = ShardState::to_json(&shards?)?.into_bytes();
    let len = shards.len();
    tensors.insert(SHARDS.to_owned(), Tensor::from_vec(shards, len, &Device::Cpu)?);
    let header = serde_json::to_value(header).map_err(|e| Error::State(e.to_string()))?;
    Ok(State { header, tensors })
}

/// A trainer that goes on exactly where the checkpoint was taken, with its work split as it was there, or in `lanes`
/// parts where the checkpoint does not say.
pub(crate) fn restore(
    point: &ResumePoint,
    config: &Config,
    make_env: &dyn Fn(usize, usize) -> Result<Box<dyn VectorEnv>, EnvError>,
    threads: usize,
    lanes: usize,
    device: &Device,
) -> anyhow::Result<Trainer> {
    let Header { shuffle, lanes: saved, reward_model, experts: _ } = point.header()?;
    let broken = |what: String| Error::State(format!("{}: {what}", point.origin()));
    let shards = point.tensors.get(SHARDS).ok_or_else(|| broken(format!("it lacks {SHARDS}")))?;
    let shards = ShardState::from_json(&shards.to_vec1::<u8>()?)
        .map_err(|error| broken(format!("{SHARDS}: {error}")))?;
    let lanes = saved.unwrap_or(lanes);
    if !(1..=MOST_THREADS).contains(&lanes) {
        return Err(broken(format!("{lanes} lanes; 1 to {MOST_THREADS} can be made")).into());
    }
    let mut trainer = Trainer::with_lanes(config, make_env, point.seed, threads, lanes, device)?;
    if trainer.shards.len() != shards.len() {
        return Err(broken(format!("{} parts of {} environments", shards.len(), config.env.num_envs)).into());
    }
    load_parameters(&trainer.policy, point)?;
    trainer.adam.load_state(&point.tensors_under(ADAM), &point.origin())?;
    for (shard, state) in trainer.shards.iter_mut().zip(&shards) {
        shard.load_state(state)?;
    }
    if let Some(model) = &mut trainer.reward_model {
        let state = reward_model.ok_or_else(|| broken("it lacks its reward model".to_owned()))?;
        model.load(state, &point.tensors, &point.origin())?;
    }
    trainer.shuffle = shuffle;
    trainer.update = point.update;
    trainer.parameters_changed()?;
    Ok(trainer)
}

/// The policy of a run with these settings as it stands in the checkpoint, without anything else of the run.
pub(crate) fn policy(point: &ResumePoint, config: &Config, device: &Device) -> Result<Policy, Error> {
    let probe = seen_by(config.train.method, envs::make(&config.env.config(), 1)?, false);
    let supervision = Supervision::new(config.train.method, probe.kinds())?;
    let network =
        supervision.policy_config(probe.single_observation_space(), probe.single_action_space(), config)?;
    let policy = Policy::new(network, &mut SeedStreams::new(0).stream("init"), device)?;
    load_parameters(&policy, point)?;
    Ok(policy)
}

fn load_parameters(policy: &Policy, point: &ResumePoint) -> Result<(), Error> {
    Ok(policy.parameters().load(&point.tensors_under(POLICY), &point.origin())?)
}
