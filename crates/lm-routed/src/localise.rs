//! A list of tokens routed to neurons, as in the paper's virology experiment: what is lost without the neurons.

use std::collections::BTreeMap;
use std::path::Path;

use learning::Parameters;
use serde::{Deserialize, Serialize};
use transformer::{Hooks, Network};

use crate::Error;
use crate::data::{Dataset, read_list};
use crate::evaluate::{Losses, Validation};
use crate::finetune::{Context, make_coherent, relearn};

/// Losses over all tokens, and over those that are not in the list.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WithAndWithout {
    /// Over all tokens.
    pub all: Losses,
    /// Without the listed ones: what went along with them is absorption.
    pub unlisted: Losses,
}

/// What `virology` has found. Documents with a listed word are those to forget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocaliseResult {
    /// The listed tokens that the vocabulary has.
    pub tokens: Vec<String>,
    /// The model as it was trained.
    pub trained: WithAndWithout,
    /// Without the neurons.
    pub ablated: WithAndWithout,
    /// Without the neurons, fine-tuned on documents without the words.
    pub coherent: WithAndWithout,
    /// The coherent model, fine-tuned on a few documents with the words.
    pub relearned: WithAndWithout,
    /// How many documents.
    pub stories: usize,
}

/// No list of tokens is longer.
const LONGEST: u64 = 1 << 20;

/// The tokens of a list: one a line, `␣` for a space in front, empty lines and those that begin with `#` left out.
///
/// # Errors
/// [`Error::List`] where the file cannot be read, is longer than 1 MiB or lists no word.
pub fn read_tokens(path: &Path) -> Result<Vec<String>, Error> {
    let tokens = read_list(path, LONGEST, str::trim_end)?;
    if words_of(&tokens).is_empty() {
        return Err(Error::List { path: path.to_owned(), fault: "it lists no word".to_owned() });
    }
    Ok(tokens)
}

/// The words of listed tokens, by which documents are told apart.
pub fn words_of(tokens: &[String]) -> Vec<String> {
    let mut words: Vec<String> =
        tokens.iter().map(|token| token.trim_start_matches(['␣', ' ']).to_lowercase()).collect();
    // a lone space is a token, but every document has it
    words.retain(|word| !word.is_empty());
    words.sort();
    words.dedup();
    words
}

/// The listed tokens that are one token of the vocabulary; each that is not is named in a warning.
pub fn known_tokens(dataset: &Dataset, tokens: &[String]) -> Vec<u32> {
    let mut known = Vec::new();
    for token in tokens {
        if let Some(id) = dataset.vocabulary.single(token) {
            known.push(id);
        } else {
            tracing::warn!("`{token}` is not one token of the vocabulary and is left out");
        }
    }
    known
}

/// Measures a model whose listed tokens were routed to its first neurons.
///
/// # Errors
/// Fails where the model does, or `tell` says so.
///
/// # Source
/// Cloud et al. 2024, section 4.2.3.
pub fn measure(
    network: &Network,
    cx: Context<'_>,
    listed: &[u32],
    mut tell: impl FnMut(&str) -> Result<(), Error>,
) -> Result<LocaliseResult, Error> {
    let (config, dataset) = (cx.config, cx.dataset);
    let validation = Validation::new(dataset, config.eval.stories, config.model.block_size);
    let losses = |network: &Network| -> Result<WithAndWithout, Error> {
        let mut model = cx.model(network)?;
        let hooks = Hooks::default();
        let all = validation.losses(&mut model, &hooks)?;
        let unlisted = validation.losses_of(&mut model, &hooks, |token| !listed.contains(&token))?;
        Ok(WithAndWithout { all, unlisted })
    };
    tell("measuring")?;
    let trained = losses(network)?;
    let cut = without_first_neurons(network, &config.routing.layers, config.localise.neurons)?;
    let ablated = losses(&cut)?;
    tell("making it coherent")?;
    let mended = make_coherent(&cut, cx)?;
    let coherent = losses(&mended)?;
    let stories = config.localise.stories;
    let what = format!("teaching it back from {stories} stories");
    let (_, taught) = relearn(&mended, cx, stories, || tell(&what))?;
    let relearned = losses(&taught)?;
    let tokens = listed.iter().map(|token| dataset.vocabulary.shown(*token)).collect();
    Ok(LocaliseResult { tokens, trained, ablated, coherent, relearned, stories })
}

