//! Rollouts: a policy acts in a slice of the environments and writes down what happened.

use candle_core::{Device, Tensor};
use envs::{EnvError, Kind, StepBuffers, VectorEnv};
use experiment::Interrupt;
use learning::lanes::rows_of;
use policies::fused::{Activations, FusedPolicy, UniqueRows};
use policies::{Policy, PolicyConfig, Steering};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::{SplitMix64, Xoroshiro128PlusPlus};

use crate::losses::log_softmax;
pub use crate::shard_state::ShardState;
use crate::{Error, Samples};

/// The policy that acts.
#[derive(Clone, Copy)]
pub enum Actor<'a> {
    /// On the fused CPU path.
    Fused(&'a FusedPolicy),
    /// In candle operations.
    Candle(&'a Policy, &'a Device),
}

/// What was computed for the different observations of a rollout, row by row. Parameters stand still during a
/// rollout, so that an observation met again costs nothing.
pub struct ForwardCache {
    /// The different observations.
    pub unique: UniqueRows,
    /// Forward values, on the fused path.
    pub activations: Activations,
    /// (rows, actions)
    pub log_probs: Vec<f32>,
    /// (rows)
    pub values: Vec<f32>,
    /// The first expert's weight Γ, (rows).
    pub gate: Vec<f32>,
    actions: usize,
    fresh: Vec<u32>,
}

impl ForwardCache {
    /// Nothing yet, for a policy of this configuration.
    pub fn new(config: &PolicyConfig) -> Self {
        Self {
            unique: UniqueRows::new(config.inputs()),
            activations: Activations::new(config),
            log_probs: Vec::new(),
            values: Vec::new(),
            gate: Vec::new(),
            actions: config.actions,
            fresh: Vec::new(),
        }
    }

    /// log p of every action in a row.
    fn log_probs(&self, row: usize) -> &[f32] {
        &self.log_probs[row * self.actions..][..self.actions]
    }

    fn clear(&mut self) {
        self.unique.clear();
        self.activations.clear();
        self.log_probs.clear();
        self.values.clear();
        self.gate.clear();
    }

    /// Computes the rows that are not computed yet.
    fn fill(&mut self, actor: Actor<'_>, steering: Steering) -> Result<(), Error> {
        let known = self.values.len();
        self.fresh.clear();
        self.fresh.extend(known as u32..self.unique.len() as u32);
        if self.fresh.is_empty() {
            return Ok(());
        }
        let actions = self.actions;
        self.log_probs.resize(self.unique.len() * actions, 0.0);
        match actor {
            Actor::Fused(policy) => {
                policy.forward(self.unique.rows(), &self.fresh, steering, &mut self.activations)?;
                for row in known..self.unique.len() {
                    let log_probs = &mut self.log_probs[row * actions..][..actions];
                    log_softmax(self.activations.logits(row), log_probs);
                    self.values.push(self.activations.value(row));
                    self.gate.push(self.activations.gate(row)[0]);
                }
            }
            Actor::Candle(policy, device) => {
                let observations = dense_rows(self.unique.rows(), &self.fresh, device)?;
                let output = policy.forward(&observations, steering)?;
                let logits = output.logits.detach().to_vec2::<f32>()?;
                self.gate.extend(output.gate.detach().narrow(1, 0, 1)?.squeeze(1)?.to_vec1::<f32>()?);
                for (row, logits) in self.fresh.iter().zip(logits) {
                    let log_probs = &mut self.log_probs[*row as usize * actions..][..actions];
                    log_softmax(&logits, log_probs);
                }
                self.values.extend(policy.value(&observations)?.detach().to_vec1::<f32>()?);
            }
        }
        Ok(())
    }
}

/// The rows that `rows` lists as a dense tensor (rows, width).
pub(crate) fn dense_rows(
    rows: &learning::kernels::SparseRows,
    listed: &[u32],
    device: &Device,
) -> Result<Tensor, Error> {
    let width = rows.width();
    let mut dense = vec![0.0; listed.len() * width];
    for (row, out) in listed.iter().zip(dense.chunks_exact_mut(width)) {
        rows.write_dense(*row as usize, out);
    }
    Ok(Tensor::from_vec(dense, (listed.len(), width), device)?)
}

/// A slice of the environments with the random streams of their actions.
///
/// Every environment has its own streams, so that a batch split over threads does bit for bit what the whole
/// does.
pub struct Shard {
    env: Box<dyn VectorEnv>,
    first_env: usize,
    action_streams: Vec<Xoroshiro128PlusPlus>,
    actions: Vec<u8>,
    buffers: StepBuffers,
    /// What happened in the last rollout.
    pub samples: Samples,
    /// The ends of the last rollout, where they are kept.
    pub(crate) ends: Option<Ends>,
    /// Who is asked between two steps whether to go on.
    interrupt: Interrupt,
}

