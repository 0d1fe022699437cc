//! The errors of this crate.

use std::path::PathBuf;

/// What can go wrong in a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A loss or gradient that is not a number.
    #[error("update {update}: {fault}: lower train.learning_rate")]
    NotFinite {
        /// The update in hand.
        update: u64,
        /// Which number, among the parts of the loss.
        fault: learning::NotFinite,
    },
    /// A saved state that does not fit this run.
    #[error("the checkpoint does not fit this run: {0}")]
    State(String),
    /// Settings that only show to be impossible while running.
    #[error("{0}")]
    Setting(String),
    /// A file of the data set is not what it should be.
    #[error("{} {fault}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, as the rest of the sentence.
        fault: String,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The optimiser refused.
    #[error(transparent)]
    Learning(#[from] learning::LearningError),
    /// A mask did not fit.
    #[error(transparent)]
    Routing(#[from] gradient_routing::RoutingError),
    /// A picture could not be made.
    #[error(transparent)]
    Plot(#[from] plots::PlotError),
    /// candle refused an operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
