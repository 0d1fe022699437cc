//! The life of a training run: from the first line of the config to the pictures.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::Device;
use experiment::{
    CheckpointStore, DeviceArg, EventWriter, Interrupt, Manifest, MetricsWriter, Progress, RunFolder,
    UserError, read_metrics, write_csv,
};

use crate::data::Dataset;
use crate::summary::Summary;
use crate::{Config, Trainer, UpdateReport, checkpoint, plots};

/// What a run writes beside the run folder's own files.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Outputs {
    /// `metrics.csv` at the end.
    pub csv: bool,
    /// Event files for `TensorBoard`.
    pub tensorboard: bool,
    /// The pictures at the end.
    pub pictures: bool,
    /// No progress bar.
    pub quiet: bool,
}

/// A run to be started.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// The settings.
    pub config: Config,
    /// The images.
    pub dataset: Arc<Dataset>,
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
pub fn train(request: &RunRequest) -> Result<String> {
    let RunRequest { config, dataset, seed, threads, .. } = request;
    let device = request.device.open()?;
    let mut trainer = Trainer::new(config, dataset, *seed, *threads, *threads, &device)?;
    let folder = RunFolder::create(&request.folder)?;
    folder.write_text("config.toml", &experiment::to_toml(config)?)?;
    let version = env!("CARGO_PKG_VERSION");
    let manifest = Manifest::new("mnist-routed", version, *seed, *threads, &request.device);
    folder.write_json("manifest.json", &manifest)?;
    let metrics = MetricsWriter::create(&folder.metrics_path())?;
    let store = CheckpointStore::new(folder.checkpoints(), config.checkpoint.keep);
    let mut session = Session::new(folder, manifest, metrics, store, 0.0, request.outputs)?;
    // so that curves begin at the untrained networks
    let mut values = Vec::new();
    evaluate(&mut trainer, &mut values)?;
    session.log(&trainer, &values)?;
    session.go_on(trainer)
}

/// Goes on with an interrupted run from its newest intact checkpoint, exactly as if it had not been interrupted.
/// `dataset` is asked for the images of the run's config.
///
/// # Errors
/// As [`train`]; and where the run is finished already or has no intact checkpoint.
pub fn resume(
    path: &Path,
    threads: Option<usize>,
    outputs: Outputs,
    dataset: impl FnOnce(&Config) -> Result<Arc<Dataset>>,
) -> Result<String> {
    let folder = RunFolder::open(path)?;
    let config: Config = experiment::load(Some(&folder.config_path()), &[])?;
    let mut manifest = Manifest::read(&folder.manifest_path())?;
    if folder.summary_path().exists() {
        let message = format!("the run in {} is finished", path.display());
        return Err(UserError::usage(message).with_hint("`plot` and `eval` work on a finished run").into());
    }
    let arg: DeviceArg = manifest.device.parse().context("the device in manifest.json")?;
    let device = arg.open()?;
    let store = CheckpointStore::new(folder.checkpoints(), config.checkpoint.keep);
    let Some((file, checkpoint)) = store.latest_intact(&Device::Cpu) else {
        let message = format!("{} has no intact checkpoint to go on from", path.display());
        return Err(UserError::failed(message).with_hint("remove the folder and start the run again").into());
    };
    let threads = threads.unwrap_or(manifest.threads);
    let dataset = dataset(&config)?;
    let (trainer, header) = checkpoint::restore(&checkpoint, &file, &config, &dataset, threads, &device)?;
    if !read_metrics(&folder.metrics_path())?.iter().any(|record| record.update == header.update) {
        let metrics = folder.metrics_path();
        let message =
            format!("{} has no record of update {}, the checkpoint's", metrics.display(), header.update);
        return Err(UserError::failed(message)
            .with_hint("restore it from a copy, or start the run again")
            .into());
    }
    let metrics = MetricsWriter::resume(&folder.metrics_path(), header.update)?;
    manifest.resume();
    folder.write_json("manifest.json", &manifest)?;
    Session::new(folder, manifest, metrics, store, header.seconds, outputs)?.go_on(trainer)
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
}

