//! Training: one update reads in the order of the paper.

use std::time::Instant;

use candle_core::Device;
use candle_core::backprop::GradStore;
use envs::{EnvError, Kind, VectorEnv};
use experiment::{Interrupt, SeedStreams};
use learning::{Adam, AdamConfig, clip_grad_norm, global_norm, require_finite};
use policies::Policy;
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::evaluate::{Evaluation, Evaluator};
use crate::inoculation::seen_by;
use crate::learner::{
    Batch, FusedLearner, Learner, LossWeights, Losses, PolicyLoss, RolloutLoss, reference_gradient,
};
use crate::losses::normalise;
use crate::method::Extra;
use crate::metrics::{GradientStep, RoutingShares, UpdateReport};
use crate::minibatches::SampleOrder;
use crate::reward_model::{RewardModel, RewardModelReport};
use crate::rollout::{Actor, ForwardCache, RolloutSeeds, Shard, WholeRollout};
use crate::{Algo, Config, Error, Samples, Supervision};

/// A policy in training with everything that changes: parameters, moments, environments, random streams.
pub struct Trainer {
    config: Config,
    supervision: Supervision,
    pub(crate) seed: u64,
    pub(crate) policy: Policy,
    pub(crate) adam: Adam,
    pub(crate) shards: Vec<Shard>,
    pub(crate) shuffle: Xoshiro256PlusPlus,
    pub(crate) update: u64,
    /// Parts that the work is split in, on which results depend in their last digits.
    pub(crate) lanes: usize,
    evaluator: Evaluator,
    /// Of a method that has one.
    pub(crate) reward_model: Option<RewardModel>,
    caches: Vec<ForwardCache>,
    learner: Learner,
    rollout: WholeRollout,
    order: SampleOrder,
    streams: SeedStreams,
    pool: ThreadPool,
    device: Device,
    interrupt: Interrupt,
}

impl Trainer {
    /// A fresh policy in fresh environments of `config.env`; everything random follows from `seed`.
    ///
    /// # Errors
    /// Fails where the settings do not fit the device or the environment.
    pub fn new(config: &Config, seed: u64, threads: usize, device: &Device) -> Result<Self, Error> {
        Self::with_envs(config, envs::maker(&config.env.config()), seed, threads, device)
    }

    /// As [`Trainer::new`] in environments of any sort: `make_env(first_env, num_envs)` makes the environments
    /// `first_env..first_env + num_envs` of a larger batch. The policy has an expert for each of their kinds. Of
    /// `config.env` only `num_envs` counts, and `oversight_prob` for a method that trains on that share of the updates.
    ///
    /// # Errors
    /// As [`Trainer::new`]; and where a kind has a name that the routes need for something else.
    pub fn with_envs(
        config: &Config,
        make_env: impl Fn(usize, usize) -> Result<Box<dyn VectorEnv>, EnvError>,
        seed: u64,
        threads: usize,
        device: &Device,
    ) -> Result<Self, Error> {
        Self::with_lanes(config, &make_env, seed, threads, threads, device)
    }

