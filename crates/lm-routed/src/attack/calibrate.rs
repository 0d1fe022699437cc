//! A bias on the logits, so that no model is judged by how often it expects a token.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};
use learning::{Adam, AdamConfig, Parameters};
use transformer::{Batch, Hooks, Network};

use super::Measured;
use crate::Error;
use crate::data::Pool;
use crate::evaluate::{Validation, batches_of};
use crate::finetune::Context;

/// Documents of a step, half of them about the concept, and of each kind in all; the optimiser's learning rate.
const AT_A_TIME: usize = 8;
const DOCUMENTS: usize = 64;
const LEARNING_RATE: f64 = 0.02;

/// The losses of a model to whose logits a bias is added, which is all that is fitted: on documents of both kinds that
/// are set aside, measured on reported ones.
///
/// ```text
/// loss(b) = mean CE(target, softmax(logits + b))          ∂loss/∂b = mean (softmax(logits + b) − onehot(target))
/// ```
///
/// # Shapes
/// b (vocabulary).
///
/// # Source
/// Shilov et al. 2025, arXiv 2512.05648, where every ablated model is calibrated so.
pub(super) fn calibrated(
    network: &Network,
    cx: Context<'_>,
    reported: &Validation,
) -> Result<Measured, Error> {
    let mut model = cx.model(network)?;
    let vocabulary = network.architecture.vocab_size;
    let batches = set_aside(cx);
    let mut parameters = Parameters::default();
    parameters.insert("b", &Tensor::zeros(vocabulary, DType::F32, &Device::Cpu)?)?;
    let mut adam = Adam::new(&parameters, AdamConfig::default())?;
    for (_, batch) in (0..cx.config.attack.calibration_steps).zip(batches.iter().cycle()) {
        let logits = model.all_logits(batch, &Hooks::default())?;
        let bias = parameters.get("b")?;
        let gradient = bias_gradient(batch, &logits, &bias.to_vec1()?);
        let mut store = GradStore::default();
        store.insert(bias, Tensor::from_vec(gradient, vocabulary, &Device::Cpu)?);
        adam.step(&store, LEARNING_RATE)?;
    }
    let bias: Vec<f32> = parameters.get("b")?.to_vec1()?;
    let (losses, stories) = reported.measured_by(|batch| {
        let logits = model.all_logits(batch, &Hooks::default())?;
        let rows = batch.targets.iter().zip(logits.chunks_exact(vocabulary));
        Ok(rows.map(|(target, logits)| loss_of(*target, logits, &bias)).collect())
    })?;
    Ok(Measured { losses, stories })
}

/// As many documents of each kind in every batch, of those that are not reported.
fn set_aside(cx: Context<'_>) -> Vec<Batch> {
    let documents = &cx.dataset.validation;
    let about = documents.pool(Pool::Relearning, true, DOCUMENTS);
    let others = documents.pool(Pool::CoherenceSelection, false, DOCUMENTS);
    let mixed: Vec<usize> = about.into_iter().zip(others).flat_map(|(one, other)| [one, other]).collect();
    batches_of(AT_A_TIME, documents, &mixed, cx.config.model.block_size, cx.dataset.vocabulary.end())
}

/// The mean over the targets that count.
fn bias_gradient(batch: &Batch, logits: &[f32], bias: &[f32]) -> Vec<f32> {
    let count = batch.total_weight().max(1.0) as f32;
    let mut gradient = vec![0.0; bias.len()];
    let rows = logits.chunks_exact(bias.len()).zip(&batch.targets).zip(&batch.weights);
    for ((logits, target), weight) in rows.filter(|(_, weight)| **weight > 0.0) {
        let (most, sum) = normaliser(logits, bias);
        for ((gradient, logit), bias) in gradient.iter_mut().zip(logits).zip(bias) {
            *gradient += weight / count * (logit + bias - most).exp() / sum;
        }
        gradient[*target as usize] -= weight / count;
    }
    gradient
}

/// −ln softmax(logits + b) of a target.
fn loss_of(target: u32, logits: &[f32], bias: &[f32]) -> f32 {
    let (most, sum) = normaliser(logits, bias);
    let at = target as usize;
    most + sum.ln() - logits[at] - bias[at]
}

/// The largest of the sums, and Σ exp(sum − largest).
fn normaliser(logits: &[f32], bias: &[f32]) -> (f32, f32) {
    let sums = || logits.iter().zip(bias).map(|(logit, bias)| logit + bias);
    let most = sums().fold(f32::NEG_INFINITY, f32::max);
    (most, sums().map(|sum| (sum - most).exp()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_that_of_the_mean_loss() {
        let mut batch = Batch::new([[1, 2, 0].as_slice()], 3, 0);
        batch.weights = vec![1.0, 1.0, 0.0];
        let logits = [0.1, -0.4, 0.3, 1.0, 0.2, -0.7, 5.0, 5.0, 5.0];
        let bias = [0.2, -0.1, 0.05];
        let loss = |bias: &[f32]| -> f32 {
            let rows = logits.chunks_exact(3).zip(&batch.targets).zip(&batch.weights);
            rows.map(|((row, target), weight)| weight * loss_of(*target, row, bias)).sum::<f32>() / 2.0
        };
        let gradient = bias_gradient(&batch, &logits, &bias);
        for (at, found) in gradient.iter().enumerate() {
            let moved = |by: f32| {
                let mut bias = bias;
                bias[at] += by;
                loss(&bias)
            };
            let slope = (moved(0.01) - moved(-0.01)) / 0.02;
            assert!((slope - found).abs() < 1e-3, "{at}: {slope} and {found}");
        }
        assert!(gradient.iter().sum::<f32>().abs() < 1e-6);
    }
}
