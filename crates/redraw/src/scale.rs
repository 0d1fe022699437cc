//! What a training step costs as its work grows: `docs/peers/scale.py` measures, here it becomes figures and tables.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use experiment::{UserError, decimals};
use plots::{Colour, Figure, Image, Panel, Scale, Series};
use serde::Deserialize;

/// What can be shown of measurements.
pub(crate) const TABLES: &[&str] = &["scale"];
/// What can be drawn of them.
pub(crate) const FIGURES: &[&str] = &["scale"];

/// No such file is longer.
const LONGEST: u64 = 1 << 24;

/// Sizes at either end of a line that an exponent is fitted to.
const END: usize = 3;

/// Exponents that differ by less are one: a bend that small is within the noise of a machine.
const STRAIGHT: f64 = 0.15;

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Axis {
    /// Environments side by side.
    Environments,
    /// Units of the two hidden layers of each expert and the gate.
    Hidden,
    /// The width of a language model.
    Width,
}

impl Axis {
    fn title(self) -> &'static str {
        match self {
            Self::Environments => "What more environments cost",
            Self::Hidden => "What wider experts cost",
            Self::Width => "What a wider language model costs",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Environments => "environments side by side",
            Self::Hidden => "units of each of the two hidden layers",
            Self::Width => "width of the model (model.n_embd)",
        }
    }
}

/// A line of the file: a size, and what a training step took there.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Measurement {
    axis: Axis,
    work: String,
    threads: usize,
    size: f64,
    /// Seconds of a step: median, fastest and slowest.
    seconds: f64,
    seconds_min: f64,
    seconds_max: f64,
    /// The largest resident set, MiB.
    mib: f64,
    machine: String,
}

/// The measurements of one axis, by work and threads, in the order of their sizes.
pub(crate) struct Measured {
    axis: Axis,
    machine: String,
    lines: BTreeMap<(String, usize), Vec<Measurement>>,
}

/// How y grows with x: exponents at both ends, and where the two lines through them meet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Law {
    small: f64,
    large: f64,
    bend: Option<f64>,
}

impl Law {
    /// Fits log y to log x by least squares over the first three and the last three points.
    fn of(points: &[(f64, f64)]) -> Self {
        let end = END.min(points.len());
        let (first, last) = (line_through(&points[..end]), line_through(&points[points.len() - end..]));
        let parting = first.1 - last.1;
        let meet = ((last.0 - first.0) / parting).exp();
        let within =
            points.first().is_some_and(|low| meet > low.0) && points.last().is_some_and(|high| meet < high.0);
        let bend = (parting.abs() >= STRAIGHT && within).then_some(meet);
        Self { small: first.1, large: last.1, bend }
    }
}

/// Intercept and slope of log y over log x.
fn line_through(points: &[(f64, f64)]) -> (f64, f64) {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = logs.len() as f64;
    let (mean_x, mean_y) = logs.iter().fold((0.0, 0.0), |sum, (x, y)| (sum.0 + x / count, sum.1 + y / count));
    let spread: f64 = logs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let common: f64 = logs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let slope = common / spread;
    (mean_y - slope * mean_x, slope)
}

impl Measured {
    /// Reads files of measurements and takes those that `keep` the wanted values of their keys.
    ///
    /// # Errors
    /// Fails where a file cannot be read, a size stands twice, a line has fewer than two sizes, or axes or machines differ.
    pub(crate) fn read(files: &[PathBuf], keep: impl Fn(&serde_json::Value) -> bool) -> Result<Self> {
        let mut all = Vec::new();
        for file in files {
            all.extend(measurements(file, &keep)?);
        }
        let refused = |fault: String| UserError::failed(format!("measurements of scale: {fault}"));
        let Some(first) = all.first().cloned() else {
            return Err(refused("there are none".to_owned()).into());
        };
        if all.iter().any(|other| other.axis != first.axis) {
            return Err(refused("several things grow; choose one with `where = { axis = … }`".into()).into());
        }
        if let Some(other) = all.iter().find(|other| other.machine != first.machine) {
            let fault = format!("two machines, {} and {}", first.machine, other.machine);
            return Err(refused(fault).into());
        }
        all.sort_by(|a, b| a.size.total_cmp(&b.size));
        let mut lines: BTreeMap<_, Vec<Measurement>> = BTreeMap::new();
        for point in all {
            let line = lines.entry((point.work.clone(), point.threads)).or_default();
            if line.last().is_some_and(|last| last.size >= point.size) {
                return Err(refused(format!("{} of {} stands twice", point.size, point.work)).into());
            }
            line.push(point);
        }
        if let Some(((work, threads), _)) = lines.iter().find(|(_, line)| line.len() < 2) {
            return Err(refused(format!("{work} on {threads} threads has one size")).into());
        }
        Ok(Self { axis: first.axis, machine: first.machine, lines })
    }

