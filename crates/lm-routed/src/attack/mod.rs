//! Is it gone, or only hidden? Every model that a run has left is attacked in the same ways, and stands beside the model
//! that never saw the concept.
//!
//! Taught back from a few documents, all weights or low-rank matrices beside them, by the attacker's best of several
//! learning rates; taught on other documents; probed in every block; rounded to few bits; and pruned. What is done to one
//! model is saved before the next is taken up, so that an attack that was stopped goes on.

mod calibrate;
mod figures;
mod measures;
mod probes;
mod relearning;
mod report;
mod tables;
mod target;
mod weights;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use experiment::driver::Program as _;
use experiment::{RunFolder, SeedStreams, UserError, read_metrics, write_atomic};
use serde::{Deserialize, Serialize};
use transformer::{Hooks, Network};

use crate::Error;
use crate::Language;
use crate::commands::{Options, require_tokens};
use crate::config::{AttackSection, Config};
use crate::data::placed;
use crate::evaluate::{Losses, Validation};
use crate::finetune::Context;
use crate::per_story::StoryLosses;
use crate::program::prepared;
use crate::results::read_json;
pub(crate) use figures::steps as steps_figure;
use measures::BaseCurves;
pub(crate) use measures::{ANCHOR, Measure};
use relearning::Lesson;
pub(crate) use tables::named as table;
use target::Target;

/// `attacks/NAME.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AttackResult {
    /// The model.
    pub model: String,
    /// The settings, which another attack of the run must not have changed.
    pub settings: AttackSection,
    /// The seed of what the attacker draws.
    pub seed: u64,
    /// Before any attack.
    pub before: Measured,
    /// Before any attack, with a bias fitted to its logits.
    pub calibrated: Option<Measured>,
    /// Taught from the most documents about the concept, by the better of the two attackers who do so.
    pub elicited: Measured,
    /// Taught from documents about the concept.
    pub relearned: Vec<Attacked>,
    /// Taught from them with low-rank matrices beside the weights.
    pub relearned_lora: Vec<Attacked>,
    /// Taught from as many documents without it.
    pub taught_others: Vec<Attacked>,
    /// The losses with weights of few bits.
    pub quantised: Vec<(u32, Losses)>,
    /// The losses without a share of the weights, the smallest ones.
    pub pruned: Vec<(f64, Losses)>,
    /// How well a linear probe of the residual stream after each number of blocks tells documents about the concept from
    /// others: the area under its curve, 0.5 by chance.
    pub probes: Vec<(usize, f64)>,
}

/// The losses of a model on the reported documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Their means.
    pub losses: Losses,
    /// Those of each document.
    pub stories: StoryLosses,
}

/// What teaching came to, at the learning rate that brought the loss on the concept down furthest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Attacked {
    /// Documents it was taught on.
    pub stories: usize,
    /// That learning rate.
    pub learning_rate: f64,
    /// The lowest loss on documents about the concept.
    pub lowest: f64,
    /// Steps of the curve.
    pub steps: Vec<u64>,
    /// The loss on documents about the concept at each of them.
    pub curve: Vec<f64>,
}

/// Attacks every model of a run of `era`, or those of a run of `modules` that tell of one concept, or goes on with it, and
/// returns the tables and the paths of what was written.
///
/// # Errors
/// Fails where the run is at work elsewhere, has no model or no such concept, documents are too few, an earlier attack had
/// other settings, or a file cannot be written.
pub fn attack(
    run: &Path,
    concept: Option<&str>,
    set: &[String],
    seed: u64,
    options: &Options,
) -> Result<String> {
    let Options { threads, quiet, cache, .. } = *options;
    RunFolder::view_of(run, Language::NAME)?;
    let folder = RunFolder::open(run)?;
    let config: Config = experiment::load_run(&folder.config_path(), set)?;
    let Target { only, into, metrics, models } = Target::of(&folder, &config, concept)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("starting threads")?;
    let results = pool.install(|| -> Result<Vec<AttackResult>> {
        let concepts = config.concepts();
        let dataset =
            prepared(&placed(&config.data, run)?, &concepts, config.model.block_size, cache, quiet)?;
        let dataset = match only {
            Some(number) => dataset.about_only(number),
            None => dataset,
        };
        require_tokens(&folder, &dataset.vocabulary)?;
        let most = config.attack.stories.iter().copied().max().unwrap_or(0);
        crate::finetune::require_relearning(&dataset, most).map_err(Error::for_user)?;
        let streams = SeedStreams::new(seed);
        let cx = Context { config: &config, dataset: &dataset, streams, threads };
        let needed = config.architecture(dataset.vocabulary.size());
        let mut results = Vec::new();
        for model in &models {
            let name = &model.name;
            let path = into.join(format!("{name}.json"));
            if let Some(found) = read_json::<AttackResult>(&path)? {
                require_same(&found, &config.attack, seed, &path)?;
                results.push(found);
                continue;
            }
            tracing::info!("attacking {name}");
            let network = model.network(&folder, &needed, options)?;
            let result = attacked(name, &network, cx, seed).map_err(Error::for_user)?;
            folder.require_held()?;
            write_atomic(&path, serde_json::to_string(&result)?.as_bytes())?;
            results.push(result);
        }
        Ok(results)
    })?;
    folder.require_held()?;
    let curves = BaseCurves::of(&read_metrics(&folder.metrics_path())?, &metrics);
    report::write(&results, &curves, &into)
}

