//! A model with modules, measured with every set of them: what it knows of each concept with its module and without.

use serde::{Deserialize, Serialize};
use transformer::{Hooks, Model, Network};

use crate::Error;
use crate::config::Config;
use crate::data::{Dataset, Pool};
use crate::evaluate::{batches, mean};
use crate::finetune::Context;
use crate::methods::{
    Filtered, Method, Part, Recipe, added_up, branch, module_names, profiles as profiles_of,
};
use crate::per_story::PerStory;

/// `parts/NAME.json` of a model of the experiment `modules`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModuleResult {
    /// The method.
    pub method: Method,
    /// The share of the concepts' documents that were labelled.
    pub labelled: f64,
    /// What was left out of its training: a concept, or `all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filtered: Option<String>,
    /// Its losses with every set of its modules; one entry for a model that has none.
    pub profiles: Vec<ProfileLosses>,
    /// Seconds of training, and of everything after it; 0 where only the results are known.
    #[serde(default)]
    pub seconds: f64,
}

/// The losses of a model with some of its modules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfileLosses {
    /// The modules that are on; none is the core.
    pub modules: Vec<String>,
    /// The weight of their neurons' activations, where it is not 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dose: Option<f64>,
    /// Mean cross-entropy per token, in nats, on documents of each kind.
    pub losses: Vec<KindLoss>,
}

/// The loss on documents of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KindLoss {
    /// `general` for documents about no concept, else a concept, whatever others they are about too.
    pub kind: String,
    /// Mean cross-entropy per token, in nats.
    pub loss: f64,
    /// The losses of each document; none in `summary.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_story: Option<PerStory>,
}

impl ModuleResult {
    /// The name of its part of the run.
    pub(crate) fn part_name(&self) -> String {
        // what a name needs of the concepts that were left out is what they are called
        let filtered = self.filtered.clone().map(|name| Filtered { name, concepts: 0 });
        Part { method: self.method, labelled: self.labelled, filtered }.name()
    }

    /// The same without the losses of single documents.
    pub(crate) fn without_stories(&self) -> Self {
        let mut short = self.clone();
        for losses in short.profiles.iter_mut().flat_map(|profile| &mut profile.losses) {
            losses.per_story = None;
        }
        short
    }

    /// The losses with exactly these modules on.
    pub fn with(&self, modules: &[String]) -> Option<&ProfileLosses> {
        self.profiles.iter().find(|profile| profile.modules == modules && profile.dose.is_none())
    }
}

impl ProfileLosses {
    /// The loss on documents of a kind.
    pub fn of(&self, kind: &str) -> Option<&KindLoss> {
        self.losses.iter().find(|losses| losses.kind == kind)
    }
}

/// Measures a trained model with every set of its modules, each time as the smaller network from which the others are
/// physically gone.
///
/// # Errors
/// Fails where a model does, or `tell` says so; it is told what is being done.
pub(crate) fn measure(
    part: &Part,
    recipe: &Recipe,
    trained: &Network,
    cx: Context<'_>,
    mut tell: impl FnMut(&str) -> Result<(), Error>,
) -> Result<ModuleResult, Error> {
    let routes = &recipe.routing.routes;
    let names = module_names(cx.config);
    let (kinds, plain) = (kinds(cx.config, cx.dataset), Hooks::default());
    let mut profiles = Vec::new();
    if !routes.ablates() {
        tell("measuring")?;
        let losses = losses(&mut cx.model(trained)?, &kinds, cx.dataset, &plain)?;
        profiles.push(ProfileLosses { modules: Vec::new(), dose: None, losses });
    }
    for profile in routes.table.profiles() {
        tell(&format!("measuring {}", profile.name))?;
        let network = trained.keeping(&routes.groups(&trained.architecture), &profile.keep)?;
        let modules = profile.keep.iter().skip(1).map(|group| names[group - 1].clone()).collect();
        let losses = losses(&mut cx.model(&network)?, &kinds, cx.dataset, &plain)?;
        profiles.push(ProfileLosses { modules, dose: None, losses });
    }
    let doses = if profiles.len() > 1 { cx.config.gram.doses.as_slice() } else { &[] };
    for dose in doses {
        tell(&format!("measuring all modules with the weight {dose}"))?;
        let weights: Vec<f32> = std::iter::once(1.0).chain(names.iter().map(|_| *dose as f32)).collect();
        let losses = losses(&mut cx.model(trained)?, &kinds, cx.dataset, &routes.weighed(&weights))?;
        profiles.push(ProfileLosses { modules: names.clone(), dose: Some(*dose), losses });
    }
    let filtered = part.filtered.as_ref().map(|filtered| filtered.name.clone());
    Ok(ModuleResult { method: part.method, labelled: part.labelled, filtered, profiles, seconds: 0.0 })
}

