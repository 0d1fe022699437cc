//! Networks of a run as folders that other programs open.

use std::path::{Path, PathBuf};

use anyhow::Result;
use candle_core::Device;
use experiment::driver::Program as _;
use experiment::{Checkpoint, RunFolder, UserError};
use pretrained::Decoder;
use transformer::Network;

use crate::Error;
use crate::Language;
use crate::adapt::export_adapters;
use crate::commands::{is_adaptation, model_names, model_path, saved_model, vocabulary_of};
use crate::config::Config;
use crate::data::{CacheIs, Vocabulary};
use crate::methods::Part;

/// Which network is written.
#[derive(Clone, Debug)]
pub(crate) enum Choice {
    /// The one that was trained last.
    Last,
    /// One that the run has left, by its name.
    Model(String),
    /// The one of a checkpoint, before anything was cut out of it.
    Checkpoint(PathBuf),
}

/// Writes a network of a run, or of a folder that `profile` has written, as a GPT-2 in the layout of Hugging Face; of a run
/// of `adapt` its adapters as folders of PEFT.
///
/// # Errors
/// Fails where there is no such network, it is no GPT-2, or `to` holds something.
pub(crate) fn export(from: &Path, choice: &Choice, to: &Path) -> Result<String> {
    if is_adaptation(from) {
        let model = match choice {
            Choice::Last => None,
            Choice::Model(name) => Some(name.as_str()),
            Choice::Checkpoint(_) => {
                let error = UserError::usage("a run of `adapt` has its finished adapters exported");
                return Err(error
                    .with_hint("leave out --checkpoint; --model names one of its models")
                    .into());
            }
        };
        return export_adapters(from, model, to);
    }
    experiment::require_vacant(to)?;
    let (name, network, vocabulary) =
        if is_profile(from) { of_profile_as(from, choice)? } else { of_run(from, choice)? };
    let decoder = Decoder::of_network(&network).map_err(|error| {
        let hint =
            "networks with model.position = \"learned\" and model.norm = \"layer_norm\" can be exported";
        UserError::usage(error.to_string()).with_hint(hint)
    })?;
    decoder.save(to, Some(&vocabulary.to_json()?), &[vocabulary.end()])?;
    let files = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    let lines = experiment::lines(&files.map(|file| to.join(file)));
    Ok(format!("{name} as a GPT-2 of {} parameters\n{lines}", decoder.parameters()))
}

/// Whether it is what `profile` has written.
pub(crate) fn is_profile(folder: &Path) -> bool {
    !folder.join("config.toml").exists() && folder.join("model.safetensors").is_file()
}

fn of_profile_as(folder: &Path, choice: &Choice) -> Result<(String, Network, Vocabulary)> {
    if !matches!(choice, Choice::Last) {
        let error = UserError::usage(format!("{} holds one network and no others", folder.display()));
        return Err(error.with_hint("leave out --model and --checkpoint").into());
    }
    let (network, vocabulary) = of_profile(folder)?;
    Ok(("the profile".to_owned(), network, vocabulary))
}

/// The network that `profile` has written, and its vocabulary.
pub(crate) fn of_profile(folder: &Path) -> Result<(Network, Vocabulary)> {
    let path = folder.join("model.safetensors");
    let origin = path.display().to_string();
    let checkpoint = Checkpoint::load(&path, &Device::Cpu)?;
    checkpoint.require_sound(&path)?;
    let architecture = Network::architecture_of(&checkpoint.header, &origin)?;
    let network = Network::from_tensors(architecture, &checkpoint.tensors, &origin, &Device::Cpu)?;
    let vocabulary = Vocabulary::read(&folder.join("tokenizer.json")).map_err(Error::for_user)?;
    Ok((network, vocabulary))
}

fn of_run(run: &Path, choice: &Choice) -> Result<(String, Network, Vocabulary)> {
    let folder = RunFolder::view_of(run, Language::NAME)?;
    let config: Config = experiment::load_run(&folder.config_path(), &[])?;
    let path = match choice {
        Choice::Checkpoint(path) => path.clone(),
        Choice::Model(name) => model_path(&folder, &one_of(&folder, name)?),
        Choice::Last => {
            let names = model_names(&folder)?;
            let last =
                Part::all(&config).into_iter().map(|part| part.name()).rfind(|name| names.contains(name));
            model_path(&folder, last.as_ref().unwrap_or(&names[0]))
        }
    };
    let vocabulary = vocabulary_of(&folder, &config, CacheIs::TheRuns, false)?;
    let (name, network) = saved_model(&path, &config, vocabulary.size(), &Device::Cpu)?;
    Ok((name, network, vocabulary))
}

/// The name of a model that a run has left.
pub(crate) fn one_of(folder: &RunFolder, name: &str) -> Result<String> {
    let names = model_names(folder)?;
    if names.iter().any(|other| other == name) {
        return Ok(name.to_owned());
    }
    let error = UserError::usage(format!("{} has no model `{name}`", folder.path().display()));
    Err(error.with_hint(format!("give one of these with --model: {}", names.join(", "))).into())
}
