//! The pictures of each experiment.

use std::collections::{BTreeMap, BTreeSet};

use ::plots::{BarChart, BarPanel, BarSeries, Colour, Figure, Panel, Scale, Series};
use experiment::Record;

use super::tables::stage_names;
use crate::evaluate::Losses;
use crate::localise::LocaliseResult;
use crate::methods::{Method, percent};
use crate::results::PartResult;
use crate::steer::SteerResult;

pub(crate) fn label(result: &PartResult) -> String {
    let title = result.method.title;
    if result.labelled < 1.0 && result.method.needs_labels {
        return format!("{title}, {}% labelled", percent(result.labelled));
    }
    title.to_owned()
}

/// The parts on all labels; where there are none, all.
fn fully_labelled(results: &[PartResult]) -> Vec<&PartResult> {
    let full: Vec<&PartResult> =
        results.iter().filter(|r| r.labelled >= 1.0 || !r.method.needs_labels).collect();
    if full.iter().any(|result| result.method.needs_labels) { full } else { results.iter().collect() }
}

/// What a figure of [`fully_labelled`] leaves out, if anything, as the beginning of a subtitle.
fn whose_labels(results: &[PartResult]) -> &'static str {
    let shown = fully_labelled(results);
    if shown.len() < results.len() { "with all labels; " } else { "" }
}

/// Forget and retain loss of the methods at every stage, as bars.
pub(crate) fn losses(results: &[PartResult], stories: &[usize]) -> BarChart {
    let labels = whose_labels(results);
    let results = fully_labelled(results);
    let panel = |title: &str, of: fn(&Losses) -> f64| {
        let series = results.iter().map(|result| {
            let mut stages = vec![result.trained, result.ablated, result.coherent];
            for count in stories {
                stages
                    .push(result.relearned_from(*count).map_or(result.coherent, |relearned| relearned.best));
            }
            let values = stages.iter().map(of).collect();
            BarSeries { label: label(result), colour: result.method.colour, values, interval: None }
        });
        let series: Vec<BarSeries> = series.collect();
        let all = || series.iter().flat_map(|series| &series.values).copied();
        // from a little below the lowest: what is compared are differences
        let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
        let room = 0.15 * (high - low).max(0.05);
        BarPanel {
            title: title.to_owned(),
            y_label: "validation loss (nats per token)".to_owned(),
            groups: stage_names(stories),
            y_range: Some((low - room, high + room)),
            series,
            reference_lines: Vec::new(),
        }
    };
    BarChart {
        title: "What is left of the concept".to_owned(),
        subtitle: format!(
            "{labels}relearned N: the lowest loss after fine-tuning on N stories with the concept; axes do not begin at 0"
        ),
        panels: vec![
            panel("Stories with the concept (to be forgotten)", |losses| losses.forget),
            panel("Other stories (to be retained)", |losses| losses.retain),
        ],
    }
}

fn line(result: &PartResult, label: String, x: Vec<f64>, y: Vec<f64>) -> Series {
    Series { label, x, y, band: None, whiskers: None, colour: result.method.colour, dash: false }
}

fn panel(title: String, series: Vec<Series>) -> Panel {
    let y_label = "loss (nats per token)".to_owned();
    Panel { title, y_label, series, reference_lines: Vec::new(), y_range: None }
}

/// The forget loss while the concept is taught back, one panel for each number of stories.
pub(crate) fn relearning(results: &[PartResult], stories: &[usize]) -> Option<Figure> {
    let labels = whose_labels(results);
    let results = fully_labelled(results);
    let panels: Vec<Panel> = stories
        .iter()
        .map(|count| {
            let series = results.iter().filter_map(|result| {
                let relearned = result.relearned_from(*count)?;
                let x = relearned.steps.iter().map(|step| *step as f64).collect();
                Some(line(result, label(result), x, relearned.curve.clone()))
            });
            let stories = if *count == 1 { "story" } else { "stories" };
            panel(format!("On {count} {stories} with the concept"), series.collect())
        })
        .filter(|panel| !panel.series.is_empty())
        .collect();
    (!panels.is_empty()).then(|| Figure {
        title: "Teaching the concept back".to_owned(),
        subtitle: format!("{labels}validation loss on stories with the concept, mean over the repeats"),
        x_label: "steps".to_owned(),
        x_scale: Scale::Linear,
        y_scale: Scale::Linear,
        panels,
    })
}

