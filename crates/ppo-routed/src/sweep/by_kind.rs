//! Tables of how episodes end, and the figure of methods side by side: for settings with their own kinds and rivals.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use ::plots::{BarChart, BarPanel, Colour};
use anyhow::Result;
use experiment::sweep::Spread;

use super::figures::{bars, over_seeds, reference_lines, returns, setting, y_range};
use super::results::{Cell, Results};
use super::tables::{head, kinds, mean_and_interval, percent};
use crate::PolicySummary;

/// The mean over runs of a share, in whole percent; a dash where the policy has no such kind.
fn share(
    cell: &Cell<'_>,
    policy: impl Fn(&super::results::Row) -> Option<&PolicySummary>,
    kind: &str,
) -> String {
    let has = |summary: &&PolicySummary| summary.shares.contains_key(&format!("share_{kind}"));
    let values =
        cell.rows.iter().filter_map(|row| policy(row).filter(has).map(|summary| summary.share(kind)));
    Spread::of(&values.collect::<Vec<f64>>())
        .map_or_else(|| "–".to_owned(), |spread| format!("{:.0}%", 100.0 * spread.mean))
}

/// How the episodes of each method's kept policy end, a line a method and level: the share of completed episodes that
/// end on each kind, mean over seeds.
pub(super) fn ends(results: &Results) -> Result<String> {
    let (mut out, kinds) = (String::new(), kinds(results));
    head(&mut out, &["method", "oversight", "seeds"], &kinds)?;
    for cell in results.cells() {
        let shares: Vec<String> =
            kinds.iter().map(|kind| share(&cell, |row| Some(row.kept()), kind)).collect();
        let (label, level) = (cell.arm.label(), percent(cell.oversight_prob));
        writeln!(out, "| {label} | {level} | {} | {} |", cell.rows.len(), shares.join(" | "))?;
    }
    Ok(out)
}

/// The final return of each method's kept policy in parts of the episodes, a line a method and level: mean over seeds
/// with its 95% interval. Nothing where no run has parts.
pub(super) fn parts(results: &Results) -> Result<Option<String>> {
    let names: BTreeSet<&str> =
        results.rows.iter().flat_map(|row| row.parts.keys().map(String::as_str)).collect();
    if names.is_empty() {
        return Ok(None);
    }
    let heads: Vec<String> = names.iter().map(|name| name.replace('_', " ")).collect();
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let mut out = String::new();
    head(&mut out, &["method", "oversight", "seeds"], &heads)?;
    for cell in results.cells() {
        let each = names.iter().map(|name| {
            mean_and_interval(&cell.values(|row| row.parts.get(*name).copied().unwrap_or(f64::NAN)))
        });
        let (label, level) = (cell.arm.label(), percent(cell.oversight_prob));
        writeln!(
            out,
            "| {label} | {level} | {} | {} |",
            cell.rows.len(),
            each.collect::<Vec<_>>().join(" | ")
        )?;
    }
    Ok(Some(out))
}

/// Every set of experts of a mixture as a policy of its own: its final return, mean over seeds with its 95% interval,
/// and how its episodes end. Nothing unless the results are one method at one level.
pub(super) fn sets(results: &Results) -> Result<Option<String>> {
    let cells: Vec<Cell<'_>> = results.cells().collect();
    let [cell] = cells.as_slice() else { return Ok(None) };
    let (mut out, kinds) = (String::new(), kinds(results));
    head(&mut out, &["experts kept", "final return"], &kinds)?;
    for (name, _) in &cell.rows[0].summary.policies {
        let returns = cell.values(|row| row.summary.policy(name).map_or(f64::NAN, |policy| policy.last));
        let shares: Vec<String> =
            kinds.iter().map(|kind| share(cell, |row| row.summary.policy(name), kind)).collect();
        let said = if name == "full" { "all" } else { name };
        writeln!(out, "| {said} | {} | {} |", mean_and_interval(&returns), shares.join(" | "))?;
    }
    Ok(Some(out))
}

