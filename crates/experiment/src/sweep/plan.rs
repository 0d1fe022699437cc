//! The list of runs of a sweep.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::program::{NamedAxis, SweepKeys, SweepProgram};
use super::section::{Axis, SweepConfig};
use crate::UserError;

/// No plan is longer: 100,000 runs of under 2 kB each.
const LONGEST: u64 = 256 << 20;

/// One run of a sweep, as it stands in a line of `plan.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Planned<C> {
    /// Its index in the plan, from 0: what `sweep run --index` takes.
    pub index: usize,
    /// The name of its folder in the sweep's folder.
    pub name: String,
    /// Its seed.
    pub seed: u64,
    /// The values of the further axes, `section.key` and value.
    pub axes: Vec<(String, String)>,
    /// Its settings.
    pub config: C,
}

/// A line of `plan.jsonl`; its settings may come from an earlier version, which did not know every key.
#[derive(Deserialize)]
struct Line {
    index: usize,
    name: String,
    seed: u64,
    axes: Vec<(String, String)>,
    config: serde_json::Value,
}

/// The folder of a sweep: `sweep.toml`, `plan.jsonl`, a run folder for every run, and what was gathered.
#[derive(Clone, Debug)]
pub struct Sweep<P: SweepProgram> {
    /// The folder.
    pub folder: PathBuf,
    /// The settings.
    pub config: SweepConfig<P::Config, P::Keys>,
    /// The runs, in the order of their indices.
    pub runs: Vec<Planned<P::Config>>,
}

impl<C> Planned<C> {
    /// The values of the further axes in words, such as `ent_coef 0.1`; empty without such axes.
    pub fn variant(&self) -> String {
        let values = self.axes.iter().map(|(key, value)| format!("{} {value}", last_part(key)));
        values.collect::<Vec<_>>().join(", ")
    }
}

impl<P: SweepProgram> Sweep<P> {
    /// Plans a sweep from a config file and `--set` options. Nothing is written yet.
    ///
    /// # Errors
    /// Fails where the settings of the sweep or of one of its runs make no sense.
    pub fn plan(folder: &Path, file: Option<&Path>, set: &[String]) -> Result<Self> {
        let config: SweepConfig<P::Config, P::Keys> = crate::load(file, set)?;
        let runs = runs(&config, file, set)?;
        Ok(Self { folder: folder.to_owned(), config, runs })
    }

    /// Writes the plan into its folder.
    ///
    /// # Errors
    /// Fails where the files cannot be written.
    pub fn write(&self) -> Result<()> {
        let folder = &self.folder;
        crate::create_folder(folder)?;
        let mut lines = String::new();
        for planned in &self.runs {
            lines += &serde_json::to_string(planned).context("the plan")?;
            lines.push('\n');
        }
        crate::write_atomic(&folder.join(SETTINGS), crate::to_toml(&self.config)?.as_bytes())?;
        crate::write_atomic(&folder.join(PLAN), lines.as_bytes())?;
        Ok(())
    }

