use std::path::Path;

use crate::figure::check_range;
use crate::{Image, PlotError, cells};

/// A matrix of numbers, each written in a cell of its tint.
#[derive(Clone, Debug, PartialEq)]
pub struct Heatmap {
    /// What the picture shows; empty for none. Long titles wrap.
    pub title: String,
    /// What one needs to know to read it; empty for none.
    pub subtitle: String,
    /// What the columns are, written below them; empty for none.
    pub x_label: String,
    /// What the rows are, written above their names; empty for none.
    pub y_label: String,
    /// The names of the columns, from the left.
    pub columns: Vec<String>,
    /// The names of the rows, from the top.
    pub rows: Vec<String>,
    /// The numbers, row by row from the top, each row from the left. A number that is not finite, or is larger
    /// than 10³⁰⁰ either way, leaves its cell grey and empty.
    pub values: Vec<Vec<f64>>,
    /// The numbers of the lightest and of the darkest tint; `None` takes the smallest and the largest value.
    /// Values outside have the tint of the nearer end.
    pub range: Option<(f64, f64)>,
}

impl Heatmap {
    /// Draws the matrix and writes it as a PNG; the file appears whole or not at all.
    ///
    /// # Errors
    /// Those of [`draw`](Self::draw) and of [`Image::write_png`].
    pub fn write_png(&self, path: &Path) -> Result<(), PlotError> {
        self.draw()?.write_png(path)
    }

    /// Draws the matrix, 1200 pixels wide, or wider where the numbers of many columns need it, with a colour
    /// bar at its right. Numbers below ten have two digits after the point; all are written alike. The same
    /// matrix always gives the same pixels.
    ///
    /// # Errors
    /// [`PlotError::Empty`] without rows or columns, [`PlotError::LengthMismatch`] when `values` does not have
    /// a row for each name or a row not a number for each column, [`PlotError::OutOfRange`] for a `range` that
    /// does not rise, [`PlotError::TooLarge`] for far too many cells or letters.
    pub fn draw(&self) -> Result<Image, PlotError> {
        self.check()?;
        cells::draw(self)
    }

    fn check(&self) -> Result<(), PlotError> {
        for (list, names, remedy) in [
            ("columns", &self.columns, "give it at least one column"),
            ("rows", &self.rows, "give it at least one row"),
        ] {
            if names.is_empty() {
                return Err(PlotError::Empty {
                    what: format!("`{list}` of heatmap `{}`", self.title),
                    remedy,
                });
            }
        }
        if let Some(range) = self.range {
            check_range(range, || format!("the range of heatmap `{}`", self.title))?;
        }
        let (expected, found) = (self.rows.len(), self.values.len());
        if expected != found {
            let what = format!("`values` of heatmap `{}`", self.title);
            return Err(PlotError::LengthMismatch { what, expected, found });
        }
        let expected = self.columns.len();
        match self.rows.iter().zip(&self.values).find(|(_, values)| values.len() != expected) {
            Some((name, values)) => Err(PlotError::LengthMismatch {
                what: format!("row `{name}` of heatmap `{}`", self.title),
                expected,
                found: values.len(),
            }),
            None => Ok(()),
        }
    }
}
