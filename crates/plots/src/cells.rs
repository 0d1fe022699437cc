//! Drawing of heatmaps: tinted cells with their numbers, names of rows and columns, the colour bar.

use crate::canvas::{Canvas, DARK, Ink, MUTED, Rect, WHITE};
use crate::colour_bar::{self, BAR_WIDTH, NUMBER_GAP};
use crate::figure::drawable;
use crate::numbers::two_digits;
use crate::sheet::{FRAME, Header, MARGIN, TEXT, UNKNOWN, WIDTH, write_lines};
use crate::text::{Anchor, Font, wrap_all};
use crate::ticks::Axis;
use crate::{Heatmap, Image, PlotError, Scale};

/// Widest name of a row, before it wraps, and its gap to the cells.
const ROW_NAME: f64 = 260.0;
const ROW_NAME_GAP: f64 = 12.0;
/// Widest cell; lowest and highest one.
const CELL_WIDTH: f64 = 200.0;
const CELL_HEIGHT: (f64, f64) = (36.0, 84.0);
/// Sizes of numbers and of the names of columns, in order of preference.
const NUMBER_SIZES: [f64; 6] = [23.0, 21.0, 19.0, 17.0, 15.0, 13.0];
const NAME_SIZES: [f64; 5] = [21.0, 19.0, 17.0, 15.0, 13.0];
/// Free width in a cell beside its number.
const PADDING: f64 = 8.0;
/// From the cells to the colour bar, and the bar's least height.
const BAR_GAP: f64 = 30.0;
const BAR_HEIGHT: f64 = 150.0;

/// Tints from the lowest to the highest value, each darker than the one before.
const TINTS: [[f64; 3]; 5] = [
    [244.0, 248.0, 252.0],
    [176.0, 212.0, 238.0],
    [86.0, 158.0, 212.0],
    [22.0, 96.0, 160.0],
    [6.0, 38.0, 80.0],
];

pub(crate) fn draw(heatmap: &Heatmap) -> Result<Image, PlotError> {
    let values: Vec<f64> = heatmap.values.iter().flatten().copied().collect();
    let numbers = two_digits(&values);
    let (low, high) = heatmap.range.unwrap_or_else(|| ends(&values));
    let axis = Axis::fit(Scale::Linear, [low, high].into_iter(), 0.0);
    let bar_numbers = two_digits(&[low, high]);

    let row_names: Vec<Vec<String>> = heatmap.rows.iter().map(|name| TEXT.wrap(name, ROW_NAME)).collect();
    let name_width = row_names.iter().flatten().map(|line| TEXT.width(line)).fold(0.0, f64::max);
    let left = (MARGIN + name_width + ROW_NAME_GAP).ceil();
    let bar_number_width = bar_numbers.iter().map(|number| TEXT.width(number)).fold(0.0, f64::max);
    let bar_room = BAR_GAP + BAR_WIDTH + NUMBER_GAP + bar_number_width + MARGIN;
    let count = heatmap.columns.len() as f64;
    let widest = |font: Font| numbers.iter().map(|number| font.width(number)).fold(0.0, f64::max) + PADDING;
    let smallest = Font::regular(NUMBER_SIZES[NUMBER_SIZES.len() - 1]);
    let cell_width = ((WIDTH - left - bar_room) / count)
        .floor()
        .clamp(widest(smallest).ceil(), CELL_WIDTH.max(widest(smallest).ceil()));
    let font = NUMBER_SIZES.map(Font::regular).into_iter().find(|font| widest(*font) <= cell_width);
    let font = font.unwrap_or(smallest);
    let tallest_name = row_names.iter().map(Vec::len).max().unwrap_or(0) as f64 * TEXT.line_height();
    let cell_height = (0.6 * cell_width).clamp(CELL_HEIGHT.0, CELL_HEIGHT.1).max(tallest_name + 4.0).round();

    let right = left + count * cell_width;
    let width = WIDTH.max(right + bar_room);
    let header = Header::new(&heatmap.title, &heatmap.subtitle, width);
    let y_label = TEXT.wrap(&heatmap.y_label, width - 2.0 * MARGIN);
    let x_label = TEXT.wrap(&heatmap.x_label, (right - left).max(300.0));
    let names: Vec<(&str, f64)> =
        heatmap.columns.iter().map(|name| (name.as_str(), cell_width - PADDING)).collect();
    let (name_font, column_names) = wrap_all(&names, &NAME_SIZES);
    let name_lines = column_names.iter().map(Vec::len).max().unwrap_or(0);
    let top = (header.bottom() + y_label.len() as f64 * TEXT.line_height() + 6.0).ceil();
    let bottom = top + heatmap.rows.len() as f64 * cell_height;
    let x_label_top = bottom + 12.0 + name_lines as f64 * name_font.line_height();
    let texts_bottom = x_label_top + x_label.len() as f64 * TEXT.line_height();
    let bar = Rect {
        left: right + BAR_GAP,
        top,
        right: right + BAR_GAP + BAR_WIDTH,
        bottom: bottom.max(top + BAR_HEIGHT),
    };

    let mut canvas = Canvas::new(width, texts_bottom.max(bar.bottom) + MARGIN)?;
    header.draw(&mut canvas);
    write_lines(&mut canvas, &y_label, (MARGIN, header.bottom()), TEXT, Anchor::Left, MUTED);
    for (index, (value, number)) in values.iter().zip(&numbers).enumerate() {
        let (row, column) = (index / heatmap.columns.len(), index % heatmap.columns.len());
        let (x, y) = (left + column as f64 * cell_width, top + row as f64 * cell_height);
        let cell = Rect { left: x, top: y, right: x + cell_width, bottom: y + cell_height };
        let share = axis.position(*value);
        canvas.rect(&cell, share.map_or(UNKNOWN, tint));
        if let Some(share) = share {
            let middle = (x + cell_width / 2.0, y + cell_height / 2.0 + 0.36 * font.size);
            canvas.text(number, middle, font, Anchor::Centre, readable_on(tint(share)));
        }
    }
    for row in 1..heatmap.rows.len() {
        let y = top + row as f64 * cell_height;
        canvas.line(&[(left, y), (right, y)], 1.0, WHITE);
    }
    for column in 1..heatmap.columns.len() {
        let x = left + column as f64 * cell_width;
        canvas.line(&[(x, top), (x, bottom)], 1.0, WHITE);
    }
    canvas.frame(&Rect { left, top, right, bottom }, 1.6, FRAME);
    for (row, lines) in row_names.iter().enumerate() {
        let middle = top + (row as f64 + 0.5) * cell_height;
        let start = (left - ROW_NAME_GAP, middle - lines.len() as f64 * TEXT.line_height() / 2.0);
        write_lines(&mut canvas, lines, start, TEXT, Anchor::Right, DARK);
    }
    for (column, lines) in column_names.iter().enumerate() {
        let start = (left + (column as f64 + 0.5) * cell_width, bottom + 8.0);
        write_lines(&mut canvas, lines, start, name_font, Anchor::Centre, DARK);
    }
    let middle = (f64::midpoint(left, right), x_label_top);
    write_lines(&mut canvas, &x_label, middle, TEXT, Anchor::Centre, MUTED);
    colour_bar::draw(&mut canvas, &bar, tint, &[(0.0, &bar_numbers[0]), (1.0, &bar_numbers[1])]);
    Ok(canvas.finish())
}

