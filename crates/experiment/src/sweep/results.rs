//! What the runs of a sweep came to: gathered from their folders and from imported results.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use super::execute::hint;
use super::line::ResultLine;
use super::plan::{Planned, Sweep};
use super::program::{SweepProgram, read_summary, with_beside};
use super::state::{State, state};
use super::transfer::Imported;
use crate::{RunFolder, UserError};

/// A finished run.
#[derive(Clone, Debug)]
pub struct Row<P: SweepProgram> {
    /// Its index in the plan, its settings and seed.
    pub planned: Planned<P::Config>,
    /// Its summary.
    pub summary: P::Summary,
    /// The metrics that [`SweepProgram::in_curves`] chooses: step and value of each record that has them.
    pub curves: BTreeMap<String, Vec<(u64, f64)>>,
    /// What is exported of it.
    pub(super) line: ResultLine,
}

/// A run whose result cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// Its index in the plan.
    pub index: usize,
    /// Its name and what is wrong, in one line.
    pub fault: String,
    /// What the user can do about it.
    pub hint: Option<String>,
}

/// The results of a sweep.
#[derive(Clone, Debug)]
pub struct Results<P: SweepProgram> {
    /// The finished runs, in the order of the plan.
    pub rows: Vec<Row<P>>,
    /// Indices of those that are not.
    pub unfinished: Vec<usize>,
    /// Those among them whose folder cannot be used.
    pub unusable: Vec<Unusable>,
}

impl<P: SweepProgram> Results<P> {
    /// Gathers the results of a sweep. A run whose folder cannot be used does not keep the others from being
    /// gathered.
    ///
    /// # Errors
    /// Fails where imported results cannot be read.
    pub fn gather(program: &P, sweep: &Sweep<P>) -> Result<Self> {
        let imported = Imported::read(program, sweep)?;
        let mut results = Self { rows: Vec::new(), unfinished: Vec::new(), unusable: Vec::new() };
        for planned in &sweep.runs {
            match row(program, sweep, planned, &imported) {
                Ok(Some(row)) => results.rows.push(row),
                Ok(None) => results.unfinished.push(planned.index),
                Err(error) => {
                    results.unfinished.push(planned.index);
                    let fault = format!("{}: {error:#}", planned.name);
                    results.unusable.push(Unusable { index: planned.index, fault, hint: hint(&error) });
                }
            }
        }
        Ok(results)
    }
}

/// The result of a run; nothing where it is not finished.
fn row<P: SweepProgram>(
    program: &P,
    sweep: &Sweep<P>,
    planned: &Planned<P::Config>,
    imported: &Imported,
) -> Result<Option<Row<P>>> {
    let own = own_result(program, sweep, planned)?;
    let (json, line) = match (own, imported.get(planned)) {
        (Some((json, own)), Some(other)) => {
            if let Some(what) = own.contradicts(other) {
                let message = format!("its folder and an imported result have other numbers: {what}");
                return Err(UserError::failed(message)
                    .with_hint(
                        "remove the one that is wrong: the run's folder, or its line in imported.jsonl",
                    )
                    .into());
            }
            (json, own)
        }
        (Some(own), None) => own,
        (None, Some(other)) => (other.summary.clone(), other.clone()),
        (None, None) => return Ok(None),
    };
    let summary = read_summary(program, &planned.config, &json).map_err(|fault| {
        UserError::failed(format!("its imported result cannot be used: {fault}"))
            .with_hint("remove its line in imported.jsonl")
    })?;
    let line = ResultLine { name: planned.name.clone(), axes: planned.axes.clone(), ..line };
    Ok(Some(Row { planned: planned.clone(), summary, curves: line.numbers(), line }))
}

/// The summary and the result that stand in a run's folder; nothing where it is not finished.
pub(super) fn own_result<P: SweepProgram>(
    program: &P,
    sweep: &Sweep<P>,
    planned: &Planned<P::Config>,
) -> Result<Option<(Value, ResultLine)>> {
    let State::Finished(json) = state(program, sweep, planned)? else { return Ok(None) };
    let folder = RunFolder::view(&sweep.run_folder(planned))?;
    let json = with_beside(program, &folder, json)?;
    let line = ResultLine::of_run(program, &folder, &planned.config, &json)?;
    Ok(Some((json, line)))
}
