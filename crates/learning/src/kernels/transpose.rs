//! Transposition.

/// Rows and columns moved at a time: a block of 16 × 16 numbers touches 32 cache lines, each of them in full.
const BLOCK: usize = 16;

/// out = valuesᵀ.
///
/// # Shapes
/// `values` (rows, cols), `out` (cols, rows), row-major.
///
/// # Panics
/// Panics if `cols` is zero, the lengths differ or `values` has no whole number of rows.
pub fn transpose(out: &mut [f32], values: &[f32], cols: usize) {
    assert_eq!(out.len(), values.len(), "a transposed matrix has as many numbers");
    transpose_columns(out, values, cols, 0);
}

/// out = the transposed columns of `values` from `first` on, as many as fit `out`: threads can share a matrix out.
///
/// # Shapes
/// `values` (rows, cols), `out` (columns taken, rows), row-major.
///
/// # Panics
/// Panics if `cols` is zero, `values` has no whole number of rows, `out` none of columns, or more than there are.
pub fn transpose_columns(out: &mut [f32], values: &[f32], cols: usize, first: usize) {
    let rows = values.len() / cols;
    assert_eq!(values.len(), rows * cols, "a whole number of rows");
    let taken = out.len().checked_div(rows).unwrap_or(0);
    assert!(out.len() == taken * rows && first + taken <= cols, "columns {first} on of {cols}");
    for top in (0..rows).step_by(BLOCK) {
        let height = BLOCK.min(rows - top);
        for left in (0..taken).step_by(BLOCK) {
            let width = BLOCK.min(taken - left);
            let mut block = [[0.0; BLOCK]; BLOCK];
            for (i, line) in block.iter_mut().enumerate().take(height) {
                line[..width].copy_from_slice(&values[(top + i) * cols + first + left..][..width]);
            }
            let block = turned(&block);
            for (j, line) in block.iter().enumerate().take(width) {
                out[(left + j) * rows + top..][..height].copy_from_slice(&line[..height]);
            }
        }
    }
}

/// Of a fixed size, so that the compiler makes shuffles of it.
fn turned(block: &[[f32; BLOCK]; BLOCK]) -> [[f32; BLOCK]; BLOCK] {
    std::array::from_fn(|j| std::array::from_fn(|i| block[i][j]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_changes_its_row_for_its_column() {
        for (rows, cols) in [(0, 3), (1, 1), (3, 50), (16, 16), (17, 33), (40, 5)] {
            let values: Vec<f32> = (0..rows * cols).map(|i| i as f32).collect();
            let mut out = vec![-1.0; values.len()];
            transpose(&mut out, &values, cols);
            for (i, value) in values.iter().enumerate() {
                assert!((out[(i % cols) * rows + i / cols] - value).abs() < 0.5, "{rows} × {cols}");
            }
            for first in 0..cols {
                let mut part = vec![-1.0; rows * (cols - first).min(20)];
                transpose_columns(&mut part, &values, cols, first);
                let bits = |numbers: &[f32]| numbers.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                assert_eq!(
                    bits(&part),
                    bits(&out[first * rows..][..part.len()]),
                    "{rows} × {cols} from {first}"
                );
            }
        }
    }
}
