//! Steps that run a part of a network: what does not take part is not computed.

use std::collections::BTreeMap;
use std::ops::Range;

use learning::{Backend, Parameters, Partition};

use crate::Error;
use crate::batch::{Batch, StepLoss};
use crate::engine::Model;
use crate::model::{Architecture, ChannelGroups, Hooks};
use crate::network::Network;

/// Elements of a parameter that lie side by side, with their group.
type Runs = Vec<(Range<usize>, usize)>;

/// The smaller networks that are left of a model where only some groups of its neurons take part, each with buffers of
/// its own that are kept from step to step.
pub struct Submodels {
    groups: ChannelGroups,
    /// The groups in the parameters of the whole network.
    partitions: BTreeMap<String, Partition>,
    threads: usize,
    backend: Backend,
    /// Of each parameter, in the order of their names, its elements with their groups; none where it is in all of them.
    runs: Vec<Option<Runs>>,
    /// By the groups that are kept.
    models: BTreeMap<Vec<usize>, Model>,
}

impl Submodels {
    /// Parts of a network of that shape.
    ///
    /// # Errors
    /// As [`ChannelGroups::partitions`], and where heads are divided, which cannot be cut out.
    pub fn new(
        architecture: &Architecture,
        groups: ChannelGroups,
        threads: usize,
        backend: Backend,
    ) -> Result<Self, Error> {
        if !groups.heads.is_empty() {
            let found = groups.heads.iter().sum();
            return Err(Error::Groups { what: "heads to cut out", layer: 0, needed: 0, found });
        }
        let partitions = groups.partitions(architecture)?;
        let runs = |(name, shape): (String, Vec<usize>)| partitions.get(&name).and_then(|p| p.runs(&shape));
        let runs = architecture.parameters().into_iter().map(runs).collect();
        Ok(Self { groups, partitions, threads, backend, runs, models: BTreeMap::new() })
    }

    /// As [`Model::gradient`] of the network that is left of `whole` with the groups `keep` alone; the gradient is kept
    /// in `whole`, with zeros for the groups that take no part.
    ///
    /// # Errors
    /// As there, and where `whole` is of another shape.
    pub fn gradient(&mut self, whole: &mut Model, keep: &[usize], batch: &Batch) -> Result<StepLoss, Error> {
        let network =
            Network { architecture: whole.architecture().clone(), parameters: whole.parameters().clone() };
        let left = network.keeping_parts(&self.groups, &self.partitions, keep)?;
        let model = match self.models.entry(keep.to_vec()) {
            std::collections::btree_map::Entry::Occupied(there) => {
                let model = there.into_mut();
                copy(&left.parameters, model.parameters())?;
                model
            }
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(left.model(whole.tokens(), self.threads, self.backend)?)
            }
        };
        let loss = model.gradient(batch, &Hooks::default())?;
        let sizes: Vec<usize> = whole.parameters().iter().map(|(_, var)| var.elem_count()).collect();
        let mut gradients = Vec::with_capacity(sizes.len());
        for (((_, part), runs), size) in model.gradients()?.into_iter().zip(&self.runs).zip(sizes) {
            let Some(runs) = runs else {
                gradients.push(part);
                continue;
            };
            let mut gradient = vec![0.0; size];
            let mut from = 0;
            for (run, _) in runs.iter().filter(|(_, group)| keep.contains(group)) {
                gradient[run.clone()].copy_from_slice(&part[from..from + run.len()]);
                from += run.len();
            }
            gradients.push(gradient);
        }
        whole.set_gradients(gradients)?;
        Ok(loss)
    }
}

fn copy(from: &Parameters, to: &Parameters) -> Result<(), Error> {
    for (name, var) in to.iter() {
        var.set(&from.get(name)?.as_detached_tensor())?;
    }
    Ok(())
}
