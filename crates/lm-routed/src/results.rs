//! What a part of an experiment has come to, as it is saved with the run.

use std::io;
use std::path::Path;

use experiment::{UserError, read_at_most};
use serde::{Deserialize, Serialize};

use crate::evaluate::Losses;
use crate::finetune::Relearned;
use crate::methods::{Method, Part};
use crate::per_story::StoryLosses;

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
    /// The losses of each story before anything is taught back; none in `summary.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_story: Option<StageStories>,
    /// The most routed tokens with their weights w and their frequency ratios r.
    pub routed_tokens: Vec<RoutedToken>,
    /// Seconds of training, and of everything after it; 0 where only the results are known.
    #[serde(default)]
    pub seconds: f64,
}

/// The losses of each story at the stages before relearning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageStories {
    /// As it was trained.
    pub trained: StoryLosses,
    /// Without the neurons.
    pub ablated: StoryLosses,
    /// Made coherent.
    pub coherent: StoryLosses,
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
        Part { method: self.method, labelled: self.labelled, filtered: None }
    }

    /// The same without the losses of single stories.
    pub(crate) fn without_stories(&self) -> Self {
        let relearned = self.relearned.iter().cloned().map(|one| Relearned { per_story: None, ..one });
        Self { per_story: None, relearned: relearned.collect(), ..self.clone() }
    }

    /// The losses after relearning from a number of documents.
    pub fn relearned_from(&self, stories: usize) -> Option<&Relearned> {
        self.relearned.iter().find(|relearned| relearned.stories == stories)
    }
}

/// No result is longer.
const LONGEST: u64 = 16 << 20;

/// Reads a JSON file that the run wrote; nothing where there is none yet.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
    let read = read_at_most(path, LONGEST).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
    match read {
        Ok(result) => Ok(Some(result)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let message = format!("cannot read {}: {error}", path.display());
            Err(UserError::failed(message).with_hint(REMEDY).into())
        }
    }
}

const REMEDY: &str = "restore that file from a copy, or start the run again";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_result_is_named_and_a_missing_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("base.json");
        assert_eq!(read_json::<PartResult>(&path).unwrap(), None);
        for (content, fault) in [
            (b"{\"method\": \"base\"".as_slice(), "EOF while parsing an object at line 1 column 17"),
            (b"{}", "missing field `method` at line 1 column 2"),
            (b"\xff", "expected value at line 1 column 1"),
            (&vec![b' '; LONGEST as usize + 1], "it is longer than 16777216 bytes, which no such file is"),
        ] {
            std::fs::write(&path, content).unwrap();
            let error = read_json::<PartResult>(&path).unwrap_err();
            let error = error.downcast_ref::<UserError>().unwrap();
            assert_eq!(error.message, format!("cannot read {}: {fault}", path.display()));
            assert_eq!(error.hint.as_deref(), Some(REMEDY));
        }
    }
}
