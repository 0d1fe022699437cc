//! The tables and the picture of an attack.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use experiment::write_atomic;
use plots::{Figure, Panel, Scale, Series};

use super::measures::{self, BaseCurves};
use super::{ANCHOR, AttackResult, Attacked, tables};
use crate::methods::Method;

/// A line a number, for whoever reads a run; its tables are made of the same.
pub(super) const LINES: &str = "attack.jsonl";

/// Writes the numbers as `attack.jsonl` and `attack.csv`, `attack.md` and `attack.png`, and returns the tables and the
/// paths.
pub(super) fn write(results: &[AttackResult], curves: &BaseCurves, into: &Path) -> Result<String> {
    let measures = measures::all(results, curves);
    let mut lines = String::new();
    for measure in &measures {
        lines += &serde_json::to_string(measure)?;
        lines.push('\n');
    }
    let [mut markdown, mut text] = [String::new(), String::new()];
    for (heading, table) in tables::all(&measures) {
        write!(markdown, "## {heading}\n\n{}\n", table.markdown())?;
        write!(text, "{heading}\n{}\n", table.text())?;
    }
    let notes = notes(results, curves);
    write!(markdown, "{notes}")?;
    write!(text, "{notes}")?;
    let files = [LINES, "attack.csv", "attack.md", "attack.png"].map(|name| into.join(name));
    for (file, text) in files.iter().zip([&lines, &tables::long(&measures).csv(), &markdown]) {
        write_atomic(file, text.as_bytes())?;
    }
    figure(results).write_png(&files[3])?;
    Ok(format!("{text}\n{}", experiment::lines(&files)))
}

/// What the numbers mean.
fn notes(results: &[AttackResult], curves: &BaseCurves) -> String {
    let mut notes = String::new();
    if results.iter().any(|result| result.model == ANCHOR) {
        notes += "In brackets: above the model `pure`, which never saw the concept. leakage: how far the loss on the concept \
                  lies below that model's. steps: until the loss that it comes down to, and as a multiple of its own.\n";
    } else {
        notes += "No leakage and no steps: the run has no model `pure`, which never saw the concept, to compare with.\n";
    }
    for (kind, curve) in [("forget", &curves.forget), ("retain", &curves.retain)] {
        match curve {
            Some(curve) => {
                let fit = curve.described();
                writeln!(notes, "compute ratio, {kind}: read off the base model's learning curve {fit}").ok();
            }
            None => {
                writeln!(
                    notes,
                    "no compute ratio, {kind}: the base model was measured less than four times (eval.every)"
                )
                .ok();
            }
        }
    }
    notes
}

/// The loss on the concept while it is taught back, a panel for each number of documents.
fn figure(results: &[AttackResult]) -> Figure {
    let counts: Vec<usize> = results.first().map_or_else(Vec::new, |result| result.settings.stories.clone());
    let panel = |index: usize, count: usize, how: &str, of: fn(&AttackResult) -> &[Attacked]| {
        let series = results.iter().filter_map(|result| {
            let attacked = of(result).get(index)?;
            let method = Method::all().find(|method| result.model.split('-').next() == Some(method.files));
            Some(Series {
                label: result.model.clone(),
                x: attacked.steps.iter().map(|step| *step as f64).collect(),
                y: attacked.curve.clone(),
                band: None,
                whiskers: None,
                colour: method.map_or(plots::Colour::Black, |method| method.colour),
                dash: result.model.contains('-'),
            })
        });
        let stories = if count == 1 { "story" } else { "stories" };
        Panel {
            title: format!("Taught from {count} {stories}{how}"),
            y_label: "loss (nats per token)".to_owned(),
            series: series.collect(),
            reference_lines: Vec::new(),
            y_range: None,
        }
    };
    let full = counts.iter().enumerate().map(|(i, count)| panel(i, *count, "", |result| &result.relearned));
    let low_rank = counts.iter().enumerate().next_back().map(|(i, count)| {
        panel(i, *count, ", low-rank matrices alone (LoRA)", |result| &result.relearned_lora)
    });
    Figure {
        title: "Teaching the concept back".to_owned(),
        subtitle: "validation loss on the concept, at the attacker's best learning rate".to_owned(),
        x_label: "steps".to_owned(),
        x_scale: Scale::Linear,
        panels: full.chain(low_rank.filter(|panel| !panel.series.is_empty())).collect(),
    }
}
