//! Drawing of policy pictures: grids, arrows, markers and the colour bar.

use crate::canvas::{Canvas, DARK, Ink, MUTED, Point, Rect, WHITE};
use crate::colour_bar::{self, BAR_WIDTH};
use crate::sheet::{FRAME, TEXT, UNKNOWN, write_lines};
use crate::text::{Anchor, Font};
use crate::{Colour, Image, Marker, MarkerKind, PlotError, PolicyGrid, PolicyPicture};

const MARGIN: f64 = 28.0;
const GRID_GAP: f64 = 44.0;
/// Room for the numbers at the colour bar.
const BAR_NUMBERS: f64 = 46.0;
/// Widest and narrowest picture, by which the cells are made larger or smaller.
const WIDEST: f64 = 1500.0;
const CELL: (f64, f64) = (44.0, 104.0);

const CAPTION: Font = Font::bold(28.0);
const TITLE: Font = Font::bold(23.0);

/// Tints of 0 and of 1; both are light enough for dark arrows.
const LOW: [f64; 3] = [255.0, 255.0, 255.0];
const HIGH: [f64; 3] = [104.0, 178.0, 232.0];

/// Grids that stand in one line; more of them take lines of [`PER_ROW`].
const ONE_ROW: usize = 5;
const PER_ROW: usize = 4;

/// Grids side by side.
struct Row<'a> {
    grids: &'a [PolicyGrid],
    widths: Vec<f64>,
    titles: Vec<Vec<String>>,
    /// Room for the titles, and beside them for what stands at the colour bar.
    head: f64,
    height: f64,
}

impl<'a> Row<'a> {
    fn new(grids: &'a [PolicyGrid], cell: f64) -> Self {
        let widths: Vec<f64> = grids.iter().map(|grid| width(grid, cell)).collect();
        let titles: Vec<Vec<String>> =
            grids.iter().zip(&widths).map(|(grid, width)| TITLE.wrap(&grid.title, *width)).collect();
        let head = titles.iter().map(Vec::len).max().unwrap_or(0) as f64 * TITLE.line_height();
        let height = grids.iter().map(|grid| grid.rows as f64 * cell).fold(0.0, f64::max);
        Self { grids, widths, titles, head, height }
    }

    fn width(&self) -> f64 {
        self.widths.iter().sum::<f64>() + GRID_GAP * (self.widths.len() - 1) as f64
    }

    /// Draws it with the upper edges of its grids at `top`.
    fn draw(&self, canvas: &mut Canvas, top: f64, cell: f64) {
        let mut left = MARGIN;
        for ((grid, title), width) in self.grids.iter().zip(&self.titles).zip(&self.widths) {
            let above = top - 10.0 - title.len() as f64 * TITLE.line_height();
            write_lines(canvas, title, (left + width / 2.0, above), TITLE, Anchor::Centre, DARK);
            let inset = (width - grid.cols as f64 * cell) / 2.0;
            draw_grid(canvas, grid, (left + inset, top), cell);
            left += width + GRID_GAP;
        }
    }
}

/// The grids by rows.
fn rows(picture: &PolicyPicture) -> std::slice::Chunks<'_, PolicyGrid> {
    let grids = picture.grids.len();
    picture.grids.chunks(if grids > ONE_ROW { PER_ROW } else { grids })
}

