//! Drawing of image grids: labels and enlarged images.

use crate::canvas::{Canvas, DARK, Ink, MUTED, Point, Rect};
use crate::sheet::{AXIS, FRAME, Header, MARGIN, TEXT, WIDTH, write_lines};
use crate::text::{Anchor, wrap_all};
use crate::{Colour, Image, ImageGrid, PlotError};

/// Longest side of an enlarged image; one that is longer by itself is not enlarged.
const LARGEST: f64 = 196.0;
/// Least and greatest gap between images.
const GAP: (f64, f64) = (1.0, 6.0);
/// Least gap between rows.
const ROW_GAP: f64 = 4.0;
/// Widest label of a row, before it wraps.
const ROW_LABEL: f64 = 200.0;
const ROW_LABEL_GAP: f64 = 14.0;
/// Sizes of the labels of columns, in order of preference, and the gap between two of them.
const LABEL_SIZES: [f64; 6] = [21.0, 19.0, 17.0, 15.0, 14.0, 13.0];
const LABEL_GAP: f64 = 6.0;
/// From the labels of columns to their lines, and from those to the images.
const LINE_GAP: (f64, f64) = (4.0, 6.0);

/// The places of the images.
struct Layout {
    /// How many pixels a pixel becomes in each direction.
    scale: f64,
    /// Width and height of an enlarged image.
    tile: (f64, f64),
    gap: f64,
    left: f64,
}

impl Layout {
    fn new(grid: &ImageGrid, left: f64) -> Self {
        let columns = grid.columns() as f64;
        let source = (grid.tile.0 as f64, grid.tile.1 as f64);
        let room = WIDTH - 2.0 * MARGIN;
        let fitting = (room - GAP.0 * (columns - 1.0)) / (columns * source.0);
        let scale = fitting.min(LARGEST / source.0.max(source.1)).floor().max(1.0);
        let tile = (scale * source.0, scale * source.1);
        let gap = ((room - columns * tile.0) / (columns - 1.0).max(1.0)).floor().clamp(GAP.0, GAP.1);
        Self { scale, tile, gap, left }
    }

    /// Left and right edge of a stretch of columns.
    fn columns(&self, first: usize, count: usize) -> (f64, f64) {
        let left = self.left + first as f64 * (self.tile.0 + self.gap);
        (left, left + count as f64 * (self.tile.0 + self.gap) - self.gap)
    }
}

pub(crate) fn draw(grid: &ImageGrid) -> Result<Image, PlotError> {
    let row_labels: Vec<Vec<String>> = grid.rows.iter().map(|row| TEXT.wrap(&row.label, ROW_LABEL)).collect();
    let label_width = row_labels.iter().flatten().map(|line| TEXT.width(line)).fold(0.0, f64::max);
    let left = MARGIN + if label_width > 0.0 { (label_width + ROW_LABEL_GAP).ceil() } else { 0.0 };
    let layout = Layout::new(grid, left);
    let width = WIDTH.max(layout.columns(0, grid.columns()).1 + MARGIN);
    // before the labels of very many columns are measured
    Canvas::check_size(width, grid.rows.len() as f64 * layout.tile.1)?;
    let header = Header::new(&grid.title, &grid.subtitle, width);

    let spans = spans(&grid.column_labels);
    let spanning = spans.iter().any(|(_, count, label)| *count > 1 && !label.trim().is_empty());
    let texts: Vec<(&str, f64)> = spans
        .iter()
        .map(|(first, count, label)| {
            let (left, right) = layout.columns(*first, *count);
            (*label, right - left - LABEL_GAP)
        })
        .collect();
    let (font, texts) = wrap_all(&texts, &LABEL_SIZES);
    let label_lines = texts.iter().map(Vec::len).max().unwrap_or(0);
    let labels_bottom = header.bottom() + label_lines as f64 * font.line_height();
    let mut top = labels_bottom.ceil() + LINE_GAP.0 + LINE_GAP.1;
    let row_gap = layout.gap.max(ROW_GAP);
    let tops: Vec<f64> = row_labels
        .iter()
        .map(|lines| {
            let height = layout.tile.1.max(lines.len() as f64 * TEXT.line_height()).ceil();
            let inset = ((height - layout.tile.1) / 2.0).floor();
            let row = top + inset;
            top += height + row_gap;
            row
        })
        .collect();

    let mut canvas = Canvas::new(width, top - row_gap + MARGIN)?;
    header.draw(&mut canvas);
    for ((first, count, _), lines) in spans.iter().zip(&texts) {
        let (left, right) = layout.columns(*first, *count);
        let top = labels_bottom - lines.len() as f64 * font.line_height();
        let middle = (f64::midpoint(left, right), top);
        write_lines(&mut canvas, lines, middle, font, Anchor::Centre, DARK);
        if spanning && !lines.is_empty() {
            let y = labels_bottom.ceil() + LINE_GAP.0;
            canvas.line(&[(left + 3.0, y), (right - 3.0, y)], 1.6, AXIS);
        }
    }
    for ((row, lines), top) in grid.rows.iter().zip(&row_labels).zip(tops) {
        let middle = top + layout.tile.1 / 2.0 - lines.len() as f64 * TEXT.line_height() / 2.0;
        write_lines(&mut canvas, lines, (left - ROW_LABEL_GAP, middle), TEXT, Anchor::Right, MUTED);
        for (column, tile) in row.tiles.iter().enumerate() {
            draw_tile(&mut canvas, tile, grid.tile.0, (layout.columns(column, 1).0, top), &layout);
        }
    }
    Ok(canvas.finish())
}

/// First column, number of columns and label of each stretch of columns with the same label.
fn spans(labels: &[String]) -> Vec<(usize, usize, &str)> {
    let mut spans: Vec<(usize, usize, &str)> = Vec::new();
    for (column, label) in labels.iter().enumerate() {
        match spans.last_mut() {
            Some((_, count, last)) if *last == label => *count += 1,
            _ => spans.push((column, 1, label)),
        }
    }
    spans
}

fn draw_tile(canvas: &mut Canvas, tile: &[f32], width: usize, (left, top): Point, layout: &Layout) {
    let whole = Rect { left, top, right: left + layout.tile.0, bottom: top + layout.tile.1 };
    // an edge, or light images would run into the paper
    canvas.rect(&whole.grown(1.0), FRAME);
    for (index, value) in tile.iter().enumerate() {
        let (x, y) =
            (left + (index % width) as f64 * layout.scale, top + (index / width) as f64 * layout.scale);
        let pixel = Rect { left: x, top: y, right: x + layout.scale, bottom: y + layout.scale };
        canvas.rect(&pixel, shade(*value));
    }
}

fn shade(value: f32) -> Ink {
    if value.is_nan() {
        return Ink(Colour::Vermillion.rgb(), 1.0);
    }
    Ink([(255.0 * value.clamp(0.0, 1.0)).round() as u8; 3], 1.0)
}
