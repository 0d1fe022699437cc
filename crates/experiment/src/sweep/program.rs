//! What a program brings along so that its runs can be swept.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::results::Results;
use crate::driver::Program;
use crate::{Faults, RunFolder, UserError};

/// A program whose runs can be swept.
///
/// Runs are done side by side, so that what it holds is shared between threads.
pub trait SweepProgram: Program<Config: Debug + Sync, Summary: Clone + Debug> + Sync + Sized {
    /// Its own keys of `[sweep]`.
    type Keys: SweepKeys;

    /// Files that a run writes before its first checkpoint, beside those that every run has.
    const EARLY_FILES: &'static [&'static str];
    /// The keys of `summary.json`, at any depth, that depend on the clock. The summary must be readable without them.
    const CLOCKS: &'static [&'static str];

    /// The keys of the settings, each a section or a key of one, that change no number of a run: results that differ
    /// in them alone are of the same run.
    const NEUTRAL: &'static [&'static str] = &["checkpoint"];

    /// The steps of a whole run, in the unit of its progress bar.
    fn steps(&self, config: &Self::Config) -> u64;

    /// Options that each command of the sweep needs, wherever it runs, such as `--data-dir DIR`.
    fn options(&self) -> Vec<String>;

    /// Whether a metric belongs to the curves that results are made of.
    fn in_curves(&self, metric: &str) -> bool;

    /// What else belongs to the result of a finished run, under a key that its summary does not have.
    ///
    /// # Errors
    /// Fails where a file of the run's folder cannot be read.
    fn beside(&self, _folder: &RunFolder) -> Result<Option<(&'static str, Value)>> {
        Ok(None)
    }

    /// Checks a summary that was read back.
    ///
    /// # Errors
    /// What is wrong with it, as the rest of the sentence "cannot use FILE: …".
    fn check(&self, config: &Self::Config, summary: &Self::Summary) -> Result<(), String>;

    /// Makes tables and figures of the results, of which there is at least one, and writes them into `folder`.
    ///
    /// # Errors
    /// Fails where a file cannot be written.
    fn collect(&self, results: &Results<Self>, keys: &Self::Keys, folder: &Path) -> Result<Collected>;
}

/// A program whose results can stand in pages: named tables, figures and numbers, each made of results alone.
pub trait PageProgram: SweepProgram {
    /// The names of its tables.
    const TABLES: &'static [&'static str];
    /// The names of its figures.
    const FIGURES: &'static [&'static str];
    /// The names of its numbers, for the middle of a sentence.
    const VALUES: &'static [&'static str];

    /// A table as Markdown.
    ///
    /// # Errors
    /// Fails where there is no table of that name, or the results do not make one.
    fn table(&self, results: &Results<Self>, keys: &Self::Keys, name: &str) -> Result<String>;

    /// A number of runs that differ in their seeds alone, with its 95% interval where there are several.
    ///
    /// # Errors
    /// As [`PageProgram::table`].
    fn value(&self, results: &Results<Self>, name: &str) -> Result<String>;

    /// Draws a figure as a PNG.
    ///
    /// # Errors
    /// As [`PageProgram::table`], and where the file cannot be written.
    fn figure(&self, results: &Results<Self>, keys: &Self::Keys, name: &str, file: &Path) -> Result<()>;
}

/// What a table or figure answers that cannot be made of the results that there are.
pub fn not_of_these(name: &str, needed: &str) -> anyhow::Error {
    UserError::failed(format!("the results do not make `{name}`, which needs {needed}")).into()
}

/// The summary of a run with what else belongs to its result.
pub(super) fn with_beside<P: SweepProgram>(
    program: &P,
    folder: &RunFolder,
    mut summary: Value,
) -> Result<Value> {
    if let (Some((key, value)), Value::Object(map)) = (program.beside(folder)?, &mut summary) {
        map.insert(key.to_owned(), value);
    }
    Ok(summary)
}

/// Reads a summary and has it checked.
pub(super) fn read_summary<P: SweepProgram>(
    program: &P,
    config: &P::Config,
    json: &Value,
) -> Result<P::Summary, String> {
    let summary = P::Summary::deserialize(json).map_err(|error| error.to_string())?;
    program.check(config, &summary)?;
    Ok(summary)
}

/// What was made of results.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// Tables for stdout.
    pub text: String,
    /// What all runs took together, such as `1.5M environment steps`; may be empty.
    pub effort: String,
    /// The files that were written.
    pub files: Vec<PathBuf>,
}

/// A program's own keys of `[sweep]`.
pub trait SweepKeys: Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Sync {
    /// Those that are axes, in the order in which folders are named after them. The last one varies slowest, but
    /// faster than the seeds.
    fn axes(&self) -> Vec<NamedAxis>;

    /// Adds a fault for each value that has the right type and makes no sense. That an axis has values, each once,
    /// is checked for all of them.
    fn faults(&self, faults: &mut Faults);
}

/// An axis that has a key of its own in `[sweep]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedAxis {
    /// Its key in `[sweep]`, such as `methods`.
    pub name: &'static str,
    /// The key that it varies, such as `train.method`.
    pub key: &'static str,
    /// The values.
    pub values: Vec<AxisValue>,
}

/// A value of an axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AxisValue {
    /// As it is set.
    pub set: String,
    /// Its part of a folder's name.
    pub label: String,
}

/// For a program without keys of its own in `[sweep]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoKeys {}

impl SweepKeys for NoKeys {
    fn axes(&self) -> Vec<NamedAxis> {
        Vec::new()
    }

    fn faults(&self, _: &mut Faults) {}
}
