//! Checkpoints of a run, and the models it leaves.

use std::path::{Path, PathBuf};

use candle_core::Device;
use experiment::{Checkpoint, CheckpointStore};
use serde::{Deserialize, Serialize};
use transformer::{Architecture, Network, Position};

use crate::Error;
use crate::config::Config;
use crate::methods::Part;
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

/// A checkpoint to go on from.
pub(crate) struct ResumePoint {
    /// Its file.
    pub file: PathBuf,
    /// Its content.
    pub checkpoint: Checkpoint,
    /// Its header.
    pub header: Header,
}

impl ResumePoint {
    /// The newest intact checkpoint of a run, if there is one, which must be of a run of these settings.
    pub fn newest(store: &CheckpointStore, config: &Config) -> Result<Option<Self>, Error> {
        let Some((file, checkpoint)) = store.latest_intact(&Device::Cpu) else { return Ok(None) };
        let header: Header = serde_json::from_value(checkpoint.header.clone()).map_err(|error| {
            Error::State(format!("{} has no header of an lm-routed run: {error}", file.display()))
        })?;
        if header.config != *config {
            let fault = "was written under another config.toml: restore the run's";
            return Err(Error::State(format!("{} {fault}", file.display())));
        }
        if !header.is_of_a_run() {
            let Header { update, part, step, .. } = &header;
            let file = file.display();
            let place = format!("update {update} is not step {step} of the part `{part}`");
            return Err(Error::State(format!("{file} stands nowhere in this run: {place}")));
        }
        Ok(Some(Self { file, checkpoint, header }))
    }
}

impl Header {
    /// Whether a run of its settings comes past this place.
    fn is_of_a_run(&self) -> bool {
        let mut before = 0;
        for part in Part::all(&self.config) {
            let steps = part.steps(&self.config);
            if part.name() == self.part {
                return self.step <= steps && self.update == before + self.step;
            }
            before += steps;
        }
        false
    }
}

/// The state of a run in the training of a part.
pub(crate) fn checkpoint(trainer: &Trainer<'_>, header: &Header) -> Result<Checkpoint, Error> {
    let header = serde_json::to_value(header).map_err(|e| Error::State(e.to_string()))?;
    Ok(Checkpoint { header, tensors: trainer.state()? })
}

/// Saves a network with its shape.
pub(crate) fn save_network(network: &Network, path: &Path) -> Result<(), Error> {
    Ok(Checkpoint { header: network.header(), tensors: network.tensors()? }.save(path)?)
}

/// Reads a network that [`save_network`] wrote, which must be of the shape `needed`.
pub(crate) fn load_network(path: &Path, needed: &Architecture, device: &Device) -> Result<Network, Error> {
    let checkpoint = Checkpoint::load(path, &Device::Cpu)?;
    let origin = path.display().to_string();
    let architecture = Network::architecture_of(&checkpoint.header, &origin)?;
    if let Some(difference) = difference(&architecture, needed) {
        return Err(Error::State(format!("{origin} {difference}")));
    }
    Ok(Network::from_tensors(architecture, &checkpoint.tensors, &origin, device)?)
}

/// In what a saved network differs from what a run needs, if in anything, as the rest of a sentence. It can have
/// learned more positions than are needed; rotary ones have no end.
fn difference(saved: &Architecture, needed: &Architecture) -> Option<String> {
    if saved.vocab_size != needed.vocab_size {
        let (found, needed) = (saved.vocab_size, needed.vocab_size);
        let remedy = "restore the data that the run was made from";
        return Some(format!("has {found} tokens, the data {needed}: {remedy}"));
    }
    let mut saved = saved.clone();
    if needed.position == Position::Rotary || needed.block_size <= saved.block_size {
        saved.block_size = needed.block_size;
    }
    (saved != *needed).then(|| "has another shape than [model] says: use the run's settings".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use experiment::SeedStreams;
    use transformer::initial;

    #[test]
    fn a_network_of_another_shape_is_refused_before_it_takes_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("base.safetensors");
        let mut config = Config::default();
        (config.model.n_layer, config.model.n_head, config.model.n_embd) = (1, 1, 4);
        let needed = config.architecture(7);
        let parameters = initial(&needed, &mut SeedStreams::new(1).stream("init"), &Device::Cpu).unwrap();
        save_network(&Network { architecture: needed.clone(), parameters }, &path).unwrap();
        let load = |needed: &Architecture| load_network(&path, needed, &Device::Cpu).map(|_| ());
        load(&needed).unwrap();
        load(&Architecture { block_size: needed.block_size - 1, ..needed.clone() }).unwrap();
        let turned = |block_size| Architecture { position: Position::Rotary, block_size, ..needed.clone() };
        assert!(difference(&turned(8), &turned(9)).is_none());
        for (other, words) in [
            (Architecture { vocab_size: 8, ..needed.clone() }, "has 7 tokens, the data 8: restore the data"),
            (Architecture { n_embd: 8, ..needed.clone() }, "has another shape than [model] says"),
            (
                Architecture { block_size: needed.block_size + 1, ..needed.clone() },
                "has another shape than [model] says",
            ),
        ] {
            let error = load(&other).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("base.safetensors"), "{error}");
        }
        // a header that agrees with the run over tensors that do not
        let vast = Architecture { n_embd: 1 << 40, ..needed.clone() };
        let mut checkpoint = Checkpoint::load(&path, &Device::Cpu).unwrap();
        checkpoint.header = serde_json::json!({ "architecture": &vast });
        checkpoint.save(&path).unwrap();
        let error = load(&vast).unwrap_err().to_string();
        assert!(error.contains("in shape ["), "{error}");
        checkpoint.tensors.clear();
        checkpoint.save(&path).unwrap();
        let error = load(&vast).unwrap_err().to_string();
        assert!(error.contains("lacks the parameters "), "{error}");
    }

    #[test]
    fn a_checkpoint_stands_at_a_step_of_a_part() {
        let mut config = Config::default();
        config.train.steps = 10;
        let header = |update, part: &str, step| Header {
            update,
            part: part.to_owned(),
            step,
            seed: 0,
            seconds: 0.0,
            config: config.clone(),
        };
        for (update, part, step) in [(0, "base", 0), (10, "base", 10), (10, "era", 0), (13, "era", 3)] {
            assert!(header(update, part, step).is_of_a_run(), "{update} {part} {step}");
        }
        for (update, part, step) in
            [(11, "base", 11), (3, "era", 3), (13, "era", 2), (3, "rmu", 3), (u64::MAX, "era", u64::MAX)]
        {
            assert!(!header(update, part, step).is_of_a_run(), "{update} {part} {step}");
        }
    }
}
