//! The matrix product, on the calling thread.
#![expect(unsafe_code, reason = "the gemm crate takes raw pointers; this module checks every bound first")]

/// A matrix view of a slice: element (i, j) is `data[i·row_stride + j·col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A row-major matrix of `rows` × `cols` at the start of `data`.
    ///
    /// # Panics
    /// Panics if `data` is shorter than `rows` × `cols`.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert!(data.len() >= rows * cols, "a {rows}×{cols} matrix needs more than {} numbers", data.len());
        Self { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// The transposed view.
    pub fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    /// The view of the columns `from` to `to`, the last not included.
    ///
    /// # Panics
    /// Panics if `from` lies behind `to`, or `to` after the last column.
    pub fn columns(self, from: usize, to: usize) -> Self {
        assert!(from <= to && to <= self.cols, "columns {from} to {to} of a matrix with {}", self.cols);
        // a view without elements may begin after the end of its slice
        let data = self.data.get(from * self.col_stride..).unwrap_or_default();
        Self { data, cols: to - from, ..self }
    }
}

/// What a product does with what already stands in its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Overwrites it.
    Set,
    /// Adds to it.
    Add,
}

/// c = a·b, or c += a·b, on the calling thread.
///
/// # Shapes
/// `a` (m, k), `b` (k, n), `c` m·n numbers, row-major.
///
/// # Panics
/// Panics if the shapes do not fit.
pub fn matmul(c: &mut [f32], a: Matrix<'_>, b: Matrix<'_>, write: Write) {
    let (m, k, n) = (a.rows, a.cols, b.cols);
    assert_eq!(k, b.rows, "a ({m}, {k}) · b ({}, {n})", b.rows);
    assert!(c.len() >= m * n, "c holds {} numbers, the product {}", c.len(), m * n);
    if k == 0 {
        if write == Write::Set {
            c[..m * n].fill(0.0);
        }
        return;
    }
    let read = write == Write::Add;
    // SAFETY: `Matrix::new` checked that each view lies inside its slice, the asserts above that the shapes
    // agree and that `c`, borrowed mutably and so apart from `a` and `b`, holds m rows of n.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            n as isize,
            read,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            if read { 1.0 } else { 0.0 },
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(a: &[f64], b: &[f64], m: usize, k: usize, n: usize) -> Vec<f64> {
        let mut c = vec![0.0; m * n];
        for i in 0..m {
            for j in 0..n {
                c[i * n + j] = (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
            }
        }
        c
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition_in_every_orientation(
            m in 0usize..20, k in 0usize..20, n in 0usize..20, seed in 0u32..1000
        ) {
            let value = |i: usize| ((i as u32 * 7919 + seed * 104_729) % 1000) as f32 / 500.0 - 1.0;
            let a: Vec<f32> = (0..m * k).map(value).collect();
            let b: Vec<f32> = (0..k * n).map(|i| value(i + 1000)).collect();
            let wide = |x: &[f32]| x.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
            let expected = naive(&wide(&a), &wide(&b), m, k, n);
            let mut c = vec![9.0; m * n];
            matmul(&mut c, Matrix::new(&a, m, k), Matrix::new(&b, k, n), Write::Set);
            let mut twice = c.clone();
            matmul(&mut twice, Matrix::new(&a, m, k), Matrix::new(&b, k, n), Write::Add);
            let a_t: Vec<f32> = (0..m * k).map(|i| a[(i % m) * k + i / m]).collect();
            let mut transposed = vec![9.0; m * n];
            matmul(&mut transposed, Matrix::new(&a_t, k, m).t(), Matrix::new(&b, k, n), Write::Set);
            for (i, want) in expected.iter().enumerate() {
                prop_assert!((f64::from(c[i]) - want).abs() < 1e-4);
                prop_assert!((f64::from(twice[i]) - 2.0 * want).abs() < 1e-4);
                prop_assert!((f64::from(transposed[i]) - want).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn a_view_of_columns_multiplies_as_a_copy_of_them_does() {
        let a: Vec<f32> = (0..12u8).map(f32::from).collect();
        let copy = [1.0, 2.0, 5.0, 6.0, 9.0, 10.0];
        let identity = [1.0, 0.0, 0.0, 1.0];
        let (view, mut product) = (Matrix::new(&a, 3, 4).columns(1, 3), vec![0.0; 6]);
        matmul(&mut product, view, Matrix::new(&identity, 2, 2), Write::Set);
        assert_eq!(product, copy);
        matmul(&mut product, Matrix::new(&identity, 2, 2), view.t(), Write::Set);
        assert_eq!(product, [1.0, 5.0, 9.0, 2.0, 6.0, 10.0]);
        matmul(&mut product, Matrix::new(&a, 3, 4).columns(4, 4), Matrix::new(&[], 0, 2), Write::Set);
        assert_eq!(product, [0.0; 6]);
    }

    #[test]
    #[should_panic(expected = "columns 1 to 4")]
    fn refuses_columns_that_are_not_there() {
        let _ = Matrix::new(&[0.0; 6], 2, 3).columns(1, 4);
    }

    #[test]
    #[should_panic(expected = "a (2, 3) · b (2, 2)")]
    fn refuses_shapes_that_do_not_fit() {
        matmul(&mut [0.0; 4], Matrix::new(&[0.0; 6], 2, 3), Matrix::new(&[0.0; 4], 2, 2), Write::Set);
    }
}
