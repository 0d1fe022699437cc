//! A process at work on a run: part after part, from the newest checkpoint to the report.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};
use candle_core::Device;
use experiment::{
    CheckpointStore, Interrupt, Manifest, MetricsWriter, RunFolder, SeedStreams, UserError, read_metrics,
    write_csv,
};

use transformer::{Hooks, Network, copied};

use crate::Error;
use crate::checkpoint::{Header, ResumePoint, checkpoint, load_network, save_network};
use crate::config::{Config, Experiment};
use crate::data::Dataset;
use crate::evaluate::Validation;
use crate::finetune::Context;
use crate::methods::{Method, Part, Recipe, rmu};
use crate::progress::Bar;
use crate::train::Trainer;
use crate::{localise, pipeline, report, steer};

/// A process at work on a run.
pub(crate) struct Session {
    pub(crate) folder: RunFolder,
    pub(crate) config: Config,
    pub(crate) manifest: Manifest,
    pub(crate) metrics: MetricsWriter,
    pub(crate) store: CheckpointStore,
    pub(crate) interrupt: Interrupt,
    pub(crate) dataset: Dataset,
    /// The tokens of `virology`.
    pub(crate) listed: Vec<u32>,
    pub(crate) streams: SeedStreams,
    pub(crate) device: Device,
    pub(crate) threads: usize,
    pub(crate) csv: bool,
    pub(crate) seconds_before: f64,
    pub(crate) started: Instant,
    /// The checkpoint to go on from.
    pub(crate) found: Option<ResumePoint>,
}

/// Where a part stands among all updates and tokens.
#[derive(Clone, Copy)]
struct Place {
    updates_before: u64,
    total_tokens: u64,
}

impl Session {
    /// Runs all parts that have no result yet and returns the text for the user.
    pub(crate) fn go_on(&mut self, bar: &mut Bar) -> Result<String> {
        let parts = Part::all(&self.config);
        let total_tokens =
            parts.iter().map(|part| part.steps(&self.config)).sum::<u64>() * self.tokens_per_step();
        let mut place = Place { updates_before: 0, total_tokens };
        let begin = self.found.as_ref().map_or(0, |found| found.header.update) * self.tokens_per_step();
        bar.begin(begin, total_tokens);
        for part in parts {
            let steps = part.steps(&self.config);
            if !self.part_path(part).exists() {
                self.run_part(part, place, bar)?;
            }
            place.updates_before += steps;
        }
        bar.end();
        self.finish(place.updates_before)
    }

    fn tokens_per_step(&self) -> u64 {
        (self.config.train.batch_size * self.config.model.block_size) as u64
    }

    fn part_path(&self, part: Part) -> PathBuf {
        self.folder.path().join("parts").join(format!("{}.json", part.name()))
    }

    fn model_path(&self, name: &str) -> PathBuf {
        self.folder.path().join("models").join(format!("{name}.safetensors"))
    }

    fn seconds(&self) -> f64 {
        self.seconds_before + self.started.elapsed().as_secs_f64()
    }