    /// As [`Trainer::with_envs`], with the work split in `lanes` parts whatever the threads: a resumed run needs the
    /// split that it began with.
    pub(crate) fn with_lanes(
        config: &Config,
        make_env: &dyn Fn(usize, usize) -> Result<Box<dyn VectorEnv>, EnvError>,
        seed: u64,
        threads: usize,
        lanes: usize,
        device: &Device,
    ) -> Result<Self, Error> {
        let streams = SeedStreams::new(seed);
        let method = config.train.method;
        let in_training = |first, n| Ok(seen_by(method, make_env(first, n)?, true));
        let probe = in_training(0, 1)?;
        let supervision = Supervision::new(method, probe.kinds())?;
        let policy_config = supervision.policy_config(
            probe.single_observation_space(),
            probe.single_action_space(),
            config,
        )?;
        let policy = Policy::new(policy_config, &mut streams.stream("init"), device)?;
        let fused = config.train.backend.is_fused_on(device)?;
        let adam_config = AdamConfig {
            eps: if config.train.algo == Algo::Ppo { 1e-5 } else { 1e-8 },
            ..Default::default()
        };
        let adam = Adam::new(policy.parameters(), adam_config)?;
        let lanes = if fused { lanes } else { 1 };
        let seeds = RolloutSeeds { env: streams.seed_of("env"), action: streams.seed_of("action") };
        let mut shards =
            Shard::split(in_training, config.env.num_envs, config.train.num_steps, lanes, seeds)?;
        let reward_model = if method.extra == Extra::RewardModel {
            shards.iter_mut().for_each(Shard::keep_ends);
            let width = probe.single_observation_space().flat_len();
            Some(RewardModel::new(width, probe.kinds().len(), streams.stream("reward_model"))?)
        } else {
            None
        };
        let evaluator = Evaluator::new(config, &supervision, make_env, lanes)?;
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|e| Error::Setting(format!("cannot start {threads} threads: {e}")))?;
        let learner = if fused {
            let new = || FusedLearner::new(policy.config(), policy.parameters(), lanes);
            let learner = pool.install(new)?;
            Learner::Fused(Box::new(learner))
        } else {
            Learner::Candle
        };
        Ok(Self {
            rollout: WholeRollout::new(policy.config()),
            order: SampleOrder::default(),
            caches: (0..lanes).map(|_| ForwardCache::new(policy.config())).collect(),
            config: config.clone(),
            supervision,
            seed,
            shuffle: streams.stream("shuffle"),
            update: 0,
            device: device.clone(),
            interrupt: Interrupt::default(),
            policy,
            adam,
            shards,
            lanes,
            evaluator,
            reward_model,
            learner,
            streams,
            pool,
        })
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What the method makes of the environment's kinds.
    pub fn supervision(&self) -> &Supervision {
        &self.supervision
    }

    /// The kinds of ends in the environment.
    pub fn kinds(&self) -> &[Kind] {
        self.supervision.kinds()
    }

    /// The policy as it stands.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Updates done.
    pub fn updates_done(&self) -> u64 {
        self.update
    }

    /// Updates of the whole run, see [`Config::updates_total`].
    pub fn updates_total(&self) -> u64 {
        self.config.updates_total()
    }

    /// Environment steps taken.
    pub fn env_steps(&self) -> u64 {
        self.update * self.config.steps_per_update()
    }

    /// The learning rate of the next update.
    pub fn learning_rate(&self) -> f64 {
        let train = &self.config.train;
        if !train.anneal_lr {
            return train.learning_rate;
        }
        train.learning_rate * (1.0 - self.update as f64 / self.updates_total() as f64).max(0.0)
    }

    /// Has updates ask `interrupt` between the steps of their environments and between their gradient steps whether to
    /// end with [`Error::CutOff`].
    pub fn listen(&mut self, interrupt: &Interrupt) {
        self.interrupt = interrupt.clone();
        self.shards.iter_mut().for_each(|shard| shard.listen(interrupt));
    }

    fn require_time(&self) -> Result<(), Error> {
        if self.interrupt.is_overdue() { Err(Error::CutOff) } else { Ok(()) }
    }

