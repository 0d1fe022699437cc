//! Drawing of bar charts: legend, bars, whiskers, names of groups and reference lines.

use crate::canvas::{Canvas, DARK, Ink, Rect, WHITE};
use crate::curves::end_whisker;
use crate::end_labels::{self, EndLabel, Mark, block_height};
use crate::figure::drawable;
use crate::legend::Legend;
use crate::sheet::{
    AXIS, HEIGHT, Header, Heading, LABEL, MARGIN, PANEL_GAP, REFERENCE, WIDTH, axes_left, draw_y_grid,
    panel_height, write_lines, write_no_data,
};
use crate::text::{Anchor, Font, wrap_all};
use crate::ticks::{Axis, Tick};
use crate::{BarChart, BarPanel, BarSeries, Image, PlotError};

/// Share of a group's width that its bars take.
const FILLED: f64 = 0.8;
/// Widest and narrowest bar.
const BAR: (f64, f64) = (96.0, 3.0);
/// Least height of a bar: also a value of zero is there.
const STUB: f64 = 3.0;
/// Least width of a group, for its name.
const GROUP: f64 = 28.0;
/// Sizes of the names of groups, in order of preference, and the gap between two of them.
const NAME_SIZES: [f64; 6] = [21.0, 19.0, 17.0, 15.0, 14.0, 13.0];
const NAME_GAP: f64 = 8.0;
/// From the axes to the names of groups.
const NAME_TOP: f64 = 8.0;
/// Widest name of a reference line, before it wraps.
const REFERENCE_NAME: f64 = 140.0;
const REFERENCE_LINE: f64 = 2.0;

/// What is known of a panel before anything is drawn.
struct Plan<'a> {
    panel: &'a BarPanel,
    y_axis: Axis,
    y_ticks: Vec<Tick>,
    /// The lines of text of each reference line's name.
    references: Vec<Vec<String>>,
    heading: Heading,
    legend: Legend,
    /// The names of the groups.
    font: Font,
    names: Vec<Vec<String>>,
    /// The axes, without their texts.
    area: Rect,
}

impl Plan<'_> {
    fn names_height(&self) -> f64 {
        let lines = self.names.iter().map(Vec::len).max().unwrap_or(0);
        NAME_TOP + lines as f64 * self.font.line_height()
    }

    /// The height of everything but the axes.
    fn texts_height(&self) -> f64 {
        self.heading.height() + self.legend.height + self.names_height()
    }

    fn group(&self, index: usize) -> (f64, f64) {
        let width = self.area.width() / self.panel.groups.len() as f64;
        (self.area.left + index as f64 * width, width)
    }

    /// The height of a value on the sheet; far outside the axes all heights are alike.
    fn height_at(&self, value: f64) -> Option<f64> {
        Some(self.area.bottom - self.y_axis.position(value)?.clamp(-1.0, 2.0) * self.area.height())
    }

    /// The height that bars grow from.
    fn base(&self) -> f64 {
        self.height_at(0.0).map_or(self.area.bottom, |y| y.clamp(self.area.top, self.area.bottom))
    }
}

