//! The steering scalar: one dimension of the residual stream that belongs to one token, and the axis along it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use transformer::generate::{Sampling, generate};
use transformer::{HookPoint, Hooks, Intervention, Network};

use crate::Error;
use crate::config::Config;
use crate::data::Dataset;
use crate::evaluate::{Losses, Validation};
use crate::finetune::Context;

/// A token whose unembedding vector lies along the axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Near {
    /// The token, `␣` for a space.
    pub token: String,
    /// The cosine of its unembedding vector with the axis.
    pub cosine: f64,
}

/// What a push along the axis does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Push {
    /// How far along the axis: above 0 towards the token, below 0 away from it.
    pub strength: f32,
    /// The token's share among the tokens that were generated.
    pub frequency: f64,
    /// The share of tokens that are a word of the concept.
    pub concept_frequency: f64,
    /// The token's mean probability at the places of validation documents, with the concept and without.
    pub probability: Losses,
    /// The beginning of the first text.
    pub text: String,
}

/// What `steer` has found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SteerResult {
    /// The token.
    pub token: String,
    /// The dimension of the residual stream that the token was given.
    pub dimension: usize,
    /// The axis is this multiple of the dimension's unit vector: 1 or −1, so that the token's own unembedding vector
    /// has a positive cosine with it. Routes leave the sign to chance, as nothing in them tells up from down.
    pub sign: i8,
    /// The losses of the model.
    pub trained: Losses,
    /// The unembedding vectors that lie nearest to the axis, the nearest first.
    pub nearest: Vec<Near>,
    /// No push, up and down.
    pub pushes: Vec<Push>,
}

impl SteerResult {
    /// The token's frequency after a push up, or down, divided by that without a push.
    pub fn ratio(&self, up: bool) -> Option<f64> {
        let of = |wanted: fn(f32) -> bool| self.pushes.iter().find(|push| wanted(push.strength));
        let plain = of(|strength| strength == 0.0)?;
        let pushed = if up { of(|strength| strength > 0.0)? } else { of(|strength| strength < 0.0)? };
        (plain.frequency > 0.0).then(|| pushed.frequency / plain.frequency)
    }
}

/// Measures a model that was trained with a steering scalar.
///
/// # Errors
/// Fails where the model does, or `tell` says so.
///
/// # Source
/// Cloud et al. 2024, section 4.2.1.
pub fn measure(
    network: &Network,
    cx: Context<'_>,
    mut tell: impl FnMut(&str) -> Result<(), Error>,
) -> Result<SteerResult, Error> {
    let (config, dataset) = (cx.config, cx.dataset);
    let steer = &config.steer;
    let vocabulary = &dataset.vocabulary;
    let token = token_of(config, dataset)?;
    let validation = Validation::new(dataset, config.eval.stories, config.model.block_size);
    let mut model = cx.model(network)?;
    tell("measuring")?;
    let unembedding = network.parameters.get(network.architecture.unembedding())?.to_vec2::<f32>()?;
    let sign = sign_of(&unembedding[token as usize], steer.dimension);
    let trained = validation.losses(&mut model, &Hooks::default())?;
    let prompt = vocabulary.encode(std::slice::from_ref(&steer.prompt))?.remove(0);
    let concept = crate::routing::concept_tokens(vocabulary, &config.forget_words());
    let mut pushes = Vec::new();
    for strength in [0.0, steer.strength, -steer.strength] {
        tell(&format!("generating with {strength:+} along the axis"))?;
        let mut add = vec![0.0; config.model.n_embd];
        add[steer.dimension] = f32::from(sign) * strength;
        let intervention = Intervention { add: Some(Arc::new(add)), ..Intervention::default() };
        let hooks = Hooks::default().with(steer.at_layer, HookPoint::ResidPost, intervention);
        let sampling = Sampling { temperature: steer.temperature, top_k: steer.top_k };
        // the same random numbers for every push
        let mut rng = cx.streams.stream("generate");
        let size = (steer.samples, steer.sample_tokens);
        let texts = generate(&mut model, &prompt, vocabulary.end(), size, sampling, &hooks, &mut rng)?;
        let all = texts.iter().flatten();
        let count = (steer.samples * steer.sample_tokens) as f64;
        let frequency = all.clone().filter(|other| **other == token).count() as f64 / count;
        let concept_frequency = all.filter(|other| concept.contains(other)).count() as f64 / count;
        let text = format!("{}{}", steer.prompt, vocabulary.decode(&texts[0])?);
        let probability = validation.probability(&mut model, &hooks, token)?;
        pushes.push(Push { strength, frequency, concept_frequency, probability, text });
    }
    let nearest = nearest(&unembedding, steer.dimension, sign, steer.nearest)
        .into_iter()
        .map(|(token, cosine)| Near { token: vocabulary.shown(token), cosine })
        .collect();
    let dimension = steer.dimension;
    Ok(SteerResult { token: steer.token.clone(), dimension, sign, trained, nearest, pushes })
}

/// The token of `[steer]`.
///
/// # Errors
/// [`Error::Setting`] where it is not one token of the vocabulary.
pub fn token_of(config: &Config, dataset: &Dataset) -> Result<u32, Error> {
    let name = &config.steer.token;
    dataset.vocabulary.single(name).ok_or_else(|| {
        Error::Setting(format!(
            "steer.token `{name}` is not one token of the vocabulary: give a more frequent word, with ␣ for the space \
             in front"
        ))
    })
}

/// The way along a dimension in which a vector points.
fn sign_of(vector: &[f32], dimension: usize) -> i8 {
    if vector[dimension] < 0.0 { -1 } else { 1 }
}

/// The tokens whose unembedding vectors have the largest cosine with `sign` times a dimension's unit vector.
fn nearest(unembedding: &[Vec<f32>], dimension: usize, sign: i8, count: usize) -> Vec<(u32, f64)> {
    let mut cosines: Vec<(u32, f64)> = unembedding
        .iter()
        .enumerate()
        .map(|(token, vector)| {
            let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            (token as u32, f64::from(sign) * f64::from(vector[dimension]) / length.max(1e-12))
        })
        .collect();
    cosines.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    cosines.truncate(count);
    cosines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_points_where_its_token_does() {
        // three tokens of length 5; the second is the one that was routed
        let unembedding = [vec![4.0, 3.0], vec![-4.0, 3.0], vec![-3.0, -4.0]];
        let sign = sign_of(&unembedding[1], 0);
        assert_eq!(sign, -1);
        assert_eq!(nearest(&unembedding, 0, sign, 2), [(1, 0.8), (2, 0.6)]);
        // where every vector is turned around, all stays but the sign
        let turned = unembedding.map(|vector| vec![-vector[0], vector[1]]);
        assert_eq!(sign_of(&turned[1], 0), 1);
        assert_eq!(nearest(&turned, 0, 1, 2), [(1, 0.8), (2, 0.6)]);
        assert_eq!(nearest(&turned, 1, 1, 1), [(0, 0.6)]);
    }
}
