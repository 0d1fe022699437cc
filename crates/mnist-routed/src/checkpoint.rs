//! Checkpoints: everything that changes in a run, saved and taken back exactly.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use candle_core::Device;
use experiment::{Checkpoint, CheckpointStore, MOST_THREADS, RunFolder, UserError};
use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::{Config, Error, Trainer};

/// What stands in a checkpoint's header.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    /// Updates done.
    pub update: u64,
    /// The run's seed.
    pub seed: u64,
    /// Parts that the rows of a batch are split in.
    pub shards: usize,
    /// Seconds spent so far.
    pub seconds: f64,
    config: Config,
}

impl Header {
    pub fn of(checkpoint: &Checkpoint, path: &Path) -> Result<Self, Error> {
        serde_json::from_value(checkpoint.header.clone())
            .map_err(|e| Error::State(format!("{} has no header of a mnist-routed run: {e}", path.display())))
    }
}

/// The trainer's state after an update. After the last one nothing moves the parameters any more, so that Adam's
/// moments, two thirds of it, are left out.
pub(crate) fn checkpoint(trainer: &Trainer, seed: u64, seconds: f64) -> Result<Checkpoint, Error> {
    let header = Header {
        update: trainer.updates_done(),
        seed,
        shards: trainer.shards(),
        seconds,
        config: trainer.config().clone(),
    };
    let mut tensors = trainer.state()?;
    if trainer.updates_done() == trainer.updates_total() {
        tensors.retain(|name, _| !name.starts_with("adam."));
    }
    let header = serde_json::to_value(header).map_err(|e| Error::State(e.to_string()))?;
    Ok(Checkpoint { header, tensors })
}

/// A trainer that goes on exactly where the checkpoint was taken.
pub(crate) fn restore(
    checkpoint: &Checkpoint,
    path: &Path,
    config: &Config,
    dataset: &Arc<Dataset>,
    threads: usize,
    device: &Device,
) -> Result<(Trainer, Header), Error> {
    let header = Header::of(checkpoint, path)?;
    if header.config != *config {
        return Err(Error::State(format!("{} was written under another config.toml", path.display())));
    }
    if !(1..=MOST_THREADS).contains(&header.shards) {
        let fault = format!("splits a batch in {} parts; 1 to {MOST_THREADS} can be made", header.shards);
        return Err(Error::State(format!("{} {fault}", path.display())));
    }
    let mut trainer = Trainer::new(config, dataset, header.seed, threads, header.shards, device)?;
    if header.update > trainer.updates_total() {
        let fault = format!("has done {} updates of {}", header.update, trainer.updates_total());
        return Err(Error::State(format!("{} {fault}", path.display())));
    }
    trainer.load(&checkpoint.tensors, header.update, &path.display().to_string())?;
    Ok((trainer, header))
}

/// The checkpoint asked for, or else the newest intact one of a run.
pub(crate) fn open_checkpoint(run: &RunFolder, asked: Option<&Path>) -> Result<(PathBuf, Checkpoint)> {
    if let Some(path) = asked {
        return Ok((path.to_owned(), Checkpoint::load(path, &Device::Cpu)?));
    }
    CheckpointStore::new(run.checkpoints(), 0).latest_intact(&Device::Cpu).ok_or_else(|| {
        let message = format!("{} has no intact checkpoint", run.path().display());
        UserError::failed(message).with_hint("train writes one every checkpoint.every epochs").into()
    })
}
