//! Short trainings on a handful of documents: to make an ablated model coherent, and to teach a concept back.

use experiment::SeedStreams;
use learning::Parameters;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use transformer::{Batch, Hooks, Model, Network, copied};

use crate::Error;
use crate::config::Config;
use crate::data::{Dataset, Pool, SET_ASIDE};
use crate::evaluate::{Losses, Validation};
use crate::learner::Learner;
use crate::per_story::{PerStory, StoryLosses};
use crate::train::{StepContext, batch_of, optimiser};

/// A copy of a network that can be trained as `config` says.
pub(crate) fn model_of(network: &Network, config: &Config, threads: usize) -> Result<Model, Error> {
    Ok(network.model(config.model.block_size, threads, config.train.backend)?)
}

/// What fine-tuning needs beside the network.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The settings.
    pub config: &'a Config,
    /// The documents.
    pub dataset: &'a Dataset,
    /// The random streams.
    pub streams: SeedStreams,
    /// Threads to compute with.
    pub threads: usize,
}

impl Context<'_> {
    /// A copy of a network that can be trained with these settings.
    pub(crate) fn model(&self, network: &Network) -> Result<Model, Error> {
        model_of(network, self.config, self.threads)
    }

    /// `count` of some documents, drawn from a stream.
    pub(crate) fn drawn(&self, mut from: Vec<usize>, count: usize, stream: &str) -> Vec<usize> {
        let (drawn, _) = from.partial_shuffle(&mut self.streams.stream(stream), count);
        drawn.to_vec()
    }
}

/// Refuses held-out documents that are too few for teaching the concept back from `stories` of them.
///
/// # Errors
/// [`Error::Setting`] with the number that is needed.
pub(crate) fn require_relearning(dataset: &Dataset, stories: usize) -> Result<(), Error> {
    let there = dataset.validation.pool(Pool::Relearning, true, stories).len();
    if there == stories {
        return Ok(());
    }
    Err(Error::Setting(format!(
        "teaching the concept back from {stories} stories needs {} held-out stories with the concept, of which one in \
         {SET_ASIDE} is set aside for it, and {there} are set aside: hold back more (data.validation, \
         data.validation_documents), or teach from fewer (retrain.stories, localise.stories)",
        stories.saturating_mul(SET_ASIDE)
    )))
}

/// Refuses held-out documents of which none is set aside for the coherence stage.
///
/// # Errors
/// [`Error::Setting`] with the number that is needed.
pub(crate) fn require_coherence(dataset: &Dataset) -> Result<(), Error> {
    if !dataset.validation.pool(Pool::CoherenceSelection, false, 1).is_empty() {
        return Ok(());
    }
    Err(Error::Setting(format!(
        "the coherence stage needs at least {SET_ASIDE} held-out stories without the concept: hold back more \
         (data.validation, data.validation_documents), or set coherence.steps=0"
    )))
}

/// Fine-tunes on a few documents without the concept and keeps the step that is best on held-out documents
/// without it, which are not the reported ones ([`Pool::CoherenceSelection`]).
///
/// # Errors
/// Fails where the model does, none of these documents is there, or a loss or gradient is not a number.
///
/// # Source
/// Cloud et al. 2024, app. C.
pub fn make_coherent(network: &Network, cx: Context<'_>) -> Result<Network, Error> {
    let coherence = &cx.config.coherence;
    let tokens = cx.config.model.block_size;
    if coherence.steps == 0 {
        return Ok(network.clone());
    }
    require_coherence(cx.dataset)?;
    let chosen = cx.drawn(cx.dataset.train.first(false, usize::MAX), coherence.stories, "coherence");
    let batch = batch_of(&cx.dataset.train, &chosen, tokens, cx.dataset.vocabulary.end());
    let (pool, looked_at) = (Pool::CoherenceSelection, coherence.validation_stories);
    let validation = Validation::of_pool(cx.dataset, pool, looked_at, tokens);
    let hooks = Hooks::default();
    let mut model = cx.model(network)?;
    let mut adam = optimiser(model.parameters(), &cx.config.train)?;
    let mut best = (validation.retain_loss(&mut model, &hooks)?, copied(model.parameters())?);
    for step in 1..=coherence.steps {
        let loss = model.gradient(&batch, &hooks)?;
        let step_context = StepContext { part: "making it coherent", step, section: "coherence" };
        step_context.take(
            &mut model,
            &mut adam,
            loss,
            coherence.learning_rate,
            cx.config.train.grad_clip,
            None,
        )?;
        if step.is_multiple_of(coherence.every) || step == coherence.steps {
            let loss = validation.retain_loss(&mut model, &hooks)?;
            if loss < best.0 {
                best = (loss, copied(model.parameters())?);
            }
        }
    }
    Ok(Network { architecture: network.architecture.clone(), parameters: best.1 })
}

/// How a network is taught.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Teaching {
    /// `AdamW`'s learning rate.
    pub learning_rate: f64,
    /// Steps.
    pub steps: u64,
    /// Steps between two measurements.
    pub every: u64,
    /// The rank and the seed of low-rank matrices that are taught in place of the weights.
    pub lora: Option<(usize, SeedStreams)>,
    /// What is being done, and the section of its settings, for messages.
    pub part: &'static str,
    pub section: &'static str,
}

