//! What an update reports, by the names of CleanRL.

use crate::Method;
use crate::rollout::Shard;
use crate::trainer::{GradientStep, kept_share};

/// The shares of samples by route and the mean of the gate's Γ on each.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RoutingShares {
    counts: [u64; 3],
    gate_sums: [f64; 3],
}

impl RoutingShares {
    /// Counts a sample routed to `expert`, or to both, on which the gate says Γ.
    pub fn count(&mut self, expert: Option<usize>, gate: f64) {
        let route = expert.unwrap_or(2);
        self.counts[route] += 1;
        self.gate_sums[route] += gate;
    }

    fn named(&self) -> Vec<(&'static str, f64)> {
        const NAMES: [(&str, &str); 3] = [
            ("routing/share_diamond", "routing/gate_diamond"),
            ("routing/share_ghost", "routing/gate_ghost"),
            ("routing/share_both", "routing/gate_both"),
        ];
        let total = self.counts.iter().sum::<u64>().max(1) as f64;
        let mut named = Vec::with_capacity(6);
        for ((share, _), count) in NAMES.iter().zip(self.counts) {
            named.push((*share, count as f64 / total));
        }
        for (((_, gate), count), sum) in NAMES.iter().zip(self.counts).zip(self.gate_sums) {
            // without a sample on a route its mean does not exist: written as null, a gap in the picture
            named.push((*gate, if count == 0 { f64::NAN } else { sum / count as f64 }));
        }
        named
    }
}

/// The metrics of one update, ready to be logged.
#[derive(Clone, Debug)]
pub struct UpdateReport {
    /// Names and values, in the order in which they are written.
    pub values: Vec<(&'static str, f64)>,
    /// Seconds that the rollout took.
    pub rollout_seconds: f64,
    /// Seconds that everything after the rollout took.
    pub learn_seconds: f64,
}

impl UpdateReport {
    pub(crate) fn new(
        lr: f64,
        steps: &[GradientStep],
        shares: RoutingShares,
        shards: &[Shard],
        method: Method,
        seconds: (f64, f64),
    ) -> Self {
        let n = steps.len().max(1) as f64;
        let mean = |f: fn(&GradientStep) -> f64| steps.iter().map(f).sum::<f64>() / n;
        let mut values = vec![
            ("charts/learning_rate", lr),
            ("losses/policy_loss", mean(|s| s.losses.policy)),
            ("losses/value_loss", mean(|s| s.losses.value)),
            ("losses/entropy", mean(|s| s.losses.entropy)),
            ("losses/gate_loss", mean(|s| s.losses.gate)),
            ("losses/approx_kl", mean(|s| s.losses.approx_kl)),
            ("losses/clipfrac", mean(|s| s.losses.clipfrac)),
            ("losses/grad_norm", mean(|s| s.grad_norm)),
        ];
        let (mut episodes, mut steps) = (0, 0);
        let mut reward = 0.0;
        for shard in shards {
            episodes += shard.samples.endings().episodes();
            steps += shard.samples.len();
            reward += shard.samples.outcomes.iter().map(|o| f64::from(method.reward(*o))).sum::<f64>();
        }
        let per_episode = |sum: f64| if episodes == 0 { f64::NAN } else { sum / episodes as f64 };
        values.push(("charts/episodic_return", per_episode(reward)));
        values.push(("charts/episodic_length", per_episode(steps as f64)));
        if method.is_mixture() {
            values.extend(shares.named());
        } else {
            values.push(("routing/share_kept", kept_share(shards, method)));
        }
        Self { values, rollout_seconds: seconds.0, learn_seconds: seconds.1 }
    }
}
