//! What is done with a trained model of `era`: ablate, make coherent, teach the concept back.

use std::sync::Arc;

use transformer::{ChannelWeights, HookPoint, Hooks, Intervention, Network, ablated};

use crate::Error;
use crate::evaluate::Validation;
use crate::finetune::{Context, make_coherent, relearn};
use crate::methods::{Part, Recipe};
use crate::results::{PartResult, RoutedToken};
use crate::routing::{Routing, TokenCounts};

/// Tokens that are listed with their weights.
const LISTED: usize = 40;

/// Measures a trained model and everything after it.
///
/// # Errors
/// Fails where a model does, or `tell` says so; it is told what is being done.
pub fn after_training(
    part: Part,
    recipe: &Recipe,
    trained: &Network,
    cx: Context<'_>,
    mut tell: impl FnMut(&str) -> Result<(), Error>,
) -> Result<(PartResult, Network), Error> {
    let config = cx.config;
    let validation = Validation::new(cx.dataset, config.eval.stories, config.model.block_size);
    let losses = |network: &Network| validation.losses(&mut cx.model(network)?, &Hooks::default());
    tell("measuring")?;
    let trained_losses = match &recipe.routing {
        // two experts have no model of their own without a label: each kind of document goes through its expert
        Routing::Experts { neurons } => experts_losses(trained, *neurons, &validation, cx)?,
        _ => losses(trained)?,
    };
    let (mut kept, mut ablated_losses) = (trained.clone(), trained_losses);
    let mut coherent_losses = trained_losses;
    if part.method.ablates() {
        let parameters = ablated(&trained.parameters, &recipe.expanded, &recipe.base)?;
        kept = Network { architecture: recipe.base.clone(), parameters };
        ablated_losses = losses(&kept)?;
        tell("making it coherent")?;
        kept = make_coherent(&kept, cx)?;
        coherent_losses = losses(&kept)?;
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
        routed_tokens: routed_tokens(recipe, cx),
        seconds: 0.0,
    };
    Ok((result, kept))
}

fn experts_losses(
    trained: &Network,
    neurons: usize,
    validation: &Validation,
    cx: Context<'_>,
) -> Result<crate::evaluate::Losses, Error> {
    let mut model = cx.model(trained)?;
    let layers = trained.architecture.n_layer;
    let choose = |weights: Vec<f32>| {
        let scale = Arc::new(ChannelWeights::constant(vec![neurons, 2 * neurons], weights));
        (0..layers).fold(Hooks::default(), |hooks, layer| {
            hooks.with(
                layer,
                HookPoint::MlpPost,
                Intervention { scale: Some(scale.clone()), ..Intervention::default() },
            )
        })
    };
    let retain = validation.retain_loss(&mut model, &choose(vec![1.0, 0.0]))?;
    let forget = validation.forget_loss(&mut model, &choose(vec![0.0, 1.0]))?;
    Ok(crate::evaluate::Losses { forget, retain })
}

/// The tokens with the lowest weights, with their frequencies in validation documents.
fn routed_tokens(recipe: &Recipe, cx: Context<'_>) -> Vec<RoutedToken> {
    let (Routing::Activations(route) | Routing::Parameters(route)) = &recipe.routing else {
        return Vec::new();
    };
    let dataset = cx.dataset;
    let mut counts = TokenCounts::new(dataset.vocabulary.size());
    for index in 0..dataset.validation.len() {
        counts.add(&dataset.validation.get(index, usize::MAX), dataset.validation.is_forget(index));
    }
    let mut order: Vec<usize> = (0..route.table.len()).filter(|token| route.table[*token] < 1.0).collect();
    order.sort_by(|a, b| route.table[*a].total_cmp(&route.table[*b]).then(a.cmp(b)));
    order.truncate(LISTED);
    order
        .into_iter()
        .map(|token| {
            let (per_10k_forget, per_10k_retain) = counts.per_10k(token);
            RoutedToken {
                token: dataset.vocabulary.shown(token as u32),
                weight: f64::from(route.table[token]),
                per_10k_forget,
                per_10k_retain,
            }
        })
        .collect()
}
