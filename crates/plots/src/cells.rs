//! Drawing of heatmaps: tinted cells with their numbers, names of rows and columns, the colour bar.

use crate::canvas::{Canvas, DARK, Ink, MUTED, Rect, WHITE};
use crate::colour_bar::{self, BAR_WIDTH, NUMBER_GAP};
use crate::numbers::{format_numbers, two_digits};
use crate::sheet::{FRAME, Header, MARGIN, TEXT, UNKNOWN, WIDTH, write_lines};
use crate::text::{Anchor, Font, wrap_all};
use crate::ticks::Axis;
use crate::{Heatmap, Image, PlotError, Scale};

/// Widest name of a row, before it wraps, and its gap to the cells.
const ROW_NAME: f64 = 260.0;
const ROW_NAME_GAP: f64 = 12.0;
/// Narrowest and widest cell, where its number does not need more; lowest and highest one, where the name of
/// its row does not.
const CELL_WIDTH: (f64, f64) = (30.0, 200.0);
const CELL_HEIGHT: (f64, f64) = (36.0, 84.0);
/// Sizes of numbers and of the names of columns, in order of preference.
const NUMBER_SIZES: [f64; 6] = [23.0, 21.0, 19.0, 17.0, 15.0, 13.0];
const NAME_SIZES: [f64; 6] = [21.0, 19.0, 17.0, 15.0, 14.0, 13.0];
/// Free width in a cell beside its number.
const PADDING: f64 = 8.0;
/// From the cells to the names of columns.
const NAME_TOP: f64 = 8.0;
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

/// The texts and places of a heatmap before anything is drawn.
struct Plan {
    values: Vec<f64>,
    numbers: Vec<String>,
    number_font: Font,
    columns: usize,
    row_names: Vec<Vec<String>>,
    column_names: Vec<Vec<String>>,
    column_font: Font,
    /// Width and height of a cell.
    cell: (f64, f64),
    /// From the lightest to the darkest tint.
    axis: Axis,
    bar_numbers: Vec<String>,
    /// All cells together.
    area: Rect,
}

impl Plan {
    /// Everything but the height at which the cells stand.
    fn new(heatmap: &Heatmap) -> Self {
        let values: Vec<f64> = heatmap.values.iter().flatten().copied().collect();
        let numbers = two_digits(&values);
        let axis = heatmap.range.map_or_else(
            || Axis::fit(Scale::Linear, values.iter().copied(), 0.0),
            |(low, high)| Axis::linear(low, high),
        );
        let bar_numbers = bar_numbers(&axis);
        let row_names: Vec<Vec<String>> = heatmap.rows.iter().map(|name| TEXT.wrap(name, ROW_NAME)).collect();
        let left = (MARGIN + widest(TEXT, row_names.iter().flatten()) + ROW_NAME_GAP).ceil();
        let columns = heatmap.columns.len();

        let share = (WIDTH - left - bar_room(&bar_numbers)) / columns as f64;
        let needed = |font: Font| widest(font, numbers.iter()) + PADDING;
        let fonts = NUMBER_SIZES.map(Font::regular);
        let least = needed(fonts[fonts.len() - 1]).max(CELL_WIDTH.0).ceil();
        let width = share.floor().min(CELL_WIDTH.1).max(least);
        let number_font = fonts.into_iter().find(|font| needed(*font) <= width);
        let row_lines = row_names.iter().map(Vec::len).max().unwrap_or(0) as f64;
        let height = (0.6 * width).clamp(CELL_HEIGHT.0, CELL_HEIGHT.1);
        let height = height.max(row_lines * TEXT.line_height() + 4.0).round();
        let names: Vec<(&str, f64)> =
            heatmap.columns.iter().map(|name| (name.as_str(), width - PADDING)).collect();
        let (column_font, column_names) = wrap_all(&names, &NAME_SIZES);
        Self {
            number_font: number_font.unwrap_or(fonts[fonts.len() - 1]),
            columns,
            column_names,
            column_font,
            cell: (width, height),
            axis,
            bar_numbers,
            area: Rect {
                left,
                top: 0.0,
                right: left + columns as f64 * width,
                bottom: row_names.len() as f64 * height,
            },
            values,
            numbers,
            row_names,
        }
    }

    fn cell(&self, row: usize, column: usize) -> Rect {
        let (left, top) =
            (self.area.left + column as f64 * self.cell.0, self.area.top + row as f64 * self.cell.1);
        Rect { left, top, right: left + self.cell.0, bottom: top + self.cell.1 }
    }

    /// The lower end of the names of the columns.
    fn names_bottom(&self) -> f64 {
        let lines = self.column_names.iter().map(Vec::len).max().unwrap_or(0);
        self.area.bottom + NAME_TOP + lines as f64 * self.column_font.line_height()
    }

