//! The settings of a sweep: those of a run, and a section `[sweep]` with what varies.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::program::{NamedAxis, SweepKeys};
use crate::{Faults, Settings};

/// The most runs of a sweep: more is a slip of the fingers.
const MOST_RUNS: usize = 100_000;

/// What `sweep` reads from a config file: `[sweep]` beside the sections of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SweepConfig<C, K> {
    /// What varies.
    pub sweep: SweepSection<K>,
    /// What all runs share.
    #[serde(flatten)]
    pub run: C,
}

/// `[sweep]`: a run for every combination of the program's own axes, seeds and further axes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepSection<K> {
    /// The program's own keys.
    #[serde(flatten)]
    pub own: K,
    /// The seeds. They vary slowest, so that a sweep cut short has whole figures of fewer seeds.
    pub seeds: Vec<u64>,
    /// Further keys and their values, each `section.key=value,value,…`.
    pub axes: Vec<String>,
}

impl<K: Default> Default for SweepSection<K> {
    fn default() -> Self {
        Self { own: K::default(), seeds: vec![0, 1], axes: Vec::new() }
    }
}

/// A key and its values, from `section.key=value,value,…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// The key path.
    pub key: String,
    /// Its values as written.
    pub values: Vec<String>,
}

impl Axis {
    /// Reads `section.key=value,value,…`; nothing for what is not written so.
    pub fn parse(text: &str) -> Option<Self> {
        let (key, values) = text.split_once('=')?;
        let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
        let key = key.trim().to_owned();
        (!key.is_empty() && values.iter().all(|value| !value.is_empty())).then_some(Self { key, values })
    }
}

impl<C: Settings, K: SweepKeys> Settings for SweepConfig<C, K> {
    fn base(given: &toml::Table) -> Self {
        Self { run: C::base(given), ..Self::default() }
    }

    fn faults(&self, faults: &mut Faults) {
        self.run.faults(faults);
        let SweepSection { own, seeds, axes } = &self.sweep;
        own.faults(faults);
        let own = own.axes();
        for NamedAxis { name, values, .. } in &own {
            let values: Vec<&str> = values.iter().map(|value| value.set.as_str()).collect();
            check_list(faults, &format!("sweep.{name}"), &values);
        }
        let numbers: Vec<String> = seeds.iter().map(ToString::to_string).collect();
        check_list(faults, "sweep.seeds", &numbers);
        let mut keys = Vec::new();
        let mut runs = own.iter().fold(seeds.len(), |runs, axis| runs.saturating_mul(axis.values.len()));
        for text in axes {
            let Some(axis) = Axis::parse(text) else {
                faults
                    .add("sweep.axes", format!("each is written \"section.key=value,value\", got {text:?}"));
                continue;
            };
            if axis.key.starts_with("sweep.") {
                faults.add("sweep.axes", format!("`{}` cannot be an axis; a run has no such key", axis.key));
            }
            if let Some(NamedAxis { name, .. }) = own.iter().find(|own| own.key == axis.key) {
                let message = format!("`{}` cannot be an axis; its values stand in `sweep.{name}`", axis.key);
                faults.add("sweep.axes", message);
            }
            check_list(
                faults,
                "sweep.axes",
                &axis.values.iter().map(|value| format!("{}={value}", axis.key)).collect::<Vec<_>>(),
            );
            runs = runs.saturating_mul(axis.values.len());
            keys.push(axis.key);
        }
        check_distinct(faults, "sweep.axes", &keys);
        if runs > MOST_RUNS {
            faults.add("sweep", format!("{runs} runs are too many; a sweep has at most {MOST_RUNS}"));
        }
    }
}

fn check_list<T: AsRef<str>>(faults: &mut Faults, key: &str, values: &[T]) {
    if values.is_empty() {
        faults.add(key, "needs at least one value");
    }
    check_distinct(faults, key, values);
}

fn check_distinct<T: AsRef<str>>(faults: &mut Faults, key: &str, values: &[T]) {
    let mut seen = BTreeSet::new();
    if let Some(twice) = values.iter().map(AsRef::as_ref).find(|value| !seen.insert(*value)) {
        faults.add(key, format!("has {twice} twice"));
    }
}
