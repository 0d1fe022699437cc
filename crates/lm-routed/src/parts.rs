//! The parts of an experiment, one after another: each trains a model, and then does with it what the experiment
//! is about.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use candle_core::Device;
use experiment::driver::{BuildContext, Due, Position, Report, ResumePoint, Stage, State, Training};
use experiment::{RunFolder, SeedStreams};
use rayon::ThreadPool;
use serde::{Deserialize, Serialize};
use transformer::{Hooks, Network, copied};

use crate::Error;
use crate::checkpoint::{load_network, save_network};
use crate::config::{Config, Experiment};
use crate::data::Dataset;
use crate::evaluate::{Validation, eval_metric};
use crate::finetune::Context;
use crate::methods::{Filtered, Method, Part, Recipe, Start, core_filtered_of};
use crate::train::Trainer;
use crate::{localise, modules, pipeline, steer};

/// What all parts share.
pub(crate) struct Shared {
    /// The threads that everything is computed on.
    pub pool: Arc<ThreadPool>,
    /// The texts.
    pub dataset: Arc<Dataset>,
    /// The tokens of `virology`.
    pub listed: Vec<u32>,
}

/// The parts of an experiment, of which one is in training.
pub struct Parts {
    config: Arc<Config>,
    shared: Shared,
    streams: SeedStreams,
    threads: usize,
    device: Device,
    validation: Validation,
    all: Vec<Part>,
    /// Parts that are done.
    done: usize,
    /// The model of the next one, if its training has begun.
    trainer: Option<Trainer>,
    /// When this process took up that part.
    began: Instant,
}

impl Parts {
    /// All parts, of which none has begun.
    pub(crate) fn new(config: &Config, cx: &BuildContext<'_>, shared: Shared) -> Self {
        Self {
            validation: Validation::new(&shared.dataset, config.eval.stories, config.model.block_size),
            config: Arc::new(config.clone()),
            shared,
            streams: SeedStreams::new(cx.seed),
            threads: cx.lanes,
            device: cx.device.clone(),
            all: Part::all(config),
            done: 0,
            trainer: None,
            began: Instant::now(),
        }
    }

