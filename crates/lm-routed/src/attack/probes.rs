//! Linear probes of the residual stream.

use candle_core::{Device, Tensor};
use learning::ops::binary_cross_entropy;
use learning::{Adam, AdamConfig, Parameters, WeightDecay};
use transformer::{Hooks, Model, Network};

use crate::Error;
use crate::data::Pool;
use crate::evaluate::batches;
use crate::finetune::{Context, model_of};

/// Steps of fitting a probe, its learning rate and its weight decay.
const STEPS: usize = 300;
const LEARNING_RATE: f64 = 0.05;
const DECAY: f64 = 0.01;

/// For each number of blocks, how well a logistic regression on the mean residual stream of a document tells documents
/// about the concept from others: fitted on those that are set aside, measured on reported ones.
pub(super) fn all(network: &Network, cx: Context<'_>) -> Result<Vec<(usize, f64)>, Error> {
    let mut model = model_of(network, cx.config, cx.threads)?;
    let most = cx.config.attack.probe_stories;
    let mut found = Vec::new();
    for depth in 1..=network.architecture.n_layer {
        let aside = [(Pool::Relearning, true), (Pool::CoherenceSelection, false)];
        let reported = [(Pool::Reported, true), (Pool::Reported, false)];
        let fitted_on = Documents::of(&mut model, cx, aside, most, depth)?;
        let measured_on = Documents::of(&mut model, cx, reported, most, depth)?;
        found.push((depth, probe(&fitted_on, &measured_on)?));
    }
    Ok(found)
}

/// Documents as one vector each, with whether they are about the concept.
struct Documents {
    features: Vec<f32>,
    about: Vec<bool>,
    width: usize,
}

impl Documents {
    fn of(
        model: &mut Model,
        cx: Context<'_>,
        pools: [(Pool, bool); 2],
        most: usize,
        depth: usize,
    ) -> Result<Self, Error> {
        let width = model.architecture().n_embd;
        let mut documents = Self { features: Vec::new(), about: Vec::new(), width };
        for (pool, about) in pools {
            let chosen = cx.dataset.validation.pool(pool, about, most);
            let (tokens, end) = (model.tokens(), cx.dataset.vocabulary.end());
            for batch in batches(&cx.dataset.validation, &chosen, tokens, end) {
                let stream = model.residuals(&batch, &Hooks::default(), depth)?;
                let each = stream.chunks(tokens * width).zip(batch.weights.chunks(tokens));
                for (stream, weights) in each {
                    let mut mean = vec![0.0; width];
                    let counted: f32 = weights.iter().sum::<f32>().max(1.0);
                    for (row, weight) in stream.chunks(width).zip(weights) {
                        mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += value * weight / counted);
                    }
                    documents.features.extend(mean);
                    documents.about.push(about);
                }
            }
        }
        Ok(documents)
    }

    /// The features, each channel by the mean and the deviation that it has in `like`.
    fn standardised(&self, like: &Self) -> candle_core::Result<Tensor> {
        let matrix = |of: &Self| Tensor::from_slice(&of.features, (of.about.len(), of.width), &Device::Cpu);
        let reference = matrix(like)?;
        let mean = reference.mean_keepdim(0)?;
        let deviation = reference.broadcast_sub(&mean)?.sqr()?.mean_keepdim(0)?.sqrt()?;
        matrix(self)?.broadcast_sub(&mean)?.broadcast_div(&(deviation + 1e-6)?)
    }
}

/// Fits a logistic regression on some documents, and the area under its curve on others.
fn probe(fitted_on: &Documents, measured_on: &Documents) -> Result<f64, Error> {
    let inputs = fitted_on.standardised(fitted_on)?;
    let targets: Vec<f32> = fitted_on.about.iter().map(|about| f32::from(u8::from(*about))).collect();
    let targets = Tensor::new(targets, &Device::Cpu)?;
    let mut parameters = Parameters::default();
    parameters.insert("w", &Tensor::zeros((fitted_on.width, 1), candle_core::DType::F32, &Device::Cpu)?)?;
    parameters.insert("b", &Tensor::zeros(1, candle_core::DType::F32, &Device::Cpu)?)?;
    let config = AdamConfig { weight_decay: WeightDecay::Decoupled(DECAY), ..AdamConfig::default() };
    let mut adam = Adam::new(&parameters, config)?;
    let logits = |inputs: &Tensor| -> Result<Tensor, Error> {
        let product = inputs.matmul(parameters.get("w")?.as_tensor())?;
        Ok(product.broadcast_add(parameters.get("b")?.as_tensor())?.squeeze(1)?)
    };
    for _ in 0..STEPS {
        let loss = binary_cross_entropy(&logits(&inputs)?, &targets)?.mean_all()?;
        adam.step(&loss.backward()?, LEARNING_RATE)?;
    }
    let scores = logits(&measured_on.standardised(fitted_on)?)?.to_vec1::<f32>()?;
    Ok(area_under_curve(&scores, &measured_on.about))
}

/// The probability that a document about the concept has a higher score than another, ties counted half.
fn area_under_curve(scores: &[f32], about: &[bool]) -> f64 {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let (mut below, mut won) = (0.0, 0.0);
    for tied in order.chunk_by(|a, b| scores[*a].total_cmp(&scores[*b]).is_eq()) {
        let positive = tied.iter().filter(|index| about[**index]).count() as f64;
        let negative = tied.len() as f64 - positive;
        won += positive * (below + negative / 2.0);
        below += negative;
    }
    let positive = about.iter().filter(|about| **about).count() as f64;
    if positive == 0.0 || below == 0.0 { f64::NAN } else { won / (positive * below) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_counts_pairs_in_order_and_half_of_those_that_tie() {
        let about = [true, false, true, false];
        let area = |scores: [f32; 4]| area_under_curve(&scores, &about);
        // 4 pairs of a document about it and another
        for (scores, expected) in [
            ([4.0, 1.0, 3.0, 2.0], 1.0),
            ([1.0, 4.0, 2.0, 3.0], 0.0),
            ([1.0, 1.0, 1.0, 1.0], 0.5),
            ([3.0, 2.0, 1.0, 0.0], 0.75),
            ([2.0, 2.0, 3.0, 1.0], 0.875),
        ] {
            assert!((area(scores) - expected).abs() < 1e-12, "{scores:?}");
        }
        assert!(area_under_curve(&[1.0], &[true]).is_nan());
    }

    #[test]
    fn a_probe_finds_what_one_channel_says_and_nothing_where_none_says_it() {
        let documents = |tells: bool, salt: usize| {
            let about: Vec<bool> = (0..60).map(|i| i % 3 == 0).collect();
            let noise = |i: usize, c: usize| ((i * 7919 + c * 104_729 + salt * 31) % 997) as f32 / 997.0;
            let value = |i: usize, c: usize| {
                let told = if c == 1 && tells && about[i] { 2.0 } else { 0.0 };
                noise(i, c) + told
            };
            let features =
                (0..60).flat_map(|i| (0..3).map(move |c| (i, c))).map(|(i, c)| value(i, c)).collect();
            Documents { features, about, width: 3 }
        };
        assert!(probe(&documents(true, 1), &documents(true, 2)).unwrap() > 0.99);
        let nothing = probe(&documents(false, 1), &documents(false, 2)).unwrap();
        assert!((0.2..0.8).contains(&nothing), "{nothing}");
    }
}
