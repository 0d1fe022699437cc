//! The pictures of a run: training curves, errors per digit, reconstructions, and the matrix of parts and digits.

use std::path::{Path, PathBuf};

use anyhow::Result;
use experiment::driver::Program as _;
use experiment::{Record, RunFolder, UserError, read_metrics};
use plots::{
    Band, BarChart, BarPanel, BarSeries, Colour, Figure, Heatmap, ImageGrid, ImageRow, Panel, ReferenceLine,
    Scale, Series,
};

use crate::data::Batch;
use crate::split::CLASSES;
use crate::{Autoencoder, Config, DatasetName, Split, Trainer};

/// Examples of each digit in the grid of reconstructions.
const EXAMPLES: usize = 4;

/// Digits side by side in the grid.
const DIGITS_A_ROW: usize = 5;

/// With more parts than this, a curve or a bar for each would be a tangle.
const FEW_PARTS: usize = 3;

/// The settings and metrics of runs that differ in their seed alone.
///
/// # Errors
/// Fails where a folder holds no run, the runs differ in their settings, or there is nothing to draw yet.
pub fn read_runs(runs: &[PathBuf]) -> Result<(Config, Vec<Vec<Record>>)> {
    let mut loaded: Vec<(Config, Vec<Record>)> = Vec::new();
    for run in runs {
        let view = RunFolder::view_of(run, Autoencoder::NAME)?;
        let config = experiment::load_run(&view.config_path(), &[])?;
        loaded.push((config, read_metrics(&view.metrics_path())?));
    }
    let Some((config, _)) = loaded.first().cloned() else {
        return Err(UserError::usage("no run to plot").into());
    };
    if let Some((other, _)) = runs.iter().zip(&loaded).find(|(_, (other, _))| *other != config) {
        let message = format!("{} has other settings than {}", other.display(), runs[0].display());
        return Err(UserError::usage(message)
            .with_hint(
                "`plot` draws seeds of one experiment together; `compare` sets different ones side by side",
            )
            .into());
    }
    let evaluated = |records: &[Record]| records.iter().any(is_evaluation);
    if let Some((run, _)) = runs.iter().zip(&loaded).find(|(_, (_, records))| !evaluated(records)) {
        let message = format!("{} has no evaluation to plot yet", run.display());
        return Err(UserError::failed(message).with_hint("wait for its first epoch, or resume it").into());
    }
    Ok((config, loaded.into_iter().map(|(_, records)| records).collect()))
}

fn is_evaluation(record: &Record) -> bool {
    record.values.contains_key("eval/factor")
}

/// Draws `curves.png`, `digits.png` and, for more than two parts, `parts.png` from the metrics of one run or of
/// several seeds; `reconstruction.png` from the networks of `trainer`, where there is one. Returns what was
/// written.
///
/// # Errors
/// Fails where a picture cannot be drawn or written.
pub fn draw(
    config: &Config,
    runs: &[Vec<Record>],
    trainer: Option<&mut Trainer>,
    folder: &Path,
) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let mut path = |name: &str| {
        paths.push(folder.join(name));
        folder.join(name)
    };
    curves(config, runs).write_png(&path("curves.png"))?;
    digits(config, runs).write_png(&path("digits.png"))?;
    if config.train.split.parts() > 2 {
        parts(config, runs).write_png(&path("parts.png"))?;
    }
    if let Some(trainer) = trainer {
        reconstruction(trainer)?.write_png(&path("reconstruction.png"))?;
    }
    Ok(paths)
}

fn subtitle(config: &Config, seeds: usize) -> String {
    let seeds = if seeds > 1 { format!(", {seeds} seeds: mean and range") } else { String::new() };
    let (epochs, batch) = (config.train.epochs, config.train.batch_size);
    let title = config.train.setting.title();
    let dataset = match config.data.dataset {
        DatasetName::Mnist => String::new(),
        other => format!("{}, ", other.title()),
    };
    format!("{dataset}{title}, {}, batches of {batch}{seeds}", counted(epochs))
}

/// So many epochs.
pub(crate) fn counted(epochs: u64) -> String {
    if epochs == 1 { "1 epoch".to_owned() } else { format!("{epochs} epochs") }
}

/// The axis of squared errors: up to half the variance of the pixels, where they end below it; as high as they are
/// where they do not.
fn error_range(series: &[Series]) -> (f64, f64) {
    const USUAL: f64 = 0.5;
    let below = |series: &Series| series.y.last().is_none_or(|last| *last <= USUAL);
    if series.iter().all(below) {
        return (0.0, USUAL);
    }
    let highest = series.iter().flat_map(|series| &series.y).copied().filter(|value| value.is_finite());
    (0.0, 1.05 * highest.fold(USUAL, f64::max))
}

const COLOURS: [Colour; 3] = [Colour::Vermillion, Colour::Blue, Colour::Green];

