//! Cells of a rectangle by their walking distance from one of them, without listing them.
//!
//! The cells at distance `d > 0` from a cell form a square stood on its corner, cut off at the rectangle's
//! edges. It falls into four sides, each with the corner at its beginning and without the one at its end:
//!
//! | side | from | towards | cells `(up or down, left or right)` |
//! |---|---|---|---|
//! | 0 | north | east | `(i up, j right)`, `i ≥ 1` |
//! | 1 | east | south | `(i down, j right)`, `j ≥ 1` |
//! | 2 | south | west | `(i down, j left)`, `i ≥ 1` |
//! | 3 | west | north | `(i up, j left)`, `j ≥ 1` |
//!
//! On each side `i + j = d`, so a side is an interval of `i` and its length a difference.

/// The surroundings of a cell `(row, col)` in a rectangle of `rows` by `cols`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rings {
    row: usize,
    col: usize,
    /// How many cells lie `[up, right, down, left]`.
    room: [usize; 4],
}

impl Rings {
    pub(crate) fn around(row: usize, col: usize, rows: usize, cols: usize) -> Self {
        Self { row, col, room: [row, cols - 1 - col, rows - 1 - row, col] }
    }

    /// The distance of the farthest cell: a corner.
    pub(crate) fn farthest(&self) -> usize {
        let [up, right, down, left] = self.room;
        up.max(down) + left.max(right)
    }

    /// The interval `(first, length)` that `i` runs through on a side of the ring at distance `d > 0`.
    fn side(&self, side: usize, d: usize) -> (usize, usize) {
        let [up, right, down, left] = self.room;
        let (i_max, j_max) = [(up, right), (down, right), (down, left), (up, left)][side];
        // sides 0 and 2 begin on the column (i ≥ 1), sides 1 and 3 on the row (j ≥ 1, that is i ≤ d - 1)
        let on_column = side.is_multiple_of(2);
        let first = d.saturating_sub(j_max).max(usize::from(on_column));
        let end = i_max.min(if on_column { d } else { d - 1 }) + 1;
        (first, end.saturating_sub(first))
    }

    /// How many cells are at distance `d > 0`.
    pub(crate) fn len(&self, d: usize) -> usize {
        (0..4).map(|side| self.side(side, d).1).sum()
    }

    /// The `k`-th of the cells at distance `d > 0`, as `(row, col)`.
    ///
    /// # Panics
    /// If there are not that many.
    pub(crate) fn cell(&self, d: usize, mut k: usize) -> (usize, usize) {
        for side in 0..4 {
            let (first, len) = self.side(side, d);
            if k < len {
                let (i, j) = (first + k, d - first - k);
                return match side {
                    0 => (self.row - i, self.col + j),
                    1 => (self.row + i, self.col + j),
                    2 => (self.row + i, self.col - j),
                    _ => (self.row - i, self.col - j),
                };
            }
            k -= len;
        }
        panic!("the ring at distance {d} has {} cells", self.len(d));
    }

    /// How many cells are at one of `distances`.
    pub(crate) fn count(&self, distances: std::ops::Range<usize>) -> usize {
        distances.map(|d| self.len(d)).sum()
    }

    /// The `k`-th of the cells at one of `distances`, nearest first, as `(row, col)`, and its distance.
    ///
    /// # Panics
    /// If there are not that many.
    pub(crate) fn nth(&self, distances: std::ops::Range<usize>, mut k: usize) -> ((usize, usize), usize) {
        for d in distances.clone() {
            let len = self.len(d);
            if k < len {
                return (self.cell(d, k), d);
            }
            k -= len;
        }
        panic!("the rings at {distances:?} have {} cells", self.count(distances.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::Rings;

    #[test]
    fn rings_partition_the_rectangle() {
        for (rows, cols) in [(1, 1), (1, 7), (6, 1), (2, 4), (5, 5), (4, 9)] {
            for (row, col) in (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col))) {
                let rings = Rings::around(row, col, rows, cols);
                let mut farthest = 0;
                for d in 1..=rows + cols {
                    let mut listed: Vec<_> = (0..rings.len(d)).map(|k| rings.cell(d, k)).collect();
                    listed.sort_unstable();
                    let wanted: Vec<_> = (0..rows)
                        .flat_map(|r| (0..cols).map(move |c| (r, c)))
                        .filter(|&(r, c)| r.abs_diff(row) + c.abs_diff(col) == d)
                        .collect();
                    assert_eq!(listed, wanted, "{rows}×{cols}, from ({row}, {col}), distance {d}");
                    if !wanted.is_empty() {
                        farthest = d;
                    }
                }
                assert_eq!(rings.farthest(), farthest);
            }
        }
    }
}
