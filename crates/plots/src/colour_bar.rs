//! The bar that says which value a tint stands for.

use crate::canvas::{Canvas, DARK, Ink, Rect};
use crate::sheet::{FRAME, TEXT};
use crate::text::Anchor;

/// Width of the bar, without its numbers.
pub(crate) const BAR_WIDTH: f64 = 26.0;
/// From the bar to its numbers.
pub(crate) const NUMBER_GAP: f64 = 10.0;

/// Draws the bar, with `tint` giving the colours from 0 at the lower end to 1 at the upper, and numbers at
/// shares of its height.
pub(crate) fn draw(canvas: &mut Canvas, bar: &Rect, tint: impl Fn(f64) -> Ink, numbers: &[(f64, &str)]) {
    const STEPS: usize = 256;
    for step in 0..STEPS {
        let share = |step: usize| step as f64 / STEPS as f64;
        let (top, bottom) = (bar.top + share(step) * bar.height(), bar.top + share(step + 1) * bar.height());
        let slice = Rect { top, bottom, ..*bar };
        canvas.rect(&slice, tint(1.0 - (step as f64 + 0.5) / STEPS as f64));
    }
    canvas.frame(bar, 1.6, FRAME);
    for (at, number) in numbers {
        // the numbers at the ends stay between the ends
        let y = bar.bottom - at * bar.height() + (at - 0.5) * 0.8 * TEXT.size;
        let start = (bar.right + NUMBER_GAP, y + 0.36 * TEXT.size);
        canvas.text(number, start, TEXT, Anchor::Left, DARK);
    }
}
