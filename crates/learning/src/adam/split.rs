//! A step whose two moments come from two gradients.

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use super::{Adam, AdamConfig, Moments, WeightDecay};
use crate::LearningError;

impl Adam {
    /// One step with *split moments*: the first moment from a routed gradient g, the second from the natural one h, which
    /// the parameter would get without any route.
    ///
    /// ```text
    /// v ← β₂·v + (1 − β₂)·h²        of every parameter that has a natural gradient, at its s-th such step
    /// m ← β₁·m + (1 − β₁)·g         of those that have a routed one as well, at its t-th such step, and of those
    /// w ← w − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ˢ) + ε)
    /// ```
    ///
    /// A module that sees a routed gradient rarely, or through a small weight, would have a small second moment with
    /// [`Adam::step`], and be moved by as much as one that sees it always. A parameter without a routed gradient keeps its
    /// weights and its first moment. Where both gradients are the same this is [`Adam::step`] but for its rounding.
    ///
    /// # Errors
    /// Fails where a gradient's shape or type is not its parameter's, and for parameters in parts.
    pub fn step_split(
        &mut self,
        routed: &GradStore,
        natural: &GradStore,
        lr: f64,
    ) -> Result<(), LearningError> {
        self.require_whole()?;
        for ((_, var), moments) in self.parameters.iter().zip(self.moments.values_mut()) {
            let routed = routed.get(var);
            if let Some(natural) = natural.get(var).or(routed) {
                moments.step_split(var, (routed, natural), self.config, lr)?;
            }
        }
        Ok(())
    }
}

