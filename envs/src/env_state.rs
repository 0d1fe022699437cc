//! A saved state, whatever environment it is of.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::EnvError;

/// Everything that changes over time in a batch, random streams included, as the JSON text that the environment
/// wrote; see [`VectorEnv::save_state`](crate::VectorEnv::save_state).
///
/// serde passes the text on unchanged, key order included; what is in it is checked when it is loaded, not when
/// it is read.
///
/// ```
/// let state = envs::EnvState::of(&("cells", [3, 1]))?;
/// assert_eq!(state.as_json(), r#"["cells",[3,1]]"#);
/// let (name, cells): (String, [u16; 2]) = state.read()?;
/// assert_eq!((name.as_str(), cells), ("cells", [3, 1]));
/// # Ok::<(), envs::EnvError>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EnvState(Box<RawValue>);

impl EnvState {
    /// The state that `state` serialises to.
    ///
    /// # Errors
    /// [`EnvError::State`] if it is nothing that JSON can hold.
    pub fn of(state: &impl Serialize) -> Result<Self, EnvError> {
        let text = serde_json::value::to_raw_value(state);
        text.map(Self).map_err(|error| EnvError::State { reason: format!("it cannot be written: {error}") })
    }

    /// The value that was saved.
    ///
    /// # Errors
    /// [`EnvError::State`] if another environment wrote it, or it is damaged.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, EnvError> {
        let value = serde_json::from_str(self.0.get());
        value.map_err(|error| EnvError::State { reason: format!("it cannot be read: {error}") })
    }

    /// The JSON text.
    pub fn as_json(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for EnvState {
    fn eq(&self, other: &Self) -> bool {
        self.as_json() == other.as_json()
    }
}
