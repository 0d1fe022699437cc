//! Is it gone, or only hidden? Every model that a run has left is attacked in the same ways, and stands beside the model
//! that never saw the concept.
//!
//! Taught back from a few documents, by the attacker's best of several learning rates; taught on other documents; probed
//! in every block; rounded to few bits; and pruned. What is done to one model is saved before the next is taken up, so that
//! an attack that was stopped goes on.

mod probes;
mod relearning;
mod report;
mod weights;

use std::path::Path;

use anyhow::{Context as _, Result};
use experiment::driver::Program as _;
use experiment::{RunFolder, SeedStreams, UserError, write_atomic};
use serde::{Deserialize, Serialize};
use transformer::{Hooks, Network};

use crate::Error;
use crate::Language;
use crate::checkpoint::load_network;
use crate::commands::{Options, model_names, model_path, require_tokens};
use crate::config::{AttackSection, Config, Experiment};
use crate::data::placed;
use crate::evaluate::{Losses, Validation};
use crate::finetune::{Context, model_of};
use crate::program::prepared;
use crate::results::read_json;

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
    pub before: Losses,
    /// Taught from documents about the concept.
    pub relearned: Vec<Attacked>,
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

/// Attacks every model of a run of `era`, or goes on with it, and returns the tables and the paths of what was written.
///
/// # Errors
/// Fails where the run has no model, documents are too few, an earlier attack had other settings, or a file cannot be
/// written.
pub fn attack(run: &Path, set: &[String], seed: u64, options: &Options) -> Result<String> {
    let Options { threads, ref device, quiet, cache } = *options;
    let folder = RunFolder::view_of(run, Language::NAME)?;
    let config: Config = experiment::load_run(&folder.config_path(), set)?;
    if config.experiment.kind != Experiment::Era {
        let error = UserError::usage(format!("{} has no models that forgot one concept", run.display()));
        return Err(error.with_hint("`attack` is for runs of the experiment `era`").into());
    }
    let names = model_names(&folder)?;
    let into = folder.path().join("attacks");
    experiment::create_folder(&into)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("starting threads")?;
    let results = pool.install(|| -> Result<Vec<AttackResult>> {
        let concepts = config.concepts();
        let dataset =
            prepared(&placed(&config.data, run)?, &concepts, config.model.block_size, cache, quiet)?;
        require_tokens(&folder, &dataset.vocabulary)?;
        let most = config.attack.stories.iter().copied().max().unwrap_or(0);
        crate::finetune::require_relearning(&dataset, most).map_err(Error::for_user)?;
        let streams = SeedStreams::new(seed);
        let cx = Context { config: &config, dataset: &dataset, streams, threads };
        let needed = config.architecture(dataset.vocabulary.size());
        let mut results = Vec::new();
        for name in names {
            let path = into.join(format!("{name}.json"));
            if let Some(found) = read_json::<AttackResult>(&path)? {
                require_same(&found, &config.attack, seed, &path)?;
                results.push(found);
                continue;
            }
            tracing::info!("attacking {name}");
            let network = load_network(&model_path(&folder, &name), &needed, device)?;
            let result = attacked(&name, &network, cx, seed).map_err(Error::for_user)?;
            write_atomic(&path, serde_json::to_string(&result)?.as_bytes())?;
            results.push(result);
        }
        Ok(results)
    })?;
    report::write(&results, &into)
}

fn require_same(found: &AttackResult, settings: &AttackSection, seed: u64, path: &Path) -> Result<()> {
    if found.settings == *settings && found.seed == seed {
        return Ok(());
    }
    let error = UserError::failed(format!("{} was made with other settings or another seed", path.display()));
    Err(error.with_hint("attack with these, or move the folder `attacks` away to begin anew").into())
}

fn attacked(name: &str, network: &Network, cx: Context<'_>, seed: u64) -> Result<AttackResult, Error> {
    let settings = &cx.config.attack;
    let validation = Validation::new(cx.dataset, settings.validation_stories, cx.config.model.block_size);
    let losses = |network: &Network| {
        validation.losses(&mut model_of(network, cx.config, cx.threads)?, &Hooks::default())
    };
    let teach = |about: bool| -> Result<Vec<Attacked>, Error> {
        settings
            .stories
            .iter()
            .map(|stories| relearning::best(network, cx, *stories, about, &validation))
            .collect()
    };
    let quantised = |bits: &u32| Ok((*bits, losses(&weights::quantised(network, *bits)?)?));
    let pruned = |share: &f64| Ok((*share, losses(&weights::pruned(network, *share)?)?));
    Ok(AttackResult {
        model: name.to_owned(),
        settings: settings.clone(),
        seed,
        before: losses(network)?,
        relearned: teach(true)?,
        taught_others: teach(false)?,
        quantised: settings.bits.iter().map(quantised).collect::<Result<_, Error>>()?,
        pruned: settings.pruned.iter().map(pruned).collect::<Result<_, Error>>()?,
        probes: probes::all(network, cx)?,
    })
}
