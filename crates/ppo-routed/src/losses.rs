//! The losses of one sample and their derivatives by the network's outputs, as pure functions.
//!
//! Batches average these; see [`crate::learner`]. With logits l, p = softmax(l) and H the entropy of p,
//!
//! ```text
//! ∂ log p_a / ∂l_j = [j = a] − p_j             ∂H / ∂l_j = −p_j (log p_j + H)
//! ```

/// log softmax of `logits`.
///
/// # Shapes
/// `logits` and `log_probs` (actions).
pub fn log_softmax(logits: &[f32], log_probs: &mut [f32]) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|l| (l - max).exp()).sum();
    let log_sum = sum.ln() + max;
    for (out, logit) in log_probs.iter_mut().zip(logits) {
        *out = logit - log_sum;
    }
}

/// The entropy −Σ p log p in nats.
pub fn entropy(log_probs: &[f32]) -> f32 {
    -log_probs.iter().map(|lp| lp.exp() * lp).sum::<f32>()
}

/// Adds to `out` the derivative by the logits of a loss that depends on them through `log p_a` and H:
/// `by_log_prob · ∂log p_a/∂l + by_entropy · ∂H/∂l`.
///
/// # Shapes
/// `log_probs` and `out` (actions).
pub fn add_logit_gradient(
    log_probs: &[f32],
    entropy: f32,
    action: usize,
    by_log_prob: f32,
    by_entropy: f32,
    out: &mut [f32],
) {
    for (j, (out, lp)) in out.iter_mut().zip(log_probs).enumerate() {
        let p = lp.exp();
        let chosen = if j == action { 1.0 } else { 0.0 };
        *out += by_log_prob * (chosen - p) - by_entropy * p * (lp + entropy);
    }
}

/// One sample's part of PPO's policy loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClippedPolicy {
    /// max(−A·ρ, −A·clip(ρ, 1 − ε, 1 + ε)) with ρ = `exp(log p − log p_old)`.
    pub loss: f32,
    /// The loss's derivative by log p.
    pub by_log_prob: f32,
    /// ρ − 1 − log ρ: an estimate of the divergence from the old policy (Schulman 2020).
    pub approx_kl: f32,
    /// Whether ρ lies outside 1 ± ε.
    pub clipped: bool,
}

/// PPO's clipped objective.
///
/// # Source
/// Schulman et al. 2017, equation 7.
pub fn clipped_policy(log_prob: f32, old_log_prob: f32, advantage: f32, clip: f32) -> ClippedPolicy {
    let log_ratio = log_prob - old_log_prob;
    let ratio = log_ratio.exp();
    let plain = -advantage * ratio;
    let limited = -advantage * ratio.clamp(1.0 - clip, 1.0 + clip);
    ClippedPolicy {
        loss: plain.max(limited),
        by_log_prob: if plain >= limited { plain } else { 0.0 },
        approx_kl: ratio - 1.0 - log_ratio,
        clipped: (ratio - 1.0).abs() > clip,
    }
}

/// (V − R)², or with `clip` the larger of it and the same for V kept within ± `clip` of its old value, and its
/// derivative by V.
///
/// # Source
/// As in CleanRL's `clip_vloss`; the factor one half is in the weight.
pub fn value_loss(value: f32, target: f32, old_value: f32, clip: Option<f32>) -> (f32, f32) {
    let plain = (value - target).powi(2);
    let Some(clip) = clip else { return (plain, 2.0 * (value - target)) };
    let change = value - old_value;
    let limited = (old_value + change.clamp(-clip, clip) - target).powi(2);
    // inside the clip range both are the same in exact arithmetic, and rounding must not decide between them
    if change.abs() <= clip || plain >= limited { (plain, 2.0 * (value - target)) } else { (limited, 0.0) }
}

/// The gate's cross-entropy with the expert that an overseen episode names: `−log Γ_label`, with derivatives
/// `Γ_k − [k = label]` by the logits. For two experts this is the binary cross-entropy with target 1 for Diamond.
///
/// The loss is computed from the logits z (the last expert's being 0) as `log Σ exp(z) − z_label`, which stays
/// finite where `Γ_label` rounds to zero.
///
/// # Shapes
/// `gate_logits` (experts − 1).
pub fn gate_loss(gate_logits: &[f32], label: usize) -> f32 {
    let max = gate_logits.iter().fold(0f32, |max, z| max.max(*z));
    let sum: f32 = gate_logits.iter().map(|z| (z - max).exp()).sum::<f32>() + (-max).exp();
    sum.ln() + max - gate_logits.get(label).copied().unwrap_or(0.0)
}

