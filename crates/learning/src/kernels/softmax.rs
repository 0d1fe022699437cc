//! Softmax and cross-entropy, row by row.

use super::exponential::exp;
use super::reductions::{dot, largest, sum};

vectorised! {
    /// p ← softmax of each row, where row i sees the columns up to `first` + i; the others become 0.
    ///
    /// # Shapes
    /// `p` (rows, `columns`).
    ///
    /// # Panics
    /// Panics if a row would see more columns than there are.
    pub fn causal_softmax(p: &mut [f32], columns: usize, first: usize) {
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

    /// dp ← p ⊙ (dp − Σ dp ⊙ p), row by row: the backward pass of a softmax whose output was `p`.
    ///
    /// # Shapes
    /// `dp` and `p` (rows, `columns`).
    ///
    /// # Panics
    /// Panics if `columns` is zero.
    pub fn softmax_backward(dp: &mut [f32], p: &[f32], columns: usize) {
        for (dp, p) in dp.chunks_exact_mut(columns).zip(p.chunks_exact(columns)) {
            let along = dot(dp, p);
            for (dp, p) in dp.iter_mut().zip(p) {
                *dp = p * (*dp - along);
            }
        }
    }

    /// The cross-entropy −ln softmax(logits)\[target\] of each row, into `losses`. Overwrites `logits`.
    ///
    /// # Shapes
    /// `logits` (rows, columns), `losses` and `targets` (rows).
    ///
    /// # Panics
    /// Panics if there are no logits or a target is out of range.
    pub fn cross_entropy(logits: &mut [f32], losses: &mut [f32], targets: &[u32]) {
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

    /// As [`cross_entropy`]; the logits become the gradient of Σ `scale` · weight · loss, which is
    /// `scale` · weight · (softmax − one-hot).
    ///
    /// # Shapes
    /// `logits` (rows, columns), `losses`, `targets` and `weights` (rows).
    ///
    /// # Panics
    /// Panics if there are no logits or a target is out of range.
    pub fn cross_entropy_gradient(
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(len: usize, salt: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7919 + salt * 104_729) % 997) as f32 / 100.0 - 5.0).collect()
    }

    fn softmax(logits: &[f32]) -> Vec<f64> {
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let e: Vec<f64> = logits.iter().map(|z| f64::from(z - top).exp()).collect();
        let total: f64 = e.iter().sum();
        e.iter().map(|e| e / total).collect()
    }

    #[test]
    fn a_row_sees_what_lies_before_it_and_itself() {
        let (columns, first) = (40, 2);
        let scores = column(20 * columns, 1);
        let mut p = scores.clone();
        causal_softmax(&mut p, columns, first);
        for (row, (p, scores)) in p.chunks_exact(columns).zip(scores.chunks_exact(columns)).enumerate() {
            let seen = first + row + 1;
            let expected = softmax(&scores[..seen]);
            assert!(p[..seen].iter().zip(&expected).all(|(p, e)| (f64::from(*p) - e).abs() < 1e-6));
            assert!(p[seen..].iter().all(|p| *p == 0.0), "row {row} looks ahead");
        }
    }

    #[test]
    fn the_gradient_of_a_softmax_is_its_jacobian_times_what_comes_back() {
        let (columns, rows) = (21, 4);
        let (scores, dp) = (column(rows * columns, 2), column(rows * columns, 3));
        let mut p = Vec::new();
        scores.chunks_exact(columns).for_each(|row| p.extend(softmax(row).iter().map(|p| *p as f32)));
        let mut got = dp.clone();
        softmax_backward(&mut got, &p, columns);
        for row in 0..rows {
            let at = row * columns;
            for j in 0..columns {
                let expected: f64 = (0..columns)
                    .map(|i| {
                        let (pi, pj) = (f64::from(p[at + i]), f64::from(p[at + j]));
                        f64::from(dp[at + i]) * pi * (f64::from(u8::from(i == j)) - pj)
                    })
                    .sum();
                assert!((f64::from(got[at + j]) - expected).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn the_cross_entropy_and_its_gradient_are_those_of_the_definition() {
        let (columns, targets, weights) = (37, [3, 0, 36], [1.0, 0.25, 0.0]);
        let logits = column(3 * columns, 4);
        let (mut gradient, mut losses) = (logits.clone(), vec![9.0; 3]);
        cross_entropy_gradient(&mut gradient, &mut losses, &targets, &weights, 0.5);
        let mut alone = vec![9.0; 3];
        cross_entropy(&mut logits.clone(), &mut alone, &targets);
        assert_eq!(losses, alone);
        for (row, target) in targets.iter().enumerate() {
            let p = softmax(&logits[row * columns..][..columns]);
            assert!((f64::from(losses[row]) + p[*target as usize].ln()).abs() < 1e-5);
            for (j, p) in p.iter().enumerate() {
                let one = f64::from(u8::from(j == *target as usize));
                let expected = 0.5 * f64::from(weights[row]) * (p - one);
                assert!((f64::from(gradient[row * columns + j]) - expected).abs() < 1e-6);
            }
        }
    }
}
