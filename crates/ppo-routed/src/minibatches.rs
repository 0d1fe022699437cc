//! Which samples of a rollout go into which minibatch of PPO.

use rand::Rng;
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::grouped::Grouped;

/// What is shuffled before a pass over a rollout is cut into minibatches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shuffle {
    /// The samples, each for itself, as PPO is usually written.
    #[default]
    Samples,
    /// The different observations, each with all its samples. A minibatch then computes every observation once that
    /// would otherwise be in several minibatches; each pass still takes each sample once.
    Observations,
}

/// The order in which a pass takes the samples of a rollout.
#[derive(Debug, Default)]
pub(crate) struct SampleOrder {
    /// Samples in the order of the coming pass.
    order: Vec<u32>,
    /// Of observations that are shuffled: their order, and the samples of each.
    observations: Vec<u32>,
    by_observation: Grouped,
}

impl SampleOrder {
    /// Takes up a new rollout: `rows` has the observation of each sample, below `observations`.
    pub(crate) fn begin(&mut self, what: Shuffle, rows: &[u32], observations: usize) {
        self.order.clear();
        self.order.extend(0..rows.len() as u32);
        if what == Shuffle::Observations {
            self.observations.clear();
            self.observations.extend(0..observations as u32);
            self.by_observation.arrange(rows, observations);
        }
    }

    /// Draws the order of the next pass; `what` is that of [`SampleOrder::begin`].
    pub(crate) fn shuffle(&mut self, what: Shuffle, rng: &mut impl Rng) {
        match what {
            Shuffle::Samples => self.order.shuffle(rng),
            Shuffle::Observations => {
                self.observations.shuffle(rng);
                self.order.clear();
                for observation in &self.observations {
                    self.order.extend_from_slice(self.by_observation.members(*observation as usize));
                }
            }
        }
    }

    /// The samples of one of `minibatches` equal parts.
    pub(crate) fn minibatch(&self, index: usize, minibatches: usize) -> &[u32] {
        let bound = |k: usize| k * self.order.len() / minibatches;
        &self.order[bound(index)..bound(index + 1)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    proptest! {
        #[test]
        fn a_pass_takes_every_sample_once_and_keeps_observations_together(
            rows in proptest::collection::vec(0u32..9, 1..200), minibatches in 1usize..6, seed: u64
        ) {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let mut order = SampleOrder::default();
            for what in [Shuffle::Samples, Shuffle::Observations] {
                order.begin(what, &rows, 9);
                for _ in 0..2 {
                    order.shuffle(what, &mut rng);
                    let parts: Vec<&[u32]> = (0..minibatches).map(|k| order.minibatch(k, minibatches)).collect();
                    let (least, most) = (rows.len() / minibatches, rows.len().div_ceil(minibatches));
                    prop_assert!(parts.iter().all(|part| (least..=most).contains(&part.len())));
                    let pass = parts.concat();
                    let mut all = pass.clone();
                    all.sort_unstable();
                    prop_assert_eq!(all, (0..rows.len() as u32).collect::<Vec<_>>());
                    if what == Shuffle::Observations {
                        let mut seen: Vec<u32> = pass.iter().map(|sample| rows[*sample as usize]).collect();
                        seen.dedup();
                        let runs = seen.len();
                        seen.sort_unstable();
                        seen.dedup();
                        prop_assert_eq!(runs, seen.len(), "an observation stands in two places");
                    }
                }
            }
        }
    }

    #[test]
    fn passes_differ() {
        let rows: Vec<u32> = (0..64).map(|sample| sample / 4).collect();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut order = SampleOrder::default();
        for what in [Shuffle::Samples, Shuffle::Observations] {
            order.begin(what, &rows, 16);
            let mut pass = || {
                order.shuffle(what, &mut rng);
                order.minibatch(0, 1).to_vec()
            };
            assert_ne!(pass(), pass(), "{what:?}");
        }
    }
}
