//! One update after another, against the same updates written out by hand: rollout, labels, returns or
//! advantages, gradient by autograd, Adam. The gradient itself is held to its definition in `gradients.rs`.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use experiment::SeedStreams;
use policies::{Policy, Steering};
use ppo_routed::learner::{Batch, LossWeights, PolicyLoss, reference_gradient};
use ppo_routed::rollout::{Actor, ForwardCache, RolloutSeeds, Shard};
use ppo_routed::{Algo, Backend, Config, Extra, Method, Samples, Supervision};
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::{largest_difference, parameters, small, trainer, with_backend};

/// Training by hand.
struct ByHand {
    config: Config,
    supervision: Supervision,
    policy: Policy,
    shard: Shard,
    cache: ForwardCache,
    shuffle: Xoshiro256PlusPlus,
    /// m, v of each parameter.
    moments: BTreeMap<String, (Vec<f64>, Vec<f64>)>,
    steps: i32,
    updates: u64,
}

impl ByHand {
    fn new(config: &Config, seed: u64) -> Self {
        let streams = SeedStreams::new(seed);
        let env = envs::maker(&config.env.config())(0, config.env.num_envs).unwrap();
        let supervision = Supervision::new(config.train.method, env.kinds()).unwrap();
        let network = supervision
            .policy_config(env.single_observation_space(), env.single_action_space(), config)
            .unwrap();
        let policy = Policy::new(network, &mut streams.stream("init"), &Device::Cpu).unwrap();
        let seeds = RolloutSeeds { env: streams.seed_of("env"), action: streams.seed_of("action") };
        Self {
            shard: Shard::new(env, 0, config.train.num_steps, seeds).unwrap(),
            supervision,
            cache: ForwardCache::new(policy.config()),
            shuffle: streams.stream("shuffle"),
            policy,
            config: config.clone(),
            moments: BTreeMap::new(),
            steps: 0,
            updates: 0,
        }
    }

    fn update(&mut self) {
        let actor = Actor::Candle(&self.policy, &Device::Cpu);
        self.shard.rollout(actor, Steering::Mixture, &mut self.cache).unwrap();
        self.shard.samples.label_episodes(&self.supervision);
        let samples = self.shard.samples.clone();
        let train = &self.config.train;
        let left = 1.0 - self.updates as f64 / train.updates as f64;
        let lr = train.learning_rate * if train.anneal_lr { left } else { 1.0 };
        match self.config.train.algo {
            Algo::Reinforce => self.reinforce(&samples, lr),
            Algo::Ppo => self.ppo(&samples, lr),
        }
        self.updates += 1;
    }

    /// One step on everything: A = G − V, not normalised, no clipping.
    fn reinforce(&mut self, samples: &Samples, lr: f64) {
        let targets = samples.returns(self.config.train.gamma as f32);
        let advantages: Vec<f32> = targets.iter().zip(&samples.values).map(|(g, v)| g - v).collect();
        let indices: Vec<u32> = (0..samples.len() as u32).collect();
        self.step(samples, &indices, &advantages, &targets, PolicyLoss::Reinforce, lr, f64::INFINITY);
    }

