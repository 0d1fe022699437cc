//! The numbers of a sweep as CSV and as Markdown.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use experiment::sweep::{Spread, difference};

use super::results::{Cell, Results};
use crate::Method;

/// Writes `results.csv` (a line a run), `table.csv` (a line a method and level), `differences.csv`, `curves.csv`
/// and `table.md` into `folder`; returns their paths and the Markdown.
///
/// No number in them depends on the clock.
///
/// # Errors
/// Fails where a file cannot be written.
pub(crate) fn write(results: &Results, threshold: f64, folder: &Path) -> Result<(Vec<PathBuf>, String)> {
    let markdown = markdown(results, threshold)?;
    let files = [
        ("results.csv", csv_text(runs(results, threshold))?),
        ("table.csv", csv_text(cells(results, threshold))?),
        ("differences.csv", csv_text(differences(results))?),
        ("curves.csv", csv_text(curves(results))?),
        ("table.md", markdown.clone()),
    ];
    let mut paths = Vec::new();
    for (name, text) in files {
        let path = folder.join(name);
        experiment::write_atomic(&path, text.as_bytes())?;
        paths.push(path);
    }
    Ok((paths, markdown))
}

fn csv_text(lines: Vec<Vec<String>>) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for line in lines {
        writer.write_record(line)?;
    }
    let bytes = writer.into_inner().context("a table")?;
    Ok(String::from_utf8(bytes)?)
}

fn header(names: &[&str]) -> Vec<Vec<String>> {
    vec![names.iter().map(|name| (*name).to_owned()).collect()]
}

fn optional(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn runs(results: &Results, threshold: f64) -> Vec<Vec<String>> {
    let kinds = kinds(results);
    let mut lines = header(&[
        "name",
        "method",
        "algo",
        "oversight_prob",
        "seed",
        "axes",
        "updates",
        "env_steps",
        "final",
        "best",
    ]);
    lines[0].extend(kinds.iter().map(|kind| format!("share_{kind}")));
    lines[0].extend(kinds.iter().skip(1).map(|kind| format!("{kind}_policy_final")));
    let last = ["full_policy_final", "steps_to_threshold", "stopped", "stopped_update"];
    lines[0].extend(last.map(str::to_owned));
    for row in &results.rows {
        let (summary, kept) = (&row.summary, row.kept());
        let other = |name: &str| {
            let policy = summary.policy(name).filter(|_| row.method().is_mixture());
            optional(policy.map(|policy| policy.last))
        };
        let axes: Vec<String> =
            row.planned.axes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut line = vec![
            row.planned.name.clone(),
            row.method().name().to_owned(),
            row.planned.config.train.algo.name().to_owned(),
            summary.oversight_prob.to_string(),
            summary.seed.to_string(),
            axes.join(" "),
            summary.updates.to_string(),
            summary.env_steps.to_string(),
            kept.last.to_string(),
            kept.best.to_string(),
        ];
        line.extend(kinds.iter().map(|kind| kept.share(kind).to_string()));
        line.extend(kinds.iter().skip(1).map(|kind| other(kind)));
        line.extend([
            other("full"),
            optional(row.steps_to(threshold)),
            optional(kept.stopped.map(|stopped| stopped.true_return)),
            kept.stopped.map(|stopped| stopped.update.to_string()).unwrap_or_default(),
        ]);
        lines.push(line);
    }
    lines
}

/// The names of all kinds of the runs, those of the first run first.
pub(super) fn kinds(results: &Results) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for kind in results.rows.iter().flat_map(|row| &row.planned.config.env.kinds) {
        if !names.contains(&kind.name.as_ref()) {
            names.push(&kind.name);
        }
    }
    names
}