impl Session {
    fn new(
        folder: RunFolder,
        manifest: Manifest,
        metrics: MetricsWriter,
        store: CheckpointStore,
        seconds_before: f64,
        outputs: Outputs,
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
        })
    }

    fn seconds(&self) -> f64 {
        self.seconds_before + self.started.elapsed().as_secs_f64()
    }

    fn go_on(mut self, mut trainer: Trainer) -> Result<String> {
        let (total, epoch) = (trainer.updates_total(), trainer.updates_per_epoch());
        let (every, save_every) = (trainer.config().eval.every, trainer.config().checkpoint.every);
        let progress = Progress::new(trainer.images_total(), self.outputs.quiet).counting("images");
        progress.start_at(trainer.images_done());
        let mut message = String::new();
        while trainer.updates_done() < total {
            let report = trainer.update().with_context(|| self.store.last_checkpoint_message())?;
            let mut values = named(&report, &trainer);
            let speed = report.images as f64 / report.seconds;
            values.push(("charts/SPS".to_owned(), speed));
            let done = trainer.updates_done();
            let last = done == total;
            let after = |epochs: u64| done.is_multiple_of(epoch) && (done / epoch).is_multiple_of(epochs);
            if after(every) || last {
                message = evaluate(&mut trainer, &mut values)?;
            }
            self.log(&trainer, &values)?;
            if after(every) {
                // so that `plot` draws a run that is still going on
                self.metrics.flush()?;
            }
            progress.update(trainer.images_done(), speed, &message);
            let interrupted = self.interrupt.requested();
            if after(save_every) || last || interrupted {
                self.save(&trainer).with_context(|| self.store.last_checkpoint_message())?;
            }
            if interrupted && !last {
                progress.finish();
                let run = self.folder.path().display().to_string();
                let error = UserError::failed(format!("interrupted after update {done} of {total}; saved"));
                return Err(error.with_hint(format!("go on with: mnist-routed resume {run}")).into());
            }
        }
        progress.finish();
        self.finish(&mut trainer)
    }

    fn log(&mut self, trainer: &Trainer, values: &[(String, f64)]) -> Result<()> {
        let values: Vec<(&str, f64)> = values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        self.metrics.log(trainer.images_done(), trainer.updates_done(), &values)?;
        if let Some(events) = &mut self.events {
            for (name, value) in values.iter().filter(|(_, value)| value.is_finite()) {
                events.scalar(name, trainer.images_done(), *value)?;
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
        let checkpoint = checkpoint::checkpoint(trainer, self.manifest.seed, self.seconds())?;
        self.store.save(trainer.updates_done(), &checkpoint)?;
        Ok(())
    }

    fn finish(mut self, trainer: &mut Trainer) -> Result<String> {
        let records = read_metrics(&self.folder.metrics_path())?;
        let summary = Summary::new(trainer.config(), self.manifest.seed, self.seconds(), &records);
        if self.outputs.csv {
            write_csv(&records, &self.folder.path().join("metrics.csv"))?;
        }
        let mut paths = Vec::new();
        if self.outputs.pictures {
            let config = trainer.config().clone();
            paths =
                plots::draw(&config, std::slice::from_ref(&records), Some(trainer), &self.folder.plots())?;
        }
        // the summary says that a run is done, so it comes last
        self.manifest.finish();
        self.folder.write_json("manifest.json", &self.manifest)?;
        self.folder.write_json("summary.json", &summary)?;
        let mut text = summary.table();
        let Summary { images, seconds, images_per_second, factor, .. } = &summary;
        writeln!(text, "\nfactor {factor:.2}: other digits' error over the own digits', last certificate")?;
        writeln!(
            text,
            "{images} images in {seconds:.0} s, {images_per_second:.0} images/s with evaluations"
        )?;
        for path in paths {
            writeln!(text, "{}", path.display())?;
        }
        Ok(text)
    }
}

/// Scores all networks; returns what the progress bar says of it.
fn evaluate(trainer: &mut Trainer, values: &mut Vec<(String, f64)>) -> Result<String> {
    let evaluation = trainer.evaluate()?;
    let split = &trainer.objective().split;
    values.push((
        "charts/epoch".to_owned(),
        trainer.updates_done() as f64 / trainer.updates_per_epoch() as f64,
    ));
    values.extend(evaluation.named(split));
    let last = split.parts() - 1;
    let errors = &evaluation.certificates[last].part_mse;
    let shown: Vec<String> = errors.iter().map(|mse| format!("{mse:.3}")).collect();
    Ok(format!("{} {}", split.part_name(last), shown.join("/")))
}

/// The losses by their names in the metrics.
fn named(report: &UpdateReport, trainer: &Trainer) -> Vec<(String, f64)> {
    let losses = &report.losses;
    let mut values = vec![
        ("losses/reconstruction".to_owned(), losses.reconstruction),
        ("losses/l1".to_owned(), losses.l1),
        ("losses/correlation".to_owned(), losses.correlation),
    ];
    for (part, loss) in losses.certificates.iter().enumerate() {
        values.push((format!("losses/certificate_{}", trainer.objective().split.part_name(part)), *loss));
    }
    values.push(("charts/grad_norm".to_owned(), report.grad_norm));
    values
}
