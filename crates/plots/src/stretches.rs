//! Where lines lie on the sheet: each is its stretches between gaps.

use crate::canvas::{Point, Rect};
use crate::ticks::Axis;

/// The stretches of a line between its gaps, on the sheet.
pub(crate) fn runs(x: &[f64], y: &[f64], x_axis: &Axis, y_axis: &Axis, area: &Rect) -> Vec<Vec<Point>> {
    let point = |(x, y): (&f64, &f64)| {
        let (x, y) = (x_axis.position(*x)?, y_axis.position(*y)?);
        // far outside the axes all heights are alike, and the way there stays short
        Some((area.left + x * area.width(), area.bottom - y.clamp(-15.0, 16.0) * area.height()))
    };
    let points: Vec<Option<Point>> = x.iter().zip(y).map(point).collect();
    let stretches = points.split(Option::is_none).filter(|stretch| !stretch.is_empty());
    stretches.map(|stretch| stretch.iter().copied().flatten().collect()).collect()
}

/// Points all along the lines, near enough to each other that no label slips in between.
pub(crate) fn trace(runs: &[Vec<Point>]) -> Vec<Point> {
    const STEP: f64 = 8.0;
    let mut points: Vec<Point> = runs.iter().filter_map(|run| run.first()).copied().collect();
    for pair in runs.iter().flat_map(|run| run.windows(2)) {
        let (dx, dy) = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
        let pieces = (dx.hypot(dy) / STEP).ceil().max(1.0) as u32;
        points.extend((1..=pieces).map(|piece| {
            let share = f64::from(piece) / f64::from(pieces);
            (pair[0].0 + share * dx, pair[0].1 + share * dy)
        }));
    }
    points
}

/// The last point of a line, if it has any.
pub(crate) fn end_of(runs: &[Vec<Point>]) -> Option<Point> {
    runs.last()?.last().copied()
}

/// Whether a line that ends at `end` goes on to the right end of the axes.
pub(crate) fn reaches_end(area: &Rect, end: Point) -> bool {
    end.0 > area.right - 0.03 * area.width()
}

/// Whether a series is several points without a line between any two of them.
pub(crate) fn are_apart(runs: &[Vec<Point>]) -> bool {
    runs.len() > 1 && runs.iter().all(|run| run.len() == 1)
}

/// Whether a point lies within the axes or on their edge.
pub(crate) fn holds(area: &Rect, (x, y): Point) -> bool {
    let area = area.grown(0.5);
    (area.left..=area.right).contains(&x) && (area.top..=area.bottom).contains(&y)
}

/// Whether anything of a line is to be seen within the axes.
pub(crate) fn is_seen(area: &Rect, runs: &[Vec<Point>]) -> bool {
    trace(runs).into_iter().any(|point| holds(area, point))
}
