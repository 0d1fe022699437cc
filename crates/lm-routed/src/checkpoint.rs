//! The models that a run leaves.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Device;
use experiment::Checkpoint;

use crate::Error;
use crate::finetune::Network;
use crate::model::{Architecture, from_map};

/// Saves a network with its shape.
pub(crate) fn save_network(network: &Network, path: &Path) -> Result<(), Error> {
    let header = serde_json::to_value(&network.architecture).map_err(|e| Error::State(e.to_string()))?;
    let header = serde_json::json!({ "architecture": header });
    let tensors: BTreeMap<_, _> = network.parameters.snapshot()?;
    Ok(Checkpoint { header, tensors }.save(path)?)
}

/// Reads a network that [`save_network`] wrote, which must be of the shape `needed`.
pub(crate) fn load_network(path: &Path, needed: &Architecture, device: &Device) -> Result<Network, Error> {
    let checkpoint = Checkpoint::load(path, &Device::Cpu)?;
    let architecture: Architecture = serde_json::from_value(checkpoint.header["architecture"].clone())
        .map_err(|e| Error::State(format!("{} has no network's shape: {e}", path.display())))?;
    if let Some(difference) = architecture.difference(needed) {
        return Err(Error::State(format!("{} {difference}", path.display())));
    }
    let parameters = from_map(&checkpoint.tensors, &architecture, &path.display().to_string(), device)?;
    Ok(Network { architecture, parameters })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::model::{Position, initial};
    use experiment::SeedStreams;

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
        assert!(turned(8).difference(&turned(9)).is_none());
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
}
