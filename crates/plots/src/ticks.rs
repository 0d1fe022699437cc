//! Axes: their range and the places of their ticks.

use crate::Scale;
use crate::figure::drawable;
use crate::numbers::{format_alone, format_numbers};

/// A mark on an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// Where it stands, from 0 at the low end to 1 at the high end.
    pub at: f64,
    /// The number.
    pub label: String,
    /// Whether it stands for zero.
    pub zero: bool,
}

/// A range of numbers spread over a length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    scale: Scale,
    /// The ends, as decimal logarithms on a logarithmic axis.
    low: f64,
    high: f64,
}

impl Axis {
    /// An axis from `low` to `high`, without padding.
    pub fn linear(low: f64, high: f64) -> Self {
        Self { scale: Scale::Linear, low, high }
    }

    /// An axis that holds all values that it can show, with a margin of `padding` times its length on both
    /// sides; from 0 to 1 (or 1 to 10) when there are none.
    pub fn fit(scale: Scale, values: impl Iterator<Item = f64>, padding: f64) -> Self {
        let mut low = f64::INFINITY;
        let mut high = f64::NEG_INFINITY;
        for value in values.filter_map(|value| transform(scale, value)) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            return Self { scale, low: 0.0, high: 1.0 };
        }
        let largest = low.abs().max(high.abs());
        let margin = if high - low > 1e-9 * largest {
            padding * (high - low)
        } else if scale == Scale::Log {
            0.5
        } else if largest > 0.0 {
            0.1 * largest
        } else {
            1.0
        };
        Self { scale, low: low - margin, high: high + margin }
    }

    /// A linear axis that holds zero and all values that it can show, with a margin of `padding` times its
    /// length at an end that is not zero; from 0 to 1 when there are none but zero.
    pub fn fit_from_zero(values: impl Iterator<Item = f64>, padding: f64) -> Self {
        let (mut low, mut high) = (0.0_f64, 0.0_f64);
        for value in values.filter_map(|value| transform(Scale::Linear, value)) {
            low = low.min(value);
            high = high.max(value);
        }
        if high <= low {
            return Self::linear(0.0, 1.0);
        }
        let margin = padding * (high - low);
        Self::linear(
            if low < 0.0 { low - margin } else { low },
            if high > 0.0 { high + margin } else { high },
        )
    }

    /// A logarithmic axis of at least so many decades, with what was its middle in the middle; a linear one as it is.
    pub(crate) fn at_least(self, decades: f64) -> Self {
        let Self { scale, low, high } = self;
        let missing = decades - (high - low);
        if scale == Scale::Linear || missing <= 0.0 {
            return self;
        }
        Self { scale, low: low - missing / 2.0, high: high + missing / 2.0 }
    }

    /// The numbers at the low and the high end, as decimal logarithms on a logarithmic axis.
    pub(crate) fn ends(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// Where a value stands, from 0 at the low end to 1 at the high end; `None` if the axis cannot show it.
    pub fn position(&self, value: f64) -> Option<f64> {
        Some((transform(self.scale, value)? - self.low) / (self.high - self.low))
    }

    /// About `count` ticks at round numbers.
    pub fn ticks(&self, count: usize) -> Vec<Tick> {
        match self.scale {
            Scale::Linear => {
                let values = round_values(self.low, self.high, count);
                self.marks(&values, &format_numbers(&values))
            }
            Scale::Log => self.log_ticks(count),
        }
    }

    fn log_ticks(&self, count: usize) -> Vec<Tick> {
        let decades = self.high - self.low;
        let multiples: &[f64] = match decades {
            _ if decades > 0.5 * count as f64 => &[1.0],
            _ if decades > 0.9 => &[1.0, 2.0, 5.0],
            _ => &[],
        };
        let values: Vec<f64> = if multiples.is_empty() {
            round_values(10_f64.powf(self.low), 10_f64.powf(self.high), count)
        } else {
            let stride = (decades / count.max(1) as f64).ceil().max(1.0) as i32;
            let exponents = (self.low.floor() as i32..=self.high.ceil() as i32)
                .filter(|exponent| exponent.rem_euclid(stride) == 0);
            exponents
                .flat_map(|exponent| multiples.iter().map(move |multiple| multiple * 10_f64.powi(exponent)))
                .collect()
        };
        let labels: Vec<String> = values.iter().map(|value| format_alone(*value)).collect();
        self.marks(&values, &labels)
    }

    /// The values that lie on the axis, with their labels.
    fn marks(&self, values: &[f64], labels: &[String]) -> Vec<Tick> {
        let mark = |(value, label): (&f64, &String)| {
            let at = self.position(*value)?;
            (-1e-9..=1.0 + 1e-9).contains(&at).then(|| Tick { at, label: label.clone(), zero: *value == 0.0 })
        };
        values.iter().zip(labels).filter_map(mark).collect()
    }
}

