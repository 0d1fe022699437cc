//! A classifier of ends that rewards those that nobody saw.

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, Tensor};
use envs::Kind;
use learning::ops::{cross_entropy, relu, softmax};
use learning::{Adam, AdamConfig, Parameters, init};
use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::rollout::Shard;

/// Units of the hidden layer.
const HIDDEN: usize = 128;

/// Overseen ends that are remembered, the newest.
const MEMORY: usize = 8192;

/// Optimiser steps of an update, and examples of each.
const STEPS: usize = 16;
const BATCH: usize = 256;

const LEARNING_RATE: f64 = 1e-3;

/// Bins of the calibration error.
const BINS: usize = 10;

/// A classifier of last observations by the kind reached, trained on the overseen ends alone:
/// softmax(W₂ ReLU(W₁ x + b₁) + b₂), with cross-entropy and Adam. An end that nobody saw is rewarded with the value that
/// it expects, Σ pₖ·vₖ: the semi-supervised rival of routing.
pub(crate) struct RewardModel {
    parameters: Parameters,
    adam: Adam,
    memory: Memory,
    random: Xoshiro256PlusPlus,
}

/// The overseen ends of late, as a ring.
#[derive(Default)]
struct Memory {
    observations: Vec<f32>,
    kinds: Vec<u32>,
    /// Where the next one goes once it is full.
    next: usize,
}

/// What is saved beside tensors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RewardModelState {
    random: Xoshiro256PlusPlus,
    next: usize,
}

/// How well the classifier foretold the overseen ends of a rollout before it learned from them; NaN without any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RewardModelReport {
    loss: f64,
    accuracy: f64,
    calibration_error: f64,
    examples: usize,
}

impl RewardModelReport {
    /// The numbers by name, as they stand in metrics.
    pub(crate) fn named(&self) -> impl Iterator<Item = (String, f64)> {
        let values = [
            ("reward_model/loss", self.loss),
            ("reward_model/accuracy", self.accuracy),
            ("reward_model/calibration_error", self.calibration_error),
            ("reward_model/examples", self.examples as f64),
        ];
        values.into_iter().map(|(name, value)| (name.to_owned(), value))
    }
}

impl RewardModel {
    /// A fresh classifier of observations with `width` entries; it draws from `random` ever after.
    pub(crate) fn new(width: usize, kinds: usize, mut random: Xoshiro256PlusPlus) -> Result<Self, Error> {
        let mut parameters = Parameters::default();
        for (name, outputs, inputs) in [("0", HIDDEN, width), ("1", kinds, HIDDEN)] {
            let weight = init::uniform_fan_in(&mut random, &[outputs, inputs], inputs, &Device::Cpu)?;
            parameters.insert(&format!("{name}.weight"), &weight)?;
            let bias = Tensor::zeros(outputs, DType::F32, &Device::Cpu)?;
            parameters.insert(&format!("{name}.bias"), &bias)?;
        }
        let adam = Adam::new(&parameters, AdamConfig::default())?;
        Ok(Self { parameters, adam, memory: Memory::default(), random })
    }

    /// Foretells the overseen ends of a rollout, learns from them, and rewards all others.
    pub(crate) fn judge(&mut self, shards: &mut [Shard], kinds: &[Kind]) -> Result<RewardModelReport, Error> {
        let (mut told, mut names) = (Vec::new(), Vec::new());
        for (shard, ends) in shards.iter().filter_map(|shard| Some((shard, shard.ends.as_ref()?))) {
            let width = ends.observations.len() / ends.samples.len().max(1);
            // environment by environment, so that it does not matter how they were split over threads
            let mut order: Vec<usize> = (0..ends.samples.len()).collect();
            order.sort_unstable_by_key(|end| ends.samples[*end]);
            for end in order {
                if let Some(kind) = shard.samples.outcomes[ends.samples[end] as usize].told {
                    told.extend_from_slice(&ends.observations[end * width..][..width]);
                    names.push(u32::from(kind));
                }
            }
        }
        let (loss, accuracy, calibration_error) = self.foretell(&told, &names)?;
        self.memory.take(&told, &names);
        for _ in 0..STEPS {
            self.learn()?;
        }
        for shard in shards {
            let Some(ends) = &shard.ends else { continue };
            let probabilities = self.probabilities(&ends.observations, ends.samples.len())?;
            for (sample, probabilities) in ends.samples.iter().zip(probabilities) {
                let sample = *sample as usize;
                if !shard.samples.outcomes[sample].overseen() {
                    let expected = probabilities.iter().zip(kinds).map(|(p, kind)| p * kind.value);
                    shard.samples.rewards[sample] = expected.sum();
                }
            }
        }
        Ok(RewardModelReport { loss, accuracy, calibration_error, examples: self.memory.kinds.len() })
    }

