//! What every chart is made of: sizes, fonts and inks, the header, headings of panels, the y-axis.

use crate::canvas::{Canvas, DARK, Ink, MUTED, Point, Rect, WHITE};
use crate::text::{Anchor, Font};
use crate::ticks::Tick;

/// Width of a chart.
pub(crate) const WIDTH: f64 = 1200.0;
/// Least height of a chart with axes.
pub(crate) const HEIGHT: f64 = 720.0;
pub(crate) const MARGIN: f64 = 30.0;
/// Heights of the axes of one panel, at least, and of each of several.
const SINGLE_PANEL: f64 = 360.0;
const STACKED_PANEL: f64 = 240.0;
pub(crate) const PANEL_GAP: f64 = 26.0;

const TITLE: Font = Font::bold(30.0);
const HEADING: Font = Font::bold(23.0);
pub(crate) const TEXT: Font = Font::regular(21.0);
/// The names of series.
pub(crate) const LABEL: Font = Font::regular(22.0);

pub(crate) const GRID: Ink = Ink([226, 228, 231], 1.0);
const ZERO: Ink = Ink([176, 180, 186], 1.0);
pub(crate) const AXIS: Ink = Ink([110, 114, 120], 1.0);
/// The colour of reference lines.
pub(crate) const REFERENCE: Ink = Ink([84, 88, 94], 1.0);
/// The colour of frames around cells.
pub(crate) const FRAME: Ink = Ink([150, 154, 160], 1.0);
/// The colour of a cell without a value.
pub(crate) const UNKNOWN: Ink = Ink([214, 214, 214], 1.0);

/// Title and subtitle of a chart, in lines.
pub(crate) struct Header {
    title: Vec<String>,
    subtitle: Vec<String>,
}

impl Header {
    /// The header of a chart that is `width` wide.
    pub(crate) fn new(title: &str, subtitle: &str, width: f64) -> Self {
        let width = width - 2.0 * MARGIN;
        Self { title: TITLE.wrap(title, width), subtitle: TEXT.wrap(subtitle, width) }
    }

    /// Where the rest of the chart begins.
    pub(crate) fn bottom(&self) -> f64 {
        let title = self.title.len() as f64 * TITLE.line_height();
        0.8 * MARGIN + title + self.subtitle.len() as f64 * TEXT.line_height() + 14.0
    }

    pub(crate) fn draw(&self, canvas: &mut Canvas) {
        let start = (MARGIN, 0.8 * MARGIN);
        let below = write_lines(canvas, &self.title, start, TITLE, Anchor::Left, DARK);
        write_lines(canvas, &self.subtitle, (MARGIN, below), TEXT, Anchor::Left, MUTED);
    }
}

/// Title of a panel and label of its y-axis, in lines; they stand above the axes.
pub(crate) struct Heading {
    title: Vec<String>,
    y_label: Vec<String>,
}

impl Heading {
    pub(crate) fn new(title: &str, y_label: &str, width: f64) -> Self {
        Self { title: HEADING.wrap(title, width), y_label: TEXT.wrap(y_label, width) }
    }

    /// The height it takes, with the gap to the axes.
    pub(crate) fn height(&self) -> f64 {
        let title = self.title.len() as f64 * HEADING.line_height();
        title + self.y_label.len() as f64 * TEXT.line_height() + 12.0
    }

    /// Writes it from its upper left corner.
    pub(crate) fn draw(&self, canvas: &mut Canvas, start: Point) {
        let below = write_lines(canvas, &self.title, start, HEADING, Anchor::Left, DARK);
        write_lines(canvas, &self.y_label, (start.0, below), TEXT, Anchor::Left, MUTED);
    }
}

/// The height of the axes of each of `count` panels, when the chart's least height leaves `share` for it.
pub(crate) fn panel_height(count: usize, share: f64) -> f64 {
    share.max(if count == 1 { SINGLE_PANEL } else { STACKED_PANEL })
}

/// Where the axes begin: far enough from the left edge for the numbers of the y-axes.
pub(crate) fn axes_left<'a>(ticks: impl Iterator<Item = &'a Tick>) -> f64 {
    MARGIN + ticks.map(|tick| TEXT.width(&tick.label)).fold(0.0, f64::max) + 14.0
}

/// Horizontal grid lines with their numbers at the left.
pub(crate) fn draw_y_grid(canvas: &mut Canvas, area: &Rect, ticks: &[Tick]) {
    for tick in ticks {
        let y = area.bottom - tick.at * area.height();
        let ink = if tick.zero { ZERO } else { GRID };
        canvas.line(&[(area.left, y), (area.right, y)], 1.0, ink);
        let baseline = y + 0.36 * TEXT.size;
        canvas.text(&tick.label, (area.left - 12.0, baseline), TEXT, Anchor::Right, MUTED);
    }
}

/// Says in the middle of the axes that there is nothing to see.
pub(crate) fn write_no_data(canvas: &mut Canvas, area: &Rect) {
    let middle = (f64::midpoint(area.left, area.right), f64::midpoint(area.top, area.bottom));
    let half = LABEL.width("no data") / 2.0 + 8.0;
    let (top, bottom) = (middle.1 - LABEL.size, middle.1 + 0.5 * LABEL.size);
    canvas.rect(&Rect { left: middle.0 - half, top, right: middle.0 + half, bottom }, WHITE);
    canvas.text("no data", middle, LABEL, Anchor::Centre, MUTED);
}

/// Writes lines below each other from the upper end `at.1`; returns the lower end.
pub(crate) fn write_lines(
    canvas: &mut Canvas,
    lines: &[String],
    at: Point,
    font: Font,
    anchor: Anchor,
    ink: Ink,
) -> f64 {
    let mut top = at.1;
    for line in lines {
        canvas.text(line, (at.0, top + font.ascent()), font, anchor, ink);
        top += font.line_height();
    }
    top
}