pub(crate) fn draw(chart: &BarChart) -> Result<Image, PlotError> {
    let axes: Vec<Axis> = chart.panels.iter().map(y_axis).collect();
    let ticks: Vec<Vec<Tick>> = axes.iter().map(|axis| axis.ticks(8)).collect();
    let references: Vec<Vec<Vec<String>>> = chart.panels.iter().map(reference_names).collect();
    let left = axes_left(ticks.iter().flatten());
    let right_room = MARGIN + end_labels::room(references.iter().flatten().flatten());
    let needed = chart.panels.iter().map(least_width).fold(0.0, f64::max);
    let width = WIDTH.max((left + needed + right_room).ceil());
    // before the names of very many groups are measured
    Canvas::check_size(width, HEIGHT)?;
    let right = width - right_room;

    let header = Header::new(&chart.title, &chart.subtitle, width);
    let shared = chart.panels.windows(2).all(|pair| same_series(&pair[0], &pair[1]));
    let text_width = width - MARGIN - left;
    let legend = |panel: &BarPanel| {
        let names = panel.series.iter().map(|series| (series.label.as_str(), ink(series)));
        Legend::new(names, text_width)
    };
    let shared_legend = chart.panels.first().filter(|_| shared).map(legend);
    let plan = |(((panel, y_axis), y_ticks), references)| {
        let group_width = (right - left) / panel_groups(panel);
        let names: Vec<(&str, f64)> =
            panel.groups.iter().map(|name| (name.as_str(), group_width - NAME_GAP)).collect();
        let (font, names) = wrap_all(&names, &NAME_SIZES);
        Plan {
            panel,
            y_axis,
            y_ticks,
            references,
            heading: Heading::new(&panel.title, &panel.y_label, text_width),
            legend: if shared { Legend::new(std::iter::empty(), text_width) } else { legend(panel) },
            font,
            names,
            area: Rect { left, top: 0.0, right, bottom: 0.0 },
        }
    };
    let mut plans: Vec<Plan> = chart.panels.iter().zip(axes).zip(ticks).zip(references).map(plan).collect();

    let mut y = header.bottom() + shared_legend.as_ref().map_or(0.0, |legend| legend.height);
    let gaps = PANEL_GAP * (plans.len() - 1) as f64;
    let taken = y + gaps + plans.iter().map(Plan::texts_height).sum::<f64>() + MARGIN;
    let height = panel_height(plans.len(), (HEIGHT - taken) / plans.len() as f64);
    for plan in &mut plans {
        let of_names: f64 = plan.references.iter().map(|lines| block_height(lines)).sum();
        plan.area.top = (y + plan.heading.height() + plan.legend.height).round();
        plan.area.bottom = (plan.area.top + height.max(of_names)).round();
        y = plan.area.bottom + plan.names_height() + PANEL_GAP;
    }

    let mut canvas = Canvas::new(width, y - PANEL_GAP + MARGIN)?;
    header.draw(&mut canvas);
    if let Some(legend) = &shared_legend {
        legend.draw(&mut canvas, (left, header.bottom()));
    }
    for plan in &plans {
        draw_panel(&mut canvas, plan);
    }
    Ok(canvas.finish())
}

fn panel_groups(panel: &BarPanel) -> f64 {
    panel.groups.len() as f64
}

/// The width of axes in which every bar can be seen.
fn least_width(panel: &BarPanel) -> f64 {
    panel_groups(panel) * GROUP.max(panel.series.len() as f64 * BAR.1 / FILLED)
}

fn same_series(a: &BarPanel, b: &BarPanel) -> bool {
    let names = |panel: &BarPanel| -> Vec<_> {
        panel.series.iter().map(|series| (series.label.clone(), series.colour)).collect()
    };
    names(a) == names(b)
}

fn y_axis(panel: &BarPanel) -> Axis {
    if let Some((low, high)) = panel.y_range {
        return Axis::linear(low, high);
    }
    let intervals = panel.series.iter().filter_map(|series| series.interval.as_ref());
    let intervals = intervals.flat_map(|interval| interval.lower.iter().chain(&interval.upper));
    let values = panel.series.iter().flat_map(|series| &series.values);
    let references = panel.reference_lines.iter().map(|line| &line.y);
    Axis::fit_from_zero(values.chain(intervals).chain(references).copied(), 0.05)
}

fn reference_names(panel: &BarPanel) -> Vec<Vec<String>> {
    panel.reference_lines.iter().map(|line| LABEL.wrap(&line.label, REFERENCE_NAME)).collect()
}

fn ink(series: &BarSeries) -> Ink {
    Ink(series.colour.rgb(), 1.0)
}

