//! The models of an adaptation, one after another: each is trained, then measured.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use experiment::driver::{Due, Position, Report, ResumePoint, Stage, State, Training};
use experiment::{Checkpoint, RunFolder};
use pretrained::Adapters;
use rayon::ThreadPool;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::arm::{Arm, Weights};
use super::learner::Learner;
use super::measure::{ArmResult, measure};
use super::model::Shared;
use super::streams::Kind;
use crate::Error;
use crate::evaluate::eval_metric;
use crate::train::{Order, cosine};

/// An adaptation in training.
pub struct Adapting {
    shared: Shared,
    pool: Arc<ThreadPool>,
    arms: Vec<Arm>,
    /// Models that are done.
    done: usize,
    /// The adapters of the next one, if their training has begun.
    learner: Option<Learner>,
    /// When this process took up that model.
    began: Instant,
}

/// What the header of a checkpoint says of the model in training.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    part: String,
    step: u64,
    /// The digest of the base's weights; empty in checkpoints of versions that did not note it.
    #[serde(default)]
    base: String,
}

impl Adapting {
    /// All models, of which the first `done` are.
    pub(super) fn new(shared: Shared, pool: Arc<ThreadPool>, done: usize) -> Self {
        let arms = Arm::of(&shared.config);
        Self { shared, pool, arms, done, learner: None, began: Instant::now() }
    }

    /// Goes on with the model in training from a checkpoint, unless that is of another one, which is done.
    ///
    /// # Errors
    /// Fails where no run of these settings comes past it.
    pub(super) fn load(&mut self, checkpoint: &ResumePoint) -> Result<()> {
        let Header { part, step, base } = checkpoint.header()?;
        self.shared.require_same_base(&base)?;
        let index = self.arms.iter().position(|arm| arm.name() == part);
        let before = |index: usize| self.arms[..index].iter().map(|arm| arm.steps(&self.shared.config)).sum();
        let fits = |index: usize| {
            let steps: u64 = before(index);
            step <= self.arms[index].steps(&self.shared.config) && checkpoint.update == steps + step
        };
        let Some(index) = index.filter(|index| fits(*index)) else {
            let place = format!("update {} is not step {step} of `{part}`", checkpoint.update);
            let fault = format!("{} stands nowhere in this run: {place}", checkpoint.origin());
            return Err(Error::State(fault).into());
        };
        if index == self.done {
            let mut learner = self.learner_of(self.arms[index])?;
            let [adapters, adam] = ["adapters.", "adam."].map(|prefix| checkpoint.tensors_under(prefix));
            learner.load_state([&adapters, &adam], step, &checkpoint.origin())?;
            self.learner = Some(learner);
        }
        Ok(())
    }

    /// What all models share.
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Updates and tokens of all models.
    pub(super) fn totals(&self) -> (u64, u64) {
        let updates = self.updates_of(self.arms.len());
        (updates, updates * self.tokens_per_step())
    }

    fn updates_of(&self, arms: usize) -> u64 {
        self.arms[..arms].iter().map(|arm| arm.steps(&self.shared.config)).sum()
    }

    fn tokens_per_step(&self) -> u64 {
        (self.shared.config.train.batch_size * self.shared.config.model.block_size) as u64
    }

    fn step(&self) -> u64 {
        self.learner.as_ref().map_or(0, Learner::step)
    }

    fn adapters_of(&self, arm: Arm) -> Result<Adapters, Error> {
        let Shared { config, base, streams, .. } = &self.shared;
        arm.adapters(config, base.decoder.shape(), *streams)
    }

    fn learner_of(&self, arm: Arm) -> Result<Learner, Error> {
        let shared = &self.shared;
        let documents = shared.training((arm == Arm::Filtered).then_some(false));
        let order = Order::new(documents, shared.streams);
        let adapters = self.adapters_of(arm)?;
        let learner = Learner::new(arm.name(), "train", adapters, (Kind::Train, order), shared)?;
        Ok(learner.with_split_moments(shared.config.adapt.split_moments && arm == Arm::Routed))
    }

    /// Finishes models whose training is done and begins the next, up to one that has a step to make.
    fn advance(&mut self, stage: &mut Stage<'_>) -> Result<()> {
        while let Some(arm) = self.arms.get(self.done).copied() {
            let steps = arm.steps(&self.shared.config);
            if self.learner.is_none() && steps > 0 {
                self.learner = Some(self.learner_of(arm)?);
            }
            if self.step() < steps {
                break;
            }
            self.complete(arm, stage)?;
            (self.learner, self.began) = (None, Instant::now());
            self.done += 1;
        }
        Ok(())
    }

