//! Element-wise passes, and sums over columns.

use super::reductions::LANES;

vectorised! {
    /// h = max(z + b, 0), in place on `z` (rows × width) with one bias per column; NaN stays NaN.
    ///
    /// # Panics
    /// Panics if `bias` is empty.
    pub fn bias_relu(z: &mut [f32], bias: &[f32]) {
        for row in z.chunks_exact_mut(bias.len()) {
            for (z, b) in row.iter_mut().zip(bias) {
                let sum = *z + b;
                *z = if sum < 0.0 { 0.0 } else { sum };
            }
        }
    }

    /// dz = dh where h > 0 and 0 elsewhere, in place on `dh`: the backward pass of a ReLU whose output was `h`.
    /// ReLU'(0) is 0, as in PyTorch.
    pub fn relu_backward(dh: &mut [f32], h: &[f32]) {
        for (d, h) in dh.iter_mut().zip(h) {
            *d = if *h > 0.0 { *d } else { 0.0 };
        }
    }

    /// Adds the sum of every column of `values` (rows × width) to `sums` (width): the gradient of a bias.
    ///
    /// # Panics
    /// Panics if `sums` is empty.
    pub fn add_column_sums(sums: &mut [f32], values: &[f32]) {
        for row in values.chunks_exact(sums.len()) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
    }

    /// a += b.
    pub fn add_assign(a: &mut [f32], b: &[f32]) {
        for (a, b) in a.iter_mut().zip(b) {
            *a += b;
        }
    }

    /// x ← x + b, one bias a column.
    ///
    /// # Shapes
    /// `x` (rows, width), `bias` (width).
    ///
    /// # Panics
    /// Panics if `bias` is empty.
    pub fn add_bias(x: &mut [f32], bias: &[f32]) {
        for row in x.chunks_exact_mut(bias.len()) {
            for (x, b) in row.iter_mut().zip(bias) {
                *x += b;
            }
        }
    }

    /// out ← x + b, one bias a column: what a product is then added to.
    ///
    /// # Shapes
    /// `out` and `x` (rows, width), `bias` (width).
    ///
    /// # Panics
    /// Panics if `bias` is empty.
    pub fn copy_with_bias(out: &mut [f32], x: &[f32], bias: &[f32]) {
        for (out, x) in out.chunks_exact_mut(bias.len()).zip(x.chunks_exact(bias.len())) {
            for ((out, x), b) in out.iter_mut().zip(x).zip(bias) {
                *out = x + b;
            }
        }
    }

    /// a ← a ⊙ b.
    pub fn multiply(a: &mut [f32], b: &[f32]) {
        for (a, b) in a.iter_mut().zip(b) {
            *a *= b;
        }
    }

    /// d ← d + scale · sign(a): the gradient of scale · Σ |a|, 0 where a is 0. Returns Σ |a|.
    pub fn add_sign(d: &mut [f32], a: &[f32], scale: f32) -> f32 {
        let mut lanes = [0f32; LANES];
        for (d, a) in d.chunks_mut(LANES).zip(a.chunks(LANES)) {
            for ((lane, d), a) in lanes.iter_mut().zip(d).zip(a) {
                *lane += a.abs();
                let sign = if *a > 0.0 { scale } else { -scale };
                *d += if *a == 0.0 { 0.0 } else { sign };
            }
        }
        lanes.iter().sum()
    }

    /// out ← out + b, then out ← scale · sign(out − target), and the sum of |out + b − target|, added up in `f64`
    /// row by row: the last layer of a net trained on its mean absolute error. The sign of 0 is 0, as in `PyTorch`.
    ///
    /// # Shapes
    /// `out` and `target` (rows, width), `bias` (width).
    ///
    /// # Panics
    /// Panics if `bias` is empty.
    pub fn bias_absolute_error(out: &mut [f32], bias: &[f32], target: &[f32], scale: f32) -> f64 {
        let width = bias.len();
        let mut total = 0.0;
        for (out, target) in out.chunks_exact_mut(width).zip(target.chunks_exact(width)) {
            let mut lanes = [0f32; LANES];
            let chunks = out.chunks_mut(LANES).zip(bias.chunks(LANES)).zip(target.chunks(LANES));
            for ((out, bias), target) in chunks {
                for (((lane, o), b), t) in lanes.iter_mut().zip(out).zip(bias).zip(target) {
                    let difference = *o + b - t;
                    *lane += difference.abs();
                    let sign = if difference > 0.0 { scale } else { -scale };
                    *o = if difference == 0.0 { 0.0 } else { sign };
                }
            }
            total += f64::from(lanes.iter().sum::<f32>());
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_absolute_error_and_its_gradient() {
        let mut out = vec![1.0, -2.0, 0.5, 3.0, 0.0, 0.25];
        let sum = bias_absolute_error(&mut out, &[0.5, 0.0, 0.25], &[1.0, 1.0, 0.75, 1.0, -1.0, 0.0], 0.125);
        assert!((sum - 7.5).abs() < 1e-12, "{sum}");
        assert_eq!(out, [0.125, -0.125, 0.0, 0.125, 0.125, 0.125]);
        assert!(bias_absolute_error(&mut [f32::NAN], &[0.0], &[0.0], 1.0).is_nan());
    }

    #[test]
    fn relu_and_its_gradient_are_zero_at_zero_and_nan_is_not_hidden() {
        let mut z = vec![-1.0, 0.5, 2.0, f32::NAN, -0.5, 1.0];
        bias_relu(&mut z, &[1.0, -0.25, 0.0]);
        assert!(z[3].is_nan());
        z[3] = 0.0;
        assert_eq!(z, [0.0, 0.25, 2.0, 0.0, 0.0, 1.0]);
        let mut d = vec![1.0; 6];
        relu_backward(&mut d, &z);
        assert_eq!(d, [0.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn column_sums_add_to_what_is_there() {
        let mut sums = vec![10.0, 20.0];
        add_column_sums(&mut sums, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(sums, [19.0, 32.0]);
    }

    #[test]
    fn biases_factors_and_signs_go_where_they_belong() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let (mut added, mut copied) = (x.to_vec(), vec![9.0; 6]);
        add_bias(&mut added, &[0.5, -1.0]);
        copy_with_bias(&mut copied, &x, &[0.5, -1.0]);
        assert_eq!(added, [1.5, 1.0, 3.5, 3.0, 5.5, 5.0]);
        assert_eq!(copied, added);
        multiply(&mut copied, &[0.0, 2.0, 1.0, -1.0, 0.0, 0.5]);
        assert_eq!(copied, [0.0, 2.0, 3.5, -3.0, 0.0, 2.5]);
        let mut d = vec![1.0; 6];
        let sum = add_sign(&mut d, &copied, 0.25);
        assert!((sum - 11.0).abs() < 1e-6, "{sum}");
        assert_eq!(d, [1.0, 1.25, 1.25, 0.75, 1.0, 1.25]);
    }
}
