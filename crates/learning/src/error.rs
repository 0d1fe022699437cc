//! The errors of this crate.

use std::path::PathBuf;

/// What can go wrong with parameters and optimisers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LearningError {
    /// A parameter was asked for by a name the model does not have.
    #[error("no parameter is named '{name}'; the model has {known}")]
    UnknownParameter {
        /// The name asked for.
        name: String,
        /// The names there are, comma-separated.
        known: String,
    },
    /// A file or map lacks parameters of the model.
    #[error("{origin} lacks the parameters {names}: it was made for another architecture")]
    Missing {
        /// Where the values came from.
        origin: String,
        /// The names that are lacking, comma-separated.
        names: String,
    },
    /// A file or map has parameters the model does not have.
    #[error(
        "{origin} has the parameters {names}, which this model does not have: it was made for another architecture"
    )]
    Unexpected {
        /// Where the values came from.
        origin: String,
        /// The names that are too many, comma-separated.
        names: String,
    },
    /// A parameter has another shape than the model's.
    #[error(
        "{origin} has {name} in shape {found:?}, the model needs {expected:?}: check the network's sizes"
    )]
    Shape {
        /// Where the values came from.
        origin: String,
        /// The parameter's name.
        name: String,
        /// The model's shape.
        expected: Vec<usize>,
        /// The shape that was found.
        found: Vec<usize>,
    },
    /// A parameter is of another type than the model's.
    #[error("{origin} has {name} of type {found:?}, the model needs {expected:?}: convert it")]
    Type {
        /// Where the values came from.
        origin: String,
        /// The parameter's name.
        name: String,
        /// The model's type.
        expected: candle_core::DType,
        /// The type that was found.
        found: candle_core::DType,
    },
    /// A saved count of optimizer steps is below zero.
    #[error("{origin} has {steps} in {name}: the steps of an optimizer are at least 0")]
    Steps {
        /// Where the values came from.
        origin: String,
        /// The count's name.
        name: String,
        /// What was found.
        steps: i64,
    },
    /// A partition does not fit its parameter.
    #[error(
        "the partition of {name} is of dimension {}, with {} channels; the parameter has the shape {expected:?}", found[0], found[1]
    )]
    Partition {
        /// The parameter's name.
        name: String,
        /// Its shape.
        expected: Vec<usize>,
        /// The partition's dimension, and the channels for which it has a part.
        found: Vec<usize>,
    },
    /// A parameter in parts was to move as a whole.
    #[error("{name} has {parts} parts: it moves by step_parts")]
    InParts {
        /// The parameter's name.
        name: String,
        /// Its parts.
        parts: usize,
    },
    /// A file could not be read as safetensors.
    #[error("cannot read {path}: {reason}; the file is cut short or no safetensors file")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// The fused passes were asked for where they do not run.
    #[error("train.backend = \"fused\" runs on the CPU only: use \"auto\", or --device cpu")]
    FusedOffCpu,
    /// candle refused an operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
