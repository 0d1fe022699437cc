//! Axes: their range, the places of their ticks, and numbers as people write them.

use crate::Scale;
use crate::figure::drawable;

/// A mark on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    /// Where it stands, from 0 at the low end to 1 at the high end.
    pub at: f64,
    pub label: String,
    /// Whether it stands for zero.
    pub zero: bool,
}

/// A range of numbers spread over a length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Axis {
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

/// The numbers of one axis, with one unit for all of them.
pub(crate) fn format_numbers(values: &[f64]) -> Vec<String> {
    let largest = values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let unit = unit(largest, 1e4);
    values.iter().map(|value| format_in(*value, unit, largest)).collect()
}

/// A number in the unit that suits it best.
fn format_alone(value: f64) -> String {
    format_in(value, unit(value.abs(), 1e3), value.abs())
}

/// A power of ten and its sign; `None` where only the power can be written.
fn unit(magnitude: f64, kilo_from: f64) -> Option<(f64, &'static str)> {
    match magnitude {
        _ if magnitude >= 1e15 => None,
        _ if magnitude >= 1e12 => Some((1e12, "T")),
        _ if magnitude >= 1e9 => Some((1e9, "B")),
        _ if magnitude >= 1e6 => Some((1e6, "M")),
        _ if magnitude >= kilo_from => Some((1e3, "k")),
        _ if magnitude >= 0.999e-3 || magnitude == 0.0 => Some((1.0, "")),
        _ => None,
    }
}

/// `largest` is the largest number on the axis: what is a billionth of it is rounding.
fn format_in(value: f64, unit: Option<(f64, &str)>, largest: f64) -> String {
    if value.abs() <= 1e-12 * largest {
        return "0".to_owned();
    }
    let sign = if value < 0.0 { "−" } else { "" };
    let size = value.abs();
    let Some((unit, letter)) = unit else {
        let mut exponent = size.log10().floor() as i32;
        let mut mantissa = significant(size / 10_f64.powi(exponent));
        if mantissa == "10" {
            (mantissa, exponent) = ("1".to_owned(), exponent + 1);
        }
        let power = format!("10{}", superscript(exponent));
        return if mantissa == "1" { format!("{sign}{power}") } else { format!("{sign}{mantissa}×{power}") };
    };
    format!("{sign}{}{letter}", significant(size / unit))
}

/// A number from 0 to 10,000 with up to ten significant digits after the point and no zeros at the end.
fn significant(value: f64) -> String {
    let text = format!("{value:.10}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn superscript(exponent: i32) -> String {
    let raise = |letter| match letter {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '4' => '⁴',
        '5' => '⁵',
        '6' => '⁶',
        '7' => '⁷',
        '8' => '⁸',
        '9' => '⁹',
        _ => '⁰',
    };
    exponent.to_string().chars().map(raise).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: Axis, count: usize) -> Vec<String> {
        axis.ticks(count).into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn numbers_are_written_as_people_write_them() {
        let cases: [(&[f64], &[&str]); 9] = [
            (&[0.0, 5e5, 1e6, 1.5e6, 2e6], &["0", "0.5M", "1M", "1.5M", "2M"]),
            (&[0.0, 0.1, 0.2, 0.1 + 0.2], &["0", "0.1", "0.2", "0.3"]),
            (&[-0.5, -0.0, 0.5, 1.0], &["−0.5", "0", "0.5", "1"]),
            (&[0.0, 1000.0, 9000.0], &["0", "1000", "9000"]),
            (&[0.0, 5000.0, 10_000.0], &["0", "5k", "10k"]),
            (&[0.0, 2.5e9], &["0", "2.5B"]),
            (&[0.0, 2e-5, 4e-5], &["0", "2×10⁻⁵", "4×10⁻⁵"]),
            (&[-1e20, 1e20], &["−10²⁰", "10²⁰"]),
            (&[0.001, 0.002], &["0.001", "0.002"]),
        ];
        for (values, expected) in cases {
            assert_eq!(format_numbers(values), expected);
        }
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
