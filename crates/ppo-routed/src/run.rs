//! The life of a training run: from the first line of the config to the pictures.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::Device;
use experiment::{
    CheckpointStore, DeviceArg, EventWriter, Interrupt, Manifest, MetricsWriter, RunFolder, UserError,
    read_metrics, write_csv,
};

use crate::progress::Watch;
use crate::snapshot::Snapshot;
use crate::summary::Summary;
use crate::{Config, Trainer, UpdateReport, checkpoint, plots};

/// What a run writes beside the run folder's own files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outputs {
    /// `metrics.csv` at the end.
    pub csv: bool,
    /// Event files for `TensorBoard`.
    pub tensorboard: bool,
    /// The pictures at the end.
    pub pictures: bool,
}

/// A run to be started.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// The settings.
    pub config: Config,
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

/// Starts a run, sees it through and returns the text for the user: a table and the paths of the pictures.
///
/// # Errors
/// Fails where the folder is in use, training breaks down, or a file cannot be written. An interrupted run has
/// its checkpoint written first.
pub fn train(request: &RunRequest, watch: &mut dyn Watch) -> Result<String> {
    let device = request.device.open()?;
    let mut trainer = Trainer::new(&request.config, request.seed, request.threads, &device)?;
    let folder = RunFolder::create(&request.folder)?;
    folder.write_text("config.toml", &experiment::to_toml(&request.config)?)?;
    let version = env!("CARGO_PKG_VERSION");
    let manifest = Manifest::new("ppo-routed", version, request.seed, request.threads, &request.device);
    folder.write_json("manifest.json", &manifest)?;
    let metrics = MetricsWriter::create(&folder.metrics_path())?;
    let store = CheckpointStore::new(folder.checkpoints(), request.config.checkpoint.keep);
    let session = Session::new(folder, manifest, metrics, store, 0.0, request.outputs, device)?;
    session.first_evaluation(&mut trainer)?.go_on(trainer, watch)
}

/// Goes on with an interrupted run from its newest intact checkpoint, exactly as if it had not been interrupted.
///
/// # Errors
/// As [`train`]; and where the run is finished already or has no intact checkpoint.
pub fn resume(
    path: &Path,
    threads: Option<usize>,
    outputs: Outputs,
    watch: &mut dyn Watch,
) -> Result<String> {
    let folder = RunFolder::open(path)?;
    let config: Config = experiment::load(Some(&folder.config_path()), &[])?;
    let mut manifest = Manifest::read(&folder.manifest_path())?;
    if folder.summary_path().exists() {
        let message = format!("the run in {} is finished", path.display());
        return Err(UserError::usage(message)
            .with_hint("`plot`, `eval` and `render` work on a finished run")
            .into());
    }
    let arg: DeviceArg = manifest.device.parse().context("the device in manifest.json")?;
    let device = arg.open()?;
    let store = CheckpointStore::new(folder.checkpoints(), config.checkpoint.keep);
    let Some((file, checkpoint)) = store.latest_intact(&Device::Cpu) else {
        let message = format!("{} has no intact checkpoint to go on from", path.display());
        return Err(UserError::failed(message).with_hint("remove the folder and start the run again").into());
    };
    let threads = threads.unwrap_or(manifest.threads);
    let (trainer, header) = checkpoint::restore(
        &checkpoint,
        &file,
        &config,
        &envs::maker(&config.env.config()),
        threads,
        &device,
    )?;
    if !read_metrics(&folder.metrics_path())?.iter().any(|record| record.update == header.update) {
        let metrics = folder.metrics_path();
        let message =
            format!("{} has no record of update {}, the checkpoint's", metrics.display(), header.update);
        return Err(UserError::failed(message)
            .with_hint("restore it from a copy, or start the run again")
            .into());
    }
    let metrics = MetricsWriter::resume(&folder.metrics_path(), header.update)?;
    Snapshot::cut_back(folder.path(), header.update)?;
    manifest.resume();
    folder.write_json("manifest.json", &manifest)?;
    Session::new(folder, manifest, metrics, store, header.seconds, outputs, device)?.go_on(trainer, watch)
}

/// A process at work on a run.
struct Session {
    folder: RunFolder,
    manifest: Manifest,
    metrics: MetricsWriter,
    events: Option<EventWriter>,
    store: CheckpointStore,
    interrupt: Interrupt,
    seconds_before: f64,
    started: Instant,
    outputs: Outputs,
    device: Device,
}

impl Session {
    fn new(
        folder: RunFolder,
        manifest: Manifest,
        metrics: MetricsWriter,
        store: CheckpointStore,
        seconds_before: f64,
        outputs: Outputs,
        device: Device,
    ) -> Result<Self> {
        let events = if outputs.tensorboard {
            Some(EventWriter::create(&folder.path().join("tensorboard"))?)
        } else {
            None
        };
        Ok(Self {
            store,
            interrupt: experiment::install()?,
            folder,
            manifest,
            metrics,
            events,
            seconds_before,
            started: Instant::now(),
            outputs,
            device,
        })
    }

