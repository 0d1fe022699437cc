//! The images: found on the machine, fetched where they are not, and checked before use.

mod fetch;
mod find;
mod idx;

use serde::{Deserialize, Serialize};

pub use find::{cache_folder, load, load_cached};
pub use idx::{parse_images, parse_labels};

/// A data set in MNIST's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum DatasetName {
    /// Handwritten digits, 60,000 to train on and 10,000 to validate with.
    Mnist,
    /// Pictures of clothes in ten classes, as many.
    Fashion,
    /// 200 and 100 digits of MNIST that come with the program, to try things out.
    Sample,
}

impl DatasetName {
    /// Images to train on.
    pub fn training_images(self) -> u64 {
        match self {
            Self::Mnist | Self::Fashion => 60_000,
            Self::Sample => 200,
        }
    }

    /// What it is called on screen.
    pub fn title(self) -> &'static str {
        match self {
            Self::Mnist => "MNIST",
            Self::Fashion => "Fashion-MNIST",
            Self::Sample => "a sample of MNIST",
        }
    }
}

/// Grey images of one size with their classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// Pixels of an image.
    pub pixels: usize,
    /// All pixels, image after image, row by row; 0 is black.
    pub values: Vec<u8>,
    /// The class of each image, 0 to 9.
    pub labels: Vec<u8>,
}

impl Images {
    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Writes an image as numbers from −1 for black to 1 for white.
    ///
    /// # Panics
    /// Panics if there is no such image.
    pub fn write(&self, index: u32, row: &mut [f32]) {
        let start = index as usize * self.pixels;
        for (value, byte) in row.iter_mut().zip(&self.values[start..start + self.pixels]) {
            *value = f32::from(*byte) / 127.5 - 1.0;
        }
    }

    /// The same images again and again, `len` in all.
    pub fn repeated(&self, len: usize) -> Self {
        let indices = (0..self.len()).cycle().take(len);
        let (mut values, mut labels) = (Vec::with_capacity(len * self.pixels), Vec::with_capacity(len));
        for index in indices {
            values.extend(&self.values[index * self.pixels..(index + 1) * self.pixels]);
            labels.push(self.labels[index]);
        }
        Self { pixels: self.pixels, values, labels }
    }
}

/// Images to train on and others to validate with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Which it is.
    pub name: DatasetName,
    /// To train on.
    pub train: Images,
    /// To validate with.
    pub test: Images,
}

/// Some images by their indices.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// All images.
    pub images: &'a Images,
    /// Which of them.
    pub indices: &'a [u32],
}

/// Images of the evaluation or of a picture, as the networks give them back: −1 for black to 1 for white.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reconstruction {
    /// The decoder's, image after image: each from the decoder of its own part.
    pub decoder: Vec<f32>,
    /// Each certificate's.
    pub certificates: Vec<Vec<f32>>,
}

impl Reconstruction {
    /// One after another.
    pub(crate) fn join(parts: Vec<Self>) -> Self {
        let mut parts = parts.into_iter();
        let mut all = parts.next().unwrap_or_default();
        for part in parts {
            all.decoder.extend(part.decoder);
            for (all, part) in all.certificates.iter_mut().zip(part.certificates) {
                all.extend(part);
            }
        }
        all
    }
}
