//! Element-wise passes and reductions.

use multiversion::multiversion;

/// h = max(z + b, 0), in place on `z` (rows × width) with one bias per column; NaN stays NaN.
///
/// # Panics
/// Panics if `bias` is empty.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2+fma"))]
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
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2+fma"))]
pub fn relu_backward(dh: &mut [f32], h: &[f32]) {
    for (d, h) in dh.iter_mut().zip(h) {
        *d = if *h > 0.0 { *d } else { 0.0 };
    }
}

/// Adds the sum of every column of `values` (rows × width) to `sums` (width): the gradient of a bias.
///
/// # Panics
/// Panics if `sums` is empty.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2+fma"))]
pub fn add_column_sums(sums: &mut [f32], values: &[f32]) {
    for row in values.chunks_exact(sums.len()) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += value;
        }
    }
}

/// a += b.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2+fma"))]
pub fn add_assign(a: &mut [f32], b: &[f32]) {
    for (a, b) in a.iter_mut().zip(b) {
        *a += b;
    }
}

/// The sum of squares, added up in `f64`.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2+fma"))]
pub fn sum_of_squares(values: &[f32]) -> f64 {
    let mut lanes = [0f64; 16];
    let chunks = values.chunks_exact(16);
    let rest: f64 = chunks.remainder().iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(*value) * f64::from(*value);
        }
    }
    lanes.iter().sum::<f64>() + rest
}

/// One of Adam's moments: m ← β·m + (1 − β)·g, with g² in place of g where `square`. `fresh` is 1 − β, rounded
/// once from `f64`: the difference of the `f32` numbers would be off by 1e-5 of itself at β = 0.999.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2+fma"))]
pub fn decay_moment(moment: &mut [f32], grad: &[f32], beta: f32, fresh: f32, square: bool) {
    if square {
        for (m, g) in moment.iter_mut().zip(grad) {
            *m = beta * *m + fresh * (g * g);
        }
    } else {
        for (m, g) in moment.iter_mut().zip(grad) {
            *m = beta * *m + fresh * g;
        }
    }
}

/// Adam's step: w ← w − rate · m / (√v / `root_correction` + ε).
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2+fma"))]
pub fn descend(
    weights: &mut [f32],
    first: &[f32],
    second: &[f32],
    rate: f32,
    root_correction: f32,
    eps: f32,
) {
    for ((w, m), v) in weights.iter_mut().zip(first).zip(second) {
        *w -= rate * m / (v.sqrt() / root_correction + eps);
    }
}

/// The constants of one step of [`adam_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// β₁ and 1 − β₁, each rounded once from `f64`.
    pub beta1: (f32, f32),
    /// β₂ and 1 − β₂, likewise.
    pub beta2: (f32, f32),
    /// λ of the coupled weight decay; 0 for none.
    pub decay: f32,
    /// lr / (1 − β₁ᵗ).
    pub rate: f32,
    /// √(1 − β₂ᵗ).
    pub root_correction: f32,
    /// ε.
    pub eps: f32,
}

/// One step of Adam with coupled weight decay in a single pass over the memory: g ← g + λ·w, then
/// [`decay_moment`] twice and [`descend`], with the same operations in the same order.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2+fma"))]
pub fn adam_step(weights: &mut [f32], first: &mut [f32], second: &mut [f32], grad: &[f32], step: AdamStep) {
    let AdamStep { beta1, beta2, decay, rate, root_correction, eps } = step;
    for (((w, m), v), g) in weights.iter_mut().zip(first).zip(second).zip(grad) {
        let g = g + decay * *w;
        *m = beta1.0 * *m + beta1.1 * g;
        *v = beta2.0 * *v + beta2.1 * (g * g);
        *w -= rate * *m / (v.sqrt() / root_correction + eps);
    }
}

/// [`adam_step`] along `scaling.0` times the gradient, after w ← w · `scaling.1`: with 1 − lr·λ there, decoupled
/// weight decay.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2+fma"))]
pub fn adamw_step(
    weights: &mut [f32],
    first: &mut [f32],
    second: &mut [f32],
    grad: &[f32],
    scaling: (f32, f32),
    step: AdamStep,
) {
    let AdamStep { beta1, beta2, decay, rate, root_correction, eps } = step;
    for (((w, m), v), g) in weights.iter_mut().zip(first).zip(second).zip(grad) {
        let g = g * scaling.0 + decay * *w;
        *m = beta1.0 * *m + beta1.1 * g;
        *v = beta2.0 * *v + beta2.1 * (g * g);
        *w = *w * scaling.1 - rate * *m / (v.sqrt() / root_correction + eps);
    }
}

/// out ← out + b, then out ← scale · sign(out − target), and the sum of |out + b − target|, added up in `f64`
/// row by row: the last layer of a net trained on its mean absolute error. The sign of 0 is 0, as in `PyTorch`.
///
/// # Shapes
/// `out` and `target` (rows, width), `bias` (width).
///
/// # Panics
/// Panics if `bias` is empty.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2+fma"))]
pub fn bias_absolute_error(out: &mut [f32], bias: &[f32], target: &[f32], scale: f32) -> f64 {
    const LANES: usize = 16;
    let width = bias.len();
    let mut total = 0.0;
    for (out, target) in out.chunks_exact_mut(width).zip(target.chunks_exact(width)) {
        let mut lanes = [0f32; LANES];
        for ((out, bias), target) in out.chunks_mut(LANES).zip(bias.chunks(LANES)).zip(target.chunks(LANES)) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adam_in_one_pass_is_adam_in_three() {
        let value = |i: usize, salt: usize| ((i * 7919 + salt) % 1000) as f32 / 500.0 - 1.0;
        let column = |salt: usize| -> Vec<f32> { (0..101).map(|i| value(i, salt)).collect() };
        let (mut w, mut m, grad) = (column(1), column(2), column(3));
        let mut v: Vec<f32> = column(4).iter().map(|v| v.abs()).collect();
        let decayed: Vec<f32> = grad.iter().zip(&w).map(|(g, w)| g + 0.25 * w).collect();
        let (mut w_expected, mut m_expected, mut v_expected) = (w.clone(), m.clone(), v.clone());
        decay_moment(&mut m_expected, &decayed, 0.9, 0.1, false);
        decay_moment(&mut v_expected, &decayed, 0.999, 0.001, true);
        descend(&mut w_expected, &m_expected, &v_expected, 0.01, 0.5, 1e-8);
        let step = AdamStep {
            beta1: (0.9, 0.1),
            beta2: (0.999, 0.001),
            decay: 0.25,
            rate: 0.01,
            root_correction: 0.5,
            eps: 1e-8,
        };
        adam_step(&mut w, &mut m, &mut v, &grad, step);
        for (got, expected) in [(w, w_expected), (m, m_expected), (v, v_expected)] {
            for (got, expected) in got.iter().zip(&expected) {
                assert!((got - expected).abs() <= 1e-6 * expected.abs(), "{got} against {expected}");
            }
        }
    }

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
    fn the_sum_of_squares_is_exact_on_small_integers() {
        let values: Vec<f32> = (0..101i16).map(f32::from).collect();
        assert!((sum_of_squares(&values) - 338_350.0).abs() < 1e-9);
    }
}
