//! Curves in the terminal above the bar, while a run trains: `--watch`.

use std::collections::BTreeMap;

use console::Style;
use ratatui_core::buffer::{Buffer, Cell};
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Stylize as _};
use ratatui_core::symbols::Marker;
use ratatui_core::widgets::Widget as _;
use ratatui_widgets::chart::{Axis, Chart, Dataset, GraphType};

use crate::driver::Watch;
use crate::numbers::decimals;
use crate::progress::Progress;

/// Lines of the chart, without those of its names and of the bar.
const HEIGHT: u16 = 14;
/// Columns of the chart, where the terminal has as many.
const WIDTH: u16 = 100;

/// The lines by their order; more curves than these are not drawn.
const COLOURS: [(Color, console::Color); 6] = [
    (Color::Blue, console::Color::Blue),
    (Color::Red, console::Color::Red),
    (Color::Green, console::Color::Green),
    (Color::Yellow, console::Color::Yellow),
    (Color::Magenta, console::Color::Magenta),
    (Color::Cyan, console::Color::Cyan),
];

/// The bar of a run with the curves of its newest evaluations above it. Nothing is drawn where stderr is no terminal.
#[derive(Debug)]
pub struct LiveView {
    unit: &'static str,
    quiet: bool,
    /// Whether a metric is drawn.
    wanted: fn(&str) -> bool,
    /// By metric: steps and values.
    curves: BTreeMap<String, Vec<(f64, f64)>>,
    /// The metrics of the newest evaluation.
    newest: Vec<String>,
    total: u64,
    progress: Option<Progress>,
}

impl LiveView {
    /// A view that appears when the run begins, counts `unit` and draws the metrics that are `wanted`; none where `quiet`.
    pub fn new(unit: &'static str, quiet: bool, wanted: fn(&str) -> bool) -> Self {
        let (curves, newest) = (BTreeMap::new(), Vec::new());
        Self { unit, quiet, wanted, curves, newest, total: 0, progress: None }
    }

    /// The curves that are drawn, with their names.
    fn shown(&self) -> impl Iterator<Item = (&str, &[(f64, f64)])> {
        let curves = self.newest.iter().filter_map(|name| self.curves.get_key_value(name));
        curves.map(|(name, points)| (name.as_str(), points.as_slice())).take(COLOURS.len())
    }

    /// The chart in `width` columns, a line of names under it.
    fn picture(&self, width: u16) -> String {
        let values = || self.shown().flat_map(|(_, points)| points).map(|(_, y)| *y);
        let (low, high) =
            values().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(y), high.max(y)));
        if low > high {
            return "no evaluation yet".to_owned();
        }
        // a flat curve has a height, too
        let margin = (0.05 * (high - low)).max(1e-3);
        let (low, high) = (low - margin, high + margin);
        let datasets = self.shown().zip(COLOURS).map(|((_, points), (colour, _))| {
            Dataset::default().data(points).marker(Marker::Braille).graph_type(GraphType::Line).fg(colour)
        });
        let total = self.total.max(1);
        let y = [low, f64::midpoint(low, high), high].map(|y| decimals(y, 2));
        let chart = Chart::new(datasets.collect())
            .x_axis(Axis::default().bounds([0.0, total as f64]).labels(["0".to_owned(), short(total)]))
            .y_axis(Axis::default().bounds([low, high]).labels(y))
            .legend_position(None);
        let area = Rect::new(0, 0, width, HEIGHT);
        let mut buffer = Buffer::empty(area);
        chart.render(area, &mut buffer);
        let names = self.shown().zip(COLOURS).map(|((name, points), (_, colour))| {
            let newest = points.last().map_or(f64::NAN, |(_, y)| *y);
            painted(&format!("━ {name} {}", decimals(newest, 3)), Some(colour))
        });
        lines(&buffer) + &names.collect::<Vec<_>>().join("  ")
    }

    fn draw(&self) {
        if let Some(progress) = &self.progress {
            progress.picture(|columns| self.picture(columns.min(WIDTH)));
        }
    }
}