/// The lowest forget loss against the number of stories.
pub(crate) fn relearned(results: &[PartResult]) -> Option<Figure> {
    let labels = whose_labels(results);
    let results = fully_labelled(results);
    let series: Vec<Series> = results
        .iter()
        .filter(|result| result.relearned.len() > 1)
        .map(|result| {
            let x = result.relearned.iter().map(|relearned| relearned.stories as f64).collect();
            let y = result.relearned.iter().map(|relearned| relearned.best.forget).collect();
            line(result, label(result), x, y)
        })
        .collect();
    (!series.is_empty()).then(|| Figure {
        title: "How much it takes to teach the concept back".to_owned(),
        subtitle: format!("{labels}the lowest validation loss on stories with the concept"),
        x_label: "stories with the concept".to_owned(),
        x_scale: Scale::Log,
        y_scale: Scale::Linear,
        panels: vec![panel(String::new(), series)],
    })
}

/// The losses against the labelled share, where there are several.
pub(crate) fn labelled(results: &[PartResult]) -> Option<Figure> {
    let mut by_method: BTreeMap<Method, Vec<&PartResult>> = BTreeMap::new();
    for result in results {
        by_method.entry(result.method).or_default().push(result);
    }
    if by_method.values().all(|results| results.len() < 2) {
        return None;
    }
    let shares: Vec<f64> = results.iter().map(|result| result.labelled).collect();
    let (low, high) =
        (shares.iter().copied().fold(1.0, f64::min), shares.iter().copied().fold(0.0, f64::max));
    let draw = |title: &str, of: &dyn Fn(&PartResult) -> f64| {
        let series = by_method.values().map(|results| {
            let mut results = results.clone();
            results.sort_by(|a, b| a.labelled.total_cmp(&b.labelled));
            let (mut x, mut y): (Vec<f64>, Vec<f64>) =
                results.iter().map(|result| (100.0 * result.labelled, of(result))).unzip();
            if let (false, [only]) = (results[0].method.needs_labels, y.as_slice()) {
                // the same at every share
                (x, y) = (vec![100.0 * low, 100.0 * high], vec![*only; 2]);
            }
            line(results[0], results[0].method.title.to_owned(), x, y)
        });
        panel(title.to_owned(), series.collect())
    };
    let last =
        |result: &PartResult| result.relearned.last().map_or(result.coherent, |relearned| relearned.best);
    Some(Figure {
        title: "Loss against the labelled share".to_owned(),
        subtitle: String::new(),
        x_label: "labelled stories with the concept (%)".to_owned(),
        x_scale: Scale::Linear,
        y_scale: Scale::Linear,
        panels: vec![
            draw("Forget loss, coherent", &|result| result.coherent.forget),
            draw("Forget loss, relearned", &|result| last(result).forget),
            draw("Retain loss, coherent", &|result| result.coherent.retain),
        ],
    })
}

/// Lines of models that are no methods with a colour of their own.
const OTHERS: [Colour; 4] = [Colour::Vermillion, Colour::Purple, Colour::Orange, Colour::Sky];

