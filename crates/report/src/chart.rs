//! A chart as the page's template draws it: every place in pixels, and the numbers for whoever points at it.

use plots::{Axis, Scale, Tick};
use serde::Serialize;

use crate::curves::{Line, Point};

/// Width and height of a chart, and of what is left for the axes' numbers.
const SIZE: (f64, f64) = (640.0, 300.0);
const LEFT: f64 = 56.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 40.0;

/// The lines that colours tell apart; further ones have the same colours dashed.
const COLOURS: usize = 8;

/// Axes with their lines.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Chart {
    pub title: String,
    pub x_label: String,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x_ticks: Vec<Mark>,
    y_ticks: Vec<Mark>,
    lines: Vec<Drawn>,
    /// What a band shows; empty for none.
    shaded: &'static str,
    /// For the script: what is where.
    data: Data,
}

#[derive(Clone, Debug, Serialize)]
struct Mark {
    at: f64,
    label: String,
}

#[derive(Clone, Debug, Serialize)]
struct Drawn {
    label: String,
    colour: usize,
    dash: usize,
    /// The points of the line, as SVG wants them.
    path: String,
    /// The outline of the range; empty for none.
    band: String,
    dots: Vec<(f64, f64)>,
}

/// What the script needs: for each line its name, and the numbers of each point; places stand in the picture.
#[derive(Clone, Debug, Serialize)]
struct Data {
    lines: Vec<Named>,
}

#[derive(Clone, Debug, Serialize)]
struct Named {
    name: String,
    colour: usize,
    x: Vec<f64>,
    y: Vec<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    low: Vec<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    high: Vec<f64>,
}

impl Chart {
    /// Draws lines, of which there is at least one; `shaded` says what their ranges are.
    pub(crate) fn of(title: &str, x_label: &str, lines: &[Line], shaded: &'static str) -> Self {
        let points = || lines.iter().flat_map(|line| &line.points);
        let x = Axis::fit(scale(points()), points().map(|point| point.x), 0.02);
        let y = Axis::fit(Scale::Linear, heights(lines).into_iter(), 0.06);
        let (width, height) = SIZE;
        // from the low to the high end of an axis, in pixels
        let across = |at: f64| tenth(LEFT + at * (width - LEFT - RIGHT));
        let up = |at: f64| tenth(height - BOTTOM - at * (height - TOP - BOTTOM));
        let px = |value: f64| across(x.position(value).unwrap_or(0.0));
        // a range may leave the axis
        let py = |value: f64| up(y.position(value).unwrap_or(0.0).clamp(0.0, 1.0));
        let mark = |at: f64, Tick { label, .. }: Tick| Mark { at, label };
        let x_ticks = x.ticks(6).into_iter();
        let y_ticks = y.ticks(5).into_iter();
        let few = lines.iter().all(|line| line.points.len() <= 12);
        Self {
            title: title.to_owned(),
            x_label: x_label.to_owned(),
            width,
            height,
            left: LEFT,
            right: width - RIGHT,
            top: TOP,
            bottom: height - BOTTOM,
            x_ticks: x_ticks.map(|tick| mark(across(tick.at), tick)).collect(),
            y_ticks: y_ticks.map(|tick| mark(up(tick.at), tick)).collect(),
            shaded: if points().any(|point| point.range.is_some()) { shaded } else { "" },
            lines: lines.iter().enumerate().map(|(index, line)| drawn(index, line, few, &px, &py)).collect(),
            data: Data { lines: lines.iter().enumerate().map(|(index, line)| named(index, line)).collect() },
        }
    }
}

/// What the vertical axis shows: the lines, and their ranges but for what of one lies far outside the lines and the middle
/// range; the interval of two seeds can be many times as high as all others.
fn heights(lines: &[Line]) -> Vec<f64> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let least = points().map(|point| point.y).fold(f64::INFINITY, f64::min);
    let most = points().map(|point| point.y).fold(f64::NEG_INFINITY, f64::max);
    let mut sizes: Vec<f64> =
        points().filter_map(|point| point.range).map(|(low, high)| high - low).collect();
    sizes.sort_by(f64::total_cmp);
    let middle = sizes.get(sizes.len().saturating_sub(1) / 2).copied().unwrap_or(0.0);
    let room = 1.5 * middle.max(most - least);
    let ends = points().flat_map(|point| point.range.map_or([point.y; 2], <[f64; 2]>::from));
    if room > 0.0 { ends.map(|end| end.clamp(least - room, most + room)).collect() } else { ends.collect() }
}

/// Steps lie evenly; values that were chosen over several powers of ten do not.
fn scale<'a>(points: impl Iterator<Item = &'a Point>) -> Scale {
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for Point { x, .. } in points {
        (low, high) = (low.min(*x), high.max(*x));
    }
    if low > 0.0 && high / low > 20.0 && high <= 1.0 { Scale::Log } else { Scale::Linear }
}

fn drawn(index: usize, line: &Line, few: bool, px: &impl Fn(f64) -> f64, py: &impl Fn(f64) -> f64) -> Drawn {
    let place = |x: f64, y: f64| format!("{},{}", px(x), py(y));
    let path: Vec<String> = line.points.iter().map(|point| place(point.x, point.y)).collect();
    let edge = |point: &Point| point.range.unwrap_or((point.y, point.y));
    let upper = line.points.iter().map(|point| place(point.x, edge(point).1));
    let lower = line.points.iter().rev().map(|point| place(point.x, edge(point).0));
    let band: Vec<String> = upper.chain(lower).collect();
    let ranged = line.points.iter().any(|point| point.range.is_some());
    let dots = line.points.iter().map(|point| (px(point.x), py(point.y)));
    Drawn {
        label: line.label.clone(),
        colour: index % COLOURS,
        dash: index / COLOURS % 3,
        path: path.join(" "),
        band: if ranged { band.join(" ") } else { String::new() },
        dots: if few { dots.collect() } else { Vec::new() },
    }
}

fn named(index: usize, line: &Line) -> Named {
    let each = |of: &dyn Fn(&Point) -> f64| line.points.iter().map(of).collect::<Vec<f64>>();
    let ranged = line.points.iter().any(|point| point.range.is_some());
    let edge = |of: &dyn Fn((f64, f64)) -> f64| {
        if ranged { each(&|point| short(of(point.range.unwrap_or((point.y, point.y))))) } else { Vec::new() }
    };
    Named {
        name: line.label.clone(),
        colour: index % COLOURS,
        x: each(&|point| point.x),
        y: each(&|point| short(point.y)),
        low: edge(&|range| range.0),
        high: edge(&|range| range.1),
    }
}

/// Pixels need no more.
fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Four digits that count.
fn short(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wide_range_does_not_flatten_the_lines() {
        let point = |x, y, half| Point { x, y, range: Some((y - half, y + half)) };
        let of = |half| {
            vec![Line { label: "a".to_owned(), points: vec![point(0.0, 0.2, half), point(1.0, 0.8, 0.1)] }]
        };
        assert_eq!(heights(&of(0.2)), [0.0, 0.4, 0.7000000000000001, 0.9]);
        let wide = heights(&[of(5.0), of(0.1), of(0.1)].concat());
        let (least, most) =
            wide.iter().fold((0.0_f64, 0.0_f64), |(low, high), end| (low.min(*end), high.max(*end)));
        assert!((-0.8..=-0.6).contains(&least) && (1.6..=1.8).contains(&most), "{wide:?}");
    }
}
