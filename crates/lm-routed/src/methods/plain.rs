//! The methods that route nothing.

use gradient_routing::{Group, Profile, RouteTable, RouteTableError, Site};
use plots::Colour;

use super::{Spec, Start};
use crate::config::{Config, Experiment, Place};
use crate::routing::{FORGET, Labels, Routes, classes};

/// Trained on everything: what knowing costs and forgetting takes is measured against it.
pub(super) static BASE: Spec = Spec {
    name: "base",
    title: "base",
    about: "trained on everything",
    colour: Colour::Black,
    experiments: &[Experiment::Era],
    files: "base",
    needs_labels: false,
    filters: false,
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
    experiments: &[Experiment::Era],
    files: "pure",
    needs_labels: true,
    filters: false,
    start: Start::Scratch,
    routes: |_| {
        let mut classes = classes([], []);
        classes[FORGET].loss_weight = 0.0;
        Ok(Routes::at_neurons(RouteTable::new(Site::Activations, Vec::new(), classes)?, &[], 0))
    },
    labels: |_| Ok(Labels::Documents),
};

/// Expanded, penalised and ablated as ERA, but not routed.
pub(super) static CONTROL: Spec = Spec {
    name: "control",
    title: "control",
    about: "expanded and ablated, but not routed",
    colour: Colour::Grey,
    experiments: &[Experiment::Era],
    files: "control",
    needs_labels: false,
    filters: false,
    start: Start::Scratch,
    routes: |config| {
        let routing = &config.routing;
        let groups = neurons(config, routing.extra_neurons);
        let table = RouteTable::new(Site::Activations, groups, classes([1.0; 2], [1.0; 2]))?;
        let table = table.with_profiles(without_added())?;
        let routes = Routes::at_neurons(table, &routing.layers, routing.extra_neurons);
        Ok(Routes { l1: l1_of_era(config), ..routes })
    },
    labels: |_| Ok(Labels::None),
};

/// Every token trains everything.
pub(super) fn everything(_: &Config) -> Result<Routes, RouteTableError> {
    let table = RouteTable::new(Site::Activations, Vec::new(), classes([], []))?;
    Ok(Routes::at_neurons(table, &[], 0))
}

/// The weight of ERA's L1 penalty, which there is where its masks are at activations.
fn l1_of_era(config: &Config) -> f32 {
    match config.routing.place {
        Place::Activations => config.routing.l1,
        Place::Parameters => 0.0,
    }
}

/// The neurons that an MLP has, and those that are added to it.
pub(super) fn neurons(config: &Config, added: usize) -> Vec<Group> {
    vec![Group::of_channels("original", config.model.d_mlp), Group::of_channels("added", added)]
}

/// What is left after the ablation: the neurons that an MLP had.
pub(super) fn without_added() -> Vec<Profile> {
    vec![Profile { name: "ablated".to_owned(), keep: vec![0] }]
}

#[cfg(test)]
mod tests {
    use transformer::Batch;

    use super::*;
    use crate::methods::era::ERA;
    use crate::routing::Routing;

    #[test]
    fn control_is_penalised_where_era_is_and_as_much() {
        let mut config = Config::default();
        let batch = Batch::new([[1, 2, 3].as_slice()], 4, 0);
        for place in [Place::Activations, Place::Parameters] {
            config.routing.place = place;
            let penalties = [&CONTROL, &ERA].map(|method| {
                let routing = Routing { routes: (method.routes)(&config).unwrap(), labels: Labels::None };
                let hooks = routing.hooks(&batch, &[true]);
                let at = |layer| hooks.get(layer, transformer::HookPoint::MlpPost).map(|found| found.l1);
                (0..config.model.n_layer).map(at).map(Option::unwrap_or_default).collect::<Vec<f32>>()
            });
            assert_eq!(penalties[0], penalties[1]);
            let expected = if place == Place::Activations { config.routing.l1 } else { 0.0 };
            assert_eq!(penalties[0], [0.0, expected, expected, expected]);
        }
    }
}
