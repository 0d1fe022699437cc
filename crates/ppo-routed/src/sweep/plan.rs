//! The list of runs of a sweep.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use experiment::UserError;
use serde::{Deserialize, Serialize};

use super::section::{Axis, SweepConfig};
use crate::Config;

/// No plan is longer: 100,000 runs of under 2 kB each.
const LONGEST: u64 = 256 << 20;

/// One run of a sweep, as it stands in a line of `plan.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Its place in the plan, from 0: what `sweep run --index` takes.
    pub index: usize,
    /// The name of its folder in the sweep's folder.
    pub name: String,
    /// Its seed.
    pub seed: u64,
    /// The values of the further axes, `section.key` and value.
    pub axes: Vec<(String, String)>,
    /// Its settings.
    pub config: Config,
}

/// The folder of a sweep: `sweep.toml`, `plan.jsonl`, a run folder for every run, and what was gathered.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The folder.
    pub folder: PathBuf,
    /// The settings.
    pub config: SweepConfig,
    /// The runs, in the order of their indices.
    pub runs: Vec<Planned>,
}

impl Planned {
    /// Environment steps of the whole run.
    pub fn steps(&self) -> u64 {
        self.config.updates_total() * self.config.steps_per_update()
    }
}

impl Sweep {
    /// Plans a sweep from a config file and `--set` options. Nothing is written yet.
    ///
    /// # Errors
    /// Fails where the settings of the sweep or of one of its runs make no sense.
    pub fn plan(folder: &Path, file: Option<&Path>, set: &[String]) -> Result<Self> {
        let config: SweepConfig = experiment::load(file, set)?;
        let runs = runs(&config, file, set)?;
        Ok(Self { folder: folder.to_owned(), config, runs })
    }

    /// Writes the plan into its folder.
    ///
    /// # Errors
    /// Fails where the files cannot be written.
    pub fn write(&self) -> Result<()> {
        let folder = &self.folder;
        experiment::create_folder(folder)?;
        let mut lines = String::new();
        for planned in &self.runs {
            lines += &serde_json::to_string(planned).context("the plan")?;
            lines.push('\n');
        }
        experiment::write_atomic(&folder.join(SETTINGS), experiment::to_toml(&self.config)?.as_bytes())?;
        experiment::write_atomic(&folder.join(PLAN), lines.as_bytes())?;
        Ok(())
    }

    /// Reads the plan that stands in `folder`.
    ///
    /// # Errors
    /// Fails where there is none, or it is damaged.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(PLAN);
        let unreadable = |message: String| {
            UserError::usage(message).with_hint("`ppo-routed sweep plan --config FILE --out DIR` writes one")
        };
        let file = File::open(&path)
            .map_err(|error| unreadable(format!("{} has no plan.jsonl: {error}", folder.display())))?;
        let mut text = String::new();
        let length = file
            .take(LONGEST + 1)
            .read_to_string(&mut text)
            .map_err(|error| unreadable(format!("cannot read {}: {error}", path.display())))?;
        if length as u64 > LONGEST {
            return Err(unreadable(format!("{} is longer than any plan", path.display())).into());
        }
        let mut runs: Vec<Planned> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let planned: Planned = serde_json::from_str(line).map_err(|error| {
                unreadable(format!("{} line {}: not a run: {error}", path.display(), index + 1))
            })?;
            let safe = planned.name == file_name(&planned.name) && planned.name.contains("-seed");
            if planned.index != index || !safe {
                let message = format!("{} line {}: not run {index} of a plan", path.display(), index + 1);
                return Err(unreadable(message).into());
            }
            runs.push(planned);
        }
        let config = experiment::load(Some(&folder.join(SETTINGS)), &[])?;
        Ok(Self { folder: folder.to_owned(), config, runs })
    }

    /// The folder of a run.
    pub fn run_folder(&self, planned: &Planned) -> PathBuf {
        self.folder.join(&planned.name)
    }

    /// The run with an index.
    ///
    /// # Errors
    /// Fails where the plan has no such run.
    pub fn run(&self, index: usize) -> Result<&Planned> {
        self.runs.get(index).ok_or_else(|| {
            let last = self.runs.len().saturating_sub(1);
            UserError::usage(format!("the plan has no run {index}"))
                .with_hint(format!("its runs are 0 to {last}"))
                .into()
        })
    }
}

const PLAN: &str = "plan.jsonl";
const SETTINGS: &str = "sweep.toml";

