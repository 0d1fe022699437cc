//! A run, from its folder to its summary.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::program::{
    BuildContext, CutOff, Due, Finished, FinishedRun, Position, Program, Report, State, Training as _,
};
use super::progress::Watch;
use super::stage::{Stage, interrupted};
use crate::checkpoint::Checkpoint;
use crate::checkpoint_store::CheckpointStore;
use crate::cli::CommonArgs;
use crate::config::to_toml;
use crate::device::DeviceArg;
use crate::error::RunError;
use crate::interrupt::{Interrupt, install};
use crate::manifest::{AskedOutputs, Manifest};
use crate::metrics::{MetricsWriter, read_metrics, write_csv};
use crate::report::UserError;
use crate::run_folder::RunFolder;
use crate::tensorboard::EventWriter;
use crate::terminal::shell_path;

/// What a run writes beside the run folder's own files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// `metrics.csv` at the end.
    pub csv: bool,
    /// Event files for `TensorBoard`.
    pub tensorboard: bool,
    /// The pictures at the end.
    pub pictures: bool,
}

impl Outputs {
    /// What of it is written only on request.
    pub(super) fn asked(self) -> AskedOutputs {
        AskedOutputs { csv: self.csv, tensorboard: self.tensorboard }
    }

    /// With what was asked for when the run began.
    pub(super) fn and(self, asked: AskedOutputs) -> Self {
        let AskedOutputs { csv, tensorboard } = asked;
        Self { csv: self.csv || csv, tensorboard: self.tensorboard || tensorboard, ..self }
    }
}

/// A run to be started.
#[derive(Clone, Debug)]
pub struct RunRequest<C> {
    /// The settings.
    pub config: C,
    /// The seed of every random stream.
    pub seed: u64,
    /// The run folder, which must not hold anything yet.
    pub folder: PathBuf,
    /// Threads to compute with.
    pub threads: usize,
    /// Where the tensors live.
    pub device: DeviceArg,
    /// What else to write.
    pub outputs: Outputs,
}

impl<C> RunRequest<C> {
    /// What the command line asks for: seed 0 and `runs/NAME-seedN` where it does not say, with the name of the config
    /// file or else the program's.
    pub fn new<P: Program<Config = C>>(
        program: &P,
        config: C,
        common: &CommonArgs,
        outputs: Outputs,
    ) -> Self {
        let seed = common.seed.unwrap_or(0);
        let folder = common.run_folder(seed, || program.run_name(&config));
        Self { config, seed, folder, threads: common.thread_count(), device: common.device, outputs }
    }
}

/// A run that this process is at work on.
pub struct Run<'p, P: Program> {
    program: &'p P,
    training: P::Training,
    /// The settings as they stand in a checkpoint's header.
    config: Value,
    saved: Saved,
    store: CheckpointStore,
    events: Option<EventWriter>,
    interrupt: Interrupt,
    started: Instant,
    outputs: Outputs,
}

/// What a run has on disk, and how it stands there.
pub(super) struct Saved {
    pub(super) folder: RunFolder,
    pub(super) manifest: Manifest,
    pub(super) metrics: MetricsWriter,
    /// Seconds spent by the processes before this one.
    pub(super) seconds: f64,
    /// Whether there is no record yet.
    pub(super) untrained: bool,
}

impl<'p, P: Program> Run<'p, P> {
    /// Begins a run in a folder of its own.
    ///
    /// # Errors
    /// Fails where the training cannot be built, in which case there is no folder, or the folder is in use.
    pub fn create(program: &'p P, request: &RunRequest<P::Config>) -> Result<Self> {
        let RunRequest { config, seed, threads, outputs, .. } = request;
        let device = request.device.open()?;
        // to build a training can take minutes
        RunFolder::require_free(&request.folder)?;
        let (threads, lanes) = (*threads, *threads);
        let cx = BuildContext { seed: *seed, threads, lanes, device: &device, folder: &request.folder };
        let training = program.build(config, &cx)?;
        let routes = program.routes(config)?;
        let folder = RunFolder::create(&request.folder)?;
        folder.write_text("config.toml", &to_toml(config)?)?;
        program.prepare_folder(&folder)?;
        let mut manifest = Manifest::new(P::NAME, P::VERSION, *seed, threads, &request.device);
        manifest.commit = P::COMMIT.map(str::to_owned);
        manifest.routes = routes;
        manifest.outputs = outputs.asked();
        folder.write_json("manifest.json", &manifest)?;
        let metrics = MetricsWriter::create(&folder.metrics_path())?;
        let saved = Saved { folder, manifest, metrics, seconds: 0.0, untrained: true };
        Self::over(program, config, training, saved, *outputs)
    }

