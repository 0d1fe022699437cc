//! What a loss is worth: the share of the baseline's training after which the baseline had it.

use experiment::Record;

/// A learning curve as a power law.
///
/// ```text
/// loss(s) = E + A · s^−α        s steps
/// ```
///
/// # Source
/// The compute ratio of GRAM, arXiv 2607.08077.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LearningCurve {
    /// E, which no number of steps comes below.
    floor: f64,
    /// A.
    scale: f64,
    /// α.
    exponent: f64,
    /// The root of the mean square of what it is wrong by, in nats per token.
    error: f64,
    /// Measurements that it was fitted to.
    points: usize,
    /// Steps of the whole training.
    steps: f64,
}

/// Three numbers are fitted.
const FEWEST: usize = 4;

impl LearningCurve {
    /// The curve of a metric of a run's first model; nothing where it was measured less than four times.
    pub(crate) fn of_metric(records: &[Record], metric: &str) -> Option<Self> {
        let point = |record: &Record| Some((record.update as f64, *record.values.get(metric)?));
        Self::fit(&records.iter().filter_map(point).collect::<Vec<_>>())
    }

    /// The curve of an exported metric, whose steps are counted in tokens; only shares of the whole are read off it.
    pub(crate) fn of_points(points: &[(u64, f64)]) -> Option<Self> {
        Self::fit(&points.iter().map(|(step, loss)| (*step as f64, *loss)).collect::<Vec<_>>())
    }

    /// Least squares in the loss: E ≥ 0 and A for each of many α, of which the best is taken.
    fn fit(points: &[(f64, f64)]) -> Option<Self> {
        let sound = |(steps, loss): &&(f64, f64)| *steps >= 1.0 && loss.is_finite();
        let points: Vec<(f64, f64)> = points.iter().filter(sound).copied().collect();
        if points.len() < FEWEST {
            return None;
        }
        let count = points.len() as f64;
        let last = points.iter().map(|(steps, _)| *steps).fold(0.0, f64::max);
        let mean_loss = points.iter().map(|(_, loss)| loss).sum::<f64>() / count;
        let fitted = (0..400).filter_map(|i| {
            // from .02 to 4
            let exponent = 0.02 * (200f64.ln() * f64::from(i) / 399.0).exp();
            // steps as a share of all, so that the numbers stay small
            let x = |steps: f64| (steps / last).powf(-exponent);
            let mean_x = points.iter().map(|(steps, _)| x(*steps)).sum::<f64>() / count;
            let (mut products, mut squares) = (0.0, 0.0);
            for (steps, loss) in &points {
                products += (x(*steps) - mean_x) * (loss - mean_loss);
                squares += (x(*steps) - mean_x).powi(2);
            }
            let mut scale = products / squares;
            let mut floor = mean_loss - scale * mean_x;
            if floor < 0.0 {
                floor = 0.0;
                let both = points.iter().map(|(steps, loss)| x(*steps) * loss).sum::<f64>();
                scale = both / points.iter().map(|(steps, _)| x(*steps).powi(2)).sum::<f64>();
            }
            let wrong =
                points.iter().map(|(steps, loss)| (floor + scale * x(*steps) - loss).powi(2)).sum::<f64>();
            let error = (wrong / count).sqrt();
            let scale = scale * last.powf(exponent);
            (scale > 0.0 && error.is_finite()).then_some(Self {
                floor,
                scale,
                exponent,
                error,
                points: points.len(),
                steps: last,
            })
        });
        fitted.min_by(|a, b| a.error.total_cmp(&b.error))
    }

    /// The share of the steps after which the curve is down at a loss: 1 at its end, more beyond it; nothing for a loss
    /// that it never comes down to.
    ///
    /// ```text
    /// ((loss − E) / A)^(−1/α) / steps
    /// ```
    pub(crate) fn share_at(&self, loss: f64) -> Option<f64> {
        let above = loss - self.floor;
        (above > 0.0).then(|| (above / self.scale).powf(-1.0 / self.exponent) / self.steps)
    }

    /// In words.
    pub(crate) fn described(&self) -> String {
        let Self { floor, scale, exponent, error, points, .. } = self;
        format!(
            "{floor:.3} + {scale:.2} · steps^−{exponent:.3}, off by {error:.3} nats (root mean square of {points} measurements)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_law_is_found_again_and_read_backwards() {
        let loss = |steps: f64| 1.7 + 9.0 * steps.powf(-0.4);
        let points: Vec<(f64, f64)> = (1..=15).map(|i| f64::from(i) * 100.0).map(|s| (s, loss(s))).collect();
        let curve = LearningCurve::fit(&points).unwrap();
        assert!((curve.floor - 1.7).abs() < 0.02 && curve.error < 1e-3, "{curve:?}");
        for steps in [150.0, 750.0, 1500.0] {
            let share = curve.share_at(loss(steps)).unwrap();
            assert!((share / (steps / 1500.0) - 1.0).abs() < 0.02, "{steps}: {share}");
        }
        assert_eq!(curve.share_at(1.0), None);
        assert_eq!(LearningCurve::fit(&points[..3]), None);
    }

    #[test]
    fn the_error_is_that_of_the_fit() {
        let wave = |i: i32| if i % 2 == 0 { 0.05 } else { -0.05 };
        let points: Vec<(f64, f64)> =
            (1..=20).map(|i| (f64::from(i), 2.0 + f64::from(i).recip() + wave(i))).collect();
        let curve = LearningCurve::fit(&points).unwrap();
        assert!((0.03..0.06).contains(&curve.error), "{curve:?}");
    }
}
