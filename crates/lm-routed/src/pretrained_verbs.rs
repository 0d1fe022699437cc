//! Models that somebody else trained: what they are, and the texts that they continue.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use experiment::{SeedStreams, UserError};
use pretrained::{Choice, Pretrained, continued};

use crate::Error;
use crate::commands::GenerateRequest;
use crate::data::{HubKind, from_hub};

/// What a folder or file holds: architecture, sizes, parameters, and whether its tokenizer is there.
///
/// # Errors
/// Fails where it is no model that can be read.
pub fn model(path: &Path) -> Result<String> {
    Ok(opened(path)?.described())
}

/// Continues a text with a model from disk; at temperature 0 with the likeliest token each time.
///
/// # Errors
/// Fails where the model cannot be read, lacks a tokenizer or is asked for a push or a profile.
pub fn generate(path: &Path, request: &GenerateRequest, threads: usize) -> Result<String> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("starting threads")?;
    pool.install(|| {
        let model = opened(path)?;
        let of_runs = [("--push", request.push.is_some()), ("--profile", request.profile.is_some())];
        if let Some((option, _)) = of_runs.iter().find(|(_, given)| *given) {
            let error = UserError::usage(format!("`{option}` is for the models of a run"));
            return Err(error.with_hint("leave it out").into());
        }
        let Some(tokenizer) = &model.tokenizer else {
            let error = UserError::failed(format!("{} has no tokenizer", path.display()));
            return Err(error.with_hint("put its tokenizer.json beside config.json").into());
        };
        let prompt = tokenizer.encode_fast(request.prompt.as_str(), false).map_err(anyhow::Error::msg)?;
        let choice =
            if request.sampling.temperature > 0.0 { Choice::Drawn(request.sampling) } else { Choice::Greedy };
        let mut rng = SeedStreams::new(request.seed).stream("generate");
        let (samples, length) = request.size;
        let mut out = String::new();
        for _ in 0..samples {
            let tokens =
                continued(&model.decoder, prompt.get_ids(), length, &model.ends, choice, None, &mut rng)?;
            let text = tokenizer.decode(&tokens, true).map_err(anyhow::Error::msg)?;
            writeln!(out, "{}{}\n", request.prompt, text.trim_end())?;
        }
        Ok(out)
    })
}

/// Whether a path is that of a model that somebody else trained, or `hub:OWNER/MODEL`.
pub(crate) fn is_model(path: &Path) -> bool {
    of_hub(path).is_some() || Pretrained::is_at(path)
}

/// What stands behind `hub:`.
fn of_hub(path: &Path) -> Option<&str> {
    path.to_str()?.strip_prefix("hub:")
}

fn opened(path: &Path) -> Result<Pretrained> {
    let local = match of_hub(path) {
        Some(name) => from_hub(name, HubKind::Model).map_err(|error| match error {
            Error::Corpus { path, fault } => {
                UserError::usage(format!("cannot use {}: {fault}", path.display())).into()
            }
            other => other.for_user(),
        })?,
        None => path.to_owned(),
    };
    Pretrained::open(&local).map_err(|error| {
        let hint =
            "give a folder in the layout of Hugging Face with config.json and safetensors, or a .gguf file";
        UserError::usage(error.to_string()).with_hint(hint).into()
    })
}
