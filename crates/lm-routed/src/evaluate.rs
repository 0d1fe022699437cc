//! The loss on documents with the concept and without.

use serde::{Deserialize, Serialize};
use transformer::{Batch, Hooks, Model};

use crate::Error;
use crate::data::{Dataset, Documents, Pool};
use crate::per_story::{PerStory, StoryLosses};
use crate::train::batch_of;

/// Sequences that are measured at a time.
const AT_A_TIME: usize = 32;

/// The name of the metric of a model's loss on documents of a kind while it is trained.
pub(crate) fn eval_metric(model: &str, kind: &str) -> String {
    format!("{model}/eval/{kind}")
}

/// Mean cross-entropy per token, in nats, on validation documents of both kinds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    /// On documents about the concept.
    pub forget: f64,
    /// On all others.
    pub retain: f64,
}

/// Validation documents of both kinds, made ready.
pub struct Validation {
    forget: Vec<Batch>,
    retain: Vec<Batch>,
}

impl Validation {
    /// The first `stories` reported documents of each kind, cut to `tokens` tokens.
    pub fn new(dataset: &Dataset, stories: usize, tokens: usize) -> Self {
        Self::of_pool(dataset, Pool::Reported, stories, tokens)
    }

    /// The first `stories` documents of each kind that a pool has, cut to `tokens` tokens.
    pub fn of_pool(dataset: &Dataset, pool: Pool, stories: usize, tokens: usize) -> Self {
        let of = |forget: bool| {
            let chosen = dataset.validation.pool(pool, forget, stories);
            batches(&dataset.validation, &chosen, tokens, dataset.vocabulary.end())
        };
        Self { forget: of(true), retain: of(false) }
    }

    /// How many documents are about the concept, and how many are not: fewer than were asked for where there are no more.
    pub fn stories(&self) -> [usize; 2] {
        [&self.forget, &self.retain].map(|batches| batches.iter().map(Batch::sequences).sum())
    }

    /// The losses of a model.
    ///
    /// # Errors
    /// Fails where the model does.
    pub fn losses(&self, model: &mut Model, hooks: &Hooks) -> Result<Losses, Error> {
        Ok(self.measured(model, hooks, hooks)?.0)
    }

    /// The losses of a model that takes documents about the concept with the hooks `forget` and the others with
    /// `retain`, and those of each document.
    ///
    /// # Errors
    /// Fails where the model does.
    pub fn measured(
        &self,
        model: &mut Model,
        forget: &Hooks,
        retain: &Hooks,
    ) -> Result<(Losses, StoryLosses), Error> {
        let (forget, forget_stories) = mean(model, &self.forget, forget)?;
        let (retain, retain_stories) = mean(model, &self.retain, retain)?;
        Ok((Losses { forget, retain }, StoryLosses { forget: forget_stories, retain: retain_stories }))
    }

    /// The losses that `losses` gives of every target of a batch, and those of each document.
    ///
    /// # Errors
    /// Fails where that does.
    pub(crate) fn measured_by(
        &self,
        mut losses: impl FnMut(&Batch) -> Result<Vec<f32>, Error>,
    ) -> Result<(Losses, StoryLosses), Error> {
        let (forget, forget_stories) = mean_by(&self.forget, &mut losses)?;
        let (retain, retain_stories) = mean_by(&self.retain, &mut losses)?;
        Ok((Losses { forget, retain }, StoryLosses { forget: forget_stories, retain: retain_stories }))
    }

    /// The loss on documents about the concept alone.
    ///
    /// # Errors
    /// Fails where the model does.
    pub fn forget_loss(&self, model: &mut Model, hooks: &Hooks) -> Result<f64, Error> {
        Ok(mean(model, &self.forget, hooks)?.0)
    }

    /// The loss on the other documents alone.
    ///
    /// # Errors
    /// Fails where the model does.
    pub fn retain_loss(&self, model: &mut Model, hooks: &Hooks) -> Result<f64, Error> {
        Ok(mean(model, &self.retain, hooks)?.0)
    }

