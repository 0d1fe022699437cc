//! What a rollout writes down, against the same rollout played once more.

use candle_core::Device;
use envs::{EnvConfig, EnvId, VectorEnv};
use policies::fused::{FusedPolicy, UniqueRows};
use policies::{Policy, PolicyConfig, Steering};
use ppo_routed::rollout::{Actor, ForwardCache, RolloutSeeds, Shard};
use ppo_routed::{Method, Samples, Supervision, evaluate};
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

use crate::replay::{self, Step};
use crate::stir;

const SEEDS: RolloutSeeds = RolloutSeeds { env: 77, action: 78 };
const NUM_ENVS: usize = 29;
const NUM_STEPS: usize = 14;

fn env() -> EnvConfig {
    EnvConfig {
        rows: 3,
        cols: 4,
        max_steps: 5,
        oversight_prob: 0.5,
        ..EnvConfig::for_id(EnvId::OversightGridV0)
    }
}

fn envs(num_envs: usize) -> Box<dyn VectorEnv> {
    envs::maker(&env())(0, num_envs).unwrap()
}

fn policy_config(env: &EnvConfig) -> PolicyConfig {
    PolicyConfig::mixture(["diamond", "ghost"], 4, env.rows * env.cols, 4)
}

fn policy(env: &EnvConfig) -> Policy {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
    let policy = Policy::new(policy_config(env), &mut rng, &Device::Cpu).unwrap();
    stir(&policy, 0.03, &mut rng);
    policy
}

