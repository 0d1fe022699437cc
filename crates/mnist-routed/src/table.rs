//! The verb `table`: several settings with several seeds, as the paper's Table 2.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use candle_core::Device;
use experiment::driver::{Bar, Outputs, Program as _, Run, RunRequest};
use experiment::{CheckpointStore, DeviceArg, RunFolder, UserError};
use plots::{Band, BarChart, BarPanel, BarSeries, Colour};
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::summary::Summary;
use crate::{Autoencoder, Config, DatasetName, Setting, Split};

/// Runs to be made, each in a folder of its own.
#[derive(Clone, Debug)]
pub struct TableRequest {
    /// The settings of each run, in the order of the rows.
    pub configs: Vec<Config>,
    /// The seeds of each setting.
    pub seeds: Vec<u64>,
    /// The folder of the table.
    pub folder: PathBuf,
    /// Threads to compute with.
    pub threads: usize,
    /// Where the tensors live.
    pub device: DeviceArg,
    /// What each run writes.
    pub outputs: Outputs,
    /// No progress bar.
    pub quiet: bool,
}

/// Makes the runs that are not done yet, goes on with those that were interrupted, and returns the table, which it
/// also writes as `table.csv` and draws as `table.png`.
///
/// # Errors
/// Fails where a run does; the same command goes on from there.
pub fn table(program: &Autoencoder, request: &TableRequest) -> Result<String> {
    let total = request.configs.len() * request.seeds.len();
    let mut rows = Vec::new();
    let mut number = 0;
    // seed by seed, so that all settings have one before any has two
    let mut summaries: Vec<Vec<Summary>> = vec![Vec::new(); request.configs.len()];
    for seed in &request.seeds {
        for (config, summaries) in request.configs.iter().zip(&mut summaries) {
            number += 1;
            let name = config.train.setting.name();
            let folder =
                request.folder.join(format!("{:02}-{name}-seed{seed}", config.train.setting.number()));
            if !request.quiet && !folder.join("summary.json").exists() {
                let title = config.train.setting.title();
                experiment::say(&format!("run {number} of {total}: {title}, seed {seed}"));
            }
            summaries.push(done(program, request, config, *seed, &folder)?);
        }
    }
    for (config, summaries) in request.configs.iter().zip(&summaries) {
        rows.push(Row::of(config, summaries));
    }
    let csv = csv(&rows);
    experiment::write_atomic(&request.folder.join("table.csv"), csv.as_bytes())?;
    let picture = request.folder.join("table.png");
    chart(&rows, &request.configs[0], request.seeds.len()).write_png(&picture)?;
    let mut text = text(&rows, &request.configs[0]);
    writeln!(text, "{}\n{}", request.folder.join("table.csv").display(), picture.display())?;
    Ok(text)
}

/// The summary of a run in its folder, if it is done.
fn summary_of(folder: &Path, config: &Config) -> Result<Option<Summary>> {
    let path = folder.join("summary.json");
    let damaged = |error: &dyn std::fmt::Display| {
        UserError::failed(format!("cannot use {}: {error}", path.display()))
            .with_hint("remove that file: the same command writes it anew from the run's checkpoint")
    };
    match Summary::read(&path) {
        Ok(Some(summary)) if summary.split != config.train.split => {
            Err(damaged(&"it is of another train.split").into())
        }
        Ok(summary) => Ok(summary),
        Err(experiment::RunError::Read { source, .. }) => Err(damaged(&source).into()),
        Err(error) => Err(error.into()),
    }
}

/// The summary of a run: read where it is done, else made.
fn done(
    program: &Autoencoder,
    request: &TableRequest,
    config: &Config,
    seed: u64,
    folder: &Path,
) -> Result<Summary> {
    if folder.join("config.toml").exists() {
        let saved: Config = experiment::load(Some(&folder.join("config.toml")), &[])?;
        if saved != *config {
            let message = format!("{} was run with other settings", folder.display());
            return Err(UserError::usage(message)
                .with_hint("choose another folder with --out, or remove that run")
                .into());
        }
    }
    if summary_of(folder, config)?.is_none() {
        let checkpoints = folder.join("checkpoints");
        let begun = CheckpointStore::new(&checkpoints, 0).latest_intact(&Device::Cpu).is_some();
        let run = if begun {
            Run::resume(program, folder, Some(request.threads), request.outputs)
        } else {
            if folder.join("config.toml").exists() {
                // it was cut off before its first checkpoint: there is nothing in it to go on from
                drop(RunFolder::open(folder)?);
                std::fs::remove_dir_all(folder)?;
            }
            Run::create(
                program,
                &RunRequest {
                    config: config.clone(),
                    seed,
                    folder: folder.to_owned(),
                    threads: request.threads,
                    device: request.device,
                    outputs: request.outputs,
                },
            )
        };
        let result = run.and_then(|run| run.drive(&mut Bar::new(Autoencoder::UNIT, request.quiet)));
        if let Err(error) = result {
            let interrupted = experiment::install()?.requested();
            return Err(if interrupted {
                UserError::failed("interrupted; every run is saved")
                    .with_hint("the same command goes on")
                    .into()
            } else {
                error.context(folder.display().to_string())
            });
        }
    }
    summary_of(folder, config)?
        .ok_or_else(|| UserError::failed(format!("{} has no summary.json", folder.display())).into())
}