impl Moments {
    /// A step of the second moment, and of all else where there is a routed gradient, in candle's operations.
    pub(super) fn step_split(
        &mut self,
        var: &Var,
        (routed, natural): (Option<&Tensor>, &Tensor),
        config: AdamConfig,
        lr: f64,
    ) -> Result<(), LearningError> {
        let AdamConfig { beta1, beta2, eps, weight_decay } = config;
        let mut weight = var.as_tensor().detach();
        let decayed = |gradient: &Tensor| match weight_decay {
            WeightDecay::Coupled(lambda) => gradient.detach() + (&weight * lambda)?,
            WeightDecay::None | WeightDecay::Decoupled(_) => Ok(gradient.detach()),
        };
        self.second = ((&self.second * beta2)? + (decayed(natural)?.sqr()? * (1.0 - beta2))?)?;
        let Some(routed) = routed else {
            self.ahead += 1;
            return Ok(());
        };
        self.first = ((&self.first * beta1)? + (decayed(routed)? * (1.0 - beta1))?)?;
        if let WeightDecay::Decoupled(lambda) = weight_decay {
            weight = (weight * (1.0 - lr * lambda))?;
        }
        let (steps, seen) = self.count();
        let correction1 = 1.0 - beta1.powf(steps as f64);
        let correction2 = 1.0 - beta2.powf(seen as f64);
        let denominator = ((self.second.sqrt()? / correction2.sqrt())? + eps)?;
        let change = ((&self.first / denominator)? * (lr / correction1))?;
        var.set(&(weight - change)?)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use proptest::prelude::*;

    use super::*;
    use crate::Parameters;

    include!("../../tests/golden/adam_split.in");

    fn one(start: &[f64], dtype: DType, config: AdamConfig) -> (Var, Adam) {
        let mut parameters = Parameters::default();
        parameters.insert("w", &Tensor::new(start, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()).unwrap();
        (parameters.get("w").unwrap().clone(), Adam::new(&parameters, config).unwrap())
    }

    fn store(var: &Var, gradient: &[f64]) -> GradStore {
        let mut store = GradStore::default();
        let gradient = Tensor::new(gradient, &Device::Cpu).unwrap().to_dtype(var.dtype()).unwrap();
        store.insert(var, gradient);
        store
    }

    fn numbers(var: &Var) -> Vec<f64> {
        var.as_tensor().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
    }

    #[test]
    fn steps_equal_those_of_the_formula() {
        for (weight_decay, expected) in [
            (WeightDecay::None, SPLIT_PLAIN),
            (WeightDecay::Coupled(0.3), SPLIT_COUPLED),
            (WeightDecay::Decoupled(0.3), SPLIT_DECOUPLED),
        ] {
            for (dtype, tolerance) in [(DType::F32, 2e-6), (DType::F64, 1e-12)] {
                let config = AdamConfig { weight_decay, ..AdamConfig::default() };
                let (w, mut adam) = one(&[0.5, -1.5, 2.0], dtype, config);
                for step in 0..4 {
                    let natural: Vec<f64> = numbers(&w).iter().map(|w| 2.0 * w + 1.0).collect();
                    let routed: Vec<f64> = natural.iter().map(|gradient| 0.25 * gradient).collect();
                    // the second step is one in which nothing is routed to w
                    let routed = if step == 1 { GradStore::default() } else { store(&w, &routed) };
                    let before = numbers(&w);
                    adam.step_split(&routed, &store(&w, &natural), 0.1).unwrap();
                    assert_eq!(numbers(&w) == before, step == 1);
                }
                for (got, want) in numbers(&w).into_iter().zip(expected) {
                    assert!((got - want).abs() < tolerance, "{weight_decay:?} {dtype:?}: {got} for {want}");
                }
            }
        }
    }

    #[test]
    fn a_saved_state_goes_on_exactly_with_both_counts() {
        let run = |resumed: bool| {
            let (w, mut adam) = one(&[0.5, -1.5], DType::F32, AdamConfig::default());
            for step in 0..4 {
                if resumed && step == 2 {
                    let state = adam.state().unwrap();
                    assert!(state.contains_key("ahead.w"));
                    adam = one(&[0.0, 0.0], DType::F32, AdamConfig::default()).1;
                    adam.parameters = {
                        let mut parameters = Parameters::default();
                        parameters.insert("w", &w.as_tensor().copy().unwrap()).unwrap();
                        parameters
                    };
                    adam.load_state(&state, "checkpoint").unwrap();
                }
                let w = adam.parameters.get("w").unwrap().clone();
                let natural: Vec<f64> = numbers(&w).iter().map(|w| 2.0 * w + 1.0).collect();
                let routed = if step == 0 { GradStore::default() } else { store(&w, &natural) };
                adam.step_split(&routed, &store(&w, &natural), 0.1).unwrap();
            }
            numbers(adam.parameters.get("w").unwrap())
        };
        let bits = |numbers: Vec<f64>| numbers.into_iter().map(f64::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(run(false)), bits(run(true)));
    }

    proptest! {
        #[test]
        fn with_one_gradient_for_both_it_is_adam(
            start in proptest::collection::vec(-2.0..2.0f64, 1..5), slope in 0.1..3.0f64, decay in 0.0..0.5f64
        ) {
            for weight_decay in [WeightDecay::Coupled(decay), WeightDecay::Decoupled(decay)] {
                let config = AdamConfig { weight_decay, ..AdamConfig::default() };
                let (split, mut of_split) = one(&start, DType::F64, config);
                let (plain, mut of_plain) = one(&start, DType::F64, config);
                for _ in 0..3 {
                    let gradient = |w: &Var| numbers(w).iter().map(|w| slope * w - 1.0).collect::<Vec<_>>();
                    let both = store(&split, &gradient(&split));
                    of_split.step_split(&both, &both, 0.05).unwrap();
                    of_plain.step(&store(&plain, &gradient(&plain)), 0.05).unwrap();
                }
                for (split, plain) in numbers(&split).into_iter().zip(numbers(&plain)) {
                    prop_assert!((split - plain).abs() < 1e-12, "{split} {plain}");
                }
            }
        }
    }
}
