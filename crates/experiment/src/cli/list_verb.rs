//! The verb `list`: the runs of a folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use clap::Args;
use serde_json::Value as Json;
use toml::{Table, Value};

use crate::manifest::Manifest;
use crate::opening::{open_regular, read_at_most};
use crate::report::UserError;

/// No config or summary is longer.
const LONGEST: u64 = 4 << 20;

/// A number of a program's `summary.json`: what it is called in lists, and where it stands (a JSON pointer).
pub type Score = (&'static str, &'static str);

/// The options of `list`.
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// The folder that holds the run folders.
    #[arg(default_value = "runs")]
    pub folder: PathBuf,
}

/// A run as the list shows it.
struct Row {
    name: String,
    program: String,
    state: &'static str,
    seed: u64,
    score: String,
    age: String,
    settings: BTreeMap<String, String>,
}

impl ListArgs {
    /// A line for each run in the folder: its program, whether it is done, its seed, the first of `scores` that its
    /// summary has, its age, and the settings in which the runs of a program differ.
    ///
    /// # Errors
    /// Fails where the folder cannot be listed.
    pub fn list(&self, scores: &[Score]) -> Result<String> {
        let folder = &self.folder;
        let entries = fs::read_dir(folder).map_err(|error| {
            UserError::usage(format!("cannot list {}: {error}", folder.display()))
                .with_hint("give the folder that holds the run folders; it is runs/ if not given")
        })?;
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        let rows: Vec<Row> = paths.iter().filter_map(|path| row(path, scores)).collect();
        if rows.is_empty() {
            return Ok(format!("{} holds no runs\n", folder.display()));
        }
        Ok(table(&rows))
    }
}

fn row(path: &Path, scores: &[Score]) -> Option<Row> {
    let manifest = Manifest::read(&path.join("manifest.json")).ok()?;
    let config = read_at_most(&path.join("config.toml"), LONGEST).ok();
    let config = config.and_then(|bytes| String::from_utf8(bytes).ok()?.parse::<Table>().ok());
    let mut settings = BTreeMap::new();
    flatten("", &config.unwrap_or_default(), &mut settings);
    let summary = path.join("summary.json");
    let state = match (summary.exists(), in_use(path)) {
        (true, _) => "done",
        (false, true) => "running",
        (false, false) => "interrupted",
    };
    let known: Option<Json> =
        read_at_most(&summary, LONGEST).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let score = known.and_then(|summary| {
        scores
            .iter()
            .find_map(|(name, place)| Some(format!("{name} {:.3}", summary.pointer(place)?.as_f64()?)))
    });
    let newest = [summary, path.join("metrics.jsonl"), path.join("manifest.json")].into_iter();
    let newest = newest.filter_map(|file| fs::metadata(file).ok()?.modified().ok()).max();
    let age = newest.and_then(|time| SystemTime::now().duration_since(time).ok());
    Some(Row {
        name: path.file_name()?.to_string_lossy().into_owned(),
        program: manifest.name,
        state,
        seed: manifest.seed,
        score: score.unwrap_or_default(),
        age: age.map(ago).unwrap_or_default(),
        settings,
    })
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

fn ago(age: Duration) -> String {
    let minutes = age.as_secs() / 60;
    match minutes {
        0 => "now".to_owned(),
        1..120 => format!("{minutes} min"),
        120..2880 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    }
}

fn table(rows: &[Row]) -> String {
    let heads = ["run", "program", "state", "seed", "score", "age", "settings that differ"];
    let mut cells: Vec<[String; 7]> = vec![heads.map(str::to_owned)];
    for row in rows {
        let peers = || rows.iter().filter(|other| other.program == row.program);
        let differs = |key: &String| peers().any(|other| other.settings.get(key) != row.settings.get(key));
        let settings = row.settings.iter().filter(|(key, _)| differs(key));
        let settings: Vec<String> = settings.map(|(key, value)| format!("{key}={value}")).collect();
        cells.push([
            row.name.clone(),
            row.program.clone(),
            row.state.to_owned(),
            row.seed.to_string(),
            row.score.clone(),
            row.age.clone(),
            settings.join(" "),
        ]);
    }
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |row: &[String; 7]| {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    cells.iter().map(line).collect()
}