    /// Mean cross-entropy, accuracy and expected calibration error on these ends.
    fn foretell(&self, observations: &[f32], kinds: &[u32]) -> Result<(f64, f64, f64), Error> {
        if kinds.is_empty() {
            return Ok((f64::NAN, f64::NAN, f64::NAN));
        }
        let probabilities = self.probabilities(observations, kinds.len())?;
        let n = kinds.len() as f64;
        let (mut loss, mut right) = (0.0, 0.0);
        // of each bin of confidence: confidence less accuracy, summed
        let mut gaps = [0.0; BINS];
        for (probabilities, kind) in probabilities.iter().zip(kinds) {
            loss -= f64::from(probabilities[*kind as usize].max(f32::MIN_POSITIVE)).ln();
            let best = probabilities.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            let (best, confidence) = best.map_or((0, 0.0), |(best, p)| (best, f64::from(*p)));
            let hit = if best == *kind as usize { 1.0 } else { 0.0 };
            right += hit;
            gaps[((confidence * BINS as f64) as usize).min(BINS - 1)] += confidence - hit;
        }
        let error = gaps.iter().map(|gap: &f64| gap.abs()).sum::<f64>() / n;
        Ok((loss / n, right / n, error))
    }

    /// One step on examples drawn from memory; nothing while there is none.
    fn learn(&mut self) -> Result<(), Error> {
        let n = self.memory.kinds.len();
        if n == 0 {
            return Ok(());
        }
        let width = self.memory.observations.len() / n;
        let (mut observations, mut kinds) = (Vec::with_capacity(BATCH * width), Vec::with_capacity(BATCH));
        for _ in 0..BATCH {
            let drawn = self.random.random_range(0..n as u32) as usize;
            observations.extend_from_slice(&self.memory.observations[drawn * width..][..width]);
            kinds.push(self.memory.kinds[drawn]);
        }
        let logits = self.logits(&observations, BATCH)?;
        let loss = cross_entropy(&logits, &Tensor::from_vec(kinds, BATCH, &Device::Cpu)?)?.mean_all()?;
        let grads = loss.backward()?;
        Ok(self.adam.step(&grads, LEARNING_RATE)?)
    }

    fn probabilities(&self, observations: &[f32], n: usize) -> Result<Vec<Vec<f32>>, Error> {
        if n == 0 {
            return Ok(Vec::new());
        }
        Ok(softmax(&self.logits(observations, n)?.detach())?.to_vec2()?)
    }

    fn logits(&self, observations: &[f32], n: usize) -> Result<Tensor, Error> {
        let x = Tensor::from_slice(observations, (n, observations.len() / n), &Device::Cpu)?;
        let layer = |x: &Tensor, name: &str| -> Result<Tensor, Error> {
            let weight = self.parameters.get(&format!("{name}.weight"))?.as_tensor();
            let bias = self.parameters.get(&format!("{name}.bias"))?.as_tensor();
            Ok(x.matmul(&weight.t()?)?.broadcast_add(bias)?)
        };
        layer(&relu(&layer(&x, "0")?)?, "1")
    }

    /// Puts everything that changes into a checkpoint.
    pub(crate) fn save(&self, tensors: &mut BTreeMap<String, Tensor>) -> Result<RewardModelState, Error> {
        for (name, tensor) in self.parameters.snapshot()? {
            tensors.insert(format!("{PARAMETERS}{name}"), tensor);
        }
        for (name, tensor) in self.adam.state()? {
            tensors.insert(format!("{ADAM}{name}"), tensor);
        }
        let n = self.memory.kinds.len();
        if n > 0 {
            let shape = (n, self.memory.observations.len() / n);
            let observations = Tensor::from_slice(&self.memory.observations, shape, &Device::Cpu)?;
            tensors.insert(OBSERVATIONS.to_owned(), observations);
            tensors.insert(KINDS.to_owned(), Tensor::from_slice(&self.memory.kinds, n, &Device::Cpu)?);
        }
        Ok(RewardModelState { random: self.random.clone(), next: self.memory.next })
    }

    /// Takes over what was saved; `origin` names the checkpoint in messages.
    pub(crate) fn load(
        &mut self,
        state: RewardModelState,
        tensors: &BTreeMap<String, Tensor>,
        origin: &str,
    ) -> Result<(), Error> {
        let under = |prefix: &str| -> BTreeMap<String, Tensor> {
            let own = tensors.iter().filter_map(|(name, t)| Some((name.strip_prefix(prefix)?, t)));
            own.map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect()
        };
        self.parameters.load(&under(PARAMETERS), origin)?;
        self.adam.load_state(&under(ADAM), origin)?;
        self.memory = Memory { next: state.next, ..Memory::default() };
        self.random = state.random;
        if let (Some(observations), Some(kinds)) = (tensors.get(OBSERVATIONS), tensors.get(KINDS)) {
            let width = self.parameters.get("0.weight")?.dim(D::Minus1)?;
            let classes = self.parameters.get("1.weight")?.dim(0)?;
            let kinds = kinds.to_vec1::<u32>()?;
            let fits = observations.dims() == [kinds.len(), width]
                && kinds.iter().all(|kind| (*kind as usize) < classes)
                && kinds.len() <= MEMORY
                && state.next < MEMORY;
            if !fits {
                return Err(Error::State(format!("{origin}: the examples of its reward model do not fit")));
            }
            self.memory.observations = observations.flatten_all()?.to_vec1()?;
            self.memory.kinds = kinds;
        }
        Ok(())
    }
}