/// Squared errors of decoder and certificates over the epochs.
fn curves(config: &Config, runs: &[Vec<Record>]) -> Figure {
    let split = &config.train.split;
    let panel = |title: String, series: Vec<Series>| Panel {
        title,
        y_label: "validation MSE".to_owned(),
        y_range: Some(error_range(&series)),
        series,
        reference_lines: Vec::new(),
    };
    let network = |name: &str| -> Vec<Series> {
        (0..split.parts())
            .map(|part| {
                let digits = split.digits_label(part);
                let key = format!("eval/{name}/mse/{digits}");
                let value = move |record: &Record| record.values.get(&key).copied();
                curve(runs, value, &format!("digits {digits}"), COLOURS[part % COLOURS.len()])
            })
            .collect()
    };
    let mut panels = Vec::new();
    if split.parts() <= FEW_PARTS {
        panels.push(panel("Decoder: sees the whole encoding".to_owned(), network("decoder")));
        for part in 0..split.parts() {
            let name = split.part_name(part);
            let digits = split.digits_label(part);
            let title = format!("The {name} certificate: sees the part of the encoding that {digits} train");
            panels.push(panel(title, network(&name)));
        }
    } else {
        let own = curve(
            runs,
            |record| own_and_others(record, split).map(|(own, _)| own),
            "own digits",
            Colour::Blue,
        );
        let others = |record: &Record| own_and_others(record, split).map(|(_, others)| others);
        let others = curve(runs, others, "other digits", Colour::Vermillion);
        panels.push(panel("Mean over the certificates".to_owned(), vec![own, others]));
    }
    Figure {
        title: "What each part of the encoding knows".to_owned(),
        subtitle: subtitle(config, runs.len()),
        x_label: "epochs".to_owned(),
        x_scale: Scale::Linear,
        y_scale: Scale::Linear,
        panels,
    }
}

