//! Runs that differ in their seeds alone, and what tells such groups apart.

use std::collections::{BTreeMap, BTreeSet};

use experiment::Overview;

/// Runs of the same settings.
pub(crate) struct Group<'a> {
    /// What tells it from the other groups; for the only one, the name of its run, or `all runs`.
    pub label: String,
    /// Its values of [`Groups::keys`].
    pub values: Vec<String>,
    /// Its runs, by their seeds.
    pub runs: Vec<&'a Overview>,
}

/// All groups, in the order in which their first runs were given.
pub(crate) struct Groups<'a> {
    /// The keys that tell them apart, as few as will do.
    pub keys: Vec<String>,
    pub all: Vec<Group<'a>>,
}

impl<'a> Groups<'a> {
    pub(crate) fn of(runs: &'a [Overview]) -> Self {
        let mut same: Vec<Vec<&Overview>> = Vec::new();
        for run in runs {
            match same.iter_mut().find(|group| group[0].settings == run.settings) {
                Some(group) => group.push(run),
                None => same.push(vec![run]),
            }
        }
        let settings: Vec<&BTreeMap<String, String>> = same.iter().map(|group| &group[0].settings).collect();
        let keys = telling(&settings);
        let all = same.into_iter().map(|mut runs| {
            runs.sort_by_key(|run| run.manifest.seed);
            let values: Vec<String> = keys.iter().map(|key| value(runs[0], key)).collect();
            let label = keys.iter().zip(&values).map(|(key, value)| named(key, value)).collect::<Vec<_>>();
            let label = match (label.is_empty(), &runs[..]) {
                (false, _) => label.join(", "),
                (true, [run]) => run.name.clone(),
                (true, _) => "all runs".to_owned(),
            };
            Group { label, values, runs }
        });
        Self { all: all.collect(), keys }
    }

    /// The key that is a number with the most values, if there are several: an axis to draw results against.
    pub(crate) fn axis(&self) -> Option<usize> {
        let levels = |index: usize| {
            let numbers: Option<Vec<f64>> =
                self.all.iter().map(|group| group.values[index].parse().ok()).collect();
            let mut numbers = numbers?;
            numbers.sort_by(f64::total_cmp);
            numbers.dedup();
            (numbers.len() > 1).then_some(numbers.len())
        };
        let indices = (0..self.keys.len()).filter_map(|index| Some((levels(index)?, index)));
        indices.max_by_key(|(levels, index)| (*levels, usize::MAX - index)).map(|(_, index)| index)
    }

    /// A group's label without one of the keys.
    pub(crate) fn label_without(&self, group: &Group<'_>, index: usize) -> String {
        let others = self.keys.iter().zip(&group.values).enumerate().filter(|(other, _)| *other != index);
        let label: Vec<String> = others.map(|(_, (key, value))| named(key, value)).collect();
        label.join(", ")
    }
}

/// The value of a setting as people write it.
pub(crate) fn value(run: &Overview, key: &str) -> String {
    run.settings.get(key).map_or_else(|| "–".to_owned(), |value| value.trim_matches('"').to_owned())
}

/// A name stands for itself, a number needs that of its key.
fn named(key: &str, value: &str) -> String {
    let short = key.rsplit('.').next().unwrap_or(key);
    let number = value.chars().next().is_some_and(|first| !first.is_alphabetic());
    if number || matches!(value, "true" | "false") { format!("{short} {value}") } else { value.to_owned() }
}

/// The keys that tell all settings apart: each the one that splits most of what is left; of equals a name before a
/// number, and the first of those.
fn telling(settings: &[&BTreeMap<String, String>]) -> Vec<String> {
    let all: BTreeSet<&String> = settings.iter().flat_map(|settings| settings.keys()).collect();
    let mut chosen: Vec<&String> = Vec::new();
    let parts = |keys: &[&String]| {
        let values = |settings: &&BTreeMap<String, String>| -> Vec<Option<String>> {
            keys.iter().map(|key| settings.get(*key).cloned()).collect()
        };
        settings.iter().map(values).collect::<BTreeSet<_>>().len()
    };
    let is_name = |key: &String| settings[0].get(key).is_some_and(|value| value.starts_with('"'));
    let mut found = parts(&chosen);
    while found < settings.len() {
        let with = |key: &String| parts(&[chosen.as_slice(), &[key]].concat());
        let best = all.iter().map(|key| (with(key), is_name(key), *key));
        // the first of the best: the last that a reversed order finds
        let Some((split, _, key)) = best.rev().max_by_key(|(split, is_name, _)| (*split, *is_name)) else {
            break;
        };
        chosen.push(key);
        found = split;
    }
    chosen.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use experiment::{Manifest, RunState};

    use super::*;

    fn run(seed: u64, settings: &[(&str, &str)]) -> Overview {
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Overview {
            path: PathBuf::new(),
            name: format!("seed{seed}"),
            manifest: Manifest::new("x", "0", seed, 1, "cpu"),
            state: RunState::Done,
            settings: settings.collect(),
            summary: None,
        }
    }

    #[test]
    fn groups_are_told_apart_by_as_few_keys_as_will_do() {
        let mut runs = Vec::new();
        for (method, coefficient) in [("\"routing\"", "0.2"), ("\"naive\"", "0.01"), ("\"oracle\"", "0.01")] {
            for p in ["0.3", "0.1"] {
                for seed in [1, 0] {
                    // the coefficient follows from the method
                    runs.push(run(seed, &[("a.coef", coefficient), ("env.p", p), ("train.method", method)]));
                }
            }
        }
        let groups = Groups::of(&runs);
        assert_eq!(groups.keys, ["train.method", "env.p"]);
        let labels: Vec<&str> = groups.all.iter().map(|group| group.label.as_str()).collect();
        assert_eq!(labels[..3], ["routing, p 0.3", "routing, p 0.1", "naive, p 0.3"]);
        let seeds: Vec<u64> = groups.all[0].runs.iter().map(|run| run.manifest.seed).collect();
        assert_eq!(seeds, [0, 1]);
        assert_eq!((groups.axis(), groups.label_without(&groups.all[1], 1)), (Some(1), "routing".to_owned()));
    }

    #[test]
    fn one_group_has_no_keys_and_no_axis() {
        let runs = [run(0, &[("a", "1")]), run(1, &[("a", "1")])];
        let groups = Groups::of(&runs);
        assert_eq!((groups.keys.len(), groups.axis(), groups.all[0].label.as_str()), (0, None, "all runs"));
        assert_eq!(Groups::of(&runs[..1]).all[0].label, "seed0");
    }
}
