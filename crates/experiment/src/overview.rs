//! A run at a glance, for whoever looks at many.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use toml::{Table, Value};

use crate::manifest::Manifest;
use crate::opening::{open_regular, read_at_most};

/// No config is longer.
const LONGEST_CONFIG: u64 = 4 << 20;

/// No summary is longer.
const LONGEST_SUMMARY: u64 = 16 << 20;

/// The numbers that the text of a `summary.json` holds, by their names, the one first that a run is judged by.
pub type Measures = fn(&str) -> Vec<(String, f64)>;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// It has its summary.
    Done,
    /// A process is at work on it.
    Running,
    /// Neither.
    Interrupted,
}

impl RunState {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Running => "running",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What a run folder says of its run.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The folder.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// What ran.
    pub manifest: Manifest,
    /// How far it is.
    pub state: RunState,
    /// The settings: `section.key` and the value as TOML.
    pub settings: BTreeMap<String, String>,
    /// The text of `summary.json`, once there is one.
    pub summary: Option<String>,
}

impl Overview {
    /// The run in a folder; nothing where none is, or its manifest cannot be read.
    pub fn read(path: &Path) -> Option<Self> {
        let manifest = Manifest::read(&path.join("manifest.json")).ok()?;
        let text = |name: &str, most| String::from_utf8(read_at_most(&path.join(name), most).ok()?).ok();
        let config = text("config.toml", LONGEST_CONFIG).and_then(|text| text.parse::<Table>().ok());
        let mut settings = BTreeMap::new();
        flatten("", &config.unwrap_or_default(), &mut settings);
        let state = match (path.join("summary.json").exists(), in_use(path)) {
            (true, _) => RunState::Done,
            (false, true) => RunState::Running,
            (false, false) => RunState::Interrupted,
        };
        // `.` and `..` have no name of their own
        let whole = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Some(Self {
            path: path.to_owned(),
            name: whole.file_name()?.to_string_lossy().into_owned(),
            manifest,
            state,
            settings,
            summary: text("summary.json", LONGEST_SUMMARY),
        })
    }

    /// The runs whose folders lie in `folder`, by their names.
    ///
    /// # Errors
    /// Fails where the folder cannot be listed.
    pub fn all_in(folder: &Path) -> io::Result<Vec<Self>> {
        let entries = fs::read_dir(folder)?;
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        Ok(paths.iter().filter_map(|path| Self::read(path)).collect())
    }

    /// The keys in which the runs of each program differ, by the program's name.
    pub fn differing(runs: &[Self]) -> BTreeMap<String, BTreeSet<String>> {
        let mut first: BTreeMap<&str, &Self> = BTreeMap::new();
        let mut differing: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for run in runs {
            let program = run.manifest.name.as_str();
            let known = first.entry(program).or_insert(run);
            let keys = known.settings.keys().chain(run.settings.keys());
            let keys = keys.filter(|key| known.settings.get(*key) != run.settings.get(*key));
            differing.entry(program.to_owned()).or_default().extend(keys.cloned());
        }
        differing
    }

    /// How long ago the run last wrote of itself.
    pub(crate) fn age(&self) -> Option<Duration> {
        let files = ["summary.json", "metrics.jsonl", "manifest.json"].map(|name| self.path.join(name));
        let newest = files.iter().filter_map(|file| fs::metadata(file).ok()?.modified().ok()).max();
        SystemTime::now().duration_since(newest?).ok()
    }
}

/// Whether a process holds the lock of a run folder.
fn in_use(path: &Path) -> bool {
    let lock = open_regular(&path.join(".lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
}

fn flatten(prefix: &str, table: &Table, out: &mut BTreeMap<String, String>) {
    for (name, value) in table {
        match value {
            Value::Table(inner) => flatten(&format!("{prefix}{name}."), inner, out),
            value => {
                out.insert(format!("{prefix}{name}"), value.to_string());
            }
        }
    }
}
