//! Adam's step on slices.

use crate::{AdamConfig, WeightDecay};

/// The constants of one [`adam_step`], in the precision of the weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// β₁ and 1 − β₁, each rounded once from `f64`: the difference of the `f32` numbers would be off by 1e-5 of
    /// itself at β = 0.999.
    beta1: (f32, f32),
    /// β₂ and 1 − β₂, likewise.
    beta2: (f32, f32),
    /// λ of the coupled weight decay; 0 for none.
    coupled: f32,
    /// 1 − lr·λ of the decoupled weight decay; 1 for none.
    keep: f32,
    /// What the gradient is multiplied by.
    scale: f32,
    /// lr / (1 − β₁ᵗ).
    rate: f32,
    /// √(1 − β₂ᵗ).
    root_correction: f32,
    eps: f32,
}

impl AdamStep {
    /// The constants of step number `steps`, counted from 1, with learning rate `lr`.
    pub fn new(config: &AdamConfig, steps: u64, lr: f64) -> Self {
        Self::of_counts(config, (steps, steps), lr)
    }

    /// As [`AdamStep::new`] where the moments have counts of their own, the first moment's and the second's.
    pub(crate) fn of_counts(config: &AdamConfig, (first, second): (u64, u64), lr: f64) -> Self {
        let AdamConfig { beta1, beta2, eps, weight_decay } = *config;
        let (coupled, decoupled) = match weight_decay {
            WeightDecay::None => (0.0, 0.0),
            WeightDecay::Coupled(lambda) => (lambda, 0.0),
            WeightDecay::Decoupled(lambda) => (0.0, lambda),
        };
        Self {
            beta1: (beta1 as f32, (1.0 - beta1) as f32),
            beta2: (beta2 as f32, (1.0 - beta2) as f32),
            coupled: coupled as f32,
            keep: (1.0 - lr * decoupled) as f32,
            scale: 1.0,
            rate: (lr / (1.0 - beta1.powf(first as f64))) as f32,
            root_correction: (1.0 - beta2.powf(second as f64)).sqrt() as f32,
            eps: eps as f32,
        }
    }

    /// The same step along `scale` times the gradient, such as that of a clipped one.
    pub fn scaled(self, scale: f32) -> Self {
        Self { scale, ..self }
    }
}

vectorised! {
    /// One step of Adam in a single pass over the memory; see [`crate::Adam`] for the formulas.
    ///
    /// ```text
    /// g ← scale·g + λ·w      m ← β₁·m + (1 − β₁)·g      v ← β₂·v + (1 − β₂)·g²
    /// w ← keep·w − rate · m / (√v / √(1 − β₂ᵗ) + ε)
    /// ```
    ///
    /// # Shapes
    /// All of one length.
    ///
    /// # Source
    /// Kingma and Ba 2015; decoupled decay as in Loshchilov and Hutter 2019.
    pub fn adam_step(
        weights: &mut [f32],
        first: &mut [f32],
        second: &mut [f32],
        gradient: &[f32],
        step: AdamStep,
    ) {
        let AdamStep { beta1, beta2, coupled, keep, scale, rate, root_correction, eps } = step;
        for (((w, m), v), g) in weights.iter_mut().zip(first).zip(second).zip(gradient) {
            let g = g * scale + coupled * *w;
            *m = beta1.0 * *m + beta1.1 * g;
            *v = beta2.0 * *v + beta2.1 * (g * g);
            *w = *w * keep - rate * *m / (v.sqrt() / root_correction + eps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pass_gives_the_bits_of_the_formulas_one_after_another() {
        for (weight_decay, coupled, keep) in [
            (WeightDecay::None, 0.0, 1.0),
            (WeightDecay::Coupled(0.25), 0.25, 1.0),
            (WeightDecay::Decoupled(0.25), 0.0, 1.0 - 0.01 * 0.25),
        ] {
            let config = AdamConfig { weight_decay, ..AdamConfig::default() };
            let column = |salt: usize| -> Vec<f32> {
                (0..101).map(|i| ((i * 7919 + salt) % 1000) as f32 / 500.0 - 1.0).collect()
            };
            let (mut w, mut m, gradient) = (column(1), column(2), column(3));
            let mut v: Vec<f32> = column(4).iter().map(|v| v.abs()).collect();
            let (w0, m0, v0) = (w.clone(), m.clone(), v.clone());
            adam_step(&mut w, &mut m, &mut v, &gradient, AdamStep::new(&config, 3, 0.01).scaled(0.5));
            let (rate, root) = (0.01 / (1.0 - 0.9f64.powf(3.0)), (1.0 - 0.999f64.powf(3.0)).sqrt());
            for i in 0..w.len() {
                let g = gradient[i] * 0.5 + coupled * w0[i];
                let first = 0.9 * m0[i] + (1.0 - 0.9f64) as f32 * g;
                let second = 0.999 * v0[i] + (1.0 - 0.999f64) as f32 * (g * g);
                let step = rate as f32 * first / (second.sqrt() / root as f32 + 1e-8);
                let weight = w0[i] * keep as f32 - step;
                let expected = [first, second, weight].map(f32::to_bits);
                assert_eq!([m[i], v[i], w[i]].map(f32::to_bits), expected, "{weight_decay:?}, {i}");
            }
        }
    }
}
