use std::path::Path;

use crate::{Image, PlotError, tiles};

/// One row of an image grid.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageRow {
    /// What the row shows, written at its left; empty for none. Long labels wrap.
    pub label: String,
    /// The images, from the left. Each is its pixels row by row from the top left, from 0 (black) to 1
    /// (white): `width × height` values. Values outside are clamped; NaN is drawn in vermillion.
    pub tiles: Vec<Vec<f32>>,
}

/// Small grey images in rows and columns.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageGrid {
    /// What the picture shows; empty for none. Long titles wrap.
    pub title: String,
    /// What one needs to know to read it; empty for none.
    pub subtitle: String,
    /// What each column shows, written above it. Either no label at all or one for each column, of which some
    /// may be empty. Columns side by side with the same label share it: it is written once, over a line
    /// along all of them.
    pub column_labels: Vec<String>,
    /// The rows, from the top, all of the same number of images.
    pub rows: Vec<ImageRow>,
    /// Width and height of every image in its own pixels.
    pub tile: (usize, usize),
}

impl ImageGrid {
    /// Draws the grid and writes it as a PNG; the file appears whole or not at all.
    ///
    /// # Errors
    /// Those of [`draw`](Self::draw) and of [`Image::write_png`].
    pub fn write_png(&self, path: &Path) -> Result<(), PlotError> {
        self.draw()?.write_png(path)
    }

    /// Draws the grid, 1200 pixels wide or more: every pixel of an image becomes a square of as many pixels as
    /// the images have room for side by side (2 for 20 columns of 28 × 28), and the picture is as much wider
    /// as the labels of the rows need. The same grid always gives the same pixels.
    ///
    /// # Errors
    /// [`PlotError::Empty`] without rows, columns or pixels, [`PlotError::LengthMismatch`] when a row does not
    /// have as many images as the first, an image does not have `width × height` values, or there are labels
    /// for some columns only, [`PlotError::TooLarge`] for far too many images or letters.
    pub fn draw(&self) -> Result<Image, PlotError> {
        self.check()?;
        tiles::draw(self)
    }

    /// The number of columns.
    pub(crate) fn columns(&self) -> usize {
        self.rows.first().map_or(0, |row| row.tiles.len())
    }

    fn check(&self) -> Result<(), PlotError> {
        let (columns, pixels) = (self.columns(), self.tile.0.saturating_mul(self.tile.1));
        let what = format!("image grid `{}`", self.title);
        let missing = match () {
            () if self.rows.is_empty() => Some("give it at least one row"),
            () if columns == 0 => Some("give it at least one image in each row"),
            () if pixels == 0 => Some("give its images a width and a height"),
            () => None,
        };
        if let Some(remedy) = missing {
            return Err(PlotError::Empty { what, remedy });
        }
        if !self.column_labels.is_empty() {
            check_length(|| format!("`column_labels` of {what}"), columns, self.column_labels.len())?;
        }
        for (index, row) in self.rows.iter().enumerate() {
            let row_name = || format!("row {index} (`{}`) of {what}", row.label);
            check_length(|| format!("`tiles` of {}", row_name()), columns, row.tiles.len())?;
            for (column, tile) in row.tiles.iter().enumerate() {
                check_length(|| format!("image {column} in {}", row_name()), pixels, tile.len())?;
            }
        }
        Ok(())
    }
}

fn check_length(what: impl Fn() -> String, expected: usize, found: usize) -> Result<(), PlotError> {
    if expected == found {
        return Ok(());
    }
    Err(PlotError::LengthMismatch { what: what(), expected, found })
}