impl Watch for LiveView {
    fn begin(&mut self, step: u64, total: u64) {
        self.total = total;
        let progress = Progress::new(total, self.quiet).counting(self.unit).with_picture();
        progress.start_at(step);
        self.progress = Some(progress);
        self.draw();
    }

    fn values(&mut self, step: u64, values: &[(String, f64)]) {
        let wanted: Vec<&(String, f64)> = values.iter().filter(|(name, _)| (self.wanted)(name)).collect();
        if wanted.is_empty() {
            return;
        }
        self.newest = wanted.iter().map(|(name, _)| name.clone()).collect();
        for (name, value) in wanted.into_iter().filter(|(_, value)| value.is_finite()) {
            self.curves.entry(name.clone()).or_default().push((step as f64, *value));
        }
        self.draw();
    }

    fn update(&mut self, step: u64, speed: f64, message: &str) {
        if let Some(progress) = &self.progress {
            progress.update(step, speed, message);
        }
    }

    fn end(&mut self) {
        self.progress = None;
    }
}

/// 2000000 as `2.0M`.
fn short(count: u64) -> String {
    let count = count as f64;
    let (value, unit) = match count {
        1e9.. => (count / 1e9, "G"),
        1e6.. => (count / 1e6, "M"),
        1e3.. => (count / 1e3, "k"),
        _ => return format!("{count}"),
    };
    format!("{value:.1}{unit}")
}

/// A buffer as text, a line a row, neighbours of one colour in one piece.
fn lines(buffer: &Buffer) -> String {
    let mut text = String::new();
    for row in buffer.content().chunks(usize::from(buffer.area.width)) {
        for cells in row.chunk_by(|a, b| a.fg == b.fg) {
            let colour = COLOURS.iter().find(|(colour, _)| *colour == cells[0].fg).map(|(_, colour)| *colour);
            let symbols: String = cells.iter().map(Cell::symbol).collect();
            text += &painted(&symbols, colour);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// A text in a colour, where stderr has colours and `NO_COLOR` does not say otherwise.
fn painted(text: &str, colour: Option<console::Color>) -> String {
    match colour {
        Some(colour) => Style::new().for_stderr().fg(colour).apply_to(text).to_string(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> LiveView {
        let mut view = LiveView::new("steps", true, |name| name.starts_with("eval/"));
        view.total = 2_000_000;
        view
    }

    fn values(pairs: &[(&str, f64)]) -> Vec<(String, f64)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn the_curves_of_the_newest_evaluation_are_drawn_between_their_bounds() {
        let mut view = view();
        assert_eq!(view.picture(60), "no evaluation yet");
        for i in 0..=10 {
            let y = f64::from(i) / 10.0;
            let record = [("eval/a", y), ("eval/b", -y), ("losses/c", 99.0), ("eval/none", f64::NAN)];
            view.values(u64::from(i as u32) * 200_000, &values(&record));
        }
        let picture = view.picture(60);
        let rows: Vec<&str> = picture.lines().collect();
        assert_eq!(rows.len(), usize::from(HEIGHT) + 1, "{picture}");
        assert!(rows[0].trim_start().starts_with("1.10 │"), "{picture}");
        assert!(rows[11].starts_with("-1.10"), "{picture}");
        assert!(rows[13].trim_start().starts_with('0') && rows[13].ends_with("2.0M"), "{picture}");
        assert_eq!(rows[14], "━ eval/a 1.000  ━ eval/b -1.000");
        // one rises to the upper right, the other falls to the lower right
        let last_filled = |row: &str| row.chars().rev().position(|c| c != ' ');
        assert!(last_filled(rows[1]) < Some(9) && last_filled(rows[10]) < Some(9), "{picture}");
        assert!(rows.iter().all(|row| row.chars().count() <= 60), "{picture}");
        view.values(2_000_000, &values(&[("eval/other", 0.5)]));
        assert!(view.picture(60).ends_with("\n━ eval/other 0.500"));
    }

    #[test]
    fn numbers_of_steps_are_short() {
        assert_eq!([999, 1_000, 2_500_000, 3_300_000_000].map(short), ["999", "1.0k", "2.5M", "3.3G"]);
    }
}
