//! The losses of single stories, by which two models are compared on the same ones.

use serde::{Deserialize, Serialize};

/// The losses of stories of one kind, in their order. Saved on one line: `TOKENS:LOSS` for each, to four places.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PerStory {
    /// Targets that count in each.
    tokens: Vec<u32>,
    /// Mean loss of each, in nats per token.
    losses: Vec<f64>,
}

/// The losses of stories of both kinds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoryLosses {
    /// Of those about the concept.
    pub forget: PerStory,
    /// Of the others.
    pub retain: PerStory,
}

impl PerStory {
    /// Adds a story of that many targets, whose losses have that sum.
    pub(crate) fn add(&mut self, tokens: u32, sum: f64) {
        self.tokens.push(tokens);
        self.losses.push(rounded(sum / f64::from(tokens.max(1))));
    }

    /// How many stories.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The mean loss per token over all of them; 0 where there are none.
    pub fn mean(&self) -> f64 {
        let each = self.tokens.iter().zip(&self.losses);
        let total: f64 = self.tokens.iter().map(|tokens| f64::from(*tokens)).sum();
        each.map(|(tokens, loss)| f64::from(*tokens) * loss).sum::<f64>() / total.max(1.0)
    }

    /// The mean of several models' losses on the same stories, story by story; empty where there is no model.
    pub(crate) fn mean_of(several: &[&Self]) -> Self {
        let Some(first) = several.first() else { return Self::default() };
        let count = several.len() as f64;
        let mean = |story: usize| several.iter().map(|one| one.losses[story]).sum::<f64>() / count;
        Self {
            tokens: first.tokens.clone(),
            losses: (0..first.len()).map(|story| rounded(mean(story))).collect(),
        }
    }

    /// The standard error of the difference of two models' mean losses per token, paired by story: that of a ratio
    /// whose weights are the stories' tokens. None where these are not the same stories, or fewer than two.
    ///
    /// # Source
    /// Cochran, Sampling Techniques, 1977, section 6.3.
    pub fn standard_error_to(&self, other: &Self) -> Option<f64> {
        if self.tokens != other.tokens || self.len() < 2 {
            return None;
        }
        let weights: Vec<f64> = self.tokens.iter().map(|tokens| f64::from(*tokens)).collect();
        let differences: Vec<f64> = self.losses.iter().zip(&other.losses).map(|(a, b)| a - b).collect();
        let (count, total) = (weights.len() as f64, weights.iter().sum::<f64>());
        let mean = weights.iter().zip(&differences).map(|(w, d)| w * d).sum::<f64>() / total;
        let squares: f64 = weights.iter().zip(&differences).map(|(w, d)| (w * (d - mean)).powi(2)).sum();
        (total > 0.0).then(|| (squares * count / (count - 1.0)).sqrt() / total)
    }
}

/// A loss to four places.
fn rounded(loss: f64) -> f64 {
    (loss * 1e4).round() / 1e4
}

impl From<PerStory> for String {
    fn from(stories: PerStory) -> Self {
        let each = stories.tokens.iter().zip(&stories.losses);
        each.map(|(tokens, loss)| format!("{tokens}:{loss}")).collect::<Vec<_>>().join(" ")
    }
}

impl TryFrom<String> for PerStory {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut stories = Self::default();
        for story in text.split_whitespace() {
            let parsed = story.split_once(':').and_then(|(tokens, loss)| {
                Some((tokens.parse().ok()?, loss.parse().ok().filter(|loss: &f64| loss.is_finite())?))
            });
            let (tokens, loss) = parsed.ok_or_else(|| format!("`{story}` is not TOKENS:LOSS"))?;
            stories.tokens.push(tokens);
            stories.losses.push(loss);
        }
        Ok(stories)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stories(of: &[(u32, f64)]) -> PerStory {
        let mut stories = PerStory::default();
        for (tokens, mean) in of {
            stories.add(*tokens, f64::from(*tokens) * mean);
        }
        stories
    }

    #[test]
    fn the_error_is_that_of_the_differences_and_not_of_the_losses() {
        let base = stories(&[(10, 1.0), (10, 5.0), (10, 3.0), (10, 9.0)]);
        // the same difference in every story: no error, however unlike the stories
        let above = stories(&[(10, 1.5), (10, 5.5), (10, 3.5), (10, 9.5)]);
        assert!(above.standard_error_to(&base).unwrap() < 1e-9);
        // differences 0, 1, 2, 3: s = 1.290994, over the root of 4
        let other = stories(&[(10, 1.0), (10, 6.0), (10, 5.0), (10, 12.0)]);
        assert!((other.standard_error_to(&base).unwrap() - 0.645_497).abs() < 1e-6);
        assert_eq!(other.standard_error_to(&base), base.standard_error_to(&other));
    }

    #[test]
    fn long_stories_weigh_more() {
        // weights 1 and 3, differences 0 and 1: mean .75, (.75² + (3 · .25)²) · 2 = 2.25, root 1.5, over 4 tokens
        let (base, above) = (stories(&[(1, 2.0), (3, 2.0)]), stories(&[(1, 2.0), (3, 3.0)]));
        assert!((above.standard_error_to(&base).unwrap() - 0.375).abs() < 1e-9);
    }

    #[test]
    fn other_stories_and_a_single_one_have_no_error() {
        let one = stories(&[(4, 2.0)]);
        assert_eq!(one.standard_error_to(&one), None);
        assert_eq!(stories(&[(4, 2.0), (5, 2.0)]).standard_error_to(&stories(&[(4, 2.0), (6, 2.0)])), None);
    }

    #[test]
    fn they_are_saved_on_one_line_and_come_back() {
        let saved = stories(&[(57, 1.983_21), (128, 2.0)]);
        let text = serde_json::to_string(&saved).unwrap();
        assert_eq!(text, "\"57:1.9832 128:2\"");
        assert_eq!(serde_json::from_str::<PerStory>(&text).unwrap(), saved);
        for damaged in ["57", "57:", "x:1", "57:NaN"] {
            let error = serde_json::from_str::<PerStory>(&format!("\"{damaged}\"")).unwrap_err().to_string();
            assert!(error.contains(&format!("`{damaged}` is not TOKENS:LOSS")), "{error}");
        }
    }

    #[test]
    fn the_mean_over_repeats_is_taken_story_by_story() {
        let (a, b) = (stories(&[(2, 1.0), (3, 4.0)]), stories(&[(2, 2.0), (3, 2.0)]));
        assert_eq!(PerStory::mean_of(&[&a, &b]), stories(&[(2, 1.5), (3, 3.0)]));
        assert!(PerStory::mean_of(&[]).is_empty());
    }
}
