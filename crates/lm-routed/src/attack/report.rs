//! The tables and the picture of an attack.

use std::path::{Path, PathBuf};

use anyhow::Result;
use experiment::write_atomic;
use plots::{Figure, Panel, Scale, Series};

use super::{AttackResult, Attacked};
use crate::methods::Method;
use crate::report::Table;

/// The model that never saw the concept.
const ANCHOR: &str = "pure";

/// Writes `attack.csv`, `attack.md` and `attack.png`, and returns the table and the paths.
pub(super) fn write(results: &[AttackResult], into: &Path) -> Result<String> {
    let table = table(results);
    let (csv, markdown, picture) = (into.join("attack.csv"), into.join("attack.md"), into.join("attack.png"));
    write_atomic(&csv, table.csv().as_bytes())?;
    write_atomic(&markdown, table.markdown().as_bytes())?;
    figure(results).write_png(&picture)?;
    let files: Vec<PathBuf> = vec![csv, markdown, picture];
    let anchor = results.iter().any(|result| result.model == ANCHOR);
    let note = if anchor {
        "steps: until the loss that the model `pure`, which never saw the concept, comes down to in as many\n"
    } else {
        "no steps: the run has no model `pure`, which never saw the concept, to compare with\n"
    };
    Ok(format!("{}\n{note}\n{}", table.text(), experiment::lines(&files)))
}

/// A row a model: the loss on the concept before and after each attack, and how fast it came back.
fn table(results: &[AttackResult]) -> Table {
    let mut table = Table::new(&["model", "before", "other stories"]);
    let Some(first) = results.first() else { return table };
    for attacked in &first.relearned {
        table.head.extend([format!("relearned {}", attacked.stories), "steps".to_owned()]);
    }
    table.head.extend(first.taught_others.iter().map(|taught| format!("from {} others", taught.stories)));
    table.head.extend(first.quantised.iter().map(|(bits, _)| format!("{bits} bits")));
    table.head.extend(first.pruned.iter().map(|(share, _)| format!("{:.0}% pruned", 100.0 * share)));
    table.head.extend(first.probes.iter().map(|(depth, _)| format!("probe {depth}")));
    let anchor = results.iter().find(|result| result.model == ANCHOR);
    for result in results {
        let mut row = vec![result.model.clone(), loss(result.before.forget), loss(result.before.retain)];
        for (index, attacked) in result.relearned.iter().enumerate() {
            let aim = anchor.and_then(|anchor| anchor.relearned.get(index)).map(|anchor| anchor.lowest);
            row.extend([loss(attacked.lowest), steps_until(attacked, aim)]);
        }
        row.extend(result.taught_others.iter().map(|taught| loss(taught.lowest)));
        row.extend(result.quantised.iter().map(|(_, losses)| loss(losses.forget)));
        row.extend(result.pruned.iter().map(|(_, losses)| loss(losses.forget)));
        row.extend(result.probes.iter().map(|(_, area)| format!("{area:.3}")));
        table.rows.push(row);
    }
    table
}

fn loss(value: f64) -> String {
    format!("{value:.3}")
}

/// The first step at which the loss is as low as the anchor's lowest.
fn steps_until(attacked: &Attacked, aim: Option<f64>) -> String {
    let Some(aim) = aim else { return "-".to_owned() };
    let reached = attacked.steps.iter().zip(&attacked.curve).find(|(_, loss)| **loss <= aim);
    reached.map_or_else(|| "never".to_owned(), |(step, _)| step.to_string())
}

/// The loss on the concept while it is taught back, a panel for each number of documents.
fn figure(results: &[AttackResult]) -> Figure {
    let counts: Vec<usize> = results.first().map_or_else(Vec::new, |result| result.settings.stories.clone());
    let panels = counts.iter().enumerate().map(|(index, count)| {
        let series = results.iter().filter_map(|result| {
            let attacked = result.relearned.get(index)?;
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
        let stories = if *count == 1 { "story" } else { "stories" };
        Panel {
            title: format!("Taught from {count} {stories}"),
            y_label: "loss (nats per token)".to_owned(),
            series: series.collect(),
            reference_lines: Vec::new(),
            y_range: None,
        }
    });
    Figure {
        title: "Teaching the concept back".to_owned(),
        subtitle: "validation loss on the concept, at the attacker's best learning rate".to_owned(),
        x_label: "steps".to_owned(),
        x_scale: Scale::Linear,
        panels: panels.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_are_those_until_the_anchors_loss() {
        let curve = vec![3.0, 2.5, 2.1, 2.2];
        let attacked =
            Attacked { stories: 4, learning_rate: 1e-3, lowest: 2.1, steps: vec![0, 4, 8, 12], curve };
        assert_eq!(steps_until(&attacked, Some(2.5)), "4");
        assert_eq!(steps_until(&attacked, Some(2.0)), "never");
        assert_eq!(steps_until(&attacked, None), "-");
    }
}