/// Normalises to mean 0 and standard deviation 1: (A − mean) / (std + 1e-8), with PyTorch's standard deviation
/// (n − 1). Entries of weight 0 are left out of both and stay as they are. Fewer than two entries are only
/// centred.
///
/// # Shapes
/// `advantages` and `weights` (samples).
pub fn normalise(advantages: &mut [f32], weights: &[f32]) {
    let kept = || weights.iter().filter(|w| **w > 0.0).count() as f64;
    let n = kept();
    if n < 1.0 {
        return;
    }
    let sum = |f: &dyn Fn(f64) -> f64, advantages: &[f32]| -> f64 {
        let entries = advantages.iter().zip(weights).filter(|(_, w)| **w > 0.0);
        entries.map(|(a, _)| f(f64::from(*a))).sum()
    };
    let mean = sum(&|a| a, advantages) / n;
    let squares = sum(&|a| (a - mean).powi(2), advantages);
    let std = if n > 1.0 { (squares / (n - 1.0)).sqrt() } else { 1.0 };
    for (advantage, _) in advantages.iter_mut().zip(weights).filter(|(_, w)| **w > 0.0) {
        *advantage = ((f64::from(*advantage) - mean) / (std + 1e-8)) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn softmax_derivative(logits: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
        let h = 1e-6;
        (0..logits.len())
            .map(|j| {
                let mut up = logits.to_vec();
                let mut down = logits.to_vec();
                up[j] += h;
                down[j] -= h;
                (f(&up) - f(&down)) / (2.0 * h)
            })
            .collect()
    }

    fn log_probs64(logits: &[f64]) -> Vec<f64> {
        let sum: f64 = logits.iter().map(|l| l.exp()).sum();
        logits.iter().map(|l| l - sum.ln()).collect()
    }

    proptest! {
        #[test]
        fn logit_gradients_equal_finite_differences(
            logits in proptest::collection::vec(-3.0f64..3.0, 4), action in 0usize..4,
            a in -2.0f64..2.0, b in -2.0f64..2.0
        ) {
            let expected = softmax_derivative(&logits, |l| {
                let lp = log_probs64(l);
                let entropy: f64 = -lp.iter().map(|x| x.exp() * x).sum::<f64>();
                a * lp[action] + b * entropy
            });
            let narrow: Vec<f32> = logits.iter().map(|l| *l as f32).collect();
            let mut log_probs = vec![0.0; 4];
            log_softmax(&narrow, &mut log_probs);
            let mut out = vec![0.0; 4];
            add_logit_gradient(&log_probs, entropy(&log_probs), action, a as f32, b as f32, &mut out);
            for (got, want) in out.iter().zip(expected) {
                prop_assert!((f64::from(*got) - want).abs() < 1e-4, "{got} {want}");
            }
        }

        #[test]
        fn the_clipped_objective_has_its_finite_difference_as_derivative(
            log_prob in -2.0f32..0.0, old in -2.0f32..0.0, advantage in -2.0f32..2.0
        ) {
            let ratio = (log_prob - old).exp();
            prop_assume!((ratio - 0.8).abs() > 1e-2 && (ratio - 1.2).abs() > 1e-2);
            let at = |lp: f32| f64::from(clipped_policy(lp, old, advantage, 0.2).loss);
            let h = 1e-3;
            let difference = (at(log_prob + h) - at(log_prob - h)) / f64::from(2.0 * h);
            let got = f64::from(clipped_policy(log_prob, old, advantage, 0.2).by_log_prob);
            prop_assert!((got - difference).abs() < 5e-3 * (1.0 + got.abs()), "{got} {difference}");
        }

        #[test]
        fn the_value_loss_has_its_finite_difference_as_derivative(
            value in -2.0f32..2.0, target in -2.0f32..2.0, old in -2.0f32..2.0, clip in any::<bool>()
        ) {
            let clip = clip.then_some(0.2);
            let (loss, by_value) = value_loss(value, target, old, clip);
            let h = 1e-3;
            let (up, _) = value_loss(value + h, target, old, clip);
            let (down, _) = value_loss(value - h, target, old, clip);
            let kink = clip.is_some_and(|c| {
                let change = (value - old).abs();
                let limited = (old + (value - old).clamp(-c, c) - target).powi(2);
                let equal = change > c && (limited - (value - target).powi(2)).abs() < 0.05;
                (change - c).abs() < 5e-3 || equal
            });
            prop_assert!(loss >= (value - target).powi(2) - 1e-6);
            prop_assert!(kink || ((up - down) / (2.0 * h) - by_value).abs() < 2e-2);
        }

        #[test]
        fn the_gate_loss_of_two_experts_is_the_binary_cross_entropy(z in -30.0f64..30.0) {
            let bce = |target: f64| z.max(0.0) - z * target + (-z.abs()).exp().ln_1p();
            prop_assert!((f64::from(gate_loss(&[z as f32], 0)) - bce(1.0)).abs() < 1e-4);
            prop_assert!((f64::from(gate_loss(&[z as f32], 1)) - bce(0.0)).abs() < 1e-4);
        }

        #[test]
        fn normalised_advantages_have_mean_zero_and_deviation_one(
            mut advantages in proptest::collection::vec(-3.0f32..3.0, 3..50)
        ) {
            prop_assume!(advantages.iter().any(|a| (a - advantages[0]).abs() > 0.1));
            let mut weights = vec![1.0; advantages.len()];
            advantages.push(77.0);
            weights.push(0.0);
            normalise(&mut advantages, &weights);
            prop_assert!((advantages.pop().unwrap() - 77.0).abs() < 1e-9);
            let n = advantages.len() as f32;
            let mean = advantages.iter().sum::<f32>() / n;
            let variance = advantages.iter().map(|a| (a - mean).powi(2)).sum::<f32>() / (n - 1.0);
            prop_assert!(mean.abs() < 1e-4 && (variance - 1.0).abs() < 1e-3);
        }
    }

    #[test]
    fn extreme_gate_logits_stay_finite() {
        assert!((gate_loss(&[200.0], 1) - 200.0).abs() < 1e-3);
        assert!(gate_loss(&[200.0], 0).abs() < 1e-6);
        assert!((gate_loss(&[-200.0], 0) - 200.0).abs() < 1e-3);
    }

    #[test]
    fn nothing_kept_changes_nothing() {
        let mut advantages = vec![1.0, 2.0];
        normalise(&mut advantages, &[0.0, 0.0]);
        assert_eq!(advantages, [1.0, 2.0]);
    }
}
