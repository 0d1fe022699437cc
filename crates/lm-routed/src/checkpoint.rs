//! The models that a run leaves.

use std::path::Path;

use candle_core::Device;
use experiment::Checkpoint;
use transformer::{Architecture, Network, Position};

use crate::Error;

/// Saves a network with its shape.
pub(crate) fn save_network(network: &Network, path: &Path) -> Result<(), Error> {
    Ok(Checkpoint { header: network.header(), tensors: network.tensors()? }.save(path)?)
}

/// Reads a network that [`save_network`] wrote, which must be of the shape `needed`.
pub(crate) fn load_network(path: &Path, needed: &Architecture, device: &Device) -> Result<Network, Error> {
    network_of(&Checkpoint::load(path, &Device::Cpu)?, path, needed, device)
}

/// The network of a file that was read, which must be of the shape `needed`.
pub(crate) fn network_of(
    checkpoint: &Checkpoint,
    path: &Path,
    needed: &Architecture,
    device: &Device,
) -> Result<Network, Error> {
    let origin = path.display().to_string();
    let architecture = Network::architecture_of(&checkpoint.header, &origin)?;
    if let Some(difference) = difference(&architecture, needed) {
        return Err(Error::State(format!("{origin} {difference}")));
    }
    checkpoint.require_sound(path)?;
    Ok(Network::from_tensors(architecture, &checkpoint.tensors, &origin, device)?)
}

/// In what a saved network differs from what a run needs, if in anything, as the rest of a sentence. It can have
/// learned more positions than are needed; rotary ones have no end. A method may have added neurons, or cut some out.
fn difference(saved: &Architecture, needed: &Architecture) -> Option<String> {
    if saved.vocab_size != needed.vocab_size {
        let (found, needed) = (saved.vocab_size, needed.vocab_size);
        let remedy = "restore the data that the run was made from";
        return Some(format!("has {found} tokens, the data {needed}: {remedy}"));
    }
    let mut saved = saved.clone();
    if saved.mlp_widths.len() == needed.mlp_widths.len() {
        saved.mlp_widths.clone_from(&needed.mlp_widths);
    }
    if needed.position == Position::Rotary || needed.block_size <= saved.block_size {
        saved.block_size = needed.block_size;
    }
    (saved != *needed).then(|| "has another shape than [model] says: use the run's settings".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
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
}
