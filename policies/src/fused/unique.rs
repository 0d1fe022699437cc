//! Equal observations found and stored once.

use learning::kernels::SparseRows;

const EMPTY: u32 = u32::MAX;

/// A set of sparse rows in the order of their first appearance.
///
/// A hash table with open addressing over the rows' bits. Rows are compared in full, so that a collision of
/// hashes costs time and never a wrong answer; the order does not depend on the hashes.
#[derive(Clone, Debug)]
pub struct UniqueRows {
    rows: SparseRows,
    hashes: Vec<u64>,
    slots: Vec<u32>,
}

impl UniqueRows {
    /// No rows yet, of `width` columns.
    ///
    /// # Panics
    /// Panics if `width` is above 65,536.
    pub fn new(width: usize) -> Self {
        Self { rows: SparseRows::new(width), hashes: Vec::new(), slots: vec![EMPTY; 1024] }
    }

    /// The rows.
    pub fn rows(&self) -> &SparseRows {
        &self.rows
    }

    /// The number of different rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True where there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Removes all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.hashes.clear();
        self.slots.fill(EMPTY);
    }

    /// The index of a row given in full, new or known.
    ///
    /// # Panics
    /// Panics if `row` has another width.
    pub fn insert_dense(&mut self, row: &[f32]) -> u32 {
        self.rows.push_dense(row);
        self.settle_last()
    }

    /// The index of a row given by its non-zero entries, columns ascending, new or known.
    ///
    /// # Panics
    /// Panics if a column is out of range.
    pub fn insert_sparse(&mut self, columns: &[u16], values: &[f32]) -> u32 {
        self.rows.push_sparse(columns, values);
        self.settle_last()
    }

    /// Looks the last row up among those before it; removes it again where it is known.
    fn settle_last(&mut self) -> u32 {
        let last = self.rows.len() - 1;
        let (columns, values) = self.rows.row(last);
        let hash = hash(columns, values);
        let mask = self.slots.len() - 1;
        let mut position = hash as usize & mask;
        while self.slots[position] != EMPTY {
            let known = self.slots[position];
            if self.hashes[known as usize] == hash && self.rows.row(known as usize) == (columns, values) {
                self.rows.pop();
                return known;
            }
            position = (position + 1) & mask;
        }
        self.slots[position] = last as u32;
        self.hashes.push(hash);
        if self.rows.len() * 2 > self.slots.len() {
            self.grow();
        }
        last as u32
    }

    fn grow(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        self.slots = vec![EMPTY; mask + 1];
        for (index, hash) in self.hashes.iter().enumerate() {
            let mut position = *hash as usize & mask;
            while self.slots[position] != EMPTY {
                position = (position + 1) & mask;
            }
            self.slots[position] = index as u32;
        }
    }
}

fn hash(columns: &[u16], values: &[f32]) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for (column, value) in columns.iter().zip(values) {
        state ^= u64::from(*column) << 32 | u64::from(value.to_bits());
        state = state.wrapping_mul(0xff51_afd7_ed55_8ccd);
        state ^= state >> 29;
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_exactly_the_equal_rows(
            rows in proptest::collection::vec(proptest::collection::vec(0u8..2, 6), 0..3000)
        ) {
            let rows: Vec<Vec<f32>> =
                rows.into_iter().map(|row| row.into_iter().map(f32::from).collect()).collect();
            let mut unique = UniqueRows::new(6);
            for _ in 0..2 {
                unique.clear();
                let mut seen: Vec<&Vec<f32>> = Vec::new();
                for row in &rows {
                    let expected = seen.iter().position(|known| *known == row).unwrap_or_else(|| {
                        seen.push(row);
                        seen.len() - 1
                    });
                    prop_assert_eq!(unique.insert_dense(row) as usize, expected);
                }
                prop_assert_eq!(unique.len(), seen.len());
                let mut dense = vec![0.0; 6];
                for (index, row) in seen.iter().enumerate() {
                    unique.rows().write_dense(index, &mut dense);
                    prop_assert_eq!(&dense, *row);
                }
            }
        }
    }

    #[test]
    fn survives_growth() {
        let mut unique = UniqueRows::new(60_000);
        for round in 0..2 {
            for column in 0..5000u16 {
                let index = unique.insert_sparse(&[column, column + 7], &[1.0, f32::from(column % 3)]);
                assert_eq!(index, u32::from(column), "round {round}");
            }
        }
        assert_eq!(unique.len(), 5000);
    }
}
