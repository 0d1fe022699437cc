//! A network as it is saved: its shape and its parameters.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use learning::{Backend, Parameters, Partition};
use serde_json::Value;

use crate::Error;
use crate::engine::Model;
use crate::model::{Architecture, ChannelGroups, copied, from_map};

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

    /// What is left where only some groups are kept: the neurons of the others are cut out, and the numbers of their
    /// heads are zero, so that these write nothing and no gradient reaches them. What is kept is copied bit for bit.
    ///
    /// # Errors
    /// As [`ChannelGroups::partitions`], and where a tensor cannot be copied.
    pub fn keeping(&self, groups: &ChannelGroups, keep: &[usize]) -> Result<Self, Error> {
        self.keeping_parts(groups, &groups.partitions(&self.architecture)?, keep)
    }

    /// As [`Network::keeping`], with the partitions of the groups in this network.
    pub(crate) fn keeping_parts(
        &self,
        groups: &ChannelGroups,
        partitions: &BTreeMap<String, Partition>,
        keep: &[usize],
    ) -> Result<Self, Error> {
        let mut parameters = Parameters::default();
        for (name, var) in self.parameters.iter() {
            let whole = var.as_detached_tensor();
            let left = match partitions.get(name) {
                Some(partition) => kept_channels(&whole, partition, keep, name.contains(".mlp."))?,
                None => whole,
            };
            parameters.insert(name, &left.contiguous()?)?;
        }
        let mut architecture = self.architecture.clone();
        let cut: usize = groups
            .neurons
            .iter()
            .enumerate()
            .filter(|(group, _)| !keep.contains(group))
            .map(|(_, n)| n)
            .sum();
        for layer in &groups.layers {
            architecture.mlp_widths[*layer] -= cut;
        }
        Ok(Self { architecture, parameters })
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

/// A parameter without the channels of groups that are not kept: cut out, or zero.
fn kept_channels(
    whole: &Tensor,
    Partition { dim, parts }: &Partition,
    keep: &[usize],
    cut: bool,
) -> Result<Tensor, Error> {
    let lost: Vec<usize> = (0..parts.len()).filter(|channel| !keep.contains(&parts[*channel])).collect();
    if lost.is_empty() {
        return Ok(whole.clone());
    }
    if cut {
        return Ok(gradient_routing::remove_channels(whole, *dim, &lost)?);
    }
    Ok(gradient_routing::ablate(whole, *dim, &lost)?)
}
