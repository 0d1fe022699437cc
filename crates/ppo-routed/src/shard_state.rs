//! What a shard of environments saves of itself.

use envs::EnvState;
use rand_xoshiro::Xoroshiro128PlusPlus;
use serde::Deserialize;

use crate::Error;

/// What a shard needs to go on exactly: saved in checkpoints.
#[derive(Clone, Debug)]
pub struct ShardState {
    pub(crate) env: EnvState,
    pub(crate) action_streams: Vec<Xoroshiro128PlusPlus>,
}

impl ShardState {
    /// The states of all shards as one JSON text, `[{"env": …, "action_streams": […]}, …]`, in which the text of an
    /// environment stands as it was written.
    ///
    /// # Errors
    /// Fails where a stream cannot be written.
    pub fn to_json(states: &[Self]) -> Result<String, Error> {
        let written = states.iter().map(|Self { env, action_streams }| {
            let streams = serde_json::to_string(action_streams).map_err(|e| Error::State(e.to_string()))?;
            Ok(format!("{{\"env\":{},\"action_streams\":{streams}}}", env.as_json()))
        });
        Ok(format!("[{}]", written.collect::<Result<Vec<_>, Error>>()?.join(",")))
    }

    /// The states that were written by [`ShardState::to_json`].
    ///
    /// # Errors
    /// Fails where the text is none.
    pub fn from_json(text: &[u8]) -> Result<Vec<Self>, serde_json::Error> {
        #[derive(Deserialize)]
        struct Written {
            env: serde_json::Value,
            action_streams: Vec<Xoroshiro128PlusPlus>,
        }
        let written: Vec<Written> = serde_json::from_slice(text)?;
        let states = written.into_iter().map(|Written { env, action_streams }| Self {
            env: EnvState::from_json(env.to_string()),
            action_streams,
        });
        Ok(states.collect())
    }
}
