//! The errors of this crate.

use std::path::PathBuf;

use experiment::UserError;

/// What can go wrong with models, data and experiments.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A loss or gradient that is not a number.
    #[error("step {step} of {part}: {fault}: lower {section}.learning_rate or train.grad_clip")]
    NotFinite {
        /// What was trained, such as `era`.
        part: String,
        /// The step in hand.
        step: u64,
        /// Which number, among the parts of the loss.
        fault: learning::NotFinite,
        /// The section of the config with its learning rate.
        section: &'static str,
    },
    /// A saved state that does not fit.
    #[error("the state does not fit this run: {0}")]
    State(String),
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// Settings that only show to be impossible while running.
    #[error("{0}")]
    Setting(String),
    /// A file of texts that cannot be read.
    #[error("cannot read the texts in {}: {fault}", path.display())]
    Corpus {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// A list of tokens or words that cannot be read.
    #[error("cannot read the list in {}: {fault}", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// The tokenizer refused.
    #[error("the tokenizer: {0}")]
    Tokenizer(String),
    /// A run's file could not be had.
    #[error(transparent)]
    Run(#[from] experiment::RunError),
    /// The network or its passes refused.
    #[error(transparent)]
    Transformer(transformer::Error),
    /// A model from disk or its adapters refused.
    #[error(transparent)]
    Pretrained(Box<pretrained::Error>),
    /// The optimiser or the parameters refused.
    #[error(transparent)]
    Learning(#[from] learning::LearningError),
    /// A mask does not fit.
    #[error(transparent)]
    Routing(#[from] gradient_routing::RoutingError),
    /// A picture could not be made.
    #[error(transparent)]
    Plot(#[from] plots::PlotError),
    /// candle refused an operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl From<transformer::Error> for Error {
    /// What the user can change is said in the words of the settings.
    fn from(error: transformer::Error) -> Self {
        match error {
            transformer::Error::Header { .. } => Self::State(error.to_string()),
            other => Self::Transformer(other),
        }
    }
}

impl From<pretrained::Error> for Error {
    fn from(error: pretrained::Error) -> Self {
        Self::Pretrained(Box::new(error))
    }
}

impl Error {
    /// With what the user can do about settings and files that cannot be used: exit code 2. Other errors stay what
    /// they are.
    pub(crate) fn for_user(self) -> anyhow::Error {
        let hint = match &self {
            Self::Corpus { .. } => {
                "a corpus is a .jsonl with a `text` on each line, or a text file, packed as .gz or not; \
                 `--set data.train=FILE` names another"
            }
            Self::List { .. } => "write one on each line, of tokens `␣` for a space in front",
            Self::Tokenizer(_) => {
                "`data.tokenizer` takes a tokenizer.json of the tokenizers library; empty, one is trained"
            }
            Self::Pretrained(error) if matches!(**error, pretrained::Error::Adapter(_)) => {
                "change [adapt] in the config or with --set"
            }
            Self::Setting(_) => "change the setting in the config or with --set",
            _ => return self.into(),
        };
        UserError::usage(self.to_string()).with_hint(hint).into()
    }
}
