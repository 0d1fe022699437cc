//! Training and evaluation under oversight that is not the paper's.

use candle_core::{Device, Tensor};
use envs::{BlindRegion, EnvId, Outcome};
use experiment::SeedStreams;
use policies::Steering;
use policies::fused::FusedPolicy;
use ppo_routed::rollout::{Actor, ForwardCache, RolloutSeeds, Shard};
use ppo_routed::{Algo, Config, Evaluation, Method, Trainer, evaluate};

use crate::{parameters, replay, small, trainer};

const ALGOS: [Algo; 2] = [Algo::Ppo, Algo::Reinforce];

fn part(evaluation: &Evaluation, name: &str) -> Vec<(String, f64)> {
    evaluation.parts.iter().find(|part| part.name == name).unwrap().named().collect()
}

fn assert_close(got: &[(String, f64)], want: &[(&str, f64)], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}: {got:?}");
    for ((name, got), (want_name, want)) in got.iter().zip(want) {
        assert_eq!(name, want_name, "{what}");
        let same = (got - want).abs() < 1e-5 || got.is_nan() && want.is_nan();
        assert!(same, "{what}: {name} is {got}, not {want}");
    }
}

/// A config whose evaluations have every part.
fn with_parts() -> Config {
    let mut config = small(Algo::Reinforce);
    config.env.blind_region = BlindRegion::Rows(0, 0);
    config.eval.bits = true;
    config
}

/// The same actions, played once more and counted one by one.
#[test]
fn in_and_outside_the_blind_region_are_told_apart() {
    let config = with_parts();
    let mut trainer = trainer(&config, 9, 2);
    let evaluations = trainer.evaluate().unwrap();
    let streams = SeedStreams::new(9);
    let seeds = RolloutSeeds { env: streams.seed_of("eval.env.0"), action: streams.seed_of("eval.action.0") };
    let policy = trainer.policy().clone();
    let fused = FusedPolicy::new(policy.config(), policy.parameters()).unwrap();
    let steerings = [Steering::Expert(0), Steering::Expert(1), Steering::Mixture];
    for ((name, evaluation), steering) in evaluations.iter().zip(steerings) {
        let mut shards = Shard::split(envs::maker(&config.env.config()), 16, 32, 1, seeds).unwrap();
        let mut caches = [ForwardCache::new(policy.config())];
        evaluate(&mut shards, &mut caches, Actor::Fused(&fused), steering, seeds, 0.97).unwrap();
        let steps = replay::play(&config.env.config(), 16, seeds.env, &shards[0].samples.actions);
        let (mut sums, mut counts, mut ends) = ([0.0; 2], [0.0; 2], [[0.0; 2]; 2]);
        for steps in &steps {
            for t in 0..steps.len() {
                let Some(end) = steps[t..].iter().find(|step| step.done()) else { continue };
                let Outcome { reached: Some(_), blind, .. } = end.outcome else { continue };
                let part = usize::from(!blind);
                sums[part] += replay::return_from(steps, t, 0.97, replay::true_reward);
                counts[part] += 1.0;
            }
            for Outcome { reached, blind, .. } in steps.iter().map(|step| step.outcome) {
                if let Some(kind) = reached {
                    ends[usize::from(!blind)][usize::from(kind)] += 1.0;
                }
            }
        }
        for (index, part_name) in ["in_blind", "outside_blind"].into_iter().enumerate() {
            let all = ends[index][0] + ends[index][1];
            assert!(all > 5.0, "{name}: {ends:?}");
            let keys = ["return", "share_diamond", "share_ghost"].map(|key| format!("{part_name}/{key}"));
            let values = [sums[index] / counts[index], ends[index][0] / all, ends[index][1] / all];
            let want: Vec<(&str, f64)> = keys.iter().map(String::as_str).zip(values).collect();
            assert_close(&part(evaluation, part_name), &want, name);
        }
    }
}

/// With bits set a policy is scored as in a world where everything is watched, and without as where nothing is.
#[test]
fn bits_set_and_unset_are_the_worlds_in_which_everything_and_nothing_is_watched() {
    let config = with_parts();
    let evaluations = trainer(&config, 9, 2).evaluate().unwrap();
    for (part_name, oversight_prob) in [("bits_set", 1.0), ("bits_unset", 0.0)] {
        let mut world = small(Algo::Reinforce);
        world.env.oversight_prob = oversight_prob;
        let alone = trainer(&world, 9, 2).evaluate().unwrap();
        for ((name, evaluation), (_, alone)) in evaluations.iter().zip(alone) {
            let share = |kind| alone.share(kind);
            let keys = ["return", "share_diamond", "share_ghost"].map(|key| format!("{part_name}/{key}"));
            let values = [alone.stepwise_return, share("diamond"), share("ghost")];
            let want: Vec<(&str, f64)> = keys.iter().map(String::as_str).zip(values).collect();
            assert_close(&part(evaluation, part_name), &want, name);
        }
    }
    assert!(trainer(&small(Algo::Ppo), 9, 1).evaluate().unwrap()[0].1.parts.is_empty());
}

