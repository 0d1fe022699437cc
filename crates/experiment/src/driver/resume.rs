//! Going on with a run: what is checked before anything is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use candle_core::{Device, Tensor};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::program::{BuildContext, Program, Training as _};
use super::run::{Outputs, Run, Saved};
use crate::checkpoint::Checkpoint;
use crate::checkpoint_store::CheckpointStore;
use crate::config::load_run;
use crate::device::DeviceArg;
use crate::error::RunError;
use crate::manifest::Manifest;
use crate::metrics::{MetricsWriter, read_metrics};
use crate::report::UserError;
use crate::run_folder::RunFolder;

/// A checkpoint to go on from.
#[derive(Clone, Debug)]
pub struct ResumePoint {
    program: &'static str,
    /// Its file.
    pub path: PathBuf,
    /// Updates done.
    pub update: u64,
    /// The run's seed.
    pub seed: u64,
    /// Seconds spent so far.
    pub seconds: f64,
    /// The tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    header: Value,
}

impl ResumePoint {
    /// A checkpoint of `P` that was read from a file.
    ///
    /// # Errors
    /// Fails where it is another program's, or holds what nobody could go on from, see [`Checkpoint::require_sound`].
    pub fn new<P: Program>(path: PathBuf, checkpoint: Checkpoint) -> Result<Self> {
        #[derive(serde::Deserialize)]
        struct Common {
            /// Nothing in a checkpoint of an earlier version.
            program: Option<String>,
            update: u64,
            seed: u64,
            seconds: f64,
        }
        checkpoint.require_sound(&path)?;
        let Checkpoint { header, tensors } = checkpoint;
        let Common { program, update, seed, seconds } = header_of(&header, &path, P::NAME)?;
        if let Some(other) = program.filter(|name| name != P::NAME) {
            let fault = format!("{} is a checkpoint of {other}, not of {}", path.display(), P::NAME);
            return Err(does_not_fit(&fault).into());
        }
        Ok(Self { program: P::NAME, path, update, seed, seconds, tensors, header })
    }

    /// The newest intact checkpoint of a run, if it has one.
    ///
    /// # Errors
    /// Fails where it is another program's.
    pub fn newest<P: Program>(run: &RunFolder) -> Result<Option<Self>> {
        let newest = CheckpointStore::new(run.checkpoints(), 0).latest_intact(&Device::Cpu);
        newest.map(|(path, checkpoint)| Self::new::<P>(path, checkpoint)).transpose()
    }

    /// The checkpoint asked for, or else the newest intact one of a run.
    ///
    /// # Errors
    /// Fails where that is not there, damaged, or another program's.
    pub fn asked_or_newest<P: Program>(run: &RunFolder, asked: Option<&Path>) -> Result<Self> {
        if let Some(path) = asked {
            return Self::new::<P>(path.to_owned(), Checkpoint::load(path, &Device::Cpu)?);
        }
        Self::newest::<P>(run)?.ok_or_else(|| {
            let message = format!("{} has no intact checkpoint", run.path().display());
            UserError::failed(message)
                .with_hint("`train` writes one as often as checkpoint.every says")
                .into()
        })
    }

    /// What the program itself has put into the header.
    ///
    /// # Errors
    /// Fails where it is not there, or is of another form.
    pub fn header<T: DeserializeOwned>(&self) -> Result<T> {
        header_of(&self.header, &self.path, self.program)
    }

    /// The tensors whose names begin with `prefix`, without it.
    pub fn tensors_under(&self, prefix: &str) -> BTreeMap<String, Tensor> {
        let named = self.tensors.iter();
        named
            .filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor.clone())))
            .collect()
    }

    /// The file, for messages.
    pub fn origin(&self) -> String {
        self.path.display().to_string()
    }

    /// The checkpoint that a run goes on from: the newest intact one that `metrics` have a record of. A newer one
    /// without a record is left from before the run went on from an older one, and is named in a warning. Where there
    /// is no record of any, the newest intact one.
    fn to_go_on_from<P: Program>(run: &RunFolder, recorded: &BTreeSet<u64>) -> Result<Option<Self>> {
        let mut ahead: Option<Self> = None;
        for (path, checkpoint) in CheckpointStore::new(run.checkpoints(), 0).intact(&Device::Cpu) {
            let point = Self::new::<P>(path, checkpoint)?;
            if recorded.contains(&point.update) {
                if let Some(ahead) = ahead {
                    let metrics = run.metrics_path();
                    tracing::warn!("skipped: {} is ahead of {}", ahead.origin(), metrics.display());
                }
                return Ok(Some(point));
            }
            ahead = ahead.or(Some(point));
        }
        Ok(ahead)
    }

    /// Refuses a checkpoint of another seed.
    fn require_seed(&self, seed: u64) -> Result<()> {
        if self.seed == seed {
            return Ok(());
        }
        let fault = format!("{} is of seed {}, the run of seed {seed}", self.origin(), self.seed);
        Err(does_not_fit(&fault).into())
    }

    /// Refuses a checkpoint that was written under other settings.
    ///
    /// # Errors
    /// Fails where it was.
    pub fn require_config<C: PartialEq + DeserializeOwned>(&self, config: &C) -> Result<()> {
        #[derive(serde::Deserialize)]
        struct Settings<C> {
            config: C,
        }
        let saved: Settings<C> = self.header()?;
        if saved.config == *config {
            return Ok(());
        }
        let fault = format!("{} was written under another config.toml", self.origin());
        Err(does_not_fit(&format!("{fault}: restore the run's")).into())
    }
}