fn cells(results: &Results, threshold: f64) -> Vec<Vec<String>> {
    let mut lines = header(&["method", "variant", "oversight_prob", "seeds"]);
    for what in ["final", "best"] {
        for part in ["mean", "low95", "high95", "q05", "q95"] {
            lines[0].push(format!("{what}_{part}"));
        }
    }
    lines[0].extend(["reached_threshold".to_owned(), "median_steps_to_threshold".to_owned()]);
    lines[0].extend(["mean", "low95", "high95"].map(|part| format!("stopped_{part}")));
    for cell in results.cells() {
        let (reached, median) = steps(&cell, threshold);
        let mut line = vec![
            cell.arm.method.name().to_owned(),
            cell.arm.variant.clone(),
            cell.oversight_prob.to_string(),
            cell.rows.len().to_string(),
        ];
        for values in [cell.last(), cell.best()] {
            let spread = Spread::of(&values);
            let interval = spread.and_then(|spread| spread.interval());
            line.extend([
                optional(spread.map(|spread| spread.mean)),
                optional(interval.map(|(low, _)| low)),
                optional(interval.map(|(_, high)| high)),
                optional(spread.map(|spread| spread.quantiles.0)),
                optional(spread.map(|spread| spread.quantiles.1)),
            ]);
        }
        line.extend([reached.to_string(), optional(median)]);
        let stopped = Spread::of(&cell.stopped());
        let interval = stopped.and_then(|spread| spread.interval());
        line.push(optional(stopped.map(|spread| spread.mean)));
        line.push(optional(interval.map(|(low, _)| low)));
        line.push(optional(interval.map(|(_, high)| high)));
        lines.push(line);
    }
    lines
}

/// Routing against every other arm of the same variant at every level.
fn routing_minus(results: &Results) -> Vec<(f64, String, Versus)> {
    let mut found = Vec::new();
    for routing in results.arms.iter().filter(|arm| arm.method == Method::ROUTING) {
        for other in &results.arms {
            if other.method == Method::ROUTING || other.variant != routing.variant {
                continue;
            }
            for level in results.shared_levels(&[routing, other]) {
                let last = |arm| results.cell(arm, level).map(|cell| cell.last()).unwrap_or_default();
                if let Some(versus) = difference(&last(routing), &last(other)) {
                    found.push((level, other.label(), versus));
                }
            }
        }
    }
    found
}

/// A difference and its 95% interval.
type Versus = (f64, Option<(f64, f64)>);

fn differences(results: &Results) -> Vec<Vec<String>> {
    let mut lines = header(&["oversight_prob", "routing_minus", "difference", "low95", "high95"]);
    for (level, other, (distance, interval)) in routing_minus(results) {
        lines.push(vec![
            level.to_string(),
            other,
            distance.to_string(),
            optional(interval.map(|(low, _)| low)),
            optional(interval.map(|(_, high)| high)),
        ]);
    }
    lines
}

fn curves(results: &Results) -> Vec<Vec<String>> {
    let mut lines = header(&[
        "method",
        "variant",
        "oversight_prob",
        "step_on_axis",
        "mean",
        "low95",
        "high95",
        "q05",
        "q95",
    ]);
    for cell in results.cells() {
        for (step, spread) in cell.curve() {
            lines.push(vec![
                cell.arm.method.name().to_owned(),
                cell.arm.variant.clone(),
                cell.oversight_prob.to_string(),
                step.to_string(),
                spread.mean.to_string(),
                optional(spread.interval().map(|(low, _)| low)),
                optional(spread.interval().map(|(_, high)| high)),
                spread.quantiles.0.to_string(),
                spread.quantiles.1.to_string(),
            ]);
        }
    }
    lines
}

/// How many runs reached the threshold, and the median of the steps they took; nothing unless more than half did.
pub(crate) fn steps(cell: &Cell<'_>, threshold: f64) -> (usize, Option<f64>) {
    let mut steps: Vec<f64> =
        cell.rows.iter().map(|row| row.steps_to(threshold).unwrap_or(f64::INFINITY)).collect();
    steps.sort_by(f64::total_cmp);
    let reached = steps.iter().filter(|steps| steps.is_finite()).count();
    let median = f64::midpoint(steps[(steps.len() - 1) / 2], steps[steps.len() / 2]);
    (reached, Some(median).filter(|median| median.is_finite()))
}

/// 0.01 as 1%.
pub(crate) fn percent(share: f64) -> String {
    format!("{}%", (share * 1e8).round() / 1e6)
}

/// With a minus sign that is one.
pub(super) fn signed(value: f64) -> String {
    match format!("{value:.3}").as_str() {
        "-0.000" => "0.000".to_owned(),
        text => text.replace('-', "−"),
    }
}

