//! Drawing of figures: header, panels, labels at the right ends of the lines.

use crate::canvas::{Canvas, DARK, Ink, MUTED, Point, Rect, WHITE};
use crate::end_labels::{self, EndLabel, Mark, block_height};
use crate::figure::drawable;
use crate::placing::place_on_line;
use crate::sheet::{
    AXIS, GRID, HEIGHT, Header, Heading, LABEL, MARGIN, PANEL_GAP, REFERENCE, TEXT, WIDTH, axes_left,
    draw_y_grid, panel_height, write_lines, write_no_data,
};
use crate::stretches::{are_apart, end_of, holds, is_seen, reaches_end, runs, trace};
use crate::text::Anchor;
use crate::ticks::{Axis, Tick};
use crate::{Band, Figure, Image, Panel, PlotError, Scale, Series};

/// Widest label at the end of a line, before it wraps.
const LABEL_WIDTH: f64 = 260.0;
/// Up to so many points are marked with a dot each.
const FEW_POINTS: usize = 40;
const LINE: f64 = 3.2;
/// A logarithmic axis shows no less than a factor of three: places of one value beside each other are no range.
const LEAST_DECADES: f64 = 0.5;
/// Radius of a point.
const DOT: f64 = 5.0;
/// Around a point of a series without a line, so that it is seen on a line of the same colour.
const RIM: f64 = 2.5;

/// What is known of a panel before anything is drawn.
struct Plan<'a> {
    panel: &'a Panel,
    y_axis: Axis,
    y_ticks: Vec<Tick>,
    /// The lines of text of each series' label.
    labels: Vec<Vec<String>>,
    /// Those of the reference lines whose names stand at the right, as they would cover a curve: which line, and the text.
    beside: Vec<(usize, Vec<String>)>,
    /// The axes, without their texts.
    area: Rect,
}

impl Plan<'_> {
    /// The texts at the right of the axes.
    fn texts_beside(&self) -> impl Iterator<Item = &Vec<String>> {
        self.labels.iter().chain(self.beside.iter().map(|(_, lines)| lines))
    }

    fn height_of_labels(&self) -> f64 {
        self.texts_beside().map(|lines| block_height(lines)).sum()
    }

    /// The stretches of each series between its gaps, on the sheet.
    fn runs(&self, x_axis: &Axis) -> Vec<Vec<Vec<Point>>> {
        let series = self.panel.series.iter();
        series.map(|series| runs(&series.x, &series.y, x_axis, &self.y_axis, &self.area)).collect()
    }

    /// Points all along the lines, of which these are the stretches, and the whiskers: what no name may cover.
    fn drawn(&self, runs: &[Vec<Vec<Point>>], x_axis: &Axis) -> Vec<Point> {
        let bands =
            self.panel.series.iter().filter_map(|series| Some((&series.x, series.whiskers.as_ref()?)));
        let whiskers = bands.flat_map(|(x, band)| edges(x, band, x_axis, self)).flatten();
        let mut lines = runs.concat();
        lines.extend(whiskers.map(|(x, lower, upper)| vec![(x, lower), (x, upper)]));
        trace(&lines)
    }
}

/// Where the axes of all panels stand.
struct Layout {
    left: f64,
    right: f64,
    bottom: f64,
    x_label: Vec<String>,
    footer_height: f64,
}

pub(crate) fn draw(figure: &Figure) -> Result<Image, PlotError> {
    let x_axis = shared_x_axis(figure);
    let mut plans: Vec<Plan> = figure.panels.iter().map(|panel| plan(panel, figure.y_scale)).collect();
    let left = axes_left(plans.iter().flat_map(|plan| &plan.y_ticks));
    let header = Header::new(&figure.title, &figure.subtitle, WIDTH);
    let heading = |plan: &Plan| Heading::new(&plan.panel.title, &plan.panel.y_label, WIDTH - MARGIN - left);
    let headings: Vec<Heading> = plans.iter().map(heading).collect();
    let mut layout = lay_out(&mut plans, &headings, left, header.bottom(), &figure.x_label);
    let beside: Vec<_> = plans.iter().map(|plan| names_on_curves(plan, &x_axis)).collect();
    if beside.iter().any(|names| !names.is_empty()) {
        plans.iter_mut().zip(beside).for_each(|(plan, names)| plan.beside = names);
        layout = lay_out(&mut plans, &headings, left, header.bottom(), &figure.x_label);
    }
    let Layout { left, right, bottom, x_label, footer_height } = layout;

    let mut canvas = Canvas::new(WIDTH, bottom + footer_height + 0.6 * MARGIN)?;
    header.draw(&mut canvas);
    let x_ticks = x_ticks(&x_axis, left, right);
    for (plan, heading) in plans.iter().zip(&headings) {
        heading.draw(&mut canvas, (left, plan.area.top - heading.height()));
        draw_panel(&mut canvas, plan, &x_axis, &x_ticks);
    }
    for tick in &x_ticks {
        let x = left + tick.at * (right - left);
        canvas.text(&tick.label, (x, bottom + 10.0 + TEXT.ascent()), TEXT, Anchor::Centre, MUTED);
    }
    let below = (f64::midpoint(left, right), bottom + 12.0 + TEXT.line_height());
    write_lines(&mut canvas, &x_label, below, TEXT, Anchor::Centre, DARK);
    Ok(canvas.finish())
}

