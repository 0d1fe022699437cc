//! Evaluation on fresh environments by the ground truth.

use policies::Steering;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::rollout::{Actor, ForwardCache, RolloutSeeds, Shard};
use crate::{Error, Method};

/// A policy that a method is scored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyName {
    /// The mixture steered to the diamond expert: Γ := 1.
    Diamond,
    /// The mixture steered to the ghost expert: Γ := 0.
    Ghost,
    /// The policy as it was trained.
    Full,
}

impl PolicyName {
    /// The policies that `method` is scored as.
    pub fn of(method: Method) -> &'static [Self] {
        if method.is_mixture() { &[Self::Diamond, Self::Ghost, Self::Full] } else { &[Self::Full] }
    }

    /// The policy that `method` is judged by: the steered one of a mixture, else the only one.
    pub fn kept(method: Method) -> Self {
        Self::of(method)[0]
    }

    /// The steering that makes it.
    pub fn steering(self) -> Steering {
        match self {
            Self::Diamond => Steering::Expert(0),
            Self::Ghost => Steering::Expert(1),
            Self::Full => Steering::Mixture,
        }
    }

    /// The name in metrics and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Diamond => "diamond",
            Self::Ghost => "ghost",
            Self::Full => "full",
        }
    }
}

/// How a policy did on fresh environments.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The stepwise ground-truth return: the mean over all (environment, step) entries of the discounted true
    /// reward-to-go from that step, within the window.
    pub stepwise_return: f64,
    /// Shares of completed episodes, adding up to 1 with those cut off.
    pub share_diamond_seen: f64,
    /// Ended on a Diamond nobody saw.
    pub share_diamond_unseen: f64,
    /// Ended on an overseen Ghost.
    pub share_ghost_seen: f64,
    /// Ended on a Ghost nobody saw.
    pub share_ghost_unseen: f64,
    /// Mean length of completed episodes in steps.
    pub mean_length: f64,
}

impl Evaluation {
    /// Ended on a Diamond.
    pub fn share_diamond(&self) -> f64 {
        self.share_diamond_seen + self.share_diamond_unseen
    }

    /// Ended on a Ghost.
    pub fn share_ghost(&self) -> f64 {
        self.share_ghost_seen + self.share_ghost_unseen
    }

    /// The numbers by name, as they stand in metrics after `eval/POLICY/`.
    pub fn named(&self) -> [(&'static str, f64); 6] {
        [
            ("return", self.stepwise_return),
            ("share_diamond_seen", self.share_diamond_seen),
            ("share_diamond_unseen", self.share_diamond_unseen),
            ("share_ghost_seen", self.share_ghost_seen),
            ("share_ghost_unseen", self.share_ghost_unseen),
            ("mean_length", self.mean_length),
        ]
    }
}

/// Lets `actor` act under `steering` in freshly reset `shards` and scores it.
///
/// # Errors
/// Fails where the environment or the policy does.
///
/// # Source
/// Cloud et al. 2024, app. F.
pub fn evaluate(
    shards: &mut [Shard],
    caches: &mut [ForwardCache],
    actor: Actor<'_>,
    steering: Steering,
    seeds: RolloutSeeds,
    gamma: f32,
) -> Result<Evaluation, Error> {
    shards.par_iter_mut().zip(caches).try_for_each(|(shard, cache)| {
        shard.reset(seeds)?;
        shard.rollout(actor, steering, cache)
    })?;
    let (mut sum, mut steps) = (0.0, 0usize);
    let (mut ends, mut lengths) = ([0u64; 4], 0usize);
    let mut episodes = 0;
    for shard in shards.iter() {
        sum += shard.samples.true_returns(gamma).into_iter().map(f64::from).sum::<f64>();
        steps += shard.samples.len();
        let endings = shard.samples.endings();
        episodes += endings.episodes();
        let counts = [endings.diamond_seen, endings.diamond_unseen, endings.ghost_seen, endings.ghost_unseen];
        ends.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        lengths += shard.samples.completed_steps();
    }
    let share = |count: u64| count as f64 / episodes.max(1) as f64;
    Ok(Evaluation {
        stepwise_return: sum / steps.max(1) as f64,
        share_diamond_seen: share(ends[0]),
        share_diamond_unseen: share(ends[1]),
        share_ghost_seen: share(ends[2]),
        share_ghost_unseen: share(ends[3]),
        mean_length: lengths as f64 / episodes.max(1) as f64,
    })
}
