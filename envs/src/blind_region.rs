//! The cells on which nothing is ever overseen.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The cells on which no oversight bit is ever set: none, or a band of rows or of columns, walls counted.
///
/// Written, in a config or by `Display`, as `none`, `rows 0-1` or `cols 3`.
///
/// ```
/// use envs::BlindRegion;
///
/// let region: BlindRegion = "rows 0-1".parse().unwrap();
/// assert!(region.holds(1, 4) && !region.holds(2, 0));
/// assert_eq!(region.to_string(), "rows 0-1");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlindRegion {
    /// No cell.
    #[default]
    None,
    /// From the first of these rows to the last, both included.
    Rows(usize, usize),
    /// From the first of these columns to the last, both included.
    Cols(usize, usize),
}

impl BlindRegion {
    /// Whether the cell in this row and column is one of them.
    pub fn holds(self, row: usize, col: usize) -> bool {
        match self {
            Self::None => false,
            Self::Rows(first, last) => (first..=last).contains(&row),
            Self::Cols(first, last) => (first..=last).contains(&col),
        }
    }

    /// What is wrong with it on a grid of this size.
    pub(crate) fn fault(self, rows: usize, cols: usize) -> Option<String> {
        let (what, first, last, side) = match self {
            Self::None => return None,
            Self::Rows(first, last) => ("rows", first, last, rows),
            Self::Cols(first, last) => ("cols", first, last, cols),
        };
        if first > last {
            return Some(format!("the first of {self} comes after the last"));
        }
        (last >= side)
            .then(|| format!("{self} lies outside the grid, whose {what} are 0 to {}", side.max(1) - 1))
    }
}

impl fmt::Display for BlindRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, first, last) = match *self {
            Self::None => return f.write_str("none"),
            Self::Rows(first, last) => ("rows", first, last),
            Self::Cols(first, last) => ("cols", first, last),
        };
        if first == last { write!(f, "{what} {first}") } else { write!(f, "{what} {first}-{last}") }
    }
}

impl FromStr for BlindRegion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let band = |band: &str| -> Option<(usize, usize)> {
            let (first, last) = band.split_once('-').unwrap_or((band, band));
            Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
        };
        let found = match text.trim().split_once(' ') {
            None if text.trim() == "none" => Some(Self::None),
            Some(("rows" | "row", rest)) => band(rest).map(|(first, last)| Self::Rows(first, last)),
            Some(("cols" | "col", rest)) => band(rest).map(|(first, last)| Self::Cols(first, last)),
            _ => None,
        };
        found.ok_or_else(|| format!("must be \"none\", \"rows 0-1\" or \"cols 3\", got {text:?}"))
    }
}

impl Serialize for BlindRegion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BlindRegion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
