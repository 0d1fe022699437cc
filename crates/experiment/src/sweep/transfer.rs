//! Results that travel between sweeps and machines as files.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::line::{ResultLine, identity, read_lines};
use super::plan::{PLAN, Planned, Sweep};
use super::program::{SweepProgram, read_summary, with_beside};
use super::results::{Results, own_result};
use crate::{RunFolder, UserError};

/// The file in a sweep's folder with the results that came from elsewhere.
const FILE: &str = "imported.jsonl";

/// No summary is longer.
const LONGEST_SUMMARY: u64 = 16 << 20;

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
        let planned: Result<Vec<_>> =
            sweep.runs.iter().map(|run| Ok((run, identity::<P>(&run.config)?))).collect();
        let planned = planned?;
        for (place, line) in read_lines::<P>(path)? {
            let config: P::Config = crate::resolve(&line.config)
                .map_err(|error| UserError::usage(format!("{place}: {error}")))?;
            let config = identity::<P>(&config)?;
            let mut found = false;
            for (planned, _) in planned.iter().filter(|(run, id)| run.seed == line.seed && *id == config) {
                found = true;
                let known = match &self.lines[planned.index] {
                    Some(known) => Some(known.clone()),
                    // a folder that cannot be used cannot contradict
                    None if against == Against::Imported => None,
                    None => own_result(program, sweep, planned).unwrap_or_default().map(|(_, own)| own),
                };
                if let Some(known) = known {
                    line.agree_with(&known, &place, &planned.name)?;
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

/// Writes the results in `folders`, sweeps and finished runs alone, into `file`; returns a line for the user.
///
/// # Errors
/// Fails where there is none, a folder holds neither sweep nor finished run, or the file cannot be written.
pub(super) fn export<P: SweepProgram>(program: &P, folders: &[PathBuf], file: &Path) -> Result<String> {
    let (mut lines, mut total) = (Vec::new(), 0);
    for folder in folders {
        if folder.join(PLAN).exists() || !folder.join("config.toml").exists() {
            let sweep = Sweep::open(folder)?;
            total += sweep.runs.len();
            lines.extend(Results::gather(program, &sweep)?.rows.into_iter().map(|row| row.line));
        } else {
            total += 1;
            lines.push(finished_run(program, folder)?);
        }
    }
    if lines.is_empty() {
        return Err(UserError::failed("no run is finished, so there is nothing to export").into());
    }
    write_lines(file, &lines)?;
    Ok(format!("{} of {total} runs in {}\n", lines.len(), file.display()))
}

/// The result of a run that is in no sweep.
fn finished_run<P: SweepProgram>(program: &P, path: &Path) -> Result<ResultLine> {
    let folder = RunFolder::view_of(path, P::NAME)?;
    let config: P::Config = crate::load_run(&folder.config_path(), &[])?;
    let summary = path.join("summary.json");
    let unusable = |fault: String| {
        UserError::failed(format!("cannot use {}: {fault}", summary.display()))
            .with_hint("only a finished run has a result; `resume` goes on with one that was cut off")
    };
    let bytes =
        crate::read_at_most(&summary, LONGEST_SUMMARY).map_err(|error| unusable(error.to_string()))?;
    let json = serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string()))?;
    read_summary(program, &config, &json).map_err(unusable)?;
    let json = with_beside(program, &folder, json)?;
    ResultLine::of_run(program, &folder, &config, &json)
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
    let lines: Vec<ResultLine> = imported.lines.into_iter().flatten().collect();
    write_lines(&sweep.folder.join(FILE), &lines)?;
    Ok(said)
}

fn write_lines(file: &Path, lines: &[ResultLine]) -> Result<()> {
    let mut text = String::new();
    for line in lines {
        text += &serde_json::to_string(line)?;
        text.push('\n');
    }
    Ok(crate::write_atomic(file, text.as_bytes())?)
}
