//! The baseline RMU: pushing the representation of the concept's documents towards a random vector.

use learning::Parameters;
use plots::Colour;
use rand_distr::{Distribution, StandardNormal};
use transformer::{Hooks, Network, copied};

use super::plain::{BASE, everything};
use super::{Spec, Start};
use crate::Error;
use crate::config::Experiment;
use crate::finetune::Context;
use crate::routing::Labels;
use crate::train::{Order, StepContext, batch_of, optimiser};

/// Representation misdirection for unlearning, on the base model.
pub(super) static RMU: Spec = Spec {
    name: "rmu",
    title: "RMU",
    about: "the base model's representation of labelled documents is pushed to a random vector",
    colour: Colour::Vermillion,
    experiments: &[Experiment::Era],
    files: "rmu",
    needs_labels: true,
    filters: false,
    start: Start::Changed { from: &BASE, change: rmu },
    routes: everything,
    labels: |_| Ok(Labels::None),
};

/// Trains the MLPs' output matrices of some blocks so that the residual stream after block `target` becomes one
/// random vector on labelled documents and stays as it was on the others.
///
/// ```text
/// loss = mean (h − norm · u)² over labelled documents  +  α · mean (h − h₀)² over the others
/// ```
///
/// with u drawn once, of length 1, and h₀ the stream of the model before. Means are over channels and the tokens that
/// have a target: what fills a document up has no part in them.
///
/// # Errors
/// Fails where the model does, a loss or gradient is not a number, no document is labelled, or `tell` says so.
///
/// # Source
/// Li et al. 2024 (WMDP); Cloud et al. 2024, app. C.
pub fn rmu(
    base: &Network,
    labels: &[bool],
    cx: Context<'_>,
    tell: &mut dyn FnMut(u64) -> Result<(), Error>,
) -> Result<Network, Error> {
    let (config, dataset) = (cx.config, cx.dataset);
    let rmu = &config.rmu;
    let (width, tokens, depth) = (config.model.n_embd, config.model.block_size, rmu.target + 1);
    let mut rng = cx.streams.stream("rmu");
    let direction: Vec<f32> = (0..width).map(|_| StandardNormal.sample(&mut rng)).collect();
    let length = direction.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-9);
    let aim: Vec<f32> = direction.iter().map(|x| x / length * rmu.norm as f32).collect();
    let [mut forget, mut retain] = Order::of_both_kinds(labels, cx.streams, "rmu")?;
    let mut frozen = cx.model(base)?;
    let mut model = cx.model(base)?;
    let trained: Vec<String> = rmu.layers.iter().map(|layer| format!("blocks.{layer}.mlp.W_out")).collect();
    let mut subset = Parameters::default();
    for name in &trained {
        subset.insert(name, &model.parameters().get(name)?.as_detached_tensor())?;
    }
    let mut adam = optimiser(&subset, &config.train)?;
    let end = dataset.vocabulary.end();
    for step in 0..rmu.steps {
        tell(step)?;
        // both halves in one batch: first the labelled documents, then the others
        let mut chosen = forget.batch(step, rmu.batch_size);
        chosen.extend(retain.batch(step, rmu.batch_size));
        let batch = batch_of(&dataset.train, &chosen, tokens, end);
        let before = frozen.residuals(&batch, &Hooks::default(), depth)?;
        let border = rmu.batch_size * tokens;
        let objective = Objective {
            aim: &aim,
            before: &before,
            weights: row_weights(&batch.weights, border, width, rmu.alpha as f32),
            border,
        };
        let loss = |first: usize, stream: &[f32], gradient: &mut [f32]| objective.of(first, stream, gradient);
        let value = model.residual_gradient(&batch, depth, &loss)?;
        let gradients: Vec<Vec<f32>> = model
            .gradients()?
            .into_iter()
            .filter(|(name, _)| trained.contains(name))
            .map(|(_, g)| g)
            .collect();
        let norm = gradients.iter().map(|g| learning::kernels::sum_of_squares(g)).sum::<f64>().sqrt();
        let step_context = StepContext { part: "rmu", step: step + 1, section: "rmu" };
        step_context.require_finite(&[("the loss", value), ("the gradient's norm", norm)])?;
        let clip = config.train.grad_clip;
        let scale = if clip > 0.0 { (clip / (norm + 1e-6)).min(1.0) } else { 1.0 };
        let mut store = candle_core::backprop::GradStore::default();
        for ((_, var), gradient) in subset.iter().zip(gradients) {
            let gradient = candle_core::Tensor::from_vec(gradient, var.shape(), var.device())?;
            store.insert(var, (gradient * scale)?);
        }
        adam.step(&store, rmu.learning_rate)?;
        for (name, var) in subset.iter() {
            model.parameters().get(name)?.set(&var.as_detached_tensor())?;
        }
    }
    let parameters = copied(model.parameters())?;
    Ok(Network { architecture: base.architecture.clone(), parameters })
}

