//! Baselines that fine-tune the finished base model until it no longer predicts labelled documents.

use plots::Colour;
use rand::RngExt as _;
use transformer::{Batch, Hooks, Network, copied};

use super::plain::{BASE, everything};
use super::{Spec, Start};
use crate::Error;
use crate::config::Experiment;
use crate::finetune::Context;
use crate::routing::Labels;
use crate::train::{Order, StepContext, batch_of, optimiser};

/// Fine-tunes the base model towards the uniform distribution on labelled documents.
pub(super) static MAXENT: Spec = Spec {
    name: "maxent",
    title: "MaxEnt",
    about: "the base model is fine-tuned to predict nothing in particular on labelled documents",
    colour: Colour::Yellow,
    experiments: &[Experiment::Era],
    files: "maxent",
    needs_labels: true,
    filters: false,
    start: Start::Changed {
        from: &BASE,
        change: |base, labels, cx, tell| unlearned(Objective::MaxEnt, base, labels, cx, tell),
    },
    routes: everything,
    labels: |_| Ok(Labels::None),
};

/// Fine-tunes the base model up the loss on labelled documents, until that is as high as `unlearn.ascent_limit`.
pub(super) static ASCENT: Spec = Spec {
    name: "ascent",
    title: "gradient ascent",
    about: "the base model is fine-tuned up the loss on labelled documents, to a limit",
    colour: Colour::Grey,
    experiments: &[Experiment::Era],
    files: "ascent",
    needs_labels: true,
    filters: false,
    start: Start::Changed {
        from: &BASE,
        change: |base, labels, cx, tell| unlearned(Objective::Ascent, base, labels, cx, tell),
    },
    routes: everything,
    labels: |_| Ok(Labels::None),
};

/// What is done on labelled documents, beside the plain loss on the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Objective {
    MaxEnt,
    Ascent,
}

/// Steps on as many labelled documents as others.
///
/// ```text
/// MaxEnt:   mean CE(uniform, p) over the tokens of labelled documents   + mean CE(target, p) over the others'
/// Ascent:   − mean CE(target, p) over the tokens of labelled documents  + mean CE(target, p) over the others'
/// ```
///
/// The first is estimated with one target a token, drawn uniformly anew in every step, of which it is the mean.
pub(super) fn unlearned(
    objective: Objective,
    base: &Network,
    labels: &[bool],
    cx: Context<'_>,
    tell: &mut dyn FnMut(u64) -> Result<(), Error>,
) -> Result<Network, Error> {
    let (config, dataset) = (cx.config, cx.dataset);
    let (unlearn, tokens) = (&config.unlearn, config.model.block_size);
    let [mut forget, mut retain] = Order::of_both_kinds(labels, cx.streams, "unlearning")?;
    let mut rng = cx.streams.stream("unlearn");
    let mut model = cx.model(base)?;
    let mut adam = optimiser(model.parameters(), &config.train)?;
    let (end, vocabulary) = (dataset.vocabulary.end(), dataset.vocabulary.size() as u32);
    for step in 0..unlearn.steps {
        tell(step)?;
        let chosen = forget.batch(step, unlearn.batch_size);
        let mut labelled = batch_of(&dataset.train, &chosen, tokens, end);
        match objective {
            Objective::MaxEnt => {
                labelled.targets.iter_mut().for_each(|target| *target = rng.random_range(0..vocabulary));
            }
            Objective::Ascent => {
                let losses = model.token_losses(&labelled, &Hooks::default())?;
                let each = losses.iter().zip(&labelled.weights);
                let sum: f64 = each.map(|(loss, weight)| f64::from(loss * weight)).sum();
                if sum / labelled.total_weight().max(1.0) > unlearn.ascent_limit {
                    break;
                }
                labelled.weights.iter_mut().for_each(|weight| *weight = -*weight);
            }
        }
        let others = batch_of(&dataset.train, &retain.batch(step, unlearn.batch_size), tokens, end);
        let loss = model.gradient(&joined(labelled, &others), &Hooks::default())?;
        let step_context = StepContext { part: "unlearning", step: step + 1, section: "unlearn" };
        let clip = config.train.grad_clip;
        step_context.take(&mut model, &mut adam, loss, unlearn.learning_rate, clip, None)?;
    }
    Ok(Network { architecture: base.architecture.clone(), parameters: copied(model.parameters())? })
}

/// Two batches as one.
fn joined(mut one: Batch, other: &Batch) -> Batch {
    one.inputs.extend(&other.inputs);
    one.targets.extend(&other.targets);
    one.weights.extend(&other.weights);
    one
}