    fn seconds(&self) -> f64 {
        self.seconds_before + self.started.elapsed().as_secs_f64()
    }

    /// Scores the untrained policy, so that curves begin at step 0.
    fn first_evaluation(mut self, trainer: &mut Trainer) -> Result<Self> {
        let mut values = Vec::new();
        self.evaluate(trainer, &mut values)?;
        self.log(trainer, &values)?;
        Ok(self)
    }

    fn go_on(mut self, mut trainer: Trainer, watch: &mut dyn Watch) -> Result<String> {
        let total = trainer.updates_total();
        let steps_per_update = trainer.config().steps_per_update();
        watch.begin(trainer.env_steps(), total * steps_per_update);
        let (every, save_every) = (trainer.config().eval.every, trainer.config().checkpoint.every);
        let mut message = String::new();
        while trainer.updates_done() < total {
            let began = Instant::now();
            let UpdateReport { mut values, .. } =
                trainer.update().with_context(|| self.store.last_checkpoint_message())?;
            let sps = steps_per_update as f64 / began.elapsed().as_secs_f64();
            values.push(("charts/SPS".to_owned(), sps));
            let done = trainer.updates_done();
            let last = done == total;
            if done.is_multiple_of(every) || last {
                message = self.evaluate(&mut trainer, &mut values)?;
            }
            self.log(&trainer, &values)?;
            if done.is_multiple_of(every) {
                // so that `plot` draws a run that is still going on
                self.metrics.flush()?;
            }
            watch.update(trainer.env_steps(), sps, &message);
            let interrupted = self.interrupt.requested();
            if done.is_multiple_of(save_every) || last || interrupted {
                self.save(&trainer).with_context(|| self.store.last_checkpoint_message())?;
            }
            if interrupted && !last {
                watch.end();
                let run = self.folder.path().display().to_string();
                let error = UserError::failed(format!("interrupted after update {done} of {total}; saved"));
                return Err(error.with_hint(format!("go on with: ppo-routed resume {run}")).into());
            }
        }
        watch.end();
        self.finish(&trainer)
    }

    /// Scores all policies and takes a snapshot; returns what the progress bar says of it.
    fn evaluate(&mut self, trainer: &mut Trainer, values: &mut Vec<(String, f64)>) -> Result<String> {
        let mut message = String::new();
        for (name, evaluation) in trainer.evaluate()? {
            for (what, value) in evaluation.named() {
                values.push((format!("eval/{name}/{what}"), value));
            }
            if message.is_empty() {
                // the first is the one that the method is judged by
                message = format!("{name} return {:.3}", evaluation.stepwise_return);
            }
        }
        let (step, update) = (trainer.env_steps(), trainer.updates_done());
        Snapshot::take(trainer.config(), trainer.policy(), step, update, &self.device)?
            .append(self.folder.path())?;
        Ok(message)
    }

    fn log(&mut self, trainer: &Trainer, values: &[(String, f64)]) -> Result<()> {
        let values: Vec<(&str, f64)> = values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        self.metrics.log(trainer.env_steps(), trainer.updates_done(), &values)?;
        if let Some(events) = &mut self.events {
            for (name, value) in values.iter().filter(|(_, value)| value.is_finite()) {
                events.scalar(name, trainer.env_steps(), *value)?;
            }
        }
        Ok(())
    }

    fn save(&mut self, trainer: &Trainer) -> Result<()> {
        // metrics first, so that no checkpoint is ahead of them
        self.metrics.sync()?;
        if let Some(events) = &mut self.events {
            events.flush()?;
        }
        self.store.save(trainer.updates_done(), &trainer.checkpoint(self.seconds())?)?;
        Ok(())
    }

    fn finish(mut self, trainer: &Trainer) -> Result<String> {
        let records = read_metrics(&self.folder.metrics_path())?;
        let summary = Summary::new(trainer.config(), self.manifest.seed, self.seconds(), &records)?;
        if self.outputs.csv {
            write_csv(&records, &self.folder.path().join("metrics.csv"))?;
        }
        let run = self.folder.path().to_owned();
        let mut paths = Vec::new();
        if self.outputs.pictures {
            paths.extend(plots::plot(std::slice::from_ref(&run), None)?);
            paths.extend(plots::render(&run, None)?);
        }
        // the summary says that a run is done, so it comes last
        self.manifest.finish();
        self.folder.write_json("manifest.json", &self.manifest)?;
        self.folder.write_json("summary.json", &summary)?;
        let mut text = summary.table();
        let Summary { env_steps, seconds, sps, .. } = summary;
        writeln!(text, "\n{env_steps} steps in {seconds:.0} s, {sps:.0} steps/s")?;
        for path in paths {
            writeln!(text, "{}", path.display())?;
        }
        Ok(text)
    }
}
