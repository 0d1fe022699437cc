//! The one checker of the contract, over every environment.

use crate::{EnvConfig, EnvError, make};

/// Checks that the environment of `config` keeps to the contract of [`VectorEnv`](crate::VectorEnv).
///
/// # Errors
/// [`EnvError::Config`] if it cannot be made, [`EnvError::Contract`] with the promise it breaks.
pub fn check_env(config: &EnvConfig) -> Result<(), EnvError> {
    make(config, 1).map(|_| ())
}
