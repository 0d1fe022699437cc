//! A sheet to draw on in units of output pixels. Shapes are rasterised by plotters at three times the size
//! and averaged down, which smooths every edge alike.

use plotters::backend::{BitMapBackend, DrawingBackend};
use plotters::style::RGBAColor;

use crate::text::{Anchor, Font};
use crate::{Image, PlotError};

/// Supersampling in each direction.
const SCALE: u32 = 3;

/// Limits of a sheet in output pixels. While it is drawn, a pixel takes 27 bytes.
const LONGEST_SIDE: f64 = 16_000.0;
const LARGEST_AREA: f64 = 12e6;

/// A place on the sheet: pixels from the left and from the top.
pub(crate) type Point = (f64, f64);

/// A colour with its opacity.
#[derive(Clone, Copy)]
pub(crate) struct Ink(pub [u8; 3], pub f64);

/// The colour of text and arrows.
pub(crate) const DARK: Ink = Ink([28, 30, 33], 1.0);
/// The colour of less important text.
pub(crate) const MUTED: Ink = Ink([84, 88, 94], 1.0);
/// The paper.
pub(crate) const WHITE: Ink = Ink([255, 255, 255], 1.0);

impl Ink {
    fn rgba(self) -> RGBAColor {
        let [red, green, blue] = self.0;
        RGBAColor(red, green, blue, self.1)
    }
}

/// An axis-parallel rectangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rect {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

impl Rect {
    pub(crate) fn width(&self) -> f64 {
        self.right - self.left
    }

    pub(crate) fn height(&self) -> f64 {
        self.bottom - self.top
    }

    /// The rectangle moved outwards by `margin` on all sides.
    pub(crate) fn grown(&self, margin: f64) -> Self {
        Self {
            left: self.left - margin,
            top: self.top - margin,
            right: self.right + margin,
            bottom: self.bottom + margin,
        }
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }
}

pub(crate) struct Canvas {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Canvas {
    /// A white sheet; an error if it would be too large to work with.
    pub(crate) fn new(width: f64, height: f64) -> Result<Self, PlotError> {
        Self::check_size(width, height)?;
        let (width, height) = (width.ceil() as u32, height.ceil() as u32);
        Ok(Self { width, height, pixels: vec![255; (3 * SCALE * SCALE * width * height) as usize] })
    }

    /// An error if a sheet would be too large to work with.
    pub(crate) fn check_size(width: f64, height: f64) -> Result<(), PlotError> {
        let (width, height) = (width.ceil(), height.ceil());
        if width.max(height) > LONGEST_SIDE || width * height > LARGEST_AREA {
            return Err(PlotError::TooLarge { size: (width as u64, height as u64) });
        }
        Ok(())
    }

    fn backend(&mut self) -> BitMapBackend<'_> {
        BitMapBackend::with_buffer(&mut self.pixels, (SCALE * self.width, SCALE * self.height))
    }

    pub(crate) fn rect(&mut self, rect: &Rect, ink: Ink) {
        let (from, to) = (fine((rect.left, rect.top)), fine((rect.right, rect.bottom)));
        // drawing into memory cannot fail, here and below
        let _ = self.backend().draw_rect(from, to, &ink.rgba(), true);
    }

    pub(crate) fn polygon(&mut self, corners: &[Point], ink: Ink) {
        let _ = self.backend().fill_polygon(corners.iter().copied().map(fine), &ink.rgba());
    }

    /// Fills between two edges over a stretch of x, column by column, so that stretches side by side do not
    /// overlap. Each end is x, then the heights of the two edges.
    pub(crate) fn strip(&mut self, from: (f64, f64, f64), to: (f64, f64, f64), ink: Ink) {
        let ((first, _), (last, _)) = (fine((from.0, 0.0)), fine((to.0, 0.0)));
        for column in first..last {
            let share = f64::from(column - first) / f64::from(last - first);
            let x = f64::from(column) / f64::from(SCALE);
            let edge = |from: f64, to: f64| from + share * (to - from);
            let (a, b) = (fine((x, edge(from.1, to.1))), fine((x, edge(from.2, to.2))));
            let _ = self.backend().draw_rect(a, (column + 1, b.1), &ink.rgba(), true);
        }
    }

    pub(crate) fn circle(&mut self, centre: Point, radius: f64, ink: Ink) {
        let radius = (radius * f64::from(SCALE)).round() as u32;
        let _ = self.backend().draw_circle(fine(centre), radius, &ink.rgba(), true);
    }

