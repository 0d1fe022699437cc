//! Element-wise and row-wise passes of a transformer on `f32` slices, on the calling thread.
//!
//! The loops are compiled for several instruction sets and sum in a fixed order, so that every machine gets the
//! same bits from them.

use multiversion::multiversion;

use crate::model::{NORM_EPS, Norm};

/// Partial sums of a row, so that the compiler can add many numbers at once.
const LANES: usize = 16;

/// eˣ to about 1e-7 of itself; below −87 it is that of −87.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // adding and subtracting 1.5 · 2²³ rounds to a whole number, whose low bits then hold it
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let p = 1.987_569_1e-4 * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = p * (r * r) + r + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    p * f32::from_bits(exponent)
}

#[expect(clippy::inline_always, reason = "it must become part of loops that are compiled several times")]
#[inline(always)]
fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    lanes.iter().sum::<f32>() + rest
}

#[expect(clippy::inline_always, reason = "it must become part of loops that are compiled several times")]
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (left, right) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in left.zip(right) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    lanes.iter().sum::<f32>() + rest
}

#[expect(clippy::inline_always, reason = "it must become part of loops that are compiled several times")]
#[inline(always)]
fn largest(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, |a, b| if a > b { a } else { b });
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if *lane > *value { *lane } else { *value };
        }
    }
    lanes.iter().copied().fold(rest, f32::max)
}

/// x ← x + b, one bias a column.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2+fma"))]
pub(super) fn add_bias(x: &mut [f32], bias: &[f32]) {
    for row in x.chunks_exact_mut(bias.len()) {
        for (x, b) in row.iter_mut().zip(bias) {
            *x += b;
        }
    }
}

/// out ← x + b, one bias a column: what a matrix product is then added to.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2+fma"))]
pub(super) fn copy_with_bias(out: &mut [f32], x: &[f32], bias: &[f32]) {
    for (out, x) in out.chunks_exact_mut(bias.len()).zip(x.chunks_exact(bias.len())) {
        for ((out, x), b) in out.iter_mut().zip(x).zip(bias) {
            *out = x + b;
        }
    }
}

/// The GELU in its tanh form, of h + b: `post` gets it, `h` its derivative.
///
/// ```text
/// u = √(2/π) · (h + 0.044715 h³)      GELU = h · (1 + tanh u) / 2 = h · σ(2u)
/// ```
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2+fma"))]
pub(super) fn gelu(post: &mut [f32], h: &mut [f32], bias: &[f32]) {
    // 2 √(2/π), and three times the cubic's coefficient for its derivative
    const SCALE: f32 = 2.0 * 0.797_884_6;
    const CUBIC: f32 = 0.044_715;
    for (post, h) in post.chunks_exact_mut(bias.len()).zip(h.chunks_exact_mut(bias.len())) {
        for ((post, h), b) in post.iter_mut().zip(h).zip(bias) {
            let x = *h + b;
            let square = x * x;
            let s = 1.0 / (1.0 + exp(-SCALE * x * (1.0 + CUBIC * square)));
            *post = x * s;
            *h = s + x * s * (1.0 - s) * SCALE * (1.0 + 3.0 * CUBIC * square);
        }
    }
}

/// a ← a ⊙ b.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2+fma"))]
pub(super) fn multiply(a: &mut [f32], b: &[f32]) {
    for (a, b) in a.iter_mut().zip(b) {
        *a *= b;
    }
}

/// d ← d + scale · sign(a): the gradient of scale · Σ |a|, 0 where a is 0. Returns Σ |a|.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2+fma"))]
pub(super) fn add_sign(d: &mut [f32], a: &[f32], scale: f32) -> f32 {
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

/// y ← norm(x) · w + b, row by row; `stats` gets the mean and 1 / deviation of every row.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2+fma"))]
pub(super) fn norm(y: &mut [f32], stats: &mut [f32], x: &[f32], w: &[f32], b: Option<&[f32]>, kind: Norm) {
    let width = w.len();
    for ((y, stats), x) in y.chunks_exact_mut(width).zip(stats.chunks_exact_mut(2)).zip(x.chunks_exact(width))
    {
        let mean = if kind == Norm::LayerNorm { sum(x) / width as f32 } else { 0.0 };
        for (y, x) in y.iter_mut().zip(x) {
            *y = x - mean;
        }
        let rstd = 1.0 / (dot(y, y) / width as f32 + NORM_EPS as f32).sqrt();
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

/// What the backward pass of a norm adds to.
pub(super) struct NormGradients<'a> {
    pub x: &'a mut [f32],
    pub w: &'a mut [f32],
    pub b: Option<&'a mut [f32]>,
}

/// The backward pass of [`norm`]: adds to the gradients of x, w and b. Overwrites `dy`.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2+fma"))]
pub(super) fn norm_backward<'a>(
    gradients: &mut NormGradients<'a>,
    dy: &mut [f32],
    x: &[f32],
    stats: &[f32],
    w: &[f32],
    kind: Norm,
) {
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
        let shift = if kind == Norm::LayerNorm { sum(dy) / width as f32 } else { 0.0 };
        for ((dx, dy), n) in dx.iter_mut().zip(&*dy).zip(&normed) {
            *dx += rstd * (dy - shift - n * along);
        }
    }
}

