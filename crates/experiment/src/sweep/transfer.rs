//! Results as one file: a line a run, with what defines the run and what it came to, without any clock.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::{Planned, Sweep};
use super::program::SweepProgram;
use super::results::{Results, own_result};
use crate::UserError;

/// The file in a sweep's folder with the results that came from elsewhere.
const FILE: &str = "imported.jsonl";

/// No line is longer.
const LONGEST_LINE: u64 = 64 << 20;

/// The result of a run, as it stands in a line of a file of results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ResultLine {
    /// The binary.
    pub program: String,
    /// Its version.
    pub version: String,
    /// The seed.
    pub seed: u64,
    /// The resolved settings.
    pub config: Value,
    /// `summary.json` without its clocks.
    pub summary: Value,
    /// Step and value of the metrics that count; nothing for a value that is not a number.
    pub curves: BTreeMap<String, Vec<(u64, Option<f64>)>>,
}

impl ResultLine {
    /// The first number in which two results of one run differ; nothing where they agree.
    pub(crate) fn contradicts(&self, other: &Self) -> Option<String> {
        if let Some(path) = difference(&self.summary, &other.summary) {
            return Some(format!("summary{path}"));
        }
        let names = self.curves.keys().chain(other.curves.keys());
        let mut differing = names.filter(|name| self.curves.get(*name) != other.curves.get(*name));
        differing.next().map(|name| format!("the curve {name}"))
    }
}

/// The path to the first value in which two differ.
fn difference(a: &Value, b: &Value) -> Option<String> {
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
pub(super) fn without(value: &mut Value, clocks: &[&str]) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !clocks.contains(&key.as_str()));
            map.values_mut().for_each(|value| without(value, clocks));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| without(value, clocks)),
        _ => {}
    }
}

/// The results in a sweep's folder that came from elsewhere.
#[derive(Debug)]
pub(super) struct Imported {
    /// By the index of the run.
    lines: Vec<Option<ResultLine>>,
}

/// What new results must not contradict.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Against {
    /// What was imported before.
    Imported,
    /// That, and the folders of finished runs.
    Folders,
}

impl Imported {
    /// Reads those of a sweep; a folder without the file has none.
    ///
    /// # Errors
    /// Fails where a line is no result of the program, or two contradict each other.
    pub(crate) fn read<P: SweepProgram>(program: &P, sweep: &Sweep<P>) -> Result<Self> {
        let mut imported = Self { lines: vec![None; sweep.runs.len()] };
        let path = sweep.folder.join(FILE);
        if path.exists() {
            // a folder that says otherwise fails its run alone, when the run is gathered
            imported.add(program, sweep, &path, Against::Imported)?;
        }
        Ok(imported)
    }

    /// The result of a run.
    pub(crate) fn get<C>(&self, planned: &Planned<C>) -> Option<&ResultLine> {
        self.lines.get(planned.index)?.as_ref()
    }

    /// Whether a run has a result.
    pub(crate) fn has<C>(&self, planned: &Planned<C>) -> bool {
        self.get(planned).is_some()
    }

    /// Adds the results of a file; returns how many belong to runs of the plan, and how many do not.
    fn add<P: SweepProgram>(
        &mut self,
        program: &P,
        sweep: &Sweep<P>,
        path: &Path,
        against: Against,
    ) -> Result<(usize, usize)> {
        let (mut taken, mut others) = (0, 0);
        for (number, line) in read_lines(path)?.into_iter().enumerate() {
            let place = format!("{} line {}", path.display(), number + 1);
            if line.program != P::NAME {
                let message = format!("{place}: a result of {}, not of {}", line.program, P::NAME);
                return Err(UserError::usage(message)
                    .with_hint("give files that `sweep export` of the same program wrote")
                    .into());
            }
            let config: P::Config = crate::resolve(&line.config)
                .map_err(|error| UserError::usage(format!("{place}: {error}")))?;
            let mut found = false;
            for planned in sweep.runs.iter().filter(|run| run.seed == line.seed && run.config == config) {
                found = true;
                let known = match &self.lines[planned.index] {
                    Some(known) => Some(known.clone()),
                    // a folder that cannot be used cannot contradict
                    None if against == Against::Imported => None,
                    None => own_result(program, sweep, planned).unwrap_or_default().map(|(_, own)| own),
                };
                if let Some(what) = known.and_then(|known| known.contradicts(&line)) {
                    let message =
                        format!("{place}: {} has other numbers than there are already: {what}", planned.name);
                    return Err(UserError::failed(message)
                        .with_hint("the same settings and seed give the same numbers: find out which of them are wrong")
                        .into());
                }
                self.lines[planned.index] = Some(line.clone());
            }
            if found {
                taken += 1;
            } else {
                others += 1;
            }
        }
        Ok((taken, others))
    }
}

/// Writes the results of a sweep into `file`; returns a line for the user.
///
/// # Errors
/// Fails where there is none, or the file cannot be written.
pub(super) fn export<P: SweepProgram>(program: &P, sweep: &Sweep<P>, file: &Path) -> Result<String> {
    let results = Results::gather(program, sweep)?;
    if results.rows.is_empty() {
        return Err(UserError::failed("no run is finished, so there is nothing to export").into());
    }
    let mut text = String::new();
    for row in &results.rows {
        text += &serde_json::to_string(&row.line)?;
        text.push('\n');
    }
    crate::write_atomic(file, text.as_bytes())?;
    Ok(format!("{} of {} runs in {}\n", results.rows.len(), sweep.runs.len(), file.display()))
}

/// Adds the results in `files` to those of a sweep; returns what was done, for the user. Nothing is changed where
/// one of them is refused.
///
/// # Errors
/// Fails where a file cannot be read, or has other numbers than are known for the same settings and seed.
pub(super) fn import<P: SweepProgram>(program: &P, sweep: &Sweep<P>, files: &[PathBuf]) -> Result<String> {
    let mut imported = Imported::read(program, sweep)?;
    let mut said = String::new();
    for file in files {
        let (taken, others) = imported.add(program, sweep, file, Against::Folders)?;
        let left_out = match others {
            0 => String::new(),
            others => format!(", {others} of no run of this plan left out"),
        };
        writeln!(said, "{}: {taken} results{left_out}", file.display())?;
    }
    let mut text = String::new();
    for line in imported.lines.iter().flatten() {
        text += &serde_json::to_string(line)?;
        text.push('\n');
    }
    crate::write_atomic(&sweep.folder.join(FILE), text.as_bytes())?;
    Ok(said)
}

fn read_lines(path: &Path) -> Result<Vec<ResultLine>> {
    let refused = |message: String| {
        UserError::usage(message).with_hint("give files that `sweep export` wrote, whole as they are")
    };
    let unreadable = |error| refused(format!("cannot read {}: {error}", path.display()));
    let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut lines = Vec::new();
    loop {
        let mut bytes = Vec::new();
        if (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut bytes).map_err(unreadable)? == 0 {
            return Ok(lines);
        }
        let line = serde_json::from_slice(&bytes).map_err(|error| {
            refused(format!("{} line {}: not a result: {error}", path.display(), lines.len() + 1))
        })?;
        lines.push(line);
    }
}
