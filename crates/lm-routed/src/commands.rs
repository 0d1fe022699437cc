//! Looking at a run: its tables, its losses, its texts.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use candle_core::Device;
use experiment::driver::ResumePoint;
use experiment::{Checkpoint, RunFolder, SeedStreams, UserError};
use serde_json::json;
use transformer::generate::{self, Sampling};
use transformer::{HookPoint, Hooks, Intervention, Network};

use crate::Error;
use crate::checkpoint::{load_network, network_of};
use crate::config::Config;
use crate::data::{CacheIs, Dataset};
use crate::evaluate::Validation;
use crate::finetune::model_of;
use crate::methods::Recipe;
use crate::parts::part_of;
use crate::{Language, report};

/// Writes a run's tables and pictures anew and returns the tables and the paths.
///
/// # Errors
/// Fails where the run has no results yet or a file cannot be written.
pub fn plot(run: &Path, out: Option<&Path>) -> Result<String> {
    let folder = RunFolder::view(run)?;
    let config: Config = experiment::load_run(&folder.config_path(), &[])?;
    let report = report::write(&folder, &config, out)?;
    Ok(format!("{}\n{}", report.text, experiment::lines(&report.files)))
}

/// What to measure, and how.
#[derive(Clone, Debug)]
pub struct EvalRequest {
    /// A file in place of all models.
    pub checkpoint: Option<PathBuf>,
    /// Settings over those of the run.
    pub set: Vec<String>,
    /// Who has named the cache of tokens.
    pub cache: CacheIs,
}

/// Measures all models that a run has left, or the one in a file, which may be a checkpoint of its training, and
/// returns one JSON line a model.
///
/// # Errors
/// Fails where the run has no model yet or its data are not there.
pub fn eval(run: &Path, request: &EvalRequest, threads: usize, device: &Device) -> Result<String> {
    let folder = RunFolder::view(run)?;
    let config: Config = experiment::load_run(&folder.config_path(), &request.set)?;
    let named = request.set.iter().any(|set| set.starts_with("data.cache="));
    let cache = if named { CacheIs::TheUsers } else { request.cache };
    let paths = match &request.checkpoint {
        Some(path) => vec![path.clone()],
        None => model_names(&folder)?.iter().map(|name| model_path(&folder, name)).collect(),
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("starting threads")?;
    pool.install(|| {
        let dataset =
            Dataset::load_as(&config.data, config.model.block_size, cache).map_err(Error::for_user)?;
        let validation = Validation::new(&dataset, config.eval.stories, config.model.block_size);
        let [forget_stories, retain_stories] = validation.stories();
        let mut out = String::new();
        for path in &paths {
            let (name, network) = saved_model(path, &config, &dataset, device)?;
            let losses = validation.losses(&mut model_of(&network, &config, threads)?, &Hooks::default())?;
            let line = json!({
                "model": name,
                "forget": losses.forget,
                "retain": losses.retain,
                "stories": { "forget": forget_stories, "retain": retain_stories },
                "checkpoint": path.display().to_string(),
            });
            writeln!(out, "{line}")?;
        }
        Ok(out)
    })
}

/// What to generate.
#[derive(Clone, Debug)]
pub struct GenerateRequest {
    /// The model.
    pub model: String,
    /// How each text begins.
    pub prompt: String,
    /// Texts, and the tokens of each.
    pub size: (usize, usize),
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// A block, a dimension of the residual stream behind it, and what is added to it.
    pub push: Option<(usize, usize, f32)>,
    /// The seed of the stream `generate`.
    pub seed: u64,
    /// Who has named the cache of tokens.
    pub cache: CacheIs,
}

/// Continues a text with a model of a run.
///
/// # Errors
/// Fails where the run has no such model, or block or dimension are not there.
pub fn generate(run: &Path, request: &GenerateRequest, threads: usize, device: &Device) -> Result<String> {
    let folder = RunFolder::view(run)?;
    let config: Config = experiment::load_run(&folder.config_path(), &[])?;
    let names = model_names(&folder)?;
    if !names.contains(&request.model) {
        let error = UserError::usage(format!("{} has no model `{}`", run.display(), request.model));
        return Err(error.with_hint(format!("give one of these with --model: {}", names.join(", "))).into());
    }
    let mut hooks = Hooks::default();
    if let Some((block, dimension, strength)) = request.push {
        if block >= config.model.n_layer || dimension >= config.model.n_embd {
            let (layers, width) = (config.model.n_layer, config.model.n_embd);
            let error = UserError::usage(format!("there is no block {block} or no dimension {dimension}"));
            let hint = format!("blocks go from 0 to {}, dimensions from 0 to {}", layers - 1, width - 1);
            return Err(error.with_hint(hint).into());
        }
        let mut add = vec![0.0; config.model.n_embd];
        add[dimension] = strength;
        let intervention = Intervention { add: Some(Arc::new(add)), ..Intervention::default() };
        hooks = hooks.with(block, HookPoint::ResidPost, intervention);
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("starting threads")?;
    pool.install(|| {
        let dataset = Dataset::load_as(&config.data, config.model.block_size, request.cache)
            .map_err(Error::for_user)?;
        let vocabulary = &dataset.vocabulary;
        let needed = config.architecture(vocabulary.size());
        let network = load_network(&model_path(&folder, &request.model), &needed, device)?;
        let mut model = model_of(&network, &config, threads)?;
        let prompt = vocabulary.encode(std::slice::from_ref(&request.prompt))?.remove(0);
        let mut rng = SeedStreams::new(request.seed).stream("generate");
        let (end, sampling) = (vocabulary.end(), request.sampling);
        let texts = generate::generate(&mut model, &prompt, end, request.size, sampling, &hooks, &mut rng)?;
        let mut out = String::new();
        for tokens in texts {
            writeln!(out, "{}{}\n", request.prompt, vocabulary.decode(&tokens)?.trim_end())?;
        }
        Ok(out)
    })
}

/// The names of the models that a run has left.
fn model_names(folder: &RunFolder) -> Result<Vec<String>> {
    let mut names = Vec::new();
    if let Ok(entries) = std::fs::read_dir(folder.path().join("models")) {
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "safetensors") {
                names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
            }
        }
    }
    names.sort();
    if names.is_empty() {
        let error = UserError::failed(format!("{} has no model yet", folder.path().display()));
        return Err(error.with_hint("its first model is still in training: `resume` goes on with it").into());
    }
    Ok(names)
}

fn model_path(folder: &RunFolder, name: &str) -> PathBuf {
    folder.path().join("models").join(format!("{name}.safetensors"))
}

/// The model of a file with its name: one that a run has left, or one in training.
fn saved_model(
    path: &Path,
    config: &Config,
    dataset: &Dataset,
    device: &Device,
) -> Result<(String, Network)> {
    let checkpoint = Checkpoint::load(path, &Device::Cpu).map_err(Error::from)?;
    if checkpoint.header.get("part").is_none() {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let needed = config.architecture(dataset.vocabulary.size());
        return Ok((name, network_of(&checkpoint, path, &needed, device)?));
    }
    let point = ResumePoint::new::<Language>(path.to_owned(), checkpoint)?;
    let part = part_of(&point, config)?;
    let recipe = Recipe::new(config, part, dataset, SeedStreams::new(point.seed), &[])?;
    let (tensors, origin) = (point.tensors_under("model."), point.origin());
    Ok((part.name(), Network::from_tensors(recipe.expanded, &tensors, &origin, device)?))
}