/// Fine-tunes the core on each concept, and measures it with every set of these branches. Returns the network with all of
/// them, too.
///
/// # Errors
/// As [`measure`].
pub(crate) fn measure_branches(
    part: &Part,
    core: &Network,
    concepts: &[u8],
    cx: Context<'_>,
    mut tell: impl FnMut(&str) -> Result<(), Error>,
) -> Result<(ModuleResult, Network), Error> {
    let names = module_names(cx.config);
    let (kinds, plain) = (kinds(cx.config, cx.dataset), Hooks::default());
    let mut branches = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let mut at_step = |step| tell(&format!("branch of {name}, step {step}"));
        branches.push(branch(core, number, concepts, cx, &mut at_step)?);
    }
    let (mut profiles, mut last) = (Vec::new(), core.clone());
    for set in profiles_of(names.len()) {
        let on: Vec<usize> = (0..names.len()).filter(|number| set >> number & 1 == 1).collect();
        let modules: Vec<String> = on.iter().map(|number| names[*number].clone()).collect();
        tell(&format!("measuring the core with {} branches", on.len()))?;
        last = added_up(core, &on.iter().map(|number| &branches[*number]).collect::<Vec<_>>())?;
        let losses = losses(&mut cx.model(&last)?, &kinds, cx.dataset, &plain)?;
        profiles.push(ProfileLosses { modules, dose: None, losses });
    }
    let (method, labelled) = (part.method, part.labelled);
    Ok((ModuleResult { method, labelled, filtered: None, profiles, seconds: 0.0 }, last))
}

/// The reported documents of each kind: those about no concept, then those about each.
pub(crate) fn kinds(config: &Config, dataset: &Dataset) -> Vec<(String, Vec<usize>)> {
    let documents = &dataset.validation;
    let stories = config.eval.stories;
    let mut kinds = vec![("general".to_owned(), documents.pool(Pool::Reported, false, stories))];
    let forget = documents.pool(Pool::Reported, true, usize::MAX);
    for (index, name) in module_names(config).into_iter().enumerate() {
        let about = forget.iter().filter(|at| documents.concepts(**at) >> index & 1 == 1);
        kinds.push((name, about.take(stories).copied().collect()));
    }
    kinds
}

/// The losses of a model on documents of each kind.
pub(crate) fn losses(
    model: &mut Model,
    kinds: &[(String, Vec<usize>)],
    dataset: &Dataset,
    hooks: &Hooks,
) -> Result<Vec<KindLoss>, Error> {
    let (documents, tokens, end) = (&dataset.validation, model.tokens(), dataset.vocabulary.end());
    let mut of = |(kind, chosen): &(String, Vec<usize>)| -> Result<KindLoss, Error> {
        let batches = batches(documents, chosen, tokens, end);
        let (loss, per_story) = mean(model, &batches, hooks)?;
        Ok(KindLoss { kind: kind.clone(), loss, per_story: Some(per_story) })
    };
    kinds.iter().map(&mut of).collect()
}
