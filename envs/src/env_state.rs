//! A saved state, whatever environment it is of.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::EnvError;

/// Everything that changes over time in a batch, random streams included, as the JSON text that the environment
/// wrote; see [`VectorEnv::save_state`](crate::VectorEnv::save_state).
///
/// What is in the text is checked when it is loaded into an environment, not before.
///
/// ```
/// use envs::EnvState;
///
/// let state = EnvState::of(&("cells", [3, 1]))?;
/// assert_eq!(state.as_json(), r#"["cells",[3,1]]"#);
/// let (name, cells): (String, [u16; 2]) = EnvState::from_json(state.as_json()).read()?;
/// assert_eq!((name.as_str(), cells), ("cells", [3, 1]));
/// # Ok::<(), envs::EnvError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvState(String);

impl EnvState {
    /// The state that `state` serialises to.
    ///
    /// # Errors
    /// [`EnvError::State`] if it is nothing that JSON can hold.
    pub fn of(state: &impl Serialize) -> Result<Self, EnvError> {
        let text = serde_json::to_string(state);
        text.map(Self).map_err(|error| EnvError::State { reason: format!("it cannot be written: {error}") })
    }

    /// The state that was written as this text.
    pub fn from_json(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The value that was saved.
    ///
    /// # Errors
    /// [`EnvError::State`] if another environment wrote it, or it is damaged.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, EnvError> {
        let value = serde_json::from_str(&self.0);
        value.map_err(|error| EnvError::State { reason: format!("it cannot be read: {error}") })
    }

    /// The JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}
