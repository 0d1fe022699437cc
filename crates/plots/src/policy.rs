use std::path::Path;

use crate::{Image, PlotError, arrows};

/// One grid of a policy picture.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyGrid {
    /// Written above the grid.
    pub title: String,
    /// Height in cells.
    pub rows: usize,
    /// Width in cells.
    pub cols: usize,
    /// Probabilities of going north, east, south and west at each cell, row by row from the top left. Values
    /// that are not finite leave their arrow out; a cell where none is a number is no place to be, and grey.
    pub probabilities: Vec<[f64; 4]>,
    /// A value from 0 to 1 at each cell, drawn as its tint; a value that is not finite leaves the cell grey.
    pub background: Option<Vec<f64>>,
    /// Shapes in cells.
    pub markers: Vec<Marker>,
}

/// A shape in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The number of the cell, `row · cols + column`.
    pub cell: usize,
    /// The shape.
    pub kind: MarkerKind,
}

/// The shapes that stand in cells, told apart without colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MarkerKind {
    /// A cut stone.
    Diamond,
    /// A sheet with two eyes.
    Ghost,
    /// A regular polygon: numbers from 2 on have three corners and more, and colours of their own.
    Other(u8),
}

/// Grids side by side or in rows, with arrows of action probabilities at every cell.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyPicture {
    /// Written above the grids; empty for none. Long captions wrap.
    pub caption: String,
    /// The grids, from the left; more than five stand in rows of four.
    pub grids: Vec<PolicyGrid>,
    /// What the tint of a cell means, written at the colour bar. There is no bar when no grid has a background.
    pub background_label: String,
}

impl PolicyPicture {
    /// Draws the picture. Its size depends on the numbers of cells and on the lines that the caption and the
    /// titles take, not on the probabilities; the same picture always gives the same pixels.
    ///
    /// # Errors
    /// [`PlotError::Empty`] without grids or for a grid without cells, [`PlotError::LengthMismatch`] when a
    /// list does not have a value for each cell, [`PlotError::OutOfRange`] for a probability or a background
    /// value outside 0 to 1, or a marker outside the grid, [`PlotError::TooLarge`] for far too many cells.
    pub fn draw(&self) -> Result<Image, PlotError> {
        self.check()?;
        arrows::draw(self)
    }

    /// Draws the picture and writes it as a PNG; the file appears whole or not at all.
    ///
    /// # Errors
    /// Those of [`draw`](Self::draw) and of [`Image::write_png`].
    pub fn write_png(&self, path: &Path) -> Result<(), PlotError> {
        self.draw()?.write_png(path)
    }

    fn check(&self) -> Result<(), PlotError> {
        if self.grids.is_empty() {
            return Err(PlotError::Empty {
                what: format!("the list of grids of policy picture `{}`", self.caption),
                remedy: "give it at least one grid",
            });
        }
        self.grids.iter().try_for_each(PolicyGrid::check)
    }
}

impl PolicyGrid {
    fn check(&self) -> Result<(), PlotError> {
        let cells = self.rows.saturating_mul(self.cols);
        if cells == 0 {
            return Err(PlotError::Empty {
                what: format!("grid `{}` ({}×{})", self.title, self.rows, self.cols),
                remedy: "give it at least one row and one column",
            });
        }
        self.check_length("probabilities", cells, self.probabilities.len())?;
        self.check_share("a probability", self.probabilities.as_flattened())?;
        if let Some(background) = &self.background {
            self.check_length("background", cells, background.len())?;
            self.check_share("a background value", background)?;
        }
        match self.markers.iter().find(|marker| marker.cell >= cells) {
            Some(marker) => Err(PlotError::OutOfRange {
                what: format!("the cell of a marker in grid `{}`", self.title),
                value: marker.cell.to_string(),
                allowed: format!("0 to {}", cells - 1),
            }),
            None => Ok(()),
        }
    }

    fn check_length(&self, field: &str, expected: usize, found: usize) -> Result<(), PlotError> {
        if expected == found {
            return Ok(());
        }
        let what = format!("`{field}` of grid `{}` ({}×{})", self.title, self.rows, self.cols);
        Err(PlotError::LengthMismatch { what, expected, found })
    }

    /// Refuses finite values outside 0 to 1, with room for rounding.
    fn check_share(&self, what: &str, values: &[f64]) -> Result<(), PlotError> {
        match values.iter().find(|value| value.is_finite() && !(-1e-4..=1.0001).contains(*value)) {
            Some(value) => Err(PlotError::OutOfRange {
                what: format!("{what} in grid `{}`", self.title),
                value: value.to_string(),
                allowed: "0 to 1".to_owned(),
            }),
            None => Ok(()),
        }
    }
}
