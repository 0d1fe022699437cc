//! The verb `list`: the runs of a folder.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::numbers::decimals;
use crate::overview::{Measures, Overview};
use crate::report::UserError;

/// The options of `list`.
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// The folder that holds the run folders.
    #[arg(default_value = "runs")]
    pub folder: PathBuf,
}

impl ListArgs {
    /// A line for each run in the folder: its program, how far it is, its seed, the first of `measures` that its
    /// summary has, its age, and the settings in which the runs of a program differ.
    ///
    /// # Errors
    /// Fails where the folder cannot be listed.
    pub fn list(&self, measures: Measures) -> Result<String> {
        let folder = &self.folder;
        let runs = Overview::all_in(folder).map_err(|error| {
            UserError::usage(format!("cannot list {}: {error}", folder.display()))
                .with_hint("give the folder that holds the run folders; it is runs/ if not given")
        })?;
        if runs.is_empty() {
            return Ok(format!("{} holds no runs\n", folder.display()));
        }
        Ok(table(&runs, measures))
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

fn table(runs: &[Overview], measures: Measures) -> String {
    let heads = ["run", "program", "state", "seed", "score", "age", "settings that differ"];
    let mut cells: Vec<[String; 7]> = vec![heads.map(str::to_owned)];
    let differing = Overview::differing(runs);
    for run in runs {
        let settings = differing.get(&run.manifest.name).into_iter().flatten();
        let settings = settings.filter_map(|key| run.settings.get_key_value(key));
        let settings: Vec<String> = settings.map(|(key, value)| format!("{key}={value}")).collect();
        let score = run.summary.as_deref().and_then(|summary| measures(summary).into_iter().next());
        cells.push([
            run.name.clone(),
            run.manifest.name.clone(),
            run.state.name().to_owned(),
            run.manifest.seed.to_string(),
            score.map(|(name, value)| format!("{name} {}", decimals(value, 3))).unwrap_or_default(),
            run.age().map(ago).unwrap_or_default(),
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
