//! The settings of a sweep: those of a run, and a section `[sweep]` with what varies.

use std::collections::BTreeSet;

use experiment::{Faults, Settings};
use serde::{Deserialize, Serialize};

use crate::{Config, Method};

/// The most runs of a sweep: more is a slip of the fingers.
const MOST_RUNS: usize = 100_000;

/// What `sweep` reads from a config file: `[sweep]` beside the sections of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SweepConfig {
    /// What varies.
    pub sweep: SweepSection,
    /// What all runs share.
    #[serde(flatten)]
    pub run: Config,
}

/// `[sweep]`: a run for every combination of method, oversight, seed and axes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepSection {
    /// The values of `train.method`.
    pub methods: Vec<Method>,
    /// The values of `env.oversight_prob`.
    pub oversight_probs: Vec<f64>,
    /// The seeds. They vary slowest, so that a sweep cut short has whole figures of fewer seeds.
    pub seeds: Vec<u64>,
    /// Further keys and their values, each `section.key=value,value,…`.
    pub axes: Vec<String>,
    /// The stepwise return that counts as learned, in the figure of steps until then.
    pub threshold: f64,
}

impl Default for SweepSection {
    fn default() -> Self {
        Self {
            methods: vec![Method::ROUTING, Method::NAIVE, Method::FILTERING],
            oversight_probs: vec![0.01, 0.1],
            seeds: vec![0, 1],
            axes: Vec::new(),
            threshold: 0.5,
        }
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

impl Settings for SweepConfig {
    fn base(given: &toml::Table) -> Self {
        Self { run: Config::base(given), ..Self::default() }
    }

    fn faults(&self, faults: &mut Faults) {
        self.run.faults(faults);
        let SweepSection { methods, oversight_probs, seeds, axes, threshold } = &self.sweep;
        let names: Vec<&str> = methods.iter().map(|method| method.name()).collect();
        let probs: Vec<String> = oversight_probs.iter().map(ToString::to_string).collect();
        let numbers: Vec<String> = seeds.iter().map(ToString::to_string).collect();
        check_list(faults, "sweep.methods", &names);
        check_list(faults, "sweep.oversight_probs", &probs);
        check_list(faults, "sweep.seeds", &numbers);
        if let Some(value) = oversight_probs.iter().find(|p| !(0.0..=1.0).contains(*p)) {
            faults.add("sweep.oversight_probs", format!("must lie between 0 and 1, got {value}"));
        }
        if !threshold.is_finite() {
            faults.add("sweep.threshold", format!("must be a finite number, got {threshold}"));
        }
        let mut keys = Vec::new();
        let mut runs = methods.len().saturating_mul(oversight_probs.len()).saturating_mul(seeds.len());
        for text in axes {
            let Some(axis) = Axis::parse(text) else {
                faults
                    .add("sweep.axes", format!("each is written \"section.key=value,value\", got {text:?}"));
                continue;
            };
            if axis.key.starts_with("sweep.") || ["train.method", "env.oversight_prob"].contains(&&*axis.key)
            {
                let message =
                    format!("`{}` cannot be an axis; methods and oversight_probs have keys here", axis.key);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn load(set: &[&str]) -> Result<SweepConfig, experiment::ConfigError> {
        let set: Vec<String> = set.iter().map(ToString::to_string).collect();
        experiment::load(None, &set)
    }

    #[test]
    fn a_run_has_the_settings_that_it_would_have_alone() {
        let set = ["train.algo=reinforce", "env.num_envs=64", "loss.ent_coef=1"];
        let alone = experiment::load::<Config>(None, &set.map(str::to_owned)).unwrap();
        assert_eq!(load(&set).unwrap().run, alone);
    }

    #[test]
    fn the_resolved_settings_read_back() {
        let config = load(&["sweep.seeds=[3, 1]", "sweep.axes=[\"loss.ent_coef=0.1,0.2\"]"]).unwrap();
        let text = experiment::to_toml(&config).unwrap();
        assert_eq!(toml::from_str::<SweepConfig>(&text).unwrap(), config, "{text}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (set, wanted) in [
            ("sweep.methods=[]", "`sweep.methods` (--set): needs at least one value"),
            ("sweep.methods=[\"routing\", \"routing\"]", "has routing twice"),
            ("sweep.oversight_probs=[0.1, 1.5]", "must lie between 0 and 1, got 1.5"),
            ("sweep.seeds=[1, 1]", "has 1 twice"),
            ("sweep.axes=[\"loss.ent_coef\"]", "each is written \"section.key=value,value\""),
            ("sweep.axes=[\"loss.ent_coef=0.1,\"]", "each is written \"section.key=value,value\""),
            ("sweep.axes=[\"train.method=naive\"]", "`train.method` cannot be an axis"),
            ("sweep.axes=[\"loss.ent_coef=1,1\"]", "has loss.ent_coef=1 twice"),
            ("sweep.axes=[\"loss.ent_coef=1\", \"loss.ent_coef=2\"]", "has loss.ent_coef twice"),
            ("sweep.seed=[1]", "did you mean `sweep.seeds`?"),
            ("train.gama=1", "did you mean `train.gamma`?"),
            ("train.gamma=2", "must lie between 0 and 1, got 2"),
        ] {
            let message = load(&[set]).unwrap_err().to_string();
            assert!(message.contains(wanted), "{set}: {message}");
        }
    }
}
