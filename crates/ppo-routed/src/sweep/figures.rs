//! The figures of a sweep.

use std::path::{Path, PathBuf};

use ::plots::{
    Band, BarChart, BarPanel, BarSeries, Colour, Figure, Panel, PlotError, ReferenceLine, Scale, Series,
};
use anyhow::Result;
use experiment::sweep::Spread;

use super::keys::{LabelEfficiency, Published};
use super::results::{Arm, Cell, Results};
use super::tables::{leaders, percent, steps};
use crate::{Method, plots};

/// What the returns are made of in the first run.
pub(super) fn returns(results: &Results) -> String {
    let kinds = results.rows.first().map_or(&[][..], |row| &row.planned.config.env.kinds);
    plots::return_label("stepwise return of the kept policy", kinds)
}

/// What is drawn of a run.
#[derive(Clone, Copy)]
enum Measure {
    Final,
    Best,
}

impl Measure {
    fn of(self, cell: &Cell<'_>) -> Vec<f64> {
        match self {
            Self::Final => cell.last(),
            Self::Best => cell.best(),
        }
    }
}

/// What a band shows.
#[derive(Clone, Copy)]
enum Shown {
    Interval,
    Quantiles,
}

/// A picture that is not drawn yet.
pub(super) enum Picture {
    Curves(Figure),
    Bars(BarChart),
}

impl Picture {
    /// Draws it as a PNG.
    pub(super) fn write_png(&self, path: &Path) -> Result<(), PlotError> {
        match self {
            Self::Curves(figure) => figure.write_png(path),
            Self::Bars(chart) => chart.write_png(path),
        }
    }
}

/// The names of all figures of results.
pub(super) const NAMES: [&str; 5] =
    ["return_vs_oversight", "final_and_best", "learning_curves", "steps_to_threshold", "ablation"];

/// The figures of a name, each with its file's; none where the results do not make it. Learning curves have one a
/// level.
pub(super) fn figures(results: &Results, keys: &LabelEfficiency, name: &str) -> Vec<(String, Picture)> {
    let one = |picture: Option<Picture>| picture.map(|picture| (format!("{name}.png"), picture));
    let curves = |level: &f64| {
        (
            format!("learning_curves_p{level}.png"),
            Picture::Curves(learning_curves(results, *level, &keys.published)),
        )
    };
    match name {
        "return_vs_oversight" => one(Some(Picture::Curves(return_vs_oversight(results)))),
        "final_and_best" => one(Some(Picture::Curves(final_and_best(results)))),
        "steps_to_threshold" => one(steps_to_threshold(results, keys.threshold).map(Picture::Curves)),
        "ablation" => one(ablation(results).map(Picture::Bars)),
        "learning_curves" => return results.levels.iter().map(curves).collect(),
        _ => None,
    }
    .into_iter()
    .collect()
}

/// Draws the figures of a sweep into `folder` and returns their paths. There must be a finished run.
///
/// # Errors
/// Fails where a picture cannot be written.
pub(crate) fn draw(results: &Results, keys: &LabelEfficiency, folder: &Path) -> Result<Vec<PathBuf>> {
    experiment::create_folder(folder)?;
    let mut paths = Vec::new();
    for (file, picture) in NAMES.iter().flat_map(|name| figures(results, keys, name)) {
        let path = folder.join(file);
        picture.write_png(&path)?;
        paths.push(path);
    }
    Ok(paths)
}

fn return_vs_oversight(results: &Results) -> Figure {
    let panel = |title: &str, shown| Panel {
        title: title.to_owned(),
        y_label: returns(results),
        series: by_level(results, Measure::Final, shown),
        reference_lines: reference_lines(results),
        y_range: Some(y_range(results)),
    };
    Figure {
        title: "Return against oversight".to_owned(),
        subtitle: format!("{}. {}", setting(results), leaders(results)),
        x_label: OVERSIGHT.to_owned(),
        x_scale: Scale::Log,
        y_scale: Scale::Linear,
        panels: if is_one_seed(results) {
            vec![panel("One seed", Shown::Interval)]
        } else {
            vec![
                panel("Mean over seeds and its 95% interval", Shown::Interval),
                panel("Mean over seeds and the 5–95% range of the seeds", Shown::Quantiles),
            ]
        },
    }
}

