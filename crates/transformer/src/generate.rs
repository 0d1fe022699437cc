//! Text from a model.

use rand::{Rng, RngExt};

use crate::Error;
use crate::engine::Model;
use crate::model::Hooks;
use crate::text_cache::TextCache;

/// How tokens are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// The logits are divided by it.
    pub temperature: f64,
    /// The tokens to choose from, the likeliest ones; 0 for all.
    pub top_k: usize,
}

impl Sampling {
    /// Draws a token.
    ///
    /// ```text
    /// p ∝ exp(logit / temperature) among the top_k largest logits
    /// ```
    pub fn draw(&self, logits: &[f32], rng: &mut impl Rng) -> u32 {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        let kept = if self.top_k == 0 { logits.len() } else { self.top_k.min(logits.len()) };
        let likelier = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
        if kept < logits.len() {
            order.select_nth_unstable_by(kept, likelier);
            order.truncate(kept);
        }
        // in an order that does not depend on how the selection went
        order.sort_unstable_by(likelier);
        let top = order.first().map_or(0.0, |token| logits[*token]);
        let weight = |token: usize| (f64::from(logits[token] - top) / self.temperature).exp();
        let total: f64 = order.iter().map(|token| weight(*token)).sum();
        let mut left = rng.random::<f64>() * total;
        for token in &order {
            left -= weight(*token);
            if left <= 0.0 {
                return *token as u32;
            }
        }
        order.last().map_or(0, |token| *token as u32)
    }
}

