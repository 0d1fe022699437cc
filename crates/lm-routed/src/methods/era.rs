//! Expand, route, ablate.

use gradient_routing::{RouteTable, Semantics, Site};
use plots::Colour;

use super::plain::{neurons, without_added};
use super::{MethodContext, Spec, Start};
use crate::Error;
use crate::config::{Experiment, Place};
use crate::routing::{Labels, Routes, Rule, RuleContext, classes};

/// Expand, route, ablate: labelled documents' tokens are learned in new neurons, which are then removed.
///
/// # Source
/// Cloud et al. 2024, section 4.2.2.
pub(super) static ERA: Spec = Spec {
    name: "era",
    title: "ERA",
    about: "labelled documents' tokens are routed to new neurons, which are ablated",
    colour: Colour::Blue,
    experiments: &[Experiment::Era],
    files: "era",
    needs_labels: true,
    filters: false,
    start: Start::Scratch,
    routes: |config| {
        let routing = &config.routing;
        let site = match routing.place {
            Place::Activations => Site::Activations,
            Place::Parameters => Site::Parameters(Semantics::ZeroGradient),
        };
        let retain = [routing.retain_original, routing.retain_extra];
        let forget = [routing.forget_original, routing.forget_extra];
        let table = RouteTable::new(site, neurons(config, routing.extra_neurons), classes(retain, forget))?;
        let table = table.with_profiles(without_added())?;
        let routes = Routes::at_neurons(table, &routing.layers, routing.extra_neurons);
        Ok(Routes { l1: routing.l1, ..routes })
    },
    labels: by_rule,
};

/// By the rule of `[routing]`, in labelled documents.
fn by_rule(cx: &MethodContext<'_>) -> Result<Labels, Error> {
    let (routing, words) = (&cx.config.routing, &cx.config.forget_words());
    let unknown = || Error::Setting(format!("there is no routing.rule `{}`", routing.rule));
    let rule = Rule::named(&routing.rule).ok_or_else(unknown)?;
    let rule_context = RuleContext { routing, dataset: cx.dataset, words, labels: cx.labels };
    Ok(Labels::Tokens { retain_weights: (rule.retain_weights)(&rule_context), labelled_only: true })
}
