//! A rollout played once more: the recorded actions in environments with the same seed, and everything else
//! worked out again from the definitions, in f64 where it is a sum.

use candle_core::{Device, Tensor};
use envs::{EnvConfig, Outcome, StepBuffers};
use policies::{Policy, Steering};
use ppo_routed::{Label, Method};

/// One step of one environment.
pub(crate) struct Step {
    pub observation: Vec<f32>,
    pub action: usize,
    pub outcome: Outcome,
    pub terminated: bool,
    pub truncated: bool,
    /// What the step led to: the last observation of the episode where it ended one.
    pub next_observation: Vec<f32>,
    /// What the environment shows next: the first observation of the next episode where one ended.
    pub shown_next: Vec<f32>,
}

impl Step {
    pub(crate) fn done(&self) -> bool {
        self.terminated || self.truncated
    }
}

/// Plays `actions` (environment by environment) in freshly reset environments; gives the steps of each.
pub(crate) fn play(config: &EnvConfig, num_envs: usize, seed: u64, actions: &[u8]) -> Vec<Vec<Step>> {
    let num_steps = actions.len() / num_envs;
    let mut env = envs::make(config, num_envs).unwrap();
    let mut buffers = StepBuffers::for_env(env.as_ref());
    let width = env.single_observation_space().flat_len();
    env.reset(Some(seed), &mut buffers.observations).unwrap();
    let mut steps: Vec<Vec<Step>> = (0..num_envs).map(|_| Vec::new()).collect();
    for t in 0..num_steps {
        let taken: Vec<u8> = (0..num_envs).map(|e| actions[e * num_steps + t]).collect();
        let before = buffers.observations.clone();
        env.step(&taken, buffers.slices()).unwrap();
        for (e, steps) in steps.iter_mut().enumerate() {
            let row = |values: &[f32]| values[e * width..(e + 1) * width].to_vec();
            let done = buffers.terminations[e] || buffers.truncations[e];
            let shown_next = row(&buffers.observations);
            steps.push(Step {
                observation: row(&before),
                action: usize::from(taken[e]),
                outcome: buffers.outcomes[e],
                terminated: buffers.terminations[e],
                truncated: buffers.truncations[e],
                next_observation: if done { row(&buffers.final_obs) } else { shown_next.clone() },
                shown_next,
            });
        }
    }
    steps
}

fn batch(observations: &[&[f32]]) -> Tensor {
    Tensor::from_vec(observations.concat(), (observations.len(), observations[0].len()), &Device::Cpu)
        .unwrap()
}

/// V of each observation.
pub(crate) fn values(policy: &Policy, observations: &[&[f32]]) -> Vec<f64> {
    let values = policy.value(&batch(observations)).unwrap().to_vec1::<f32>().unwrap();
    values.into_iter().map(f64::from).collect()
}

/// log p of every action for each observation.
pub(crate) fn log_probs(policy: &Policy, steering: Steering, observations: &[&[f32]]) -> Vec<Vec<f64>> {
    let logits = policy.forward(&batch(observations), steering).unwrap().logits.to_vec2::<f32>().unwrap();
    let log_softmax = |logits: Vec<f32>| {
        let sum: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
        logits.into_iter().map(|l| f64::from(l) - sum.ln()).collect()
    };
    logits.into_iter().map(log_softmax).collect()
}

/// The discounted sum Σ γᵏ·r of the steps from `t` to the end of the episode or of the window.
pub(crate) fn return_from(steps: &[Step], t: usize, gamma: f64, reward: impl Fn(Outcome) -> f64) -> f64 {
    let mut sum = 0.0;
    for (k, step) in steps[t..].iter().enumerate() {
        sum += gamma.powi(k as i32) * reward(step.outcome);
        if step.done() {
            break;
        }
    }
    sum
}

/// +1 for the Diamond, −1 for the Ghost.
pub(crate) fn true_reward(outcome: Outcome) -> f64 {
    match outcome.reached {
        None => 0.0,
        Some(0) => 1.0,
        Some(_) => -1.0,
    }
}

/// The sum Σ (γλ)ˡ·δ over the steps from `t`, l = 0, 1, …, to the end of the episode or of the window, with
/// δ = r + γ·V(what the step led to, unless it terminated) − V(what it started from).
pub(crate) fn advantage(
    steps: &[Step],
    (before, after): (&[f64], &[f64]),
    t: usize,
    (gamma, lambda): (f64, f64),
    reward: impl Fn(Outcome) -> f64,
) -> f64 {
    let mut sum = 0.0;
    for (l, step) in steps[t..].iter().enumerate() {
        let next = if step.terminated { 0.0 } else { after[t + l] };
        let delta = reward(step.outcome) + gamma * next - before[t + l];
        sum += (gamma * lambda).powi(l as i32) * delta;
        if step.done() {
            break;
        }
    }
    sum
}

/// The label of the episode that step `t` belongs to, found by going forward to its end.
pub(crate) fn label(steps: &[Step], t: usize, method: Method) -> Label {
    let Some(end) = steps[t..].iter().find(|step| step.done()) else { return Label::NOTHING };
    match end.outcome {
        Outcome { reached: None, .. } => Label::NOTHING,
        Outcome { told: None, .. } if method != Method::ORACLE => Label::UNSEEN,
        Outcome { reached: Some(kind), .. } => Label::of_kind(kind),
    }
}
