//! Which documents a step takes where all of a step have one label.

use experiment::SeedStreams;
use rand::seq::SliceRandom;

/// Documents in passes of steps, each on documents of one label: in every pass each document is taken once, but for
/// some that fill up the last step of their label. The order of documents and of steps is drawn for each pass from the
/// stream `data.PASS`. What a step takes depends on its number only.
#[derive(Clone, Debug)]
pub struct LabelledOrder {
    /// The documents of each label.
    documents: Vec<Vec<usize>>,
    size: usize,
    streams: SeedStreams,
    pass: Option<u64>,
    /// The steps of that pass: the label and its documents.
    steps: Vec<(usize, Vec<usize>)>,
}

impl LabelledOrder {
    /// Steps of `size` of these documents, of which number i has the label `labels[i]`.
    ///
    /// # Panics
    /// Panics if there is no document or no room for one.
    pub fn new(
        documents: impl IntoIterator<Item = usize>,
        labels: &[usize],
        size: usize,
        streams: SeedStreams,
    ) -> Self {
        let mut of_label = vec![Vec::new(); labels.iter().max().map_or(0, |last| last + 1)];
        for index in documents {
            of_label[labels[index]].push(index);
        }
        assert!(
            size > 0 && of_label.iter().any(|documents| !documents.is_empty()),
            "no document to train on"
        );
        Self { documents: of_label, size, streams, pass: None, steps: Vec::new() }
    }

    /// The label and the documents of step `step`.
    pub fn step(&mut self, step: u64) -> (usize, Vec<usize>) {
        let each: u64 =
            self.documents.iter().map(|documents| documents.len().div_ceil(self.size) as u64).sum();
        let (pass, place) = (step / each, (step % each) as usize);
        if self.pass != Some(pass) {
            self.steps = self.steps_of(pass);
            self.pass = Some(pass);
        }
        self.steps[place].clone()
    }

    fn steps_of(&self, pass: u64) -> Vec<(usize, Vec<usize>)> {
        let mut rng = self.streams.stream(&format!("data.{pass}"));
        let mut steps = Vec::new();
        for (label, documents) in self.documents.iter().enumerate() {
            let mut shuffled = documents.clone();
            shuffled.shuffle(&mut rng);
            let count = shuffled.len().div_ceil(self.size);
            // the first ones again, where they do not come out even
            let mut round = shuffled.iter().cycle();
            steps.extend((0..count).map(|_| (label, round.by_ref().take(self.size).copied().collect())));
        }
        steps.shuffle(&mut rng);
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pass_has_every_document_in_steps_of_one_label() {
        let labels = [0, 1, 0, 2, 0, 1, 0, 0, 2, 0, 0];
        let documents = || (0..labels.len()).filter(|index| *index != 4);
        let mut order = LabelledOrder::new(documents(), &labels, 3, SeedStreams::new(1));
        // 6 of label 0, 2 of 1, 2 of 2
        let passes: Vec<Vec<_>> =
            (0..3).map(|pass| (0..4).map(|i| order.step(4 * pass + i)).collect()).collect();
        for pass in &passes {
            let mut seen: Vec<usize> = Vec::new();
            for (label, documents) in pass {
                assert_eq!(documents.len(), 3);
                assert!(documents.iter().all(|index| labels[*index] == *label));
                seen.extend(documents);
            }
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen, documents().collect::<Vec<_>>());
        }
        assert_ne!(passes[0], passes[1]);
        let mut later = LabelledOrder::new(documents(), &labels, 3, SeedStreams::new(1));
        assert_eq!(later.step(9), passes[2][1]);
        assert_eq!(later.step(2), passes[0][2]);
    }
}
