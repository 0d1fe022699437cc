//! One model in training.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use experiment::SeedStreams;
use gradient_routing::Site;
use learning::{Adam, AdamConfig, Parameters, WeightDecay};
use transformer::{Batch, Model, expanded, from_map, initial};

use super::order::Order;
use super::schedule::cosine;
use super::step_context::StepContext;
use crate::Error;
use crate::config::{Config, TrainSection};
use crate::data::Dataset;
use crate::methods::{Part, Recipe};

/// What a step did.
#[derive(Clone, Copy, Debug)]
pub struct StepReport {
    /// The mean loss of the targets.
    pub loss: f64,
    /// The L1 penalty.
    pub penalty: f64,
    /// The gradient's norm before clipping.
    pub norm: f64,
    /// The learning rate.
    pub learning_rate: f64,
}

/// A model in training, with all that changes while it is.
pub struct Trainer {
    config: Arc<Config>,
    dataset: Arc<Dataset>,
    part: Part,
    recipe: Recipe,
    /// The model.
    pub model: Model,
    adam: Adam,
    order: Order,
    step: u64,
}

impl Trainer {
    /// A model at its start. All parts start from the same numbers and, but for those that leave documents out, see
    /// the same documents in the same order.
    ///
    /// # Errors
    /// Fails where a tensor cannot be placed on the device.
    pub fn new(
        config: &Arc<Config>,
        dataset: &Arc<Dataset>,
        part: Part,
        recipe: Recipe,
        streams: SeedStreams,
        threads: usize,
        device: &Device,
    ) -> Result<Self, Error> {
        let base = initial(&recipe.base, &mut streams.stream("init"), device)?;
        let mut extra = streams.stream("init.extra");
        let parameters = expanded(&base, &recipe.base, &recipe.expanded, false, &mut extra)?;
        Self::with(config, dataset, part, recipe, streams, threads, parameters)
    }

    fn with(
        config: &Arc<Config>,
        dataset: &Arc<Dataset>,
        part: Part,
        recipe: Recipe,
        streams: SeedStreams,
        threads: usize,
        parameters: Parameters,
    ) -> Result<Self, Error> {
        let adam = optimiser(&parameters, &config.train)?;
        let tokens = config.model.block_size;
        let model = Model::new(&recipe.expanded, parameters, tokens, threads, config.train.backend)?;
        let order = Order::new(recipe.documents.clone(), streams);
        let (config, dataset) = (Arc::clone(config), Arc::clone(dataset));
        Ok(Self { config, dataset, part, recipe, model, adam, order, step: 0 })
    }

    /// The part of the experiment that the model is for.
    pub fn part(&self) -> Part {
        self.part
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// How the model is trained.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// One optimiser step.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where loss or gradient are not numbers; the parameters are then those before the step.
    pub fn train_step(&mut self) -> Result<StepReport, Error> {
        let train = &self.config.train;
        let chosen = self.order.batch(self.step, train.batch_size);
        let batch =
            batch_of(&self.dataset.train, &chosen, self.model.tokens(), self.dataset.vocabulary.end());
        let labelled: Vec<bool> = chosen.iter().map(|index| self.recipe.labels[*index]).collect();
        let routing = &self.recipe.routing;
        let loss = match routing.routes.table.site() {
            Site::Activations => self.model.gradient(&batch, &routing.hooks(&batch, &labelled))?,
            Site::Parameters(_) => {
                let classes = routing.classes(&batch, &labelled, &self.recipe.expanded);
                self.model.gradient_by_class(&batch, &classes)?
            }
        };
        let (top, bottom) = (train.learning_rate, train.min_learning_rate);
        let learning_rate = cosine(self.step, train.steps, train.warmup_steps, top, bottom);
        let part = self.part.name();
        let step_context = StepContext { part: &part, step: self.step + 1, section: "train" };
        let norm =
            step_context.take(&mut self.model, &mut self.adam, loss, learning_rate, train.grad_clip)?;
        self.step += 1;
        Ok(StepReport { loss: loss.loss, penalty: loss.penalty, norm, learning_rate })
    }

    /// All that changes, to be saved.
    ///
    /// # Errors
    /// Fails where a tensor cannot be copied.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>, Error> {
        let mut tensors = BTreeMap::new();
        for (name, tensor) in self.model.parameters().snapshot()? {
            tensors.insert(format!("model.{name}"), tensor);
        }
        for (name, tensor) in self.adam.state()? {
            tensors.insert(format!("adam.{name}"), tensor);
        }
        Ok(tensors)
    }

    /// Goes back to a state after `step` steps.
    ///
    /// # Errors
    /// Fails where the state is another model's; `origin` names it.
    pub fn load_state(
        &mut self,
        state: &BTreeMap<String, Tensor>,
        step: u64,
        origin: &str,
    ) -> Result<(), Error> {
        let with_prefix = |prefix: &str| -> BTreeMap<String, Tensor> {
            let named =
                state.iter().filter_map(|(name, t)| Some((name.strip_prefix(prefix)?.to_owned(), t.clone())));
            named.collect()
        };
        let device = self.model.device().clone();
        // first into parameters of its own, so that nothing changes where it does not fit
        from_map(&with_prefix("model."), &self.recipe.expanded, origin, &device)?;
        self.adam.load_state(&with_prefix("adam."), origin)?;
        self.model.parameters().load(&with_prefix("model."), origin)?;
        self.step = step;
        Ok(())
    }
}

/// `AdamW` with the settings of the training.
pub(crate) fn optimiser(parameters: &Parameters, train: &TrainSection) -> Result<Adam, Error> {
    let weight_decay =
        if train.weight_decay > 0.0 { WeightDecay::Decoupled(train.weight_decay) } else { WeightDecay::None };
    let config = AdamConfig { beta1: train.beta1, beta2: train.beta2, weight_decay, ..AdamConfig::default() };
    Ok(Adam::new(parameters, config)?)
}

/// Documents as a batch.
pub(crate) fn batch_of(
    documents: &crate::data::Documents,
    chosen: &[usize],
    tokens: usize,
    end: u32,
) -> Batch {
    let chosen: Vec<Vec<u32>> = chosen.iter().map(|index| documents.get(*index, tokens + 1)).collect();
    Batch::new(chosen.iter().map(Vec::as_slice), tokens, end)
}
