//! The weight of a token by how much more frequent it is in the documents to forget.

/// Added to the counts, so that a rare token is not routed for one sighting.
const PSEUDO_FORGET: f64 = 1.0;
const PSEUDO_RETAIN: f64 = 20.0;

/// How often each token occurs in documents of both kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenCounts {
    forget: Vec<u64>,
    retain: Vec<u64>,
}

impl TokenCounts {
    /// No sightings of any of `vocabulary` tokens.
    pub fn new(vocabulary: usize) -> Self {
        Self { forget: vec![0; vocabulary], retain: vec![0; vocabulary] }
    }

    /// Counts a document.
    ///
    /// # Panics
    /// Panics if a token is not of the vocabulary.
    pub fn add(&mut self, document: &[u32], forget: bool) {
        let counts = if forget { &mut self.forget } else { &mut self.retain };
        for token in document {
            counts[*token as usize] += 1;
        }
    }

    /// r = the token's frequency in documents to forget ÷ that in the others, with pseudo-counts of 1 and 20 added
    /// to its counts.
    ///
    /// ```text
    /// r = ((f + 1) / Σ f) / ((g + 20) / Σ g)
    /// ```
    ///
    /// # Source
    /// Cloud et al. 2024, app. C.
    pub fn ratio(&self, token: usize) -> f64 {
        let total = |counts: &[u64]| counts.iter().sum::<u64>().max(1) as f64;
        let forget = (self.forget[token] as f64 + PSEUDO_FORGET) / total(&self.forget);
        let retain = (self.retain[token] as f64 + PSEUDO_RETAIN) / total(&self.retain);
        forget / retain
    }

    /// Sightings of a token per 10,000 tokens, in documents to forget and in the others, without pseudo-counts.
    pub fn per_10k(&self, token: usize) -> (f64, f64) {
        let share = |counts: &[u64]| 1e4 * counts[token] as f64 / counts.iter().sum::<u64>().max(1) as f64;
        (share(&self.forget), share(&self.retain))
    }

    /// The ratio of every token.
    pub fn ratios(&self) -> Vec<f64> {
        let total = |counts: &[u64]| counts.iter().sum::<u64>().max(1) as f64;
        let (forget, retain) = (total(&self.forget), total(&self.retain));
        let ratio = |(f, g): (&u64, &u64)| {
            ((*f as f64 + PSEUDO_FORGET) / forget) / ((*g as f64 + PSEUDO_RETAIN) / retain)
        };
        self.forget.iter().zip(&self.retain).map(ratio).collect()
    }
}

/// The share of a token's gradient that is treated as any other's: near 1 for one that is as frequent everywhere,
/// near 0 for one that is typical of the documents to forget.
///
/// ```text
/// w = 1 − σ((r − 1/r) − 4)
/// ```
///
/// # Source
/// Cloud et al. 2024, app. C.
pub fn retain_weight(ratio: f64) -> f64 {
    let x = (ratio - 1.0 / ratio) - 4.0;
    1.0 / (1.0 + x.exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_paper() {
        // 73.1 times per 10,000 forget tokens and 18.7 times per 10,000 retain tokens
        assert!((retain_weight(73.1 / 18.7) - 0.585).abs() < 1e-3);
        assert!((retain_weight(1.0) - 1.0 / (1.0 + (-4f64).exp())).abs() < 1e-12);
        assert!(retain_weight(10.0) < 0.003 && retain_weight(0.1) > 0.999);
    }

    #[test]
    fn counts_with_pseudo_counts_give_the_ratio() {
        let mut counts = TokenCounts::new(3);
        counts.add(&[0, 0, 0, 1], true);
        counts.add(&[1, 1, 2, 2], false);
        counts.add(&[0, 1, 2, 2], false);
        let expected = [(4.0 / 4.0) / (21.0 / 8.0), (2.0 / 4.0) / (23.0 / 8.0), (1.0 / 4.0) / (24.0 / 8.0)];
        for (token, expected) in expected.into_iter().enumerate() {
            let difference: f64 = counts.ratio(token) - expected;
            assert!(difference.abs() < 1e-12, "{token}");
            assert!((counts.ratios()[token] - expected).abs() < 1e-12);
        }
    }
}