/// A network whose MLPs in some blocks have their first `count` neurons no more: what is trained later cannot bring them
/// back. The kept numbers are the same to the bit.
fn without_first_neurons(network: &Network, layers: &[usize], count: usize) -> Result<Network, Error> {
    let mut architecture = network.architecture.clone();
    let mut cut = BTreeMap::new();
    for layer in layers {
        architecture.mlp_widths[*layer] -= count;
        for (leaf, dimension) in [("W_in", 1), ("b_in", 0), ("W_out", 0)] {
            cut.insert(format!("blocks.{layer}.mlp.{leaf}"), dimension);
        }
    }
    let mut parameters = Parameters::default();
    for (name, value) in network.parameters.snapshot()? {
        let kept = match cut.get(&name) {
            Some(dimension) => {
                value.narrow(*dimension, count, value.dim(*dimension)? - count)?.contiguous()?
            }
            None => value,
        };
        parameters.insert(&name, &kept)?;
    }
    Ok(Network { architecture, parameters })
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use experiment::SeedStreams;
    use learning::Backend;
    use transformer::{Architecture, Batch, copied, initial};

    use super::*;

    #[test]
    fn without_its_first_neurons_a_network_computes_as_if_they_sent_nothing() {
        let architecture = Architecture {
            n_layer: 2,
            n_head: 2,
            n_embd: 8,
            mlp_widths: vec![12; 2],
            block_size: 6,
            vocab_size: 20,
            ..Architecture::default()
        };
        let parameters =
            initial(&architecture, &mut SeedStreams::new(3).stream("init"), &Device::Cpu).unwrap();
        let network = Network { architecture, parameters };
        let cut = without_first_neurons(&network, &[1], 5).unwrap();
        assert_eq!(cut.architecture.mlp_widths, [12, 7]);
        let numbers = |network: &Network, name: &str| {
            network.parameters.get(name).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        // the rows of W_out are neurons, the columns of W_in
        let (before, after) = (numbers(&network, "blocks.1.mlp.W_out"), numbers(&cut, "blocks.1.mlp.W_out"));
        assert_eq!(before[5 * 8..], after);
        let (before, after) = (numbers(&network, "blocks.1.mlp.W_in"), numbers(&cut, "blocks.1.mlp.W_in"));
        for (before, after) in before.chunks_exact(12).zip(after.chunks_exact(7)) {
            assert_eq!(before[5..], *after);
        }
        assert_eq!(numbers(&network, "blocks.0.mlp.W_in"), numbers(&cut, "blocks.0.mlp.W_in"));
        let silent = Network {
            architecture: network.architecture.clone(),
            parameters: copied(&network.parameters).unwrap(),
        };
        let sent = silent.parameters.get("blocks.1.mlp.W_out").unwrap();
        gradient_routing::ablate_parameter(sent, 0, &[0, 1, 2, 3, 4]).unwrap();
        let batch = Batch::new([[1, 2, 3, 4, 5, 6, 7].as_slice()], 6, 0);
        let losses = |network: &Network| {
            network.model(6, 1, Backend::Auto).unwrap().token_losses(&batch, &Hooks::default()).unwrap()
        };
        let (whole, cut, silent) = (losses(&network), losses(&cut), losses(&silent));
        for (cut, silent) in cut.iter().zip(&silent) {
            assert!((cut - silent).abs() < 1e-5, "{cut} {silent}");
        }
        assert_ne!(whole, silent);
    }
}
