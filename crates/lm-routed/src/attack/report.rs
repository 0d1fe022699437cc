//! What an attack leaves for its reader.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use experiment::write_atomic;

use super::measures::{self, BaseCurves};
use super::{ANCHOR, AttackResult, figures, tables};

/// A line a number, for whoever reads a run; its tables are made of the same.
pub(super) const LINES: &str = "attack.jsonl";

/// Writes the numbers as `attack.jsonl` and `attack.csv`, `attack.md` and pictures, and returns the tables and the
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
    figures::curves(results).write_png(&files[3])?;
    let mut files = files.to_vec();
    if let Some(figure) = figures::steps(&measures) {
        files.push(into.join("attack_steps.png"));
        figure.write_png(&into.join("attack_steps.png"))?;
    }
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
                    "no compute ratio, {kind}: the base model was not measured on these documents four times (eval.every, \
                     eval.by_concept)"
                )
                .ok();
            }
        }
    }
    notes
}
