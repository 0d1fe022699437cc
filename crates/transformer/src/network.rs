//! A network as it is saved: its shape and its parameters.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use learning::{Backend, Parameters};
use serde_json::Value;

use crate::Error;
use crate::engine::Model;
use crate::model::{Architecture, copied, from_map};

/// The key of the shape in a saved network's header.
const ARCHITECTURE: &str = "architecture";

/// A network with its parameters.
#[derive(Clone)]
pub struct Network {
    /// Its shape.
    pub architecture: Architecture,
    /// Its values.
    pub parameters: Parameters,
}

impl Network {
    /// A copy that can be run and trained on sequences of `tokens` tokens.
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn model(&self, tokens: usize, threads: usize, backend: Backend) -> Result<Model, Error> {
        Model::new(&self.architecture, copied(&self.parameters)?, tokens, threads, backend)
    }

    /// What is saved beside the tensors: an object that holds the architecture.
    pub fn header(&self) -> Value {
        serde_json::json!({ ARCHITECTURE: self.architecture })
    }

    /// The values of all parameters by name, as they are saved.
    ///
    /// # Errors
    /// Fails where a tensor cannot be copied.
    pub fn tensors(&self) -> Result<BTreeMap<String, Tensor>, Error> {
        Ok(self.parameters.snapshot()?)
    }

    /// The shape that a saved network's header gives; `origin` names the file in the error.
    ///
    /// # Errors
    /// [`Error::Header`] where it gives none, or one of which no network can be made.
    pub fn architecture_of(header: &Value, origin: &str) -> Result<Architecture, Error> {
        let fault = |fault: String| Error::Header { origin: origin.to_owned(), fault };
        let architecture: Architecture =
            serde_json::from_value(header[ARCHITECTURE].clone()).map_err(|error| fault(error.to_string()))?;
        architecture.check().map_err(|error| fault(error.to_string()))?;
        Ok(architecture)
    }

    /// A network of tensors that were saved, on `device`; `origin` names the file in errors.
    ///
    /// # Errors
    /// Fails where the tensors are not exactly those of `architecture`.
    pub fn from_tensors(
        architecture: Architecture,
        tensors: &BTreeMap<String, Tensor>,
        origin: &str,
        device: &Device,
    ) -> Result<Self, Error> {
        let parameters = from_map(tensors, &architecture, origin, device)?;
        Ok(Self { architecture, parameters })
    }
}