    fn cx(&self) -> Context<'_> {
        Context { config: &self.config, dataset: &self.dataset, streams: self.streams, threads: self.threads }
    }

    fn run_part(&mut self, part: Part, place: Place, bar: &Bar) -> Result<()> {
        let began = Instant::now();
        let recipe = Recipe::new(&self.config, part, &self.dataset, self.streams, &self.listed)
            .map_err(Error::for_user)?;
        let at = (place.updates_before + part.steps(&self.config)) * self.tokens_per_step();
        let interrupt = self.interrupt.clone();
        let run = self.folder.path().display().to_string();
        let say = |what: &str| -> Result<(), Error> {
            bar.update(at, 0.0, &format!("{}: {what}", part.name()));
            if interrupt.requested() { Err(Error::Interrupted) } else { Ok(()) }
        };
        let trained = if part.method == Method::Rmu {
            let base = load_network(&self.model_path(Method::Base.name()), &recipe.base, &self.device)?;
            rmu(&base, &recipe.labels, self.cx(), |step| say(&format!("step {step}")))
        } else {
            Ok(self.train(part, &recipe, place, bar)?)
        };
        let outcome = trained.and_then(|trained| self.after(part, &recipe, &trained, began, say));
        match outcome {
            Err(Error::Interrupted) => {
                Err(UserError::failed(format!("interrupted after the training of {}", part.name()))
                    .with_hint(format!("go on with: lm-routed resume {run}"))
                    .into())
            }
            Err(error @ Error::NotFinite { .. }) => {
                Err(error).with_context(|| self.store.last_checkpoint_message())
            }
            other => Ok(other?),
        }
    }

    /// What follows on the training; ends with the part's result file.
    fn after(
        &self,
        part: Part,
        recipe: &Recipe,
        trained: &Network,
        began: Instant,
        say: impl Fn(&str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let name = format!("parts/{}.json", part.name());
        match self.config.experiment.kind {
            Experiment::Era => {
                let (mut result, kept) = pipeline::after_training(part, recipe, trained, self.cx(), say)?;
                result.seconds = began.elapsed().as_secs_f64();
                save_network(&kept, &self.model_path(&part.name()))?;
                self.folder.write_json(&name, &result)?;
            }
            Experiment::Steer => {
                save_network(trained, &self.model_path(&part.name()))?;
                self.folder.write_json(&name, &steer::measure(trained, self.cx(), say)?)?;
            }
            Experiment::Virology => {
                save_network(trained, &self.model_path(&part.name()))?;
                let result = localise::measure(trained, self.cx(), &self.listed, say)?;
                self.folder.write_json(&name, &result)?;
            }
        }
        Ok(())
    }

    /// Trains a part's model to its end, from the checkpoint where it has one.
    fn train(&mut self, part: Part, recipe: &Recipe, place: Place, bar: &Bar) -> Result<Network> {
        let name = part.name();
        let (config, dataset) = (self.config.clone(), &self.dataset);
        let streams = self.streams;
        let mut trainer =
            Trainer::new(&config, dataset, part, recipe.clone(), streams, self.threads, &self.device)?;
        if let Some(ResumePoint { file, checkpoint, header }) =
            self.found.take_if(|found| found.header.part == name)
        {
            trainer.load_state(&checkpoint.tensors, header.step, &file.display().to_string())?;
        }
        let validation = Validation::new(dataset, config.eval.stories, config.model.block_size);
        let tokens = self.tokens_per_step();
        let total = part.steps(&config);
        let mut message = String::new();
        while trainer.step() < total {
            let began = Instant::now();
            let report = trainer.train_step().with_context(|| self.store.last_checkpoint_message())?;
            let rate = tokens as f64 / began.elapsed().as_secs_f64();
            let done = trainer.step();
            let last = done == total;
            let mut values = vec![
                (format!("{name}/losses/train"), report.loss),
                (format!("{name}/losses/l1"), report.penalty),
                (format!("{name}/charts/grad_norm"), report.norm),
                (format!("{name}/charts/learning_rate"), report.learning_rate),
                ("charts/SPS".to_owned(), rate),
            ];
            if done.is_multiple_of(config.eval.every) || last {
                let losses = validation.losses(&mut trainer.model, &Hooks::default())?;
                values.push((format!("{name}/eval/forget"), losses.forget));
                values.push((format!("{name}/eval/retain"), losses.retain));
                message = format!("forget {:.3} retain {:.3}", losses.forget, losses.retain);
            }
            let update = place.updates_before + done;
            let values: Vec<(&str, f64)> =
                values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            self.metrics.log(update * tokens, update, &values)?;
            if done.is_multiple_of(config.eval.every) {
                // so that `plot` draws a run that is still going on
                self.metrics.flush()?;
            }
            bar.update(update * tokens, rate, &format!("{name} {message}"));
            let interrupted = self.interrupt.requested();
            if done.is_multiple_of(config.checkpoint.every) || last || interrupted {
                self.metrics.sync()?;
                let seconds = self.seconds_before + self.started.elapsed().as_secs_f64();
                let header = Header {
                    update,
                    part: name.clone(),
                    step: done,
                    seed: self.manifest.seed,
                    seconds,
                    config: config.clone(),
                };
                self.store
                    .save(update, &checkpoint(&trainer, &header)?)
                    .with_context(|| self.store.last_checkpoint_message())?;
            }
            if interrupted && !last {
                let run = self.folder.path().display().to_string();
                let all = place.total_tokens / tokens;
                let error = UserError::failed(format!("interrupted after update {update} of {all}; saved"));
                return Err(error.with_hint(format!("go on with: lm-routed resume {run}")).into());
            }
        }
        let parameters = copied(trainer.model.parameters())?;
        Ok(Network { architecture: recipe.expanded.clone(), parameters })
    }

    fn finish(&mut self, updates: u64) -> Result<String> {
        self.metrics.sync()?;
        if self.csv {
            let records = read_metrics(&self.folder.metrics_path())?;
            write_csv(&records, &self.folder.path().join("metrics.csv"))?;
        }
        let report = report::write(&self.folder, &self.config, None)?;
        self.manifest.finish();
        self.folder.write_json("manifest.json", &self.manifest)?;
        // the summary says that a run is done, so it comes last
        let seconds = self.seconds();
        let tokens = updates * self.tokens_per_step();
        let summary = serde_json::json!({
            "experiment": self.config.experiment.kind,
            "seed": self.manifest.seed,
            "updates": updates,
            "tokens": tokens,
            "seconds": seconds,
            "parts": report.parts,
        });
        self.folder.write_json("summary.json", &summary)?;
        let mut text = report.text;
        writeln!(text, "\n{tokens} tokens of training in {seconds:.0} s")?;
        for path in report.files {
            writeln!(text, "{}", path.display())?;
        }
        Ok(text)
    }
}