/// What was seen at the end of each episode that reached something.
#[derive(Default)]
pub(crate) struct Ends {
    /// The sample that ended the episode.
    pub samples: Vec<u32>,
    /// The last observation of each, one after the other.
    pub observations: Vec<f32>,
}

/// The seeds of a batch of environments: `env` for the worlds, `action` for the choices in them.
#[derive(Clone, Copy, Debug)]
pub struct RolloutSeeds {
    /// Seeds the environments.
    pub env: u64,
    /// Seeds the sampling of actions.
    pub action: u64,
}

impl Shard {
    /// The environments of `env`, which are those from `first_env` on of a larger batch, freshly reset.
    ///
    /// # Errors
    /// Fails where the environment does.
    pub fn new(
        env: Box<dyn VectorEnv>,
        first_env: usize,
        num_steps: usize,
        seeds: RolloutSeeds,
    ) -> Result<Self, Error> {
        let num_envs = env.num_envs();
        let buffers = StepBuffers::for_env(env.as_ref());
        let mut shard = Self {
            env,
            first_env,
            action_streams: Vec::with_capacity(num_envs),
            actions: vec![0; num_envs],
            buffers,
            samples: Samples::new(num_envs, num_steps),
            ends: None,
            interrupt: Interrupt::default(),
        };
        shard.reset(seeds)?;
        Ok(shard)
    }

    /// Starts new episodes everywhere, with random streams seeded anew.
    ///
    /// # Errors
    /// Fails where the environment does.
    pub fn reset(&mut self, seeds: RolloutSeeds) -> Result<(), Error> {
        self.env.reset(Some(seeds.env), &mut self.buffers.observations)?;
        self.action_streams.clear();
        for env in self.first_env..self.first_env + self.env.num_envs() {
            let mut mix = SplitMix64::seed_from_u64(seeds.action ^ (env as u64).rotate_left(32));
            self.action_streams.push(Xoroshiro128PlusPlus::from_rng(&mut mix));
        }
        Ok(())
    }

    /// Splits `num_envs` environments, made by `make_env(first_env, num_envs)`, into `parts` shards of nearly the same
    /// size.
    ///
    /// # Errors
    /// Fails where the environments cannot be made.
    pub fn split(
        make_env: impl Fn(usize, usize) -> Result<Box<dyn VectorEnv>, EnvError>,
        num_envs: usize,
        num_steps: usize,
        parts: usize,
        seeds: RolloutSeeds,
    ) -> Result<Vec<Self>, Error> {
        let parts = parts.clamp(1, num_envs.max(1));
        (0..parts)
            .map(|part| {
                let envs = rows_of(part, parts, num_envs);
                Self::new(make_env(envs.start, envs.len())?, envs.start, num_steps, seeds)
            })
            .collect()
    }

    /// Lets `actor` take `num_steps` steps in every environment, from where the last rollout stopped, and fills
    /// `samples`. Labels are left to [`Samples::label_episodes`].
    ///
    /// # Errors
    /// Fails where the environment or the policy does, and with [`Error::CutOff`] where it was asked to stop.
    pub fn rollout(
        &mut self,
        actor: Actor<'_>,
        steering: Steering,
        cache: &mut ForwardCache,
    ) -> Result<(), Error> {
        let (num_envs, num_steps) = (self.env.num_envs(), self.samples.num_steps);
        let width = self.env.single_observation_space().flat_len();
        cache.clear();
        if let Some(ends) = &mut self.ends {
            ends.samples.clear();
            ends.observations.clear();
        }
        for t in 0..num_steps {
            if self.interrupt.is_overdue() {
                return Err(Error::CutOff);
            }
            for (env, row) in self.buffers.observations.chunks_exact(width).enumerate() {
                self.samples.rows[env * num_steps + t] = cache.unique.insert_dense(row);
            }
            cache.fill(actor, steering)?;
            for env in 0..num_envs {
                let sample = env * num_steps + t;
                let row = self.samples.rows[sample] as usize;
                let log_probs = cache.log_probs(row);
                let action = sample_action(log_probs, self.action_streams[env].random::<f32>());
                self.actions[env] = action as u8;
                self.samples.actions[sample] = action as u8;
                self.samples.log_probs[sample] = log_probs[action];
                self.samples.values[sample] = cache.values[row];
            }
            self.env.step(&self.actions, self.buffers.slices())?;
            for env in 0..num_envs {
                let sample = env * num_steps + t;
                self.samples.outcomes[sample] = self.buffers.outcomes[env];
                self.samples.dones[sample] = self.buffers.terminations[env] || self.buffers.truncations[env];
                self.samples.next_values[sample] = 0.0;
            }
            if let Some(ends) = &mut self.ends {
                for env in (0..num_envs).filter(|env| self.buffers.terminations[*env]) {
                    ends.samples.push((env * num_steps + t) as u32);
                    ends.observations.extend_from_slice(&self.buffers.final_obs[env * width..][..width]);
                }
            }
            let truncated: Vec<usize> = (0..num_envs).filter(|env| self.buffers.truncations[*env]).collect();
            let finals = truncated.iter().flat_map(|env| &self.buffers.final_obs[env * width..][..width]);
            let values = values_of(actor, &finals.copied().collect::<Vec<_>>(), width)?;
            for (env, value) in truncated.into_iter().zip(values) {
                self.samples.next_values[env * num_steps + t] = value;
            }
        }
        let last_values = values_of(actor, &self.buffers.observations, width)?;
        for (env, last_value) in last_values.into_iter().enumerate() {
            let range = env * num_steps..(env + 1) * num_steps;
            for sample in range.clone().filter(|sample| !self.samples.dones[*sample]) {
                let next = if sample + 1 == range.end { last_value } else { self.samples.values[sample + 1] };
                self.samples.next_values[sample] = next;
            }
        }
        Ok(())
    }

