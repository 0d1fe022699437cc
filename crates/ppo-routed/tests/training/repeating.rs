//! That runs repeat, whatever else is done meanwhile, and agree across threads and backends.

use experiment::SeedStreams;
use policies::Steering;
use policies::fused::FusedPolicy;
use ppo_routed::rollout::{Actor, ForwardCache, RolloutSeeds, Shard};
use ppo_routed::{Algo, Backend, Config, Evaluation, Extra, Method, Trainer, UpdateReport, evaluate};

use crate::{largest_difference, parameters, small, trainer, with_backend};

fn bits(report: &UpdateReport) -> Vec<(String, u64)> {
    report.values.iter().map(|(name, value)| (name.clone(), value.to_bits())).collect()
}

fn evaluations(trainer: &mut Trainer) -> Vec<Vec<u64>> {
    let evaluations = trainer.evaluate().unwrap();
    let bits = |e: &Evaluation| e.named().into_iter().map(|(_, value)| value.to_bits()).collect();
    evaluations.iter().map(|(_, e)| bits(e)).collect()
}

/// Metrics of `updates` updates, the last evaluation and the parameters, all as bits.
fn run(config: &Config, seed: u64, threads: usize, updates: u64) -> impl PartialEq + std::fmt::Debug {
    let mut trainer = trainer(config, seed, threads);
    let metrics: Vec<_> = (0..updates).map(|_| bits(&trainer.update().unwrap())).collect();
    let evaluations = evaluations(&mut trainer);
    let parameters: Vec<u32> = parameters(&trainer).into_iter().map(f32::to_bits).collect();
    (metrics, evaluations, parameters)
}

#[test]
fn the_same_seed_and_threads_repeat_bit_for_bit() {
    for algo in [Algo::Ppo, Algo::Reinforce] {
        for (backend, threads) in [(Backend::Fused, 1), (Backend::Fused, 2), (Backend::Candle, 1)] {
            let config = with_backend(small(algo), backend);
            let first = run(&config, 1, threads, 3);
            assert!(first == run(&config, 1, threads, 3), "{algo:?}, {backend:?}, {threads} threads");
            assert!(first != run(&config, 2, threads, 3), "another seed should give another run");
        }
    }
}

#[test]
fn evaluating_changes_nothing_and_repeats() {
    for algo in [Algo::Ppo, Algo::Reinforce] {
        let config = small(algo);
        let mut plain = trainer(&config, 1, 2);
        let mut evaluated = trainer(&config, 1, 2);
        for _ in 0..3 {
            let first = evaluations(&mut evaluated);
            assert_eq!(first, evaluations(&mut evaluated));
            assert_eq!(bits(&plain.update().unwrap()), bits(&evaluated.update().unwrap()));
            assert_ne!(first, evaluations(&mut evaluated), "fresh environments at each update");
        }
        assert_eq!(parameters(&plain), parameters(&evaluated));
    }
}

/// Each policy of the method by its own steering, for 32 steps in environments that belong to the update alone.
#[test]
fn an_evaluation_is_that_of_the_seeds_of_its_update() {
    // the plane of inoculation is not the environment's
    for method in Method::ALL.into_iter().filter(|method| method.extra != Extra::Inoculation) {
        let mut config = small(Algo::Reinforce);
        config.train.method = method;
        let mut trainer = trainer(&config, 9, 2);
        for update in 0..2 {
            let streams = SeedStreams::new(9);
            let seeds = RolloutSeeds {
                env: streams.seed_of(&format!("eval.env.{update}")),
                action: streams.seed_of(&format!("eval.action.{update}")),
            };
            let policy = trainer.policy().clone();
            let fused = FusedPolicy::new(policy.config(), policy.parameters()).unwrap();
            let mut shards = Shard::split(envs::maker(&config.env.config()), 16, 32, 2, seeds).unwrap();
            let mut caches = [(); 2].map(|()| ForwardCache::new(policy.config()));
            let steerings: &[(&str, Steering)] = if method.is_mixture() {
                &[
                    ("diamond", Steering::Expert(0)),
                    ("ghost", Steering::Expert(1)),
                    ("full", Steering::Mixture),
                ]
            } else {
                &[("full", Steering::Mixture)]
            };
            let got = trainer.evaluate().unwrap();
            assert_eq!(got.len(), steerings.len(), "{method:?}");
            for ((name, steering), (got_name, got)) in steerings.iter().zip(got) {
                let actor = Actor::Fused(&fused);
                let want = evaluate(&mut shards, &mut caches, actor, *steering, seeds, 0.97).unwrap();
                assert_eq!(got_name, *name);
                for ((key, got), (_, want)) in got.named().into_iter().zip(want.named()) {
                    assert!((got - want).abs() < 1e-9, "{method:?}, {name:?}, {key}: {got} is not {want}");
                }
            }
            trainer.update().unwrap();
        }
    }
}

