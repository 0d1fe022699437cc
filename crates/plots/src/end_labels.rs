//! Names at the right of the axes, each joined to its line by a piece of it.

use crate::canvas::{Canvas, DARK, Ink, Rect};
use crate::placing::spread;
use crate::sheet::{LABEL, write_lines};
use crate::text::Anchor;

/// From the axes to the names at their right: room for a piece of the line.
pub(crate) const CONNECTOR: f64 = 46.0;
const GAP: f64 = 4.0;

/// The name of a line and what it should be joined to.
pub(crate) struct EndLabel<'a> {
    pub lines: &'a [String],
    /// The height that the name should stand at.
    pub y: f64,
    /// Whether the line comes to the right end of the axes, there at height `y`.
    pub reaches: bool,
    pub ink: Ink,
    pub mark: Mark,
}

/// What joins a name to what it names.
#[derive(Clone, Copy)]
pub(crate) enum Mark {
    /// A piece of a line of that thickness.
    Line { thickness: f64, dash: bool },
    /// A point of that radius, for points without a line.
    Point { radius: f64 },
}

/// The height that a name takes at least.
pub(crate) fn block_height(lines: &[String]) -> f64 {
    if lines.is_empty() { 0.0 } else { lines.len() as f64 * LABEL.line_height() + GAP }
}

/// The room at the right of the axes that the names take.
pub(crate) fn room<'a>(lines: impl Iterator<Item = &'a String>) -> f64 {
    let widest = lines.map(|line| LABEL.width(line)).fold(0.0, f64::max);
    if widest > 0.0 { widest + CONNECTOR } else { 0.0 }
}

/// Writes the names as near to their heights as they go without covering each other.
pub(crate) fn draw(canvas: &mut Canvas, area: &Rect, labels: &[EndLabel]) {
    let wishes: Vec<(f64, f64)> = labels
        .iter()
        .map(|label| (label.y.clamp(area.top, area.bottom), block_height(label.lines)))
        .collect();
    let centres = spread(&wishes, area.top - 10.0, area.bottom + 10.0);
    for ((label, (y, height)), centre) in labels.iter().zip(wishes).zip(centres) {
        let from = if label.reaches { y } else { centre };
        let piece = [(area.right + 8.0, from), (area.right + CONNECTOR - 8.0, centre)];
        match label.mark {
            Mark::Line { thickness, dash: true } => canvas.dashed_line(&piece, thickness, label.ink),
            Mark::Line { thickness, dash: false } => canvas.line(&piece, thickness, label.ink),
            Mark::Point { radius } => {
                canvas.circle((area.right + CONNECTOR - 16.0, centre), radius, label.ink);
            }
        }
        let start = (area.right + CONNECTOR, centre - (height - GAP) / 2.0);
        write_lines(canvas, label.lines, start, LABEL, Anchor::Left, DARK);
    }
}