fn final_and_best(results: &Results) -> Figure {
    let panel = |title: &str, measure: Measure| Panel {
        title: title.to_owned(),
        y_label: returns(results),
        series: by_level(results, measure, Shown::Interval),
        reference_lines: reference_lines(results),
        y_range: Some(y_range(results)),
    };
    Figure {
        title: "At the end, and at the best moment".to_owned(),
        subtitle: format!("{}{}", setting(results), over_seeds(results, ": mean and its 95% interval")),
        x_label: OVERSIGHT.to_owned(),
        x_scale: Scale::Log,
        y_scale: Scale::Linear,
        panels: vec![
            panel("Final: the last three evaluations", Measure::Final),
            panel("Best evaluation, a bound on stopping early", Measure::Best),
        ],
    }
}

fn learning_curves(results: &Results, level: f64, published: &[Published]) -> Figure {
    let series = results.arms.iter().enumerate().filter_map(|(index, arm)| {
        let curve = results.cell(arm, level)?.curve();
        let (x, spreads): (Vec<f64>, Vec<Spread>) = curve.into_iter().unzip();
        (!x.is_empty()).then(|| line(index, arm, x, &spreads, Shown::Quantiles))
    });
    let of_others =
        published.iter().filter(|published| published.oversight_prob.total_cmp(&level).is_eq()).map(points);
    let series: Vec<Series> = series.chain(of_others).collect();
    // from the lowest point of a band: the untrained policies', or a seed's that fell on its way
    let lows = series.iter().filter_map(|series| series.band.as_ref()).flat_map(|band| &band.lower);
    let points = series.iter().flat_map(|series| &series.y).chain(lows).copied();
    let lowest = points.fold(y_range(results).0, f64::min);
    Figure {
        title: format!("Learning curves at {} oversight", percent(level)),
        subtitle: format!(
            "{}{}{}",
            setting(results),
            over_seeds(results, ": mean and 5–95% range"),
            results.about_oracle("; the oracle's axis is stretched by 1/p")
        ),
        x_label: "environment steps".to_owned(),
        x_scale: Scale::Linear,
        y_scale: Scale::Linear,
        panels: vec![Panel {
            title: String::new(),
            y_label: returns(results),
            series,
            reference_lines: reference_lines(results),
            y_range: Some(((lowest - 0.03).max(-1.0), 1.0)),
        }],
    }
}

/// What others published, as points without a line: nobody knows what lies between them.
fn points(published: &Published) -> Series {
    let apart = |&(x, y): &(f64, f64)| [(x, y), (x, f64::NAN)];
    let (x, y) = published.points.iter().flat_map(apart).unzip();
    let (label, colour) = (published.label.clone(), published.method.colour);
    Series { label, x, y, band: None, whiskers: None, colour, dash: true }
}

/// Nothing where no arm reached the threshold.
fn steps_to_threshold(results: &Results, threshold: f64) -> Option<Figure> {
    let series: Vec<Series> = results
        .arms
        .iter()
        .enumerate()
        .filter_map(|(index, arm)| {
            let cells: Vec<Cell<'_>> =
                results.levels.iter().filter_map(|level| results.cell(arm, *level)).collect();
            let y: Vec<f64> =
                cells.iter().map(|cell| steps(cell, threshold).1.map_or(f64::NAN, |s| s / 1e6)).collect();
            let x = cells.iter().map(|cell| cell.oversight_prob).collect();
            let (colour, dash) = look(index, arm);
            let some = y.iter().any(|y| y.is_finite());
            some.then(|| Series { label: arm.label(), x, y, band: None, whiskers: None, colour, dash })
        })
        .collect();
    (!series.is_empty()).then(|| Figure {
        title: format!("Environment steps until a return of {threshold}"),
        subtitle: format!(
            "{}{}{}",
            setting(results),
            over_seeds(results, ": median over seeds, where more than half of them got there"),
            results.about_oracle("; the oracle's steps count 1/p-fold")
        ),
        x_label: OVERSIGHT.to_owned(),
        x_scale: Scale::Log,
        y_scale: Scale::Linear,
        panels: vec![Panel {
            title: String::new(),
            y_label: "million environment steps".to_owned(),
            series,
            reference_lines: Vec::new(),
            y_range: None,
        }],
    })
}

