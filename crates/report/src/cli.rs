//! The verbs `report` and `compare`, the same in every binary.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};
use experiment::{CommonArgs, GivenOptions, Overview, RunFolder, UserError, write_atomic};

use crate::{Shown, compare, page};

/// What is made of runs for people; flatten it into the verbs of a binary.
#[derive(Subcommand, Clone, Debug)]
pub enum ReportVerb {
    /// Write one HTML file about a run, several runs or a sweep: results, curves, pictures, settings.
    Report(ReportArgs),
    /// Set runs of different methods or settings side by side: a figure and a table.
    Compare(CompareArgs),
}

/// The options of `report`.
#[derive(Args, Clone, Debug)]
pub struct ReportArgs {
    /// Run folders, or folders that hold run folders, such as a sweep's.
    #[arg(required = true, value_name = "RUN|SWEEP")]
    runs: Vec<PathBuf>,
}

/// The options of `compare`.
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    /// Run folders, or folders that hold run folders.
    #[arg(required = true, num_args = 1.., value_name = "RUN|SWEEP")]
    runs: Vec<PathBuf>,
}

impl ReportVerb {
    /// Does what it says and returns the text for stdout.
    ///
    /// # Errors
    /// Fails where an option was given that the verb does not take, a folder holds no run of the program, or a file
    /// cannot be read or written.
    pub fn answer(self, common: &CommonArgs, given: &GivenOptions, shown: &Shown) -> Result<String> {
        match self {
            Self::Report(ReportArgs { runs }) => {
                given.refuse(
                    "report",
                    &["--out"],
                    "it reads what runs have written and writes one HTML file",
                )?;
                let path = match (&common.out, &runs[..]) {
                    (Some(path), _) => path.clone(),
                    (None, [folder]) => folder.join("report.html"),
                    (None, _) => {
                        return Err(UserError::usage("the report of several folders needs a name")
                            .with_hint("name it with --out FILE.html")
                            .into());
                    }
                };
                if path.is_dir() {
                    return Err(UserError::usage(format!("{} is a folder", path.display()))
                        .with_hint("name a file with --out FILE.html")
                        .into());
                }
                let found = runs_in(&runs, shown.program)?;
                write_atomic(&path, page::page(&found, &runs, shown)?.as_bytes())?;
                Ok(format!("{}\n", path.display()))
            }
            Self::Compare(CompareArgs { runs }) => {
                given.refuse("compare", &["--out"], "it draws into --out, or into compare/")?;
                let found = runs_in(&runs, shown.program)?;
                let folder = common.out.clone().unwrap_or_else(|| PathBuf::from("compare"));
                compare::compare(&found, &folder, shown)
            }
        }
    }
}

/// The runs of a program in run folders, and in folders that hold run folders.
fn runs_in(folders: &[PathBuf], program: &str) -> Result<Vec<Overview>> {
    let mut runs: Vec<Overview> = Vec::new();
    for folder in folders {
        let found = found_in(folder)?;
        let others =
            found.iter().find(|run| run.manifest.name != program).map(|run| run.manifest.name.clone());
        let own: Vec<Overview> = found.into_iter().filter(|run| run.manifest.name == program).collect();
        if let (true, Some(other)) = (own.is_empty(), others) {
            let message = format!("{} holds a run of {other}, not of {program}", folder.display());
            return Err(UserError::usage(message).with_hint(format!("give it to {other}")).into());
        }
        for run in own {
            // a run and the sweep that it belongs to
            if runs.iter().all(|known| known.path != run.path) {
                runs.push(run);
            }
        }
    }
    Ok(runs)
}

/// The run in a folder, or the runs in the folders of it.
fn found_in(folder: &Path) -> Result<Vec<Overview>> {
    if let Some(run) = Overview::read(folder) {
        return Ok(vec![run]);
    }
    let inside = Overview::all_in(folder).unwrap_or_default();
    if inside.is_empty() {
        // says what is wrong with it
        RunFolder::view(folder)?;
        return Err(UserError::usage(format!("{} holds no run that has begun", folder.display())).into());
    }
    Ok(inside)
}