/// Softmax of each row of `p` (rows × columns), where row i sees the columns up to `first` + i; the others become 0.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2+fma"))]
pub(super) fn causal_softmax(p: &mut [f32], columns: usize, first: usize) {
    for (row, p) in p.chunks_exact_mut(columns).enumerate() {
        let (seen, hidden) = p.split_at_mut(first + row + 1);
        hidden.fill(0.0);
        let top = largest(seen);
        for p in seen.iter_mut() {
            *p = exp(*p - top);
        }
        let scale = 1.0 / sum(seen);
        for p in seen.iter_mut() {
            *p *= scale;
        }
    }
}

/// dp ← p ⊙ (dp − Σ dp ⊙ p), row by row: the backward pass of a softmax.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2+fma"))]
pub(super) fn softmax_backward(dp: &mut [f32], p: &[f32], columns: usize) {
    for (dp, p) in dp.chunks_exact_mut(columns).zip(p.chunks_exact(columns)) {
        let along = dot(dp, p);
        for (dp, p) in dp.iter_mut().zip(p) {
            *dp = p * (*dp - along);
        }
    }
}

/// The cross-entropy of each row of `logits` with its target, into `losses`; the logits become the gradient
/// `scale · weight · (softmax − one-hot)`.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2+fma"))]
pub(super) fn cross_entropy(
    logits: &mut [f32],
    losses: &mut [f32],
    targets: &[u32],
    weights: &[f32],
    scale: f32,
) {
    let columns = logits.len() / targets.len().max(1);
    let rows = logits.chunks_exact_mut(columns).zip(losses).zip(targets.iter().zip(weights));
    for ((logits, loss), (target, weight)) in rows {
        let top = largest(logits);
        let chosen = logits[*target as usize] - top;
        for logit in logits.iter_mut() {
            *logit = exp(*logit - top);
        }
        let total = sum(logits);
        *loss = total.ln() - chosen;
        let scale = weight * scale;
        let share = scale / total;
        for logit in logits.iter_mut() {
            *logit *= share;
        }
        logits[*target as usize] -= scale;
    }
}

/// The cross-entropy of each row of `logits` with its target, into `losses`. Overwrites `logits`.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2+fma"))]
pub(super) fn cross_entropy_only(logits: &mut [f32], losses: &mut [f32], targets: &[u32]) {
    let columns = logits.len() / targets.len().max(1);
    for ((logits, loss), target) in logits.chunks_exact_mut(columns).zip(losses).zip(targets) {
        let top = largest(logits);
        let chosen = logits[*target as usize] - top;
        for logit in logits.iter_mut() {
            *logit = exp(*logit - top);
        }
        *loss = sum(logits).ln() - chosen;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_good_to_a_few_units_in_the_last_place() {
        for i in -8700..=8800 {
            let x = i as f32 * 0.01;
            let (got, expected) = (exp(x), f64::from(x).exp());
            assert!((f64::from(got) / expected - 1.0).abs() < 3e-7, "{x}: {got} against {expected}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(-1e30) < 2e-38);
    }

    #[test]
    fn gelu_and_its_derivative_agree_with_differences() {
        let value = |x: f64| {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + u.tanh())
        };
        for i in -60..=60 {
            let x = f64::from(i) * 0.1;
            let (mut post, mut h) = ([0.0], [x as f32 - 0.25]);
            gelu(&mut post, &mut h, &[0.25]);
            assert!((f64::from(post[0]) - value(x)).abs() < 1e-6, "{x}");
            let slope = (value(x + 1e-5) - value(x - 1e-5)) / 2e-5;
            assert!((f64::from(h[0]) - slope).abs() < 1e-5, "{x}: {} against {slope}", h[0]);
        }
    }
}