pub(crate) fn draw(picture: &PolicyPicture) -> Result<Image, PlotError> {
    let cell = cell_size(picture);
    let mut rows: Vec<Row<'_>> = rows(picture).map(|grids| Row::new(grids, cell)).collect();
    let has_bar = picture.grids.iter().any(|grid| grid.background.is_some());
    let grids_width = rows.iter().map(Row::width).fold(0.0, f64::max);
    let bar_label = TEXT.wrap(&picture.background_label, 220.0);
    let bar_label_width = bar_label.iter().map(|line| TEXT.width(line)).fold(0.0, f64::max);
    let bar_room = if has_bar { GRID_GAP + (BAR_WIDTH + BAR_NUMBERS).max(bar_label_width) } else { 0.0 };
    let full_width = (grids_width + bar_room + 2.0 * MARGIN).max(640.0);
    if has_bar {
        rows[0].head = rows[0].head.max(bar_label.len() as f64 * TEXT.line_height());
    }

    let caption = CAPTION.wrap(&picture.caption, full_width - 2.0 * MARGIN);
    let mut top = MARGIN + caption.len() as f64 * CAPTION.line_height();
    let mut tops = Vec::with_capacity(rows.len());
    for row in &rows {
        top += 10.0 + row.head + 10.0;
        tops.push(top);
        top += row.height + MARGIN;
    }
    let mut canvas = Canvas::new(full_width, top)?;
    write_lines(&mut canvas, &caption, (MARGIN, 0.8 * MARGIN), CAPTION, Anchor::Left, DARK);
    for (row, top) in rows.iter().zip(&tops) {
        row.draw(&mut canvas, *top, cell);
    }
    if has_bar {
        let (left, top) = (MARGIN + grids_width + GRID_GAP, tops[0]);
        let above = top - 10.0 - bar_label.len() as f64 * TEXT.line_height();
        write_lines(&mut canvas, &bar_label, (left, above), TEXT, Anchor::Left, MUTED);
        let bar = Rect { left, top, right: left + BAR_WIDTH, bottom: top + rows[0].height };
        colour_bar::draw(&mut canvas, &bar, tint, &[(0.0, "0"), (0.5, "0.5"), (1.0, "1")]);
    }
    Ok(canvas.finish())
}

/// The side of a cell: as large as the widest picture allows.
fn cell_size(picture: &PolicyPicture) -> f64 {
    let sides = rows(picture).map(|grids| {
        let columns: usize = grids.iter().map(|grid| grid.cols).sum();
        let gaps = GRID_GAP * grids.len() as f64 + 2.0 * MARGIN + 120.0;
        ((WIDEST - gaps) / columns as f64).floor()
    });
    sides.fold(CELL.1, f64::min).max(CELL.0)
}

/// Room for a grid: its cells, but enough for a title.
fn width(grid: &PolicyGrid, cell: f64) -> f64 {
    (grid.cols as f64 * cell).max(160.0)
}

fn draw_grid(canvas: &mut Canvas, grid: &PolicyGrid, (left, top): Point, cell: f64) {
    let corner = |index: usize| {
        let (row, col) = (index / grid.cols, index % grid.cols);
        (left + col as f64 * cell, top + row as f64 * cell)
    };
    let square = |index: usize| {
        let (left, top) = corner(index);
        Rect { left, top, right: left + cell, bottom: top + cell }
    };
    for (index, value) in grid.background.iter().flatten().enumerate() {
        canvas.rect(&square(index), if value.is_finite() { tint(*value) } else { UNKNOWN });
    }
    for (index, probabilities) in grid.probabilities.iter().enumerate() {
        if probabilities.iter().all(|probability| probability.is_nan()) {
            canvas.rect(&square(index), UNKNOWN);
        }
    }
    let (right, bottom) = (left + grid.cols as f64 * cell, top + grid.rows as f64 * cell);
    for row in 0..=grid.rows {
        let y = top + row as f64 * cell;
        canvas.line(&[(left, y), (right, y)], 1.6, FRAME);
    }
    for col in 0..=grid.cols {
        let x = left + col as f64 * cell;
        canvas.line(&[(x, top), (x, bottom)], 1.6, FRAME);
    }
    for (index, marker) in grid.markers.iter().enumerate() {
        // corners are free of arrows; several markers of one cell take one corner after the other
        let earlier = grid.markers[..index].iter().filter(|other| other.cell == marker.cell).count();
        let (x, y) = corner(marker.cell);
        let (near, far) = (0.225 * cell, 0.775 * cell);
        let offset = [(far, near), (near, near), (near, far), (far, far)][earlier % 4];
        draw_marker(canvas, *marker, (x + offset.0, y + offset.1), 0.185 * cell);
    }
    for (index, probabilities) in grid.probabilities.iter().enumerate() {
        if probabilities.iter().all(|probability| probability.is_nan()) {
            continue;
        }
        let (x, y) = corner(index);
        draw_arrows(canvas, probabilities, (x + cell / 2.0, y + cell / 2.0), cell);
    }
}

