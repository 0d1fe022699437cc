//! First layers over sparse inputs: a row of the weight table per non-zero input in place of a product.

/// Rows of a matrix by their non-zero entries, as in compressed sparse row storage.
#[derive(Clone, Debug)]
pub struct SparseRows {
    width: usize,
    starts: Vec<u32>,
    columns: Vec<u16>,
    values: Vec<f32>,
}

impl SparseRows {
    /// No rows yet, of `width` columns.
    ///
    /// # Panics
    /// Panics if `width` is above 65,536.
    pub fn new(width: usize) -> Self {
        assert!(width <= 1 << 16, "sparse rows hold at most 65,536 columns, not {width}");
        Self { width, starts: vec![0], columns: Vec::new(), values: Vec::new() }
    }

    /// The number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// True where there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.starts.truncate(1);
        self.columns.clear();
        self.values.clear();
    }

    /// Appends a row given in full.
    ///
    /// # Panics
    /// Panics if `row` is not `width` long or all rows together have more than 2³² − 1 entries.
    pub fn push_dense(&mut self, row: &[f32]) {
        assert_eq!(row.len(), self.width, "a row of the wrong width");
        // most of a one-hot row is zero: look at eight entries at a time
        for (chunk_index, chunk) in row.chunks(8).enumerate() {
            if chunk.iter().all(|v| *v == 0.0) {
                continue;
            }
            for (i, value) in chunk.iter().enumerate().filter(|(_, v)| **v != 0.0) {
                self.columns.push((chunk_index * 8 + i) as u16);
                self.values.push(*value);
            }
        }
        self.starts.push(offset(self.columns.len()));
    }

    /// Appends a row by the columns and values of its non-zero entries, columns ascending.
    ///
    /// # Panics
    /// Panics if the lengths differ, a column is out of range or all rows together have more than 2³² − 1 entries.
    pub fn push_sparse(&mut self, columns: &[u16], values: &[f32]) {
        assert_eq!(columns.len(), values.len(), "a value for every column");
        assert!(columns.iter().all(|c| usize::from(*c) < self.width), "a column out of range");
        self.columns.extend_from_slice(columns);
        self.values.extend_from_slice(values);
        self.starts.push(offset(self.columns.len()));
    }

    /// Removes the last row, where there is one.
    pub fn pop(&mut self) {
        if !self.is_empty() {
            self.starts.pop();
            let end = self.starts.last().map_or(0, |end| *end as usize);
            self.columns.truncate(end);
            self.values.truncate(end);
        }
    }

    /// The columns and values of the non-zero entries of row `index`.
    ///
    /// # Panics
    /// Panics if there is no such row.
    pub fn row(&self, index: usize) -> (&[u16], &[f32]) {
        let range = self.starts[index] as usize..self.starts[index + 1] as usize;
        (&self.columns[range.clone()], &self.values[range])
    }

    /// Writes row `index` in full.
    ///
    /// # Panics
    /// Panics if `out` is not `width` long or there is no such row.
    pub fn write_dense(&self, index: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.width, "a row of the wrong width");
        out.fill(0.0);
        let (columns, values) = self.row(index);
        for (column, value) in columns.iter().zip(values) {
            out[usize::from(*column)] = *value;
        }
    }

    /// The dot product of row `index` with `weights` (width).
    ///
    /// # Panics
    /// Panics if there is no such row.
    pub fn dot(&self, index: usize, weights: &[f32]) -> f32 {
        let (columns, values) = self.row(index);
        columns.iter().zip(values).map(|(c, v)| v * weights[usize::from(*c)]).sum()
    }
}

/// Where a row begins that follows `entries` entries.
fn offset(entries: usize) -> u32 {
    assert!(u32::try_from(entries).is_ok(), "sparse rows hold at most 2^32 - 1 entries, not {entries}");
    entries as u32
}

/// Refuses a table that has not `width` numbers for each column of `x`, so that no index into it can wrap.
fn check_table(table: &[f32], x: &SparseRows, width: usize) {
    let needed = x.width.checked_mul(width);
    assert!(
        needed.is_some_and(|needed| table.len() >= needed),
        "a table of {} numbers for {} columns of {width}",
        table.len(),
        x.width
    );
}