    /// One update: rollout, labels, routes, returns or advantages, losses, gradients, step.
    ///
    /// # Errors
    /// Fails where a loss or a gradient is not finite, the parameters are those before the faulty step then; and where
    /// it is cut off.
    pub fn update(&mut self) -> Result<UpdateReport, Error> {
        let lr = self.learning_rate();
        let began = Instant::now();
        self.collect_rollout()?;
        let rollout_seconds = began.elapsed().as_secs_f64();
        for shard in &mut self.shards {
            shard.samples.label_episodes(&self.supervision);
        }
        let judged = match &mut self.reward_model {
            Some(model) => Some(model.judge(&mut self.shards, self.supervision.kinds())?),
            None => None,
        };
        let shares = RoutingShares::of(self.kinds().len(), &self.shards, &self.caches);
        self.require_time()?;
        let steps = match self.config.train.algo {
            Algo::Reinforce => self.learn_reinforce(lr)?,
            Algo::Ppo => self.learn_ppo(lr)?,
        };
        self.update += 1;
        let seconds = (rollout_seconds, began.elapsed().as_secs_f64() - rollout_seconds);
        let gamma = self.config.train.gamma as f32;
        let mut report =
            UpdateReport::new(lr, &steps, &shares, &self.shards, &self.supervision, gamma, seconds);
        report.values.extend(judged.iter().flat_map(RewardModelReport::named));
        Ok(report)
    }

    /// Scores every policy of the method on fresh environments: the same ones at the same update of every run
    /// with this seed.
    ///
    /// # Errors
    /// Fails where the environment or the policy does.
    pub fn evaluate(&mut self) -> Result<Vec<(String, Evaluation)>, Error> {
        let actor = match &self.learner {
            Learner::Fused(learner) => Actor::Fused(learner.policy()),
            Learner::Candle => Actor::Candle(&self.policy, &self.device),
        };
        let (evaluator, caches) = (&mut self.evaluator, &mut self.caches);
        self.pool.install(|| evaluator.score(actor, caches, &self.streams, self.update))
    }

    /// Does something with the policy on the run's own threads: candle starts one for every core elsewhere.
    pub(crate) fn with_policy<R: Send>(&self, work: impl FnOnce(&Config, &Policy) -> R + Send) -> R {
        let Self { config, policy, pool, .. } = self;
        pool.install(|| work(config, policy))
    }

    /// Takes over parameters that were changed from outside.
    ///
    /// # Errors
    /// Fails where they are not those of the policy.
    pub fn parameters_changed(&mut self) -> Result<(), Error> {
        self.pool.install(|| self.learner.load(self.policy.parameters()))
    }

    fn collect_rollout(&mut self) -> Result<(), Error> {
        let actor = match &self.learner {
            Learner::Fused(learner) => Actor::Fused(learner.policy()),
            Learner::Candle => Actor::Candle(&self.policy, &self.device),
        };
        let (shards, caches) = (&mut self.shards, &mut self.caches);
        self.pool.install(|| {
            shards
                .par_iter_mut()
                .zip(caches)
                .try_for_each(|(shard, cache)| shard.rollout(actor, policies::Steering::Mixture, cache))
        })
    }

    /// One gradient step on the whole rollout, whose activations are still there.
    fn learn_reinforce(&mut self, lr: f64) -> Result<Vec<GradientStep>, Error> {
        let gamma = self.config.train.gamma as f32;
        let supervision = &self.supervision;
        let targets: Vec<f32> = self.shards.iter().flat_map(|shard| shard.samples.returns(gamma)).collect();
        let values = self.shards.iter().flat_map(|shard| &shard.samples.values);
        let advantages: Vec<f32> = targets.iter().zip(values).map(|(target, value)| target - value).collect();
        let loss = RolloutLoss {
            routes: supervision.routes(),
            policy_loss: PolicyLoss::Reinforce,
            weights: LossWeights::of(&self.config),
        };
        let parameters = self.policy.parameters();
        let (grads, losses) = match &mut self.learner {
            Learner::Fused(learner) => {
                let parts: Vec<&Samples> = self.shards.iter().map(|shard| &shard.samples).collect();
                let caches = &self.caches;
                self.pool.install(|| {
                    learner.gradient_of_rollout(&parts, caches, &advantages, &targets, &loss, parameters)
                })?
            }
            Learner::Candle => {
                self.rollout.gather(&self.shards, &self.caches);
                let indices: Vec<u32> = (0..targets.len() as u32).collect();
                let batch = Batch {
                    routes: loss.routes,
                    unique: &self.rollout.unique,
                    samples: &self.rollout.samples,
                    indices: &indices,
                    advantages: &advantages,
                    targets: &targets,
                    policy_loss: loss.policy_loss,
                    weights: loss.weights,
                };
                self.candle_gradient(&batch)?
            }
        };
        Ok(vec![self.apply(grads, losses, lr, 0.0)?])
    }

