//! The gated activation of Llama's MLPs.

use super::exponential::exp;

vectorised! {
    /// post ← silu(gate) ⊙ up, with silu(x) = x · σ(x).
    ///
    /// # Shapes
    /// All of one length.
    ///
    /// # Source
    /// Shazeer 2020, arXiv 2002.05202 (`SwiGLU`).
    pub fn silu_times(post: &mut [f32], gate: &[f32], up: &[f32]) {
        for ((post, gate), up) in post.iter_mut().zip(gate).zip(up) {
            *post = gate / (1.0 + exp(-gate)) * up;
        }
    }

    /// The backward pass of [`silu_times`]: overwrites `dgate` and `dup`.
    ///
    /// ```text
    /// dgate = dpost ⊙ up ⊙ (s + gate ⊙ s ⊙ (1 − s)), s = σ(gate)      dup = dpost ⊙ silu(gate)
    /// ```
    ///
    /// # Shapes
    /// All of one length.
    pub fn silu_times_backward(
        dgate: &mut [f32],
        dup: &mut [f32],
        dpost: &[f32],
        gate: &[f32],
        up: &[f32],
    ) {
        for ((((dgate, dup), dpost), gate), up) in dgate.iter_mut().zip(dup).zip(dpost).zip(gate).zip(up) {
            let s = 1.0 / (1.0 + exp(-gate));
            *dgate = dpost * up * (s + gate * s * (1.0 - s));
            *dup = dpost * gate * s;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_slopes_agree_with_the_definition() {
        let silu = |x: f64| x / (1.0 + (-x).exp());
        for i in -80..=80 {
            let (x, up, dpost) = (f64::from(i) * 0.25, 1.75, -0.5);
            let (mut post, mut dgate, mut dup) = ([9.0], [9.0], [9.0]);
            silu_times(&mut post, &[x as f32], &[up as f32]);
            silu_times_backward(&mut dgate, &mut dup, &[dpost as f32], &[x as f32], &[up as f32]);
            let slope = (silu(x + 1e-5) - silu(x - 1e-5)) / 2e-5;
            for (got, expected) in
                [(post[0], silu(x) * up), (dgate[0], dpost * up * slope), (dup[0], dpost * silu(x))]
            {
                assert!((f64::from(got) - expected).abs() < 1e-5, "{x}: {got} against {expected}");
            }
        }
    }
}