/// The key of an attack's numbers in a run's result.
pub(crate) const KEY: &str = "attack";

/// No file of numbers is longer.
const LONGEST: u64 = 16 << 20;

/// The numbers of a run's attack, or of its attacks on several concepts; nothing where there was none, or it was not
/// finished.
pub(crate) fn measures_of(folder: &RunFolder) -> Result<Option<Vec<Measure>>> {
    let attacks = folder.path().join("attacks");
    let mut found = measures_in(&attacks)?;
    if !attacks.exists() {
        return Ok(found);
    }
    let listed = || format!("cannot list {}", attacks.display());
    let entries = std::fs::read_dir(&attacks).with_context(listed)?;
    let mut concepts: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>().with_context(listed)?;
    concepts.sort();
    for folder in concepts.iter().filter(|path| path.is_dir()) {
        let concept = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let named = |one| Measure { concept: concept.clone(), ..one };
        if let Some(measures) = measures_in(folder)? {
            found.get_or_insert_default().extend(measures.into_iter().map(named));
        }
    }
    Ok(found)
}

fn measures_in(attack: &Path) -> Result<Option<Vec<Measure>>> {
    let path = attack.join(report::LINES);
    if !path.exists() {
        return Ok(None);
    }
    let unusable = |fault: String| {
        UserError::failed(format!("cannot read {}: {fault}", path.display()))
            .with_hint("`attack` on that run writes it anew")
    };
    let bytes = experiment::read_at_most(&path, LONGEST).map_err(|error| unusable(error.to_string()))?;
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let measures = lines.map(serde_json::from_slice).collect::<Result<_, _>>();
    Ok(Some(measures.map_err(|error| unusable(error.to_string()))?))
}

fn require_same(found: &AttackResult, settings: &AttackSection, seed: u64, path: &Path) -> Result<()> {
    if found.settings == *settings && found.seed == seed {
        return Ok(());
    }
    let error = UserError::failed(format!("{} was made with other settings or another seed", path.display()));
    Err(error.with_hint("attack with these, or move the folder `attacks` away to begin anew").into())
}

fn attacked(name: &str, network: &Network, cx: Context<'_>, seed: u64) -> Result<AttackResult, Error> {
    let config = cx.config;
    let settings = &config.attack;
    let tokens = config.model.block_size;
    let few = Validation::new(cx.dataset, settings.validation_stories, tokens);
    let reported = Validation::new(cx.dataset, config.eval.stories, tokens);
    let measured = |network: &Network| -> Result<Measured, Error> {
        let hooks = Hooks::default();
        let (losses, stories) = reported.measured(&mut cx.model(network)?, &hooks, &hooks)?;
        Ok(Measured { losses, stories })
    };
    // the best network of each kind of lesson is that of the most documents
    let teach = |about: bool, low_rank: bool| -> Result<(Vec<Attacked>, Option<Network>), Error> {
        let mut found: Vec<(Attacked, Network)> = Vec::new();
        for stories in settings.stories.iter().copied() {
            found.push(relearning::best(network, cx, Lesson { stories, about, low_rank }, &few)?);
        }
        let most = found.iter().max_by_key(|(attacked, _)| attacked.stories).map(|(_, kept)| kept.clone());
        Ok((found.into_iter().map(|(attacked, _)| attacked).collect(), most))
    };
    let (relearned, taught) = teach(true, false)?;
    let (relearned_lora, taught_lora) =
        if settings.lora_rank > 0 { teach(true, true)? } else { (Vec::new(), None) };
    let mut elicited = measured(network)?;
    let before = elicited.clone();
    for taught in [taught, taught_lora].into_iter().flatten() {
        let found = measured(&taught)?;
        if found.losses.forget < elicited.losses.forget {
            elicited = found;
        }
    }
    let losses = |network: &Network| reported.losses(&mut cx.model(network)?, &Hooks::default());
    let quantised = |bits: &u32| Ok((*bits, losses(&weights::quantised(network, *bits)?)?));
    let pruned = |share: &f64| Ok((*share, losses(&weights::pruned(network, *share)?)?));
    let calibrated = (settings.calibration_steps > 0)
        .then(|| calibrate::calibrated(network, cx, &reported))
        .transpose()?;
    Ok(AttackResult {
        model: name.to_owned(),
        settings: settings.clone(),
        seed,
        before,
        calibrated,
        elicited,
        relearned,
        relearned_lora,
        taught_others: teach(false, false)?.0,
        quantised: settings.bits.iter().map(quantised).collect::<Result<_, Error>>()?,
        pruned: settings.pruned.iter().map(pruned).collect::<Result<_, Error>>()?,
        probes: probes::all(network, cx)?,
    })
}
