//! What a program is to the driver.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use candle_core::{Device, Tensor};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::resume::ResumePoint;
use super::stage::Stage;
use crate::config::Settings;
use crate::interrupt::Interrupt;
use crate::metrics::Record;
use crate::run_folder::RunFolder;

/// How far a training is. A step is an environment step, an image or a token: what `step` counts in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Updates done.
    pub update: u64,
    /// Updates of the whole run.
    pub updates_total: u64,
    /// Steps done.
    pub step: u64,
    /// Steps of the whole run.
    pub steps_total: u64,
}

impl Position {
    /// After `update` of `updates_total` updates of as many steps each.
    pub fn of_updates(update: u64, updates_total: u64, steps_per_update: u64) -> Self {
        let steps = |updates: u64| updates.saturating_mul(steps_per_update);
        Self { update, updates_total, step: steps(update), steps_total: steps(updates_total) }
    }
}

/// What an update or an evaluation reports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Metrics, in the order in which they are written.
    pub values: Vec<(String, f64)>,
    /// What the progress bar says from now on, such as the newest score; as before where there is none.
    pub message: Option<String>,
}

/// What may be due after an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// An evaluation.
    Evaluation,
    /// A checkpoint.
    Checkpoint,
}

/// Everything of a training that changes.
#[derive(Clone, Debug)]
pub struct State {
    /// A JSON object: counters and random streams. The driver adds `program`, `update`, `seed`, `seconds` and `config`.
    pub header: Value,
    /// The tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
}

/// The error of an update that was cut off between two of its steps, as it was asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the update was cut off")]
pub struct CutOff;

/// What changes while a run trains.
pub trait Training {
    /// How far it is.
    fn position(&self) -> Position;

    /// Is told, before the first update, whom to ask within an update that may take long: where
    /// [`Interrupt::is_overdue`], it ends with [`CutOff`].
    fn listen(&mut self, interrupt: &Interrupt) {
        let _ = interrupt;
    }

    /// One update. The driver adds `charts/SPS`, steps a second, to its metrics.
    ///
    /// # Errors
    /// Fails, before the step is taken, where a loss or gradient is not finite.
    fn update(&mut self) -> Result<Report>;

    /// Scores what has been learned so far; nothing that is saved changes by it.
    ///
    /// # Errors
    /// Fails where the model does.
    fn evaluate(&mut self) -> Result<Report>;

    /// Whether something is due, asked after each update. The last update has both in any case. Asked at update 0 of
    /// a new run, it says whether curves begin with an evaluation of the untrained model.
    fn due(&self, what: Due) -> bool;

    /// All that has to be saved to go on from here.
    ///
    /// # Errors
    /// Fails where a tensor cannot be copied.
    fn state(&self) -> Result<State>;

    /// Work that is no update: asked before the first update of this process and after each one. A run of several
    /// parts finishes one here and begins the next.
    ///
    /// # Errors
    /// Fails where the work does, or with [`Stage::interrupted`] where the user asked to stop.
    fn between_updates(&mut self, stage: &mut Stage<'_>) -> Result<()> {
        let _ = stage;
        Ok(())
    }
}

/// What a training is built with, beside its settings.
#[derive(Clone, Copy, Debug)]
pub struct BuildContext<'a> {
    /// The seed of every random stream.
    pub seed: u64,
    /// Threads to compute with.
    pub threads: usize,
    /// Parts that the work of an update is split in and whose sums are added up in order, on which a result depends in
    /// its last digits: as many as the run had threads when it began, whatever it computes with now.
    pub lanes: usize,
    /// Where the tensors live.
    pub device: &'a Device,
    /// The run folder, which is not there yet when a new run is built.
    pub folder: &'a Path,
}

