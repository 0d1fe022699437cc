//! Texts that grow by a token at a time, of which each token is computed once.

use crate::Error;
use crate::batch::Batch;
use crate::engine::Model;
use crate::fused::Text;
use crate::model::Hooks;

/// What [`Model::next_logits`] keeps from a call to the next: keys and values of every token of some texts.
#[derive(Clone, Default)]
pub struct TextCache {
    texts: Vec<Vec<u32>>,
    kept: Vec<Text>,
}

impl TextCache {
    /// Whether each of these texts is one of its own with one more token.
    fn precedes(&self, texts: &[Vec<u32>]) -> bool {
        self.texts.len() == texts.len()
            && self
                .texts
                .iter()
                .zip(texts)
                .all(|(known, text)| text.len() == known.len() + 1 && text.starts_with(known))
    }
}

impl Model {
    /// The logits after each of some texts: (texts · vocabulary). `cache` holds what is known of the texts of the last
    /// call, with the same weights and hooks: of those that go on with one more token, that token alone is computed. Off
    /// the CPU's fused passes, where texts are of several lengths, and where they are longer than a context and lose their
    /// beginnings, all of the context is.
    ///
    /// # Errors
    /// As [`Model::gradient`].
    pub fn next_logits(
        &mut self,
        texts: &[Vec<u32>],
        filler: u32,
        hooks: &Hooks,
        cache: &mut TextCache,
    ) -> Result<Vec<f32>, Error> {
        let tokens = self.tokens();
        let length = texts.first().map_or(0, Vec::len);
        let whole = (1..=tokens).contains(&length) && texts.iter().all(|text| text.len() == length);
        let windows: Vec<&[u32]> =
            texts.iter().map(|text| &text[text.len().saturating_sub(tokens)..]).collect();
        let batch = || Batch::contexts(&windows, tokens, filler);
        if let Some((fused, parameters)) = self.fused().filter(|_| whole) {
            if cache.precedes(texts) {
                let inputs: Vec<u32> = texts.iter().map(|text| text[length - 1]).collect();
                fused.next(parameters, &inputs, &mut cache.kept, length - 1, hooks)?;
            } else {
                cache.kept = fused.begin(parameters, &batch(), length, hooks)?;
            }
            cache.texts = texts.to_vec();
            return Ok(cache.kept.iter().flat_map(|text| &text.logits).copied().collect());
        }
        *cache = TextCache::default();
        let places: Vec<usize> = windows.iter().map(|window| window.len() - 1).collect();
        self.logits(&batch(), &places, hooks)
    }
}