/// Gives each panel its place below `top`.
fn lay_out(plans: &mut [Plan], headings: &[Heading], left: f64, top: f64, x_label: &str) -> Layout {
    let texts = plans.iter().flat_map(Plan::texts_beside).flatten();
    let right = WIDTH - MARGIN - end_labels::room(texts);
    let x_label = TEXT.wrap(x_label, right - left);
    let footer_height = (1 + x_label.len()) as f64 * TEXT.line_height() + 14.0;

    let mut y = top;
    let count = plans.len() as f64;
    let taken = y + headings.iter().map(Heading::height).sum::<f64>() + PANEL_GAP * (count - 1.0);
    let share = (HEIGHT - taken - footer_height - 0.6 * MARGIN) / count;
    let height = panel_height(plans.len(), share);
    for (plan, heading) in plans.iter_mut().zip(headings) {
        let (top, height) = (y + heading.height(), height.max(plan.height_of_labels()));
        plan.area = Rect { left, top, right, bottom: top + height };
        y = plan.area.bottom + PANEL_GAP;
    }
    Layout { left, right, bottom: y - PANEL_GAP, x_label, footer_height }
}

fn shared_x_axis(figure: &Figure) -> Axis {
    let series = figure.panels.iter().flat_map(|panel| &panel.series);
    let values = series.flat_map(|series| series.x.iter().zip(&series.y));
    let shown = values.filter(|(_, y)| drawable(**y)).map(|(x, _)| *x);
    Axis::fit(figure.x_scale, shown, 0.012).at_least(LEAST_DECADES)
}

/// As many ticks as have room for their numbers side by side.
fn x_ticks(axis: &Axis, left: f64, right: f64) -> Vec<Tick> {
    let fits = |ticks: &Vec<Tick>| {
        let mut free = 0.0;
        ticks.iter().all(|tick| {
            let (middle, half) = (left + tick.at * (right - left), TEXT.width(&tick.label) / 2.0);
            let fits = middle - half >= free && middle + half <= WIDTH;
            free = middle + half + TEXT.size;
            fits
        })
    };
    let most = ((right - left) / 120.0) as usize;
    (1..=most).rev().map(|count| axis.ticks(count)).find(fits).unwrap_or_default()
}

fn plan(panel: &Panel, scale: Scale) -> Plan<'_> {
    let y_axis = if let Some(ends) = panel.y_range {
        Axis::fit(scale, [ends.0, ends.1].into_iter(), 0.0)
    } else {
        let bands = panel.series.iter().flat_map(|series| series.band.iter().chain(&series.whiskers));
        let bands = bands.flat_map(|band| band.lower.iter().chain(&band.upper));
        let lines = panel.series.iter().flat_map(|series| &series.y);
        let references = panel.reference_lines.iter().map(|line| &line.y);
        // room for the names of reference lines above the data
        let padding = if panel.reference_lines.is_empty() { 0.06 } else { 0.09 };
        let values = lines.chain(bands).chain(references).copied();
        Axis::fit(scale, values, padding).at_least(LEAST_DECADES)
    };
    let labels = panel.series.iter().map(|series| LABEL.wrap(&series.label, LABEL_WIDTH)).collect();
    let area = Rect { left: 0.0, top: 0.0, right: 0.0, bottom: 0.0 };
    Plan { panel, y_axis, y_ticks: y_axis.ticks(6), labels, beside: Vec::new(), area }
}