/// Sums over samples are grouped by thread, so that they differ in rounding. A step of Adam turns the gradient's
/// rounding into at most a step's length where the gradient is nothing but rounding; elsewhere it stays small.
#[test]
fn one_thread_and_two_agree() {
    for algo in [Algo::Ppo, Algo::Reinforce] {
        let config = small(algo);
        let [one, two] = [1, 2].map(|threads| {
            let mut trainer = trainer(&config, 1, threads);
            let reports: Vec<_> = (0..2).map(|_| trainer.update().unwrap().values).collect();
            (reports, parameters(&trainer), trainer.evaluate().unwrap())
        });
        let start = parameters(&trainer(&config, 1, 1));
        let moved = largest_difference(&one.1, &start);
        let difference = largest_difference(&one.1, &two.1);
        assert!(difference < 1e-3 * moved, "{algo:?}: {difference:e} of {moved:e}");
        for ((name, one), (_, two)) in one.0.iter().flatten().zip(two.0.iter().flatten()) {
            let same = one.is_nan() && two.is_nan() || (one - two).abs() <= 1e-5 * one.abs().max(0.1);
            assert!(same, "{algo:?}, {name}: {one} and {two}");
        }
    }
}

#[test]
fn the_fused_path_and_candle_agree_after_a_few_updates() {
    for algo in [Algo::Ppo, Algo::Reinforce] {
        for method in Method::ALL {
            let mut config = small(algo);
            config.train.method = method;
            let [fused, candle] = [Backend::Fused, Backend::Candle].map(|backend| {
                let mut trainer = trainer(&with_backend(config.clone(), backend), 5, 2);
                let reports: Vec<_> = (0..3).map(|_| trainer.update().unwrap().values).collect();
                (reports, parameters(&trainer))
            });
            let start = parameters(&trainer(&config, 5, 1));
            let moved = largest_difference(&fused.1, &start);
            let difference = largest_difference(&fused.1, &candle.1);
            assert!(difference < 1e-2 * moved, "{algo:?}, {method:?}: {difference:e} of {moved:e}");
            for ((name, fused), (_, candle)) in fused.0.iter().flatten().zip(candle.0.iter().flatten()) {
                let same = fused.is_nan() && candle.is_nan()
                    || (fused - candle).abs() <= 1e-4 * fused.abs().max(0.1);
                assert!(same, "{algo:?}, {method:?}, {name}: {fused} and {candle}");
            }
        }
    }
}

/// Fifty updates with a learning rate at which the policy learns: the same curve on both backends.
#[test]
fn the_fused_path_and_candle_learn_the_same_curve() {
    let mut config = small(Algo::Ppo);
    config.env.oversight_prob = 1.0;
    (config.train.updates, config.train.learning_rate) = (50, 1e-3);
    (config.ppo.update_epochs, config.ppo.num_minibatches) = (2, 1);
    config.eval.num_envs = 48;
    let [fused, candle] = [Backend::Fused, Backend::Candle].map(|backend| {
        let mut trainer = trainer(&with_backend(config.clone(), backend), 4, 2);
        let mut curve: Vec<Vec<Evaluation>> = Vec::new();
        for update in 1..=50 {
            trainer.update().unwrap();
            if update % 10 == 0 {
                curve.push(trainer.evaluate().unwrap().into_iter().map(|(_, e)| e).collect());
            }
        }
        (curve, parameters(&trainer))
    });
    for (point, (fused, candle)) in fused.0.iter().zip(&candle.0).enumerate() {
        for (fused, candle) in fused.iter().zip(candle) {
            let (a, b) = (fused.stepwise_return, candle.stepwise_return);
            assert!((a - b).abs() < 0.1, "evaluation {point}: {a} and {b}");
        }
    }
    let (first, last) = (&fused.0[0], &fused.0[4]);
    assert!(last[0].stepwise_return > first[0].stepwise_return + 0.1, "it should learn: {first:?} {last:?}");
}
