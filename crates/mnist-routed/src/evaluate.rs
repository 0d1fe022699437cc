//! How well decoder and certificates reconstruct each digit.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::{Batch, Reconstruction};
use crate::split::{CLASSES, Split};

/// The errors of one network on the validation images.
///
/// Both are means over pixels and images, with pixels from −1 to 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Errors {
    /// Mean squared error of each digit.
    pub mse: Vec<f64>,
    /// Mean absolute error of each digit.
    pub mae: Vec<f64>,
    /// Mean squared error over the images of each part of the digits.
    pub part_mse: Vec<f64>,
    /// Mean absolute error likewise.
    pub part_mae: Vec<f64>,
}

/// The errors of decoder and certificates.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// The decoder's; each digit through the decoder of its own part.
    pub decoder: Errors,
    /// Each certificate's, which sees one part of the encoding.
    pub certificates: Vec<Errors>,
}

impl Evaluation {
    /// How many times larger the last certificate's squared error is on the other parts' digits than on its own:
    /// for the paper's split, the bottom certificate on 0–4 against 5–9.
    pub fn factor(&self, split: &Split) -> f64 {
        let last = split.parts() - 1;
        self.certificates.get(last).map_or(f64::NAN, |errors| {
            let others = &errors.part_mse[..last];
            others.iter().sum::<f64>() / others.len() as f64 / errors.part_mse[last]
        })
    }

    /// The networks by name, the decoder first.
    pub fn networks(&self, split: &Split) -> Vec<(String, &Errors)> {
        let certificates = self.certificates.iter().enumerate();
        std::iter::once(("decoder".to_owned(), &self.decoder))
            .chain(certificates.map(|(part, errors)| (split.part_name(part), errors)))
            .collect()
    }

    /// All numbers by their names in the metrics: `eval/NETWORK/mse_DIGIT`, and `eval/NETWORK/mse/DIGITS` for the
    /// digits of a part.
    pub fn named(&self, split: &Split) -> Vec<(String, f64)> {
        let mut named = Vec::new();
        for (network, errors) in self.networks(split) {
            for (kind, parts, digits) in
                [("mse", &errors.part_mse, &errors.mse), ("mae", &errors.part_mae, &errors.mae)]
            {
                for (part, value) in parts.iter().enumerate() {
                    named.push((format!("eval/{network}/{kind}/{}", split.digits_label(part)), *value));
                }
                for (digit, value) in digits.iter().enumerate() {
                    named.push((format!("eval/{network}/{kind}_{digit}"), *value));
                }
            }
        }
        named.push(("eval/factor".to_owned(), self.factor(split)));
        named
    }
}

/// Errors being added up.
pub(crate) struct Tally {
    counts: [u64; CLASSES],
    /// For each network: squared and absolute errors of each digit.
    sums: Vec<[[f64; 2]; CLASSES]>,
}

impl Tally {
    pub(crate) fn new(parts: usize) -> Self {
        Self { counts: [0; CLASSES], sums: vec![[[0.0; 2]; CLASSES]; parts + 1] }
    }

    /// Adds some images; the sums do not depend on the threads.
    pub(crate) fn add(&mut self, batch: Batch<'_>, reconstruction: &Reconstruction) {
        let pixels = batch.images.pixels;
        let labels: Vec<usize> =
            batch.indices.iter().map(|index| usize::from(batch.images.labels[*index as usize])).collect();
        for digit in &labels {
            self.counts[*digit] += 1;
        }
        let networks: Vec<&Vec<f32>> =
            std::iter::once(&reconstruction.decoder).chain(&reconstruction.certificates).collect();
        for (sums, out) in self.sums.iter_mut().zip(networks) {
            let errors: Vec<[f64; 2]> = batch
                .indices
                .par_iter()
                .zip(out.par_chunks_exact(pixels))
                .map(|(index, out)| {
                    let mut x = vec![0.0; pixels];
                    batch.images.write(*index, &mut x);
                    let (mut squares, mut distances) = (0.0, 0.0);
                    for (a, b) in out.iter().zip(&x) {
                        let difference = f64::from(a - b);
                        squares += difference * difference;
                        distances += difference.abs();
                    }
                    [squares / pixels as f64, distances / pixels as f64]
                })
                .collect();
            for (digit, error) in labels.iter().zip(errors) {
                sums[*digit][0] += error[0];
                sums[*digit][1] += error[1];
            }
        }
    }

    pub(crate) fn finish(&self, split: &Split) -> Evaluation {
        let mut errors = self.sums.iter().map(|sums| {
            let mean = |digits: &[u8], kind: usize| {
                let count: u64 = digits.iter().map(|digit| self.counts[usize::from(*digit)]).sum();
                digits.iter().map(|digit| sums[usize::from(*digit)][kind]).sum::<f64>() / count as f64
            };
            let digits = |kind: usize| (0..CLASSES as u8).map(|digit| mean(&[digit], kind)).collect();
            let parts =
                |kind: usize| (0..split.parts()).map(|part| mean(&split.digits(part), kind)).collect();
            Errors { mse: digits(0), mae: digits(1), part_mse: parts(0), part_mae: parts(1) }
        });
        Evaluation { decoder: errors.next().unwrap_or_default(), certificates: errors.collect() }
    }
}