    /// Epochs of gradient steps on shuffled minibatches.
    fn learn_ppo(&mut self, lr: f64) -> Result<Vec<GradientStep>, Error> {
        let gamma = self.config.train.gamma as f32;
        let ppo = self.config.ppo.clone();
        self.rollout.gather(&self.shards, &self.caches);
        let advantages = self.rollout.samples.advantages(gamma, ppo.gae_lambda as f32);
        let targets: Vec<f32> =
            advantages.iter().zip(&self.rollout.samples.values).map(|(a, v)| a + v).collect();
        let mut steps = Vec::new();
        self.order.begin(ppo.shuffle, &self.rollout.samples.rows, self.rollout.unique.len());
        for _ in 0..ppo.update_epochs {
            self.order.shuffle(ppo.shuffle, &mut self.shuffle);
            for minibatch in 0..ppo.num_minibatches {
                self.require_time()?;
                let rollout = &self.rollout;
                let indices = self.order.minibatch(minibatch, ppo.num_minibatches);
                let mut chosen: Vec<f32> = indices.iter().map(|i| advantages[*i as usize]).collect();
                if ppo.norm_adv {
                    let weight = |i: &u32| self.supervision.weight(rollout.samples.labels[*i as usize]);
                    normalise(&mut chosen, &indices.iter().map(weight).collect::<Vec<_>>());
                }
                let batch = Batch {
                    routes: self.supervision.routes(),
                    unique: &rollout.unique,
                    samples: &rollout.samples,
                    indices,
                    advantages: &chosen,
                    targets: &targets,
                    policy_loss: PolicyLoss::Ppo {
                        clip_coef: ppo.clip_coef as f32,
                        clip_vloss: ppo.clip_vloss,
                    },
                    weights: LossWeights::of(&self.config),
                };
                let (grads, losses) = match &mut self.learner {
                    Learner::Fused(learner) => {
                        let parameters = self.policy.parameters();
                        self.pool.install(|| learner.gradient(&batch, parameters))?
                    }
                    Learner::Candle => self.candle_gradient(&batch)?,
                };
                steps.push(self.apply(grads, losses, lr, ppo.max_grad_norm)?);
            }
        }
        Ok(steps)
    }

    /// By candle's autograd, on the run's own threads.
    fn candle_gradient(&self, batch: &Batch<'_>) -> Result<(GradStore, Losses), Error> {
        let device = &self.device;
        self.with_policy(|_, policy| reference_gradient(policy, batch, device))
    }

    /// Clips, checks and takes one optimiser step.
    fn apply(
        &mut self,
        mut grads: GradStore,
        losses: Losses,
        lr: f64,
        max_grad_norm: f64,
    ) -> Result<GradientStep, Error> {
        let Self { policy, adam, learner, pool, .. } = self;
        let parameters = policy.parameters();
        let grad_norm = if max_grad_norm > 0.0 {
            clip_grad_norm(parameters, &mut grads, max_grad_norm)?
        } else {
            global_norm(parameters, &grads)?
        };
        let parts = [
            ("the policy loss", losses.policy),
            ("the value loss", losses.value),
            ("the entropy", losses.entropy),
            ("the gate loss", losses.gate),
            ("the gradient's norm", grad_norm),
        ];
        require_finite(&parts).map_err(|fault| Error::NotFinite { update: self.update + 1, fault })?;
        pool.install(|| {
            adam.step(&grads, lr)?;
            learner.load(parameters)
        })?;
        Ok(GradientStep { losses, grad_norm })
    }
}