/// Continues `samples` copies of a prompt by `length` tokens, the prompt not included. What is longer than a context
/// loses its beginning. A text that ends (`end`) goes on with a new one.
///
/// # Errors
/// Fails where the model does.
pub fn generate(
    model: &mut Model,
    prompt: &[u32],
    end: u32,
    (samples, length): (usize, usize),
    sampling: Sampling,
    hooks: &Hooks,
    rng: &mut impl Rng,
) -> Result<Vec<Vec<u32>>, Error> {
    let vocabulary = model.architecture().vocab_size;
    let begin: Vec<u32> = [end].into_iter().chain(prompt.iter().copied()).collect();
    let mut texts = vec![begin.clone(); samples];
    let mut cache = TextCache::default();
    for _ in 0..length {
        let logits = model.next_logits(&texts, end, hooks, &mut cache)?;
        for (text, logits) in texts.iter_mut().zip(logits.chunks_exact(vocabulary)) {
            text.push(sampling.draw(logits, rng));
        }
    }
    Ok(texts.into_iter().map(|text| text[begin.len()..].to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candle_core::{Device, Tensor};
    use learning::Backend;

    use super::*;
    use crate::batch::Batch;
    use crate::model::{Architecture, ChannelWeights, HookPoint, Intervention, Position, initial};
    use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

    #[test]
    fn texts_of_a_cache_are_those_of_whole_contexts_also_beyond_the_context() {
        let end = 0;
        for (position, heads, backend) in [
            (Position::Learned, None, Backend::Fused),
            (Position::Rotary, Some(1), Backend::Fused),
            (Position::Learned, None, Backend::Candle),
        ] {
            let architecture = Architecture {
                n_layer: 2,
                n_head: 2,
                n_embd: 16,
                // as a profile leaves them
                mlp_widths: vec![20, 9],
                block_size: 12,
                vocab_size: 40,
                position,
                n_kv_head: heads,
                ..Architecture::default()
            };
            let rng = |seed| Xoshiro256PlusPlus::seed_from_u64(seed);
            let parameters = initial(&architecture, &mut rng(3), &Device::Cpu).unwrap();
            for (_, var) in parameters.iter() {
                var.set(&(var.as_detached_tensor() * 6.0).unwrap()).unwrap();
            }
            // a module at half its weight, and a push
            let scale = Arc::new(ChannelWeights::constant(vec![12, 20], vec![1.0, 0.5]));
            let scaled = Intervention { scale: Some(scale), ..Intervention::default() };
            let pushed = Intervention { add: Some(Arc::new(vec![0.3; 16])), ..Intervention::default() };
            let hooks =
                Hooks::default().with(0, HookPoint::MlpPost, scaled).with(1, HookPoint::ResidPost, pushed);
            let mut model = Model::new(&architecture, parameters, 12, 2, backend).unwrap();
            let sampling = Sampling { temperature: 1.0, top_k: 5 };
            let got = generate(&mut model, &[7, 8], end, (3, 20), sampling, &hooks, &mut rng(5)).unwrap();
            let (mut texts, mut draws) = (vec![vec![end, 7, 8]; 3], rng(5));
            let mut cache = TextCache::default();
            for _ in 0..20 {
                let windows: Vec<&[u32]> =
                    texts.iter().map(|text| &text[text.len().saturating_sub(12)..]).collect();
                let places = vec![windows[0].len() - 1; 3];
                let whole = model.logits(&Batch::contexts(&windows, 12, end), &places, &hooks).unwrap();
                let cached = model.next_logits(&texts, end, &hooks, &mut cache).unwrap();
                assert_eq!(whole.len(), cached.len());
                for (whole, cached) in whole.iter().zip(&cached) {
                    assert!((whole - cached).abs() < 1e-5, "{cached} against {whole}");
                }
                for (text, logits) in texts.iter_mut().zip(whole.chunks_exact(40)) {
                    text.push(sampling.draw(logits, &mut draws));
                }
            }
            // what is known of a text is not computed again, where anything is kept
            let (mut cache, mut text) = (TextCache::default(), vec![vec![end, 7, 8]]);
            model.next_logits(&text, end, &hooks, &mut cache).unwrap();
            let embedding = model.parameters().get("embed.W_E").unwrap();
            let kept = embedding.as_tensor().copy().unwrap();
            let other = Tensor::full(3.0f32, (1, 16), &Device::Cpu).unwrap();
            embedding.set(&kept.slice_assign(&[7..8, 0..16], &other).unwrap()).unwrap();
            text[0].push(9);
            let known = model.next_logits(&text, end, &hooks, &mut cache).unwrap();
            let anew = model.next_logits(&text, end, &hooks, &mut TextCache::default()).unwrap();
            assert_eq!(known != anew, backend == Backend::Fused, "{position:?}");
            let expected: Vec<Vec<u32>> = texts.iter().map(|text| text[3..].to_vec()).collect();
            assert_eq!(got, expected, "{position:?}");
            assert!(expected[0] != expected[1] && expected[1] != expected[2]);
        }
    }

    #[test]
    fn draws_follow_temperature_and_top_k() {
        let logits = [0.0, 2.0, 1.0, -1.0];
        let shares = |temperature: f64, top_k: usize| {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
            let mut counts = [0.0; 4];
            for _ in 0..20_000 {
                let token = Sampling { temperature, top_k }.draw(&logits, &mut rng);
                counts[token as usize] += 1.0 / 20_000.0;
            }
            counts
        };
        let expected = |temperature: f64, kept: &[usize]| {
            let e = |token: usize| (f64::from(logits[token]) / temperature).exp();
            let total: f64 = kept.iter().map(|token| e(*token)).sum();
            std::array::from_fn::<f64, 4, _>(
                |token| if kept.contains(&token) { e(token) / total } else { 0.0 },
            )
        };
        for (temperature, top_k, kept) in
            [(1.0, 0, vec![0, 1, 2, 3]), (0.5, 4, vec![0, 1, 2, 3]), (2.0, 2, vec![1, 2]), (1.0, 1, vec![1])]
        {
            let (got, expected) = (shares(temperature, top_k), expected(temperature, &kept));
            let close = got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 0.02);
            assert!(close, "{got:?} against {expected:?}");
        }
    }
}