fn with_interval(mean: f64, interval: Option<(f64, f64)>) -> String {
    match interval {
        Some((low, high)) => format!("{} [{}, {}]", signed(mean), signed(low), signed(high)),
        None => signed(mean),
    }
}

fn markdown(results: &Results, threshold: f64) -> Result<String> {
    let mut out = "Stepwise ground-truth return of the kept policy: mean over seeds and its 95% interval. *Stopped early* \
                   is the evaluation at which the overseen episodes of training paid most; *best* is that of the \
                   ground truth, a bound on any stopping.\n\n"
        .to_owned();
    out += &cells_table(results, threshold)?;
    if let Some(versus) = differences_table(results)? {
        let what = "Routing minus each other method: final return, difference of means and its 95% interval.";
        write!(out, "\n{what}\n\n{versus}\n{}.\n", leaders(results))?;
    }
    Ok(out)
}

/// The head of a Markdown table, with its line.
pub(super) fn head(out: &mut String, first: &[&str], names: &[&str]) -> Result<()> {
    let columns: Vec<&str> = first.iter().chain(names).copied().collect();
    writeln!(out, "| {} |", columns.join(" | "))?;
    writeln!(out, "|{}", "---|".repeat(columns.len()))?;
    Ok(())
}

/// A line a method and level, as Markdown.
pub(super) fn cells_table(results: &Results, threshold: f64) -> Result<String> {
    let mut out = String::new();
    writeln!(
        out,
        "| method | oversight | seeds | final | stopped early | best | reached {threshold} | steps until then |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|")?;
    for cell in results.cells() {
        let (reached, median) = steps(&cell, threshold);
        let median = median.map_or_else(|| "–".to_owned(), |median| format!("{:.2}M", median / 1e6));
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {reached} of {} | {median} |",
            cell.arm.label(),
            percent(cell.oversight_prob),
            cell.rows.len(),
            mean_and_interval(&cell.last()),
            mean_and_interval(&cell.stopped()),
            mean_and_interval(&cell.best()),
            cell.rows.len(),
        )?;
    }
    Ok(out)
}

/// Routing against each other method, a line a level, as Markdown; nothing where there is no other method.
pub(super) fn differences_table(results: &Results) -> Result<Option<String>> {
    let versus = routing_minus(results);
    if versus.is_empty() {
        return Ok(None);
    }
    let mut others: Vec<&String> = Vec::new();
    for (_, other, _) in &versus {
        if !others.contains(&other) {
            others.push(other);
        }
    }
    let mut out = String::new();
    let names: Vec<&str> = others.iter().map(|name| name.as_str()).collect();
    writeln!(out, "| oversight | {} |", names.join(" | "))?;
    writeln!(out, "|---|{}", "---|".repeat(others.len()))?;
    for level in &results.levels {
        let entry = |name: &String| {
            let found = versus.iter().find(|(at, other, _)| at.total_cmp(level).is_eq() && other == name);
            found.map_or_else(String::new, |(_, _, (distance, interval))| with_interval(*distance, *interval))
        };
        let entries: Vec<String> = others.iter().map(|name| entry(name)).collect();
        writeln!(out, "| {} | {} |", percent(*level), entries.join(" | "))?;
    }
    Ok(Some(out))
}

/// The mean of finite values and its 95% interval; empty without any.
pub(super) fn mean_and_interval(values: &[f64]) -> String {
    Spread::of(values).map_or_else(String::new, |spread| with_interval(spread.mean, spread.interval()))
}

/// Which method leads at which levels, such as `Highest mean: routing at 0.1%, 0.3%; naive at 1%`.
pub(crate) fn leaders(results: &Results) -> String {
    let mut spans: Vec<(String, Vec<String>)> = Vec::new();
    for (level, arm) in results.leaders() {
        match spans.last_mut().filter(|(label, _)| *label == arm.label()) {
            Some((_, levels)) => levels.push(percent(level)),
            None => spans.push((arm.label(), vec![percent(level)])),
        }
    }
    let spans: Vec<String> =
        spans.iter().map(|(label, levels)| format!("{label} at {}", levels.join(", "))).collect();
    format!("Highest mean{}: {}", results.about_oracle(" without the oracle's labels"), spans.join("; "))
}