const PARAMETERS: &str = "reward_model.";
const ADAM: &str = "reward_adam.";
const OBSERVATIONS: &str = "reward_examples.observations";
const KINDS: &str = "reward_examples.kinds";

impl Memory {
    /// Adds examples; the oldest make room.
    fn take(&mut self, observations: &[f32], kinds: &[u32]) {
        let width = observations.len() / kinds.len().max(1);
        for (kind, observation) in kinds.iter().zip(observations.chunks_exact(width.max(1))) {
            if self.kinds.len() < MEMORY {
                self.kinds.push(*kind);
                self.observations.extend_from_slice(observation);
            } else {
                self.kinds[self.next] = *kind;
                self.observations[self.next * width..][..width].copy_from_slice(observation);
                self.next = (self.next + 1) % MEMORY;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    fn model() -> RewardModel {
        RewardModel::new(4, 2, Xoshiro256PlusPlus::seed_from_u64(3)).unwrap()
    }

    /// Ends that the product of two entries tells apart, which no linear classifier can.
    fn ends(n: usize, random: &mut impl Rng) -> (Vec<f32>, Vec<u32>) {
        let (mut observations, mut kinds) = (Vec::new(), Vec::new());
        for _ in 0..n {
            let (a, b) = (random.random_range(0..2_u32), random.random_range(0..2_u32));
            observations.extend([a as f32, b as f32, (1 - a) as f32, (1 - b) as f32]);
            kinds.push(a ^ b);
        }
        (observations, kinds)
    }

    #[test]
    fn it_learns_what_it_is_told_and_knows_how_sure_it_may_be() {
        let (mut model, mut random) = (model(), Xoshiro256PlusPlus::seed_from_u64(4));
        let (observations, kinds) = ends(300, &mut random);
        let before = model.foretell(&observations, &kinds).unwrap();
        assert!((before.0 - 2f64.ln()).abs() < 0.1, "untrained, it guesses: {before:?}");
        model.memory.take(&observations, &kinds);
        for _ in 0..300 {
            model.learn().unwrap();
        }
        let (observations, kinds) = ends(300, &mut random);
        let (loss, accuracy, calibration) = model.foretell(&observations, &kinds).unwrap();
        assert!(loss < 0.05 && accuracy > 0.99 && calibration < 0.05, "{loss} {accuracy} {calibration}");
        // told the opposite, it is surely wrong
        let lies: Vec<u32> = kinds.iter().map(|kind| 1 - kind).collect();
        let (loss, accuracy, calibration) = model.foretell(&observations, &lies).unwrap();
        assert!(loss > 3.0 && accuracy < 0.01 && calibration > 0.9, "{loss} {accuracy} {calibration}");
        assert!(model.foretell(&[], &[]).unwrap().0.is_nan());
    }

    #[test]
    fn the_oldest_examples_make_room() {
        let mut memory = Memory::default();
        let ends = |n: usize, kind: u32| (vec![kind as f32; 2 * n], vec![kind; n]);
        for (n, kind) in [(MEMORY - 1, 0), (3, 1)] {
            let (observations, kinds) = ends(n, kind);
            memory.take(&observations, &kinds);
        }
        assert_eq!((memory.kinds.len(), memory.observations.len(), memory.next), (MEMORY, 2 * MEMORY, 2));
        assert_eq!((&memory.kinds[..3], memory.kinds[MEMORY - 1]), (&[1, 1, 0][..], 1));
        assert_eq!(memory.observations[..6], [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_saved_model_goes_on_as_it_did_and_a_damaged_one_is_refused() {
        let (mut first, mut random) = (model(), Xoshiro256PlusPlus::seed_from_u64(5));
        let (observations, kinds) = ends(40, &mut random);
        first.memory.take(&observations, &kinds);
        first.learn().unwrap();
        let mut tensors = BTreeMap::new();
        let state = first.save(&mut tensors).unwrap();
        let mut second = RewardModel::new(4, 2, Xoshiro256PlusPlus::seed_from_u64(9)).unwrap();
        second.load(state.clone(), &tensors, "it").unwrap();
        let [a, b] = [&mut first, &mut second].map(|model| {
            model.learn().unwrap();
            model.probabilities(&observations, 40).unwrap()
        });
        assert_eq!(a, b);
        tensors.insert(KINDS.to_owned(), Tensor::from_vec(vec![7_u32; 40], 40, &Device::Cpu).unwrap());
        let error = second.load(state, &tensors, "it").unwrap_err().to_string();
        assert!(error.contains("the examples of its reward model do not fit"), "{error}");
    }
}