/// A mean over seeds with its 95% interval by Student's t, which a single seed does not have.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mean {
    mean: f64,
    half: Option<f64>,
}

impl Mean {
    fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let half = (values.len() > 1)
            .then(|| StudentsT::new(0.0, 1.0, n - 1.0).ok())
            .flatten()
            .map(|t| t.inverse_cdf(0.975) * (squares / (n - 1.0) / n).sqrt());
        Self { mean, half }
    }

    fn text(self) -> String {
        match self.half {
            Some(half) => format!("{:.3} ± {half:.3}", self.mean),
            None => format!("{:.3}", self.mean),
        }
    }
}

/// What became of a setting: the last certificate on the other parts' digits and on its own.
struct Row {
    setting: Setting,
    seeds: usize,
    others: Mean,
    own: Mean,
    others_mae: Mean,
    own_mae: Mean,
    decoder: Mean,
}

impl Row {
    fn of(config: &Config, summaries: &[Summary]) -> Self {
        let last = config.train.split.parts() - 1;
        let over = |f: &dyn Fn(&Summary) -> f64| Mean::of(&summaries.iter().map(f).collect::<Vec<_>>());
        let others = |values: &[f64]| values[..last].iter().sum::<f64>() / last as f64;
        let certificate = |summary: &Summary| summary.networks[last + 1].errors.clone();
        let decoder = |summary: &Summary| {
            let mse = &summary.networks[0].errors.mse;
            mse.iter().sum::<f64>() / mse.len() as f64
        };
        Self {
            setting: config.train.setting,
            seeds: summaries.len(),
            others: over(&|s| others(&certificate(s).part_mse)),
            own: over(&|s| certificate(s).part_mse[last]),
            others_mae: over(&|s| others(&certificate(s).part_mae)),
            own_mae: over(&|s| certificate(s).part_mae[last]),
            decoder: over(&decoder),
        }
    }
}

/// The names of the columns: the others' digits, and the last part's own.
fn columns(split: &Split) -> (String, String) {
    let last = split.parts() - 1;
    let others = if last == 1 { split.digits_label(0) } else { "others".to_owned() };
    (others, split.digits_label(last))
}

fn text(rows: &[Row], config: &Config) -> String {
    let (others, own) = columns(&config.train.split);
    let paper = is_papers(config);
    let mut out = format!("{:>2}  {:<46} {others:>15} {own:>15} {:>7}", "#", "setting", "factor");
    if paper {
        write!(out, "   paper").ok();
    }
    out.push('\n');
    for row in rows {
        let Row { setting, others, own, .. } = row;
        let factor = others.mean / own.mean;
        write!(
            out,
            "{:>2}  {:<46} {:>15} {:>15} {factor:>7.2}",
            setting.number(),
            setting.title(),
            others.text(),
            own.text()
        )
        .ok();
        if paper {
            let (others, own) = setting.paper();
            write!(out, "   {others:.2} / {own:.2}").ok();
        }
        out.push('\n');
    }
    let last = config.train.split.part_name(config.train.split.parts() - 1);
    write!(out, "\nvalidation MSE of the {last} certificate, {}", seeds(rows[0].seeds)).ok();
    if paper && rows.len() > 2 {
        let ours: Vec<f64> = rows.iter().map(|row| row.others.mean).collect();
        let theirs: Vec<f64> = rows.iter().map(|row| row.setting.paper().0).collect();
        let correlation = rank_correlation(&ours, &theirs);
        write!(out, "; rank correlation with the paper's column {others}: {correlation:.2}").ok();
    }
    out.push('\n');
    out
}

fn seeds(count: usize) -> String {
    if count == 1 { "one seed".to_owned() } else { format!("{count} seeds: mean ± half the 95% interval") }
}

fn is_papers(config: &Config) -> bool {
    config.train.split == Split::default() && config.data.dataset == DatasetName::Mnist
}