/// Every combination; seeds vary slowest, then oversight, then methods, then the axes.
fn runs(config: &SweepConfig, file: Option<&Path>, set: &[String]) -> Result<Vec<Planned>> {
    let sweep = &config.sweep;
    let axes: Vec<Axis> = sweep.axes.iter().filter_map(|text| Axis::parse(text)).collect();
    let combinations = combinations(&axes);
    let mut runs = Vec::new();
    for seed in &sweep.seeds {
        for p in &sweep.oversight_probs {
            for method in &sweep.methods {
                for axes in &combinations {
                    let method = method.name();
                    let varied = [format!("train.method={method}"), format!("env.oversight_prob={p:?}")];
                    let further = axes.iter().map(|(key, value)| format!("{key}={value}"));
                    let set: Vec<String> = set.iter().cloned().chain(varied).chain(further).collect();
                    // loaded anew: an axis such as train.algo brings defaults of its own
                    let config = experiment::load::<SweepConfig>(file, &set)?.run;
                    let parts = axes
                        .iter()
                        .map(|(key, value)| format!("-{}{value}", key.rsplit('.').next().unwrap_or(key)));
                    let name = file_name(&format!("{method}-p{p}{}-seed{seed}", parts.collect::<String>()));
                    runs.push(Planned { index: runs.len(), name, seed: *seed, axes: axes.clone(), config });
                }
            }
        }
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = runs.iter().find(|run| !names.insert(run.name.clone())) {
        let message = format!("two runs of the sweep would share the folder {}", twice.name);
        return Err(UserError::usage(message)
            .with_hint("keys of the axes must differ after their last dot, values in letters and digits")
            .into());
    }
    Ok(runs)
}

/// Every choice of one value an axis, the last axis fastest.
fn combinations(axes: &[Axis]) -> Vec<Vec<(String, String)>> {
    axes.iter().fold(vec![Vec::new()], |chosen, axis| {
        let longer = chosen.iter().flat_map(|chosen| {
            axis.values
                .iter()
                .map(move |value| chosen.iter().cloned().chain([(axis.key.clone(), value.clone())]).collect())
        });
        longer.collect()
    })
}

/// A name that any file system, shell and table takes.
fn file_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    name.chars().map(|c| if plain(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Method;

    fn plan(set: &[&str]) -> Result<Vec<Planned>> {
        let set: Vec<String> = set.iter().map(ToString::to_string).collect();
        runs(&experiment::load(None, &set)?, None, &set)
    }

    #[test]
    fn every_combination_has_a_run_and_a_name() {
        let set = [
            "sweep.methods=[\"routing\", \"oracle\"]",
            "sweep.oversight_probs=[0.001, 1]",
            "sweep.seeds=[5, 2]",
            "sweep.axes=[\"train.algo=ppo,reinforce\", \"loss.ent_coef=0.1,0.5\"]",
        ];
        let runs = plan(&set).unwrap();
        assert_eq!(runs.len(), 2 * 2 * 2 * 4);
        assert_eq!(runs[0].name, "routing-p0.001-algoppo-ent_coef0.1-seed5");
        let last = runs.last().unwrap();
        assert_eq!((last.name.as_str(), last.seed), ("oracle-p1-algoreinforce-ent_coef0.5-seed2", 2));
        assert_eq!((last.config.train.method, last.config.loss.ent_coef), (Method::ORACLE, 0.5));
        // the algorithm brings its own defaults along
        assert_eq!((runs[0].config.train.updates, last.config.train.updates), (120, 20_000));
        assert!(runs.iter().enumerate().all(|(index, run)| run.index == index));
    }

    #[test]
    fn a_bad_value_of_an_axis_is_found_before_anything_runs() {
        let error = plan(&["sweep.axes=[\"loss.ent_coef=0.1,-1\"]"]).unwrap_err();
        assert!(error.to_string().contains("`loss.ent_coef` (--set): must be 0 or more, got -1"), "{error}");
        let error = plan(&["sweep.axes=[\"loss.entcoef=1\"]"]).unwrap_err();
        assert!(error.to_string().contains("did you mean `loss.ent_coef`"), "{error}");
        let error = plan(&["sweep.axes=[\"eval.every=1,2\", \"checkpoint.every=1,2\"]"]);
        assert!(error.is_ok(), "every1-every2 and every2-every1 differ");
        let error = plan(&["sweep.axes=[\"env.id=OversightGrid-v0,OversightGrid_v0\"]"]).unwrap_err();
        assert!(error.to_string().contains("env.id"), "{error}");
    }

    #[test]
    fn a_plan_reads_back_and_a_damaged_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let set = vec!["sweep.seeds=[0]".to_owned()];
        let sweep = Sweep::plan(folder.path(), None, &set).unwrap();
        sweep.write().unwrap();
        let read = Sweep::open(folder.path()).unwrap();
        assert_eq!((read.runs, read.config), (sweep.runs, sweep.config));
        let path = folder.path().join(PLAN);
        let good = std::fs::read_to_string(&path).unwrap();
        let outside = good.replace("routing-p0.01-seed0", "../routing-p0.01-seed0");
        for bad in
            ["{}\n", "\u{0}", &good[..good.len() / 2], &good.replace("\"index\":0", "\"index\":7"), &outside]
        {
            std::fs::write(&path, bad).unwrap();
            let error = Sweep::open(folder.path()).unwrap_err().to_string();
            assert!(error.contains("plan.jsonl line"), "{error}");
        }
    }
}
