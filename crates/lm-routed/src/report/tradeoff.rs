//! What forgetting costs.

use std::collections::BTreeMap;

use ::plots::{Figure, Panel, Scale, Series};

use crate::evaluate::Losses;
use crate::methods::Method;
use crate::results::PartResult;

/// The loss on the concept against the retain cost: a method whose concept was labelled by several shares is a line
/// through its points, from the smallest share to the largest; any other is a trail from the model as it was trained, over
/// the ablated one, to the coherent one. Nothing without a base model.
///
/// # Source
/// The trade-off figure of Shilov et al. 2025, arXiv 2512.05648.
pub(crate) fn tradeoff(results: &[PartResult]) -> Option<Figure> {
    let base = results.iter().find(|result| result.method.is_base())?.coherent;
    let mut by_method: BTreeMap<Method, Vec<&PartResult>> = BTreeMap::new();
    for result in results {
        by_method.entry(result.method).or_default().push(result);
    }
    let series = by_method.into_iter().map(|(method, mut results)| {
        results.sort_by(|a, b| a.labelled.total_cmp(&b.labelled));
        let mut points: Vec<Losses> = match results.as_slice() {
            [only] => vec![only.trained, only.ablated, only.coherent],
            several => several.iter().map(|result| result.coherent).collect(),
        };
        points.dedup();
        Series {
            label: method.title.to_owned(),
            x: points.iter().map(|losses| losses.retain - base.retain).collect(),
            y: points.iter().map(|losses| losses.forget).collect(),
            band: None,
            whiskers: None,
            colour: method.colour,
            dash: false,
        }
    });
    let series: Vec<Series> = series.collect();
    (series.len() > 1).then(|| Figure {
        title: "What forgetting costs".to_owned(),
        subtitle: "up is forgotten, left is cheap; a line runs over the labelled shares, or else from the model as trained to \
                   the coherent one; its name stands at the end"
            .to_owned(),
        x_label: "loss on other stories above the base model's (nats per token)".to_owned(),
        x_scale: Scale::Linear,
        y_scale: Scale::Linear,
        panels: vec![Panel {
            title: String::new(),
            y_label: "loss on the concept (nats per token)".to_owned(),
            series,
            reference_lines: Vec::new(),
            y_range: None,
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_runs_over_the_shares_or_over_the_stages() {
        let result = |method: &str, labelled, stages: [(f64, f64); 3]| {
            let [trained, ablated, coherent] = stages.map(|(forget, retain)| Losses { forget, retain });
            let method = Method::named(method).unwrap();
            PartResult {
                method,
                labelled,
                trained,
                ablated,
                coherent,
                relearned: Vec::new(),
                per_story: None,
                routed_tokens: Vec::new(),
                seconds: 0.0,
            }
        };
        let base = result("base", 1.0, [(2.0, 2.0); 3]);
        let era =
            |labelled, cost| result("era", labelled, [(2.0, 2.0), (2.5, 2.4), (2.2 + cost, 2.0 + cost)]);
        let points = |results: &[PartResult]| {
            let series = tradeoff(results).unwrap().panels.remove(0).series;
            let rounded =
                |values: &[f64]| values.iter().map(|v| (v * 100.0).round() as i64).collect::<Vec<_>>();
            series.iter().map(|line| (rounded(&line.x), rounded(&line.y))).collect::<Vec<_>>()
        };
        let one = points(&[base.clone(), era(1.0, 0.25)]);
        assert_eq!(one, [(vec![0], vec![200]), (vec![0, 40, 25], vec![200, 250, 245])]);
        let several = points(&[base.clone(), era(1.0, 0.25), era(0.5, 0.125)]);
        assert_eq!(several[1], (vec![13, 25], vec![233, 245]));
        assert!(tradeoff(&[base]).is_none());
    }
}
