//! Layer norm and RMS norm, row by row.

use super::reductions::{dot, sum};

/// The parameters of a norm.
///
/// ```text
/// layer norm:  y = (x − mean x) / √(mean (x − mean x)² + ε) ⊙ w + b
/// RMS norm:    y = x / √(mean x² + ε) ⊙ w
/// ```
///
/// # Source
/// Ba et al. 2016; Zhang and Sennrich 2019.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// The weight of each column.
    pub w: &'a [f32],
    /// The bias of each column, where there is one.
    pub b: Option<&'a [f32]>,
    /// Whether a row's mean is taken off first: layer norm does so, RMS norm does not.
    pub centred: bool,
    /// ε.
    pub eps: f32,
}

/// What [`norm_backward`] adds to.
#[derive(Debug)]
pub struct NormGradients<'a> {
    /// The gradient of the norm's input, (rows, width).
    pub x: &'a mut [f32],
    /// The gradient of the weights, (width).
    pub w: &'a mut [f32],
    /// The gradient of the biases, (width), where there are any.
    pub b: Option<&'a mut [f32]>,
}

vectorised! {
    /// y ← norm(x); `stats` gets the mean and 1 / deviation of every row, for the backward pass.
    ///
    /// # Shapes
    /// `x` and `y` (rows, width), `stats` (rows, 2).
    ///
    /// # Panics
    /// Panics if the norm has no weight.
    pub fn norm_forward<'a>(y: &mut [f32], stats: &mut [f32], x: &[f32], norm: Norm<'a>) {
        let Norm { w, b, centred, eps } = norm;
        let width = w.len();
        let rows = y.chunks_exact_mut(width).zip(stats.chunks_exact_mut(2)).zip(x.chunks_exact(width));
        for ((y, stats), x) in rows {
            let mean = if centred { sum(x) / width as f32 } else { 0.0 };
            for (y, x) in y.iter_mut().zip(x) {
                *y = x - mean;
            }
            let rstd = 1.0 / (dot(y, y) / width as f32 + eps).sqrt();
            (stats[0], stats[1]) = (mean, rstd);
            match b {
                Some(b) => {
                    for ((y, w), b) in y.iter_mut().zip(w).zip(b) {
                        *y = *y * rstd * w + b;
                    }
                }
                None => {
                    for (y, w) in y.iter_mut().zip(w) {
                        *y = *y * rstd * w;
                    }
                }
            }
        }
    }

    /// The backward pass of [`norm_forward`]: adds to the gradients of input, weights and biases. Overwrites `dy`.
    ///
    /// ```text
    /// n = (x − mean) · rstd      db += Σ dy      dw += Σ dy ⊙ n      g = dy ⊙ w
    /// dx += rstd · (g − mean g − n · mean(g ⊙ n)), without mean g for RMS norm
    /// ```
    ///
    /// # Shapes
    /// `dy` and `x` (rows, width), `stats` (rows, 2) as [`norm_forward`] left them.
    ///
    /// # Panics
    /// Panics if the norm has no weight.
    pub fn norm_backward<'a, 'b>(
        gradients: &mut NormGradients<'a>,
        dy: &mut [f32],
        x: &[f32],
        stats: &[f32],
        norm: Norm<'b>,
    ) {
        let Norm { w, centred, .. } = norm;
        let width = w.len();
        let mut normed = vec![0f32; width];
        let rows = dy.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(stats.chunks_exact(2));
        for (((dy, x), stats), dx) in rows.zip(gradients.x.chunks_exact_mut(width)) {
            let (mean, rstd) = (stats[0], stats[1]);
            for (n, x) in normed.iter_mut().zip(x) {
                *n = (x - mean) * rstd;
            }
            if let Some(db) = &mut gradients.b {
                for (db, dy) in db.iter_mut().zip(&*dy) {
                    *db += dy;
                }
            }
            for (((dw, dy), n), w) in gradients.w.iter_mut().zip(dy.iter_mut()).zip(&normed).zip(w) {
                *dw += *dy * n;
                *dy *= w;
            }
            let along = dot(dy, &normed) / width as f32;
            let shift = if centred { sum(dy) / width as f32 } else { 0.0 };
            for ((dx, dy), n) in dx.iter_mut().zip(&*dy).zip(&normed) {
                *dx += rstd * (dy - shift - n * along);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: usize = 3;
    const WIDTH: usize = 21;
    const EPS: f64 = 1e-5;

    fn column(len: usize, salt: usize) -> Vec<f64> {
        (0..len).map(|i| ((i * 7919 + salt * 104_729) % 997) as f64 / 400.0 - 1.1).collect()
    }

    fn narrow(values: &[f64]) -> Vec<f32> {
        values.iter().map(|v| *v as f32).collect()
    }

    /// The formula itself, in `f64`.
    fn defined(x: &[f64], w: &[f64], b: Option<&[f64]>, centred: bool) -> Vec<f64> {
        let mut out = Vec::new();
        for x in x.chunks_exact(WIDTH) {
            let mean = if centred { x.iter().sum::<f64>() / WIDTH as f64 } else { 0.0 };
            let square = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / WIDTH as f64;
            let bias = |i: usize| b.map_or(0.0, |b| b[i]);
            out.extend((0..WIDTH).map(|i| (x[i] - mean) / (square + EPS).sqrt() * w[i] + bias(i)));
        }
        out
    }

    #[test]
    fn values_and_gradients_are_those_of_the_definition() {
        for (centred, biased) in [(true, true), (true, false), (false, true), (false, false)] {
            let (x, w, dy) = (column(ROWS * WIDTH, 1), column(WIDTH, 2), column(ROWS * WIDTH, 3));
            let bias = column(WIDTH, 4);
            let b = biased.then_some(bias.as_slice());
            let (narrow_w, narrow_b) = (narrow(&w), narrow(&bias));
            let norm = Norm { w: &narrow_w, b: biased.then_some(&narrow_b), centred, eps: EPS as f32 };
            let (mut y, mut stats) = (vec![9.0; ROWS * WIDTH], vec![9.0; 2 * ROWS]);
            norm_forward(&mut y, &mut stats, &narrow(&x), norm);
            for (got, expected) in y.iter().zip(defined(&x, &w, b, centred)) {
                assert!((f64::from(*got) - expected).abs() < 1e-5, "{got} against {expected}");
            }

            // each gradient adds to the 1 that stands there
            let (mut dx, mut dw, mut db) = (vec![1.0; ROWS * WIDTH], vec![1.0; WIDTH], vec![1.0; WIDTH]);
            let mut gradients =
                NormGradients { x: &mut dx, w: &mut dw, b: biased.then_some(db.as_mut_slice()) };
            norm_backward(&mut gradients, &mut narrow(&dy), &narrow(&x), &stats, norm);
            let loss = |x: &[f64], w: &[f64], b: Option<&[f64]>| -> f64 {
                defined(x, w, b, centred).iter().zip(&dy).map(|(y, d)| y * d).sum()
            };
            let slope = |values: &[f64], i: usize, loss: &dyn Fn(&[f64]) -> f64| {
                let (mut up, mut down) = (values.to_vec(), values.to_vec());
                (up[i], down[i]) = (up[i] + 1e-6, down[i] - 1e-6);
                (loss(&up) - loss(&down)) / 2e-6 + 1.0
            };
            for (i, dx) in dx.iter().enumerate() {
                let expected = slope(&x, i, &|x| loss(x, &w, b));
                assert!((f64::from(*dx) - expected).abs() < 1e-4, "dx {dx}: {expected}");
            }
            for i in 0..WIDTH {
                let expected = slope(&w, i, &|w| loss(&x, w, b));
                assert!((f64::from(dw[i]) - expected).abs() < 1e-4, "dw {}: {expected}", dw[i]);
                let expected = if biased { slope(&bias, i, &|b| loss(&x, &w, Some(b))) } else { 1.0 };
                assert!((f64::from(db[i]) - expected).abs() < 1e-4, "db {}: {expected}", db[i]);
            }
        }
    }
}