fn csv(rows: &[Row]) -> String {
    let mut out = "number,setting,seeds,others_mse,others_mse_half_interval,own_mse,own_mse_half_interval,\
                   others_mae,own_mae,decoder_mse,paper_others,paper_own\n"
        .to_owned();
    for row in rows {
        let half = |mean: Mean| mean.half.map(|half| half.to_string()).unwrap_or_default();
        let (paper_others, paper_own) = row.setting.paper();
        writeln!(
            out,
            "{},{},{},{},{},{},{},{},{},{},{paper_others},{paper_own}",
            row.setting.number(),
            row.setting.name(),
            row.seeds,
            row.others.mean,
            half(row.others),
            row.own.mean,
            half(row.own),
            row.others_mae.mean,
            row.own_mae.mean,
            row.decoder.mean,
        )
        .ok();
    }
    out
}

fn chart(rows: &[Row], config: &Config, count: usize) -> BarChart {
    let (others, own) = columns(&config.train.split);
    let bars = |label: String, colour: Colour, pick: &dyn Fn(&Row) -> Mean| BarSeries {
        label,
        colour,
        values: rows.iter().map(|row| pick(row).mean).collect(),
        interval: (count > 1).then(|| {
            let half = |row: &Row| pick(row).half.unwrap_or_default();
            Band {
                lower: rows.iter().map(|row| pick(row).mean - half(row)).collect(),
                upper: rows.iter().map(|row| pick(row).mean + half(row)).collect(),
            }
        }),
    };
    let exact = |mean: f64| Mean { mean, half: Some(0.0) };
    let mut series = vec![
        bars(format!("digits {others}"), Colour::Vermillion, &|row| row.others),
        bars(format!("digits {own}"), Colour::Blue, &|row| row.own),
    ];
    if is_papers(config) {
        let mut paper = [
            bars(format!("{others}, paper"), Colour::Grey, &|row| exact(row.setting.paper().0)),
            bars(format!("{own}, paper"), Colour::Grey, &|row| exact(row.setting.paper().1)),
        ];
        for series in &mut paper {
            series.interval = None;
        }
        series.extend(paper);
    }
    let (epochs, batch) = (config.train.epochs, config.train.batch_size);
    let last = config.train.split.part_name(config.train.split.parts() - 1);
    let whiskers = if count > 1 { ", mean and 95% interval" } else { "" };
    let seeds = if count == 1 { "one seed".to_owned() } else { format!("{count} seeds") };
    BarChart {
        title: format!("What the {last} part of the encoding knows, setting by setting"),
        subtitle: format!("{epochs} epochs, batches of {batch}, {seeds}{whiskers}"),
        panels: vec![BarPanel {
            title: String::new(),
            y_label: format!("validation MSE of the {last} certificate"),
            groups: rows.iter().map(|row| row.setting.number().to_string()).collect(),
            series,
            reference_lines: Vec::new(),
            y_range: None,
        }],
    }
}

/// Spearman's rank correlation; equal values share their mean rank.
fn rank_correlation(a: &[f64], b: &[f64]) -> f64 {
    let ranks = |values: &[f64]| -> Vec<f64> {
        let rank = |value: &f64| {
            let below = values.iter().filter(|other| *other < value).count() as f64;
            let equal = values.iter().filter(|other| *other <= value).count() as f64 - below;
            below + (equal - 1.0) / 2.0
        };
        values.iter().map(rank).collect()
    };
    let (a, b) = (ranks(a), ranks(b));
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(&a), mean(&b));
    let product = |x: &[f64], mean_x: f64, y: &[f64], mean_y: f64| -> f64 {
        x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum()
    };
    product(&a, mean_a, &b, mean_b)
        / (product(&a, mean_a, &a, mean_a) * product(&b, mean_b, &b, mean_b)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_that_rise_together_correlate() {
        assert!((rank_correlation(&[1.0, 2.0, 9.0], &[0.1, 0.3, 0.4]) - 1.0).abs() < 1e-12);
        assert!((rank_correlation(&[1.0, 2.0, 9.0], &[3.0, 2.0, 1.0]) + 1.0).abs() < 1e-12);
        // scipy.stats.spearmanr([1, 2, 3, 4], [1, 1, 2, 0])
        assert!(
            (rank_correlation(&[1.0, 2.0, 3.0, 4.0], &[1.0, 1.0, 2.0, 0.0]) + 0.316_227_766).abs() < 1e-9
        );
    }

    #[test]
    fn the_interval_is_students() {
        // scipy.stats.t.interval(0.95, 2, loc=2, scale=1/sqrt(3)): 2 ± 2.4841
        let mean = Mean::of(&[1.0, 2.0, 3.0]);
        assert!((mean.mean - 2.0).abs() < 1e-12 && (mean.half.unwrap() - 2.484_137).abs() < 1e-5);
        assert_eq!(Mean::of(&[0.25]).half, None);
    }
}
