//! What is attacked: the models of a run that forgot one concept, under the names that the tables know.

use std::path::PathBuf;

use anyhow::Result;
use experiment::{RunFolder, UserError};
use transformer::{Architecture, Network};

use super::measures::{ANCHOR, BASE, BaseMetrics};
use crate::checkpoint::load_network;
use crate::commands::{Options, model_names, model_path};
use crate::config::{Config, Experiment};
use crate::methods::{Part, module_names};
use crate::profiles;

/// The models of a run and the concept that they forgot.
pub(super) struct Target {
    /// The number of this concept, of a run that has several.
    pub only: Option<usize>,
    /// Where the results go.
    pub into: PathBuf,
    /// Where the run keeps what its base model lost while it was trained.
    pub metrics: BaseMetrics,
    /// The models.
    pub models: Vec<Attackable>,
}

/// A model, and where it comes from.
pub(super) struct Attackable {
    /// Its name in tables.
    pub name: String,
    /// Its file in `models`, without the extension.
    file: String,
    /// The modules that stay, of the model that has some.
    keep: Option<Vec<String>>,
}

impl Target {
    /// The models of a run of `era`. Of a run of `modules` those that tell of `concept`: the one with all modules but its
    /// own, the baseline, and the models filtered of this concept and of all.
    ///
    /// # Errors
    /// Fails where the run has no model or no such concept, or its folder cannot be written.
    pub(super) fn of(folder: &RunFolder, config: &Config, concept: Option<&str>) -> Result<Self> {
        let run = folder.path().display();
        match (config.experiment.kind, concept) {
            (Experiment::Era, None) => {
                let plain = |name: String| Attackable { file: name.clone(), name, keep: None };
                let models = model_names(folder)?.into_iter().map(plain).collect();
                Ok(Self { only: None, into: folder.make("attacks")?, metrics: BaseMetrics::of_era(), models })
            }
            (Experiment::Modules, Some(concept)) => Self::of_modules(folder, config, concept),
            (Experiment::Era, Some(_)) => {
                let error = UserError::usage(format!("the models of {run} forgot its one concept"));
                Err(error.with_hint("--concept is for runs of the experiment `modules`").into())
            }
            (Experiment::Modules, None) => {
                let error = UserError::usage(format!("{run} has several concepts to attack"));
                Err(error.with_hint(format!("name one with --concept: {}", listed(config))).into())
            }
            _ => {
                let error = UserError::usage(format!("{run} has no models that forgot one concept"));
                Err(error.with_hint("`attack` is for runs of the experiments `era` and `modules`").into())
            }
        }
    }

    fn of_modules(folder: &RunFolder, config: &Config, concept: &str) -> Result<Self> {
        let names = module_names(config);
        let Some(number) = names.iter().position(|name| name == concept) else {
            let error = UserError::usage(format!("{} has no concept `{concept}`", folder.path().display()));
            return Err(error.with_hint(format!("its concepts are {}", listed(config))).into());
        };
        let trained = model_names(folder)?;
        let others: Vec<String> = names.iter().filter(|name| *name != concept).cloned().collect();
        let mut models = Vec::new();
        for part in Part::all(config).iter().filter(|part| trained.contains(&part.name())) {
            let file = part.name();
            // a labelled share below 1 stays at the end of the name
            let named = |name: &str| {
                let of =
                    part.filtered.as_ref().map_or(String::new(), |filtered| format!("-{}", filtered.name));
                file.replacen(&format!("{}{of}", part.method.files), name, 1)
            };
            let plain = |name: &str| Attackable { name: named(name), file: file.clone(), keep: None };
            match (part.method.name, part.filtered.as_ref().map(|filtered| filtered.name.as_str())) {
                ("baseline", _) => models.push(plain(BASE)),
                (_, Some(filtered)) if filtered == concept => models.push(plain(ANCHOR)),
                (_, Some("all")) => models.push(plain("pure-all")),
                ("gram", _) if models.iter().all(|model| model.keep.is_none()) => {
                    models.push(Attackable { keep: Some(others.clone()), ..plain("gram") });
                }
                _ => {}
            }
        }
        folder.make("attacks")?;
        let into = folder.make(&format!("attacks/{concept}"))?;
        Ok(Self { only: Some(number), into, metrics: BaseMetrics::of_concept(concept), models })
    }
}

impl Attackable {
    /// Reads it.
    ///
    /// # Errors
    /// Fails where its file does.
    pub(super) fn network(
        &self,
        folder: &RunFolder,
        needed: &Architecture,
        options: &Options,
    ) -> Result<Network> {
        match &self.keep {
            Some(modules) => Ok(profiles::kept(folder.path(), modules, options)?.network),
            None => Ok(load_network(&model_path(folder, &self.file), needed, &options.device)?),
        }
    }
}

/// The concepts of a run in a hint.
fn listed(config: &Config) -> String {
    module_names(config).join(", ")
}
