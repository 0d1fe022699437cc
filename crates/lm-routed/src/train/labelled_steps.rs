//! Steps of which each is on one class: what runs, and what is trained.

use std::collections::BTreeMap;

use learning::{Backend, Partition};
use transformer::{Architecture, Batch, Model, StepLoss, Submodels};

use super::step_context::StepMask;
use crate::Error;
use crate::routing::{Routes, StepMasks};

/// The passes and the masks of every class of some routes.
pub(crate) struct LabelledSteps {
    routes: Routes,
    masks: StepMasks,
    /// Where all that a class leaves out are neurons, the smaller networks without them.
    parts: Option<Submodels>,
}

impl LabelledSteps {
    /// Steps of a network of that shape on `threads` threads.
    ///
    /// # Errors
    /// Fails where the routes' channels are not those of the network.
    pub(crate) fn new(
        routes: &Routes,
        architecture: &Architecture,
        threads: usize,
        backend: Backend,
    ) -> Result<Self, Error> {
        let groups = routes.groups(architecture);
        let parts = if groups.heads.is_empty() {
            Some(Submodels::new(architecture, groups, threads, backend)?)
        } else {
            None
        };
        Ok(Self { masks: StepMasks::new(routes, architecture)?, routes: routes.clone(), parts })
    }

    /// The parameters of which channels belong to several groups.
    pub(crate) fn partitions(&self) -> &BTreeMap<String, Partition> {
        &self.masks.partitions
    }

    /// The gradient of a step on a class, which the model keeps, and what of it counts.
    ///
    /// # Errors
    /// Fails where the model does.
    pub(crate) fn gradient(
        &mut self,
        model: &mut Model,
        batch: &Batch,
        class: usize,
    ) -> Result<(StepLoss, StepMask<'_>), Error> {
        let forward = self.routes.table.forward(class);
        let keep: Vec<usize> = (0..forward.len()).filter(|group| forward[*group] != 0.0).collect();
        let loss = match &mut self.parts {
            Some(parts) if keep.len() < forward.len() => parts.gradient(model, &keep, batch)?,
            _ => model.gradient(batch, &self.routes.forward_hooks(class))?,
        };
        Ok((loss, StepMask { trained: &self.masks.trained[class], semantics: self.masks.semantics }))
    }
}