/// A run that has trained to its end.
#[derive(Clone, Copy, Debug)]
pub struct FinishedRun<'a> {
    /// Its folder.
    pub folder: &'a RunFolder,
    /// Its seed.
    pub seed: u64,
    /// Seconds of training and evaluation, without those before an interruption that were lost.
    pub seconds: f64,
    /// Its metrics.
    pub records: &'a [Record],
    /// Whether to draw pictures.
    pub pictures: bool,
}

/// What is left of a run at its end.
#[derive(Clone, Debug)]
pub struct Finished<S> {
    /// `summary.json`.
    pub summary: S,
    /// What the user reads: a table, and the paths of the pictures.
    pub text: String,
}

/// An experiment: how its training is built, brought back, and what is left of it at the end.
pub trait Program {
    /// The settings of a run.
    type Config: Settings + Clone + PartialEq;
    /// A run in training.
    type Training: Training;
    /// What `summary.json` holds.
    type Summary: Serialize + DeserializeOwned;

    /// The binary, such as `ppo-routed`.
    const NAME: &'static str;
    /// The binary's version: `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;
    /// The commit that was checked out when the binary was built, where it knows: `option_env!("SIGNALBOX_COMMIT")`.
    const COMMIT: Option<&'static str> = None;
    /// What a step is called in the progress bar: `steps`, `images`, `tokens`.
    const UNIT: &'static str = "steps";
    /// The verbs that work on a finished run, for who would resume one: "`plot` and `eval`".
    const READERS: &'static str = "`plot` and `eval`";

    /// NAME in `runs/NAME-seedN`, for a run without a config file: the binary's, unless the program says more.
    fn run_name(&self, config: &Self::Config) -> String {
        let _ = config;
        Self::NAME.to_owned()
    }

    /// How many checkpoints stay, the newest ones; 0 for all.
    fn checkpoints_kept(&self, config: &Self::Config) -> usize {
        let _ = config;
        3
    }

    /// The route table of each method of a run, by its name, for `manifest.json`.
    ///
    /// # Errors
    /// Fails where the settings make no table.
    fn routes(&self, config: &Self::Config) -> Result<BTreeMap<String, Value>> {
        let _ = config;
        Ok(BTreeMap::new())
    }

    /// A training at its start; whatever is wrong with settings or data shows here, before there is a folder.
    ///
    /// # Errors
    /// Fails where settings, data and device do not fit together.
    fn build(&self, config: &Self::Config, cx: &BuildContext<'_>) -> Result<Self::Training>;

    /// A training that goes on exactly where a checkpoint was taken.
    ///
    /// # Errors
    /// As [`Program::build`], and where the checkpoint does not fit.
    fn rewind(
        &self,
        config: &Self::Config,
        cx: &BuildContext<'_>,
        checkpoint: &ResumePoint,
    ) -> Result<Self::Training>;

    /// A training that goes on from what the run has left beside checkpoints, of which none is intact; nothing where
    /// the run is lost without one.
    ///
    /// # Errors
    /// As [`Program::rewind`].
    fn restart(&self, config: &Self::Config, cx: &BuildContext<'_>) -> Result<Option<Self::Training>> {
        let _ = (config, cx);
        Ok(None)
    }

    /// Puts into the folder of a run that begins or goes on what this program keeps there beside every run's files.
    ///
    /// # Errors
    /// Fails where a file cannot be written.
    fn prepare_folder(&self, folder: &RunFolder) -> Result<()> {
        let _ = folder;
        Ok(())
    }

    /// Takes out of files that grow with the run, other than `metrics.jsonl`, what came after `update`, from where
    /// the run goes on.
    ///
    /// # Errors
    /// Fails where a file cannot be read or written.
    fn cut_back(&self, folder: &RunFolder, update: u64) -> Result<()> {
        let _ = (folder, update);
        Ok(())
    }

    /// Sums up a run and draws its pictures.
    ///
    /// # Errors
    /// Fails where a picture cannot be made or written.
    fn finish(&self, training: &mut Self::Training, run: &FinishedRun<'_>)
    -> Result<Finished<Self::Summary>>;
}