/// Arrows from the middle of a cell. All have one shape, and their areas are as their probabilities.
fn draw_arrows(canvas: &mut Canvas, probabilities: &[f64; 4], centre: Point, cell: f64) {
    const DIRECTIONS: [Point; 4] = [(0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)];
    for (probability, (dx, dy)) in probabilities.iter().zip(DIRECTIONS) {
        // `max` and `min` would turn NaN into a number
        if !probability.is_finite() || *probability < 0.01 {
            continue;
        }
        let length = 0.46 * cell * probability.min(1.0).sqrt();
        let head = 0.4 * length;
        let at = |along: f64, across: f64| {
            (centre.0 + along * dx - across * dy, centre.1 + along * dy + across * dx)
        };
        let neck = length - head;
        canvas.line(&[at(0.0, 0.0), at(neck, 0.0)], 0.1 * length, DARK);
        let half = 0.5 * head;
        canvas.polygon(&[at(length, 0.0), at(neck, half), at(neck, -half)], DARK);
    }
    canvas.circle(centre, 0.022 * cell, DARK);
}

fn draw_marker(canvas: &mut Canvas, marker: Marker, (x, y): Point, radius: f64) {
    let outline = 0.1 * radius + 1.2;
    match marker.kind {
        MarkerKind::Diamond => {
            let stone = |size: f64| [(x, y - size), (x + size, y), (x, y + size), (x - size, y)];
            canvas.polygon(&stone(radius + 1.4 * outline), DARK);
            canvas.polygon(&stone(radius), Ink(Colour::Blue.rgb(), 1.0));
        }
        MarkerKind::Ghost => {
            let sheet = |grow: f64| ghost((x, y), 0.85 * radius, grow);
            canvas.polygon(&sheet(outline), DARK);
            canvas.polygon(&sheet(0.0), Ink(Colour::Vermillion.rgb(), 1.0));
            for side in [-1.0, 1.0] {
                let eye = (x + side * 0.33 * radius, y - 0.2 * radius);
                canvas.circle(eye, 0.22 * radius, WHITE);
                canvas.circle((eye.0, eye.1 + 0.04 * radius), 0.1 * radius, DARK);
            }
        }
        MarkerKind::Other(number) => {
            let corners = u32::from(number).max(2) + 1;
            let polygon = |size: f64| -> Vec<Point> {
                let angle = |corner| std::f64::consts::TAU * f64::from(corner) / f64::from(corners);
                let corner = |a: f64| (x + size * a.sin(), y - size * a.cos());
                (0..corners).map(|n| corner(angle(n))).collect()
            };
            let colours = [Colour::Purple, Colour::Orange, Colour::Sky, Colour::Yellow, Colour::Grey];
            let colour = colours[usize::from(number.saturating_sub(2)) % colours.len()];
            canvas.polygon(&polygon(radius + 1.4 * outline), DARK);
            canvas.polygon(&polygon(radius), Ink(colour.rgb(), 1.0));
        }
    }
}

/// A dome over a hem of three points.
fn ghost((x, y): Point, radius: f64, grow: f64) -> Vec<Point> {
    let wide = radius + grow;
    let mut outline: Vec<Point> = (0..=24)
        .map(|step| {
            let angle = std::f64::consts::PI * (1.0 + f64::from(step) / 24.0);
            (x + wide * angle.cos(), y - 0.1 * radius + wide * angle.sin())
        })
        .collect();
    let hem = y + 1.15 * radius + grow;
    outline.extend((0..=6).map(|step| {
        let lift = if step % 2 == 1 { 0.38 * radius } else { 0.0 };
        (x + wide * (1.0 - f64::from(step) / 3.0), hem - lift)
    }));
    outline
}

fn tint(value: f64) -> Ink {
    let share = value.clamp(0.0, 1.0);
    Ink(std::array::from_fn(|i| (LOW[i] + share * (HIGH[i] - LOW[i])).round() as u8), 1.0)
}