/// The certificates' mean error on their own digits and on the others'.
fn own_and_others(record: &Record, split: &Split) -> Option<(f64, f64)> {
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for part in 0..split.parts() {
        for digits in 0..split.parts() {
            let key = format!("eval/{}/mse/{}", split.part_name(part), split.digits_label(digits));
            let value = *record.values.get(&key)?;
            if part == digits { own.push(value) } else { others.push(value) }
        }
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    Some((mean(&own), mean(&others)))
}

/// A number against epochs: the mean over the runs, with their range as a band where there are several.
fn curve(
    runs: &[Vec<Record>],
    value: impl Fn(&Record) -> Option<f64>,
    label: &str,
    colour: Colour,
) -> Series {
    let points = |run: &Vec<Record>| {
        run.iter().filter_map(|r| Some((*r.values.get("charts/epoch")?, value(r)?))).collect::<Vec<_>>()
    };
    let per_run: Vec<Vec<(f64, f64)>> = runs.iter().map(points).collect();
    let len = per_run.iter().map(Vec::len).min().unwrap_or(0);
    let columns: Vec<Vec<f64>> = (0..len).map(|i| per_run.iter().map(|run| run[i].1).collect()).collect();
    let band = (runs.len() > 1).then(|| range(&columns));
    let x = (0..len).map(|i| per_run[0][i].0).collect();
    Series { label: label.to_owned(), x, y: means(&columns), band, colour, whiskers: None, dash: false }
}

fn means(columns: &[Vec<f64>]) -> Vec<f64> {
    columns.iter().map(|column| column.iter().sum::<f64>() / column.len() as f64).collect()
}

fn range(columns: &[Vec<f64>]) -> Band {
    let fold = |start: f64, f: fn(f64, f64) -> f64| {
        columns.iter().map(|column| column.iter().copied().fold(start, f)).collect()
    };
    Band { lower: fold(f64::INFINITY, f64::min), upper: fold(f64::NEG_INFINITY, f64::max) }
}

/// The last evaluation of each run.
fn last(runs: &[Vec<Record>]) -> Vec<&Record> {
    runs.iter().filter_map(|run| run.iter().rfind(|record| is_evaluation(record))).collect()
}

/// Squared errors of each digit as bars.
fn digits(config: &Config, runs: &[Vec<Record>]) -> BarChart {
    let split = &config.train.split;
    let last = last(runs);
    let series = |name: &str, label: String, colour: Colour| {
        let columns: Vec<Vec<f64>> = (0..CLASSES)
            .map(|digit| {
                let key = format!("eval/{name}/mse_{digit}");
                last.iter().map(|record| record.values.get(&key).copied().unwrap_or(f64::NAN)).collect()
            })
            .collect();
        BarSeries {
            label,
            colour,
            values: means(&columns),
            interval: (runs.len() > 1).then(|| range(&columns)),
        }
    };
    let mut all = vec![series("decoder", "decoder".to_owned(), Colour::Grey)];
    if split.parts() <= FEW_PARTS {
        for part in 0..split.parts() {
            let label =
                format!("{} certificate (digits {})", split.part_name(part), split.digits_label(part));
            all.push(series(&split.part_name(part), label, COLOURS[part % COLOURS.len()]));
        }
    }
    let untold = |part: usize| {
        let (name, others) = (split.part_name(part), split.digits_label(1 - part));
        let key = format!("eval/{name}/mse/{others}");
        let y = means(&[last.iter().filter_map(|record| record.values.get(&key).copied()).collect()])[0];
        ReferenceLine { label: format!("{name} on {others}"), y }
    };
    BarChart {
        title: "Validation error of each digit".to_owned(),
        subtitle: subtitle(config, runs.len()),
        panels: vec![BarPanel {
            title: String::new(),
            y_label: "mean squared error, pixels from –1 to 1".to_owned(),
            groups: (0..CLASSES).map(|digit| digit.to_string()).collect(),
            series: all,
            reference_lines: if split.parts() == 2 { vec![untold(1)] } else { Vec::new() },
            y_range: None,
        }],
    }
}

/// Each certificate's squared error on each digit.
fn parts(config: &Config, runs: &[Vec<Record>]) -> Heatmap {
    let split = &config.train.split;
    let last = last(runs);
    let row = |part: usize| -> Vec<f64> {
        let key = |digit: usize| format!("eval/{}/mse_{digit}", split.part_name(part));
        let column = |digit: usize| -> Vec<f64> {
            last.iter().filter_map(|record| record.values.get(&key(digit)).copied()).collect()
        };
        means(&(0..CLASSES).map(column).collect::<Vec<_>>())
    };
    Heatmap {
        title: "What the certificate of each part makes of each digit".to_owned(),
        subtitle: format!("validation MSE; {}", subtitle(config, runs.len())),
        x_label: "digit".to_owned(),
        y_label: "part of the encoding, by its digits".to_owned(),
        columns: (0..CLASSES).map(|digit| digit.to_string()).collect(),
        rows: (0..split.parts()).map(|part| split.digits_label(part)).collect(),
        values: (0..split.parts()).map(row).collect(),
        range: None,
    }
}

/// Examples of each digit, and what each certificate makes of them.
fn reconstruction(trainer: &mut Trainer) -> Result<ImageGrid> {
    let split = trainer.objective().split.clone();
    let images = trainer.test_images().clone();
    let order: Vec<u8> = (0..split.parts()).flat_map(|part| split.digits(part)).collect();
    let mut rows = Vec::new();
    for block in order.chunks(DIGITS_A_ROW) {
        let examples = |digit: &u8| {
            let all = (0..images.len() as u32).filter(|index| images.labels[*index as usize] == *digit);
            all.take(EXAMPLES).collect::<Vec<u32>>()
        };
        let indices: Vec<u32> = block.iter().flat_map(examples).collect();
        let batch = Batch { images: &images, indices: &indices };
        let made = trainer.reconstruct(batch)?;
        let tile = |pixels: &[f32]| pixels.iter().map(|value| value.mul_add(0.5, 0.5)).collect::<Vec<f32>>();
        let mut inputs = vec![vec![0.0; images.pixels]; indices.len()];
        for (row, index) in inputs.iter_mut().zip(&indices) {
            images.write(*index, row);
        }
        let names: Vec<String> = block.iter().map(ToString::to_string).collect();
        let tiles = inputs.iter().map(|pixels| tile(pixels)).collect();
        rows.push(ImageRow { label: format!("digits {}", names.join(" ")), tiles });
        for (part, out) in made.certificates.iter().enumerate() {
            let label = format!("{} certificate", split.part_name(part));
            rows.push(ImageRow { label, tiles: out.chunks_exact(images.pixels).map(tile).collect() });
        }
    }
    let seen: Vec<String> = (0..split.parts())
        .map(|part| format!("{} learned from {}", split.part_name(part), split.digits_label(part)))
        .collect();
    Ok(ImageGrid {
        title: "Validation images, and what each certificate makes of them".to_owned(),
        subtitle: format!("{}; {}", subtitle(trainer.config(), 1), seen.join(", ")),
        column_labels: Vec::new(),
        rows,
        tile: (28, 28),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_an_axis_that_holds_their_end() {
        let series = |y: &[f64]| Series {
            label: String::new(),
            x: (0..y.len()).map(|x| x as f64).collect(),
            y: y.to_vec(),
            band: None,
            whiskers: None,
            colour: Colour::Blue,
            dash: false,
        };
        let range = |all: &[&[f64]]| error_range(&all.iter().map(|y| series(y)).collect::<Vec<_>>());
        let near = |(low, high): (f64, f64), wanted: f64| low.abs() < 1e-12 && (high - wanted).abs() < 1e-9;
        assert!(near(range(&[&[0.9, 0.3], &[]]), 0.5));
        assert!(near(range(&[&[0.9, 0.3], &[2.0, 0.6]]), 2.1));
        assert!(near(range(&[&[f64::NAN, 0.8]]), 0.84));
    }
}