fn header_of<T: DeserializeOwned>(header: &Value, path: &Path, program: &str) -> Result<T> {
    T::deserialize(header).map_err(|error| {
        let fault = format!("{} is not a checkpoint of {program}: {error}", path.display());
        does_not_fit(&fault).into()
    })
}

fn does_not_fit(fault: &str) -> UserError {
    UserError::failed(format!("the checkpoint does not fit this run: {fault}"))
}

impl<'p, P: Program> Run<'p, P> {
    /// Goes on with an interrupted run from its newest intact checkpoint, exactly as if it had not been interrupted.
    /// Without `threads`, it computes with as many as before; with another number it comes to the same. What it was asked
    /// to write when it began, it goes on to write, beside `outputs`.
    ///
    /// # Errors
    /// Fails where the folder is in use or holds no run, the run is finished already, or its files are not what they
    /// were; nothing has been changed then.
    pub fn resume(program: &'p P, path: &Path, threads: Option<usize>, outputs: Outputs) -> Result<Self> {
        let folder = RunFolder::open(path)?;
        folder.require_program(P::NAME)?;
        let config: P::Config = load_run(&folder.config_path(), &[])?;
        let mut manifest = Manifest::read(&folder.manifest_path())?;
        if folder.summary_path().exists() {
            let message = format!("the run in {} is finished", path.display());
            let hint = format!("{} work on a finished run", P::READERS);
            return Err(UserError::usage(message).with_hint(hint).into());
        }
        let device: DeviceArg = manifest.device.parse().context("the device in manifest.json")?;
        let device = device.open()?;
        let threads = threads.unwrap_or(manifest.threads);
        let lanes = manifest.threads;
        let cx = BuildContext { seed: manifest.seed, threads, lanes, device: &device, folder: path };
        let recorded = recorded(&folder.metrics_path())?;
        let point = ResumePoint::to_go_on_from::<P>(&folder, &recorded)?;
        let training = if let Some(point) = &point {
            point.require_config(&config)?;
            point.require_seed(manifest.seed)?;
            program.rewind(&config, &cx, point)?
        } else {
            program.restart(&config, &cx)?.ok_or_else(|| {
                let message = format!("{} has no intact checkpoint to go on from", path.display());
                UserError::failed(message).with_hint("remove the folder and start the run again")
            })?
        };
        let update = training.position().update;
        let untrained = !recorded.contains(&update);
        if untrained && update > 0 {
            let metrics = folder.metrics_path();
            let message =
                format!("{} has no record of update {update}, the last one saved", metrics.display());
            return Err(UserError::failed(message)
                .with_hint("restore it from a copy, or start the run again")
                .into());
        }
        // one that was copied by hand may lack what a run begins with
        folder.make("checkpoints")?;
        folder.make("plots")?;
        program.prepare_folder(&folder)?;
        let metrics = MetricsWriter::resume(&folder.metrics_path(), update)?;
        program.cut_back(&folder, update)?;
        let outputs = outputs.and(manifest.outputs);
        manifest.outputs = outputs.asked();
        manifest.resume();
        folder.write_json("manifest.json", &manifest)?;
        let seconds = point.map_or(0.0, |point| point.seconds);
        Self::over(
            program,
            &config,
            training,
            Saved { folder, manifest, metrics, seconds, untrained },
            outputs,
        )
    }
}

/// The updates of which the metrics have a record; none where a run was cut off before it had written anything.
fn recorded(metrics: &Path) -> Result<BTreeSet<u64>> {
    match read_metrics(metrics) {
        Ok(records) => Ok(records.iter().map(|record| record.update).collect()),
        Err(RunError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error.into()),
    }
}
