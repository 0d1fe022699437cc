//! Two experts in every MLP.

use gradient_routing::{RouteTable, Site};
use plots::Colour;

use super::plain::{neurons, without_added};
use super::{Spec, Start};
use crate::config::Experiment;
use crate::routing::{FORGET, Labels, RETAIN, Routes, classes};

/// Two experts in every MLP, chosen for a whole document by its label; the labelled one is removed. It is the
/// forward pass that is masked.
///
/// # Source
/// Gururangan et al. 2022; Cloud et al. 2024, app. C.
pub(super) static DEMIX: Spec = Spec {
    name: "demix",
    title: "DEMix + ablate",
    about: "a second expert in every MLP runs labelled documents alone, and is ablated",
    colour: Colour::Orange,
    experiments: &[Experiment::Era],
    files: "demix",
    needs_labels: true,
    filters: false,
    start: Start::Scratch,
    routes: |config| {
        let added = config.model.d_mlp;
        let mut classes = classes([1.0; 2], [1.0; 2]);
        classes[RETAIN].forward = vec![1.0, 0.0];
        classes[FORGET].forward = vec![0.0, 1.0];
        let table = RouteTable::new(Site::Activations, neurons(config, added), classes)?;
        let layers: Vec<usize> = (0..config.model.n_layer).collect();
        Ok(Routes::at_neurons(table.with_profiles(without_added())?, &layers, added))
    },
    labels: |_| Ok(Labels::Documents),
};
