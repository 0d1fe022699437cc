//! Adapters in training on the frozen base.

use std::collections::BTreeMap;

use candle_core::Tensor;
use learning::{Adam, AdamConfig, WeightDecay, clip_grad_norm, require_finite};
use pretrained::{Adapters, Gates};

use super::model::Shared;
use super::streams::Kind;
use crate::Error;
use crate::train::{Order, StepReport};

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
        let train = &shared.config.train;
        let weight_decay = if train.weight_decay > 0.0 {
            WeightDecay::Decoupled(train.weight_decay)
        } else {
            WeightDecay::None
        };
        let adam =
            AdamConfig { beta1: train.beta1, beta2: train.beta2, weight_decay, ..AdamConfig::default() };
        let adam = Adam::new(adapters.parameters(), adam)?;
        Ok(Self { adapters, adam, order, kind, step: 0, name: name.to_owned(), section })
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
        self.adam.step(&gradients, learning_rate)?;
        self.step += 1;
        Ok(StepReport { loss: value, penalty: 0.0, norm, learning_rate })
    }

    fn require_finite(&self, watched: &[(&str, f64)]) -> Result<(), Error> {
        let (part, section) = (self.name.clone(), self.section);
        require_finite(watched).map_err(|fault| Error::NotFinite {
            part,
            step: self.step + 1,
            fault,
            section,
        })
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
