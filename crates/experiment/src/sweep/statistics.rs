//! What several seeds say together.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// The distribution of a number over seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Seeds.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Half the 95% interval of the mean by Student's t; nothing for a single seed.
    pub half: Option<f64>,
    /// The 5% and 95% quantiles, linear between the seeds.
    pub quantiles: (f64, f64),
}

impl Spread {
    /// The spread of finite `values`; nothing without any.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (n, mean, squared_error) = moments(&sorted)?;
        let half = squared_error.map(|squared_error| t_quantile((n - 1) as f64) * squared_error.sqrt());
        Some(Self { n, mean, half, quantiles: (quantile(&sorted, 0.05), quantile(&sorted, 0.95)) })
    }

    /// The 95% interval of the mean; nothing for a single seed.
    pub fn interval(&self) -> Option<(f64, f64)> {
        self.half.map(|half| (self.mean - half, self.mean + half))
    }

    /// `mean ± half` with so many decimals; the mean alone for a single seed.
    pub fn plus_minus(&self, decimals: usize) -> String {
        let mean = crate::decimals(self.mean, decimals);
        match self.half {
            Some(half) => format!("{mean} ± {half:.decimals$}"),
            None => mean,
        }
    }
}

/// How far the mean of `a` lies above that of `b`, with its 95% interval.
///
/// # Source
/// Welch's t-interval with the degrees of freedom of Welch and Satterthwaite. The interval is nothing where one
/// of them has a single value.
pub fn difference(a: &[f64], b: &[f64]) -> Option<(f64, Option<(f64, f64)>)> {
    let ((n_a, mean_a, error_a), (n_b, mean_b, error_b)) = (moments(a)?, moments(b)?);
    let distance = mean_a - mean_b;
    let interval = error_a.zip(error_b).map(|(a, b)| {
        let squared = a + b;
        if squared <= 0.0 {
            return (distance, distance);
        }
        let freedom = squared * squared / (a * a / (n_a - 1) as f64 + b * b / (n_b - 1) as f64);
        let half = t_quantile(freedom) * squared.sqrt();
        (distance - half, distance + half)
    });
    Some((distance, interval))
}

/// Number, mean and the squared standard error of the mean.
fn moments(values: &[f64]) -> Option<(usize, f64, Option<f64>)> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((n, mean, (n > 1).then(|| squares / ((n - 1) * n) as f64)))
}

/// The 97.5% quantile of Student's t.
fn t_quantile(freedom: f64) -> f64 {
    StudentsT::new(0.0, 1.0, freedom).map_or(f64::INFINITY, |t| t.inverse_cdf(0.975))
}

/// The quantile of sorted values, linear between them (`numpy.quantile`'s default).
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (at - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use proptest::prelude::*;

    use super::*;

    /// Values of `tests/golden/statistics.py`, from `SciPy`.
    #[test]
    fn golden_values() {
        let a = [0.521, 0.711, 0.681, 0.622];
        let b = [0.12, 0.54, 0.33];
        let spread = Spread::of(&a).unwrap();
        assert_abs_diff_eq!(spread.mean, 0.63375, epsilon = 1e-12);
        let (low, high) = spread.interval().unwrap();
        assert_abs_diff_eq!(low, 0.500_457_949_6, epsilon = 1e-6);
        assert_abs_diff_eq!(high, 0.767_042_050_4, epsilon = 1e-6);
        assert_abs_diff_eq!(spread.quantiles.0, 0.53615, epsilon = 1e-12);
        assert_abs_diff_eq!(spread.quantiles.1, 0.7065, epsilon = 1e-12);
        let (distance, interval) = difference(&a, &b).unwrap();
        assert_abs_diff_eq!(distance, 0.30375, epsilon = 1e-12);
        let (low, high) = interval.unwrap();
        assert_abs_diff_eq!(low, -0.157_138_967, epsilon = 1e-6);
        assert_abs_diff_eq!(high, 0.764_638_967, epsilon = 1e-6);
    }

    #[test]
    fn one_seed_has_no_interval_and_none_has_nothing() {
        assert_eq!(Spread::of(&[]), None);
        let one = Spread::of(&[0.5]).unwrap();
        assert_eq!((one.n, one.interval(), one.quantiles), (1, None, (0.5, 0.5)));
        assert_eq!(one.plus_minus(2), "0.50");
        // scipy.stats.t.interval(0.95, 2, loc=2, scale=1/sqrt(3)): 2 ± 2.4841
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]).unwrap().plus_minus(4), "2.0000 ± 2.4841");
        assert_eq!(difference(&[1.0], &[0.0, 0.5]).unwrap().1, None);
        assert_eq!(difference(&[1.0, 1.0], &[0.5, 0.5]).unwrap().1, Some((0.5, 0.5)));
    }

    proptest! {
        #[test]
        fn relations(values in prop::collection::vec(-1.0..1.0f64, 5..20), shift in -1.0..1.0f64) {
            let spread = Spread::of(&values).unwrap();
            let (low, high) = spread.interval().unwrap();
            prop_assert!(low <= spread.mean && spread.mean <= high);
            prop_assert!(spread.quantiles.0 <= spread.quantiles.1);
            let shifted: Vec<f64> = values.iter().map(|value| value + shift).collect();
            let (distance, interval) = difference(&shifted, &values).unwrap();
            let (low, high) = interval.unwrap();
            prop_assert!((distance - shift).abs() < 1e-9);
            prop_assert!((f64::midpoint(low, high) - shift).abs() < 1e-6);
            // the interval of a difference is wider than that of either mean (from four seeds on)
            let own = spread.interval().unwrap();
            prop_assert!(high - low >= own.1 - own.0);
        }
    }
}
