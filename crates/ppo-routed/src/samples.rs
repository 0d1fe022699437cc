//! What a rollout leaves for learning, sample by sample.

use envs::{Outcome, Reached};

use crate::{Label, Method, returns};

/// The steps of a number of environments, environment by environment: sample `env · num_steps + t`.
///
/// The order does not depend on how a batch was split over threads: the samples of the parts, one after the
/// other, are those of the whole.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Steps of each environment.
    pub num_steps: usize,
    /// The row of the observation among the rollout's different observations.
    pub rows: Vec<u32>,
    /// The actions taken.
    pub actions: Vec<u8>,
    /// log p of each action under the policy that took it.
    pub log_probs: Vec<f32>,
    /// V of each observation.
    pub values: Vec<f32>,
    /// V of what follows: 0 after a terminated step, the final observation's after a truncated one.
    pub next_values: Vec<f32>,
    /// How each step ended: on what, and seen or not.
    pub outcomes: Vec<Outcome>,
    /// Whether the episode ended with this step, terminated or truncated.
    pub dones: Vec<bool>,
    /// What the trainer knows of the whole episode.
    pub labels: Vec<Label>,
}

impl Samples {
    /// Room for `num_envs` × `num_steps` samples.
    pub fn new(num_envs: usize, num_steps: usize) -> Self {
        let len = num_envs * num_steps;
        Self {
            num_steps,
            rows: vec![0; len],
            actions: vec![0; len],
            log_probs: vec![0.0; len],
            values: vec![0.0; len],
            next_values: vec![0.0; len],
            outcomes: vec![Outcome::default(); len],
            dones: vec![false; len],
            labels: vec![Label::Nothing; len],
        }
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.actions.len()
    }

    /// True where there is no sample.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// Carries each episode's outcome back over its steps, as far as `method` may know it.
    pub fn label_episodes(&mut self, method: Method) {
        let steps = self.num_steps;
        for start in (0..self.len()).step_by(steps.max(1)) {
            let range = start..start + steps;
            let ends: Vec<_> =
                range.clone().map(|i| self.dones[i].then(|| method.label(self.outcomes[i]))).collect();
            returns::carry_back_labels(&ends, &mut self.labels[range]);
        }
    }

    /// The discounted rewards-to-go of `method`'s rewards.
    pub fn returns(&self, method: Method, gamma: f32) -> Vec<f32> {
        let rewards: Vec<f32> = self.outcomes.iter().map(|outcome| method.reward(*outcome)).collect();
        self.rewards_to_go(&rewards, gamma)
    }

    /// The discounted ground-truth rewards-to-go: +1 for the Diamond, −1 for the Ghost.
    pub fn true_returns(&self, gamma: f32) -> Vec<f32> {
        let rewards: Vec<f32> = self.outcomes.iter().map(|outcome| outcome.reached.reward()).collect();
        self.rewards_to_go(&rewards, gamma)
    }

    /// The advantages of `method`'s rewards by generalised advantage estimation.
    pub fn advantages(&self, method: Method, gamma: f32, lambda: f32) -> Vec<f32> {
        let rewards: Vec<f32> = self.outcomes.iter().map(|outcome| method.reward(*outcome)).collect();
        let mut advantages = vec![0.0; self.len()];
        for start in (0..self.len()).step_by(self.num_steps.max(1)) {
            let range = start..start + self.num_steps;
            returns::gae(
                &rewards[range.clone()],
                &self.values[range.clone()],
                &self.next_values[range.clone()],
                &self.dones[range.clone()],
                gamma,
                lambda,
                &mut advantages[range],
            );
        }
        advantages
    }

    /// Appends the samples of the environments that follow, their rows shifted by `row_map`.
    pub fn append(&mut self, other: &Self, row_map: &[u32]) {
        self.num_steps = other.num_steps;
        self.rows.extend(other.rows.iter().map(|row| row_map[*row as usize]));
        self.actions.extend_from_slice(&other.actions);
        self.log_probs.extend_from_slice(&other.log_probs);
        self.values.extend_from_slice(&other.values);
        self.next_values.extend_from_slice(&other.next_values);
        self.outcomes.extend_from_slice(&other.outcomes);
        self.dones.extend_from_slice(&other.dones);
        self.labels.extend_from_slice(&other.labels);
    }

    /// Removes all samples and keeps the memory.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.actions.clear();
        self.log_probs.clear();
        self.values.clear();
        self.next_values.clear();
        self.outcomes.clear();
        self.dones.clear();
        self.labels.clear();
    }

    /// How the completed episodes ended.
    pub fn endings(&self) -> Endings {
        let mut endings = Endings::default();
        for (outcome, _) in self.outcomes.iter().zip(&self.dones).filter(|(_, done)| **done) {
            match (outcome.reached, outcome.overseen) {
                (Reached::Nothing, _) => endings.truncated += 1,
                (Reached::Diamond, true) => endings.diamond_seen += 1,
                (Reached::Diamond, false) => endings.diamond_unseen += 1,
                (Reached::Ghost, true) => endings.ghost_seen += 1,
                (Reached::Ghost, false) => endings.ghost_unseen += 1,
            }
        }
        endings
    }

    /// Steps that belong to episodes which ended in the rollout and began in it or before.
    pub fn completed_steps(&self) -> usize {
        let environments = self.dones.chunks(self.num_steps.max(1));
        environments.map(|dones| dones.iter().rposition(|done| *done).map_or(0, |last| last + 1)).sum()
    }

    fn rewards_to_go(&self, rewards: &[f32], gamma: f32) -> Vec<f32> {
        let mut out = vec![0.0; self.len()];
        for start in (0..self.len()).step_by(self.num_steps.max(1)) {
            let range = start..start + self.num_steps;
            let (rewards, dones) = (&rewards[range.clone()], &self.dones[range.clone()]);
            returns::rewards_to_go(rewards, dones, gamma, &mut out[range]);
        }
        out
    }
}

/// Counts of completed episodes by their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endings {
    /// Ended on an overseen Diamond.
    pub diamond_seen: u64,
    /// Ended on a Diamond that nobody saw.
    pub diamond_unseen: u64,
    /// Ended on an overseen Ghost.
    pub ghost_seen: u64,
    /// Ended on a Ghost that nobody saw.
    pub ghost_unseen: u64,
    /// Ran out of steps.
    pub truncated: u64,
}

impl Endings {
    /// All completed episodes.
    pub fn episodes(&self) -> u64 {
        self.diamond_seen + self.diamond_unseen + self.ghost_seen + self.ghost_unseen + self.truncated
    }
}
