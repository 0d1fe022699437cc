//! Sums over a row in a fixed order: sixteen partial sums side by side, so that the compiler can add many numbers
//! at once, then the partial sums in turn, then what is left over.

/// Partial sums of a row.
pub(super) const LANES: usize = 16;

/// Σ values.
#[expect(clippy::inline_always, reason = "it must become part of loops that are compiled several times")]
#[inline(always)]
pub(super) fn sum(values: &[f32]) -> f32 {
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

/// Σ a ⊙ b.
#[expect(clippy::inline_always, reason = "it must become part of loops that are compiled several times")]
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
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

/// The largest number, −∞ of none.
#[expect(clippy::inline_always, reason = "it must become part of loops that are compiled several times")]
#[inline(always)]
pub(super) fn largest(values: &[f32]) -> f32 {
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

vectorised! {
    /// The sum of squares, added up in `f64`.
    pub fn sum_of_squares(values: &[f32]) -> f64 {
        let mut lanes = [0f64; LANES];
        let chunks = values.chunks_exact(LANES);
        let rest: f64 = chunks.remainder().iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
        for chunk in chunks {
            for (lane, value) in lanes.iter_mut().zip(chunk) {
                *lane += f64::from(*value) * f64::from(*value);
            }
        }
        lanes.iter().sum::<f64>() + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_integers_are_added_up_exactly_at_every_length() {
        for len in 0..70i16 {
            let values: Vec<f32> = (0..len).map(|i| f32::from((i * 7) % 23 - 11)).collect();
            let exact: i32 = (0..i32::from(len)).map(|i| (i * 7) % 23 - 11).sum();
            let squares: i32 = (0..i32::from(len)).map(|i| ((i * 7) % 23 - 11).pow(2)).sum();
            assert!((f64::from(sum(&values)) - f64::from(exact)).abs() < 1e-9, "sum of {len}");
            assert!((f64::from(dot(&values, &values)) - f64::from(squares)).abs() < 1e-9, "dot of {len}");
            assert!((sum_of_squares(&values) - f64::from(squares)).abs() < 1e-9, "squares of {len}");
            let top = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(largest(&values).to_bits(), top.to_bits(), "largest of {len}");
        }
    }
}
