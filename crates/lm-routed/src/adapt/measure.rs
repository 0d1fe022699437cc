//! What is measured of a model: losses with every set of adapters, generated texts, and how fast the behaviour is
//! learned again once it is removed.

use pretrained::{Adapters, Choice, Gate, Gates, continued_many};
use serde::{Deserialize, Serialize};
use transformer::generate::Sampling;

use super::arm::{Arm, Profile, REST, lora};
use super::learner::Learner;
use super::model::Shared;
use super::streams::Kind;
use crate::Error;
use crate::data::Pool;
use crate::evaluate::Losses;
use crate::train::Order;

/// The adapter that is taught the behaviour again.
const AGAIN: &str = "again";

/// `parts/NAME.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmResult {
    /// The model.
    pub arm: Arm,
    /// The digest of the base's weights; empty in results of versions that did not note it.
    #[serde(default)]
    pub base: String,
    /// Numbers that its training moved.
    pub parameters: usize,
    /// The losses with each set of its adapters; of documents about the behaviour (`forget`) and of others.
    pub profiles: Vec<(Profile, Losses)>,
    /// How often generated texts show the behaviour.
    pub rates: Vec<Rate>,
    /// The behaviour learned again.
    pub relearned: Vec<Relearning>,
    /// Seconds of training and measuring; 0 in files of results, which have no clock.
    #[serde(default)]
    pub seconds: f64,
}

/// Generated texts of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// The adapters that were on.
    pub profile: Profile,
    /// Texts that show the behaviour.
    pub shown: usize,
    /// Texts in all.
    pub texts: usize,
    /// The first of them, without the prompt.
    pub example: String,
}

impl Rate {
    /// The share of the texts that show it.
    pub fn share(&self) -> f64 {
        self.shown as f64 / self.texts.max(1) as f64
    }
}

/// A fresh adapter, taught the behaviour on a number of documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Relearning {
    /// The documents.
    pub stories: usize,
    /// Which documents, where other ones were taken for each repeat.
    pub repeat: u64,
    /// The loss on held-out documents about the behaviour after some steps.
    pub curve: Vec<Taught>,
}

/// A point of the curve of relearning.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Taught {
    /// Steps.
    pub step: u64,
    /// The loss in nats per token.
    pub loss: f64,
}

/// Measures a model whose training is done. `tell` hears what is being done, and may stop it.
///
/// # Errors
/// Fails where the model does, or `tell` says so.
pub(super) fn measure(
    arm: Arm,
    adapters: &Adapters,
    shared: &Shared,
    tell: &mut dyn FnMut(&str) -> Result<(), Error>,
) -> Result<ArmResult, Error> {
    let parameters = if arm == Arm::Base { 0 } else { adapters.parameters().num_elements() };
    let mut result = ArmResult {
        arm,
        base: shared.digest.clone(),
        parameters,
        profiles: Vec::new(),
        rates: Vec::new(),
        relearned: Vec::new(),
        seconds: 0.0,
    };
    for profile in arm.profiles() {
        tell(&format!("losses with adapters: {}", profile.name()))?;
        let losses = shared.losses(adapters, &profile.gates(), shared.config.eval.stories)?;
        result.profiles.push((*profile, losses));
    }
    let mut spoken = vec![arm.trained(), arm.kept()];
    spoken.dedup();
    for profile in spoken {
        tell(&format!("texts with adapters: {}", profile.name()))?;
        result.rates.push(rate(profile, adapters, shared)?);
    }
    for stories in &shared.config.retrain.stories {
        for repeat in 0..shared.config.retrain.repeats {
            result.relearned.push(relearned(arm, adapters, shared, (*stories, repeat), tell)?);
        }
    }
    Ok(result)
}

fn rate(profile: Profile, adapters: &Adapters, shared: &Shared) -> Result<Rate, Error> {
    let (adapt, vocabulary) = (&shared.config.adapt, &shared.dataset.vocabulary);
    let prompt = vocabulary.encode(std::slice::from_ref(&adapt.prompt))?.remove(0);
    let prompt: Vec<u32> = std::iter::once(vocabulary.end()).chain(prompt).collect();
    let ends: Vec<u32> = std::iter::once(vocabulary.end()).chain(shared.base.ends.iter().copied()).collect();
    let choice = Choice::Drawn(Sampling { temperature: adapt.temperature, top_k: adapt.top_k });
    // the same draws for every model
    let mut rng = shared.streams.stream("generate");
    let (size, gates) = ((adapt.samples, adapt.sample_tokens), profile.gates());
    let with = Some((adapters, &gates));
    let texts = continued_many(&shared.base.decoder, &prompt, size, &ends, choice, with, &mut rng)?;
    let texts = texts.iter().map(|text| vocabulary.decode(text)).collect::<Result<Vec<String>, _>>()?;
    let shown = texts.iter().filter(|text| shared.pattern.is_match(text)).count();
    let example = texts.first().cloned().unwrap_or_default();
    Ok(Rate { profile, shown, texts: texts.len(), example })
}

/// Teaches the behaviour to a fresh adapter beside what is kept of a model, which stays as it is.
fn relearned(
    arm: Arm,
    adapters: &Adapters,
    shared: &Shared,
    (stories, repeat): (usize, u64),
    tell: &mut dyn FnMut(&str) -> Result<(), Error>,
) -> Result<Relearning, Error> {
    let (config, retrain) = (&shared.config, &shared.config.retrain);
    let shape = shared.base.decoder.shape();
    let fresh = [REST, AGAIN].map(|name| lora(name, config, shape));
    let fresh = fresh.into_iter().collect::<Result<Vec<_>, _>>()?;
    let stream = format!("relearn.{stories}.{repeat}");
    let again = Adapters::new(fresh, shape, &mut shared.streams.stream(&stream))?;
    for (name, var) in adapters.parameters().iter().filter(|(name, _)| is_of(name, REST)) {
        again.parameters().get(name)?.set(var.as_tensor())?;
    }
    let gates = |gradient: f32| -> Gates {
        let rest = match arm.kept() {
            Profile::None => Gate::Off,
            _ => Gate::All { forward: 1.0, gradient: 0.0 },
        };
        [(REST.to_owned(), rest), (AGAIN.to_owned(), Gate::All { forward: 1.0, gradient })].into()
    };
    let mut documents = shared.dataset.validation.pool(Pool::Relearning, true, usize::MAX);
    let first = (repeat as usize * stories) % documents.len().max(1);
    documents.rotate_left(first);
    documents.truncate(stories);
    let order = Order::new(documents, shared.streams);
    let mut learner = Learner::new(arm.name(), "retrain", again, (Kind::Validation, order), shared)?;
    let mut curve = Vec::new();
    for step in 0..=retrain.steps {
        if step.is_multiple_of(retrain.every) || step == retrain.steps {
            tell(&format!("taught again on {stories} documents: step {step}"))?;
            let most = retrain.validation_stories;
            let loss = shared.loss(&learner.adapters, &gates(0.0), true, most)?;
            curve.push(Taught { step, loss });
        }
        if step < retrain.steps {
            learner.train_step(shared, |_| gates(1.0), retrain.learning_rate)?;
        }
    }
    Ok(Relearning { stories, repeat, curve })
}

/// Whether a variable is of an adapter.
pub(super) fn is_of(variable: &str, adapter: &str) -> bool {
    variable.split('.').next() == Some(adapter)
}
