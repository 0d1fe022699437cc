//! Gradient-routed auxiliary modules: one model with a module of neurons for each concept, any of which can be taken out.

use gradient_routing::{Class, Group, Profile, RouteTable, RouteTableError, Semantics, Site};
use plots::Colour;
use transformer::HookPoint;

use super::plain::everything;
use super::{MethodContext, Spec, Start};
use crate::config::{Config, Experiment};
use crate::routing::{Choice, Labels, Place, Routes, StepLabels};

/// The most concepts a run can have: a document's concepts are the bits of a byte.
pub const MOST_CONCEPTS: usize = 8;

/// Trained on everything: what the core and its modules are measured against.
pub(crate) static BASELINE: Spec = Spec {
    name: "baseline",
    title: "baseline",
    about: "trained on everything, without modules",
    colour: Colour::Black,
    experiments: &[Experiment::Modules],
    files: "baseline",
    needs_labels: false,
    filters: false,
    start: Start::Scratch,
    routes: everything,
    labels: |_| Ok(Labels::None),
};

/// A model for each concept that never saw it, and one that saw none: what a profile without a module is held to.
pub(super) static FILTERED: Spec = Spec {
    name: "filtered",
    title: "filtered",
    about: "a model without the documents labelled with a concept, for each, and one without any such document",
    colour: Colour::Green,
    experiments: &[Experiment::Modules],
    files: "filtered",
    needs_labels: true,
    filters: true,
    start: Start::Scratch,
    routes: everything,
    labels: |_| Ok(Labels::None),
};

/// A module of neurons for each concept beside the MLP of every block. A step on documents of some concepts runs the core
/// with their modules and trains the modules, and the core too with the probability `p_as`; a step on other documents
/// runs and trains the core, and with the probability `p_cr` one module beside it.
///
/// # Source
/// GRAM, arXiv 2607.08077.
pub(super) static GRAM: Spec = Spec {
    name: "gram",
    title: "GRAM",
    about: "a module of neurons for each concept beside the core, any of which can be taken out",
    colour: Colour::Orange,
    experiments: &[Experiment::Era, Experiment::Modules],
    files: "gram",
    needs_labels: true,
    filters: false,
    start: Start::Scratch,
    routes,
    labels: |cx| Ok(Labels::Steps(steps(cx))),
};

/// The names of the modules: those of the concepts, or `concept` for the one that has none.
pub fn module_names(config: &Config) -> Vec<String> {
    let named = |name: String| if name.is_empty() { "concept".to_owned() } else { name };
    config.concepts().into_iter().map(|concept| named(concept.name)).collect()
}

/// The sets of `modules` modules, as the bits of a number, from none to all.
pub fn profiles(modules: usize) -> std::ops::Range<usize> {
    0..1 << modules.min(MOST_CONCEPTS)
}

/// The names of a set of modules, joined.
pub fn set_name(names: &[String], set: usize) -> String {
    let chosen: Vec<&str> =
        names.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1).map(|(_, name)| name.as_str()).collect();
    chosen.join("+")
}

fn routes(config: &Config) -> Result<Routes, RouteTableError> {
    let names = module_names(config);
    let mut groups = vec![Group::of_channels("core", config.model.d_mlp)];
    groups.extend(names.iter().map(|name| Group::of_channels(name, config.gram.neurons)));
    // 1 for the core and the modules of a set
    let row = |core: bool, set: usize| -> Vec<f32> {
        let modules = (0..names.len()).map(|i| f32::from(u8::from(set >> i & 1 == 1)));
        std::iter::once(f32::from(u8::from(core))).chain(modules).collect()
    };
    let class = |name: String, core: bool, set: usize| Class {
        forward: row(true, set),
        ..Class::new(name, row(core, set))
    };
    let mut classes = vec![class("general".to_owned(), true, 0)];
    classes.extend(
        names.iter().enumerate().map(|(i, name)| class(format!("general, with {name}"), true, 1 << i)),
    );
    for set in profiles(names.len()).skip(1) {
        let name = set_name(&names, set);
        classes.extend([class(name.clone(), false, set), class(format!("{name}, core too"), true, set)]);
    }
    let keep = |set: usize| {
        std::iter::once(0).chain((0..names.len()).filter(|i| set >> i & 1 == 1).map(|i| i + 1)).collect()
    };
    let profile = |set: usize| Profile {
        name: if set == 0 { "core".to_owned() } else { set_name(&names, set) },
        keep: keep(set),
    };
    let table = RouteTable::new(Site::Parameters(Semantics::Frozen), groups, classes)?
        .with_profiles(profiles(names.len()).map(profile).collect())?;
    let places = vec![Place::of_table(HookPoint::MlpPost, &table)];
    let layers = (0..config.model.n_layer).collect();
    let added = names.len() * config.gram.neurons;
    Ok(Routes { table, places, layers, added, l1: 0.0, silent: config.gram.silent })
}

/// Documents by their set of labelled concepts.
fn steps(cx: &MethodContext<'_>) -> StepLabels {
    StepLabels { of: cx.concepts.iter().map(|set| usize::from(*set)).collect(), choices: choices(cx.config) }
}

/// The classes that a step on documents of each set of concepts can take.
pub(crate) fn choices(config: &Config) -> Vec<Vec<Choice>> {
    let (p_as, p_cr) = (config.gram.p_as, config.gram.p_cr);
    let modules = config.concepts().len();
    let mut general = vec![Choice { class: 0, probability: 1.0 - p_cr }];
    general.extend((0..modules).map(|i| Choice { class: 1 + i, probability: p_cr / modules as f64 }));
    let of_set = |set: usize| {
        let first = 1 + modules + 2 * (set - 1);
        vec![Choice { class: first, probability: 1.0 - p_as }, Choice { class: first + 1, probability: p_as }]
    };
    std::iter::once(general).chain(profiles(modules).skip(1).map(of_set)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConceptSection;

    fn config() -> Config {
        let concept = |name: &str| ConceptSection::of_words(name, vec![name.to_owned()]);
        Config { concept: vec![concept("sea"), concept("birds")], ..Config::default() }
    }

    #[test]
    fn a_step_runs_the_core_with_the_modules_of_its_documents_and_trains_these() {
        let table = routes(&config()).unwrap().table;
        let rows: Vec<_> =
            table.classes().iter().map(|c| (c.name.as_str(), &c.forward[..], &c.gradient[..])).collect();
        let (on, core) = ([1.0, 1.0, 1.0].as_slice(), [1.0, 0.0, 0.0].as_slice());
        let (sea, birds) = ([1.0, 1.0, 0.0].as_slice(), [1.0, 0.0, 1.0].as_slice());
        assert_eq!(
            rows,
            [
                ("general", core, core),
                ("general, with sea", sea, sea),
                ("general, with birds", birds, birds),
                ("sea", sea, [0.0, 1.0, 0.0].as_slice()),
                ("sea, core too", sea, sea),
                ("birds", birds, [0.0, 0.0, 1.0].as_slice()),
                ("birds, core too", birds, birds),
                ("sea+birds", on, [0.0, 1.0, 1.0].as_slice()),
                ("sea+birds, core too", on, on),
            ]
        );
        let names: Vec<_> = table.profiles().iter().map(|p| (p.name.as_str(), p.keep.clone())).collect();
        let expected =
            [("core", vec![0]), ("sea", vec![0, 1]), ("birds", vec![0, 2]), ("sea+birds", vec![0, 1, 2])];
        assert_eq!(names, expected);
    }
}