    pub(super) fn over(
        program: &'p P,
        config: &P::Config,
        training: P::Training,
        saved: Saved,
        outputs: Outputs,
    ) -> Result<Self> {
        let events =
            outputs.tensorboard.then(|| EventWriter::create(&saved.folder.path().join("tensorboard")));
        Ok(Self {
            store: CheckpointStore::of_run(&saved.folder, program.checkpoints_kept(config)),
            config: serde_json::to_value(config).context("the settings as JSON")?,
            events: events.transpose()?,
            interrupt: install()?,
            started: Instant::now(),
            program,
            training,
            saved,
            outputs,
        })
    }

    /// Stops when `interrupt` says so, and not at Ctrl-C.
    pub fn interrupted_by(self, interrupt: Interrupt) -> Self {
        Self { interrupt, ..self }
    }

    /// Trains to the end, tells `watch` how far it is, and returns the text for the user.
    ///
    /// # Errors
    /// Fails where training breaks down, a file cannot be written, or the run is interrupted; what is needed to go on
    /// is saved by then.
    pub fn drive(mut self, watch: &mut dyn Watch) -> Result<String> {
        self.training.listen(&self.interrupt);
        let path = self.saved.folder.path().to_owned();
        self.interrupt.note_saved(&path, self.newest());
        let trained = self.begin().and_then(|position| {
            watch.begin(position.step, position.steps_total);
            let trained = self.train(watch);
            watch.end();
            trained
        });
        self.interrupt.forget(&path);
        trained?;
        self.finish()
    }

    /// Scores the untrained model where curves begin with it.
    fn begin(&mut self) -> Result<Position> {
        let position = self.training.position();
        if self.saved.untrained && position.update == 0 && self.training.due(Due::Evaluation) {
            let report = self.training.evaluate()?;
            self.log(position, &report.values)?;
        }
        Ok(position)
    }

    /// The update of the newest checkpoint.
    fn newest(&self) -> Option<u64> {
        Some(self.store.list().ok()?.last()?.0)
    }

    fn train(&mut self, watch: &mut dyn Watch) -> Result<()> {
        let mut message = String::new();
        self.between_updates(watch)?;
        loop {
            let before = self.training.position();
            if before.update >= before.updates_total {
                return Ok(());
            }
            self.saved.folder.require_held()?;
            let began = Instant::now();
            let Report { mut values, message: mut news } =
                self.training.update().map_err(|error| self.stopped(error, before))?;
            let position = self.training.position();
            let speed = (position.step - before.step) as f64 / began.elapsed().as_secs_f64();
            values.push(("charts/SPS".to_owned(), speed));
            let last = position.update >= position.updates_total;
            let evaluated = last || self.training.due(Due::Evaluation);
            if evaluated {
                self.saved.folder.require_held()?;
                let report = self.training.evaluate()?;
                values.extend(report.values);
                news = report.message.or(news);
            }
            self.log(position, &values)?;
            watch.values(position.step, &values);
            if evaluated {
                // so that `plot` draws a run that is still going on
                self.saved.metrics.flush()?;
            }
            message = news.unwrap_or(message);
            watch.update(position.step, speed, &message);
            let stop = self.interrupt.requested();
            if last || stop || self.training.due(Due::Checkpoint) {
                self.save(position).map_err(|error| self.stopped(error, position))?;
                self.interrupt.note_saved(self.saved.folder.path(), Some(position.update));
            }
            if stop && !last {
                let Position { update, updates_total, .. } = position;
                let after = format!("update {update} of {updates_total}; saved");
                return Err(interrupted(P::NAME, &self.saved.folder, &after).into());
            }
            self.between_updates(watch)?;
        }
    }

