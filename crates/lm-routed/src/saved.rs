//! Checkpoints of a run, and the models it leaves.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Device;
use experiment::Checkpoint;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::config::Config;
use crate::finetune::Network;
use crate::model::{Architecture, from_map};
use crate::train::Trainer;

/// What stands in a checkpoint's header.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    /// Updates of all parts so far.
    pub update: u64,
    /// The part in training.
    pub part: String,
    /// Its steps so far.
    pub step: u64,
    /// The run's seed.
    pub seed: u64,
    /// Seconds spent so far.
    pub seconds: f64,
    /// The run's settings.
    pub config: Config,
}

impl Header {
    pub fn of(checkpoint: &Checkpoint, path: &Path) -> Result<Self, Error> {
        serde_json::from_value(checkpoint.header.clone())
            .map_err(|e| Error::State(format!("{} has no header of an lm-routed run: {e}", path.display())))
    }
}

/// The state of a run in the training of a part.
pub(crate) fn checkpoint(trainer: &Trainer<'_>, header: &Header) -> Result<Checkpoint, Error> {
    let header = serde_json::to_value(header).map_err(|e| Error::State(e.to_string()))?;
    Ok(Checkpoint { header, tensors: trainer.state()? })
}

/// Saves a network with its shape.
pub(crate) fn save_network(network: &Network, path: &Path) -> Result<(), Error> {
    let header = serde_json::to_value(&network.architecture).map_err(|e| Error::State(e.to_string()))?;
    let header = serde_json::json!({ "architecture": header });
    let tensors: BTreeMap<_, _> = network.parameters.snapshot()?;
    Ok(Checkpoint { header, tensors }.save(path)?)
}

/// Reads a network that [`save_network`] wrote.
pub(crate) fn load_network(path: &Path, device: &Device) -> Result<Network, Error> {
    let checkpoint = Checkpoint::load(path, &Device::Cpu)?;
    let architecture: Architecture = serde_json::from_value(checkpoint.header["architecture"].clone())
        .map_err(|e| Error::State(format!("{} has no network's shape: {e}", path.display())))?;
    let parameters = from_map(&checkpoint.tensors, &architecture, &path.display().to_string(), device)?;
    Ok(Network { architecture, parameters })
}
