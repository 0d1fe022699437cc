//! What an update reports, by the names of CleanRL.

use envs::Kind;

use crate::learner::Losses;
use crate::rollout::{ForwardCache, Shard};
use crate::{Label, Supervision};

/// What one gradient step reports.
#[derive(Clone, Copy, Debug)]
pub struct GradientStep {
    /// The losses before the step.
    pub losses: Losses,
    /// The gradient's norm before clipping.
    pub grad_norm: f64,
}

/// The shares of samples by route and the mean of the gate's Γ on each: one entry for each kind, then one for the
/// samples that train every expert.
#[derive(Clone, Debug, PartialEq)]
pub struct RoutingShares {
    counts: Vec<u64>,
    gate_sums: Vec<f64>,
}

impl RoutingShares {
    /// No sample yet, where there are so many kinds.
    pub fn new(kinds: usize) -> Self {
        Self { counts: vec![0; kinds + 1], gate_sums: vec![0.0; kinds + 1] }
    }

    /// Those of a labelled rollout, whose forward values are still in `caches`.
    pub fn of(kinds: usize, shards: &[Shard], caches: &[ForwardCache]) -> Self {
        let mut shares = Self::new(kinds);
        for (shard, cache) in shards.iter().zip(caches) {
            for (label, row) in shard.samples.labels.iter().zip(&shard.samples.rows) {
                shares.count(label.kind(), f64::from(cache.gate[*row as usize]));
            }
        }
        shares
    }

    /// Counts a sample routed to the expert of a kind, or to all, on which the gate gives the first expert the
    /// weight Γ.
    pub fn count(&mut self, kind: Option<usize>, gate: f64) {
        let route = kind.unwrap_or(self.counts.len() - 1);
        self.counts[route] += 1;
        self.gate_sums[route] += gate;
    }

    fn named(&self, kinds: &[Kind]) -> Vec<(String, f64)> {
        let everyone = if kinds.len() == 2 { "both" } else { "all" };
        let names = || kinds.iter().map(|kind| kind.name.as_ref()).chain([everyone]);
        let total = self.counts.iter().sum::<u64>().max(1) as f64;
        let mut named = Vec::with_capacity(2 * self.counts.len());
        for (name, count) in names().zip(&self.counts) {
            named.push((format!("routing/share_{name}"), *count as f64 / total));
        }
        for ((name, count), sum) in names().zip(&self.counts).zip(&self.gate_sums) {
            // without a sample on a route its mean does not exist: written as null, a gap in the picture
            let mean = if *count == 0 { f64::NAN } else { sum / *count as f64 };
            named.push((format!("routing/gate_{name}"), mean));
        }
        named
    }
}

/// The metrics of one update, ready to be logged.
#[derive(Clone, Debug)]
pub struct UpdateReport {
    /// Names and values, in the order in which they are written.
    pub values: Vec<(String, f64)>,
    /// Seconds that the rollout took.
    pub rollout_seconds: f64,
    /// Seconds that everything after the rollout took.
    pub learn_seconds: f64,
}

impl UpdateReport {
    pub(crate) fn new(
        lr: f64,
        steps: &[GradientStep],
        shares: &RoutingShares,
        shards: &[Shard],
        supervision: &Supervision,
        gamma: f32,
        seconds: (f64, f64),
    ) -> Self {
        let n = steps.len().max(1) as f64;
        let mean = |f: fn(&GradientStep) -> f64| steps.iter().map(f).sum::<f64>() / n;
        let mut values: Vec<(String, f64)> = [
            ("charts/learning_rate", lr),
            ("losses/policy_loss", mean(|s| s.losses.policy)),
            ("losses/value_loss", mean(|s| s.losses.value)),
            ("losses/entropy", mean(|s| s.losses.entropy)),
            ("losses/gate_loss", mean(|s| s.losses.gate)),
            ("losses/approx_kl", mean(|s| s.losses.approx_kl)),
            ("losses/clipfrac", mean(|s| s.losses.clipfrac)),
            ("losses/grad_norm", mean(|s| s.grad_norm)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let (mut episodes, mut steps) = (0, 0);
        let mut reward = 0.0;
        for shard in shards {
            episodes += shard.samples.episodes();
            steps += shard.samples.len();
            reward += shard.samples.rewards.iter().map(|reward| f64::from(*reward)).sum::<f64>();
        }
        let per_episode = |sum: f64| if episodes == 0 { f64::NAN } else { sum / episodes as f64 };
        values.push(("charts/episodic_return".to_owned(), per_episode(reward)));
        values.push(("charts/episodic_length".to_owned(), per_episode(steps as f64)));
        values.push(("charts/overseen_return".to_owned(), overseen_return(shards, supervision, gamma)));
        if supervision.method().is_mixture() {
            values.extend(shares.named(supervision.kinds()));
        } else {
            values.push(("routing/share_kept".to_owned(), kept_share(shards, supervision)));
        }
        Self { values, rollout_seconds: seconds.0, learn_seconds: seconds.1 }
    }
}

/// The stepwise return over the steps of the episodes whose end the trainer was told, by what it was told: all that it
/// may know of how well it does. NaN where there was no such episode.
fn overseen_return(shards: &[Shard], supervision: &Supervision, gamma: f32) -> f64 {
    let (mut sum, mut steps) = (0.0, 0u64);
    for samples in shards.iter().map(|shard| &shard.samples) {
        let returns = samples.told_returns(supervision, gamma);
        for (value, _) in returns.iter().zip(&samples.labels).filter(|(_, label)| label.kind().is_some()) {
            sum += f64::from(*value);
            steps += 1;
        }
    }
    if steps == 0 { f64::NAN } else { sum / steps as f64 }
}

/// Samples that the method keeps, as a share of all: below 1 for filtering alone.
fn kept_share(shards: &[Shard], supervision: &Supervision) -> f64 {
    let labels = || shards.iter().flat_map(|shard| &shard.samples.labels);
    let kept: f64 = labels().map(|label: &Label| f64::from(supervision.weight(*label))).sum();
    kept / labels().count().max(1) as f64
}
