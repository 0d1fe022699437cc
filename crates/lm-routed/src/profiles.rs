//! The networks of a run with modules in which only some of them are left.

use std::path::Path;

use anyhow::{Context as _, Result};
use experiment::driver::Program as _;
use experiment::{RunFolder, UserError, write_atomic};
use serde_json::{Map, json};
use transformer::{Hooks, Network};

use crate::checkpoint::{load_network, save_network};
use crate::commands::{Options, model_path, require_tokens, vocabulary_of};
use crate::config::{Config, Experiment};
use crate::data::{Vocabulary, placed};
use crate::export::is_profile;
use crate::finetune::model_of;
use crate::methods::{Part, module_names};
use crate::modules::{kinds, losses};
use crate::program::prepared;
use crate::{Error, Language};

/// The name of a profile without any module.
const CORE: &str = "core";

/// The network of a run with some of its modules.
pub(crate) struct Kept {
    /// The settings of the run.
    pub config: Config,
    /// The name of the model.
    pub name: String,
    /// The network, from which all other modules are physically gone.
    pub network: Network,
    /// The parameters of the network with all modules.
    pub of: usize,
    pub vocabulary: Vocabulary,
}

/// Reads the network of a run with modules and takes out all but these; `core` stands for none.
///
/// # Errors
/// Fails where the run has no such model, or no module of such a name.
pub(crate) fn kept(run: &Path, modules: &[String], options: &Options) -> Result<Kept> {
    let hint = "profiles are for runs of the experiment `modules` with the method gram";
    let none = || UserError::usage(format!("{} has no model with modules", run.display())).with_hint(hint);
    if is_profile(run) {
        return Err(none().into());
    }
    let folder = RunFolder::view_of(run, Language::NAME)?;
    let config: Config = experiment::load_run(&folder.config_path(), &[])?;
    let has_modules =
        |part: &Part| (part.method.routes)(&config).is_ok_and(|routes| routes.table.profiles().len() > 1);
    // a run of `era` leaves the core alone
    let part = Part::all(&config).into_iter().find(has_modules);
    let part = part.filter(|_| config.experiment.kind == Experiment::Modules).ok_or_else(none)?;
    let groups = groups(run, &config, modules)?;
    let vocabulary = vocabulary_of(&folder, &config, options.cache, options.quiet)?;
    let needed = config.architecture(vocabulary.size());
    let whole = load_network(&model_path(&folder, &part.name()), &needed, &options.device)?;
    let routes = (part.method.routes)(&config)?;
    let network = whole.keeping(&routes.groups(&whole.architecture), &groups)?;
    Ok(Kept { name: part.name(), network, of: whole.parameters.num_elements(), vocabulary, config })
}

/// The groups of the route table that stay: the core and the modules of these names.
fn groups(run: &Path, config: &Config, modules: &[String]) -> Result<Vec<usize>> {
    let names = module_names(config);
    let mut groups = vec![0];
    for module in modules.iter().filter(|module| *module != CORE) {
        let Some(index) = names.iter().position(|name| name == module) else {
            let error = UserError::usage(format!("{} has no module `{module}`", run.display()));
            return Err(error.with_hint(format!("its modules are {}", names.join(", "))).into());
        };
        groups.push(1 + index);
    }
    Ok(groups)
}

/// Writes the network of a run with modules in which only those of `keep` are left, as `model.safetensors` with the
/// run's `tokenizer.json`.
///
/// # Errors
/// Fails where the run has no model with modules or none of such a name, and where `out` holds something.
pub fn write(run: &Path, keep: &[String], out: &Path, options: &Options) -> Result<String> {
    let Kept { network, of, vocabulary, .. } = kept(run, keep, options)?;
    experiment::create_folder(out)?;
    let (model, tokenizer) = (out.join("model.safetensors"), out.join("tokenizer.json"));
    save_network(&network, &model)?;
    write_atomic(&tokenizer, vocabulary.to_json()?.as_bytes())?;
    let lines = experiment::lines(&[model, tokenizer]);
    Ok(format!("{} of {of} parameters are left\n{lines}", network.parameters.num_elements()))
}

/// Measures the network of a run with modules in which only these are left, on the validation documents of each kind, and
/// returns a JSON line.
///
/// # Errors
/// Fails where the run has no model with modules or none of such a name, and where the documents are not there.
pub fn eval(run: &Path, modules: &[String], options: &Options) -> Result<String> {
    let Options { threads, quiet, cache, .. } = *options;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("starting threads")?;
    pool.install(|| {
        let Kept { config, name, network, .. } = kept(run, modules, options)?;
        let data = placed(&config.data, run)?;
        let dataset = prepared(&data, &config.concepts(), config.model.block_size, cache, quiet)?;
        require_tokens(&RunFolder::view_of(run, Language::NAME)?, &dataset.vocabulary)?;
        let mut model = model_of(&network, &config, threads)?;
        let losses = losses(&mut model, &kinds(&config, &dataset), &dataset, &Hooks::default());
        let losses = losses.map_err(Error::for_user)?;
        let losses: Map<_, _> = losses.into_iter().map(|kind| (kind.kind, json!(kind.loss))).collect();
        let modules: Vec<&String> = modules.iter().filter(|module| *module != CORE).collect();
        Ok(format!("{}\n", json!({ "model": name, "profile": modules, "losses": losses })))
    })
}
