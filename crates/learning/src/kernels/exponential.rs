//! An exponential that the compiler can compute for many numbers at once.

/// eˣ to about 1e-7 of itself; below −87 it is that of −87.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
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

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn it_is_good_to_a_few_units_in_the_last_place() {
        for i in -8700..=8800 {
            let x = i as f32 * 0.01;
            let (got, expected) = (exp(x), f64::from(x).exp());
            assert!((f64::from(got) / expected - 1.0).abs() < 3e-7, "{x}: {got} against {expected}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(-1e30) < 2e-38);
    }
}