    /// Seconds of a step and memory over the size, both axes logarithmic.
    pub(crate) fn draw(&self) -> Result<Image> {
        let figure = Figure {
            title: self.axis.title().to_owned(),
            subtitle: format!(
                "{}. n^… is the growth over the {END} largest sizes; points are medians",
                self.machine
            ),
            x_label: self.axis.label().to_owned(),
            x_scale: Scale::Log,
            y_scale: Scale::Log,
            panels: vec![
                self.panel("seconds a training step", |point| point.seconds),
                self.panel("peak memory, MiB", |point| point.mib),
            ],
        };
        Ok(figure.draw()?)
    }

    fn panel(&self, y_label: &str, of: impl Fn(&Measurement) -> f64) -> Panel {
        const COLOURS: [Colour; 4] = [Colour::Blue, Colour::Vermillion, Colour::Green, Colour::Purple];
        let works: Vec<&String> = self.lines.keys().map(|(work, _)| work).collect();
        let series = self.lines.iter().map(|((work, threads), line)| {
            let points: Vec<(f64, f64)> = line.iter().map(|point| (point.size, of(point))).collect();
            // works stand side by side in the map, each as often as it has numbers of threads
            let mut different = works.clone();
            different.dedup();
            let place = different.iter().position(|other| *other == work).unwrap_or_default();
            Series {
                label: format!("{work}, {}: n^{}", on_threads(*threads), decimals(Law::of(&points).large, 2)),
                x: points.iter().map(|point| point.0).collect(),
                y: points.iter().map(|point| point.1).collect(),
                band: None,
                whiskers: None,
                colour: COLOURS[place % COLOURS.len()],
                dash: *threads > 1,
            }
        });
        Panel {
            title: String::new(),
            y_label: y_label.to_owned(),
            series: series.collect(),
            reference_lines: Vec::new(),
            y_range: None,
        }
    }

    /// A row for each work and number of threads: what the smallest and the largest size take, and the exponents.
    pub(crate) fn table(&self) -> String {
        let mut table =
            "| work | threads | sizes | seconds a step | exponent, small | bends at | exponent, large | MiB \
                         | exponent, large |\n|---|---|---|---|---|---|---|---|---|\n"
                .to_owned();
        for ((work, threads), line) in &self.lines {
            let law = |of: &dyn Fn(&Measurement) -> f64| {
                Law::of(&line.iter().map(|point| (point.size, of(point))).collect::<Vec<_>>())
            };
            let (time, memory) = (law(&|point| point.seconds), law(&|point| point.mib));
            let (first, last) = (&line[0], &line[line.len() - 1]);
            let bend = time.bend.map_or("–".to_owned(), |bend| decimals(bend, 0));
            let _ = writeln!(
                table,
                "| {work} | {threads} | {} to {} | {} to {} | {} | {bend} | {} | {} to {} | {} |",
                first.size,
                last.size,
                span(first),
                span(last),
                decimals(time.small, 2),
                decimals(time.large, 2),
                decimals(first.mib, 0),
                decimals(last.mib, 0),
                decimals(memory.large, 2),
            );
        }
        table
    }
}

/// A time with its extremes.
fn span(point: &Measurement) -> String {
    let digits = if point.seconds < 1.0 { 3 } else { 2 };
    let [median, fastest, slowest] =
        [point.seconds, point.seconds_min, point.seconds_max].map(|seconds| decimals(seconds, digits));
    format!("{median} ({fastest} – {slowest})")
}

fn on_threads(threads: usize) -> String {
    match threads {
        1 => "one thread".to_owned(),
        2 => "two threads".to_owned(),
        more => format!("{more} threads"),
    }
}