/// Both ways to act: on the fused path and in candle operations.
fn with_both_actors(policy: &Policy, test: impl Fn(Actor<'_>, &str)) {
    let fused = FusedPolicy::new(policy.config(), policy.parameters()).unwrap();
    test(Actor::Fused(&fused), "fused");
    test(Actor::Candle(policy, &Device::Cpu), "candle");
}

fn roll(actor: Actor<'_>, config: &PolicyConfig, steering: Steering) -> (Samples, ForwardCache) {
    let mut shard = Shard::new(envs(NUM_ENVS), 0, NUM_STEPS, SEEDS).unwrap();
    let mut cache = ForwardCache::new(config);
    shard.rollout(actor, steering, &mut cache).unwrap();
    (shard.samples, cache)
}

/// Each sample with its step in the replay.
fn each(steps: &[Vec<Step>]) -> impl Iterator<Item = (usize, usize, &Step)> {
    steps.iter().enumerate().flat_map(|(env, steps)| {
        steps.iter().enumerate().map(move |(t, step)| (env * NUM_STEPS + t, t, step))
    })
}

#[test]
fn everything_written_down_is_what_happened() {
    let policy = policy(&env());
    for steering in [Steering::Mixture, Steering::Expert(0), Steering::Expert(1)] {
        with_both_actors(&policy, |actor, name| {
            let (samples, cache) = roll(actor, policy.config(), steering);
            let steps = replay::play(&env(), NUM_ENVS, SEEDS.env, &samples.actions);
            let before: Vec<&[f32]> = each(&steps).map(|(_, _, s)| &s.observation[..]).collect();
            let after: Vec<&[f32]> = each(&steps).map(|(_, _, s)| &s.next_observation[..]).collect();
            let log_probs = replay::log_probs(&policy, steering, &before);
            let (values, next_values) = (replay::values(&policy, &before), replay::values(&policy, &after));
            let mut ends = [0; 3];
            for (i, _, step) in each(&steps) {
                let mut seen = vec![9.0; before[0].len()];
                cache.unique.rows().write_dense(samples.rows[i] as usize, &mut seen);
                assert_eq!(seen, step.observation, "{name}");
                assert_eq!((samples.outcomes[i], samples.dones[i]), (step.outcome, step.done()), "{name}");
                let close = |what: &str, got: f32, want: f64| {
                    let error = (f64::from(got) - want).abs();
                    assert!(error < 1e-5, "{name}, {steering:?}: {what} {got} is not {want}");
                };
                close("log p", samples.log_probs[i], log_probs[i][step.action]);
                close("V", samples.values[i], values[i]);
                close("next V", samples.next_values[i], if step.terminated { 0.0 } else { next_values[i] });
                ends[if step.terminated { 0 } else { 1 + usize::from(step.truncated) }] += 1;
            }
            assert!(ends.iter().all(|count| *count > 20), "terminated, went on, truncated: {ends:?}");
        });
    }
}

/// A truncated episode is worth what its last observation promises. What the environment shows next belongs to
/// the next episode and is worth something else.
#[test]
fn truncation_bootstraps_from_the_final_observation_and_termination_does_not() {
    let policy = policy(&env());
    with_both_actors(&policy, |actor, name| {
        let (samples, _) = roll(actor, policy.config(), Steering::Mixture);
        let steps = replay::play(&env(), NUM_ENVS, SEEDS.env, &samples.actions);
        let (mut truncated, mut terminated) = (0, 0);
        for (i, _, step) in each(&steps).filter(|(_, _, step)| step.done()) {
            if step.terminated {
                terminated += 1;
                assert!(samples.next_values[i] == 0.0, "{name}");
                continue;
            }
            let values =
                replay::values(&policy, &[&step.next_observation, &step.shown_next, &step.observation]);
            let got = f64::from(samples.next_values[i]);
            assert!((got - values[0]).abs() < 1e-6, "{name}: {got} is not {}", values[0]);
            // only where they differ can the right one be told from the wrong ones
            truncated +=
                usize::from((values[0] - values[1]).abs() > 1e-3 && (values[0] - values[2]).abs() > 1e-3);
        }
        assert!(truncated > 20 && terminated > 20, "{truncated} {terminated}");
    });
}

#[test]
fn labels_returns_and_advantages_equal_their_definitions() {
    let policy = policy(&env());
    let fused = FusedPolicy::new(policy.config(), policy.parameters()).unwrap();
    let (mut samples, _) = roll(Actor::Fused(&fused), policy.config(), Steering::Mixture);
    let steps = replay::play(&env(), NUM_ENVS, SEEDS.env, &samples.actions);
    let (gamma, lambda) = (0.9, 0.8);
    // V before and after each step, once
    let values = |of: fn(&Step) -> &Vec<f32>| -> Vec<f64> {
        replay::values(&policy, &each(&steps).map(|(_, _, step)| &of(step)[..]).collect::<Vec<_>>())
    };
    let (before, after) = (values(|step| &step.observation), values(|step| &step.next_observation));
    for method in Method::ALL {
        let supervision = Supervision::new(method, &env().kinds).unwrap();
        samples.label_episodes(&supervision);
        let reward = |outcome| f64::from(supervision.reward(outcome));
        let returns = samples.returns(gamma as f32);
        let true_returns = samples.true_returns(supervision.kinds(), gamma as f32);
        let advantages = samples.advantages(gamma as f32, lambda as f32);
        for (i, t, _) in each(&steps) {
            let start = i - t;
            let (steps, range) = (&steps[i / NUM_STEPS], start..start + NUM_STEPS);
            assert_eq!(samples.labels[i], replay::label(steps, t, method), "{method:?}, sample {i}");
            let close = |what: &str, got: f32, want: f64| {
                assert!(
                    (f64::from(got) - want).abs() < 1e-5,
                    "{method:?}, {what} of {i}: {got} is not {want}"
                );
            };
            close("return", returns[i], replay::return_from(steps, t, gamma, reward));
            close("true return", true_returns[i], replay::return_from(steps, t, gamma, replay::true_reward));
            let values = (&before[range.clone()], &after[range]);
            close("advantage", advantages[i], replay::advantage(steps, values, t, (gamma, lambda), reward));
        }
    }
}

/// Of independent choices that take an action with probability p each, the count of that action lies within four
/// and a half standard deviations √Σ p(1 − p) of Σ p.
#[test]
fn actions_are_drawn_with_their_probabilities() {
    let policy = policy(&env());
    let fused = FusedPolicy::new(policy.config(), policy.parameters()).unwrap();
    let mut shard = Shard::new(envs(500), 0, 20, SEEDS).unwrap();
    let mut cache = ForwardCache::new(policy.config());
    shard.rollout(Actor::Fused(&fused), Steering::Mixture, &mut cache).unwrap();
    for action in 0..4 {
        let p = |row: &u32| f64::from(cache.log_probs[*row as usize * 4 + action]).exp();
        let rows = &shard.samples.rows;
        let expected: f64 = rows.iter().map(p).sum();
        let deviation = rows.iter().map(|row| p(row) * (1.0 - p(row))).sum::<f64>().sqrt();
        let varied = rows.iter().map(|row| (p(row) - 0.25).abs()).sum::<f64>() / rows.len() as f64;
        assert!(varied > 0.05, "probabilities should differ from one quarter: {varied}");
        let count = shard.samples.actions.iter().filter(|a| usize::from(**a) == action).count() as f64;
        assert!(
            (count - expected).abs() < 4.5 * deviation,
            "action {action}: {count}, {expected} ± {deviation}"
        );
    }
}

/// A sample with its observation in place of its row, floats as bits.
type Exact = (Vec<u32>, u8, [u32; 3], envs::Outcome, bool);

fn exact(samples: &Samples, unique: &UniqueRows) -> Vec<Exact> {
    (0..samples.len())
        .map(|i| {
            let mut observation = vec![0.0; unique.rows().width()];
            unique.rows().write_dense(samples.rows[i] as usize, &mut observation);
            let floats = [samples.log_probs[i], samples.values[i], samples.next_values[i]];
            (
                observation.into_iter().map(f32::to_bits).collect(),
                samples.actions[i],
                floats.map(f32::to_bits),
                samples.outcomes[i],
                samples.dones[i],
            )
        })
        .collect()
}

/// The samples of two rollouts in a row, of a batch in so many parts.
fn rollouts(actor: Actor<'_>, env: &EnvConfig, num_envs: usize, parts: usize) -> Vec<Exact> {
    let config = policy_config(env);
    let mut shards = Shard::split(envs::maker(env), num_envs, NUM_STEPS, parts, SEEDS).unwrap();
    assert_eq!(shards.len(), parts);
    let mut all: Vec<Vec<Exact>> = vec![Vec::new(); 2];
    for shard in &mut shards {
        for samples in &mut all {
            let mut cache = ForwardCache::new(&config);
            shard.rollout(actor, Steering::Mixture, &mut cache).unwrap();
            samples.extend(exact(&shard.samples, &cache.unique));
        }
    }
    all.concat()
}

/// On the fused path, the only one that is split.
fn assert_splits_agree(env: &EnvConfig, num_envs: usize, all_parts: &[usize]) {
    let policy = policy(env);
    let fused = FusedPolicy::new(policy.config(), policy.parameters()).unwrap();
    let whole = rollouts(Actor::Fused(&fused), env, num_envs, 1);
    assert_eq!(whole.len(), 2 * num_envs * NUM_STEPS);
    for &parts in all_parts {
        let split = rollouts(Actor::Fused(&fused), env, num_envs, parts);
        for (i, (split, whole)) in split.iter().zip(&whole).enumerate() {
            assert_eq!(split, whole, "{parts} parts, sample {i}");
        }
    }
}

/// A batch split over threads does what the whole does, in the first rollout and in those that follow.
#[test]
fn a_split_batch_gives_the_samples_of_the_whole() {
    assert_splits_agree(&env(), NUM_ENVS, &[2, 3]);
    // more parts than environments: one each
    assert_eq!(Shard::split(envs::maker(&env()), 3, NUM_STEPS, 8, SEEDS).unwrap().len(), 3);
}

/// Also where a part computes one observation alone that the whole computes among others: with one environment in
/// each part, and in a grid so small that soon almost every observation is known.
#[test]
fn so_it_does_where_single_observations_are_computed() {
    assert_splits_agree(&env(), NUM_ENVS, &[NUM_ENVS]);
    let tiny = EnvConfig { rows: 2, cols: 3, oversight_prob: 0.0, ..env() };
    assert_splits_agree(&tiny, 40, &[2, 3]);
}

#[test]
fn a_shard_goes_on_from_a_saved_state_as_it_did() {
    let policy = policy(&env());
    let fused = FusedPolicy::new(policy.config(), policy.parameters()).unwrap();
    let mut cache = ForwardCache::new(policy.config());
    let mut go_on = |shard: &mut Shard| {
        shard.rollout(Actor::Fused(&fused), Steering::Mixture, &mut cache).unwrap();
        exact(&shard.samples, &cache.unique)
    };
    let mut shard = Shard::new(envs(NUM_ENVS), 0, NUM_STEPS, SEEDS).unwrap();
    let first = go_on(&mut shard);
    let state = shard.save_state().unwrap();
    let second = go_on(&mut shard);
    assert_ne!(first, second);
    let mut other = Shard::new(envs(NUM_ENVS), 0, NUM_STEPS, RolloutSeeds { env: 1, action: 2 }).unwrap();
    other.load_state(&state).unwrap();
    assert_eq!(go_on(&mut other), second);
    let mut smaller = Shard::new(envs(3), 0, NUM_STEPS, SEEDS).unwrap();
    assert!(smaller.load_state(&state).is_err());
}

/// The stepwise return, the shares and the mean length, counted one by one from the replay.
#[test]
fn an_evaluation_equals_a_naive_recomputation() {
    let policy = policy(&env());
    for steering in [Steering::Mixture, Steering::Expert(0), Steering::Expert(1)] {
        with_both_actors(&policy, |actor, name| {
            for parts in [1, 2] {
                // shards that were elsewhere before: an evaluation starts anew
                let mut shards = Shard::split(
                    envs::maker(&env()),
                    NUM_ENVS,
                    NUM_STEPS,
                    parts,
                    RolloutSeeds { env: 3, action: 4 },
                )
                .unwrap();
                let mut caches: Vec<ForwardCache> =
                    (0..3).map(|_| ForwardCache::new(policy.config())).collect();
                let got = evaluate(&mut shards, &mut caches, actor, steering, SEEDS, 0.97).unwrap();
                let actions: Vec<u8> =
                    shards.iter().flat_map(|shard| shard.samples.actions.clone()).collect();
                let steps = replay::play(&env(), NUM_ENVS, SEEDS.env, &actions);

                // it was the steered policy that acted
                let before: Vec<&[f32]> = each(&steps).map(|(_, _, s)| &s.observation[..]).collect();
                let log_probs = replay::log_probs(&policy, steering, &before);
                let taken = shards.iter().flat_map(|shard| &shard.samples.log_probs);
                for ((_, _, step), (got, want)) in each(&steps).zip(taken.zip(&log_probs)) {
                    assert!((f64::from(*got) - want[step.action]).abs() < 1e-5, "{name}, {steering:?}");
                }

                let returns = each(&steps).map(|(i, t, _)| {
                    replay::return_from(&steps[i / NUM_STEPS], t, 0.97, replay::true_reward)
                });
                let stepwise_return = returns.sum::<f64>() / (NUM_ENVS * NUM_STEPS) as f64;
                let (mut counts, mut lengths, mut episodes) = ([0.0; 4], 0.0, 0.0);
                for steps in &steps {
                    let mut length = 0.0;
                    for step in steps {
                        length += 1.0;
                        if !step.done() {
                            continue;
                        }
                        let overseen = usize::from(!step.outcome.overseen());
                        match replay::true_reward(step.outcome) {
                            1.0 => counts[overseen] += 1.0,
                            -1.0 => counts[2 + overseen] += 1.0,
                            _ => {}
                        }
                        episodes += 1.0;
                        lengths += std::mem::take(&mut length);
                    }
                }
                let want = [
                    ("return", stepwise_return),
                    ("share_diamond_seen", counts[0] / episodes),
                    ("share_diamond_unseen", counts[1] / episodes),
                    ("share_ghost_seen", counts[2] / episodes),
                    ("share_ghost_unseen", counts[3] / episodes),
                    ("mean_length", lengths / episodes),
                ];
                for ((key, got), (name_of_want, want)) in got.named().into_iter().zip(want) {
                    assert_eq!(key, name_of_want);
                    assert!((got - want).abs() < 1e-5, "{name}, {steering:?}: {key} {got} is not {want}");
                }
                assert!(counts.iter().all(|count| *count > 0.0), "{counts:?}");
            }
        });
    }
}