    /// A line with round joints and ends. Each stretch is drawn on its own: noisy curves double back on
    /// themselves, and one outline around all of them would have holes.
    pub(crate) fn line(&mut self, points: &[Point], thickness: f64, ink: Ink) {
        let Some((&first, rest)) = points.split_first() else { return };
        let radius = thickness / 2.0;
        self.circle(first, radius, ink);
        let mut from = first;
        for (index, &to) in rest.iter().enumerate() {
            let (dx, dy) = (to.0 - from.0, to.1 - from.1);
            let length = dx.hypot(dy);
            // points closer than a fraction of a pixel add nothing that can be seen
            if length < 0.3 && index + 1 < rest.len() {
                continue;
            }
            if length > 0.0 {
                let (nx, ny) = (-dy / length * radius, dx / length * radius);
                self.polygon(
                    &[
                        (from.0 + nx, from.1 + ny),
                        (to.0 + nx, to.1 + ny),
                        (to.0 - nx, to.1 - ny),
                        (from.0 - nx, from.1 - ny),
                    ],
                    ink,
                );
                self.circle(to, radius, ink);
            }
            from = to;
        }
    }

    /// The outline of a rectangle.
    pub(crate) fn frame(&mut self, rect: &Rect, thickness: f64, ink: Ink) {
        let Rect { left, top, right, bottom } = *rect;
        self.line(&[(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], thickness, ink);
    }

    /// A line broken into dashes of equal length along its way.
    pub(crate) fn dashed_line(&mut self, points: &[Point], thickness: f64, ink: Ink) {
        const DASH: f64 = 11.0;
        const PERIOD: f64 = 20.0;
        let mut travelled = 0.0;
        let mut dash: Vec<Point> = points.first().copied().into_iter().collect();
        for pair in points.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            let length = (to.0 - from.0).hypot(to.1 - from.1);
            let mut done = 0.0;
            while done < length {
                let phase = travelled % PERIOD;
                let next = if phase < DASH { DASH - phase } else { PERIOD - phase };
                // at least a little way, or rounding could keep the pen on the spot
                let step = next.max(1e-6).min(length - done);
                done += step;
                travelled += step;
                let share = done / length;
                let pen = (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1));
                if phase < DASH {
                    dash.push(pen);
                } else {
                    dash = vec![pen];
                }
                if phase < DASH && travelled % PERIOD >= DASH {
                    self.line(&dash, thickness, ink);
                    dash.clear();
                }
            }
        }
        self.line(&dash, thickness, ink);
    }

    /// One line of text on the baseline `at.1`.
    pub(crate) fn text(&mut self, text: &str, at: Point, font: Font, anchor: Anchor, ink: Ink) {
        let left = match anchor {
            Anchor::Left => at.0,
            Anchor::Centre => at.0 - font.width(text) / 2.0,
            Anchor::Right => at.0 - font.width(text),
        };
        let colour = ink.rgba();
        let style = font.style(f64::from(SCALE), &colour);
        // the backend measures from half the font's height above the baseline
        let (x, y) = fine((left, at.1));
        let top = y - (font.height() * f64::from(SCALE) / 2.0).round() as i32;
        let _ = self.backend().draw_text(text, &style, (x, top));
    }

    /// Runs `draw` and keeps what it drew inside `rect` only.
    pub(crate) fn clipped(&mut self, rect: &Rect, draw: impl FnOnce(&mut Self)) {
        let before = self.pixels.clone();
        draw(self);
        let ((left, top), (right, bottom)) = (fine((rect.left, rect.top)), fine((rect.right, rect.bottom)));
        let row_bytes = (3 * SCALE * self.width) as usize;
        let kept = 3 * left.max(0) as usize..(3 * right.max(0) as usize).min(row_bytes);
        let rows = self.pixels.chunks_exact_mut(row_bytes).zip(before.chunks_exact(row_bytes));
        for (y, (row, old)) in rows.enumerate() {
            if (top..bottom).contains(&(y as i32)) {
                row[..kept.start].copy_from_slice(&old[..kept.start]);
                row[kept.end..].copy_from_slice(&old[kept.end..]);
            } else {
                row.copy_from_slice(old);
            }
        }
    }

    /// The picture at its output size.
    pub(crate) fn finish(self) -> Image {
        let (width, scale) = (self.width as usize, SCALE as usize);
        let row_bytes = 3 * scale * width;
        let mut pixels = Vec::with_capacity(3 * width * self.height as usize);
        for rows in self.pixels.chunks_exact(scale * row_bytes) {
            let mut sums = vec![0_u16; 3 * width];
            for row in rows.chunks_exact(row_bytes) {
                for (block, sum) in row.chunks_exact(3 * scale).zip(sums.chunks_exact_mut(3)) {
                    for pixel in block.chunks_exact(3) {
                        for (channel, total) in pixel.iter().zip(sum.iter_mut()) {
                            *total += u16::from(*channel);
                        }
                    }
                }
            }
            let samples = (SCALE * SCALE) as u16;
            pixels.extend(sums.iter().map(|sum| ((sum + samples / 2) / samples) as u8));
        }
        Image { width: self.width, height: self.height, pixels }
    }
}

/// The nearest place on the fine grid. Far outside the sheet all places are alike, and the backend counts in
/// 32 bits.
fn fine((x, y): Point) -> (i32, i32) {
    let round = |value: f64| (value.clamp(-2e4, 2e4) * f64::from(SCALE)).round() as i32;
    (round(x), round(y))
}
