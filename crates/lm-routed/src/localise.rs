//! A list of tokens routed to neurons, as in the paper's virology experiment: what is lost without the neurons.

use std::path::Path;

use experiment::read_at_most;
use serde::{Deserialize, Serialize};
use transformer::{Hooks, Network, copied};

use crate::Error;
use crate::data::Dataset;
use crate::evaluate::{Losses, Validation};
use crate::finetune::{Context, relearn};

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
    /// Without the neurons, fine-tuned on a few documents with the words.
    pub relearned: WithAndWithout,
    /// How many documents.
    pub stories: usize,
}

/// No list of tokens is longer.
const LONGEST: u64 = 1 << 20;

/// The tokens of a list: one a line, `␣` for a space in front, empty lines and those that begin with `#` left out.
///
/// # Errors
/// [`Error::Corpus`] where the file cannot be read, is longer than 1 MiB or lists no word.
pub fn read_tokens(path: &Path) -> Result<Vec<String>, Error> {
    let fault = |fault: String| Error::Corpus { path: path.to_owned(), fault };
    let bytes = read_at_most(path, LONGEST).map_err(|error| fault(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| fault(format!("it is no UTF-8 text: {error}")))?;
    let lines =
        text.lines().map(str::trim_end).filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let tokens: Vec<String> = lines.map(str::to_owned).collect();
    if words_of(&tokens).is_empty() {
        return Err(fault("it lists no token; put one on each line".to_owned()));
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
    let parameters = copied(&network.parameters)?;
    let neurons: Vec<usize> = (0..config.localise.neurons).collect();
    for layer in &config.routing.layers {
        // what a neuron sends on: without it the neuron is not there
        let name = format!("blocks.{layer}.mlp.W_out");
        gradient_routing::ablate_parameter(parameters.get(&name)?, 0, &neurons)?;
    }
    let cut = Network { architecture: network.architecture.clone(), parameters };
    let ablated = losses(&cut)?;
    let stories = config.localise.stories;
    let what = format!("teaching it back from {stories} stories");
    let (_, taught) = relearn(&cut, cx, stories, || tell(&what))?;
    let relearned = losses(&taught)?;
    let tokens = listed.iter().map(|token| dataset.vocabulary.shown(*token)).collect();
    Ok(LocaliseResult { tokens, trained, ablated, relearned, stories })
}