/// The validation losses while the models were trained.
pub(super) fn training(records: &[Record]) -> Option<Figure> {
    let mut curves: BTreeMap<(String, String), (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    let mut starts: BTreeMap<String, u64> = BTreeMap::new();
    for record in records {
        for (key, value) in &record.values {
            let Some((part, what)) = key.split_once('/') else { continue };
            if what == "losses/train" {
                starts.entry(part.to_owned()).or_insert(record.update.saturating_sub(1));
            }
            if let Some(kind) = what.strip_prefix("eval/") {
                let step = record.update.saturating_sub(starts.get(part).copied().unwrap_or(0));
                let (x, y) = curves.entry((kind.to_owned(), part.to_owned())).or_default();
                x.push(step as f64);
                y.push(*value);
            }
        }
    }
    let method_of = |part: &str| Method::all().find(|method| part.split('-').next() == Some(method.files));
    // models of `adapt`, which are no methods of this table
    let others: BTreeSet<&str> =
        curves.keys().map(|(_, part)| part.as_str()).filter(|part| method_of(part).is_none()).collect();
    let panels =
        [(["forget", "behaviour"], "Stories with the concept"), (["retain", "other"], "Other stories")].map(
            |(kinds, title)| {
                let of_kind = curves.iter().filter(|((kind, _), _)| kinds.contains(&kind.as_str()));
                let series = of_kind.map(|((_, part), (x, y))| {
                    let method = method_of(part);
                    let place = others.iter().position(|other| other == part).unwrap_or(0);
                    Series {
                        label: method.map_or_else(|| part.clone(), |method| titled(method, part)),
                        x: x.clone(),
                        y: y.clone(),
                        band: None,
                        whiskers: None,
                        colour: method.map_or(OTHERS[place % OTHERS.len()], |method| method.colour),
                        dash: part.contains('-'),
                    }
                });
                panel(title.to_owned(), series.collect())
            },
        );
    (!curves.is_empty()).then(|| Figure {
        title: "Validation loss while training".to_owned(),
        subtitle: String::new(),
        x_label: "steps".to_owned(),
        x_scale: Scale::Linear,
        y_scale: Scale::Linear,
        panels: panels.into(),
    })
}

/// A part's name in figures: its method's title, as everywhere, with the labelled share that its own name ends on.
fn titled(method: Method, part: &str) -> String {
    match part.split_once("-p") {
        Some((_, share)) => format!("{}, {share}% labelled", method.title),
        None => method.title.to_owned(),
    }
}

/// How often the token comes, by push.
pub(super) fn pushes(result: &SteerResult) -> BarChart {
    // the pictures' font has no ␣
    let token = result.token.replace('␣', "");
    let group = |strength: f32| match strength {
        0.0 => "no push".to_owned(),
        up if up > 0.0 => format!("+{up}, towards it"),
        down => format!("−{}, away from it", down.abs()),
    };
    let groups = result.pushes.iter().map(|push| group(push.strength)).collect();
    let series = |label: String, colour, values| BarSeries { label, colour, values, interval: None };
    let per_1000 = |of: &dyn Fn(&crate::steer::Push) -> f64| -> Vec<f64> {
        result.pushes.iter().map(|push| 1000.0 * of(push)).collect()
    };
    BarChart {
        title: format!("Pushing along the axis of “{token}”"),
        subtitle: String::new(),
        panels: vec![BarPanel {
            title: String::new(),
            y_label: "in 1,000 generated tokens".to_owned(),
            groups,
            series: vec![
                series(format!("“{token}”"), Colour::Blue, per_1000(&|push| push.frequency)),
                series(
                    "any word of the concept".to_owned(),
                    Colour::Green,
                    per_1000(&|push| push.concept_frequency),
                ),
            ],
            reference_lines: Vec::new(),
            y_range: None,
        }],
    }
}

/// By how much the loss of documents with the listed words rises, over all tokens and without the listed ones.
pub(super) fn localised(result: &LocaliseResult) -> BarChart {
    let stages = [result.ablated, result.coherent, result.relearned];
    let groups =
        vec!["ablated".to_owned(), "made coherent".to_owned(), format!("relearned on {}", result.stories)];
    let trained = result.trained;
    let series = |label: &str, colour, values: Vec<f64>| BarSeries {
        label: label.to_owned(),
        colour,
        values,
        interval: None,
    };
    BarChart {
        title: "The loss without the neurons, less the loss with them".to_owned(),
        subtitle: String::new(),
        panels: vec![BarPanel {
            title: String::new(),
            y_label: "nats per token".to_owned(),
            groups,
            series: vec![
                series(
                    "documents with the words",
                    Colour::Blue,
                    stages.map(|s| s.all.forget - trained.all.forget).to_vec(),
                ),
                series(
                    "the same, without the listed tokens",
                    Colour::Sky,
                    stages.map(|s| s.unlisted.forget - trained.unlisted.forget).to_vec(),
                ),
                series(
                    "other documents",
                    Colour::Grey,
                    stages.map(|s| s.all.retain - trained.all.retain).to_vec(),
                ),
            ],
            reference_lines: Vec::new(),
            y_range: None,
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_has_one_name_in_all_figures() {
        let names = ["base", "era", "era-p50", "demix"];
        let values = names.map(|name| (format!("{name}/eval/forget"), 1.0)).into();
        let figure = training(&[Record { step: 1, update: 1, values }]).unwrap();
        let labels: Vec<&str> = figure.panels[0].series.iter().map(|series| series.label.as_str()).collect();
        assert_eq!(labels, ["base", "DEMix + ablate", "ERA", "ERA, 50% labelled"]);
    }

    #[test]
    fn models_of_adapt_have_lines_and_colours_of_their_own() {
        let values = ["single", "routed", "era"]
            .map(|name| [(format!("{name}/eval/behaviour"), 1.0), (format!("{name}/eval/other"), 2.0)]);
        let values = values.into_iter().flatten().collect();
        let figure = training(&[Record { step: 1, update: 1, values }]).unwrap();
        for (panel, loss) in figure.panels.iter().zip([1.0, 2.0]) {
            assert!(panel.series.iter().all(|series| series.y == [loss]));
            let colours: Vec<Colour> = panel.series.iter().map(|series| series.colour).collect();
            assert_eq!(colours, [Colour::Blue, Colour::Vermillion, Colour::Purple]);
        }
    }
}
