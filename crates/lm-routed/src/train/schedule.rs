//! The learning rate over a training.

/// Warm-up from zero to `top` over `warmup` steps, then half a cosine down to `bottom` at step `total`.
///
/// ```text
/// t < warmup:   top · (t + 1) / warmup
/// else:         bottom + (top − bottom) · (1 + cos(π (t − warmup) / (total − warmup))) / 2
/// ```
///
/// `step` counts from 0.
pub fn cosine(step: u64, total: u64, warmup: u64, top: f64, bottom: f64) -> f64 {
    if step < warmup {
        return top * (step + 1) as f64 / warmup as f64;
    }
    let share = (step - warmup) as f64 / total.saturating_sub(warmup).max(1) as f64;
    bottom + 0.5 * (top - bottom) * (1.0 + (std::f64::consts::PI * share.min(1.0)).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_to_the_top_and_falls_to_the_bottom() {
        let rate = |step| cosine(step, 1000, 100, 5e-4, 5e-5);
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(rate(0), 5e-6) && close(rate(99), 5e-4) && close(rate(100), 5e-4));
        assert!(close(rate(550), 2.75e-4) && close(rate(1000), 5e-5) && close(rate(2000), 5e-5));
        assert!(close(cosine(0, 1, 0, 1.0, 0.1), 1.0));
        assert!((101..1000).all(|step| rate(step) < rate(step - 1)));
    }
}
