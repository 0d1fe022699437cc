//! The methods that route nothing.

use gradient_routing::{Group, Profile, RouteTable, RouteTableError, Site};
use plots::Colour;

use super::{Spec, Start};
use crate::config::{Config, Experiment};
use crate::routing::{FORGET, Labels, Routes, classes};

/// Trained on everything: what knowing costs and forgetting takes is measured against it.
pub(super) static BASE: Spec = Spec {
    name: "base",
    title: "base",
    about: "trained on everything",
    colour: Colour::Black,
    experiment: Experiment::Era,
    files: "base",
    needs_labels: false,
    start: Start::Scratch,
    routes: everything,
    labels: |_| Ok(Labels::None),
};

/// Data filtering: labelled documents are left out.
pub(super) static PURE: Spec = Spec {
    name: "pure",
    title: "pure (filtered)",
    about: "labelled documents are left out",
    colour: Colour::Green,
    experiment: Experiment::Era,
    files: "pure",
    needs_labels: true,
    start: Start::Scratch,
    routes: |_| {
        let mut classes = classes([], []);
        classes[FORGET].loss_weight = 0.0;
        Ok(Routes::at_neurons(RouteTable::new(Site::Activations, Vec::new(), classes)?, &[], 0))
    },
    labels: |_| Ok(Labels::Documents),
};

/// Expanded and ablated as ERA, but not routed.
pub(super) static CONTROL: Spec = Spec {
    name: "control",
    title: "control",
    about: "expanded and ablated, but not routed",
    colour: Colour::Grey,
    experiment: Experiment::Era,
    files: "control",
    needs_labels: false,
    start: Start::Scratch,
    routes: |config| {
        let routing = &config.routing;
        let groups = neurons(config, routing.extra_neurons);
        let table = RouteTable::new(Site::Activations, groups, classes([1.0; 2], [1.0; 2]))?;
        Ok(Routes::at_neurons(table.with_profiles(without_added())?, &routing.layers, routing.extra_neurons))
    },
    labels: |_| Ok(Labels::None),
};

/// Every token trains everything.
pub(super) fn everything(_: &Config) -> Result<Routes, RouteTableError> {
    let table = RouteTable::new(Site::Activations, Vec::new(), classes([], []))?;
    Ok(Routes::at_neurons(table, &[], 0))
}

/// The neurons that an MLP has, and those that are added to it.
pub(super) fn neurons(config: &Config, added: usize) -> Vec<Group> {
    vec![Group::of_channels("original", config.model.d_mlp), Group::of_channels("added", added)]
}

/// What is left after the ablation: the neurons that an MLP had.
pub(super) fn without_added() -> Vec<Profile> {
    vec![Profile { name: "ablated".to_owned(), keep: vec![0] }]
}