fn draw_panel(canvas: &mut Canvas, plan: &Plan) {
    let (panel, area) = (plan.panel, &plan.area);
    let heading_top = area.top - plan.heading.height() - plan.legend.height;
    plan.heading.draw(canvas, (area.left, heading_top));
    plan.legend.draw(canvas, (area.left, area.top - plan.legend.height));
    draw_y_grid(canvas, area, &plan.y_ticks);

    let lines = panel.reference_lines.iter().zip(&plan.references);
    let lines: Vec<(f64, &Vec<String>)> = lines
        .filter_map(|(line, name)| Some((plan.height_at(line.y)?, name)))
        .filter(|(y, _)| (area.top - 0.5..=area.bottom + 0.5).contains(y))
        .collect();
    canvas.clipped(&area.grown(1.0), |canvas| {
        for (index, series) in panel.series.iter().enumerate() {
            draw_bars(canvas, plan, index, series);
        }
        let base = plan.base();
        canvas.line(&[(area.left, base), (area.right, base)], 1.4, AXIS);
        for (y, _) in &lines {
            canvas.line(&[(area.left, *y), (area.right, *y)], REFERENCE_LINE, REFERENCE);
        }
        for (index, series) in panel.series.iter().enumerate() {
            draw_whiskers(canvas, plan, index, series);
        }
    });
    let labels: Vec<EndLabel> = lines
        .iter()
        .filter(|(_, name)| !name.is_empty())
        .map(|(y, name)| EndLabel {
            lines: name,
            y: *y,
            reaches: true,
            ink: REFERENCE,
            mark: Mark::Line { thickness: REFERENCE_LINE, dash: false },
        })
        .collect();
    end_labels::draw(canvas, area, &labels);
    for (index, lines) in plan.names.iter().enumerate() {
        let (left, width) = plan.group(index);
        let start = (left + width / 2.0, area.bottom + NAME_TOP);
        write_lines(canvas, lines, start, plan.font, Anchor::Centre, DARK);
    }
    let values = panel.series.iter().flat_map(|series| &series.values);
    if !values.copied().any(drawable) {
        write_no_data(canvas, area);
    }
}

/// Left and right edge of a bar.
fn bar(plan: &Plan, group: usize, series: usize) -> (f64, f64) {
    let (left, group_width) = plan.group(group);
    let count = plan.panel.series.len() as f64;
    let width = (FILLED * group_width / count).min(BAR.0);
    let first = left + (group_width - count * width) / 2.0;
    let (left, right) = (first + series as f64 * width, first + (series + 1) as f64 * width);
    // edges between pixels are sharp; bars side by side are told apart by a gap
    if width < 8.0 { (left, right) } else { (left.round(), right.round() - 2.0) }
}

fn draw_bars(canvas: &mut Canvas, plan: &Plan, index: usize, series: &BarSeries) {
    let base = plan.base();
    for (group, value) in series.values.iter().enumerate() {
        let Some(end) = plan.height_at(*value) else { continue };
        let (left, right) = bar(plan, group, index);
        let length = (base - end).abs().max(STUB);
        // a value of zero goes up, or down from the upper end of the axes
        let down = end > base || base <= plan.area.top;
        let (top, bottom) = if down { (base, base + length) } else { (base - length, base) };
        canvas.rect(&Rect { left, top, right, bottom }, ink(series));
    }
}

fn draw_whiskers(canvas: &mut Canvas, plan: &Plan, index: usize, series: &BarSeries) {
    let Some(interval) = &series.interval else { return };
    let ends = interval.lower.iter().zip(&interval.upper);
    for (group, (value, (lower, upper))) in series.values.iter().zip(ends).enumerate() {
        let (true, Some(lower), Some(upper)) =
            (drawable(*value), plan.height_at(*lower), plan.height_at(*upper))
        else {
            continue;
        };
        let (left, right) = bar(plan, group, index);
        let (middle, width) = (f64::midpoint(left, right), right - left);
        let (cap, thickness) = ((0.28 * width).min(9.0), (0.3 * width).min(2.4));
        // a light edge keeps a whisker visible on a dark bar
        for (ink, thickness) in [(Ink(WHITE.0, 0.8), thickness + 2.4), (DARK, thickness)] {
            canvas.line(&[(middle, lower), (middle, upper)], thickness, ink);
            for y in [lower, upper] {
                end_whisker(canvas, (middle, y), cap, thickness, ink, &plan.area);
            }
        }
    }
}
