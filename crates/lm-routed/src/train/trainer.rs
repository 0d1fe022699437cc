//! One model in training.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use experiment::SeedStreams;
use gradient_routing::Site;
use learning::{Adam, AdamConfig, Parameters, Partition, WeightDecay};
use transformer::{Batch, Model, expanded, from_map, initial};

use super::labelled_order::LabelledOrder;
use super::labelled_steps::LabelledSteps;
use super::order::Order;
use super::schedule::cosine;
use super::step_context::StepContext;
use crate::Error;
use crate::config::{Config, TrainSection};
use crate::data::Dataset;
use crate::methods::{Part, Recipe};
use crate::routing::{Labels, StepLabels};

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
    plan: Plan,
    streams: SeedStreams,
    step: u64,
}

/// Which documents a step takes, and what it trains.
enum Plan {
    /// Documents of all kinds, whose masks are those of their tokens.
    Mixed(Order),
    /// Documents of one label, whose class masks the whole step.
    Labelled { order: LabelledOrder, labels: StepLabels, steps: Box<LabelledSteps> },
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
        let parameters =
            expanded(&base, &recipe.base, &recipe.expanded, recipe.routing.routes.silent, &mut extra)?;
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
        let plan = match &recipe.routing.labels {
            Labels::Steps(labels) => {
                let documents = recipe.documents.iter().copied();
                let order = LabelledOrder::new(documents, &labels.of, config.train.batch_size, streams);
                let (routes, backend) = (&recipe.routing.routes, config.train.backend);
                let steps = LabelledSteps::new(routes, &recipe.expanded, threads, backend)?;
                Plan::Labelled { order, labels: labels.clone(), steps: Box::new(steps) }
            }
            _ => Plan::Mixed(Order::new(recipe.documents.clone(), streams)),
        };
        let partitions = match &plan {
            Plan::Labelled { steps, .. } => steps.partitions().clone(),
            Plan::Mixed(_) => BTreeMap::new(),
        };
        let adam = optimiser_of_parts(&parameters, &config.train, &partitions)?;
        let tokens = config.model.block_size;
        let model = Model::new(&recipe.expanded, parameters, tokens, threads, config.train.backend)?;
        let (config, dataset) = (Arc::clone(config), Arc::clone(dataset));
        Ok(Self { config, dataset, part, recipe, model, adam, plan, streams, step: 0 })
    }

    /// The part of the experiment that the model is for.
    pub fn part(&self) -> &Part {
        &self.part
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
        let Self { config, dataset, recipe, model, plan, streams, .. } = self;
        let train = &config.train;
        let routing = &recipe.routing;
        let batch = |chosen: &[usize], model: &Model| {
            batch_of(&dataset.train, chosen, model.tokens(), dataset.vocabulary.end())
        };
        let (loss, mask) = match plan {
            Plan::Mixed(order) => {
                let chosen = order.batch(self.step, train.batch_size);
                let batch = batch(&chosen, model);
                let labelled: Vec<bool> = chosen.iter().map(|index| recipe.labels[*index]).collect();
                let loss = match routing.routes.table.site() {
                    Site::Activations => model.gradient(&batch, &routing.hooks(&batch, &labelled))?,
                    Site::Parameters(_) => {
                        let classes = routing.classes(&batch, &labelled, &recipe.expanded);
                        model.gradient_by_class(&batch, &classes)?
                    }
                };
                (loss, None)
            }
            Plan::Labelled { order, labels, steps } => {
                let (label, chosen) = order.step(self.step);
                let class = labels.class_of(label, self.step, *streams);
                let (loss, mask) = steps.gradient(model, &batch(&chosen, model), class)?;
                (loss, Some(mask))
            }
        };
        let (top, bottom) = (train.learning_rate, train.min_learning_rate);
        let learning_rate = cosine(self.step, train.steps, train.warmup_steps, top, bottom);
        let part = self.part.name();
        let step_context = StepContext { part: &part, step: self.step + 1, section: "train" };
        let (adam, clip) = (&mut self.adam, train.grad_clip);
        let norm = step_context.take(model, adam, loss, learning_rate, clip, mask)?;
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
    optimiser_of_parts(parameters, train, &BTreeMap::new())
}

/// As [`optimiser`], with parameters in parts.
pub(crate) fn optimiser_of_parts(
    parameters: &Parameters,
    train: &TrainSection,
    partitions: &BTreeMap<String, Partition>,
) -> Result<Adam, Error> {
    let weight_decay =
        if train.weight_decay > 0.0 { WeightDecay::Decoupled(train.weight_decay) } else { WeightDecay::None };
    let config = AdamConfig { beta1: train.beta1, beta2: train.beta2, weight_decay, ..AdamConfig::default() };
    Ok(Adam::with_partitions(parameters, config, partitions)?)
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
