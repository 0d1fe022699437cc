//! What a run leaves for its reader: tables on stdout, as CSV and Markdown, and pictures.

mod tables;

use std::path::PathBuf;

use anyhow::Result;
use experiment::RunFolder;

use crate::config::{Config, Experiment};
use crate::run::part_results;

/// What was written.
pub struct Report {
    /// For stdout.
    pub text: String,
    /// For `summary.json`.
    pub parts: serde_json::Value,
    /// The files.
    pub files: Vec<PathBuf>,
}

/// Writes tables and pictures of a run's results.
///
/// # Errors
/// Fails where a result cannot be read or a file written.
pub fn write(folder: &RunFolder, config: &Config) -> Result<Report> {
    match config.experiment.kind {
        Experiment::Era => {
            let results = part_results(folder, config)?;
            let table = tables::losses(&results, &config.retrain.stories);
            Ok(Report { text: table.text(), parts: serde_json::to_value(&results)?, files: Vec::new() })
        }
        Experiment::Steer | Experiment::Virology => {
            Ok(Report { text: String::new(), parts: serde_json::Value::Null, files: Vec::new() })
        }
    }
}
