//! Looking at a run: its tables, its losses, its texts.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use candle_core::Device;
use experiment::driver::{BenchArgs, Outputs, Program as _, ResumePoint, Run, RunRequest};
use experiment::{Checkpoint, CommonArgs, RunFolder, SeedStreams, UserError};
use serde_json::json;
use transformer::generate::{self, Sampling};
use transformer::{Architecture, Backend, HookPoint, Hooks, Intervention, Network};

use crate::Error;
use crate::adapt::Adaptation;
use crate::checkpoint::{load_network, network_of};
use crate::config::{Config, Experiment};
use crate::data::{CacheIs, Vocabulary, placed, with_words};
use crate::evaluate::Validation;
use crate::export::{is_profile, of_profile, one_of};
use crate::finetune::model_of;
use crate::parts::{TOKENIZER, part_of};
use crate::profiles::{Kept, kept};
use crate::program::prepared;
use crate::sweep::in_curves;
use crate::{Language, report};

/// Writes a run's tables and pictures anew and returns the tables and the paths.
///
/// # Errors
/// Fails where the run has no results yet or a file cannot be written.
pub fn plot(run: &Path, out: Option<&Path>) -> Result<String> {
    let folder = RunFolder::view_of(run, Language::NAME)?;
    let config: Config = experiment::load_run(&folder.config_path(), &[])?;
    let report = report::write(&folder, &config, out)?;
    Ok(format!("{}\n{}", report.text, experiment::lines(&report.files)))
}

/// Goes on with a run of whichever experiment.
///
/// # Errors
/// Fails where the run has nothing to go on from, is in use, or fails.
pub fn resume(run: &Path, cache: CacheIs, common: &CommonArgs, outputs: Outputs) -> Result<String> {
    let mut view = common.view(Language::UNIT, in_curves);
    if is_adaptation(run) {
        let program = Adaptation { cache, quiet: common.quiet };
        return Run::resume(&program, run, common.threads, outputs)?.drive(&mut *view);
    }
    let program = Language::reading(cache).telling(common.quiet);
    Run::resume(&program, run, common.threads, outputs)?.drive(&mut *view)
}

/// Whether a run is one of `adapt`.
pub(crate) fn is_adaptation(run: &Path) -> bool {
    let config = experiment::load_run::<Config>(&run.join("config.toml"), &[]);
    config.is_ok_and(|config| config.experiment.kind == Experiment::Adapt)
}

/// Runs the experiment `adapt` on the model at `base`, or on that of the config.
///
/// # Errors
/// Fails where the settings make no sense, base or documents are not there, or the run fails.
pub fn adapt(base: Option<PathBuf>, mut common: CommonArgs, outputs: Outputs) -> Result<String> {
    common.set.push("experiment.kind=adapt".to_owned());
    let mut config: Config = experiment::load(common.config.as_deref(), &common.set)?;
    config.concept = with_words(&config.concept).map_err(Error::for_user)?;
    if let Some(base) = base {
        config.adapt.base = base.display().to_string();
    }
    // so that the run goes on from any folder
    if let Ok(path) = std::path::absolute(&config.adapt.base) {
        config.adapt.base = path.display().to_string();
    }
    let program = Adaptation { cache: CacheIs::TheUsers, quiet: common.quiet };
    let request = RunRequest::new(&program, config, &common, outputs);
    let mut view = common.view(Language::UNIT, in_curves);
    Run::create(&program, &request)?.drive(&mut *view)
}

/// The line of `bench` for a routed step of adapters on a model from disk.
///
/// # Errors
/// Fails where the settings make no sense, or the model cannot be read.
pub fn bench_adapters(base: &Path, mut common: CommonArgs, times: BenchArgs) -> Result<String> {
    common.set.push("experiment.kind=adapt".to_owned());
    let config: Config = experiment::load(common.config.as_deref(), &common.set)?;
    Ok(crate::adapt::bench(base, &config, common.thread_count(), times)? + "\n")
}

/// What a command computes with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads.
    pub threads: usize,
    /// Where the tensors live.
    pub device: Device,
    /// No word about what is being done.
    pub quiet: bool,
    /// Who has named the cache of tokens.
    pub cache: CacheIs,
}