/// The smallest and the largest value, a little apart; 0 and 1 when there is none.
fn ends(values: &[f64]) -> (f64, f64) {
    let shown = || values.iter().copied().filter(|value| drawable(*value));
    let (low, high) = (shown().fold(f64::INFINITY, f64::min), shown().fold(f64::NEG_INFINITY, f64::max));
    if low > high { (0.0, 1.0) } else { (low, high) }
}

fn tint(share: f64) -> Ink {
    let at = share.clamp(0.0, 1.0) * (TINTS.len() - 1) as f64;
    let first = (at as usize).min(TINTS.len() - 2);
    let (from, to) = (TINTS[first], TINTS[first + 1]);
    Ink(std::array::from_fn(|i| (from[i] + (at - first as f64) * (to[i] - from[i])).round() as u8), 1.0)
}

/// Dark or white, whichever has more contrast.
fn readable_on(ground: Ink) -> Ink {
    if contrast(ground, WHITE) > contrast(ground, DARK) { WHITE } else { DARK }
}

/// The contrast ratio of the Web Content Accessibility Guidelines, from 1 to 21.
fn contrast(a: Ink, b: Ink) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// Relative luminance of an sRGB colour, from 0 to 1.
fn luminance(Ink(rgb, _): Ink) -> f64 {
    let linear = |byte: u8| {
        let share = f64::from(byte) / 255.0;
        if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
    };
    let [red, green, blue] = rgb.map(linear);
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tints_darken_and_numbers_on_them_can_be_read() {
        let tints: Vec<Ink> = (0..=200).map(|step| tint(f64::from(step) / 200.0)).collect();
        assert!(tints.windows(2).all(|pair| luminance(pair[0]) > luminance(pair[1])));
        let worst = tints.iter().map(|ground| contrast(*ground, readable_on(*ground))).fold(21.0, f64::min);
        assert!(worst > 4.0, "{worst}");
    }
}