    /// Says which checkpoint is left, but where the error says itself how to go on or that there is no folder to look
    /// into.
    fn stopped(&self, error: anyhow::Error, position: Position) -> anyhow::Error {
        if error.is::<CutOff>() {
            let Position { update, updates_total, .. } = position;
            let within = format!("interrupted within update {} of {updates_total}", update + 1);
            let folder = shell_path(self.saved.folder.path());
            let (what, hint) = match self.newest() {
                Some(saved) => (
                    format!("saved up to update {saved}"),
                    format!("go on with: {} resume {folder}", P::NAME),
                ),
                None => (
                    "nothing was saved yet".to_owned(),
                    "remove the folder and start the run again".to_owned(),
                ),
            };
            return UserError::failed(format!("{within}, which takes long; {what}")).with_hint(hint).into();
        }
        let moved = || error.downcast_ref::<RunError>().is_some_and(|e| matches!(e, RunError::Moved { .. }));
        if error.is::<UserError>() || moved() {
            error
        } else {
            error.context(self.store.last_checkpoint_message())
        }
    }

    fn between_updates(&mut self, watch: &mut dyn Watch) -> Result<()> {
        self.saved.folder.require_held()?;
        let position = self.training.position();
        let mut stage =
            Stage { program: P::NAME, folder: &self.saved.folder, interrupt: &self.interrupt, watch };
        self.training.between_updates(&mut stage).map_err(|error| self.stopped(error, position))
    }

    fn seconds(&self) -> f64 {
        self.saved.seconds + self.started.elapsed().as_secs_f64()
    }

    fn log(&mut self, position: Position, values: &[(String, f64)]) -> Result<()> {
        let values: Vec<(&str, f64)> = values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        self.saved.metrics.log(position.step, position.update, &values)?;
        if let Some(events) = &mut self.events {
            for (name, value) in values.iter().filter(|(_, value)| value.is_finite()) {
                events.scalar(name, position.step, *value)?;
            }
        }
        Ok(())
    }

    fn save(&mut self, position: Position) -> Result<()> {
        self.saved.folder.require_held()?;
        // metrics first, so that no checkpoint is ahead of them
        self.saved.metrics.sync()?;
        if let Some(events) = &mut self.events {
            events.flush()?;
        }
        let State { mut header, tensors } = self.training.state()?;
        let common = [
            ("program", Value::from(P::NAME)),
            ("update", Value::from(position.update)),
            ("seed", Value::from(self.saved.manifest.seed)),
            ("seconds", Value::from(self.seconds())),
            ("config", self.config.clone()),
        ];
        let object =
            header.as_object_mut().context("the header of a training's state must be a JSON object")?;
        object.extend(common.map(|(key, value)| (key.to_owned(), value)));
        self.store.save(position.update, &Checkpoint { header, tensors })?;
        Ok(())
    }

    fn finish(mut self) -> Result<String> {
        self.saved.folder.require_held()?;
        self.saved.metrics.sync()?;
        let seconds = self.seconds();
        let Saved { folder, manifest, .. } = &mut self.saved;
        let records = read_metrics(&folder.metrics_path())?;
        if self.outputs.csv {
            write_csv(&records, &folder.path().join("metrics.csv"))?;
        }
        let run = FinishedRun {
            folder,
            seed: manifest.seed,
            seconds,
            records: &records,
            pictures: self.outputs.pictures,
        };
        let Finished { summary, text } = self.program.finish(&mut self.training, &run)?;
        manifest.finish();
        folder.write_json("manifest.json", manifest)?;
        // the summary says that a run is done, so it comes last
        folder.write_json("summary.json", &summary)?;
        Ok(text)
    }
}
