//! What is done with a trained model of `era`: ablate, make coherent, teach the concept back.

use transformer::{Hooks, Network};

use crate::Error;
use crate::evaluate::Validation;
use crate::finetune::{Context, make_coherent, relearn};
use crate::methods::{Part, Recipe};
use crate::results::{PartResult, RoutedToken, StageStories};
use crate::routing::{FORGET, Labels, RETAIN, TokenCounts};

/// Tokens that are listed with their weights.
const LISTED: usize = 40;

/// Measures a trained model and everything after it.
///
/// # Errors
/// Fails where a model does, or `tell` says so; it is told what is being done.
pub fn after_training(
    part: &Part,
    recipe: &Recipe,
    trained: &Network,
    cx: Context<'_>,
    mut tell: impl FnMut(&str) -> Result<(), Error>,
) -> Result<(PartResult, Network), Error> {
    let config = cx.config;
    let validation = Validation::new(cx.dataset, config.eval.stories, config.model.block_size);
    let plain = Hooks::default();
    let losses = |network: &Network| validation.measured(&mut cx.model(network)?, &plain, &plain);
    tell("measuring")?;
    let routes = &recipe.routing.routes;
    let (trained_losses, trained_stories) = if routes.masks_forward() {
        // such a model has no pass of its own without a label: each kind of document goes through its class's
        let (forget, retain) = (routes.forward_hooks(FORGET), routes.forward_hooks(RETAIN));
        validation.measured(&mut cx.model(trained)?, &forget, &retain)?
    } else {
        losses(trained)?
    };
    let (mut kept, mut ablated_losses) = (trained.clone(), trained_losses);
    let mut coherent_losses = trained_losses;
    let (mut ablated_stories, mut coherent_stories) = (trained_stories.clone(), trained_stories.clone());
    if let Some(profile) = routes.table.profiles().first() {
        kept = trained.keeping(&routes.groups(&trained.architecture), &profile.keep)?;
        (ablated_losses, ablated_stories) = losses(&kept)?;
        tell("making it coherent")?;
        kept = make_coherent(&kept, cx)?;
        (coherent_losses, coherent_stories) = losses(&kept)?;
    }
    let mut relearned = Vec::new();
    for stories in &config.retrain.stories {
        let what = format!("teaching the concept back from {stories} stories");
        relearned.push(relearn(&kept, cx, *stories, || tell(&what))?.0);
    }
    let result = PartResult {
        method: part.method,
        labelled: part.labelled,
        trained: trained_losses,
        ablated: ablated_losses,
        coherent: coherent_losses,
        relearned,
        per_story: Some(StageStories {
            trained: trained_stories,
            ablated: ablated_stories,
            coherent: coherent_stories,
        }),
        routed_tokens: routed_tokens(recipe, cx),
        seconds: 0.0,
    };
    Ok((result, kept))
}

/// The tokens with the lowest weights, with their frequencies in validation documents.
fn routed_tokens(recipe: &Recipe, cx: Context<'_>) -> Vec<RoutedToken> {
    let Labels::Tokens { retain_weights, .. } = &recipe.routing.labels else { return Vec::new() };
    let dataset = cx.dataset;
    let mut counts = TokenCounts::new(dataset.vocabulary.size());
    for index in 0..dataset.validation.len() {
        counts.add(&dataset.validation.get(index, usize::MAX), dataset.validation.is_forget(index));
    }
    let mut order: Vec<usize> =
        (0..retain_weights.len()).filter(|token| retain_weights[*token] < 1.0).collect();
    order.sort_by(|a, b| retain_weights[*a].total_cmp(&retain_weights[*b]).then(a.cmp(b)));
    order.truncate(LISTED);
    order
        .into_iter()
        .map(|token| {
            let (per_10k_forget, per_10k_retain) = counts.per_10k(token);
            RoutedToken {
                token: dataset.vocabulary.shown(token as u32),
                weight: f64::from(retain_weights[token]),
                per_10k_forget,
                per_10k_retain,
            }
        })
        .collect()
}
