//! Names of colours, side by side above what they name.

use crate::canvas::{Canvas, DARK, Ink, Point, Rect};
use crate::sheet::{LABEL, write_lines};
use crate::text::Anchor;

/// The side of a coloured square, and its gap to the name.
const SQUARE: f64 = 20.0;
const SQUARE_GAP: f64 = 9.0;
/// From one name to the next square.
const ENTRY_GAP: f64 = 30.0;
/// From the legend to what stands below it.
const BELOW: f64 = 12.0;

/// Where each named colour stands, from the upper left corner of the legend.
pub(crate) struct Legend {
    entries: Vec<(Point, Ink, Vec<String>)>,
    pub height: f64,
}

impl Legend {
    /// Places the names, from the left, in as many rows as they take in `width`. Colours without a name are
    /// left out.
    pub(crate) fn new<'a>(names: impl Iterator<Item = (&'a str, Ink)>, width: f64) -> Self {
        let indent = SQUARE + SQUARE_GAP;
        let (mut left, mut top, mut row_height) = (0.0, 0.0, 0.0_f64);
        let mut entries = Vec::new();
        for (name, ink) in names {
            let lines = LABEL.wrap(name, width - indent);
            if lines.is_empty() {
                continue;
            }
            let entry_width = indent + lines.iter().map(|line| LABEL.width(line)).fold(0.0, f64::max);
            if left > 0.0 && left + entry_width > width {
                (left, top, row_height) = (0.0, top + row_height, 0.0);
            }
            row_height = row_height.max(lines.len() as f64 * LABEL.line_height());
            entries.push(((left, top), ink, lines));
            left += entry_width + ENTRY_GAP;
        }
        let height = if entries.is_empty() { 0.0 } else { top + row_height + BELOW };
        Self { entries, height }
    }

    /// Draws it with its upper left corner at `start`.
    pub(crate) fn draw(&self, canvas: &mut Canvas, start: Point) {
        for ((x, y), ink, lines) in &self.entries {
            let (left, top) = ((start.0 + x).round(), start.1 + y);
            // the square stands on the baseline, a little lower, so that it is centred on the letters
            let bottom = (top + LABEL.ascent() + 2.0).round();
            canvas.rect(&Rect { left, top: bottom - SQUARE, right: left + SQUARE, bottom }, *ink);
            let text = (left + SQUARE + SQUARE_GAP, top);
            write_lines(canvas, lines, text, LABEL, Anchor::Left, DARK);
        }
    }
}
