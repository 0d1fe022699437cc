//! The experiments of a single model: a dimension for one token, and neurons for a list of them.

use gradient_routing::{Group, Profile, RouteTable, Site};
use plots::Colour;
use transformer::HookPoint;

use super::{Spec, Start};
use crate::config::Experiment;
use crate::routing::{Place, Routes, classes};

/// One dimension of the residual stream for one token: nothing else lets its gradient through.
///
/// # Source
/// Cloud et al. 2024, section 4.2.1.
pub(super) static STEER: Spec = Spec {
    name: "steer",
    title: "steering scalar",
    about: "one token is learned through one dimension of the residual stream",
    colour: Colour::Blue,
    experiments: &[Experiment::Steer],
    files: "era",
    needs_labels: false,
    filters: false,
    start: Start::Scratch,
    routes: |config| {
        let (at, width) = (config.steer.dimension, config.model.n_embd);
        let groups = vec![
            Group::of_channels("below", at),
            Group::of_channels("steered", 1),
            Group::of_channels("above", width - at - 1),
        ];
        let table = RouteTable::new(Site::Activations, groups, classes([1.0; 3], [0.0, 1.0, 0.0]))?;
        let layers = config.steer.layers.clone();
        let places = vec![Place::of_table(HookPoint::ResidPost, &table)];
        Ok(Routes { table, places, layers, added: 0, l1: 0.0, silent: false })
    },
    labels: |cx| Ok(cx.only(&[crate::steer::token_of(cx.config, cx.dataset)?])),
};

/// The first neurons of some MLPs for a list of tokens.
///
/// # Source
/// Cloud et al. 2024, section 4.2.3.
pub(super) static LOCALISE: Spec = Spec {
    name: "localise",
    title: "localised tokens",
    about: "listed tokens are routed to some neurons, which are ablated",
    colour: Colour::Blue,
    experiments: &[Experiment::Virology],
    files: "era",
    needs_labels: false,
    filters: false,
    start: Start::Scratch,
    routes: |config| {
        let (listed, all) = (config.localise.neurons, config.model.d_mlp);
        let groups = vec![Group::of_channels("listed", listed), Group::of_channels("others", all - listed)];
        let table = RouteTable::new(
            Site::Activations,
            groups,
            classes([1.0; 2], [1.0, config.localise.forget_other]),
        )?
        .with_profiles(vec![Profile { name: "ablated".to_owned(), keep: vec![1] }])?;
        Ok(Routes { l1: config.routing.l1, ..Routes::at_neurons(table, &config.routing.layers, 0) })
    },
    labels: |cx| Ok(cx.only(cx.listed)),
};