    /// Epochs of shuffled minibatches: targets A + V, advantages normalised in each minibatch, clipped norm.
    fn ppo(&mut self, samples: &Samples, lr: f64) {
        let ppo = self.config.ppo.clone();
        let gamma = self.config.train.gamma as f32;
        let advantages = samples.advantages(gamma, ppo.gae_lambda as f32);
        let targets: Vec<f32> = advantages.iter().zip(&samples.values).map(|(a, v)| a + v).collect();
        let mut order: Vec<u32> = (0..samples.len() as u32).collect();
        for _ in 0..ppo.update_epochs {
            order.shuffle(&mut self.shuffle);
            let (mut rest, mut left) = (&order[..], ppo.num_minibatches);
            while left > 0 {
                let cut = rest.len() / left;
                let (indices, after) = rest.split_at(cut);
                (rest, left) = (after, left - 1);
                let is_kept = |i: &&u32| self.supervision.weight(samples.labels[**i as usize]) > 0.0;
                let kept: Vec<f64> =
                    indices.iter().filter(is_kept).map(|i| f64::from(advantages[*i as usize])).collect();
                let n = kept.len() as f64;
                let mean = kept.iter().sum::<f64>() / n;
                let std = (kept.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
                let normalised =
                    indices.iter().map(|i| ((f64::from(advantages[*i as usize]) - mean) / std) as f32);
                let normalised: Vec<f32> = normalised.collect();
                let loss = PolicyLoss::Ppo { clip_coef: ppo.clip_coef as f32, clip_vloss: ppo.clip_vloss };
                self.step(samples, indices, &normalised, &targets, loss, lr, ppo.max_grad_norm);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "written out for one caller each")]
    fn step(
        &mut self,
        samples: &Samples,
        indices: &[u32],
        advantages: &[f32],
        targets: &[f32],
        policy_loss: PolicyLoss,
        lr: f64,
        max_norm: f64,
    ) {
        let loss = &self.config.loss;
        let weights = LossWeights {
            ent_coef: loss.ent_coef as f32,
            vf_coef: loss.vf_coef as f32,
            gate_coef: loss.gate_coef as f32,
        };
        let (routes, unique) = (self.supervision.routes(), &self.cache.unique);
        let batch = Batch { routes, unique, samples, indices, advantages, targets, policy_loss, weights };
        let (grads, _) = reference_gradient(&self.policy, &batch, &Device::Cpu).unwrap();
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let grads: Vec<(String, Vec<f32>)> = self
            .policy
            .parameters()
            .iter()
            .map(|(name, var)| (name.to_owned(), flat(grads.get(var).unwrap())))
            .collect();
        let norm = grads.iter().flat_map(|(_, g)| g).map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let scale = (max_norm / norm).min(1.0);
        let eps = if self.config.train.algo == Algo::Ppo { 1e-5 } else { 1e-8 };
        self.steps += 1;
        let (rest1, rest2) = (1.0 - 0.9f64.powi(self.steps), 1.0 - 0.999f64.powi(self.steps));
        for (name, grad) in grads {
            let (m, v) = self
                .moments
                .entry(name.clone())
                .or_insert_with(|| (vec![0.0; grad.len()], vec![0.0; grad.len()]));
            let var = self.policy.parameters().get(&name).unwrap();
            let mut values = flat(var);
            for (((w, g), m), v) in values.iter_mut().zip(grad).zip(m).zip(v) {
                let g = f64::from(g) * scale;
                *m = 0.9 * *m + 0.1 * g;
                *v = 0.999 * *v + 0.001 * g * g;
                *w = (f64::from(*w) - lr * (*m / rest1) / ((*v / rest2).sqrt() + eps)) as f32;
            }
            var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap()).unwrap();
        }
    }
}

/// Parameters agree to a thousandth of the learning rate: what is left is the rounding of f32.
#[test]
fn updates_equal_those_written_out_by_hand() {
    for algo in [Algo::Reinforce, Algo::Ppo] {
        // PPO's six steps an update take longer: one method that routes, one that leaves samples out, one that
        // does fewer updates
        let (methods, updates) = match algo {
            Algo::Reinforce => (&Method::ALL[..], 3),
            Algo::Ppo => (&[Method::ROUTING, Method::FILTERING, Method::ORACLE][..], 2),
        };
        for &method in methods.iter().filter(|method| method.extra == Extra::None) {
            let mut config = with_backend(small(algo), Backend::Candle);
            config.train.method = method;
            (config.train.updates, config.train.learning_rate) =
                (if method == Method::ORACLE { 8 } else { 4 }, 1e-3);
            // minibatches of different sizes, a norm that is clipped
            (config.ppo.num_minibatches, config.ppo.max_grad_norm) = (3, 0.1);
            let mut trainer = trainer(&config, 3, 1);
            if method == Method::ORACLE {
                // its schedule is as long as the share of its updates: 8 × 0.5
                assert_eq!(trainer.updates_total(), 4);
                config.train.updates = 4;
            }
            let mut by_hand = ByHand::new(&config, 3);
            let start = parameters(&trainer);
            assert_eq!(start, by_hand.policy.parameters().to_flat_vec().unwrap());
            for update in 1..=updates {
                let report = trainer.update().unwrap();
                by_hand.update();
                let difference = largest_difference(
                    &parameters(&trainer),
                    &by_hand.policy.parameters().to_flat_vec().unwrap(),
                );
                assert!(difference < 1e-6, "{algo:?}, {method:?}, update {update}: {difference:e}");
                let norm = report.values.iter().find(|(name, _)| name == "losses/grad_norm").unwrap().1;
                assert!(algo == Algo::Reinforce || norm > 0.1, "the norm should be clipped: {norm}");
            }
            assert!(largest_difference(&parameters(&trainer), &start) > 1e-3);
        }
    }
}

#[test]
fn the_learning_rate_falls_to_zero_over_the_run_where_it_is_annealed() {
    let mut config = small(Algo::Ppo);
    config.train.updates = 4;
    let mut trainer = trainer(&config, 0, 1);
    let mut rates = Vec::new();
    for _ in 0..4 {
        let rate = trainer.learning_rate();
        let report = trainer.update().unwrap();
        assert_eq!(report.values[0], ("charts/learning_rate".to_owned(), rate));
        rates.push(rate / config.train.learning_rate);
    }
    assert_eq!(rates, [1.0, 0.75, 0.5, 0.25]);
    assert!(trainer.learning_rate() == 0.0);
}
