//! The verb `compare`: a figure and a table of runs that differ in method or settings.

use std::path::Path;

use anyhow::Result;
use experiment::{Overview, Record, UserError, create_folder, write_atomic};
use plots::{Band, Colour, Figure, Series};

use crate::Shown;
use crate::curves::{self, Line};
use crate::groups::Groups;
use crate::tables;

/// The colours of the lines; further ones have the same dashed.
const COLOURS: [Colour; 8] = [
    Colour::Blue,
    Colour::Vermillion,
    Colour::Green,
    Colour::Purple,
    Colour::Orange,
    Colour::Sky,
    Colour::Grey,
    Colour::Black,
];

/// More lines than this are a tangle: `report` has a page for them.
const MOST_LINES: usize = 16;

/// Writes `compare.png` and `compare.md` into `folder` and returns the table and the paths.
///
/// # Errors
/// Fails where there are fewer than two settings or too many, or a file cannot be read or written.
pub(crate) fn compare(runs: &[Overview], folder: &Path, shown: &Shown) -> Result<String> {
    let groups = Groups::of(runs);
    if groups.all.len() < 2 {
        return Err(UserError::usage("there is nothing to compare: the runs differ in their seeds alone")
            .with_hint(
                "give runs of different methods or settings; `plot` draws seeds of one experiment together",
            )
            .into());
    }
    if groups.all.len() > MOST_LINES {
        let message = format!("{} different settings are too many for one figure", groups.all.len());
        let hint = format!("give at most {MOST_LINES}, or make a page of them with `report`");
        return Err(UserError::usage(message).with_hint(hint).into());
    }
    let mut lines: Vec<(usize, String, Line)> = Vec::new();
    for (index, group) in groups.all.iter().enumerate() {
        let Some(metric) = (shown.headline)(group.runs[0]) else { continue };
        let records: Vec<Vec<Record>> =
            group.runs.iter().map(|run| curves::records(run)).collect::<Result<_>>()?;
        let records: Vec<&[Record]> = records.iter().map(Vec::as_slice).collect();
        if let Some(line) = curves::line(&group.label, &records, &metric) {
            lines.push((index, metric, line));
        }
    }
    let table = tables::results(&groups, shown.measures);
    create_folder(folder)?;
    let (picture, text) = (folder.join("compare.png"), folder.join("compare.md"));
    let mut files = Vec::new();
    if !lines.is_empty() {
        figure(&lines, shown.steps).write_png(&picture)?;
        files.push(picture);
    }
    let about = "Mean over the seeds that are done, ± half the 95% interval.";
    write_atomic(&text, format!("{about}\n\n{}", table.markdown()).as_bytes())?;
    files.push(text);
    Ok(format!("{}\n{}", table.text(), experiment::lines(&files)))
}

/// What each group is judged by, while training.
fn figure(lines: &[(usize, String, Line)], steps: &str) -> Figure {
    let mut metrics: Vec<&str> = lines.iter().map(|(_, metric, _)| metric.as_str()).collect();
    metrics.sort_unstable();
    metrics.dedup();
    let series: Vec<Series> = lines.iter().map(|(index, _, line)| series(*index, line)).collect();
    let ranged = series.iter().any(|series| series.band.is_some());
    let mut figure = Figure::of_panel("Side by side", steps, &metrics.join(", "), series);
    if ranged {
        "bands from the lowest to the highest seed".clone_into(&mut figure.subtitle);
    }
    figure
}

fn series(index: usize, line: &Line) -> Series {
    let Line { label, points } = line;
    let several = points.iter().any(|point| point.range.is_some());
    let edge = |of: fn((f64, f64)) -> f64| {
        points.iter().map(|point| of(point.range.unwrap_or((point.y, point.y)))).collect()
    };
    Series {
        label: label.clone(),
        x: points.iter().map(|point| point.x).collect(),
        y: points.iter().map(|point| point.y).collect(),
        band: several.then(|| Band { lower: edge(|range| range.0), upper: edge(|range| range.1) }),
        whiskers: None,
        colour: COLOURS[index % COLOURS.len()],
        dash: index >= COLOURS.len(),
    }
}