    /// The settings.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Updates and tokens of all parts.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let updates = self.updates_of(&self.all);
        (updates, updates * self.tokens_per_step())
    }

    /// Takes the first `done` parts as done.
    pub(crate) fn skip(&mut self, done: usize) {
        self.done = done;
    }

    /// Goes on with the part in training from a checkpoint, unless that is of another part, which is done.
    pub(crate) fn load(&mut self, checkpoint: &ResumePoint) -> Result<()> {
        let part = part_of(checkpoint, &self.config)?;
        if self.part().as_ref() == Some(&part) {
            let mut trainer = self.trainer_of(&part)?;
            let TrainingHeader { step, .. } = checkpoint.header()?;
            trainer.load_state(&checkpoint.tensors, step, &checkpoint.origin())?;
            self.trainer = Some(trainer);
        }
        Ok(())
    }

    /// The part in hand; nothing where all are done.
    fn part(&self) -> Option<Part> {
        self.all.get(self.done).cloned()
    }

    /// Steps of the part in hand.
    fn step(&self) -> u64 {
        self.trainer.as_ref().map_or(0, Trainer::step)
    }

    fn updates_of(&self, parts: &[Part]) -> u64 {
        parts.iter().map(|part| part.steps(&self.config)).sum()
    }

    fn tokens_per_step(&self) -> u64 {
        (self.config.train.batch_size * self.config.model.block_size) as u64
    }

    fn cx(&self) -> Context<'_> {
        let Self { config, shared, streams, threads, .. } = self;
        Context { config, dataset: &shared.dataset, streams: *streams, threads: *threads }
    }

    fn recipe_of(&self, part: &Part) -> Result<Recipe, Error> {
        let Shared { dataset, listed, .. } = &self.shared;
        Recipe::new(&self.config, part, dataset, self.streams, listed)
    }

    fn trainer_of(&self, part: &Part) -> Result<Trainer> {
        let recipe = self.recipe_of(part).map_err(Error::for_user)?;
        let (config, dataset) = (&self.config, &self.shared.dataset);
        Ok(Trainer::new(config, dataset, part.clone(), recipe, self.streams, self.threads, &self.device)?)
    }

    /// Finishes parts whose training is done and begins the next, up to one that has a step to make.
    fn advance(&mut self, stage: &mut Stage<'_>) -> Result<()> {
        while let Some(part) = self.part() {
            let steps = part.steps(&self.config);
            if self.trainer.is_none() && steps > 0 {
                self.trainer = Some(self.trainer_of(&part)?);
            }
            if self.step() < steps {
                break;
            }
            self.complete(&part, stage)?;
            (self.trainer, self.began) = (None, Instant::now());
            self.done += 1;
        }
        Ok(())
    }

    /// Does what follows on the training of a part.
    fn complete(&self, part: &Part, stage: &mut Stage<'_>) -> Result<()> {
        let (name, folder) = (part.name(), stage.folder());
        let at = self.updates_of(&self.all[..=self.done]) * self.tokens_per_step();
        let tell = |what: &str| {
            stage.say(at, &format!("{name}: {what}"));
            if stage.stop_requested() { Err(Error::Interrupted) } else { Ok(()) }
        };
        match self.leave_result(part, folder, tell) {
            Err(Error::Interrupted) => Err(stage.interrupted(&format!("the training of {name}")).into()),
            Err(error) => Err(error.for_user()),
            Ok(()) => Ok(()),
        }
    }

    /// Saves the model of a part and, last of all, its result: a part that has one is done.
    fn leave_result(
        &self,
        part: &Part,
        folder: &RunFolder,
        mut tell: impl FnMut(&str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let model = model_path(folder, &part.name());
        let result = format!("parts/{}.json", part.name());
        if let Start::Branches { from } = part.method.start {
            let (recipe, filtered) = (self.recipe_of(part)?, core_filtered_of(&self.config));
            let method = Method::named(from.name).unwrap_or(part.method);
            let core = Part { method, filtered: filtered.map(Filtered::named), labelled: part.labelled };
            let core = load_network(&model_path(folder, &core.name()), &recipe.base, &self.device)?;
            let measured = modules::measure_branches(part, &core, &recipe.concepts, self.cx(), tell)?;
            let (mut found, network) = measured;
            found.seconds = self.began.elapsed().as_secs_f64();
            folder.require_held()?;
            save_network(&network, &model)?;
            return Ok(folder.write_json(&result, &found)?);
        }
        let (trained, recipe) = self.trained(part, folder, &mut tell)?;
        folder.require_held()?;
        // with it and nothing else, a model can be used
        folder.write_text(TOKENIZER, &self.shared.dataset.vocabulary.to_json()?)?;
        match self.config.experiment.kind {
            Experiment::Era => {
                let (mut found, kept) = pipeline::after_training(part, &recipe, &trained, self.cx(), tell)?;
                found.seconds = self.began.elapsed().as_secs_f64();
                folder.require_held()?;
                save_network(&kept, &model)?;
                folder.write_json(&result, &found)?;
            }
            Experiment::Steer => {
                save_network(&trained, &model)?;
                folder.write_json(&result, &steer::measure(&trained, self.cx(), tell)?)?;
            }
            Experiment::Virology => {
                save_network(&trained, &model)?;
                let found = localise::measure(&trained, self.cx(), &self.shared.listed, tell)?;
                folder.write_json(&result, &found)?;
            }
            Experiment::Adapt => {
                return Err(Error::State("`adapt` trains no part of this kind".to_owned()));
            }
            Experiment::Modules => {
                save_network(&trained, &model)?;
                let mut found = modules::measure(part, &recipe, &trained, self.cx(), tell)?;
                found.seconds = self.began.elapsed().as_secs_f64();
                folder.write_json(&result, &found)?;
            }
        }
        Ok(())
    }

    /// The network that the steps of a part have made, or what its method makes of another one's.
    fn trained(
        &self,
        part: &Part,
        folder: &RunFolder,
        tell: &mut impl FnMut(&str) -> Result<(), Error>,
    ) -> Result<(Network, Recipe), Error> {
        if let Some(trainer) = &self.trainer {
            let recipe = trainer.recipe().clone();
            let (architecture, parameters) = (recipe.expanded.clone(), copied(trainer.model.parameters())?);
            return Ok((Network { architecture, parameters }, recipe));
        }
        let recipe = self.recipe_of(part)?;
        let Start::Changed { from, change } = part.method.start else {
            return Err(Error::State(format!("{} has not been trained", part.name())));
        };
        let before = load_network(&model_path(folder, from.files), &recipe.base, &self.device)?;
        let network = change(&before, &recipe.labels, self.cx(), &mut |step| tell(&format!("step {step}")))?;
        Ok((network, recipe))
    }
}

/// The file of a run folder with the vocabulary of its models.
pub(crate) const TOKENIZER: &str = "models/tokenizer.json";

/// Counts up where what a run trains on, labels or measures on changes, so that no run goes on under another
/// procedure than it began with.
const PROCEDURE: u32 = 1;

/// Refuses a checkpoint of another procedure.
fn require_procedure(found: u32, origin: &str) -> Result<(), Error> {
    if found == PROCEDURE {
        return Ok(());
    }
    Err(Error::State(format!(
        "{origin} was taken under another procedure: which stories are labelled, held out and reported has changed; \
         start the run again in a new folder"
    )))
}

/// What the header of a checkpoint says of the part in training.
#[derive(Debug, Serialize, Deserialize)]
struct TrainingHeader {
    /// Under which procedure; 0 where the checkpoint does not say.
    #[serde(default)]
    procedure: u32,
    part: String,
    step: u64,
}

