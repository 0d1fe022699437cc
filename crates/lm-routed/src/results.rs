//! What a part of an experiment has come to, as it is saved with the run.

use std::fs;
use std::io;
use std::path::Path;

use experiment::RunError;
use serde::{Deserialize, Serialize};

use crate::evaluate::Losses;
use crate::finetune::Relearned;
use crate::methods::{Method, Part};

/// `parts/NAME.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartResult {
    /// The method.
    pub method: Method,
    /// The share of the concept's documents that were labelled.
    pub labelled: f64,
    /// The model as it was trained.
    pub trained: Losses,
    /// Without the neurons that are cut out; as trained for a method that cuts out none.
    pub ablated: Losses,
    /// After the fine-tuning on documents without the concept; as ablated for a method that cuts out none.
    pub coherent: Losses,
    /// Taught the concept again.
    pub relearned: Vec<Relearned>,
    /// The most routed tokens with their weights w and their frequency ratios r.
    pub routed_tokens: Vec<RoutedToken>,
    /// Seconds of training, and of everything after it.
    pub seconds: f64,
}

/// A token and how it is routed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoutedToken {
    /// The token, `␣` for a space.
    pub token: String,
    /// The share of its gradient that is not routed.
    pub weight: f64,
    /// Sightings in validation documents about the concept, a 10,000 tokens.
    pub per_10k_forget: f64,
    /// Sightings in the others.
    pub per_10k_retain: f64,
}

impl PartResult {
    /// The part.
    pub fn part(&self) -> Part {
        Part { method: self.method, labelled: self.labelled }
    }

    /// The losses after relearning from a number of documents.
    pub fn relearned_from(&self, stories: usize) -> Option<&Relearned> {
        self.relearned.iter().find(|relearned| relearned.stories == stories)
    }
}

/// Reads a JSON file that the run wrote; nothing where there is none yet.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, RunError> {
    let unreadable = |source| RunError::Read { path: path.to_owned(), source };
    match fs::read(path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|error| unreadable(io::Error::from(error)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(error)),
    }
}
