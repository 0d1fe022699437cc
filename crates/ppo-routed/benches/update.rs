//! Time of one update of 512 environments × 32 steps and of its parts; elements are environment steps.

use candle_core::Device;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use experiment::SeedStreams;
use policies::fused::FusedPolicy;
use policies::{Policy, Steering};
use ppo_routed::rollout::{Actor, ForwardCache, RolloutSeeds, Shard};
use ppo_routed::{Algo, Config, Error, Method, Supervision, Trainer};

/// A rollout and its advantages on one thread.
fn parts(criterion: &mut Criterion) -> Result<(), Error> {
    let config = Config::default();
    let seeds = RolloutSeeds { env: 0, action: 1 };
    let env = envs::maker(&config.env.config())(0, config.env.num_envs)?;
    let supervision = Supervision::new(Method::ROUTING, env.kinds())?;
    let policy_config =
        supervision.policy_config(env.single_observation_space(), env.single_action_space(), &config)?;
    let mut shard = Shard::new(env, 0, config.train.num_steps, seeds)?;
    let policy = Policy::new(policy_config, &mut SeedStreams::new(0).stream("init"), &Device::Cpu)?;
    let fused = FusedPolicy::new(policy.config(), policy.parameters())?;
    let mut cache = ForwardCache::new(policy.config());
    let mut group = criterion.benchmark_group("one thread");
    group.throughput(Throughput::Elements(config.steps_per_update()));
    group.bench_function("rollout", |b| {
        b.iter(|| shard.rollout(Actor::Fused(&fused), Steering::Mixture, &mut cache));
    });
    group.bench_function("labels", |b| b.iter(|| shard.samples.label_episodes(&supervision)));
    group.bench_function("advantages", |b| {
        b.iter(|| shard.samples.advantages(0.97, 0.95));
    });
    group.finish();
    Ok(())
}

/// Whole updates, as `train` does them.
fn updates(criterion: &mut Criterion) -> Result<(), Error> {
    let mut group = criterion.benchmark_group("update");
    group.sample_size(10);
    for (name, algo) in [("reinforce", Algo::Reinforce), ("ppo", Algo::Ppo)] {
        for threads in [1, 2] {
            let mut config = Config::default();
            config.train.algo = algo;
            config.train.updates = u64::from(u32::MAX);
            let mut trainer = Trainer::new(&config, 0, threads, &Device::Cpu)?;
            group.throughput(Throughput::Elements(config.steps_per_update()));
            group.bench_function(BenchmarkId::new(name, format!("{threads} threads")), |b| {
                b.iter(|| trainer.update());
            });
        }
    }
    group.finish();
    Ok(())
}

fn all(criterion: &mut Criterion) {
    let done = parts(criterion).and_then(|()| updates(criterion));
    done.unwrap_or_else(|error| panic!("the update cannot be timed: {error}"));
}

criterion_group!(benches, all);
criterion_main!(benches);
