//! Several settings with several seeds, as the paper's Table 2.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use experiment::sweep::{Collected, Results, Spread};
use plots::{Band, BarChart, BarPanel, BarSeries, Colour};

use crate::plots::counted;
use crate::summary::Summary;
use crate::{Autoencoder, Config, DatasetName, Setting, Split};

/// Writes the table of a sweep as `table.csv`, draws it as `table.png`, and returns it as text with both paths.
///
/// # Errors
/// Fails where a file cannot be written.
pub(crate) fn write(results: &Results<Autoencoder>, folder: &Path) -> Result<Collected> {
    let rows = rows(results);
    // a sweep is gathered where it has a row
    let config = &results.rows[0].planned.config;
    let files = vec![folder.join("table.csv"), folder.join("table.png")];
    experiment::write_atomic(&files[0], csv(&rows)?.as_bytes())?;
    chart(&rows, config).write_png(&files[1])?;
    Ok(Collected { text: text(&rows, config), effort: String::new(), files })
}

/// A row for each setting and each choice of further axes, in the order of Table 2.
pub(crate) fn rows(results: &Results<Autoencoder>) -> Vec<Row> {
    let key = |run: &Run| (run.planned.config.train.setting, run.planned.variant());
    let mut groups: Vec<Vec<&Run>> = Vec::new();
    for run in &results.rows {
        match groups.iter_mut().find(|group| key(group[0]) == key(run)) {
            Some(group) => group.push(run),
            None => groups.push(vec![run]),
        }
    }
    let mut rows: Vec<Row> = groups.iter().filter_map(|group| Row::of(group)).collect();
    rows.sort_by_key(|row| row.setting.number());
    rows
}

/// A finished run.
type Run = experiment::sweep::Row<Autoencoder>;

/// What became of a setting: the last certificate on the other parts' digits and on its own.
pub(crate) struct Row {
    pub setting: Setting,
    /// The values of further axes in words.
    pub variant: String,
    pub seeds: usize,
    pub others: Spread,
    pub own: Spread,
    pub others_mae: Spread,
    pub own_mae: Spread,
    pub decoder: Spread,
    /// The decoder's on the digits that it was trained on.
    pub decoder_trained: Spread,
}

impl Row {
    /// From the seeds of a setting; nothing without any.
    fn of(runs: &[&Run]) -> Option<Self> {
        let planned = &runs.first()?.planned;
        let last = planned.config.train.split.parts() - 1;
        let over = |f: &dyn Fn(&Summary) -> f64| {
            Spread::of(&runs.iter().map(|run| f(&run.summary)).collect::<Vec<_>>())
        };
        let others = |values: &[f64]| values[..last].iter().sum::<f64>() / last as f64;
        let certificate = |summary: &Summary| summary.networks[last + 1].errors.clone();
        let decoder = |summary: &Summary| {
            let mse = &summary.networks[0].errors.mse;
            mse.iter().sum::<f64>() / mse.len() as f64
        };
        Some(Self {
            setting: planned.config.train.setting,
            variant: planned.variant(),
            seeds: runs.len(),
            others: over(&|s| others(&certificate(s).part_mse))?,
            own: over(&|s| certificate(s).part_mse[last])?,
            others_mae: over(&|s| others(&certificate(s).part_mae))?,
            own_mae: over(&|s| certificate(s).part_mae[last])?,
            decoder: over(&decoder)?,
            decoder_trained: over(&|s| {
                if planned.config.route.last_only { s.networks[0].errors.part_mse[last] } else { decoder(s) }
            })?,
        })
    }

    /// Its name in the table.
    pub(crate) fn title(&self) -> String {
        match self.variant.as_str() {
            "" => self.setting.title().to_owned(),
            variant => format!("{}, {variant}", self.setting.title()),
        }
    }

    /// Its name below the bars.
    fn group(&self) -> String {
        format!("{} {}", self.setting.number(), self.title())
    }
}

/// The names of the columns: the others' digits, and the last part's own.
pub(crate) fn columns(split: &Split) -> (String, String) {
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
            row.title(),
            others.plus_minus(3),
            own.plus_minus(3)
        )
        .ok();
        if paper {
            let (others, own) = setting.paper();
            write!(out, "   {others:.2} / {own:.2}").ok();
        }
        out.push('\n');
    }
    let last = config.train.split.part_name(config.train.split.parts() - 1);
    write!(out, "\nvalidation MSE of the {last} certificate, {}", with_interval(rows)).ok();
    if paper && rows.len() > 2 {
        let ours: Vec<f64> = rows.iter().map(|row| row.others.mean).collect();
        let theirs: Vec<f64> = rows.iter().map(|row| row.setting.paper().0).collect();
        let correlation = rank_correlation(&ours, &theirs);
        write!(out, "; rank correlation with the paper's column {others}: {correlation:.2}").ok();
    }
    out.push('\n');
    out
}

fn with_interval(rows: &[Row]) -> String {
    let interval = if most_seeds(rows) > 1 { ": mean ± half the 95% interval" } else { "" };
    format!("{}{interval}", seeds(rows))
}