/// Measures all models that a run has left, or the one in a file, which may be a checkpoint of its training, and
/// returns one JSON line a model.
///
/// # Errors
/// Fails where the run has no model yet or its data are not there.
pub fn eval(run: &Path, checkpoint: Option<&Path>, set: &[String], options: &Options) -> Result<String> {
    let Options { threads, ref device, quiet, cache } = *options;
    let folder = RunFolder::view_of(run, Language::NAME)?;
    let config: Config = experiment::load_run(&folder.config_path(), set)?;
    let data = placed(&config.data, run)?;
    let named = set.iter().any(|set| set.starts_with("data.cache="));
    let cache = if named { CacheIs::TheUsers } else { cache };
    let paths = match checkpoint {
        Some(path) => vec![path.to_owned()],
        None => model_names(&folder)?.iter().map(|name| model_path(&folder, name)).collect(),
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("starting threads")?;
    pool.install(|| {
        let dataset = prepared(&data, &config.concepts(), config.model.block_size, cache, quiet)?;
        require_tokens(&folder, &dataset.vocabulary)?;
        let validation = Validation::new(&dataset, config.eval.stories, config.model.block_size);
        let [forget_stories, retain_stories] = validation.stories();
        let mut out = String::new();
        for path in &paths {
            let (name, network) = saved_model(path, &config, dataset.vocabulary.size(), device)?;
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
    /// Of a run with modules, those that stay in place of a model.
    pub profile: Option<Vec<String>>,
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
}

/// Continues a text with a model of a run, or with the network that `profile` has written.
///
/// # Errors
/// Fails where the run has no such model, or block or dimension are not there.
pub fn generate(run: &Path, request: &GenerateRequest, options: &Options) -> Result<String> {
    let Options { threads, ref device, .. } = *options;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("starting threads")?;
    pool.install(|| {
        let (mut model, vocabulary) = if let Some(modules) = &request.profile {
            let Kept { config, network, vocabulary, .. } = kept(run, modules, options)?;
            (model_of(&network, &config, threads)?, vocabulary)
        } else if is_profile(run) {
            let (network, vocabulary) = of_profile(run)?;
            let tokens = network.architecture.block_size;
            (network.model(tokens, threads, Backend::Auto)?, vocabulary)
        } else {
            let folder = RunFolder::view_of(run, Language::NAME)?;
            let config: Config = experiment::load_run(&folder.config_path(), &[])?;
            let name = one_of(&folder, &request.model)?;
            let vocabulary = vocabulary_of(&folder, &config, options.cache, options.quiet)?;
            let needed = config.architecture(vocabulary.size());
            let network = load_network(&model_path(&folder, &name), &needed, device)?;
            (model_of(&network, &config, threads)?, vocabulary)
        };
        let hooks = pushed(request.push, model.architecture())?;
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

/// The hooks of a push.
fn pushed(push: Option<(usize, usize, f32)>, architecture: &Architecture) -> Result<Hooks> {
    let Some((block, dimension, strength)) = push else { return Ok(Hooks::default()) };
    let (layers, width) = (architecture.n_layer, architecture.n_embd);
    if block >= layers || dimension >= width {
        let error = UserError::usage(format!("there is no block {block} or no dimension {dimension}"));
        let hint = format!("blocks go from 0 to {}, dimensions from 0 to {}", layers - 1, width - 1);
        return Err(error.with_hint(hint).into());
    }
    let mut add = vec![0.0; width];
    add[dimension] = strength;
    let intervention = Intervention { add: Some(Arc::new(add)), ..Intervention::default() };
    Ok(Hooks::default().with(block, HookPoint::ResidPost, intervention))
}

/// The vocabulary of a run's models: its file, or what its texts make where an earlier version has left none.
pub(crate) fn vocabulary_of(
    folder: &RunFolder,
    config: &Config,
    cache: CacheIs,
    quiet: bool,
) -> Result<Vocabulary> {
    let file = folder.path().join(TOKENIZER);
    if file.exists() {
        return Vocabulary::read(&file).map_err(Error::for_user);
    }
    let data = placed(&config.data, folder.path())?;
    Ok(prepared(&data, &config.concepts(), config.model.block_size, cache, quiet)?.vocabulary)
}

/// Refuses texts that are tokenised otherwise than those that the models of a run have learned from.
pub(crate) fn require_tokens(folder: &RunFolder, vocabulary: &Vocabulary) -> Result<()> {
    let file = folder.path().join(TOKENIZER);
    if !file.exists()
        || Vocabulary::read(&file).map_err(Error::for_user)?.to_json()? == vocabulary.to_json()?
    {
        return Ok(());
    }
    let message = format!("the texts give other tokens than the models of {} have", folder.path().display());
    let hint = format!("to measure on other texts: --set data.tokenizer={}", file.display());
    Err(UserError::usage(message).with_hint(hint).into())
}

/// The names of the models that a run has left.
pub(crate) fn model_names(folder: &RunFolder) -> Result<Vec<String>> {
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
    if names.is_empty() && is_adaptation(folder.path()) {
        let message =
            format!("{} is a run of `adapt`, which leaves adapters and no model", folder.path().display());
        return Err(UserError::usage(message).with_hint("`plot` shows its tables").into());
    }
    if names.is_empty() {
        let error = UserError::failed(format!("{} has no model yet", folder.path().display()));
        return Err(error.with_hint("its first model is still in training: `resume` goes on with it").into());
    }
    Ok(names)
}

pub(crate) fn model_path(folder: &RunFolder, name: &str) -> PathBuf {
    folder.path().join("models").join(format!("{name}.safetensors"))
}

/// The model of a file with its name: one that a run has left, or one in training.
pub(crate) fn saved_model(
    path: &Path,
    config: &Config,
    vocab_size: usize,
    device: &Device,
) -> Result<(String, Network)> {
    let needed = config.architecture(vocab_size);
    let checkpoint = Checkpoint::load(path, &Device::Cpu).map_err(Error::from)?;
    if checkpoint.header.get("part").is_none() {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        return Ok((name, network_of(&checkpoint, path, &needed, device)?));
    }
    let point = ResumePoint::new::<Language>(path.to_owned(), checkpoint)?;
    let part = part_of(&point, config)?;
    let routes = (part.method.routes)(config)?;
    let expanded = needed.expanded(&routes.layers, routes.added);
    let (tensors, origin) = (point.tensors_under("model."), point.origin());
    Ok((part.name(), Network::from_tensors(expanded, &tensors, &origin, device)?))
}