fn draw_panel(canvas: &mut Canvas, plan: &Plan, x_axis: &Axis, x_ticks: &[Tick]) {
    let (panel, area) = (plan.panel, &plan.area);
    for tick in x_ticks {
        let x = area.left + tick.at * area.width();
        canvas.line(&[(x, area.top), (x, area.bottom)], 1.0, GRID);
    }
    draw_y_grid(canvas, area, &plan.y_ticks);
    canvas.line(&[(area.left, area.bottom), (area.right, area.bottom)], 1.4, AXIS);

    let runs = plan.runs(x_axis);
    let references = reference_lines(plan, &plan.drawn(&runs, x_axis));
    canvas.clipped(&area.grown(LINE), |canvas| {
        for series in &panel.series {
            draw_band(canvas, series, x_axis, plan);
        }
        for Reference { y, .. } in &references {
            canvas.line(&[(area.left, *y), (area.right, *y)], 2.0, REFERENCE);
        }
        for (series, runs) in panel.series.iter().zip(&runs) {
            draw_whiskers(canvas, series, x_axis, plan);
            draw_series(canvas, series, runs);
        }
    });
    // whole, also where they stand on an edge of the axes
    for (series, runs) in panel.series.iter().zip(&runs) {
        draw_dots(canvas, series, runs, area);
    }
    for Reference { name, .. } in &references {
        if let Some((place, lines, _)) = name {
            canvas.rect(place, Ink(WHITE.0, 0.75));
            write_lines(canvas, lines, (place.left + 4.0, place.top), TEXT, Anchor::Left, REFERENCE);
        }
    }
    if runs.iter().all(Vec::is_empty) {
        write_no_data(canvas, area);
    }
    draw_labels(canvas, plan, &runs, &references);
}

/// Where each point lies on the sheet, and the two ends of its uncertainty.
fn edges(x: &[f64], band: &Band, x_axis: &Axis, plan: &Plan) -> Vec<Option<(f64, f64, f64)>> {
    let area = &plan.area;
    let height_at = |y: f64| Some(area.bottom - plan.y_axis.position(y)? * area.height());
    let ends = x.iter().zip(band.lower.iter().zip(&band.upper));
    ends.map(|(x, (lower, upper))| {
        let x = area.left + x_axis.position(*x)? * area.width();
        Some((x, height_at(*lower)?, height_at(*upper)?))
    })
    .collect()
}

fn draw_whiskers(canvas: &mut Canvas, series: &Series, x_axis: &Axis, plan: &Plan) {
    const END: f64 = 6.0;
    const THICK: f64 = 2.0;
    let Some(band) = &series.whiskers else { return };
    let ink = Ink(series.colour.rgb(), 0.8);
    for (x, lower, upper) in edges(&series.x, band, x_axis, plan).into_iter().flatten() {
        // nothing of it lies within the axes
        if lower < plan.area.top || upper > plan.area.bottom {
            continue;
        }
        canvas.line(&[(x, lower), (x, upper)], THICK, ink);
        for y in [lower, upper] {
            end_whisker(canvas, (x, y), END, THICK, ink, &plan.area);
        }
    }
}

/// The end of a whisker: a line across, or, where it leaves the axes, an arrow that says so.
pub(crate) fn end_whisker(
    canvas: &mut Canvas,
    (x, y): Point,
    half: f64,
    thickness: f64,
    ink: Ink,
    area: &Rect,
) {
    let (edge, back) = match y {
        y if y < area.top => (area.top, 1.6 * half),
        y if y > area.bottom => (area.bottom, -1.6 * half),
        y => return canvas.line(&[(x - half, y), (x + half, y)], thickness, ink),
    };
    canvas.polygon(&[(x, edge), (x - half, edge + back), (x + half, edge + back)], ink);
}

fn draw_band(canvas: &mut Canvas, series: &Series, x_axis: &Axis, plan: &Plan) {
    let Some(band) = &series.band else { return };
    for pair in edges(&series.x, band, x_axis, plan).windows(2) {
        if let [Some(from), Some(to)] = *pair {
            canvas.strip(from, to, Ink(series.colour.rgb(), 0.2));
        }
    }
}

fn draw_series(canvas: &mut Canvas, series: &Series, runs: &[Vec<Point>]) {
    let ink = Ink(series.colour.rgb(), 1.0);
    for run in runs {
        if series.dash {
            canvas.dashed_line(run, LINE, ink);
        } else {
            canvas.line(run, LINE, ink);
        }
    }
}