/// How many seeds there are, in words.
fn seeds(rows: &[Row]) -> String {
    let least = rows.iter().map(|row| row.seeds).min().unwrap_or(0);
    match (least, most_seeds(rows)) {
        (1, 1) => "one seed".to_owned(),
        (least, most) if least == most => format!("{most} seeds"),
        (least, most) => format!("{least} to {most} seeds"),
    }
}

pub(crate) fn is_papers(config: &Config) -> bool {
    config.train.split == Split::default() && config.data.dataset == DatasetName::Mnist
}

/// The seeds of the row that has most of them.
fn most_seeds(rows: &[Row]) -> usize {
    rows.iter().map(|row| row.seeds).max().unwrap_or(0)
}

/// With a column for the further axes where there are any.
fn csv(rows: &[Row]) -> Result<String> {
    let variants = rows.iter().any(|row| !row.variant.is_empty());
    let mut out = "number,setting,seeds,others_mse,others_mse_half_interval,own_mse,own_mse_half_interval,\
                   others_mae,own_mae,decoder_mse,paper_others,paper_own"
        .to_owned();
    out += if variants { ",variant\n" } else { "\n" };
    for row in rows {
        let half = |spread: Spread| spread.half.map(|half| half.to_string()).unwrap_or_default();
        let (paper_others, paper_own) = row.setting.paper();
        write!(
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
        )?;
        if variants {
            write!(out, ",{}", row.variant.replace(',', ""))?;
        }
        out.push('\n');
    }
    Ok(out)
}

pub(crate) fn chart(rows: &[Row], config: &Config) -> BarChart {
    let (others, own) = columns(&config.train.split);
    let count = most_seeds(rows);
    let bars = |label: String, colour: Colour, pick: &dyn Fn(&Row) -> Spread| BarSeries {
        label,
        colour,
        values: rows.iter().map(|row| pick(row).mean).collect(),
        interval: (count > 1).then(|| {
            // no whisker where there is one seed
            let half = |row: &Row| pick(row).half.unwrap_or(f64::NAN);
            Band {
                lower: rows.iter().map(|row| pick(row).mean - half(row)).collect(),
                upper: rows.iter().map(|row| pick(row).mean + half(row)).collect(),
            }
        }),
    };
    let paper = |label: String, colour: Colour, value: fn((f64, f64)) -> f64| BarSeries {
        label,
        colour,
        values: rows.iter().map(|row| value(row.setting.paper())).collect(),
        interval: None,
    };
    let mut series = vec![
        bars(format!("digits {others}"), Colour::Vermillion, &|row| row.others),
        bars(format!("digits {own}"), Colour::Blue, &|row| row.own),
    ];
    if is_papers(config) {
        series.push(paper(format!("{others}, paper"), Colour::Grey, |(others, _)| others));
        series.push(paper(format!("{own}, paper"), Colour::Black, |(_, own)| own));
    }
    let (epochs, batch) = (config.train.epochs, config.train.batch_size);
    let last = config.train.split.part_name(config.train.split.parts() - 1);
    let whiskers = if count > 1 { ", mean and 95% interval" } else { "" };
    let seeds = seeds(rows);
    BarChart {
        title: format!("What the {last} part of the encoding knows, setting by setting"),
        subtitle: format!("{}, batches of {batch}, {seeds}{whiskers}", counted(epochs)),
        panels: vec![BarPanel {
            title: String::new(),
            y_label: format!("validation MSE of the {last} certificate"),
            groups: rows.iter().map(Row::group).collect(),
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

    fn row(setting: Setting, values: &[f64]) -> Row {
        let spread = Spread::of(values).unwrap();
        let seeds = values.len();
        let [others, own, others_mae, own_mae, decoder, decoder_trained] = [spread; 6];
        let variant = String::new();
        Row { setting, variant, seeds, others, own, others_mae, own_mae, decoder, decoder_trained }
    }

    #[test]
    fn a_setting_with_one_seed_has_no_whisker_beside_those_that_have_one() {
        let rows = [row(Setting::ROUTING, &[0.25, 0.5]), row(Setting::LAST_DIGITS_L1, &[0.5])];
        let chart = chart(&rows, &Config::default());
        assert!(chart.subtitle.contains("1 to 2 seeds, mean and 95% interval"), "{}", chart.subtitle);
        let interval = chart.panels[0].series[0].interval.clone().unwrap();
        assert!(interval.lower[0] < 0.25 && interval.upper[0] > 0.5);
        assert!(interval.lower[1].is_nan() && interval.upper[1].is_nan());
        assert!(text(&rows, &Config::default()).contains(", 1 to 2 seeds: mean"));
        assert!(with_interval(&rows[1..]) == "one seed" && seeds(&rows[..1]) == "2 seeds");
    }

    #[test]
    fn ranks_that_rise_together_correlate() {
        assert!((rank_correlation(&[1.0, 2.0, 9.0], &[0.1, 0.3, 0.4]) - 1.0).abs() < 1e-12);
        assert!((rank_correlation(&[1.0, 2.0, 9.0], &[3.0, 2.0, 1.0]) + 1.0).abs() < 1e-12);
        // scipy.stats.spearmanr([1, 2, 3, 4], [1, 1, 2, 0])
        assert!(
            (rank_correlation(&[1.0, 2.0, 3.0, 4.0], &[1.0, 1.0, 2.0, 0.0]) + 0.316_227_766).abs() < 1e-9
        );
    }
}
