//! The matrix product, on the calling thread.
#![expect(unsafe_code, reason = "the gemm crate takes raw pointers; this module checks every bound first")]

/// A matrix view of a slice: element (i, j) is `data[i·row_stride + j·col_stride]`.
///
/// Every element of a view lies inside its slice. Of a view with elements each stride is 1 or the number of columns
/// of the row-major matrix it was made from, which is no more than the slice's length.
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
        let fits = rows.checked_mul(cols).is_some_and(|len| len <= data.len());
        assert!(fits, "a {rows}×{cols} matrix needs more than {} numbers", data.len());
        Self { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// The number of rows.
    pub fn rows(self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn cols(self) -> usize {
        self.cols
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
        let start = from.checked_mul(self.col_stride);
        let data = start.and_then(|start| self.data.get(start..)).unwrap_or_default();
        Self { data, cols: to - from, ..self }
    }

    /// Whether every element lies inside the slice.
    fn is_inside(self) -> bool {
        let (Some(row), Some(col)) = (self.rows.checked_sub(1), self.cols.checked_sub(1)) else {
            return true;
        };
        let last = row.checked_mul(self.row_stride).zip(col.checked_mul(self.col_stride));
        last.and_then(|(row, col)| row.checked_add(col)).is_some_and(|last| last < self.data.len())
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
    let held = c.len();
    let Some(c) = m.checked_mul(n).and_then(|len| c.get_mut(..len)) else {
        panic!("c holds {held} numbers, the product is {m}×{n}");
    };
    if c.is_empty() {
        return;
    }
    if k == 0 {
        if write == Write::Set {
            c.fill(0.0);
        }
        return;
    }
    assert!(a.is_inside() && b.is_inside(), "a view reaches past the end of its slice");
    let read = write == Write::Add;
    // SAFETY: m, n and k are at least 1 here. The last assertion says that all m × k elements of `a` and all k × n
    // of `b` lie inside their slices; `c` was cut to m rows of n numbers, and is borrowed mutably and so apart
    // from `a` and `b`. The strides are no larger than the slices (see `Matrix`), and n no larger than `c`, so
    // that none of them changes its sign as an `isize`. The product does not read `c` where `read` is false.
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

    /// NaN around the numbers that a product may read: one read too many shows in the sums.
    const GUARD: usize = 7;

    /// All views of `rows` × `cols` with elements (i, j) = value(i, j), over whole matrices, over columns out of
    /// the middle of wider ones, and both transposed: each with the guarded numbers it lies in.
    fn views(rows: usize, cols: usize, value: impl Fn(usize, usize) -> f32) -> Vec<View> {
        let mut views = Vec::new();
        for transposed in [false, true] {
            for (before, after) in [(0, 0), (0, 2), (1, 0), (2, 1)] {
                let (r, c) = if transposed { (cols, rows) } else { (rows, cols) };
                let width = before + c + after;
                let mut numbers = vec![f32::NAN; GUARD + r * width + GUARD];
                for i in 0..r {
                    for j in 0..c {
                        let (i2, j2) = if transposed { (j, i) } else { (i, j) };
                        numbers[GUARD + i * width + before + j] = value(i2, j2);
                    }
                }
                views.push(View { numbers, rows: r, width, columns: (before, before + c), transposed });
            }
        }
        views
    }

    struct View {
        numbers: Vec<f32>,
        rows: usize,
        width: usize,
        columns: (usize, usize),
        transposed: bool,
    }

    impl View {
        fn matrix(&self) -> Matrix<'_> {
            let data = &self.numbers[GUARD..self.numbers.len() - GUARD];
            let whole = Matrix::new(data, self.rows, self.width).columns(self.columns.0, self.columns.1);
            if self.transposed { whole.t() } else { whole }
        }
    }

    #[test]
    fn no_small_product_reads_or_writes_outside_its_bounds() {
        // whole numbers, so that every sum is exact in any order
        let left = |i: usize, j: usize| ((i * 5 + j * 3) % 7) as f32 - 3.0;
        let right = |i: usize, j: usize| ((i * 2 + j * 5) % 9) as f32 - 4.0;
        for size in 0..6 * 6 * 6usize {
            let (m, k, n) = (size / 36, size / 6 % 6, size % 6);
            let naive = |i: usize, j: usize| (0..k).map(|l| left(i, l) * right(l, j)).sum::<f32>();
            for a in views(m, k, left) {
                for b in views(k, n, right) {
                    for (write, start) in [(Write::Set, f32::NAN), (Write::Add, 2.0)] {
                        let mut c = vec![start; m * n];
                        c.resize(m * n + GUARD, 77.0);
                        c.splice(0..0, [77.0; GUARD]);
                        matmul(&mut c[GUARD..GUARD + m * n], a.matrix(), b.matrix(), write);
                        for (at, got) in c.iter().enumerate() {
                            let inside = at >= GUARD && at < GUARD + m * n;
                            let added = if write == Write::Add { start } else { 0.0 };
                            let expected =
                                if inside { naive((at - GUARD) / n, (at - GUARD) % n) + added } else { 77.0 };
                            assert!((got - expected).abs() < 1e-6, "({m}, {k}) · ({k}, {n}) at {at}: {got}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "matrix needs more than 0 numbers")]
    fn a_size_that_wraps_to_zero_is_no_empty_matrix() {
        let _ = Matrix::new(&[], 1 << (usize::BITS - 1), 2);
    }

    #[test]
    #[should_panic(expected = "matrix needs more than 3 numbers")]
    fn a_size_that_wraps_to_less_than_the_slice_is_refused() {
        let _ = Matrix::new(&[0.0; 3], usize::MAX, usize::MAX);
    }

    #[test]
    #[should_panic(expected = "c holds 0 numbers")]
    fn a_product_whose_size_wraps_is_refused() {
        let half = 1 << (usize::BITS / 2);
        matmul(&mut [], Matrix::new(&[], half, 0), Matrix::new(&[], 0, half), Write::Set);
    }

    #[test]
    fn huge_views_without_elements_are_products_of_nothing() {
        let (wide, tall) = (Matrix::new(&[], 0, usize::MAX), Matrix::new(&[], usize::MAX, 0));
        matmul(&mut [], wide, wide.t().columns(0, 0), Write::Set);
        matmul(&mut [], wide.columns(usize::MAX - 2, usize::MAX), Matrix::new(&[], 2, 0), Write::Add);
        matmul(&mut [], tall, tall.t().columns(7, 7), Write::Set);
        let mut c = vec![5.0];
        matmul(&mut c, tall.t().t().t().columns(0, 0).t(), Matrix::new(&[], 0, 1), Write::Set);
        assert_eq!(c, [5.0]);
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
