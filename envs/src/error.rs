//! What can go wrong.

use crate::{EnvId, Fault};

/// What can go wrong in this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// The settings do not make an environment.
    #[error("the environment's settings do not work: {}", list(.0))]
    Config(Vec<Fault>),
    /// No environment has this name.
    #[error("no environment is called `{got}`; there are {}", names())]
    UnknownId {
        /// The name asked for.
        got: String,
    },
    /// A batch of nothing.
    #[error("a batch needs at least 1 environment; raise num_envs")]
    NoEnvs,
    /// A slice has the wrong number of elements.
    #[error("`{what}` has {got} elements where {expected} are needed; size it by num_envs and the space")]
    Length {
        /// The name of the slice.
        what: &'static str,
        /// The number of elements it needs.
        expected: usize,
        /// The number of elements it has.
        got: usize,
    },
    /// An action that does not exist. Nothing was stepped.
    #[error("action {got} of environment {index} does not exist; actions are 0 to {}", .actions - 1)]
    Action {
        /// The environment within the batch.
        index: usize,
        /// The action it was given.
        got: u8,
        /// How many actions there are.
        actions: usize,
    },
    /// No such environment in the batch.
    #[error("there is no environment {index} in a batch of {num_envs}")]
    Index {
        /// The environment asked for.
        index: usize,
        /// The size of the batch.
        num_envs: usize,
    },
    /// A layout that this environment cannot be in.
    #[error("the layout does not fit {id}: {reason}")]
    Layout {
        /// The environment.
        id: EnvId,
        /// What does not fit.
        reason: String,
    },
    /// A saved state that this batch cannot take over.
    #[error("the saved state does not fit this batch: {reason}; load it with the settings it was saved with")]
    State {
        /// What does not fit.
        reason: String,
    },
    /// An environment does not keep to the contract of [`VectorEnv`](crate::VectorEnv).
    #[error("{name} breaks the contract of a vector environment: {reason}")]
    Contract {
        /// What the environment calls itself.
        name: String,
        /// The promise that was broken.
        reason: String,
    },
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn names() -> String {
    EnvId::ALL.map(|id| format!("`{id}`")).join(", ")
}
