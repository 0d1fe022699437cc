//! The baseline UNDO: unlearn, damage the weights, and distil what is left.

use candle_core::Device;
use learning::Parameters;
use plots::Colour;
use rand::{Rng, RngExt as _};
use transformer::{Batch, Hooks, Network, copied, initial};

use super::plain::{BASE, everything};
use super::unlearn::{Objective, unlearned};
use super::{Spec, Start};
use crate::Error;
use crate::config::Experiment;
use crate::finetune::Context;
use crate::routing::Labels;
use crate::train::{Order, StepContext, batch_of, cosine, optimiser};

/// Unlearns the concept as `maxent` does, mixes the weights with noise, and teaches the result what the unlearned model
/// predicts on documents that are not labelled: what was only hidden is not taught.
///
/// # Source
/// Lee et al. 2025, arXiv 2506.06278.
pub(super) static UNDO: Spec = Spec {
    name: "undo",
    title: "UNDO",
    about: "a model unlearned as by maxent is mixed with noise and learns that model's predictions on all other documents",
    colour: Colour::Sky,
    experiments: &[Experiment::Era],
    files: "undo",
    needs_labels: true,
    filters: false,
    start: Start::Changed { from: &BASE, change: undo },
    routes: everything,
    labels: |_| Ok(Labels::None),
};

fn undo(
    base: &Network,
    labels: &[bool],
    cx: Context<'_>,
    tell: &mut dyn FnMut(u64) -> Result<(), Error>,
) -> Result<Network, Error> {
    let teacher = unlearned(Objective::MaxEnt, base, labels, cx, tell)?;
    let unlearning = cx.config.unlearn.steps;
    distilled(&teacher, &noised(&teacher, cx)?, labels, cx, &mut |step| tell(unlearning + step))
}

/// Every matrix mixed with one that is drawn as at the start of a training, from the stream `undo`; what is not drawn
/// then, biases and norms, stays.
///
/// ```text
/// θ ← (1 − α) θ + α β · noise
/// ```
fn noised(network: &Network, cx: Context<'_>) -> Result<Network, Error> {
    let (alpha, beta) = (cx.config.undo.alpha, cx.config.undo.beta);
    let noise = initial(&network.architecture, &mut cx.streams.stream("undo"), &Device::Cpu)?;
    let mut parameters = Parameters::default();
    for (name, var) in network.parameters.iter() {
        let values = var.as_detached_tensor();
        let values = if values.rank() == 2 {
            let noise = noise.get(name)?.as_detached_tensor().to_device(values.device())?;
            ((values * (1.0 - alpha))? + (noise * (alpha * beta))?)?
        } else {
            values
        };
        parameters.insert(name, &values)?;
    }
    Ok(Network { architecture: network.architecture.clone(), parameters })
}

/// Teaches `pupil` the predictions of `teacher` on documents without a label.
///
/// ```text
/// mean over tokens of CE(p of the teacher, p of the pupil)
/// ```
///
/// It is estimated with one target a token, drawn from the teacher's prediction, of which it is the mean.
fn distilled(
    teacher: &Network,
    pupil: &Network,
    labels: &[bool],
    cx: Context<'_>,
    tell: &mut dyn FnMut(u64) -> Result<(), Error>,
) -> Result<Network, Error> {
    let (config, dataset) = (cx.config, cx.dataset);
    let (undo, tokens) = (&config.undo, config.model.block_size);
    let [_, mut others] = Order::of_both_kinds(labels, cx.streams, "undo")?;
    let mut rng = cx.streams.stream("undo.targets");
    let mut knows = cx.model(teacher)?;
    let mut model = cx.model(pupil)?;
    let mut adam = optimiser(model.parameters(), &config.train)?;
    for step in 0..undo.steps {
        tell(step)?;
        let chosen = others.batch(step, undo.batch_size);
        let mut batch = batch_of(&dataset.train, &chosen, tokens, dataset.vocabulary.end());
        let logits = knows.all_logits(&batch, &Hooks::default())?;
        draw_targets(&mut batch, &logits, &mut rng);
        let loss = model.gradient(&batch, &Hooks::default())?;
        let top = undo.learning_rate;
        let learning_rate = cosine(step, undo.steps, undo.steps / 10, top, top / 10.0);
        let step_context = StepContext { part: "undo", step: step + 1, section: "undo" };
        step_context.take(&mut model, &mut adam, loss, learning_rate, config.train.grad_clip, None)?;
    }
    Ok(Network { architecture: pupil.architecture.clone(), parameters: copied(model.parameters())? })
}

/// Puts a token drawn from softmax(logits) in the place of every target.
fn draw_targets(batch: &mut Batch, logits: &[f32], rng: &mut impl Rng) {
    let vocabulary = logits.len() / batch.targets.len().max(1);
    for (target, logits) in batch.targets.iter_mut().zip(logits.chunks_exact(vocabulary)) {
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights = || logits.iter().map(|logit| (logit - most).exp());
        let mut left = rng.random::<f32>() * weights().sum::<f32>();
        let drawn = weights().position(|weight| {
            left -= weight;
            left <= 0.0
        });
        *target = drawn.unwrap_or(vocabulary - 1) as u32;
    }
}

#[cfg(test)]
mod tests {
    use experiment::SeedStreams;

    use super::*;

    #[test]
    fn targets_are_drawn_as_often_as_the_teacher_expects_them() {
        let probabilities = [0.5f32, 0.0, 0.2, 0.3];
        let tokens = 4000;
        let mut batch = Batch::new([vec![1; tokens + 1].as_slice()], tokens, 0);
        let logits: Vec<f32> = (0..tokens).flat_map(|_| probabilities.map(|p| p.ln() + 3.0)).collect();
        draw_targets(&mut batch, &logits, &mut SeedStreams::new(1).stream("test"));
        for (token, probability) in probabilities.iter().enumerate() {
            let share = batch.targets.iter().filter(|target| **target as usize == token).count() as f32;
            assert!((share / tokens as f32 - probability).abs() < 0.03, "{token}: {share}");
        }
    }
}
