//! The adapters of a run as folders that peft opens.

use std::path::Path;

use anyhow::Result;
use candle_core::Device;
use experiment::driver::Program as _;
use experiment::{Checkpoint, RunFolder, SeedStreams, UserError};

use super::arm::Arm;
use super::model::opened;
use crate::config::Config;
use crate::{Error, Language};

/// Writes the low-rank adapters of a model of a run as folders of PEFT below `to`, each under its name; those of `routed`
/// where no model is named and the run has it, else those of the last one. The base stands in them as the run names it.
///
/// # Errors
/// Fails where the run has no such model, its base is not there, or `to` holds something.
pub(crate) fn export_adapters(run: &Path, model: Option<&str>, to: &Path) -> Result<String> {
    experiment::require_vacant(to)?;
    let folder = RunFolder::view_of(run, Language::NAME)?;
    let config: Config = experiment::load_run(&folder.config_path(), &[])?;
    let file = |arm: Arm| folder.path().join("adapters").join(format!("{}.safetensors", arm.name()));
    let arms: Vec<Arm> = Arm::of(&config).into_iter().filter(|arm| file(*arm).exists()).collect();
    let named = |name: &str| arms.iter().copied().find(|arm| arm.name() == name);
    let found = match model {
        Some(name) => named(name),
        None => named(Arm::Routed.name()).or_else(|| arms.last().copied()),
    };
    let Some(arm) = found else {
        let error = UserError::usage(format!("{} has no adapters of that model", run.display()));
        let names: Vec<&str> = arms.iter().map(|arm| arm.name()).collect();
        return Err(error.with_hint(format!("those that are done: {}", names.join(", "))).into());
    };
    let base = opened(&config.adapt.base)?;
    let shape = base.decoder.shape();
    // the weights that it begins with are replaced
    let adapters = arm.adapters(&config, shape, SeedStreams::new(0)).map_err(Error::for_user)?;
    let path = file(arm);
    let checkpoint = Checkpoint::load(&path, &Device::Cpu)?;
    checkpoint.require_sound(&path)?;
    adapters.parameters().load(&checkpoint.tensors, &path.display().to_string())?;
    let mut written = Vec::new();
    for lora in adapters.all() {
        let folder = to.join(&lora.name);
        adapters.save_peft(&lora.name, shape, Some(&config.adapt.base), &folder)?;
        written.push(folder);
    }
    let left_out =
        adapters.mlps().iter().map(|mlp| format!("{} is an MLP, which peft has not: left out\n", mlp.name));
    Ok(format!("adapters of {}\n{}{}", arm.name(), left_out.collect::<String>(), experiment::lines(&written)))
}
