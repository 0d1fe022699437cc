//! That it learns, in seconds: a 3×3 grid, a few thousand steps.

use ppo_routed::{Algo, Config, Trainer};

use crate::{small, trainer};

fn task(algo: Algo) -> Config {
    let mut config = small(algo);
    (config.env.num_envs, config.env.max_steps, config.train.num_steps) = (64, 16, 16);
    config.env.oversight_prob = 1.0;
    config.eval.num_envs = 128;
    config.ppo.num_minibatches = 4;
    match algo {
        Algo::Ppo => (config.train.updates, config.train.learning_rate) = (30, 1e-3),
        Algo::Reinforce => (config.train.updates, config.train.learning_rate) = (120, 1e-3),
    }
    config
}

fn metric(values: &[(String, f64)], name: &str) -> f64 {
    values.iter().find(|(key, _)| key == name).unwrap().1
}

/// The mean length of the episodes in the first and in the last fifth of the updates.
fn train(trainer: &mut Trainer) -> (f64, f64) {
    let updates = trainer.updates_total() as usize;
    let lengths: Vec<f64> =
        (0..updates).map(|_| metric(&trainer.update().unwrap().values, "charts/episodic_length")).collect();
    let mean = |lengths: &[f64]| lengths.iter().sum::<f64>() / lengths.len() as f64;
    (mean(&lengths[..updates / 5]), mean(&lengths[updates - updates / 5..]))
}

fn learns(algo: Algo) {
    let mut trainer = trainer(&task(algo), 1, 2);
    let before = trainer.evaluate().unwrap();
    let (first, last) = train(&mut trainer);
    let after = trainer.evaluate().unwrap();
    assert!(last < 0.6 * first, "{algo:?}: episodes should get shorter: {first} to {last} steps");
    let returns: Vec<f64> = after.iter().map(|(_, e)| e.stepwise_return).collect();
    assert_eq!(after.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["diamond", "ghost", "full"]);
    assert!(returns[0] > returns[1] + 0.8, "{algo:?}: the experts should specialise: {returns:?}");
    assert!(returns[0] > before[0].1.stepwise_return + 0.3, "{algo:?}: {before:?} {after:?}");
    assert!(after[0].1.share("diamond") > 0.7 && after[1].1.share("ghost") > 0.7, "{algo:?}: {after:?}");
    assert!(returns[2].abs() < 0.3, "the full mixture has no reason to prefer either: {returns:?}");
}

#[test]
fn ppo_learns_to_end_episodes_and_the_experts_specialise() {
    learns(Algo::Ppo);
}

#[test]
fn reinforce_learns_to_end_episodes_and_the_experts_specialise() {
    learns(Algo::Reinforce);
}