    /// Reads the plan that stands in `folder`.
    ///
    /// # Errors
    /// Fails where there is none, or it is damaged.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(PLAN);
        let hint = format!("`{} sweep plan --config FILE --out DIR` writes one", P::NAME);
        let unreadable = |message: String| UserError::usage(message).with_hint(&hint);
        let file = crate::open_regular(&path)
            .map_err(|error| unreadable(format!("{} has no plan.jsonl: {error}", folder.display())))?;
        let mut text = String::new();
        let length = file
            .take(LONGEST + 1)
            .read_to_string(&mut text)
            .map_err(|error| unreadable(format!("cannot read {}: {error}", path.display())))?;
        if length as u64 > LONGEST {
            return Err(unreadable(format!("{} is longer than any plan", path.display())).into());
        }
        let mut runs: Vec<Planned<P::Config>> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let fault = |what: &str| unreadable(format!("{} line {}: {what}", path.display(), index + 1));
            let Line { index: number, name, seed, axes, config } =
                serde_json::from_str(line).map_err(|error| fault(&format!("not a run: {error}")))?;
            let config = crate::resolve(&config).map_err(|error| fault(&format!("not a run: {error}")))?;
            let safe = name == file_name(&name) && name.contains("seed");
            if number != index || !safe {
                return Err(fault(&format!("not run {index} of a plan")).into());
            }
            runs.push(Planned { index, name, seed, axes, config });
        }
        let config = crate::load(Some(&folder.join(SETTINGS)), &[])?;
        Ok(Self { folder: folder.to_owned(), config, runs })
    }

    /// The folder of a run.
    pub fn run_folder(&self, planned: &Planned<P::Config>) -> PathBuf {
        self.folder.join(&planned.name)
    }

    /// The run with an index.
    ///
    /// # Errors
    /// Fails where the plan has no such run.
    pub fn run(&self, index: usize) -> Result<&Planned<P::Config>> {
        self.runs.get(index).ok_or_else(|| {
            let last = self.runs.len().saturating_sub(1);
            UserError::usage(format!("the plan has no run {index}"))
                .with_hint(format!("its runs are 0 to {last}"))
                .into()
        })
    }
}

pub(super) const PLAN: &str = "plan.jsonl";
const SETTINGS: &str = "sweep.toml";

/// A value of one of the program's own axes, or of a further one.
#[derive(Clone)]
struct Choice {
    key: String,
    set: String,
    label: String,
}

/// Every combination. Seeds vary slowest, then the program's own axes from the last to the first, then the further
/// axes, the last of them fastest.
fn runs<C: crate::Settings + Clone, K: SweepKeys>(
    config: &SweepConfig<C, K>,
    file: Option<&Path>,
    set: &[String],
) -> Result<Vec<Planned<C>>> {
    let named = |NamedAxis { key, values, .. }: NamedAxis| -> Vec<Choice> {
        let choice = |value: super::AxisValue| Choice { key: key.into(), set: value.set, label: value.label };
        values.into_iter().map(choice).collect()
    };
    let further = |Axis { key, values }: Axis| -> Vec<Choice> {
        let choice = |set: String| {
            let label = format!("{}{set}", last_part(&key));
            Choice { key: key.clone(), set, label }
        };
        values.into_iter().map(choice).collect()
    };
    let own: Vec<Vec<Choice>> = config.sweep.own.axes().into_iter().rev().map(named).collect();
    let axes: Vec<Vec<Choice>> =
        config.sweep.axes.iter().filter_map(|text| Axis::parse(text)).map(further).collect();
    let (own, axes) = (combinations(&own), combinations(&axes));
    let mut runs = Vec::new();
    for seed in &config.sweep.seeds {
        for own in &own {
            for axes in &axes {
                let chosen = || own.iter().rev().chain(axes);
                let varied = chosen().map(|Choice { key, set, .. }| format!("{key}={set}"));
                let set: Vec<String> = set.iter().cloned().chain(varied).collect();
                // loaded anew: an axis such as train.algo brings defaults of its own
                let config = crate::load::<SweepConfig<C, K>>(file, &set)?.run;
                let mut labels: Vec<String> = chosen().map(|choice| choice.label.clone()).collect();
                labels.push(format!("seed{seed}"));
                let name = file_name(&labels.join("-"));
                let axes = axes.iter().map(|Choice { key, set, .. }| (key.clone(), set.clone())).collect();
                runs.push(Planned { index: runs.len(), name, seed: *seed, axes, config });
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
fn combinations(axes: &[Vec<Choice>]) -> Vec<Vec<Choice>> {
    axes.iter().fold(vec![Vec::new()], |chosen, axis| {
        let longer = chosen.iter().flat_map(|chosen| {
            axis.iter().map(move |value| chosen.iter().cloned().chain([value.clone()]).collect())
        });
        longer.collect()
    })
}

fn last_part(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// A name that any file system, shell and table takes.
pub(super) fn file_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    name.chars().map(|c| if plain(c) { c } else { '_' }).collect()
}
