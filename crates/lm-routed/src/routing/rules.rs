//! The rules that say which tokens of a labelled document are routed.

use super::frequency::{TokenCounts, retain_weight};
use crate::config::RoutingSection;
use crate::data::{Dataset, Vocabulary};

/// A labelling rule: for every token of the vocabulary, how much it is a token like any other.
#[derive(Clone, Copy)]
pub struct Rule {
    /// In configs.
    pub name: &'static str,
    /// Which tokens it routes, in a line.
    pub about: &'static str,
    /// For each token the share w of its gradient that is treated as any other's: 1 is not routed at all, 0 fully.
    pub retain_weights: fn(&RuleContext<'_>) -> Vec<f32>,
}

/// What a rule can go by.
#[derive(Clone, Copy)]
pub struct RuleContext<'a> {
    /// The settings of the routing.
    pub routing: &'a RoutingSection,
    /// The documents.
    pub dataset: &'a Dataset,
    /// The words of the concept.
    pub words: &'a [String],
    /// Which training documents are labelled as being about the concept.
    pub labels: &'a [bool],
}

/// All rules.
pub static RULES: [Rule; 5] = [
    Rule {
        name: "frequency",
        about: "as much as they are more frequent in labelled documents than in others",
        retain_weights: by_frequency,
    },
    Rule {
        name: "typical",
        about: "those at least twice as frequent in labelled documents as in others, fully",
        retain_weights: |cx| ratios(cx).map(|ratio| if ratio < 2.0 { 1.0 } else { 0.0 }).collect(),
    },
    Rule { name: "concept", about: "the words of the concept, fully", retain_weights: by_words },
    Rule { name: "sequence", about: "all, fully", retain_weights: |cx| cx.every(0.0) },
    Rule { name: "none", about: "none", retain_weights: |cx| cx.every(1.0) },
];

impl Rule {
    /// The rule of that name.
    pub fn named(name: &str) -> Option<Self> {
        RULES.into_iter().find(|rule| rule.name == name)
    }
}

impl RuleContext<'_> {
    fn every(&self, weight: f32) -> Vec<f32> {
        vec![weight; self.dataset.vocabulary.size()]
    }
}

fn by_frequency(cx: &RuleContext<'_>) -> Vec<f32> {
    ratios(cx).map(|ratio| retain_weight(ratio) as f32).collect()
}

/// How much more frequent each token is in labelled documents, which count as those to forget, than in all others.
fn ratios(cx: &RuleContext<'_>) -> impl Iterator<Item = f64> {
    let mut counts = TokenCounts::new(cx.dataset.vocabulary.size());
    let mut left = [cx.routing.count_documents; 2];
    for (index, labelled) in cx.labels.iter().enumerate() {
        let left = &mut left[usize::from(*labelled)];
        if *left > 0 {
            *left -= 1;
            counts.add(&cx.dataset.train.get(index, usize::MAX), *labelled);
        }
    }
    counts.ratios().into_iter()
}

fn by_words(cx: &RuleContext<'_>) -> Vec<f32> {
    let mut weights = cx.every(1.0);
    for token in concept_tokens(&cx.dataset.vocabulary, cx.words) {
        weights[token as usize] = 0.0;
    }
    weights
}

/// The tokens that are one of `words`, with or without a space in front, in any case.
pub fn concept_tokens(vocabulary: &Vocabulary, words: &[String]) -> Vec<u32> {
    let words: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    (0..vocabulary.size() as u32).filter(|token| words.contains(&vocabulary.word(*token))).collect()
}