    /// The mean losses over the targets for which `take` says so.
    ///
    /// # Errors
    /// Fails where the model does.
    pub fn losses_of(
        &self,
        model: &mut Model,
        hooks: &Hooks,
        take: impl Fn(u32) -> bool,
    ) -> Result<Losses, Error> {
        let mut mean = |batches: &[Batch]| -> Result<f64, Error> {
            let (mut sum, mut count) = (0.0, 0.0);
            for batch in batches {
                let losses = model.token_losses(batch, hooks)?;
                for ((loss, weight), target) in losses.iter().zip(&batch.weights).zip(&batch.targets) {
                    if *weight > 0.0 && take(*target) {
                        sum += f64::from(*loss);
                        count += 1.0;
                    }
                }
            }
            Ok(sum / f64::max(count, 1.0))
        };
        Ok(Losses { forget: mean(&self.forget)?, retain: mean(&self.retain)? })
    }

    /// The mean probability of a token at every position of the documents about the concept, and of the others.
    ///
    /// # Errors
    /// Fails where the model does.
    pub fn probability(&self, model: &mut Model, hooks: &Hooks, token: u32) -> Result<Losses, Error> {
        let mut mean = |batches: &[Batch]| -> Result<f64, Error> {
            let (mut sum, mut count) = (0.0, 0.0);
            for batch in batches {
                let mut asked = batch.clone();
                asked.targets.fill(token);
                let losses = model.token_losses(&asked, hooks)?;
                let each = losses.iter().zip(&batch.weights);
                sum += each.map(|(l, w)| f64::from(-l).exp() * f64::from(*w)).sum::<f64>();
                count += batch.total_weight();
            }
            Ok(sum / f64::max(count, 1.0))
        };
        Ok(Losses { forget: mean(&self.forget)?, retain: mean(&self.retain)? })
    }
}

/// Documents in batches.
pub(crate) fn batches(documents: &Documents, chosen: &[usize], tokens: usize, end: u32) -> Vec<Batch> {
    batches_of(AT_A_TIME, documents, chosen, tokens, end)
}

/// Documents in batches of at most `size`.
pub(crate) fn batches_of(
    size: usize,
    documents: &Documents,
    chosen: &[usize],
    tokens: usize,
    end: u32,
) -> Vec<Batch> {
    chosen.chunks(size).map(|chosen| batch_of(documents, chosen, tokens, end)).collect()
}

/// The mean over all targets of the batches, and over those of each document.
pub(crate) fn mean(model: &mut Model, batches: &[Batch], hooks: &Hooks) -> Result<(f64, PerStory), Error> {
    mean_by(batches, &mut |batch| Ok(model.token_losses(batch, hooks)?))
}

/// As [`mean`], of the losses that `losses` gives of every target of a batch.
fn mean_by(
    batches: &[Batch],
    losses: &mut impl FnMut(&Batch) -> Result<Vec<f32>, Error>,
) -> Result<(f64, PerStory), Error> {
    let (mut sum, mut count) = (0.0, 0.0);
    let mut stories = PerStory::default();
    for batch in batches {
        let losses = losses(batch)?;
        sum += losses.iter().zip(&batch.weights).map(|(l, w)| f64::from(*l) * f64::from(*w)).sum::<f64>();
        count += batch.total_weight();
        for (losses, weights) in losses.chunks(batch.tokens).zip(batch.weights.chunks(batch.tokens)) {
            let counted = losses.iter().zip(weights).filter(|(_, weight)| **weight > 0.0);
            let (tokens, sum) = counted.fold((0, 0.0), |(n, sum), (loss, _)| (n + 1, sum + f64::from(*loss)));
            stories.add(tokens, sum);
        }
    }
    Ok((sum / f64::max(count, 1.0), stories))
}
