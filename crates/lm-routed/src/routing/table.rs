//! The weight of every token of the vocabulary under a rule.

use super::frequency::{TokenCounts, retain_weight};
use crate::config::{RoutingSection, Rule};
use crate::data::{Dataset, Vocabulary};

/// For each token the share w of its gradient that is treated as any other's: 1 is not routed at all, 0 fully.
///
/// Labelled documents count as documents to forget, all others as the rest.
pub fn token_table(
    routing: &RoutingSection,
    dataset: &Dataset,
    words: &[String],
    labels: &[bool],
) -> Vec<f32> {
    let size = dataset.vocabulary.size();
    match routing.rule {
        Rule::Frequency => {
            let mut counts = TokenCounts::new(size);
            let mut left = [routing.count_documents; 2];
            for (index, labelled) in labels.iter().enumerate() {
                let left = &mut left[usize::from(*labelled)];
                if *left > 0 {
                    *left -= 1;
                    counts.add(&dataset.train.get(index, usize::MAX), *labelled);
                }
            }
            counts.ratios().into_iter().map(|ratio| retain_weight(ratio) as f32).collect()
        }
        Rule::Concept => {
            let mut table = vec![1.0; size];
            for token in concept_tokens(&dataset.vocabulary, words) {
                table[token as usize] = 0.0;
            }
            table
        }
        Rule::Sequence => vec![0.0; size],
        Rule::None => vec![1.0; size],
    }
}

/// The tokens that are one of `words`, with or without a space in front, in any case.
pub fn concept_tokens(vocabulary: &Vocabulary, words: &[String]) -> Vec<u32> {
    let words: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    (0..vocabulary.size() as u32).filter(|token| words.contains(&vocabulary.word(*token))).collect()
}