fn measurements(file: &Path, keep: impl Fn(&serde_json::Value) -> bool) -> Result<Vec<Measurement>> {
    let refused = |fault: String| UserError::failed(format!("{}: {fault}", file.display()));
    let bytes = experiment::read_at_most(file, LONGEST).map_err(|error| refused(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| refused(error.to_string()))?;
    let mut kept = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |error: String| refused(format!("line {}: {error}", index + 1));
        let value: serde_json::Value =
            serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
        if keep(&value) {
            let point: Measurement =
                serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
            let numbers = [point.size, point.seconds, point.seconds_min, point.seconds_max, point.mib];
            if numbers.iter().any(|number| !(*number > 0.0 && number.is_finite())) {
                return Err(wrong("sizes, seconds and mib are above 0".to_owned()).into());
            }
            kept.push(point);
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9 * b.abs().max(1.0)
    }

    #[test]
    fn a_power_is_found_and_has_no_bend() {
        let points: Vec<(f64, f64)> = (0..6).map(|i| 2_f64.powi(i)).map(|x| (x, 3.0 * x.powf(1.7))).collect();
        let law = Law::of(&points);
        assert!(near(law.small, 1.7) && near(law.large, 1.7) && law.bend.is_none(), "{law:?}");
    }

    #[test]
    fn two_powers_meet_at_the_bend() {
        // constant until 16, then quadratic
        let points: Vec<(f64, f64)> =
            (0..9).map(|i| 2_f64.powi(i)).map(|x| (x, (x / 16.0).max(1.0).powi(2))).collect();
        let law = Law::of(&points);
        assert!(near(law.small, 0.0) && near(law.large, 2.0) && near(law.bend.unwrap(), 16.0), "{law:?}");
        // two points at an end are a line, too
        let law = Law::of(&[(1.0, 2.0), (10.0, 20.0)]);
        assert!(near(law.small, 1.0) && law.bend.is_none(), "{law:?}");
    }

    fn file(folder: &tempfile::TempDir, lines: &[String]) -> Vec<PathBuf> {
        let path = folder.path().join("scale.jsonl");
        std::fs::write(&path, lines.join("\n")).unwrap();
        vec![path]
    }

    fn line(axis: &str, threads: usize, size: usize, machine: &str) -> String {
        let seconds = size as f64 / 100.0;
        format!(
            "{{\"axis\":\"{axis}\",\"work\":\"PPO\",\"threads\":{threads},\"size\":{size},\"seconds\":{seconds},\
             \"seconds_min\":{seconds},\"seconds_max\":{seconds},\"mib\":10,\"machine\":\"{machine}\"}}"
        )
    }

    #[test]
    fn measurements_become_a_row_for_each_number_of_threads() {
        let folder = tempfile::tempdir().unwrap();
        let lines =
            [(2, 100), (1, 100), (1, 10), (2, 10)].map(|(t, size)| line("environments", t, size, "m"));
        let measured = Measured::read(&file(&folder, &lines), |_| true).unwrap();
        let table = measured.table();
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(rows.len(), 2);
        let wanted = "| PPO | 1 | 10 to 100 | 0.100 (0.100 – 0.100) to 1.00 (1.00 – 1.00) | 1.00 | – | 1.00 | 10 to 10 \
                      | 0.00 |";
        assert_eq!(rows[0], wanted);
        measured.draw().unwrap();
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let good = line("environments", 1, 10, "m");
        for (other, wanted) in [
            (line("hidden", 1, 20, "m"), "several things grow"),
            (line("environments", 1, 20, "n"), "two machines, m and n"),
            (good.clone(), "10 of PPO stands twice"),
            (line("environments", 2, 10, "m"), "has one size"),
            (line("environments", 1, 0, "m"), "line 2: sizes, seconds and mib are above 0"),
            ("{}".to_owned(), "line 2: missing field `axis`"),
        ] {
            let error = Measured::read(&file(&folder, &[good.clone(), other]), |_| true).err().unwrap();
            assert!(error.to_string().contains(wanted), "{error}");
        }
        let error = Measured::read(&file(&folder, &[good]), |_| false).err().unwrap().to_string();
        assert!(error.ends_with("there are none"), "{error}");
    }
}