/// A plane that is zero changes nothing, whatever its weights are; one that is not is learned from.
#[test]
fn the_plane_of_inoculation_is_on_in_training_and_off_at_evaluation() {
    for algo in ALGOS {
        let mut config = small(algo);
        config.train.method = Method::INOCULATION;
        let mut trainer = trainer(&config, 4, 2);
        let columns = |trainer: &Trainer| -> Vec<f32> {
            let weight = trainer.policy().parameters().get("experts.policy.0.weight").unwrap().as_tensor();
            assert_eq!(weight.dims(), [256, 45]);
            weight.narrow(1, 36, 9).unwrap().flatten_all().unwrap().to_vec1().unwrap()
        };
        let before = columns(&trainer);
        trainer.update().unwrap();
        let after = columns(&trainer);
        let moved = before.iter().zip(&after).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        assert!(moved > after.len() / 4, "{algo:?}: {moved} of {}", after.len());

        let usual = trainer.evaluate().unwrap();
        let var = trainer.policy().parameters().get("experts.policy.0.weight").unwrap().clone();
        let own = var.as_tensor().narrow(1, 0, 36).unwrap();
        let huge = Tensor::full(1e3f32, (256, 9), &Device::Cpu).unwrap();
        var.set(&Tensor::cat(&[&own, &huge], 1).unwrap().contiguous().unwrap()).unwrap();
        trainer.parameters_changed().unwrap();
        assert_eq!(format!("{:?}", trainer.evaluate().unwrap()), format!("{usual:?}"));
    }
}

/// The classifier learns which end is which, and its reward is told apart from the naive one.
#[test]
fn the_reward_model_learns_and_says_how_well() {
    for algo in ALGOS {
        let mut config = small(algo);
        config.train.method = Method::REWARD_MODEL;
        (config.env.num_envs, config.train.num_steps) = (128, 16);
        let mut trainer = trainer(&config, 4, 2);
        let value = |values: &[(String, f64)], name: &str| -> f64 {
            values.iter().find(|(found, _)| found == name).unwrap().1
        };
        let reports: Vec<_> = (0..10).map(|_| trainer.update().unwrap().values).collect();
        let (first, last) = (&reports[0], &reports[9]);
        assert!(value(last, "reward_model/loss") < 0.8 * value(first, "reward_model/loss"), "{algo:?}");
        assert!(value(last, "reward_model/accuracy") > 0.7, "{algo:?}");
        assert!((0.0..0.3).contains(&value(last, "reward_model/calibration_error")), "{algo:?}");
        let examples: Vec<f64> =
            reports.iter().map(|values| value(values, "reward_model/examples")).collect();
        assert!(examples.windows(2).all(|pair| pair[1] > pair[0]), "{examples:?}");
        // half of the ends are seen, and they are worth 1 and −1: the naive reward of the others is 1
        config.train.method = Method::NAIVE;
        let naive = crate::trainer(&config, 4, 2).update().unwrap().values;
        assert!(value(first, "charts/episodic_return") < value(&naive, "charts/episodic_return") - 0.2);
        assert!(naive.iter().all(|(name, _)| !name.starts_with("reward_model/")));
    }
}

/// Everything at once, with every method: it trains, repeats and goes on from a checkpoint.
#[test]
fn a_run_with_every_setting_goes_on_from_a_checkpoint_exactly() {
    for algo in ALGOS {
        for method in [Method::ROUTING, Method::REWARD_MODEL, Method::INOCULATION] {
            let mut config = with_parts();
            config.train.algo = algo;
            config.train.method = method;
            config.env.id = EnvId::DetourOversightGridV0;
            config.env.kinds = ["a 1", "b -1", "c 0.5", "d -0.5"].map(|kind| kind.parse().unwrap()).to_vec();
            (config.env.oversight_recall, config.env.oversight_precision) = (vec![1.0, 0.5, 0.9, 0.8], 0.7);
            config.env.oversight_observed = false;
            let mut whole = trainer(&config, 2, 2);
            whole.update().unwrap();
            let saved = whole.checkpoint(0.0).unwrap();
            let make_env = envs::maker(&config.env.config());
            let mut resumed = Trainer::resume_with_envs(&config, make_env, &saved, 2, &Device::Cpu).unwrap();
            for _ in 0..2 {
                let [a, b] =
                    [&mut whole, &mut resumed].map(|run| format!("{:?}", run.update().unwrap().values));
                assert_eq!(a, b);
            }
            assert_eq!(parameters(&whole), parameters(&resumed));
            let names: Vec<String> = whole.evaluate().unwrap().into_iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), if method.is_mixture() { 15 } else { 1 });
            assert!(!method.is_mixture() || names.contains(&"a+c+d".to_owned()), "{names:?}");
        }
    }
}

#[test]
fn bits_of_an_environment_of_ones_own_cannot_be_set() {
    let mut config = small(Algo::Ppo);
    config.eval.bits = true;
    let made = Trainer::with_envs(&config, crate::ring::Ring::maker(2, 0.5), 1, 1, &Device::Cpu);
    let error = made.err().unwrap().to_string();
    assert!(error.contains("eval.bits sets the bits of the environments of [env] alone"), "{error}");
}
