//! Results from files alone, without a plan and without any run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::Value;

use super::line::{difference, identity, read_lines};
use super::plan::Planned;
use super::program::{SweepKeys, SweepProgram, read_summary};
use super::results::{Results, Row};
use crate::UserError;

/// Which results of some files are wanted, and what tells them apart beside the program's own axes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// For some keys of the settings, or `seed`, the values to take.
    pub only: BTreeMap<String, Vec<Value>>,
    /// The keys that further axes vary; nothing for those that each line names.
    pub by: Option<Vec<String>>,
}

impl Selection {
    /// Whether a run is wanted.
    fn takes(&self, seed: u64, config: &Value) -> Result<bool> {
        for (key, wanted) in &self.only {
            let seed = Value::from(seed);
            let found = if key == "seed" { &seed } else { value(config, key)? };
            if !wanted.iter().any(|wanted| same(wanted, found)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The further axes of a run, given those that its line names.
    fn axes(&self, named: Vec<(String, String)>, config: &Value) -> Result<Vec<(String, String)>> {
        let Some(by) = &self.by else { return Ok(named) };
        let text = |found: &Value| found.as_str().map_or_else(|| found.to_string(), str::to_owned);
        by.iter().map(|key| Ok((key.clone(), text(value(config, key)?)))).collect()
    }
}

/// The value of a key of resolved settings.
fn value<'a>(config: &'a Value, key: &str) -> Result<&'a Value> {
    let found = key.split('.').try_fold(config, |config, part| config.get(part));
    found.ok_or_else(|| UserError::usage(format!("the settings have no key `{key}` to choose by")).into())
}

/// Whether two values are the same; 1 and 1.0 are.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        // seeds may be larger than any float can tell apart
        (Some(x), Some(y)) if a.is_f64() || b.is_f64() => x.total_cmp(&y).is_eq(),
        _ => a == b,
    }
}

impl<P: SweepProgram> Results<P> {
    /// Reads the results in files, in their order. What stands there twice counts once.
    ///
    /// # Errors
    /// Fails where a file cannot be read, two results of the same settings and seed have other numbers, no result
    /// is wanted, or runs with different settings could not be told apart.
    pub fn read(program: &P, files: &[PathBuf], selection: &Selection) -> Result<Self> {
        let mut rows: Vec<Row<P>> = Vec::new();
        let mut identities: Vec<Value> = Vec::new();
        for (place, line) in
            files.iter().map(|file| read_lines::<P>(file)).collect::<Result<Vec<_>>>()?.concat()
        {
            let refused = |fault: String| UserError::usage(format!("{place}: {fault}"));
            let config: P::Config =
                crate::resolve(&line.config).map_err(|error| refused(error.to_string()))?;
            let full = serde_json::to_value(&config)?;
            if !selection.takes(line.seed, &full)? {
                continue;
            }
            let id = identity::<P>(&config)?;
            let mut known = rows.iter().zip(&identities);
            if let Some((known, _)) =
                known.find(|(row, other)| row.planned.seed == line.seed && **other == id)
            {
                line.agree_with(&known.line, &place, &known.planned.name)?;
                continue;
            }
            let summary = read_summary(program, &config, &line.summary).map_err(refused)?;
            // earlier versions wrote no name
            let name = if line.name.is_empty() { place } else { line.name.clone() };
            let (index, seed) = (rows.len(), line.seed);
            let axes = selection.axes(line.axes.clone(), &full)?;
            let planned = Planned { index, name, seed, axes, config };
            rows.push(Row { planned, summary, curves: line.numbers(), line });
            identities.push(id);
        }
        if rows.is_empty() {
            let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
            let message = format!("no result that is wanted stands in {}", files.join(", "));
            return Err(UserError::failed(message).into());
        }
        refuse_mixed(&rows, &identities)?;
        Ok(Self { rows, unfinished: Vec::new(), unusable: Vec::new() })
    }
}

/// Refuses runs of different settings that would count as seeds of the same experiment.
fn refuse_mixed<P: SweepProgram>(rows: &[Row<P>], identities: &[Value]) -> Result<()> {
    let own = P::Keys::default().axes();
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        let values: Result<Vec<&Value>> =
            own.iter().map(|axis| value(&identities[index], axis.key)).collect();
        let cell = serde_json::to_string(&(values?, &row.planned.axes))?;
        let first = *first.entry(cell).or_insert(index);
        if let Some(path) = difference(&identities[first], &identities[index]) {
            let (a, b) = (&rows[first].planned.name, &row.planned.name);
            let key = path.trim_start_matches('.');
            let message = format!("{a} and {b} would count as seeds of one experiment, but differ in {key}");
            return Err(UserError::failed(message)
                .with_hint("leave one of them out, or tell them apart by that key")
                .into());
        }
    }
    Ok(())
}
