//! The penalties on the encoding, with their gradient.

use learning::kernels::{Matrix, Write, matmul};

use crate::objective::{Objective, VARIANCE_EPS};

/// The L1 and correlation penalties of an encoding, and their gradient.
///
/// ```text
/// l1 = mean over rows of ∑ₖ |z_k|                                      d/dz_ik = l1ᵩ · sign(z_ik) / B
/// n = (z − μ) / σ      C = nᵀ·n / B      corr = mean over pairs |C_kh|  of columns k, h of different parts
/// dn = c / (pairs · B) · n·S,   S_kh = sign(C_kh) for columns of different parts, else 0
/// dz = (dn − mean(dn) − n ⊙ mean(dn ⊙ n)) / σ,   means over the rows, σ² the variance over B plus ε
/// ```
///
/// Returns both penalties without their weights.
///
/// # Shapes
/// `latents` and `gradient` (B, latent).
pub(super) fn penalties(latents: &[f32], objective: &Objective, gradient: &mut [f32]) -> (f64, f64) {
    let width = objective.latent();
    let rows = latents.len() / width;
    let count = rows as f64;
    let parts = objective.part_of_columns();

    let slopes: Vec<f32> = parts.iter().map(|part| (objective.l1[*part] / count) as f32).collect();
    let (mut l1, mut sums, mut squares) = (0.0, vec![0.0; width], vec![0.0; width]);
    for (row, gradient) in latents.chunks_exact(width).zip(gradient.chunks_exact_mut(width)) {
        for (((z, d), slope), sum) in row.iter().zip(gradient).zip(&slopes).zip(&mut sums) {
            l1 += f64::from(z.abs());
            *sum += f64::from(*z);
            *d = if *z == 0.0 { 0.0 } else { slope.copysign(*z) };
        }
    }
    let means: Vec<f64> = sums.iter().map(|sum| sum / count).collect();
    let mut normal = vec![0.0f32; latents.len()];
    for (row, normal) in latents.chunks_exact(width).zip(normal.chunks_exact_mut(width)) {
        for (((z, n), mean), square) in row.iter().zip(normal).zip(&means).zip(&mut squares) {
            let centred = f64::from(*z) - mean;
            *square += centred * centred;
            *n = centred as f32;
        }
    }
    let inverse: Vec<f32> =
        squares.iter().map(|square| (1.0 / (square / count + VARIANCE_EPS).sqrt()) as f32).collect();
    for normal in normal.chunks_exact_mut(width) {
        normal.iter_mut().zip(&inverse).for_each(|(n, inverse)| *n *= inverse);
    }

    let mut products = vec![0.0; width * width];
    let matrix = Matrix::new(&normal, rows, width);
    matmul(&mut products, matrix.t(), matrix, Write::Set);
    let pairs = (0..width).flat_map(|k| (0..k).map(move |h| (k, h))).filter(|(k, h)| parts[*k] != parts[*h]);
    let pairs: Vec<(usize, usize)> = pairs.collect();
    let sum: f64 = pairs.iter().map(|(k, h)| f64::from(products[k * width + h].abs())).sum();
    let correlation = sum / count / pairs.len() as f64;
    if objective.correlation > 0.0 {
        let scale = (objective.correlation / (pairs.len() as f64 * count)) as f32;
        let mut signs = vec![0.0; width * width];
        for (k, h) in pairs {
            let product = products[k * width + h];
            let sign = if product == 0.0 { 0.0 } else { scale.copysign(product) };
            (signs[k * width + h], signs[h * width + k]) = (sign, sign);
        }
        add_correlation_gradient(&normal, &signs, &inverse, gradient);
    }
    (l1 / count, correlation)
}

/// Adds dz of the correlation penalty, with its weight already in `signs`.
fn add_correlation_gradient(normal: &[f32], signs: &[f32], inverse: &[f32], gradient: &mut [f32]) {
    let width = inverse.len();
    let rows = normal.len() / width;
    let mut dn = vec![0.0; normal.len()];
    matmul(&mut dn, Matrix::new(normal, rows, width), Matrix::new(signs, width, width), Write::Set);
    let (mut means, mut products) = (vec![0.0f64; width], vec![0.0f64; width]);
    for (dn, n) in dn.chunks_exact(width).zip(normal.chunks_exact(width)) {
        for (((d, n), mean), product) in dn.iter().zip(n).zip(&mut means).zip(&mut products) {
            *mean += f64::from(*d);
            *product += f64::from(*d) * f64::from(*n);
        }
    }
    let per_row = |sums: &[f64]| -> Vec<f32> { sums.iter().map(|sum| (sum / rows as f64) as f32).collect() };
    let (means, products) = (per_row(&means), per_row(&products));
    for ((row, dn), n) in
        gradient.chunks_exact_mut(width).zip(dn.chunks_exact(width)).zip(normal.chunks_exact(width))
    {
        for k in 0..width {
            row[k] += (dn[k] - means[k] - n[k] * products[k]) * inverse[k];
        }
    }
}