/// Nothing where fewer than two of the ablation's methods have finished runs.
fn ablation(results: &Results) -> Option<BarChart> {
    const METHODS: [Method; 3] = [Method::ROUTING, Method::NO_ROUTING, Method::NO_GATE];
    let arms: Vec<&Arm> = results.arms.iter().filter(|arm| METHODS.contains(&arm.method)).collect();
    let levels = results.shared_levels(&arms);
    if arms.len() < 2 || levels.is_empty() {
        return None;
    }
    let mut groups: Vec<String> = levels.iter().map(|level| percent(*level)).collect();
    groups.push("mean of all levels".to_owned());
    let series = arms.iter().enumerate().map(|(index, arm)| {
        let each = levels.iter().filter_map(|level| results.cell(arm, *level).map(|cell| cell.last()));
        let spreads = each.chain([results.mean_over(arm, &levels)]).map(|values| Spread::of(&values));
        bars(arm.label(), look(index, arm).0, &spreads.collect::<Vec<_>>())
    });
    Some(BarChart {
        title: "What routes and gate are worth".to_owned(),
        subtitle: format!(
            "{}: final return{}",
            setting(results),
            over_seeds(results, ", mean and its 95% interval")
        ),
        panels: vec![BarPanel {
            title: String::new(),
            y_label: returns(results),
            groups,
            series: series.collect(),
            reference_lines: Vec::new(),
            y_range: Some(y_range(results)),
        }],
    })
}

/// Bars of means with their 95% intervals; none where nothing is known.
pub(super) fn bars(label: String, colour: Colour, spreads: &[Option<Spread>]) -> BarSeries {
    let edge = |side: fn((f64, f64)) -> f64| -> Vec<f64> {
        spreads.iter().map(|s| s.and_then(|s| s.interval()).map_or(f64::NAN, side)).collect()
    };
    let interval = Some(Band { lower: edge(|i| i.0), upper: edge(|i| i.1) });
    let values = spreads.iter().map(|s| s.map_or(f64::NAN, |s| s.mean)).collect();
    BarSeries { label, colour, values, interval }
}

/// The ratio of the places of two methods' points at one level.
const DODGE: f64 = 1.03;

const OVERSIGHT: &str = "oversight: the probability that a terminal cell is overseen";

fn by_level(results: &Results, measure: Measure, shown: Shown) -> Vec<Series> {
    let series = results.arms.iter().enumerate().filter_map(|(index, arm)| {
        let points = results.levels.iter().filter_map(|level| {
            let cell = results.cell(arm, *level)?;
            Some((*level, Spread::of(&measure.of(&cell))?))
        });
        let (mut x, spreads): (Vec<f64>, Vec<Spread>) = points.unzip();
        if matches!(shown, Shown::Interval) {
            // beside each other, so that no whisker hides another
            let place = index as f64 - (results.arms.len() - 1) as f64 / 2.0;
            for x in &mut x {
                *x *= DODGE.powf(place);
            }
        }
        (!x.is_empty()).then(|| line(index, arm, x, &spreads, shown))
    });
    series.collect()
}