vectorised! {
    /// h = max(x·T + b, 0) for the rows of `x` that `rows` lists.
    ///
    /// # Shapes
    /// `table` (columns, width): the *transposed* weight of PyTorch's `Linear`; `bias` (width);
    /// `h` (number of `rows`, width).
    ///
    /// # Panics
    /// Panics if `bias` is empty, `table` is too short or a row is out of range.
    pub fn gather_relu(h: &mut [f32], x: &SparseRows, rows: &[u32], table: &[f32], bias: &[f32]) {
        /// Units whose sums stay in registers until all columns are in.
        const BLOCK: usize = 64;
        let width = bias.len();
        check_table(table, x, width);
        for (row, h) in rows.iter().zip(h.chunks_exact_mut(width)) {
            let (columns, values) = x.row(*row as usize);
            let mut blocks = h.chunks_exact_mut(BLOCK);
            let mut start = 0;
            for h in blocks.by_ref() {
                let mut sums = [0f32; BLOCK];
                sums.copy_from_slice(&bias[start..start + BLOCK]);
                for (column, value) in columns.iter().zip(values) {
                    let weights = &table[usize::from(*column) * width + start..][..BLOCK];
                    for (sum, w) in sums.iter_mut().zip(weights) {
                        *sum += value * w;
                    }
                }
                for (h, sum) in h.iter_mut().zip(&sums) {
                    *h = if *sum < 0.0 { 0.0 } else { *sum };
                }
                start += BLOCK;
            }
            let h = blocks.into_remainder();
            h.copy_from_slice(&bias[start..]);
            for (column, value) in columns.iter().zip(values) {
                let weights = &table[usize::from(*column) * width + start..][..h.len()];
                for (h, w) in h.iter_mut().zip(weights) {
                    *h += value * w;
                }
            }
            for h in h {
                *h = if *h < 0.0 { 0.0 } else { *h };
            }
        }
    }

    /// dT += xᵀ·dz for the rows of `x` that `rows` lists: the gradient of [`gather_relu`]'s table.
    ///
    /// # Shapes
    /// `table` (columns, `width`), `dz` (number of `rows`, `width`).
    ///
    /// # Panics
    /// Panics if `width` is zero, `table` is too short or a row is out of range.
    pub fn scatter_add(table: &mut [f32], x: &SparseRows, rows: &[u32], dz: &[f32], width: usize) {
        check_table(table, x, width);
        for (row, dz) in rows.iter().zip(dz.chunks_exact(width)) {
            let (columns, values) = x.row(*row as usize);
            for (column, value) in columns.iter().zip(values) {
                let weights = &mut table[usize::from(*column) * width..][..width];
                for (w, d) in weights.iter_mut().zip(dz) {
                    *w += value * d;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Matrix, Write, bias_relu, matmul};

    #[test]
    fn gather_and_scatter_agree_with_the_dense_product() {
        for width in [5, 64, 150] {
            gather_and_scatter_at(width);
        }
    }

    fn gather_and_scatter_at(width: usize) {
        let (rows, columns) = (7, 21);
        let value = |i: usize| ((i * 7919) % 997) as f32 / 500.0 - 1.0;
        let dense: Vec<f32> = (0..rows * columns).map(|i| if i % 4 == 0 { value(i) } else { 0.0 }).collect();
        let mut x = SparseRows::new(columns);
        x.push_dense(&vec![1.0; columns]);
        for row in dense.chunks_exact(columns) {
            x.push_dense(row);
        }
        let (mut copy, (kept_columns, kept_values)) = (SparseRows::new(columns), x.row(3));
        copy.push_sparse(kept_columns, kept_values);
        copy.push_dense(&vec![2.0; columns]);
        copy.pop();
        assert_eq!(copy.len(), 1);
        let mut back = vec![9.0; columns];
        copy.write_dense(0, &mut back);
        assert_eq!(back, dense[2 * columns..3 * columns]);

        let table: Vec<f32> = (0..columns * width).map(|i| value(i + 31)).collect();
        let bias: Vec<f32> = (0..width).map(|i| value(i + 57)).collect();
        let (mut h, mut expected) = (vec![9.0; rows * width], vec![0.0; rows * width]);
        let listed: Vec<u32> = (1..=rows as u32).collect();
        gather_relu(&mut h, &x, &listed, &table, &bias);
        let (dense_m, table_m) = (Matrix::new(&dense, rows, columns), Matrix::new(&table, columns, width));
        matmul(&mut expected, dense_m, table_m, Write::Set);
        bias_relu(&mut expected, &bias);
        assert!(h.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5));

        let (mut grad, mut expected) = (vec![1.0; columns * width], vec![1.0; columns * width]);
        scatter_add(&mut grad, &x, &listed, &h, width);
        matmul(&mut expected, dense_m.t(), Matrix::new(&h, rows, width), Write::Add);
        assert!(grad.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4));

        let weights: Vec<f32> = (0..columns).map(|i| value(i + 3)).collect();
        let expected: f32 = dense[..columns].iter().zip(&weights).map(|(a, b)| a * b).sum();
        assert!((x.dot(1, &weights) - expected).abs() < 1e-5);
    }

    #[test]
    #[should_panic(expected = "a table of 7 numbers for 4 columns of 9223372036854775808")]
    #[cfg(target_pointer_width = "64")]
    fn a_table_whose_size_would_wrap_is_refused() {
        let mut x = SparseRows::new(4);
        x.push_sparse(&[2], &[1.0]);
        // four times this is 2⁶⁵, which is 0 in 64 bits
        scatter_add(&mut [0.0; 7], &x, &[0], &[], 1 << 63);
    }

    #[test]
    #[should_panic(expected = "a table of 7 numbers for 4 columns of 2")]
    fn a_table_that_is_too_short_is_refused() {
        let mut x = SparseRows::new(4);
        x.push_sparse(&[0], &[1.0]);
        gather_relu(&mut [0.0; 2], &x, &[0], &[0.0; 7], &[0.0; 2]);
    }

    #[test]
    #[should_panic(expected = "at most 2^32 - 1 entries, not 4294967296")]
    #[cfg(target_pointer_width = "64")]
    fn offsets_do_not_wrap() {
        assert_eq!(offset(u32::MAX as usize), u32::MAX);
        let _ = offset(1 << 32);
    }
}
