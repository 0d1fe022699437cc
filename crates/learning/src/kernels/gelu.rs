//! The GELU in its tanh form.

use super::exponential::exp;

vectorised! {
    /// The GELU of h + b, one bias a column: `post` gets it, and its derivative takes the place of h, so that the
    /// backward pass is a product with what is left there.
    ///
    /// ```text
    /// u = √(2/π) · (x + 0.044715 x³)      GELU(x) = x · (1 + tanh u) / 2 = x · σ(2u)
    /// ```
    ///
    /// # Shapes
    /// `post` and `h` (rows, width), `bias` (width).
    ///
    /// # Panics
    /// Panics if `bias` is empty.
    ///
    /// # Source
    /// Hendrycks and Gimpel 2016, section 2.
    pub fn bias_gelu(post: &mut [f32], h: &mut [f32], bias: &[f32]) {
        // 2 √(2/π), and three times the cubic's coefficient for its derivative
        const SCALE: f32 = 2.0 * 0.797_884_6;
        const CUBIC: f32 = 0.044_715;
        for (post, h) in post.chunks_exact_mut(bias.len()).zip(h.chunks_exact_mut(bias.len())) {
            for ((post, h), b) in post.iter_mut().zip(h).zip(bias) {
                let x = *h + b;
                let square = x * x;
                let s = 1.0 / (1.0 + exp(-SCALE * x * (1.0 + CUBIC * square)));
                *post = x * s;
                *h = s + x * s * (1.0 - s) * SCALE * (1.0 + 3.0 * CUBIC * square);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bias_gelu;

    #[test]
    fn it_and_its_derivative_agree_with_differences() {
        let value = |x: f64| {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + u.tanh())
        };
        for i in -60..=60 {
            let x = f64::from(i) * 0.1;
            let (mut post, mut h) = ([0.0], [x as f32 - 0.25]);
            bias_gelu(&mut post, &mut h, &[0.25]);
            assert!((f64::from(post[0]) - value(x)).abs() < 1e-6, "{x}");
            let slope = (value(x + 1e-5) - value(x - 1e-5)) / 2e-5;
            assert!((f64::from(h[0]) - slope).abs() < 1e-5, "{x}: {} against {slope}", h[0]);
        }
    }
}
