//! Adapters in training on the frozen base.

use std::collections::BTreeMap;

use candle_core::Tensor;
use learning::{Adam, clip_grad_norm};
use pretrained::{Adapters, Gate, Gates};

use super::model::Shared;
use super::streams::Kind;
use crate::Error;
use crate::train::{Order, StepContext, StepReport, optimiser};

/// Adapters with their optimiser, which has nothing else.
pub(super) struct Learner {
    pub adapters: Adapters,
    adam: Adam,
    order: Order,
    kind: Kind,
    step: u64,
    /// For messages.
    name: String,
    /// The section of the config with the learning rate.
    section: &'static str,
    /// Adam's second moment is that of the gradients without routes.
    split_moments: bool,
}

impl Learner {
    /// To train on some documents.
    ///
    /// # Errors
    /// Fails where moments cannot be placed.
    pub(super) fn new(
        name: &str,
        section: &'static str,
        adapters: Adapters,
        (kind, order): (Kind, Order),
        shared: &Shared,
    ) -> Result<Self, Error> {
        let adam = optimiser(adapters.parameters(), &shared.config.train)?;
        Ok(Self {
            adapters,
            adam,
            order,
            kind,
            step: 0,
            name: name.to_owned(),
            section,
            split_moments: false,
        })
    }

    /// With split moments or without, see [`Adam::step_split`].
    pub(super) fn with_split_moments(self, split_moments: bool) -> Self {
        Self { split_moments, ..self }
    }

    /// Steps done.
    pub(super) fn step(&self) -> u64 {
        self.step
    }

    /// One optimiser step with the gates that `gates` makes for the step's documents.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where loss or gradient are not numbers; the adapters are then as they were.
    pub(super) fn train_step(
        &mut self,
        shared: &Shared,
        gates: impl Fn(&[usize]) -> Gates,
        learning_rate: f64,
    ) -> Result<StepReport, Error> {
        let train = &shared.config.train;
        let chosen = self.order.batch(self.step, train.batch_size);
        let decoder = &shared.base.decoder;
        let (batch, stream) = shared.lower.batch(decoder, &shared.dataset, self.kind, &chosen)?;
        let with = gates(&chosen);
        let loss = decoder.loss_above(&stream, shared.lower.blocks, &batch, Some((&self.adapters, &with)))?;
        let value = f64::from(loss.to_scalar::<f32>()?);
        self.require_finite(&[("the loss", value)])?;
        let mut gradients = loss.backward()?;
        let most = if train.grad_clip > 0.0 { train.grad_clip } else { f64::INFINITY };
        let norm = clip_grad_norm(self.adapters.parameters(), &mut gradients, most)?;
        self.require_finite(&[("the loss", value), ("the gradient's norm", norm)])?;
        if self.split_moments {
            let with = unrouted(with);
            let loss =
                decoder.loss_above(&stream, shared.lower.blocks, &batch, Some((&self.adapters, &with)))?;
            // scaled as the routed gradient was by its clipping
            let natural = (loss * (most / (norm + 1e-6)).min(1.0))?.backward()?;
            self.adam.step_split(&gradients, &natural, learning_rate)?;
        } else {
            self.adam.step(&gradients, learning_rate)?;
        }
        self.step += 1;
        Ok(StepReport { loss: value, penalty: 0.0, norm, learning_rate })
    }

    fn require_finite(&self, watched: &[(&str, f64)]) -> Result<(), Error> {
        StepContext { part: &self.name, step: self.step + 1, section: self.section }.require_finite(watched)
    }

    /// All that changes: the adapters and the optimiser's moments.
    ///
    /// # Errors
    /// Fails where a tensor cannot be copied.
    pub(super) fn state(&self) -> Result<BTreeMap<String, Tensor>, Error> {
        let adapters = self.adapters.parameters().snapshot()?.into_iter();
        let adapters = adapters.map(|(name, tensor)| (format!("adapters.{name}"), tensor));
        let adam = self.adam.state()?.into_iter().map(|(name, tensor)| (format!("adam.{name}"), tensor));
        Ok(adapters.chain(adam).collect())
    }

