//! Labels, returns and advantages of one environment's steps, in time order. All run backwards once.

use crate::Label;

/// Carries the label of each episode's last step back to all its steps.
///
/// `ends[t]` is the label of the episode that ended with step t, or `None` where step t ended none. Steps after
/// the last end belong to an episode unfinished in this rollout: [`Label::NOTHING`].
///
/// # Shapes
/// `ends` and `labels` (steps).
///
/// # Source
/// Cloud et al. 2024, app. F: a label holds for the whole episode.
///
/// # Panics
/// Panics if the lengths differ.
pub fn carry_back_labels(ends: &[Option<Label>], labels: &mut [Label]) {
    assert_eq!(ends.len(), labels.len(), "a label for every step");
    let mut label = Label::NOTHING;
    for (end, out) in ends.iter().zip(labels).rev() {
        label = end.unwrap_or(label);
        *out = label;
    }
}

/// The discounted reward-to-go inside the rollout: `G_t = r_t + γ·(1 − done_t)·G_{t+1}`, with G = 0 after the last.
///
/// # Shapes
/// All (steps).
///
/// # Source
/// Cloud et al. 2024, app. F: REINFORCE without bootstrap.
///
/// # Panics
/// Panics if the lengths differ.
pub fn rewards_to_go(rewards: &[f32], dones: &[bool], gamma: f32, returns: &mut [f32]) {
    assert!(rewards.len() == dones.len() && rewards.len() == returns.len(), "one number a step");
    let mut next = 0.0;
    for t in (0..rewards.len()).rev() {
        next = rewards[t] + if dones[t] { 0.0 } else { gamma * next };
        returns[t] = next;
    }
}

/// Generalised advantage estimation:
///
/// ```text
/// δ_t = r_t + γ·V'_t − V_t        A_t = δ_t + γ·λ·(1 − done_t)·A_{t+1}
/// ```
///
/// V'_t is the value of what follows step t: 0 after a terminated step, the value of the *final observation*
/// after a truncated one, else the value of the next observation.
///
/// # Shapes
/// All (steps).
///
/// # Source
/// Schulman et al. 2016; Gymnasium's account of terminated and truncated.
///
/// # Panics
/// Panics if the lengths differ.
pub fn gae(
    rewards: &[f32],
    values: &[f32],
    next_values: &[f32],
    dones: &[bool],
    gamma: f32,
    lambda: f32,
    advantages: &mut [f32],
) {
    let steps = rewards.len();
    assert!(
        [values.len(), next_values.len(), dones.len(), advantages.len()].iter().all(|len| *len == steps),
        "one number a step"
    );
    let mut next = 0.0;
    for t in (0..steps).rev() {
        let delta = rewards[t] + gamma * next_values[t] - values[t];
        next = delta + if dones[t] { 0.0 } else { gamma * lambda * next };
        advantages[t] = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels_reach_back_to_the_episode_before() {
        let (first, third) = (Label::of_kind(0), Label::of_kind(2));
        let (unseen, nothing) = (Label::UNSEEN, Label::NOTHING);
        let ends = [None, Some(third), None, None, Some(unseen), Some(first), None, Some(nothing), None];
        let mut labels = [unseen; 9];
        carry_back_labels(&ends, &mut labels);
        assert_eq!(labels, [third, third, unseen, unseen, unseen, first, nothing, nothing, nothing]);
    }

    /// Checked by hand: 0.5² from the terminal two steps on, and nothing from an unfinished tail.
    #[test]
    fn returns_stop_at_the_end_of_an_episode() {
        let mut returns = [9.0; 5];
        rewards_to_go(&[0.0, 0.0, 1.0, 0.0, 0.0], &[false, false, true, false, false], 0.5, &mut returns);
        let expected = [0.25, 0.5, 1.0, 0.0, 0.0];
        assert!(returns.iter().zip(expected).all(|(got, want): (&f32, f32)| (got - want).abs() < 1e-7));
    }

    proptest! {
        /// With λ = 1 and no truncation the advantage is the bootstrapped return minus the value.
        #[test]
        fn lambda_one_is_return_minus_value(
            steps in proptest::collection::vec((-1.0f32..1.0, -1.0f32..1.0, any::<bool>()), 1..40),
            last in -1.0f32..1.0,
            gamma in 0.0f32..1.0,
        ) {
            let n = steps.len();
            let rewards: Vec<f32> = steps.iter().map(|s| s.0).collect();
            let values: Vec<f32> = steps.iter().map(|s| s.1).collect();
            let dones: Vec<bool> = steps.iter().map(|s| s.2).collect();
            let next_values: Vec<f32> = (0..n)
                .map(|t| if dones[t] { 0.0 } else { values.get(t + 1).copied().unwrap_or(last) })
                .collect();
            let mut advantages = vec![0.0; n];
            gae(&rewards, &values, &next_values, &dones, gamma, 1.0, &mut advantages);
            let mut bootstrapped = rewards.clone();
            if !dones[n - 1] {
                bootstrapped[n - 1] += gamma * last;
            }
            let mut returns = vec![0.0; n];
            rewards_to_go(&bootstrapped, &dones, gamma, &mut returns);
            for t in 0..n {
                prop_assert!((advantages[t] - (returns[t] - values[t])).abs() < 1e-4);
            }
        }

        /// With λ = 0 the advantage is the one-step error, whatever follows.
        #[test]
        fn lambda_zero_is_the_one_step_error(
            rewards in proptest::collection::vec(-1.0f32..1.0, 1..20), gamma in 0.0f32..1.0
        ) {
            let n = rewards.len();
            let values: Vec<f32> = rewards.iter().map(|r| r * 0.3 + 0.1).collect();
            let next: Vec<f32> = rewards.iter().map(|r| r * -0.7).collect();
            let mut advantages = vec![0.0; n];
            gae(&rewards, &values, &next, &vec![false; n], gamma, 0.0, &mut advantages);
            for t in 0..n {
                prop_assert!((advantages[t] - (rewards[t] + gamma * next[t] - values[t])).abs() < 1e-5);
            }
        }
    }

    /// A truncated step bootstraps and still ends the episode; a terminated one does neither.
    #[test]
    fn truncation_bootstraps_and_does_not_leak_into_the_episode_before() {
        let mut advantages = [0.0; 2];
        gae(&[0.0, 5.0], &[0.5, 0.0], &[0.8, 0.0], &[true, true], 0.5, 0.9, &mut advantages);
        assert!((advantages[0] - (0.5 * 0.8 - 0.5)).abs() < 1e-6);
    }
}
