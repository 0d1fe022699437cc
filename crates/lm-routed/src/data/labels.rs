//! Which documents are labelled, rightly or wrongly.

use experiment::SeedStreams;
use rand::seq::SliceRandom;

use super::dataset::Dataset;
use crate::config::ConceptSection;

impl Dataset {
    /// Which training documents are labelled as being about a concept: of those that are, a share of `fraction`,
    /// drawn from the stream `labels`. A larger fraction labels the same ones and more.
    pub fn labels(&self, fraction: f64, streams: SeedStreams) -> Vec<bool> {
        let mut forget: Vec<usize> = (0..self.train.len()).filter(|i| self.train.is_forget(*i)).collect();
        forget.shuffle(&mut streams.stream("labels"));
        forget.truncate((fraction * forget.len() as f64).round() as usize);
        let mut labels = vec![false; self.train.len()];
        for index in forget {
            labels[index] = true;
        }
        labels
    }

    /// The concepts that training documents are labelled with, concept i in bit i: of those that [`Dataset::labels`] says,
    /// the concept's `recall`, drawn from the stream `labels.recall.I`; and so many that are not about it, drawn from
    /// `labels.precision.I`, that its `precision` of the labelled ones are.
    pub fn labelled_concepts(
        &self,
        concepts: &[ConceptSection],
        fraction: f64,
        streams: SeedStreams,
    ) -> Vec<u8> {
        let labels = self.labels(fraction, streams);
        let about = |index: usize, bit: u8| self.train.concepts(index) & bit != 0;
        let mut labelled: Vec<u8> = (0..self.train.len())
            .map(|index| if labels[index] { self.train.concepts(index) } else { 0 })
            .collect();
        for (number, ConceptSection { recall, precision, .. }) in concepts.iter().enumerate() {
            let bit = 1 << number;
            // in an order that does not depend on what is labelled, so that more labels are the same and more
            let drawn = |of_it: bool, stream: &str| {
                let mut drawn: Vec<usize> =
                    (0..self.train.len()).filter(|index| about(*index, bit) == of_it).collect();
                drawn.shuffle(&mut streams.stream(&format!("labels.{stream}.{number}")));
                drawn
            };
            if *recall < 1.0 {
                let documents = drawn(true, "recall");
                let kept = (recall * documents.len() as f64).round() as usize;
                for index in &documents[kept..] {
                    labelled[*index] &= !bit;
                }
            }
            if *precision < 1.0 {
                let right = labelled.iter().filter(|concepts| **concepts & bit != 0).count() as f64;
                let wrong = (right * (1.0 - precision) / precision).round() as usize;
                for index in drawn(false, "precision").into_iter().take(wrong) {
                    labelled[index] |= bit;
                }
            }
        }
        labelled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn labels_have_the_recall_and_the_precision_that_were_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("corpus.txt");
        let texts = ["A boat at sea.", "A house.", "A bird.", "A road."].repeat(100).join("\n\n");
        std::fs::write(&path, texts).unwrap();
        let mut data = Config::default().data;
        (data.train, data.validation) = (path.display().to_string(), String::new());
        (data.cache, data.vocab_size) = (String::new(), 300);
        let of = |word: &str, recall, precision| ConceptSection {
            recall,
            precision,
            ..ConceptSection::of_words(word, vec![word.to_owned()])
        };
        let clean = [of("sea", 1.0, 1.0), of("bird", 1.0, 1.0)];
        let dataset = Dataset::load(&data, &clean, 32).unwrap();
        let streams = SeedStreams::new(3);
        let labelled =
            |concepts: &[ConceptSection], fraction| dataset.labelled_concepts(concepts, fraction, streams);
        let right: Vec<u8> = (0..dataset.train.len()).map(|i| dataset.train.concepts(i)).collect();
        assert_eq!(labelled(&clean, 1.0), right);
        // with a recall of a half and two of three labels right
        let noisy = [of("sea", 0.5, 2.0 / 3.0), of("bird", 1.0, 1.0)];
        let found = labelled(&noisy, 1.0);
        let count = |of: &dyn Fn(usize) -> bool| (0..right.len()).filter(|i| of(*i)).count() as f64;
        let documents = count(&|i| right[i] & 1 == 1);
        let (good, bad) =
            (count(&|i| right[i] & found[i] & 1 == 1), count(&|i| found[i] & !right[i] & 1 == 1));
        assert!((good - documents / 2.0).abs() <= 1.0, "{good} of {documents}");
        assert!((bad - good / 2.0).abs() <= 1.0, "{bad} beside {good}");
        assert!((0..right.len()).all(|i| right[i] & 2 == found[i] & 2));
        // fewer labels are among more of them
        let fewer = labelled(&[of("sea", 0.25, 2.0 / 3.0), of("bird", 1.0, 1.0)], 1.0);
        assert!((0..right.len()).all(|i| fewer[i] & !found[i] == 0));
    }
}
