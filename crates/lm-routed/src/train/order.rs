//! Which documents a step takes.

use experiment::SeedStreams;
use rand::seq::SliceRandom;

use crate::Error;

/// Documents in passes, each in an order of its own that is drawn from the stream `data.PASS`. What a step takes
/// depends on its number only, so that a resumed run goes on with the same documents.
#[derive(Clone, Debug)]
pub struct Order {
    documents: Vec<usize>,
    streams: SeedStreams,
    pass: Option<usize>,
    shuffled: Vec<usize>,
}

impl Order {
    /// Passes over these documents.
    ///
    /// # Panics
    /// Panics if there is none.
    pub fn new(documents: Vec<usize>, streams: SeedStreams) -> Self {
        assert!(!documents.is_empty(), "no document to train on");
        Self { documents, streams, pass: None, shuffled: Vec::new() }
    }

    /// Passes over the labelled documents, and others over the rest; `who` needs both.
    ///
    /// # Errors
    /// [`Error::Setting`] where there is none of one kind.
    pub fn of_both_kinds(labels: &[bool], streams: SeedStreams, who: &str) -> Result<[Self; 2], Error> {
        let of = |label: bool| -> Vec<usize> {
            labels.iter().enumerate().filter(|(_, l)| **l == label).map(|(index, _)| index).collect()
        };
        let (labelled, others) = (of(true), of(false));
        if labelled.is_empty() || others.is_empty() {
            let fault = format!("{who} needs labelled documents and others: raise experiment.labelled");
            return Err(Error::Setting(fault));
        }
        Ok([labelled, others].map(|documents| Self::new(documents, streams)))
    }

    /// The documents of step `step`, which takes `size` of them.
    pub fn batch(&mut self, step: u64, size: usize) -> Vec<usize> {
        let start = step as usize * size;
        (start..start + size).map(|index| self.at(index)).collect()
    }

    fn at(&mut self, index: usize) -> usize {
        let (pass, place) = (index / self.documents.len(), index % self.documents.len());
        if self.pass != Some(pass) {
            self.shuffled.clone_from(&self.documents);
            self.shuffled.shuffle(&mut self.streams.stream(&format!("data.{pass}")));
            self.pass = Some(pass);
        }
        self.shuffled[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pass_has_every_document_and_a_step_is_the_same_from_anywhere() {
        let documents: Vec<usize> = (10..17).collect();
        let mut order = Order::new(documents.clone(), SeedStreams::new(1));
        let steps: Vec<Vec<usize>> = (0..7).map(|step| order.batch(step, 3)).collect();
        for pass in steps.concat().chunks_exact(7) {
            let mut pass = pass.to_vec();
            pass.sort_unstable();
            assert_eq!(pass, documents);
        }
        let mut later = Order::new(documents, SeedStreams::new(1));
        assert_eq!(later.batch(5, 3), steps[5]);
        assert_eq!(later.batch(2, 3), steps[2]);
    }
}
