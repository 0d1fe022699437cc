//! Evaluation on fresh environments by the ground truth.

use envs::{EnvError, VectorEnv};
use experiment::SeedStreams;
use policies::Steering;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::rollout::{Actor, ForwardCache, RolloutSeeds, Shard};
use crate::{Config, Error, Supervision};

/// Steps of each environment in an evaluation.
const EVAL_STEPS: usize = 32;

/// How a policy did on fresh environments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The stepwise ground-truth return: the mean over all (environment, step) entries of the discounted true
    /// reward-to-go from that step, within the window.
    pub stepwise_return: f64,
    /// Which share of the completed episodes ended on each kind; what is left to 1 was cut off.
    pub kinds: Vec<KindShare>,
    /// Mean length of completed episodes in steps.
    pub mean_length: f64,
}

/// How many of the completed episodes ended on a kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KindShare {
    /// The kind's name.
    pub name: String,
    /// The share that ended on it, overseen.
    pub seen: f64,
    /// The share that ended on it, and nobody saw it.
    pub unseen: f64,
}

impl Evaluation {
    /// The share of completed episodes that ended on a kind, overseen or not; 0 where no kind has that name.
    pub fn share(&self, kind: &str) -> f64 {
        self.kinds.iter().find(|share| share.name == kind).map_or(0.0, |share| share.seen + share.unseen)
    }

    /// The numbers by name, as they stand in metrics after `eval/POLICY/`.
    pub fn named(&self) -> Vec<(String, f64)> {
        let shares = self.kinds.iter().flat_map(|KindShare { name, seen, unseen }| {
            [(format!("share_{name}_seen"), *seen), (format!("share_{name}_unseen"), *unseen)]
        });
        let first = ("return".to_owned(), self.stepwise_return);
        std::iter::once(first).chain(shares).chain([("mean_length".to_owned(), self.mean_length)]).collect()
    }
}

/// The policies that a method is scored as, with the environments to score them in.
pub struct Evaluator {
    policies: Vec<(String, Steering)>,
    shards: Vec<Shard>,
    gamma: f32,
}

impl Evaluator {
    /// An evaluator with `eval.num_envs` environments made by `make_env(first_env, num_envs)`, in `parts` shards.
    ///
    /// # Errors
    /// Fails where the environments cannot be made.
    pub fn new(
        config: &Config,
        supervision: &Supervision,
        make_env: impl Fn(usize, usize) -> Result<Box<dyn VectorEnv>, EnvError>,
        parts: usize,
    ) -> Result<Self, Error> {
        // each evaluation seeds them anew
        let seeds = RolloutSeeds { env: 0, action: 0 };
        let shards = Shard::split(make_env, config.eval.num_envs, EVAL_STEPS, parts, seeds)?;
        Ok(Self { policies: supervision.policies(), shards, gamma: config.train.gamma as f32 })
    }

    /// The number of shards, each of which needs a cache.
    pub fn parts(&self) -> usize {
        self.shards.len()
    }

    /// Scores every policy in environments that belong to the seed and to `update` alone.
    ///
    /// # Errors
    /// Fails where the environment or the policy does.
    pub fn score(
        &mut self,
        actor: Actor<'_>,
        caches: &mut [ForwardCache],
        streams: &SeedStreams,
        update: u64,
    ) -> Result<Vec<(String, Evaluation)>, Error> {
        let seeds = RolloutSeeds {
            env: streams.seed_of(&format!("eval.env.{update}")),
            action: streams.seed_of(&format!("eval.action.{update}")),
        };
        let mut scores = Vec::with_capacity(self.policies.len());
        for (name, steering) in &self.policies {
            let evaluation = evaluate(&mut self.shards, caches, actor, *steering, seeds, self.gamma)?;
            scores.push((name.clone(), evaluation));
        }
        Ok(scores)
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
    let kinds = shards.first().map(|shard| shard.kinds().to_vec()).unwrap_or_default();
    let (mut sum, mut steps) = (0.0, 0usize);
    let (mut seen, mut unseen) = (vec![0u64; kinds.len()], vec![0u64; kinds.len()]);
    let (mut lengths, mut episodes) = (0usize, 0usize);
    for shard in shards.iter() {
        sum += shard.samples.true_returns(&kinds, gamma).into_iter().map(f64::from).sum::<f64>();
        steps += shard.samples.len();
        let endings = shard.samples.endings(kinds.len());
        seen.iter_mut().zip(&endings.seen).for_each(|(sum, count)| *sum += count);
        unseen.iter_mut().zip(&endings.unseen).for_each(|(sum, count)| *sum += count);
        episodes += shard.samples.episodes();
        lengths += shard.samples.completed_steps();
    }
    let share = |count: u64| count as f64 / episodes.max(1) as f64;
    let shares = kinds.iter().zip(seen.into_iter().zip(unseen)).map(|(kind, (seen, unseen))| KindShare {
        name: kind.name.to_string(),
        seen: share(seen),
        unseen: share(unseen),
    });
    Ok(Evaluation {
        stepwise_return: sum / steps.max(1) as f64,
        kinds: shares.collect(),
        mean_length: lengths as f64 / episodes.max(1) as f64,
    })
}
