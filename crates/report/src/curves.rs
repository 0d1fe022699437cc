//! Metrics as lines: one a run, or the mean of the seeds with their range.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use experiment::{Overview, Record, read_metrics};

/// No line has more points: more are not seen on a screen.
const MOST_POINTS: usize = 160;

/// A line to be drawn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub label: String,
    pub points: Vec<Point>,
}

/// A point of a line, with the lowest and highest of the seeds where there are several.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub x: f64,
    pub y: f64,
    pub range: Option<(f64, f64)>,
}

/// The metrics of a run; none yet where it has not written any.
pub(crate) fn records(run: &Overview) -> Result<Vec<Record>> {
    let path = run.path.join("metrics.jsonl");
    if Path::new(&path).exists() { Ok(read_metrics(&path)?) } else { Ok(Vec::new()) }
}

/// The names of all metrics, in the order of the alphabet.
pub(crate) fn names(runs: &[&[Record]]) -> Vec<String> {
    let names: BTreeSet<&String> =
        runs.iter().flat_map(|run| run.iter()).flat_map(|record| record.values.keys()).collect();
    names.into_iter().cloned().collect()
}

/// A metric of seeds of one experiment: the mean over those that have come so far, as far as all of them have. Of parts
/// that are trained one after another, each counts its own steps.
pub(crate) fn line(label: &str, runs: &[&[Record]], metric: &str) -> Option<Line> {
    let mut at: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    let mut having = 0;
    for run in runs {
        let begun = begun(run, metric);
        let values = run
            .iter()
            .filter_map(|record| Some((record.step.saturating_sub(begun), *record.values.get(metric)?)));
        let values: BTreeMap<u64, f64> = values.filter(|(_, value)| value.is_finite()).collect();
        having += usize::from(!values.is_empty());
        for (step, value) in values {
            at.entry(step).or_default().push(value);
        }
    }
    let whole = at.into_iter().filter(|(_, values)| values.len() == having);
    let points: Vec<Point> = whole.map(|(step, values)| point(step as f64, &values)).collect();
    (!points.is_empty()).then(|| Line { label: label.to_owned(), points: thinned(points) })
}

/// The step after which the part begins that a metric belongs to; 0 for what belongs to none.
fn begun(run: &[Record], metric: &str) -> u64 {
    let (family, part) = family(metric);
    let Some(part) = part.filter(|_| family.starts_with('…')) else { return 0 };
    let of_part = |key: &String| key.strip_prefix(&part).is_some_and(|rest| rest.starts_with('/'));
    let first = run.iter().position(|record| record.values.keys().any(of_part)).unwrap_or(0);
    first.checked_sub(1).map_or(0, |before| run[before].step)
}

/// The mean of values with their range.
pub(crate) fn point(x: f64, values: &[f64]) -> Point {
    let y = values.iter().sum::<f64>() / values.len() as f64;
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Point { x, y, range: (values.len() > 1).then_some((low, high)) }
}

/// At most [`MOST_POINTS`] of them at even distances, the last among them.
fn thinned(points: Vec<Point>) -> Vec<Point> {
    let stride = points.len().div_ceil(MOST_POINTS).max(1);
    let last = points.len().saturating_sub(1);
    let kept = points.into_iter().enumerate().filter(|(index, _)| (last - index).is_multiple_of(stride));
    kept.map(|(_, point)| point).collect()
}

/// Metrics that belong into one picture: those that differ in one part of their names, which is what the lines are
/// called; a metric of its own has no such part.
pub(crate) fn family(metric: &str) -> (String, Option<String>) {
    let parts: Vec<&str> = metric.split('/').collect();
    match parts.as_slice() {
        ["eval", name, rest @ ..] if !rest.is_empty() => {
            (format!("eval/…/{}", rest.join("/")), Some((*name).to_owned()))
        }
        [name, rest @ ..] if rest.len() > 1 => (format!("…/{}", rest.join("/")), Some((*name).to_owned())),
        _ => (metric.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(values: &[(u64, f64)]) -> Vec<Record> {
        let record = |(step, value): &(u64, f64)| Record {
            step: *step,
            update: *step,
            values: [("a".to_owned(), *value)].into(),
        };
        values.iter().map(record).collect()
    }

    #[test]
    fn seeds_are_averaged_as_far_as_all_of_them_are() {
        let (one, other) =
            (run(&[(0, 1.0), (8, 2.0), (16, 9.0)]), run(&[(0, 3.0), (8, f64::NAN), (16, 1.0)]));
        let found = line("x", &[&one, &other, &[]], "a").unwrap();
        let point = |x, y, range| Point { x, y, range: Some(range) };
        assert_eq!(found.points, [point(0.0, 2.0, (1.0, 3.0)), point(16.0, 5.0, (1.0, 9.0))]);
        assert_eq!(line("x", &[&one], "a").unwrap().points[1], Point { x: 8.0, y: 2.0, range: None });
        assert_eq!(line("x", &[&one], "b"), None);
    }

    #[test]
    fn parts_that_come_one_after_another_begin_at_the_same_place() {
        let record =
            |step, name: &str| Record { step, update: step, values: [(name.to_owned(), 1.0)].into() };
        let run = [
            record(8, "base/losses/train"),
            record(16, "base/eval/forget"),
            record(24, "era/losses/train"),
            record(32, "era/eval/forget"),
        ];
        for part in ["base", "era"] {
            let found = line(part, &[&run], &format!("{part}/eval/forget")).unwrap();
            assert_eq!(found.points, [Point { x: 16.0, y: 1.0, range: None }], "{part}");
        }
    }

    #[test]
    fn a_long_line_is_thinned_and_keeps_its_end() {
        let long: Vec<(u64, f64)> = (0..10_001).map(|step| (step, 1.0)).collect();
        let points = line("x", &[&run(&long)], "a").unwrap().points;
        assert!(points.len() <= MOST_POINTS + 1 && points.len() > MOST_POINTS / 2, "{}", points.len());
        assert!((points[points.len() - 1].x - 10_000.0).abs() < 1e-9);
    }

    #[test]
    fn metrics_of_one_kind_share_a_picture() {
        let of = |metric| family(metric).1;
        assert_eq!(family("eval/ghost/return").0, family("eval/diamond/return").0);
        assert_eq!(of("eval/ghost/return").as_deref(), Some("ghost"));
        assert_eq!(of("era/losses/train").as_deref(), Some("era"));
        assert_eq!((of("losses/entropy"), of("eval/factor")), (None, None));
    }
}
