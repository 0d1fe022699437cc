//! The trainer from outside: what a rollout writes down, what an update does, that runs repeat, and that they learn.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as a test does")]

mod faults;
mod foreign;
mod learning;
mod oversight;
mod repeating;
mod replay;
#[path = "../common/ring.rs"]
mod ring;
mod rollout;
mod update;

use candle_core::{Device, Tensor};
use envs::EnvId;
use policies::Policy;
use ppo_routed::{Algo, Backend, Config, Method, Trainer};
use rand::{Rng, RngExt};

/// A small task: 3×3 cells, 16 environments of 8 steps.
fn small(algo: Algo) -> Config {
    let mut config = Config::of(algo, Method::ROUTING, EnvId::OversightGridV0);
    (config.env.rows, config.env.cols, config.env.max_steps, config.env.num_envs) = (3, 3, 6, 16);
    config.env.oversight_prob = 0.5;
    (config.train.updates, config.train.num_steps) = (10, 8);
    (config.ppo.update_epochs, config.ppo.num_minibatches) = (2, 2);
    config.eval.num_envs = 16;
    config
}

fn trainer(config: &Config, seed: u64, threads: usize) -> Trainer {
    Trainer::new(config, seed, threads, &Device::Cpu).unwrap()
}

fn with_backend(mut config: Config, backend: Backend) -> Config {
    config.train.backend = backend;
    config
}

fn parameters(trainer: &Trainer) -> Vec<f32> {
    trainer.policy().parameters().to_flat_vec().unwrap()
}

/// The largest difference of two parameters.
fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Moves every parameter by up to `by`, and makes the head twenty times as large, so that actions, gate and value
/// differ from observation to observation.
fn stir(policy: &Policy, by: f32, rng: &mut impl Rng) {
    for (name, var) in policy.parameters().iter() {
        let factor = if name == "head.weight" { 20.0 } else { 1.0 };
        let values = var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let values: Vec<f32> = values.into_iter().map(|v| v * factor + rng.random_range(-by..by)).collect();
        var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap()).unwrap();
    }
}
