//! The penalties on the encoding, with their gradient.

use learning::kernels::{Matrix, Write, matmul};

use crate::objective::{LEAST_DEVIATION, Objective};

/// The L1 and correlation penalties of an encoding, and their gradient.
///
/// ```text
/// l1 = mean over rows of ∑ₖ |z_k|                                      d/dz_ik = l1ᵩ · sign(z_ik) / B
/// n = (z − μ) / σ      C = nᵀ·n / B      corr = mean over pairs |C_kh|  of columns k, h of different parts
/// dn = c / (pairs · B) · n·S,   S_kh = sign(C_kh) for columns of different parts, else 0
/// dz = (dn − mean(dn) − n ⊙ ∑(dn ⊙ n) / (B − 1)) / σ,   mean and sum over the rows
/// ```
///
/// σ² = ∑(z − μ)² / (B − 1). Where σ is below [`LEAST_DEVIATION`] that stands for it, and the last term of dz, which
/// comes from σ, is left out. A column that is exactly constant has n = 0 and dz = 0.
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
    let deviations: Vec<f64> =
        squares.iter().map(|square| (square / (count - 1.0).max(1.0)).sqrt()).collect();
    let inverse: Vec<f32> = deviations
        .iter()
        .map(|deviation| if *deviation == 0.0 { 0.0 } else { (1.0 / deviation.max(LEAST_DEVIATION)) as f32 })
        .collect();
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
        let free: Vec<bool> = deviations.iter().map(|deviation| *deviation > LEAST_DEVIATION).collect();
        add_correlation_gradient(&normal, &signs, &inverse, &free, gradient);
    }
    (l1 / count, correlation)
}

/// Adds dz of the correlation penalty, with its weight already in `signs`; the deviation of a column has a gradient
/// where it is `free`.
fn add_correlation_gradient(
    normal: &[f32],
    signs: &[f32],
    inverse: &[f32],
    free: &[bool],
    gradient: &mut [f32],
) {
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
    let means: Vec<f32> = means.iter().map(|sum| (sum / rows as f64) as f32).collect();
    let others = (rows as f64 - 1.0).max(1.0);
    let products: Vec<f32> = products
        .iter()
        .zip(free)
        .map(|(sum, free)| if *free { (sum / others) as f32 } else { 0.0 })
        .collect();
    for ((row, dn), n) in
        gradient.chunks_exact_mut(width).zip(dn.chunks_exact(width)).zip(normal.chunks_exact(width))
    {
        for k in 0..width {
            row[k] += (dn[k] - means[k] - n[k] * products[k]) * inverse[k];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Setting, Split};

    const ROWS: usize = 37;

    fn objective() -> Objective {
        let mut config = Config::for_setting(Setting::ROUTING, &Split::default());
        (config.model.latent, config.loss.l1, config.loss.l1_last) = (4, 0.0, 0.0);
        Objective::new(&config).unwrap()
    }

    fn encoding(scale: f32) -> Vec<f32> {
        (0..ROWS * 4).map(|i| scale * ((i * i + 3 * i) as f32 * 0.37).sin()).collect()
    }

    fn penalty_and_gradient(latents: &[f32]) -> (f64, Vec<f32>) {
        let mut gradient = vec![0.0; latents.len()];
        let (_, correlation) = penalties(latents, &objective(), &mut gradient);
        (correlation, gradient)
    }

    /// The mean of |Pearson's r| times (B − 1)/B, since the deviations are unbiased and the products are averaged.
    #[test]
    fn it_is_the_mean_correlation_of_the_halves() {
        let z = encoding(1.0);
        let column = |k: usize| z.iter().skip(k).step_by(4).map(|z| f64::from(*z));
        let centred = |k: usize| {
            let mean = column(k).sum::<f64>() / ROWS as f64;
            column(k).map(move |z| z - mean).collect::<Vec<_>>()
        };
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let pearson = |k, h| {
            let (a, b) = (centred(k), centred(h));
            dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
        };
        let pairs = [(0, 2), (0, 3), (1, 2), (1, 3)];
        let mean = pairs.iter().map(|(k, h)| f64::abs(pearson(*k, *h))).sum::<f64>() / 4.0;
        let expected = mean * (ROWS as f64 - 1.0) / ROWS as f64;
        assert!((penalty_and_gradient(&z).0 - expected).abs() < 1e-6 * expected);
    }

    /// However small the encoding has become, it is as correlated as before, and the gradient grows as it shrinks: zero
    /// is no resting place.
    #[test]
    fn a_small_encoding_is_penalised_like_a_large_one() {
        let (penalty, gradient) = penalty_and_gradient(&encoding(1.0));
        for scale in [2f32.powi(-10), 2f32.powi(-20), 2f32.powi(20)] {
            let (scaled, scaled_gradient) = penalty_and_gradient(&encoding(scale));
            assert!((scaled - penalty).abs() < 1e-6 * penalty, "{scale}: {scaled} and {penalty}");
            for (scaled, unscaled) in scaled_gradient.iter().zip(&gradient) {
                let largest = gradient.iter().fold(0f32, |most, g| most.max(g.abs()));
                assert!(
                    (scaled * scale - unscaled).abs() < 1e-4 * largest,
                    "{scale}: {scaled} and {unscaled}"
                );
            }
        }
    }

    #[test]
    fn a_constant_column_has_no_gradient_and_disturbs_no_other() {
        let mut z = encoding(1.0);
        z.iter_mut().skip(1).step_by(4).for_each(|z| *z = 0.1);
        let (penalty, gradient) = penalty_and_gradient(&z);
        assert!(penalty > 0.0 && gradient.iter().all(|g| g.is_finite()));
        assert!(gradient.iter().skip(1).step_by(4).all(|g| *g == 0.0));
        assert!(gradient.iter().step_by(4).any(|g| *g != 0.0));
        // a single image: nothing varies
        let (penalty, gradient) = penalty_and_gradient(&encoding(1.0)[..4]);
        assert!(penalty == 0.0 && gradient.iter().all(|g| *g == 0.0));
    }
}
