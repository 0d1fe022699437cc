//! The parts of an experiment.

use std::collections::BTreeSet;

use super::{Method, Start, module_names, profiles};
use crate::config::{Config, Experiment};

/// One model of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What it is for.
    pub method: Method,
    /// The share of the concept's documents that are labelled.
    pub labelled: f64,
    /// The concepts whose labelled documents it never sees.
    pub filtered: Option<Filtered>,
}

/// Concepts that are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filtered {
    /// In names: the concept, or `all`.
    pub name: String,
    /// Concept i has bit i.
    pub concepts: u8,
}

impl Filtered {
    /// What its models' names need of it.
    pub(crate) fn named(name: String) -> Self {
        Self { name, concepts: 0 }
    }

    /// Each concept by itself, then all of them.
    pub(super) fn each(config: &Config) -> Vec<Self> {
        let names = module_names(config);
        let all = Self { name: "all".to_owned(), concepts: (profiles(names.len()).end - 1) as u8 };
        let single = |(i, name): (usize, &String)| Self { name: name.clone(), concepts: 1 << i };
        names.iter().enumerate().map(single).chain((names.len() > 1).then_some(all)).collect()
    }
}

impl Part {
    /// The model of a method whose concept's documents are all labelled.
    pub fn whole(method: Method) -> Self {
        Self { method, labelled: 1.0, filtered: None }
    }

    /// Its name in files and metrics: the method, with the labelled share where it is not all.
    pub fn name(&self) -> String {
        let name = match &self.filtered {
            Some(filtered) => format!("{}-{}", self.method.files, filtered.name),
            None => self.method.files.to_owned(),
        };
        if self.labelled < 1.0 && self.method.needs_labels {
            return format!("{name}-p{}", percent(self.labelled));
        }
        name
    }

    /// The parts of an experiment, in the order in which they run; the models that others need come before them.
    pub fn all(config: &Config) -> Vec<Self> {
        let kind = config.experiment.kind;
        let named = |method: Method| config.experiment.methods.iter().any(|name| name == method.name);
        let chosen = matches!(kind, Experiment::Era | Experiment::Modules);
        let wanted = |method: Method| !chosen || named(method);
        let needed = |method: Method| Method::of(kind).any(|other| wanted(other) && other.needs(method));
        let mut parts = Vec::new();
        for method in Method::of(kind).filter(|method| wanted(*method) || needed(*method)) {
            let filtered: Vec<Option<Filtered>> = if method.filters {
                Filtered::each(config).into_iter().map(Some).collect()
            } else {
                vec![None]
            };
            let shares = if method.needs_labels { config.experiment.labelled.as_slice() } else { &[1.0] };
            parts.extend(filtered.iter().flat_map(|filtered| {
                shares.iter().map(|labelled| Self { method, labelled: *labelled, filtered: filtered.clone() })
            }));
        }
        // a share that is given twice is trained once, wherever it stands
        let mut names = BTreeSet::new();
        parts.retain(|part: &Self| names.insert(part.name()));
        parts
    }

    /// Optimizer steps of its training from scratch; a model that is another one changed has none.
    pub fn steps(&self, config: &Config) -> u64 {
        match self.method.start {
            Start::Scratch => config.train.steps,
            Start::Changed { .. } | Start::Branches { .. } => 0,
        }
    }
}

impl Method {
    /// Whether its model is another method's, changed.
    fn needs(self, other: Self) -> bool {
        matches!(self.start, Start::Changed { from, .. } | Start::Branches { from } if from.name == other.name)
    }
}

/// A share in per cent, to four places.
pub(crate) fn percent(share: f64) -> f64 {
    (share * 1e6).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_that_is_given_twice_is_trained_once() {
        let mut config = Config::default();
        let names = |config: &Config| Part::all(config).iter().map(Part::name).collect::<Vec<_>>();
        config.experiment.labelled = vec![1.0, 0.5];
        let once = names(&config);
        // the last two have the same name
        for labelled in [vec![1.0, 0.5, 1.0, 0.5], vec![1.0, 1.0, 0.5], vec![1.0, 0.5, 0.500_000_000_1]] {
            config.experiment.labelled = labelled;
            assert_eq!(names(&config), once);
        }
    }
}
