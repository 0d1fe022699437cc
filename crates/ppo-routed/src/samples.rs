//! What a rollout leaves for learning, sample by sample.

use envs::{Kind, Outcome};

use crate::{Label, Supervision, returns};

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
    /// The method's reward of each step.
    pub rewards: Vec<f32>,
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
            labels: vec![Label::NOTHING; len],
            rewards: vec![0.0; len],
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

    /// Carries each episode's outcome back over its steps, as far as the trainer may know it, and rewards its end.
    pub fn label_episodes(&mut self, supervision: &Supervision) {
        self.rewards.clear();
        self.rewards.extend(self.outcomes.iter().map(|outcome| supervision.reward(*outcome)));
        let steps = self.num_steps;
        for start in (0..self.len()).step_by(steps.max(1)) {
            let range = start..start + steps;
            let ends: Vec<_> =
                range.clone().map(|i| self.dones[i].then(|| supervision.label(self.outcomes[i]))).collect();
            returns::carry_back_labels(&ends, &mut self.labels[range]);
        }
    }

    /// The discounted rewards-to-go of the method's rewards.
    pub fn returns(&self, gamma: f32) -> Vec<f32> {
        self.rewards_to_go(&self.rewards, gamma)
    }

    /// The discounted ground-truth rewards-to-go: the value of the kind reached.
    pub fn true_returns(&self, kinds: &[Kind], gamma: f32) -> Vec<f32> {
        let value = |outcome: &Outcome| outcome.reached.map_or(0.0, |kind| kinds[usize::from(kind)].value);
        let rewards: Vec<f32> = self.outcomes.iter().map(value).collect();
        self.rewards_to_go(&rewards, gamma)
    }

    /// The discounted rewards-to-go as the trainer may know them: the value of the kind that it was told.
    pub fn told_returns(&self, supervision: &Supervision, gamma: f32) -> Vec<f32> {
        let value = |outcome: &Outcome| {
            supervision.label(*outcome).kind().map_or(0.0, |kind| supervision.kinds()[kind].value)
        };
        let rewards: Vec<f32> = self.outcomes.iter().map(value).collect();
        self.rewards_to_go(&rewards, gamma)
    }

    /// The advantages of the method's rewards by generalised advantage estimation.
    pub fn advantages(&self, gamma: f32, lambda: f32) -> Vec<f32> {
        let mut advantages = vec![0.0; self.len()];
        for start in (0..self.len()).step_by(self.num_steps.max(1)) {
            let range = start..start + self.num_steps;
            returns::gae(
                &self.rewards[range.clone()],
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
        self.rewards.extend_from_slice(&other.rewards);
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
        self.rewards.clear();
    }

    /// How the completed episodes ended, where there are so many kinds of ends.
    pub fn endings(&self, kinds: usize) -> Endings {
        let mut endings = Endings { seen: vec![0; kinds], unseen: vec![0; kinds], truncated: 0 };
        for (outcome, _) in self.outcomes.iter().zip(&self.dones).filter(|(_, done)| **done) {
            match outcome.reached.map(usize::from) {
                None => endings.truncated += 1,
                Some(kind) if outcome.overseen() => endings.seen[kind] += 1,
                Some(kind) => endings.unseen[kind] += 1,
            }
        }
        endings
    }

    /// The episodes that ended.
    pub fn episodes(&self) -> usize {
        self.dones.iter().filter(|done| **done).count()
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endings {
    /// Ended on each kind, overseen.
    pub seen: Vec<u64>,
    /// Ended on each kind, and nobody saw it.
    pub unseen: Vec<u64>,
    /// Ran out of steps.
    pub truncated: u64,
}