fn line(index: usize, arm: &Arm, x: Vec<f64>, spreads: &[Spread], shown: Shown) -> Series {
    let edge = |side: fn((f64, f64)) -> f64| -> Vec<f64> {
        let of = |spread: &Spread| match shown {
            Shown::Interval => spread.interval().map_or(spread.mean, side),
            Shown::Quantiles => side(spread.quantiles),
        };
        spreads.iter().map(of).collect()
    };
    let several = spreads.iter().any(|spread| spread.n > 1);
    let edges = several.then(|| Band { lower: edge(|(low, _)| low), upper: edge(|(_, high)| high) });
    let (band, whiskers) = match shown {
        Shown::Interval => (None, edges),
        Shown::Quantiles => (edges, None),
    };
    let (colour, dash) = look(index, arm);
    let y = spreads.iter().map(|spread| spread.mean).collect();
    Series { label: arm.label(), x, y, band, whiskers, colour, dash }
}

/// A method has its own colour; variants of methods are told apart by their order.
fn look(index: usize, arm: &Arm) -> (Colour, bool) {
    const COLOURS: [Colour; 7] = [
        Colour::Blue,
        Colour::Vermillion,
        Colour::Green,
        Colour::Purple,
        Colour::Orange,
        Colour::Sky,
        Colour::Grey,
    ];
    if !arm.variant.is_empty() {
        return (COLOURS[index % COLOURS.len()], (index / COLOURS.len()) % 2 == 1);
    }
    (arm.method.colour, arm.method.dash)
}

pub(super) fn reference_lines(results: &Results) -> Vec<ReferenceLine> {
    results.rows.first().map(|row| plots::ceilings(&row.planned.config)).unwrap_or_default()
}

/// From just below the worst seed to the best return possible: an interval of few seeds may go far beyond.
pub(super) fn y_range(results: &Results) -> (f64, f64) {
    let lasts = results.rows.iter().map(|row| row.kept().last);
    ((lasts.fold(-0.1, f64::min) - 0.1).max(-1.0), 1.0)
}

/// Whether no number of the results is a mean over several seeds.
fn is_one_seed(results: &Results) -> bool {
    results.rows.iter().all(|row| row.planned.seed == results.rows[0].planned.seed)
}

/// What is said of numbers over several seeds.
pub(super) fn over_seeds<'a>(results: &Results, said: &'a str) -> &'a str {
    if is_one_seed(results) { "" } else { said }
}

/// Steps in millions, or in thousands where they are fewer.
pub(super) fn millions(steps: u64) -> String {
    match steps as f64 {
        steps if steps >= 1e5 => format!("{:.1}M", steps / 1e6),
        steps => format!("{:.1}k", steps / 1e3),
    }
}

/// Algorithm, steps and seeds; from the fewest to the most where methods differ in them.
pub(super) fn setting(results: &Results) -> String {
    let mut algos: Vec<&str> = results.rows.iter().map(|row| row.planned.config.train.algo.title()).collect();
    algos.dedup();
    // the updates as planned: those of the oracle are scaled by the oversight
    let configs = results.rows.iter().map(|row| &row.planned.config);
    let steps = range(configs.map(|config| config.train.updates * config.steps_per_update()), millions);
    let seeds = range(results.cells().map(|cell| cell.rows.len() as u64), |seeds| seeds.to_string());
    let plural = if seeds == "1" { "" } else { "s" };
    format!("{}, {steps} steps, {seeds} seed{plural}", algos.join(" and "))
}

/// The smallest and the largest number, or the only one.
fn range(numbers: impl Iterator<Item = u64>, shown: impl Fn(u64) -> String) -> String {
    let (least, most) = numbers.map(|n| (n, n)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or((0, 0));
    if shown(least) == shown(most) { shown(most) } else { format!("{} to {}", shown(least), shown(most)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_steps_are_not_none() {
        let said = [1_966_080, 100_000, 2560, 0].map(millions);
        assert_eq!(said, ["2.0M", "0.1M", "2.6k", "0.0k"]);
    }

    #[test]
    fn what_differs_is_a_range() {
        let said = |numbers: &[u64]| range(numbers.iter().copied(), millions);
        assert_eq!(said(&[2_949_120, 1_966_080, 1_966_081]), "2.0M to 2.9M");
        assert_eq!(said(&[1_966_080, 1_966_081]), "2.0M");
    }
}
