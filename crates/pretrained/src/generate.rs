//! Text from a model, with a key-value cache: each token is computed once.

use rand::Rng;
use transformer::generate::Sampling;

use crate::adapters::Gates;
use crate::decoder::{Cache, Decoder};
use crate::{Adapters, Error};

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// The likeliest one; of several the first.
    Greedy,
    /// Drawn.
    Drawn(Sampling),
}

/// Continues a text by at most `length` tokens, the prompt not included. It ends before one of `ends`, or where the
/// context is full.
///
/// # Errors
/// As [`Decoder::logits`].
pub fn continued(
    decoder: &Decoder,
    prompt: &[u32],
    length: usize,
    ends: &[u32],
    choice: Choice,
    adapters: Option<(&Adapters, &Gates)>,
    rng: &mut impl Rng,
) -> Result<Vec<u32>, Error> {
    let (mut cache, mut text, mut new) = (Cache::default(), Vec::new(), prompt.to_vec());
    while text.len() < length && cache.tokens() + new.len() <= decoder.shape().context {
        let logits = decoder.next(&new, &mut cache, adapters)?;
        let token = match choice {
            Choice::Greedy => likeliest(&logits),
            Choice::Drawn(sampling) => sampling.draw(&logits, rng),
        };
        if ends.contains(&token) {
            break;
        }
        text.push(token);
        new = vec![token];
    }
    Ok(text)
}

/// Continues `samples` copies of a prompt, all in one pass for each token. A text that has ended goes on unseen until all
/// have.
///
/// # Errors
/// As [`Decoder::logits`].
pub fn continued_many(
    decoder: &Decoder,
    prompt: &[u32],
    (samples, length): (usize, usize),
    ends: &[u32],
    choice: Choice,
    adapters: Option<(&Adapters, &Gates)>,
    rng: &mut impl Rng,
) -> Result<Vec<Vec<u32>>, Error> {
    let (mut cache, mut texts, mut ended) =
        (Cache::default(), vec![Vec::new(); samples], vec![false; samples]);
    let mut new = prompt.repeat(samples);
    for _ in 0..length.min((decoder.shape().context + 1).saturating_sub(prompt.len())) {
        let logits = decoder.next_of(&new, samples, &mut cache, adapters)?;
        new.clear();
        let rows = logits.chunks_exact(decoder.shape().vocab_size);
        for ((text, ended), logits) in texts.iter_mut().zip(&mut ended).zip(rows) {
            let token = match choice {
                Choice::Greedy => likeliest(logits),
                Choice::Drawn(sampling) => sampling.draw(logits, rng),
            };
            *ended |= ends.contains(&token);
            if !*ended {
                text.push(token);
            }
            new.push(token);
        }
        if ended.iter().all(|ended| *ended) {
            break;
        }
    }
    Ok(texts)
}

fn likeliest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = token;
        }
    }
    best as u32
}
