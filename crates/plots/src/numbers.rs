//! Numbers as people write them.

use crate::figure::drawable;

/// The numbers of one axis, with one unit for all of them.
pub(crate) fn format_numbers(values: &[f64]) -> Vec<String> {
    let largest = values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let unit = unit(largest, 1e4);
    values.iter().map(|value| format_in(*value, unit, largest)).collect()
}

/// The numbers of one table, in one unit and with the same digits after the point: two where the largest is
/// below ten, fewer where it is larger. Where no number reaches a hundredth, each has its power of ten. Numbers
/// that an axis cannot show are left empty.
pub(crate) fn two_digits(values: &[f64]) -> Vec<String> {
    let finite = values.iter().filter(|value| drawable(**value));
    let largest = finite.fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let unit = unit(largest, 1e4).filter(|_| largest >= 0.00995 || largest == 0.0);
    let shown = |write: &dyn Fn(f64) -> String| {
        values.iter().map(|value| if drawable(*value) { write(*value) } else { String::new() }).collect()
    };
    let Some((unit, letter)) = unit else { return shown(&with_power) };
    let digits = match largest / unit {
        scaled if scaled < 9.995 => 2,
        scaled if scaled < 99.95 => 1,
        _ => 0,
    };
    shown(&|value| {
        let size = format!("{:.digits$}", value.abs() / unit);
        let zero = size.chars().all(|letter| matches!(letter, '0' | '.'));
        format!("{}{size}{letter}", if value < 0.0 && !zero { "−" } else { "" })
    })
}

/// Two significant digits and a power of ten.
fn with_power(value: f64) -> String {
    let rounded: f64 = format!("{value:.1e}").parse().unwrap_or(value);
    format_in(rounded, None, rounded.abs())
}

/// A number as captions have it, three digits in the unit that suits them best: `12.3k`, `1.97M`.
pub fn rounded(value: f64) -> String {
    format_alone(format!("{value:.2e}").parse().unwrap_or(value))
}

/// A number in the unit that suits it best.
pub(crate) fn format_alone(value: f64) -> String {
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

    #[test]
    fn captions_have_three_digits() {
        for (value, shown) in
            [(0.0, "0"), (640.0, "640"), (12_288.0, "12.3k"), (1_966_080.0, "1.97M"), (-9.999, "−10")]
        {
            assert_eq!(rounded(value), shown);
        }
    }

    #[test]
    fn numbers_of_a_table_are_written_alike() {
        let cases: [(&[f64], &[&str]); 8] = [
            (&[0.0, 0.876, 1.0, -0.004], &["0.00", "0.88", "1.00", "0.00"]),
            (&[-0.25, 9.0], &["−0.25", "9.00"]),
            (&[9.996, 1.0], &["10.0", "1.0"]),
            (&[120.0, 7.4], &["120", "7"]),
            (&[1.25e6, 0.0], &["1.25M", "0.00M"]),
            (&[1.24e-4, 0.0, -3e-7], &["1.2×10⁻⁴", "0", "−3×10⁻⁷"]),
            (&[2e18, f64::NAN], &["2×10¹⁸", ""]),
            (&[0.0], &["0.00"]),
        ];
        for (values, expected) in cases {
            assert_eq!(two_digits(values), expected);
        }
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
}