    /// Measures a model, leaves its adapters and, last of all, its result: one that has a result is done.
    fn complete(&self, arm: Arm, stage: &mut Stage<'_>) -> Result<()> {
        let at = self.updates_of(self.done + 1) * self.tokens_per_step();
        let folder = stage.folder();
        let mut tell = |what: &str| {
            stage.say(at, &format!("{}: {what}", arm.name()));
            if stage.stop_requested() { Err(Error::Interrupted) } else { Ok(()) }
        };
        let untrained;
        let adapters = if let Some(learner) = &self.learner {
            &learner.adapters
        } else {
            untrained = self.adapters_of(arm)?;
            &untrained
        };
        match measure(arm, adapters, &self.shared, &mut tell) {
            Err(Error::Interrupted) => {
                Err(stage.interrupted(&format!("the training of {}", arm.name())).into())
            }
            Err(error) => Err(error.for_user()),
            Ok(found) => self.leave(arm, adapters, found, folder),
        }
    }

    fn leave(&self, arm: Arm, adapters: &Adapters, mut found: ArmResult, folder: &RunFolder) -> Result<()> {
        found.seconds = self.began.elapsed().as_secs_f64();
        folder.require_held()?;
        if arm != Arm::Base {
            let header = json!({ "program": "lm-routed", "arm": arm, "adapt": self.shared.config.adapt });
            let checkpoint = Checkpoint { header, tensors: adapters.parameters().snapshot()? };
            checkpoint.save(&folder.path().join("adapters").join(format!("{}.safetensors", arm.name())))?;
        }
        Ok(folder.write_json(&format!("parts/{}.json", arm.name()), &found)?)
    }
}

impl Training for Adapting {
    fn position(&self) -> Position {
        let (updates_total, steps_total) = self.totals();
        let update = self.updates_of(self.done) + self.step();
        Position { update, updates_total, step: update * self.tokens_per_step(), steps_total }
    }

    fn update(&mut self) -> Result<Report> {
        let arm = *self.arms.get(self.done).context("no model is in training")?;
        let learner = self.learner.as_mut().context("no model is in training")?;
        let shared = &self.shared;
        let train = &shared.config.train;
        let (top, bottom) = (train.learning_rate, train.min_learning_rate);
        let rate = cosine(learner.step(), train.steps, train.warmup_steps, top, bottom);
        let labelled = |chosen: &[usize]| -> Vec<bool> {
            chosen.iter().map(|document| shared.labels[*document]).collect()
        };
        let tokens = shared.config.model.block_size;
        let gates = |chosen: &[usize]| arm.gates(&shared.config, &labelled(chosen), tokens);
        let report = self.pool.install(|| learner.train_step(shared, gates, rate))?;
        let name = arm.name();
        let values = vec![
            (format!("{name}/losses/train"), report.loss),
            (format!("{name}/charts/grad_norm"), report.norm),
            (format!("{name}/charts/learning_rate"), report.learning_rate),
        ];
        // a model that has just begun has no score yet
        let message = (learner.step() == 1).then(|| name.to_owned());
        Ok(Report { values, message })
    }

    fn evaluate(&mut self) -> Result<Report> {
        let arm = *self.arms.get(self.done).context("no model is in training")?;
        let learner = self.learner.as_ref().context("no model is in training")?;
        let (shared, gates) = (&self.shared, arm.trained().gates());
        let most = shared.config.retrain.validation_stories;
        let losses = self.pool.install(|| shared.losses(&learner.adapters, &gates, most))?;
        let name = arm.name();
        let values = vec![
            (eval_metric(name, "behaviour"), losses.forget),
            (eval_metric(name, "other"), losses.retain),
        ];
        let message = format!("{name} behaviour {:.3} other {:.3}", losses.forget, losses.retain);
        Ok(Report { values, message: Some(message) })
    }

    /// Both are counted in the steps of a model, whose last one has both.
    fn due(&self, what: Due) -> bool {
        let config = &self.shared.config;
        let every = match what {
            Due::Evaluation => config.eval.every,
            Due::Checkpoint => config.checkpoint.every,
        };
        let last = self.arms.get(self.done).map(|arm| arm.steps(config));
        let step = self.step();
        step > 0 && (step.is_multiple_of(every) || Some(step) == last)
    }

    fn state(&self) -> Result<State> {
        let arm = self.arms.get(self.done).context("no model is in training")?;
        let learner = self.learner.as_ref().context("no model is in training")?;
        let base = self.shared.digest.clone();
        let header = Header { part: arm.name().to_owned(), step: learner.step(), base };
        Ok(State { header: serde_json::to_value(header)?, tensors: learner.state()? })
    }

    fn between_updates(&mut self, stage: &mut Stage<'_>) -> Result<()> {
        let pool = Arc::clone(&self.pool);
        pool.install(|| self.advance(stage))
    }
}

/// The weights of each model's adapters for `manifest.json`.
pub(super) fn routes(arm: Arm, config: &crate::config::Config) -> serde_json::Value {
    let of = |labelled| {
        let [behaviour, rest]: [Weights; 2] = arm.weights(config, labelled);
        json!({ "behaviour": behaviour, "rest": rest })
    };
    json!({ "labelled": of(true), "other": of(false) })
}