    /// Has rollouts ask `interrupt` before each step whether to end with [`Error::CutOff`].
    pub fn listen(&mut self, interrupt: &Interrupt) {
        self.interrupt = interrupt.clone();
    }

    /// Keeps what is seen at the end of episodes from the next rollout on.
    pub(crate) fn keep_ends(&mut self) {
        self.ends = Some(Ends::default());
    }

    /// The kinds of ends that an episode can come to.
    pub fn kinds(&self) -> &[Kind] {
        self.env.kinds()
    }

    /// What is needed to go on exactly from here.
    ///
    /// # Errors
    /// Fails where the environment's state cannot be written.
    pub fn save_state(&self) -> Result<ShardState, Error> {
        Ok(ShardState { env: self.env.save_state()?, action_streams: self.action_streams.clone() })
    }

    /// Goes back to a saved state; what follows is exactly what followed the saving.
    ///
    /// # Errors
    /// Fails where the state belongs to other settings; nothing is changed then.
    pub fn load_state(&mut self, state: &ShardState) -> Result<(), Error> {
        if state.action_streams.len() != self.action_streams.len() {
            let (found, expected) = (state.action_streams.len(), self.action_streams.len());
            return Err(Error::State(format!("it has {found} environments where this run has {expected}")));
        }
        self.env.load_state(&state.env)?;
        self.action_streams.clone_from(&state.action_streams);
        Ok(self.env.observe(&mut self.buffers.observations)?)
    }
}

/// The samples of all shards together, for minibatches.
pub(crate) struct WholeRollout {
    /// The samples, shard by shard.
    pub samples: Samples,
    /// The different observations of all shards.
    pub unique: UniqueRows,
}

impl WholeRollout {
    /// Nothing yet, for a policy of this configuration.
    pub(crate) fn new(config: &PolicyConfig) -> Self {
        Self { samples: Samples::default(), unique: UniqueRows::new(config.inputs()) }
    }

    /// Takes over what the shards saw, in their order.
    pub(crate) fn gather(&mut self, shards: &[Shard], caches: &[ForwardCache]) {
        self.samples.clear();
        self.unique.clear();
        for (shard, cache) in shards.iter().zip(caches) {
            let rows = cache.unique.rows();
            let row_map: Vec<u32> = (0..rows.len())
                .map(|row| {
                    let (columns, values) = rows.row(row);
                    self.unique.insert_sparse(columns, values)
                })
                .collect();
            self.samples.append(&shard.samples, &row_map);
        }
    }
}

/// The action whose interval of the cumulated probabilities holds `u`, which is uniform on [0, 1).
fn sample_action(log_probs: &[f32], u: f32) -> usize {
    let mut cumulated = 0.0;
    for (action, log_prob) in log_probs.iter().enumerate() {
        cumulated += log_prob.exp();
        if u < cumulated {
            return action;
        }
    }
    // rounding can leave the sum just below 1
    log_probs.len() - 1
}

/// V of observations given in full, one after the other.
fn values_of(actor: Actor<'_>, observations: &[f32], width: usize) -> Result<Vec<f32>, Error> {
    match actor {
        _ if observations.is_empty() => Ok(Vec::new()),
        Actor::Fused(policy) => Ok(policy.values_of(observations)),
        Actor::Candle(policy, device) => {
            let shape = (observations.len() / width, width);
            let observations = Tensor::from_slice(observations, shape, device)?;
            Ok(policy.value(&observations)?.detach().to_vec1::<f32>()?)
        }
    }
}