/// The methods of one level side by side: at the end, where the overseen episodes would have stopped training, and at
/// the best evaluation. Nothing where there are several levels.
pub(super) fn methods(results: &Results) -> Option<BarChart> {
    let [level] = results.levels.as_slice() else { return None };
    let cells: Vec<Cell<'_>> = results.cells().collect();
    let series = |label: &str, colour: Colour, of: &dyn Fn(&Cell<'_>) -> Vec<f64>| {
        let spreads: Vec<Option<Spread>> = cells.iter().map(|cell| Spread::of(&of(cell))).collect();
        bars(label.to_owned(), colour, &spreads)
    };
    Some(BarChart {
        title: format!("Methods side by side at {} oversight", percent(*level)),
        subtitle: format!("{}{}", setting(results), over_seeds(results, ": mean and its 95% interval")),
        panels: vec![BarPanel {
            title: String::new(),
            y_label: returns(results),
            groups: cells.iter().map(|cell| cell.arm.label()).collect(),
            series: vec![
                series("at the end", Colour::Blue, &|cell| cell.last()),
                series(
                    "stopped early, by the overseen episodes (single policies)",
                    Colour::Orange,
                    &|cell| cell.stopped(),
                ),
                series("best evaluation, a bound", Colour::Grey, &|cell| cell.best()),
            ],
            reference_lines: reference_lines(results),
            y_range: Some(y_range(results)),
        }],
    })
}

#[cfg(test)]
mod tests {
    use experiment::sweep::{self, Selection};
    use serde_json::json;

    use super::*;
    use crate::{Config, Method, Ppo};

    fn results(methods: &[Method], levels: &[f64]) -> Results {
        let folder = tempfile::tempdir().unwrap();
        let mut lines = String::new();
        for (method, level, seed) in
            methods.iter().flat_map(|m| levels.iter().flat_map(move |l| [(*m, *l, 1_u64), (*m, *l, 2)]))
        {
            let mut config = Config::default();
            (config.train.method, config.env.oversight_prob) = (method, level);
            let policy = |last: f64, diamond: f64| {
                let stopped = json!({ "update": 1, "return": last + 0.05 });
                json!({ "final": last, "best": last + 0.1, "stopped": stopped, "share_diamond": diamond,
                    "share_ghost": 1.0 - diamond })
            };
            let policies = if method.is_mixture() {
                json!({ "diamond": policy(0.5, 0.75), "ghost": policy(-0.5, 0.25), "full": policy(0.0, 0.5) })
            } else {
                json!({ "full": policy(0.25, 0.625) })
            };
            let line = json!({
                "program": "ppo-routed", "version": "0.1.0", "seed": seed, "config": config,
                "summary": { "method": method, "algo": "ppo", "oversight_prob": level, "seed": seed, "updates": 1,
                    "env_steps": 1, "policies": policies },
                "curves": { format!("eval/{}/in_blind/return", if method.is_mixture() { "diamond" } else { "full" }):
                    [[0, 9.0], [1, 0.2], [2, null], [3, 0.4]] },
            });
            writeln!(lines, "{line}").unwrap();
        }
        let file = folder.path().join("results.jsonl");
        std::fs::write(&file, lines).unwrap();
        Results::new(&sweep::Results::read(&Ppo, &[file], &Selection::default()).unwrap())
    }

    #[test]
    fn ends_are_those_of_the_kept_policy() {
        let table = ends(&results(&[Method::ROUTING, Method::NAIVE], &[0.1])).unwrap();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "| method | oversight | seeds | diamond | ghost |");
        assert_eq!(lines[2], "| routing | 10% | 2 | 75% | 25% |");
        assert_eq!(lines[3], "| naive | 10% | 2 | 62% | 38% |");
    }

    #[test]
    fn parts_are_the_last_evaluations_of_the_kept_policy() {
        let table = parts(&results(&[Method::ROUTING, Method::NAIVE], &[0.1])).unwrap().unwrap();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "| method | oversight | seeds | in blind |");
        assert_eq!(lines[2], "| routing | 10% | 2 | 0.300 [0.300, 0.300] |");
        assert_eq!(lines[3], "| naive | 10% | 2 | 0.300 [0.300, 0.300] |");
    }

    #[test]
    fn sets_are_those_of_one_cell() {
        let table = sets(&results(&[Method::ROUTING], &[0.1])).unwrap().unwrap();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 5);
        assert!(lines[2].starts_with("| diamond | 0.500 [0.500, 0.500] | 75% | 25% |"), "{table}");
        assert!(lines[4].starts_with("| all | 0.000"), "{table}");
        assert_eq!(sets(&results(&[Method::ROUTING, Method::NAIVE], &[0.1])).unwrap(), None);
        assert_eq!(sets(&results(&[Method::ROUTING], &[0.1, 0.3])).unwrap(), None);
    }

    #[test]
    fn bars_say_what_the_trainer_could_have_found() {
        let chart = methods(&results(&[Method::NAIVE], &[0.1])).unwrap();
        let values: Vec<f64> = chart.panels[0].series.iter().map(|series| series.values[0]).collect();
        for (value, expected) in values.iter().zip([0.25, 0.3, 0.35]) {
            assert!((value - expected).abs() < 1e-9, "{values:?}");
        }
        assert!(methods(&results(&[Method::NAIVE], &[0.1, 0.3])).is_none());
    }
}
