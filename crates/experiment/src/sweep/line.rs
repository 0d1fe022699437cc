//! The result of a run as a line of a file: what defines the run and what it came to, without any clock.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::program::SweepProgram;
use crate::{Manifest, RunFolder, UserError, read_metrics};

/// No line is longer.
const LONGEST_LINE: u64 = 64 << 20;

/// A line of a file of results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ResultLine {
    /// The binary.
    pub program: String,
    /// Its version.
    pub version: String,
    /// The commit that was checked out when it was built, where it is known.
    #[serde(default)]
    pub commit: Option<String>,
    /// The class of the machine, such as `linux-x86_64-avx512f`.
    #[serde(default)]
    pub machine: String,
    /// The threads that the run computed with.
    #[serde(default)]
    pub threads: usize,
    /// The device that it computed on.
    #[serde(default)]
    pub device: String,
    /// The name of its folder.
    #[serde(default)]
    pub name: String,
    /// The seed.
    pub seed: u64,
    /// The values of further axes of its sweep.
    #[serde(default)]
    pub axes: Vec<(String, String)>,
    /// The resolved settings.
    pub config: Value,
    /// `summary.json` without its clocks.
    pub summary: Value,
    /// Step and value of the metrics that count; nothing for a value that is not a number.
    pub curves: BTreeMap<String, Vec<(u64, Option<f64>)>>,
}

impl ResultLine {
    /// Of a finished run in a folder, with its settings and its `summary.json`.
    ///
    /// # Errors
    /// Fails where its metrics or manifest cannot be read.
    pub(crate) fn of_run<P: SweepProgram>(
        program: &P,
        folder: &RunFolder,
        config: &P::Config,
        summary: &Value,
    ) -> Result<Self> {
        let mut summary = summary.clone();
        without(&mut summary, P::CLOCKS);
        let mut curves: BTreeMap<String, Vec<(u64, Option<f64>)>> = BTreeMap::new();
        for record in read_metrics(&folder.metrics_path())? {
            for (name, value) in record.values.into_iter().filter(|(name, _)| program.in_curves(name)) {
                curves.entry(name).or_default().push((record.step, value.is_finite().then_some(value)));
            }
        }
        let manifest = Manifest::read(&folder.manifest_path())?;
        let name = folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self {
            program: P::NAME.to_owned(),
            version: manifest.version,
            commit: manifest.commit,
            machine: manifest.machine,
            threads: manifest.threads,
            device: manifest.device,
            name,
            seed: manifest.seed,
            axes: Vec::new(),
            config: serde_json::to_value(config)?,
            summary,
            curves,
        })
    }

    /// The first number in which two results of one run differ; nothing where they agree.
    pub(crate) fn contradicts(&self, other: &Self) -> Option<String> {
        if let Some(path) = difference(&self.summary, &other.summary) {
            return Some(format!("summary{path}"));
        }
        let names = self.curves.keys().chain(other.curves.keys());
        let mut differing = names.filter(|name| self.curves.get(*name) != other.curves.get(*name));
        differing.next().map(|name| format!("the curve {name}"))
    }

    /// Refuses a result that has other numbers than `known` has for the same run, which is called `name`.
    ///
    /// # Errors
    /// As it says, with `place`, where the line stands.
    pub(crate) fn agree_with(&self, known: &Self, place: &str, name: &str) -> Result<()> {
        let Some(what) = known.contradicts(self) else { return Ok(()) };
        let message = format!("{place}: {name} has other numbers than there are already: {what}");
        let (old, new) = (known.origin(), self.origin());
        let hint = if old == new {
            "the same settings and seed give the same numbers: find out which of them are wrong".to_owned()
        } else {
            format!("the earlier ones are from {old}, these from {new}: keep one of the two")
        };
        Err(UserError::failed(message).with_hint(hint).into())
    }

    /// What computed it.
    fn origin(&self) -> String {
        let Self { version, commit, machine, threads, device, .. } = self;
        let commit = commit.as_deref().unwrap_or("?");
        format!("version {version} of commit {commit} on {machine}, {threads} threads, {device}")
    }

    /// The curves, NaN for what was not a number.
    pub(crate) fn numbers(&self) -> BTreeMap<String, Vec<(u64, f64)>> {
        let curves = self.curves.iter().map(|(name, points)| {
            let points = points.iter().map(|(step, value)| (*step, value.unwrap_or(f64::NAN)));
            (name.clone(), points.collect())
        });
        curves.collect()
    }
}

/// Settings without the keys that change no number: what two results of the same run have in common.
pub(super) fn identity<P: SweepProgram>(config: &P::Config) -> Result<Value> {
    let mut value = serde_json::to_value(config)?;
    for key in P::NEUTRAL {
        let (section, last) = key.rsplit_once('.').unwrap_or(("", key));
        let section = if section.is_empty() { Some(&mut value) } else { value.get_mut(section) };
        if let Some(Value::Object(map)) = section {
            map.remove(last);
        }
    }
    Ok(value)
}

/// The path to the first value in which two differ.
pub(super) fn difference(a: &Value, b: &Value) -> Option<String> {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys = a.keys().chain(b.keys());
            keys.find_map(|key| {
                let null = &Value::Null;
                let (a, b) = (a.get(key).unwrap_or(null), b.get(key).unwrap_or(null));
                difference(a, b).map(|path| format!(".{key}{path}"))
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let mut pairs = a.iter().zip(b).enumerate();
            pairs.find_map(|(i, (a, b))| difference(a, b).map(|path| format!("[{i}]{path}")))
        }
        _ => (a != b).then(String::new),
    }
}

/// Takes the keys that depend on the clock out of a summary, at any depth.
fn without(value: &mut Value, clocks: &[&str]) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !clocks.contains(&key.as_str()));
            map.values_mut().for_each(|value| without(value, clocks));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| without(value, clocks)),
        _ => {}
    }
}

/// The lines of a file of results of a program, each with its place for messages.
///
/// # Errors
/// Fails where the file cannot be read, or a line is no result of this program.
pub(super) fn read_lines<P: SweepProgram>(path: &Path) -> Result<Vec<(String, ResultLine)>> {
    let refused = |message: String| {
        UserError::usage(message).with_hint("give files that `sweep export` wrote, whole as they are")
    };
    let unreadable = |error| refused(format!("cannot read {}: {error}", path.display()));
    let mut reader = BufReader::new(crate::open_regular(path).map_err(unreadable)?);
    let mut lines = Vec::new();
    loop {
        let mut bytes = Vec::new();
        if (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut bytes).map_err(unreadable)? == 0 {
            return Ok(lines);
        }
        let place = format!("{} line {}", path.display(), lines.len() + 1);
        let line: ResultLine = serde_json::from_slice(&bytes)
            .map_err(|error| refused(format!("{place}: not a result: {error}")))?;
        if line.program != P::NAME {
            let message = format!("{place}: a result of {}, not of {}", line.program, P::NAME);
            return Err(UserError::usage(message)
                .with_hint("give files that `sweep export` of the same program wrote")
                .into());
        }
        lines.push((place, line));
    }
}