/// Marks the points of a line where they are few, each that stands alone, and the end of a line that ends early: that
/// should be seen, whatever crosses it there.
fn draw_dots(canvas: &mut Canvas, series: &Series, runs: &[Vec<Point>], area: &Rect) {
    let few = runs.iter().map(Vec::len).sum::<usize>() <= FEW_POINTS;
    let alone = runs.iter().filter(|run| few || run.len() == 1).flatten().copied();
    let end = end_of(runs).filter(|end| !reaches_end(area, *end));
    for point in alone.chain(end).filter(|point| holds(area, *point)) {
        if are_apart(runs) {
            canvas.circle(point, DOT + RIM, WHITE);
        }
        canvas.circle(point, DOT, Ink(series.colour.rgb(), 1.0));
    }
}

/// A reference line that is to be seen.
struct Reference {
    /// Which of the panel's it is.
    index: usize,
    /// Its height on the sheet.
    y: f64,
    /// Where its name stands on it, the lines of that, and whether they keep off every curve; none where the name stands
    /// beside the axes.
    name: Option<(Rect, Vec<String>, bool)>,
}

fn reference_lines(plan: &Plan, points: &[Point]) -> Vec<Reference> {
    let area = &plan.area;
    let visible = plan.panel.reference_lines.iter().enumerate().filter_map(|(index, line)| {
        let at = plan.y_axis.position(line.y)?;
        (0.0..=1.0).contains(&at).then(|| (index, area.bottom - at * area.height(), &line.label))
    });
    let visible: Vec<(usize, f64, &String)> = visible.collect();
    let mut taken: Vec<Rect> = visible
        .iter()
        .map(|(_, y, _)| Rect { left: area.left, top: y - 1.0, right: area.right, bottom: y + 1.0 })
        .collect();
    let mut placed = Vec::new();
    for (index, y, label) in visible {
        let name = plan.beside.iter().all(|(other, _)| *other != index).then(|| {
            let lines = TEXT.wrap(label, area.width() - 8.0);
            let width = lines.iter().map(|line| TEXT.width(line)).fold(0.0, f64::max) + 8.0;
            let size = (width, lines.len() as f64 * TEXT.line_height());
            let (place, clear) = place_on_line(size, y, area, &taken, points);
            taken.push(place);
            (place, lines, clear)
        });
        placed.push(Reference { index, y, name });
    }
    placed
}

/// The reference lines whose names would lie on a curve wherever they stand, with the names as they are written beside the
/// axes.
fn names_on_curves(plan: &Plan, x_axis: &Axis) -> Vec<(usize, Vec<String>)> {
    let references = reference_lines(plan, &plan.drawn(&plan.runs(x_axis), x_axis));
    let covering = references.into_iter().filter(|line| matches!(line.name, Some((_, _, false))));
    let label = |index: usize| &plan.panel.reference_lines[index].label;
    covering.map(|line| (line.index, LABEL.wrap(label(line.index), LABEL_WIDTH))).collect()
}

/// Names the lines at their right ends, and the reference lines whose names stand there.
fn draw_labels(canvas: &mut Canvas, plan: &Plan, runs: &[Vec<Vec<Point>>], references: &[Reference]) {
    let area = &plan.area;
    let named = plan.panel.series.iter().zip(&plan.labels).zip(runs);
    let named = named.filter(|((_, lines), runs)| !lines.is_empty() && is_seen(area, runs));
    let beside = plan.beside.iter().filter_map(|(index, lines)| {
        let y = references.iter().find(|line| line.index == *index)?.y;
        Some(EndLabel {
            lines,
            y,
            reaches: true,
            ink: REFERENCE,
            mark: Mark::Line { thickness: 2.0, dash: false },
        })
    });
    let labels: Vec<EndLabel> = named
        .map(|((series, lines), runs)| {
            let end = end_of(runs);
            EndLabel {
                lines,
                y: end.map_or(area.bottom, |(_, y)| y),
                reaches: end.is_some_and(|end| reaches_end(area, end)),
                ink: Ink(series.colour.rgb(), 1.0),
                mark: if are_apart(runs) {
                    Mark::Point { radius: DOT }
                } else {
                    Mark::Line { thickness: LINE, dash: series.dash }
                },
            }
        })
        .chain(beside)
        .collect();
    end_labels::draw(canvas, area, &labels);
}
