//! The tables and figures of results that stand in pages.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use ::plots::Figure;
use anyhow::Result;
use experiment::Record;
use experiment::sweep::{PageProgram, Results as Gathered, not_of_these};

use super::by_kind;
use super::figures::{self, Picture, figures};
use super::keys::LabelEfficiency;
use super::results::{Cell, Results, Row};
use super::tables::{cells_table, differences_table, head, mean_and_interval, percent, signed};
use crate::{Ppo, plots};

impl PageProgram for Ppo {
    const TABLES: &'static [&'static str] =
        &["cells", "differences", "ends", "parts", "policies", "seeds", "sets"];
    const FIGURES: &'static [&'static str] = &FIGURES;
    const VALUES: &'static [&'static str] = &["kept", "best", "diamond", "ghost", "full", "separated"];

    fn table(&self, results: &Gathered<Self>, keys: &LabelEfficiency, name: &str) -> Result<String> {
        let results = Results::new(results);
        match name {
            "cells" => cells_table(&results, keys.threshold),
            "differences" => differences_table(&results)?
                .ok_or_else(|| not_of_these(name, "routing and another method at one level")),
            "ends" => by_kind::ends(&results),
            "parts" => by_kind::parts(&results)?
                .ok_or_else(|| not_of_these(name, "runs that were evaluated in parts of the episodes")),
            "policies" => policies(&results),
            "sets" => by_kind::sets(&results)?.ok_or_else(|| not_of_these(name, "one method at one level")),
            "seeds" => seeds(&results),
            _ => Err(not_of_these(name, &format!("one of the names {}", Self::TABLES.join(", ")))),
        }
    }

    fn value(&self, results: &Gathered<Self>, name: &str) -> Result<String> {
        let results = Results::new(results);
        let cells: Vec<Cell<'_>> = results.cells().collect();
        let [cell] = cells.as_slice() else {
            return Err(not_of_these(name, "a single method, level and variant"));
        };
        let values = match name {
            "separated" => return Ok(separated(cell)),
            "kept" => cell.last(),
            "best" => cell.best(),
            _ => cell.values(|row| last(row, name)),
        };
        Some(mean_and_interval(&values))
            .filter(|text| !text.is_empty())
            .ok_or_else(|| not_of_these(name, "a policy of that name"))
    }

    fn figure(
        &self,
        results: &Gathered<Self>,
        keys: &LabelEfficiency,
        name: &str,
        file: &Path,
    ) -> Result<()> {
        if name == "policies" {
            return Ok(reward_curve(results, name)?.write_png(file)?);
        }
        if name == "methods" {
            let chart = by_kind::methods(&Results::new(results))
                .ok_or_else(|| not_of_these(name, "a single level of oversight"))?;
            return Ok(Picture::Bars(chart).write_png(file)?);
        }
        let drawn = figures(&Results::new(results), keys, name);
        match drawn.as_slice() {
            [(_, picture)] => Ok(picture.write_png(file)?),
            [] => Err(not_of_these(name, "runs that the figure can show")),
            _ => Err(not_of_these(name, "a single level of oversight")),
        }
    }
}

/// Those of a sweep, the methods side by side, and the return of each policy.
const FIGURES: [&str; 7] = {
    let [a, b, c, d, e] = figures::NAMES;
    [a, b, c, d, e, "methods", "policies"]
};

/// The return of each policy while training, as a run draws it of itself and other seeds.
fn reward_curve(gathered: &Gathered<Ppo>, name: &str) -> Result<Figure> {
    let results = Results::new(gathered);
    if results.cells().count() != 1 {
        return Err(not_of_these(name, "a single method, level and variant"));
    }
    let runs = gathered.rows.iter().map(|row| {
        let mut records: BTreeMap<u64, Record> = BTreeMap::new();
        for (key, points) in &row.curves {
            for (step, value) in points {
                let empty = || Record { step: *step, update: 0, values: BTreeMap::new() };
                records.entry(*step).or_insert_with(empty).values.insert(key.clone(), *value);
            }
        }
        records.into_values().collect()
    });
    let runs: Vec<Vec<Record>> = runs.collect();
    Ok(plots::reward_curve(&gathered.rows[0].planned.config, &runs)?)
}

/// The final return of a run's policy of that name.
fn last(row: &Row, policy: &str) -> f64 {
    row.summary.policy(policy).map_or(f64::NAN, |policy| policy.last)
}

/// The names of all policies, in the order of their first run.
fn policy_names(results: &Results) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in results.rows.iter().flat_map(|row| &row.summary.policies) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

/// What the experts have to do to count as separated: the diamond policy's return at least, the ghost policy's at most,
/// and the full mixture's at most either way.
const SEPARATED: (f64, f64, f64) = (0.65, -0.45, 0.15);

/// How many runs of a mixture end with their experts separated, such as `9 of 10`; empty for a single policy.
fn separated(cell: &Cell<'_>) -> String {
    if !cell.arm.method.is_mixture() {
        return String::new();
    }
    let count = cell.rows.iter().filter(|row| {
        last(row, "diamond") >= SEPARATED.0
            && last(row, "ghost") <= SEPARATED.1
            && last(row, "full").abs() <= SEPARATED.2
    });
    format!("{} of {}", count.count(), cell.rows.len())
}

/// The final return of every policy, a line a method and level: mean over seeds and its 95% interval, and on how many
/// of them the experts are separated.
fn policies(results: &Results) -> Result<String> {
    let (mut out, names) = (String::new(), policy_names(results));
    let heads: Vec<&str> = names.iter().copied().chain(["separated"]).collect();
    head(&mut out, &["method", "oversight", "seeds"], &heads)?;
    for cell in results.cells() {
        let Cell { arm, oversight_prob, rows } = &cell;
        let each = names.iter().map(|name| mean_and_interval(&cell.values(|row| last(row, name))));
        let each: Vec<String> = each.chain([separated(&cell)]).collect();
        writeln!(
            out,
            "| {} | {} | {} | {} |",
            arm.label(),
            percent(*oversight_prob),
            rows.len(),
            each.join(" | ")
        )?;
    }
    Ok(out)
}

/// The final return of every policy, a line a run.
fn seeds(results: &Results) -> Result<String> {
    let (mut out, names) = (String::new(), policy_names(results));
    head(&mut out, &["method", "oversight", "seed"], &names)?;
    for cell in results.cells() {
        let mut rows = cell.rows.clone();
        rows.sort_by_key(|row| row.planned.seed);
        for row in rows {
            let value = |name: &&str| {
                let last = last(row, name);
                if last.is_finite() { signed(last) } else { String::new() }
            };
            let each: Vec<String> = names.iter().map(value).collect();
            let (method, level) = (cell.arm.label(), percent(cell.oversight_prob));
            writeln!(out, "| {method} | {level} | {} | {} |", row.planned.seed, each.join(" | "))?;
        }
    }
    Ok(out)
}