/// The part of an experiment that a checkpoint was taken in.
///
/// # Errors
/// Fails where it is of another procedure, or no run of these settings comes past its update.
pub(crate) fn part_of(checkpoint: &ResumePoint, config: &Config) -> Result<Part> {
    let TrainingHeader { procedure, part, step } = checkpoint.header()?;
    require_procedure(procedure, &checkpoint.origin())?;
    find_part(&Part::all(config), config, checkpoint.update, &part, step).ok_or_else(|| {
        let place = format!("update {} is not step {step} of the part `{part}`", checkpoint.update);
        Error::State(format!("{} stands nowhere in this run: {place}", checkpoint.origin())).into()
    })
}

/// The part `name`, if a run of these parts makes its update number `update` at step `step` of it.
fn find_part(parts: &[Part], config: &Config, update: u64, name: &str, step: u64) -> Option<Part> {
    let index = parts.iter().position(|part| part.name() == name)?;
    let before: u64 = parts[..index].iter().map(|part| part.steps(config)).sum();
    let there = step <= parts[index].steps(config) && update == before + step;
    there.then(|| parts[index].clone())
}

fn model_path(folder: &RunFolder, name: &str) -> PathBuf {
    folder.path().join("models").join(format!("{name}.safetensors"))
}

impl Training for Parts {
    fn position(&self) -> Position {
        let (updates_total, steps_total) = self.totals();
        let update = self.updates_of(&self.all[..self.done]) + self.step();
        Position { update, updates_total, step: update * self.tokens_per_step(), steps_total }
    }

    fn update(&mut self) -> Result<Report> {
        let trainer = self.trainer.as_mut().context("no part is in training")?;
        let name = trainer.part().name();
        let report = self.shared.pool.install(|| trainer.train_step())?;
        let values = vec![
            (format!("{name}/losses/train"), report.loss),
            (format!("{name}/losses/l1"), report.penalty),
            (format!("{name}/charts/grad_norm"), report.norm),
            (format!("{name}/charts/learning_rate"), report.learning_rate),
        ];
        // a part that has just begun has no score yet
        let message = (trainer.step() == 1).then_some(name);
        Ok(Report { values, message })
    }

    fn evaluate(&mut self) -> Result<Report> {
        let trainer = self.trainer.as_mut().context("no part is in training")?;
        let name = trainer.part().name();
        let (validation, model) = (&self.validation, &mut trainer.model);
        let losses = self.shared.pool.install(|| validation.losses(model, &Hooks::default()))?;
        let mut values = vec![
            (eval_metric(&name, "forget"), losses.forget),
            (eval_metric(&name, "retain"), losses.retain),
        ];
        if self.config.eval.by_concept && self.config.experiment.kind == Experiment::Modules {
            let (kinds, dataset) = (modules::kinds(&self.config, &self.shared.dataset), &self.shared.dataset);
            let each =
                self.shared.pool.install(|| modules::losses(model, &kinds, dataset, &Hooks::default()))?;
            values.extend(each.into_iter().map(|of| (eval_metric(&name, &of.kind), of.loss)));
        }
        let message = format!("{name} forget {:.3} retain {:.3}", losses.forget, losses.retain);
        Ok(Report { values, message: Some(message) })
    }

    /// Both are counted in the steps of a part, whose last one has both.
    fn due(&self, what: Due) -> bool {
        let every = match what {
            Due::Evaluation => self.config.eval.every,
            Due::Checkpoint => self.config.checkpoint.every,
        };
        let last = self.part().map(|part| part.steps(&self.config));
        let step = self.step();
        step > 0 && (step.is_multiple_of(every) || Some(step) == last)
    }

    fn state(&self) -> Result<State> {
        let trainer = self.trainer.as_ref().context("no part is in training")?;
        let header =
            TrainingHeader { procedure: PROCEDURE, part: trainer.part().name(), step: trainer.step() };
        Ok(State { header: serde_json::to_value(header)?, tensors: trainer.state()? })
    }

    fn between_updates(&mut self, stage: &mut Stage<'_>) -> Result<()> {
        let pool = Arc::clone(&self.shared.pool);
        pool.install(|| self.advance(stage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_of_another_procedure_is_refused() {
        let old: TrainingHeader = serde_json::from_str(r#"{"part": "era", "step": 3}"#).unwrap();
        let error = require_procedure(old.procedure, "the test").unwrap_err().to_string();
        assert!(error.contains("the test was taken under another procedure"), "{error}");
        assert!(require_procedure(PROCEDURE, "the test").is_ok());
    }

    #[test]
    fn a_checkpoint_stands_at_a_step_of_a_part() {
        let mut config = Config::default();
        config.train.steps = 10;
        let parts = Part::all(&config);
        let comes_past = |update, name, step| find_part(&parts, &config, update, name, step).is_some();
        for (update, name, step) in [(0, "base", 0), (10, "base", 10), (10, "era", 0), (13, "era", 3)] {
            assert!(comes_past(update, name, step), "{update} {name} {step}");
        }
        for (update, name, step) in
            [(11, "base", 11), (3, "era", 3), (13, "era", 2), (3, "rmu", 3), (u64::MAX, "era", u64::MAX)]
        {
            assert!(!comes_past(update, name, step), "{update} {name} {step}");
        }
    }
}