/// Where the residual stream is to go, for a batch of labelled documents' tokens and then the others'.
struct Objective<'a> {
    /// For a token of a labelled document: (channels).
    aim: &'a [f32],
    /// For the others, the stream of the model before: (tokens · channels).
    before: &'a [f32],
    /// The weight of each token's squared distance in each channel.
    weights: Vec<f32>,
    /// The first token of the others.
    border: usize,
}

impl Objective<'_> {
    /// The part in the loss of the tokens from `first`, whose stream is `stream`; its gradient is written.
    fn of(&self, first: usize, stream: &[f32], gradient: &mut [f32]) -> f64 {
        let width = self.aim.len();
        let mut total = 0.0;
        let rows = stream.chunks_exact(width).zip(gradient.chunks_exact_mut(width));
        for (row, (stream, gradient)) in (first..).zip(rows) {
            let target = if row < self.border { self.aim } else { &self.before[row * width..][..width] };
            let weight = self.weights[row];
            for ((value, target), gradient) in stream.iter().zip(target).zip(gradient) {
                let difference = value - target;
                total += f64::from(weight * difference * difference);
                *gradient = 2.0 * weight * difference;
            }
        }
        total
    }
}

/// Weights with which squared distances sum up to the mean over tokens with a target and channels, of the tokens
/// before `border`, plus `alpha` times that of the others.
fn row_weights(targets: &[f32], border: usize, width: usize, alpha: f32) -> Vec<f32> {
    let (labelled, others) = targets.split_at(border);
    let of = |targets: &[f32], factor: f32| -> Vec<f32> {
        let count = targets.iter().sum::<f32>().max(1.0) * width as f32;
        targets.iter().map(|weight| factor * weight / count).collect()
    };
    [of(labelled, 1.0), of(others, alpha)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(got: &[f32], expected: &[f32]) {
        assert_eq!(got.len(), expected.len());
        assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?} and {expected:?}");
    }

    #[test]
    fn padding_has_no_part_and_means_are_over_the_rest() {
        // two tokens of labelled documents, three of others; the second and the last are padding
        let weights = row_weights(&[1.0, 0.0, 1.0, 1.0, 0.0], 2, 2, 8.0);
        assert_near(&weights, &[0.5, 0.0, 2.0, 2.0, 0.0]);
        let before = [0.0; 10];
        let objective = Objective { aim: &[1.0, 3.0], before: &before, weights, border: 2 };
        let stream = [0.0, 1.0, 90.0, 90.0, 1.0, 0.0, 0.0, 2.0, 70.0, 70.0];
        let mut gradient = [9.0; 10];
        // (1 + 4) / 2 + 8 · (1 + 4) / 4
        assert!((objective.of(0, &stream, &mut gradient) - 12.5).abs() < 1e-12);
        assert_near(&gradient, &[-1.0, -2.0, 0.0, 0.0, 4.0, 0.0, 0.0, 8.0, 0.0, 0.0]);
        // in pieces as at once
        let mut piece = [9.0; 4];
        assert!((objective.of(3, &stream[6..], &mut piece) - 8.0).abs() < 1e-12);
        assert_near(&piece, &gradient[6..]);
    }
}