    /// Goes back to a state after `step` steps: the tensors under `adapters.` and those under `adam.`.
    ///
    /// # Errors
    /// Fails where the state is of other adapters; `origin` names it.
    pub(super) fn load_state(
        &mut self,
        [adapters, adam]: [&BTreeMap<String, Tensor>; 2],
        step: u64,
        origin: &str,
    ) -> Result<(), Error> {
        self.adam.load_state(adam, origin)?;
        self.adapters.parameters().load(adapters, origin)?;
        self.step = step;
        Ok(())
    }
}

/// The gates of the same pass in which every adapter that takes part gets its gradient as it is.
fn unrouted(gates: Gates) -> Gates {
    let natural = |gate: Gate| match gate {
        Gate::Off => Gate::Off,
        Gate::All { forward, .. } => Gate::All { forward, gradient: 1.0 },
        Gate::Tokens { forward, gradient } => Gate::Tokens { forward, gradient: vec![1.0; gradient.len()] },
    };
    gates.into_iter().map(|(name, gate)| (name, natural(gate))).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use learning::Parameters;
    use serde_json::json;

    use super::*;
    use crate::adapt::Arm;
    use crate::config::{AdapterKind, Config, Others};
    use crate::data::CacheIs;

    /// A tiny random Llama with a tokenizer of words, and four documents, of which every second has a tree.
    fn shared(folder: &Path, change: impl FnOnce(&mut Config)) -> Shared {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pretrained/tests/golden/llama-f32");
        for name in ["config.json", "model.safetensors"] {
            std::fs::copy(golden.join(name), folder.join(name)).unwrap();
        }
        let words = json!({"a": 0, "tree": 1, "boat": 2, "and": 3, "<|endoftext|>": 4});
        let tokenizer = json!({"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"},
            "model": {"type": "WordLevel", "vocab": words, "unk_token": "a"}});
        std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
        let texts = ["a boat and a boat", "a tree and a tree"].repeat(20).join("\n\n");
        std::fs::write(folder.join("texts.txt"), texts).unwrap();
        let mut config = Config::for_adapt();
        config.adapt.base = folder.display().to_string();
        (config.adapt.blocks, config.adapt.rank, config.adapt.neurons) = (1, 2, 3);
        config.data.train = folder.join("texts.txt").display().to_string();
        (config.data.validation, config.data.cache) = (String::new(), String::new());
        (config.model.block_size, config.retrain.stories) = (6, Vec::new());
        change(&mut config);
        Shared::read(&config, folder, 1, CacheIs::TheUsers, true).unwrap()
    }

    fn bits(parameters: &Parameters) -> BTreeMap<String, Vec<u32>> {
        let bits = |tensor: &Tensor| -> Vec<u32> {
            tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
        };
        parameters.snapshot().unwrap().iter().map(|(name, value)| (name.clone(), bits(value))).collect()
    }

    /// The adapters of which every matrix moves in a step on documents of one label, after two that moved all of them;
    /// of all others none does.
    fn moved(arm: Arm, labelled: bool, change: impl FnOnce(&mut Config)) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let shared = shared(folder.path(), change);
        let (shape, streams) = (shared.base.decoder.shape().clone(), shared.streams);
        let adapters = arm.adapters(&shared.config, &shape, streams).unwrap();
        let order = Order::new(shared.training(Some(labelled)), streams);
        let mut learner = Learner::new(arm.name(), "train", adapters, (Kind::Train, order), &shared).unwrap();
        let untouched = shared.base.decoder.stream(&[1, 2, 3], 1, 2).unwrap().to_vec2::<f32>().unwrap();
        for _ in 0..2 {
            learner.train_step(&shared, |_| Gates::new(), 0.01).unwrap();
        }
        let before = bits(learner.adapters.parameters());
        let tokens = shared.config.model.block_size;
        let gates = |chosen: &[usize]| arm.gates(&shared.config, &vec![labelled; chosen.len()], tokens);
        learner.train_step(&shared, gates, 0.01).unwrap();
        let after = bits(learner.adapters.parameters());
        assert_eq!(
            untouched,
            shared.base.decoder.stream(&[1, 2, 3], 1, 2).unwrap().to_vec2::<f32>().unwrap()
        );
        let mut moved = Vec::new();
        for adapter in ["behaviour", "rest"] {
            let of = |name: &&String| name.split('.').next() == Some(adapter);
            let changed: Vec<bool> =
                before.keys().filter(of).map(|name| before[name] != after[name]).collect();
            assert!(changed.windows(2).all(|two| two[0] == two[1]), "{arm:?} {adapter}: {changed:?}");
            if changed.first() == Some(&true) {
                moved.push(adapter.to_owned());
            }
        }
        moved
    }

    /// The second moments after two steps, of which the second is on documents of one label.
    fn second_moments(split: bool) -> BTreeMap<String, Vec<f32>> {
        let folder = tempfile::tempdir().unwrap();
        let shared = shared(folder.path(), |config| config.adapt.others = Others::Both);
        let shape = shared.base.decoder.shape();
        let adapters = Arm::Routed.adapters(&shared.config, shape, shared.streams).unwrap();
        let order = Order::new(shared.training(Some(true)), shared.streams);
        let learner = Learner::new("routed", "train", adapters, (Kind::Train, order), &shared).unwrap();
        let mut learner = learner.with_split_moments(split);
        let tokens = shared.config.model.block_size;
        let routed = |chosen: &[usize]| Arm::Routed.gates(&shared.config, &vec![true; chosen.len()], tokens);
        // B is zero at the start, and so is the gradient of A: one step on everything first
        learner.train_step(&shared, |_| Gates::new(), 0.01).unwrap();
        let before = bits(learner.adapters.parameters());
        learner.train_step(&shared, routed, 0.01).unwrap();
        let after = bits(learner.adapters.parameters());
        for (name, value) in &before {
            assert_eq!(after[name] == *value, name.starts_with("rest."), "{name}, split {split}");
        }
        let state = learner.adam.state().unwrap().into_iter();
        let second =
            state.filter_map(|(name, tensor)| Some((name.strip_prefix("second.")?.to_owned(), tensor)));
        second.map(|(name, tensor)| (name, tensor.flatten_all().unwrap().to_vec1().unwrap())).collect()
    }

    #[test]
    fn with_split_moments_the_second_one_sees_what_a_route_keeps_away() {
        let (without, with) = (second_moments(false), second_moments(true));
        for (name, without) in without {
            let sum = |values: &[f32]| values.iter().map(|value| f64::from(*value)).sum::<f64>();
            let (without, with) = (sum(&without), sum(&with[&name]));
            if name.starts_with("rest.") {
                assert!(with > without * 1.01, "{name}: {with} beside {without}");
            } else if name.contains(".down.") {
                // nothing that the route changes lies between it and the loss
                assert!((with - without).abs() < 1e-3 * without, "{name}: {with} beside {without}");
            }
        }
    }

    #[test]
    fn each_label_moves_exactly_its_adapters_and_nothing_of_the_base() {
        type Change = fn(&mut Config);
        let both: Change = |config| config.adapt.others = Others::Both;
        let mlp: Change = |config| config.adapt.behaviour = AdapterKind::Mlp;
        let zero: Change = |config| config.routing.forget_original = 0.0;
        for (arm, labelled, change, expected) in [
            (Arm::Single, true, None, ["rest"].as_slice()),
            (Arm::Routed, true, None, &["behaviour"]),
            (Arm::Routed, false, None, &["rest"]),
            (Arm::Routed, true, Some(both), &["behaviour"]),
            (Arm::Routed, false, Some(both), &["behaviour", "rest"]),
            (Arm::Routed, true, Some(mlp), &["behaviour"]),
            (Arm::Routed, false, Some(mlp), &["rest"]),
            (Arm::Era, true, None, &["behaviour", "rest"]),
            (Arm::Era, true, Some(zero), &["behaviour"]),
            (Arm::Era, false, None, &["behaviour", "rest"]),
        ] {
            let found = moved(arm, labelled, |config| change.into_iter().for_each(|change| change(config)));
            assert_eq!(found, expected, "{arm:?} labelled {labelled}");
        }
    }
}