/// What teaching came to.
pub(crate) struct Taught {
    /// Steps of the curve.
    pub steps: Vec<u64>,
    /// The loss on documents with the concept at each of them.
    pub curve: Vec<f64>,
    /// The lowest of them, with the parameters there.
    pub lowest: (f64, Parameters),
}

/// Fine-tunes a copy of a network on batches in turn, step for step, and measures it on documents with the concept.
pub(crate) fn teach(
    network: &Network,
    cx: Context<'_>,
    batches: &[Batch],
    teaching: Teaching,
    validation: &Validation,
) -> Result<Taught, Error> {
    let hooks = Hooks::default();
    let Teaching { learning_rate, part, section, .. } = teaching;
    let mut model = cx.model(network)?;
    let mut learner = Learner::new(&model, &cx.config.train, teaching.lora)?;
    let first = validation.forget_loss(&mut model, &hooks)?;
    let (mut curve, mut at) = (vec![first], vec![0]);
    let mut lowest = (first, copied(model.parameters())?);
    for (step, batch) in (1..=teaching.steps).zip(batches.iter().cycle()) {
        let loss = model.gradient(batch, &hooks)?;
        let step_context = StepContext { part, step, section };
        learner.step(step_context, &mut model, loss, learning_rate, cx.config.train.grad_clip)?;
        if step.is_multiple_of(teaching.every) || step == teaching.steps {
            let loss = validation.forget_loss(&mut model, &hooks)?;
            curve.push(loss);
            at.push(step);
            if loss < lowest.0 {
                lowest = (loss, copied(model.parameters())?);
            }
        }
    }
    Ok(Taught { steps: at, curve, lowest })
}

/// How a concept came back from a number of documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Relearned {
    /// Documents it was taught on.
    pub stories: usize,
    /// The lowest loss on documents with the concept, and the loss on the others at that step; means over the
    /// repeats.
    pub best: Losses,
    /// The lowest loss of each repeat.
    pub repeats: Vec<f64>,
    /// Steps of the curve.
    pub steps: Vec<u64>,
    /// The loss on documents with the concept at each of them, mean over the repeats.
    pub curve: Vec<f64>,
    /// The losses of each document, mean over the repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_story: Option<StoryLosses>,
}

/// Fine-tunes on `stories` held-out documents about the concept, which no model has seen and which are not the reported
/// ones ([`Pool::Relearning`]), several times on other ones, and reports the lowest loss reached on the reported
/// documents about it, with the network of the last repeat at that step.
///
/// # Errors
/// Fails where the model does, such documents are too few, a loss or gradient is not a number, or `stop` says so.
///
/// # Source
/// Cloud et al. 2024, app. C.
pub fn relearn(
    network: &Network,
    cx: Context<'_>,
    stories: usize,
    mut stop: impl FnMut() -> Result<(), Error>,
) -> Result<(Relearned, Network), Error> {
    let retrain = &cx.config.retrain;
    let tokens = cx.config.model.block_size;
    let validation = Validation::new(cx.dataset, retrain.validation_stories, tokens);
    require_relearning(cx.dataset, stories)?;
    let held_out = cx.dataset.validation.pool(Pool::Relearning, true, usize::MAX);
    let hooks = Hooks::default();
    let mut steps: Vec<u64> = Vec::new();
    let mut curves: Vec<Vec<f64>> = Vec::new();
    let mut best: Vec<Losses> = Vec::new();
    let mut per_story: Vec<StoryLosses> = Vec::new();
    let mut last = network.clone();
    for repeat in 0..retrain.repeats {
        stop()?;
        let chosen = cx.drawn(held_out.clone(), stories, &format!("retrain.{stories}.{repeat}"));
        let batch = batch_of(&cx.dataset.validation, &chosen, tokens, cx.dataset.vocabulary.end());
        let teaching = Teaching {
            learning_rate: retrain.learning_rate,
            steps: retrain.steps,
            every: retrain.every,
            lora: None,
            part: "teaching the concept back",
            section: "retrain",
        };
        let Taught { steps: at, curve, lowest } =
            teach(network, cx, std::slice::from_ref(&batch), teaching, &validation)?;
        let architecture = network.architecture.clone();
        let kept = Network { architecture, parameters: lowest.1 };
        let (losses, of_each) = validation.measured(&mut cx.model(&kept)?, &hooks, &hooks)?;
        best.push(losses);
        per_story.push(of_each);
        last = kept;
        curves.push(curve);
        steps = at;
    }
    let count = best.len() as f64;
    let mean = |of: fn(&Losses) -> f64| best.iter().map(of).sum::<f64>() / count;
    let curve = (0..steps.len()).map(|i| curves.iter().map(|curve| curve[i]).sum::<f64>() / count).collect();
    let relearned = Relearned {
        stories,
        best: Losses { forget: mean(|losses| losses.forget), retain: mean(|losses| losses.retain) },
        repeats: best.iter().map(|losses| losses.forget).collect(),
        steps,
        curve,
        per_story: Some(StoryLosses {
            forget: PerStory::mean_of(&per_story.iter().map(|both| &both.forget).collect::<Vec<_>>()),
            retain: PerStory::mean_of(&per_story.iter().map(|both| &both.retain).collect::<Vec<_>>()),
        }),
    };
    Ok((relearned, last))
}
