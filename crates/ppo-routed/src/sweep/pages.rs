//! The tables and figures of results that stand in pages.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use experiment::sweep::{PageProgram, Results as Gathered, not_of_these};

use super::figures::{self, figures};
use super::keys::LabelEfficiency;
use super::results::{Cell, Results, Row};
use super::tables::{cells_table, differences_table, mean_and_interval, percent, signed};
use crate::Ppo;

impl PageProgram for Ppo {
    const TABLES: &'static [&'static str] = &["cells", "differences", "policies", "seeds"];
    const FIGURES: &'static [&'static str] = &figures::NAMES;

    fn table(&self, results: &Gathered<Self>, keys: &LabelEfficiency, name: &str) -> Result<String> {
        let results = Results::new(results);
        match name {
            "cells" => cells_table(&results, keys.threshold),
            "differences" => differences_table(&results)?
                .ok_or_else(|| not_of_these(name, "routing and another method at one level")),
            "policies" => policies(&results),
            "seeds" => seeds(&results),
            _ => Err(not_of_these(name, &format!("one of the names {}", Self::TABLES.join(", ")))),
        }
    }

    fn figure(
        &self,
        results: &Gathered<Self>,
        keys: &LabelEfficiency,
        name: &str,
        file: &Path,
    ) -> Result<()> {
        let drawn = figures(&Results::new(results), keys.threshold, name);
        match drawn.as_slice() {
            [(_, picture)] => Ok(picture.write_png(file)?),
            [] => Err(not_of_these(name, "runs that the figure can show")),
            _ => Err(not_of_these(name, "a single level of oversight")),
        }
    }
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

fn head(out: &mut String, first: &[&str], names: &[&str]) -> Result<()> {
    let columns: Vec<&str> = first.iter().chain(names).copied().collect();
    writeln!(out, "| {} |", columns.join(" | "))?;
    writeln!(out, "|{}", "---|".repeat(columns.len()))?;
    Ok(())
}

/// The final return of every policy, a line a method and level: mean over seeds and its 95% interval.
fn policies(results: &Results) -> Result<String> {
    let (mut out, names) = (String::new(), policy_names(results));
    head(&mut out, &["method", "oversight", "seeds"], &names)?;
    for cell in results.cells() {
        let Cell { arm, oversight_prob, rows } = &cell;
        let each = names.iter().map(|name| mean_and_interval(&cell.values(|row| last(row, name))));
        let each: Vec<String> = each.collect();
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
