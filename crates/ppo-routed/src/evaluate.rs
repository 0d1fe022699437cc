//! Evaluation on fresh environments by the ground truth.

use envs::{BlindRegion, EnvConfig, EnvError, VectorEnv};
use experiment::SeedStreams;
use policies::Steering;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::inoculation::seen_by;
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
    /// The same apart by what the settings ask for: in and outside the blind region, with bits set and unset.
    #[serde(default)]
    pub parts: Vec<EvaluationPart>,
}

/// How a policy did in a part of the episodes, or under other oversight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationPart {
    /// `in_blind` and `outside_blind`: the episodes that ended in the blind region, and those that ended elsewhere;
    /// `bits_set` and `bits_unset`: fresh episodes with every terminal's oversight bit set, and with none.
    pub name: String,
    /// The mean discounted true reward-to-go over the steps of these episodes; NaN where there are none.
    pub stepwise_return: f64,
    /// For each kind, which share of these episodes ended on it; NaN where there are none.
    pub shares: Vec<(String, f64)>,
}

impl EvaluationPart {
    /// The numbers by name, as they stand in metrics after `eval/POLICY/`.
    pub fn named(&self) -> impl Iterator<Item = (String, f64)> {
        let part = &self.name;
        let shares = self.shares.iter().map(move |(kind, share)| (format!("{part}/share_{kind}"), *share));
        std::iter::once((format!("{part}/return"), self.stepwise_return)).chain(shares)
    }
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
        let length = ("mean_length".to_owned(), self.mean_length);
        let parts = self.parts.iter().flat_map(EvaluationPart::named);
        std::iter::once(first).chain(shares).chain([length]).chain(parts).collect()
    }
}

/// The policies that a method is scored as, with the environments to score them in.
pub struct Evaluator {
    policies: Vec<(String, Steering)>,
    shards: Vec<Shard>,
    /// The same environments with bits set and unset, by the name of their part.
    bits: Vec<(&'static str, Vec<Shard>)>,
    /// Whether there is a blind region to tell apart.
    regions: bool,
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
        let method = supervision.method();
        let envs = config.eval.num_envs;
        let shards = Shard::split(
            |first, n| Ok(seen_by(method, make_env(first, n)?, false)),
            envs,
            EVAL_STEPS,
            parts,
            seeds,
        )?;
        let mut bits = Vec::new();
        if config.eval.bits {
            let world = config.env.config();
            if make_env(0, 1)?.name() != world.id.as_str() {
                let message = "eval.bits sets the bits of the environments of [env] alone: set it to false";
                return Err(Error::Setting(message.to_owned()));
            }
            for (name, oversight_prob) in [("bits_set", 1.0), ("bits_unset", 0.0)] {
                let world = EnvConfig { oversight_prob, blind_region: BlindRegion::None, ..world.clone() };
                let make = envs::maker(&world);
                let make = |first, n| Ok(seen_by(method, make(first, n)?, false));
                bits.push((name, Shard::split(make, envs, EVAL_STEPS, parts, seeds)?));
            }
        }
        let regions = config.env.blind_region != BlindRegion::None;
        let gamma = config.train.gamma as f32;
        Ok(Self { policies: supervision.policies(), shards, bits, regions, gamma })
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
            let mut evaluation = evaluate(&mut self.shards, caches, actor, *steering, seeds, self.gamma)?;
            if self.regions {
                evaluation.parts.extend(in_and_outside(&self.shards, self.gamma));
            }
            for (part, shards) in &mut self.bits {
                let scored = evaluate(shards, caches, actor, *steering, seeds, self.gamma)?;
                let share = |kind: &KindShare| (kind.name.clone(), kind.seen + kind.unseen);
                evaluation.parts.push(EvaluationPart {
                    name: (*part).to_owned(),
                    stepwise_return: scored.stepwise_return,
                    shares: scored.kinds.iter().map(share).collect(),
                });
            }
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
        parts: Vec::new(),
    })
}

/// The episodes that ended in the blind region, and those that ended on a kind elsewhere.
fn in_and_outside(shards: &[Shard], gamma: f32) -> [EvaluationPart; 2] {
    let kinds = shards.first().map(Shard::kinds).unwrap_or_default();
    let mut parts = [(0.0, 0u64, vec![0u64; kinds.len()]), (0.0, 0, vec![0; kinds.len()])];
    for samples in shards.iter().map(|shard| &shard.samples) {
        let returns = samples.true_returns(kinds, gamma);
        let mut part = None;
        for i in (0..samples.len()).rev() {
            if (i + 1).is_multiple_of(samples.num_steps) {
                part = None;
            }
            let outcome = samples.outcomes[i];
            if samples.dones[i] {
                part = outcome.reached.map(|_| usize::from(!outcome.blind));
            }
            let Some((sum, steps, ends)) = part.map(|part| &mut parts[part]) else { continue };
            *sum += f64::from(returns[i]);
            *steps += 1;
            if let Some(kind) = outcome.reached {
                ends[usize::from(kind)] += 1;
            }
        }
    }
    let of = |name: &str, (sum, steps, ends): &(f64, u64, Vec<u64>)| {
        let all = ends.iter().sum::<u64>() as f64;
        let shares = kinds.iter().zip(ends).map(|(kind, n)| (kind.name.to_string(), *n as f64 / all));
        EvaluationPart {
            name: name.to_owned(),
            stepwise_return: sum / *steps as f64,
            shares: shares.collect(),
        }
    };
    [of("in_blind", &parts[0]), of("outside_blind", &parts[1])]
}