/// A number as an axis counts it; `None` if the axis cannot show it.
fn transform(scale: Scale, value: f64) -> Option<f64> {
    match scale {
        // what is this close to zero has no power of ten to count it by
        Scale::Linear if value.abs() < 1e-300 => Some(0.0),
        Scale::Linear => drawable(value).then_some(value),
        Scale::Log => (drawable(value) && value >= 1e-300).then(|| value.log10()),
    }
}

/// Multiples of 1, 2 or 5 times a power of ten between two numbers, about `count` of them.
fn round_values(low: f64, high: f64, count: usize) -> Vec<f64> {
    let rough = (high - low) / count.max(1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().map(|m| m * power).find(|step| *step >= 0.999 * rough);
    let step = step.unwrap_or(10.0 * power);
    let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
    if !(first.is_finite() && last.is_finite()) {
        return Vec::new();
    }
    (0..=(last - first).max(0.0) as usize).map(|i| (first + i as f64) * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: Axis, count: usize) -> Vec<String> {
        axis.ticks(count).into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_stand_at_round_numbers_in_range() {
        assert_eq!(labels(Axis::linear(-0.02e6, 2.02e6), 7), ["0", "0.5M", "1M", "1.5M", "2M"]);
        assert_eq!(labels(Axis::linear(-0.85, 1.02), 6), ["−0.5", "0", "0.5", "1"]);
        let log = |low: f64, high: f64| Axis::fit(Scale::Log, [low, high].into_iter(), 0.01);
        assert_eq!(labels(log(1.0, 1e6), 8), ["1", "10", "100", "1k", "10k", "100k", "1M"]);
        assert_eq!(labels(log(0.05, 1.0), 8), ["0.05", "0.1", "0.2", "0.5", "1"]);
        assert_eq!(labels(log(30.0, 50.0), 4), ["30", "40", "50"]);
    }

    #[test]
    fn ticks_stand_where_their_values_do() {
        let ticks = Axis::linear(0.0, 4.0).ticks(4);
        assert_eq!(ticks.iter().map(|tick| tick.at).collect::<Vec<_>>(), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(
            ticks.iter().map(|tick| tick.zero).collect::<Vec<_>>(),
            [true, false, false, false, false]
        );
        let axis = Axis::fit(Scale::Log, [1.0, 100.0].into_iter(), 0.0);
        assert_eq!(axis.position(10.0), Some(0.5));
        assert_eq!(axis.position(0.0), None);
        assert_eq!(axis.position(f64::NAN), None);
    }

    #[test]
    fn an_axis_has_length_whatever_it_holds() {
        let cases: [&[f64]; 7] = [
            &[],
            &[f64::NAN, f64::INFINITY],
            &[3.0],
            &[0.0, 0.0],
            &[-1e300, 1e300],
            &[5e-324, 1e-310],
            &[1e300, 1e300],
        ];
        for values in cases {
            for scale in [Scale::Linear, Scale::Log] {
                let axis = Axis::fit(scale, values.iter().copied(), 0.05);
                assert!(axis.high > axis.low && (axis.high - axis.low).is_finite(), "{values:?}: {axis:?}");
                assert!(axis.ticks(6).len() < 20, "{values:?}: {axis:?}");
            }
        }
    }
}
