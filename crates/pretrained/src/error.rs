//! The errors of this crate.

use std::path::{Path, PathBuf};

/// What can go wrong with a model from disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that cannot be read or is no such model.
    #[error("cannot use {}: {fault}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// A network that no family has.
    #[error("{0}, which no model of Hugging Face's GPT-2 has: it cannot be exported as one")]
    NotGpt2(String),
    /// A folder or file that cannot be written.
    #[error(transparent)]
    Run(#[from] experiment::RunError),
    /// Adapters or gates that do not fit the model.
    #[error("{0}")]
    Adapter(String),
    /// A context that the model does not take.
    #[error("{found} tokens for a model that takes 1 to {most}: give another text")]
    Context {
        /// Tokens that were given.
        found: usize,
        /// Tokens that fit.
        most: usize,
    },
    /// A token that the model does not have.
    #[error("the model has no token {token}: its vocabulary has {size}")]
    Token {
        /// The token.
        token: u32,
        /// Tokens that there are.
        size: usize,
    },
    /// The parameters refused.
    #[error(transparent)]
    Learning(#[from] learning::LearningError),
    /// A mask does not fit.
    #[error(transparent)]
    Routing(#[from] gradient_routing::RoutingError),
    /// The hooks refused.
    #[error(transparent)]
    Hooks(#[from] transformer::Error),
    /// candle refused an operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    pub(crate) fn file(path: &Path, fault: impl std::fmt::Display) -> Self {
        Self::File { path: path.to_owned(), fault: fault.to_string() }
    }
}
