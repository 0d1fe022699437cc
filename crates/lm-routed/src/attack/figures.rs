//! The pictures of an attack.

use plots::{Colour, Figure, Panel, ReferenceLine, Scale, Series};

use super::measures::TIMES;
use super::{AttackResult, Attacked, Measure};
use crate::methods::Method;

/// The loss on the concept while it is taught back, a panel for each number of documents.
pub(super) fn curves(results: &[AttackResult]) -> Figure {
    let counts: Vec<usize> = results.first().map_or_else(Vec::new, |result| result.settings.stories.clone());
    let panel = |index: usize, count: usize, how: &str, of: fn(&AttackResult) -> &[Attacked]| {
        let series = results.iter().filter_map(|result| {
            let attacked = of(result).get(index)?;
            Some(Series {
                label: result.model.clone(),
                x: attacked.steps.iter().map(|step| *step as f64).collect(),
                y: attacked.curve.clone(),
                band: None,
                whiskers: None,
                colour: colour(&result.model),
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
        y_scale: Scale::Linear,
        panels: full.chain(low_rank.filter(|panel| !panel.series.is_empty())).collect(),
    }
}

/// The steps that it takes until the loss that the model which never saw the concept comes down to, as a multiple of its
/// own steps: a line a model against the number of documents; nothing where none comes down there.
pub(crate) fn steps(measures: &[Measure]) -> Option<Figure> {
    let panel = |title: &str, by: &str| {
        let mut series: Vec<Series> = Vec::new();
        for measure in measures {
            let Measure { model, what, value, .. } = measure;
            let stories =
                what.strip_prefix(by).and_then(|rest| rest.strip_suffix(TIMES)?.trim().parse().ok());
            let Some(stories) = stories else { continue };
            let row = measure.row();
            if let Some(of_model) = series.iter_mut().find(|series| series.label == row) {
                of_model.x.push(stories);
                of_model.y.push(*value);
            } else {
                series.push(Series {
                    label: row,
                    x: vec![stories],
                    y: vec![*value],
                    band: None,
                    whiskers: None,
                    colour: colour(model),
                    dash: model.contains('-'),
                });
            }
        }
        Panel {
            title: title.to_owned(),
            y_label: "times the steps".to_owned(),
            series,
            reference_lines: vec![ReferenceLine { label: "never trained".to_owned(), y: 1.0 }],
            y_range: None,
        }
    };
    let panels = [panel("All weights", "relearned"), panel("Low-rank matrices alone (LoRA)", "LoRA")];
    let panels: Vec<Panel> = panels.into_iter().filter(|panel| !panel.series.is_empty()).collect();
    (!panels.is_empty()).then(|| Figure {
        title: "How long the concept takes to come back".to_owned(),
        subtitle: "steps to the loss that the never trained model is taught to, as a multiple of its own; no point: never"
            .to_owned(),
        x_label: "stories with the concept".to_owned(),
        x_scale: Scale::Log,
        y_scale: Scale::Linear,
        panels,
    })
}

/// That of a model's method.
fn colour(model: &str) -> Colour {
    let method = Method::all().find(|method| model.split('-').next() == Some(method.files));
    method.map_or(Colour::Black, |method| method.colour)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_a_line_over_the_numbers_of_stories_where_it_came_down() {
        let measure = |model: &str, what: &str, value| {
            let (model, what) = (model.to_owned(), what.to_owned());
            Measure { concept: None, model, what, value, anchor: None, standard_error: None }
        };
        let measures = [
            measure("era", "relearned 4", 2.0),
            measure("era", "relearned 4 times the steps", 0.5),
            measure("pure", "relearned 4 times the steps", 1.0),
            measure("era", "relearned 64 times the steps", 0.25),
        ];
        let figure = steps(&measures).unwrap();
        let lines: Vec<_> = figure.panels[0]
            .series
            .iter()
            .map(|line| (line.label.as_str(), &line.x[..], &line.y[..]))
            .collect();
        assert_eq!(figure.panels.len(), 1);
        let expected = [
            ("era", [4.0, 64.0].as_slice(), [0.5, 0.25].as_slice()),
            ("pure", [4.0].as_slice(), [1.0].as_slice()),
        ];
        assert_eq!(lines, expected);
        assert!(steps(&measures[..1]).is_none());
    }
}