    fn bar(&self) -> Rect {
        let left = self.area.right + BAR_GAP;
        let bottom = self.area.bottom.max(self.area.top + BAR_HEIGHT);
        Rect { left, top: self.area.top, right: left + BAR_WIDTH, bottom }
    }
}

pub(crate) fn draw(heatmap: &Heatmap) -> Result<Image, PlotError> {
    // before very many numbers are measured
    let least = (heatmap.columns.len() as f64 * CELL_WIDTH.0, heatmap.rows.len() as f64 * CELL_HEIGHT.0);
    Canvas::check_size(least.0, least.1)?;
    let mut plan = Plan::new(heatmap);
    let width = WIDTH.max(plan.area.right + bar_room(&plan.bar_numbers));
    let header = Header::new(&heatmap.title, &heatmap.subtitle, width);
    let y_label = TEXT.wrap(&heatmap.y_label, width - 2.0 * MARGIN);
    let top = (header.bottom() + y_label.len() as f64 * TEXT.line_height() + 6.0).ceil();
    (plan.area.top, plan.area.bottom) = (top, top + plan.area.bottom);
    let middle = f64::midpoint(plan.area.left, plan.area.right);
    let x_label = TEXT.wrap(&heatmap.x_label, plan.area.width() + 2.0 * ROW_NAME_GAP);
    let x_label_top = plan.names_bottom() + 4.0;
    let texts_bottom = x_label_top + x_label.len() as f64 * TEXT.line_height();

    let mut canvas = Canvas::new(width, texts_bottom.max(plan.bar().bottom) + MARGIN)?;
    header.draw(&mut canvas);
    write_lines(&mut canvas, &y_label, (MARGIN, header.bottom()), TEXT, Anchor::Left, MUTED);
    draw_cells(&mut canvas, &plan);
    write_names(&mut canvas, &plan);
    write_lines(&mut canvas, &x_label, (middle, x_label_top), TEXT, Anchor::Centre, MUTED);
    let ends = [(0.0, plan.bar_numbers[0].as_str()), (1.0, plan.bar_numbers[1].as_str())];
    colour_bar::draw(&mut canvas, &plan.bar(), tint, &ends);
    Ok(canvas.finish())
}

fn widest<'a>(font: Font, lines: impl Iterator<Item = &'a String>) -> f64 {
    lines.map(|line| font.width(line)).fold(0.0, f64::max)
}

/// The ends of the colours, with more digits than the cells where two do not tell them apart.
fn bar_numbers(axis: &Axis) -> Vec<String> {
    let (low, high) = axis.ends();
    let numbers = two_digits(&[low, high]);
    if numbers[0] == numbers[1] { format_numbers(&[low, high]) } else { numbers }
}

/// The room at the right of the cells.
fn bar_room(numbers: &[String]) -> f64 {
    BAR_GAP + BAR_WIDTH + NUMBER_GAP + widest(TEXT, numbers.iter()) + MARGIN
}

fn draw_cells(canvas: &mut Canvas, plan: &Plan) {
    for (index, (value, number)) in plan.values.iter().zip(&plan.numbers).enumerate() {
        let cell = plan.cell(index / plan.columns, index % plan.columns);
        let ink = plan.axis.position(*value).map_or(UNKNOWN, tint);
        canvas.rect(&cell, ink);
        let baseline = f64::midpoint(cell.top, cell.bottom) + 0.36 * plan.number_font.size;
        let middle = (f64::midpoint(cell.left, cell.right), baseline);
        canvas.text(number, middle, plan.number_font, Anchor::Centre, readable_on(ink));
    }
    let area = &plan.area;
    for row in 1..plan.row_names.len() {
        let y = plan.cell(row, 0).top;
        canvas.line(&[(area.left, y), (area.right, y)], 1.0, WHITE);
    }
    for column in 1..plan.columns {
        let x = plan.cell(0, column).left;
        canvas.line(&[(x, area.top), (x, area.bottom)], 1.0, WHITE);
    }
    canvas.frame(area, 1.6, FRAME);
}

fn write_names(canvas: &mut Canvas, plan: &Plan) {
    for (row, lines) in plan.row_names.iter().enumerate() {
        let cell = plan.cell(row, 0);
        let height = lines.len() as f64 * TEXT.line_height();
        let start = (cell.left - ROW_NAME_GAP, f64::midpoint(cell.top, cell.bottom) - height / 2.0);
        write_lines(canvas, lines, start, TEXT, Anchor::Right, DARK);
    }
    for (column, lines) in plan.column_names.iter().enumerate() {
        let cell = plan.cell(0, column);
        let start = (f64::midpoint(cell.left, cell.right), plan.area.bottom + NAME_TOP);
        write_lines(canvas, lines, start, plan.column_font, Anchor::Centre, DARK);
    }
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
