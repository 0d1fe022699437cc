//! Adam as in PyTorch, with a state that can be saved.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
use rayon::prelude::*;

use crate::kernels::AdamStep;
use crate::{LearningError, Parameters, require_shape};

mod parts;
mod slices;
mod split;

use parts::Parts;
pub use parts::{Moves, Partition};

/// How the weights decay.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum WeightDecay {
    /// Not at all.
    #[default]
    None,
    /// λ·w is added to the gradient, so that it passes through the moments: PyTorch's `Adam(weight_decay=λ)`.
    Coupled(f64),
    /// w ← w·(1 − lr·λ) before the step, apart from the moments: `AdamW`.
    Decoupled(f64),
}

/// The constants of [`Adam`]; the defaults are PyTorch's. The learning rate is given to each step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamConfig {
    /// The decay of the first moment.
    pub beta1: f64,
    /// The decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// The weight decay.
    pub weight_decay: WeightDecay,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: WeightDecay::None }
    }
}

struct Moments {
    /// Steps of each part.
    steps: Vec<u64>,
    /// Steps that the second moment is ahead, where moments are split.
    ahead: u64,
    first: Tensor,
    second: Tensor,
}

impl Moments {
    fn step(&mut self, var: &Var, grad: &Tensor, config: AdamConfig, lr: f64) -> Result<(), LearningError> {
        let weight = var.as_tensor();
        let grad = grad.detach();
        if weight.device().is_cpu() && weight.dtype() == DType::F32 {
            if grad.dims() != weight.dims() {
                let (origin, name) = ("the gradient".to_owned(), "a parameter".to_owned());
                let (expected, found) = (weight.dims().to_vec(), grad.dims().to_vec());
                return Err(LearningError::Shape { origin, name, expected, found });
            }
            let step = AdamStep::of_counts(&config, self.count(), lr);
            return Ok(slices::step_tensor([weight, &self.first, &self.second], &grad, step)?);
        }
        self.step_split(var, (Some(&grad), &grad), config, lr)
    }

    /// Counts a step of the only part: the steps of either moment.
    fn count(&mut self) -> (u64, u64) {
        self.steps[0] += 1;
        (self.steps[0], self.steps[0] + self.ahead)
    }
}

/// Adam, with its moments in reach so that a run can be resumed exactly.
///
/// For each parameter that has a gradient g, at its t-th step:
///
/// ```text
/// m ← β₁·m + (1 − β₁)·g        v ← β₂·v + (1 − β₂)·g²
/// w ← w − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε)
/// ```
///
/// A parameter *without* a gradient is left alone, moments and step count included; one whose gradient is
/// *zero* still moves by its moments and its decay. Gradient routing at parameters depends on the difference.
///
/// A parameter can be divided into parts ([`Adam::with_partitions`]), which [`Adam::step_parts`] moves or leaves alone
/// one by one, each with a step count t of its own.
///
/// # Source
/// Kingma and Ba 2015, in the order of operations of `torch.optim.Adam`.
pub struct Adam {
    parameters: Parameters,
    config: AdamConfig,
    moments: BTreeMap<String, Moments>,
    /// Of each parameter, in the order of their names.
    parts: Vec<Parts>,
}

impl Adam {
    /// An optimiser of `parameters` (shared, not copied) with zero moments.
    ///
    /// # Errors
    /// Fails where the moments cannot be placed on the parameters' device.
    pub fn new(parameters: &Parameters, config: AdamConfig) -> Result<Self, LearningError> {
        Self::with_partitions(parameters, config, &BTreeMap::new())
    }

    /// As [`Adam::new`], with parameters in parts.
    ///
    /// # Errors
    /// As there, and where a partition is of no parameter or does not fit it.
    pub fn with_partitions(
        parameters: &Parameters,
        config: AdamConfig,
        partitions: &BTreeMap<String, Partition>,
    ) -> Result<Self, LearningError> {
        for name in partitions.keys() {
            parameters.get(name)?;
        }
        let (mut moments, mut parts) = (BTreeMap::new(), Vec::new());
        for (name, var) in parameters.iter() {
            let of = match partitions.get(name) {
                Some(partition) => Parts::new(partition, var.dims(), name)?,
                None => Parts::whole(var.elem_count()),
            };
            let zeros = || var.as_tensor().zeros_like();
            let steps = vec![0; of.count];
            moments.insert(name.to_owned(), Moments { steps, ahead: 0, first: zeros()?, second: zeros()? });
            parts.push(of);
        }
        Ok(Self { parameters: parameters.clone(), config, moments, parts })
    }

    /// One step with learning rate `lr` on every parameter that has an entry in `grads`. Parameters are shared
    /// out on the current thread pool; no result depends on how.
    ///
    /// # Errors
    /// Fails where a gradient's shape or type is not its parameter's, and for parameters in parts, which
    /// [`Adam::step_parts`] is for.
    pub fn step(&mut self, grads: &GradStore, lr: f64) -> Result<(), LearningError> {
        self.require_whole()?;
        let config = self.config;
        let moments = self.moments.values_mut();
        let work: Vec<_> = self
            .parameters
            .iter()
            .zip(moments)
            .filter_map(|((_, var), moments)| Some((var, moments, grads.get(var)?)))
            .collect();
        work.into_par_iter().try_for_each(|(var, moments, grad)| moments.step(var, grad, config, lr))
    }

    fn require_whole(&self) -> Result<(), LearningError> {
        match self.moments.iter().find(|(_, moments)| moments.steps.len() != 1) {
            Some((name, moments)) => {
                Err(LearningError::InParts { name: name.clone(), parts: moments.steps.len() })
            }
            None => Ok(()),
        }
    }

    /// All moments as tensors `first.NAME`, `second.NAME` and step counts `steps.NAME` (one of each part, i64), with
    /// `ahead.NAME`, the steps that [`Adam::step_split`] took with the second moment alone, to be saved in a checkpoint.
    /// Copies: later steps do not change them.
    ///
    /// # Errors
    /// Fails where a tensor cannot be copied.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>, LearningError> {
        let mut state = BTreeMap::new();
        for (name, moments) in &self.moments {
            state.insert(format!("first.{name}"), moments.first.copy()?);
            state.insert(format!("second.{name}"), moments.second.copy()?);
            let steps: Vec<i64> = moments.steps.iter().map(|steps| *steps as i64).collect();
            let steps = Tensor::new(steps, &candle_core::Device::Cpu)?;
            state.insert(format!("steps.{name}"), steps);
            if moments.ahead > 0 {
                let ahead = Tensor::new(&[moments.ahead as i64], &candle_core::Device::Cpu)?;
                state.insert(format!("ahead.{name}"), ahead);
            }
        }
        Ok(state)
    }

    /// Goes back to a state that [`Adam::state`] gave. Nothing changes unless the whole state fits.
    ///
    /// # Errors
    /// Fails where an entry is lacking or has another shape or type; `origin` names the source in the message.
    pub fn load_state(
        &mut self,
        state: &BTreeMap<String, Tensor>,
        origin: &str,
    ) -> Result<(), LearningError> {
        let mut loaded = BTreeMap::new();
        for ((name, var), parts) in self.parameters.iter().zip(&self.parts) {
            let entry = |kind: &str, shape: &[usize], dtype: DType| -> Result<Tensor, LearningError> {
                let key = format!("{kind}.{name}");
                let Some(tensor) = state.get(&key) else {
                    return Err(LearningError::Missing { origin: origin.to_owned(), names: key });
                };
                require_shape(tensor, shape, dtype, &key, origin)?;
                Ok(tensor.clone())
            };
            let place = |t: Tensor| -> Result<Tensor, LearningError> {
                Ok(t.to_device(var.device())?.contiguous()?.copy()?)
            };
            let counts = |kind: &str, parts: usize| -> Result<Vec<u64>, LearningError> {
                let steps = entry(kind, &[parts], DType::I64)?.to_vec1::<i64>()?;
                if let Some(steps) = steps.iter().find(|steps| **steps < 0) {
                    let (origin, name) = (origin.to_owned(), format!("{kind}.{name}"));
                    return Err(LearningError::Steps { origin, name, steps: *steps });
                }
                Ok(steps.into_iter().map(i64::cast_unsigned).collect())
            };
            let steps = counts("steps", parts.count)?;
            let split = state.contains_key(&format!("ahead.{name}"));
            let ahead = if split { counts("ahead", 1)?[0] } else { 0 };
            let first = place(entry("first", var.dims(), var.dtype())?)?;
            let second = place(entry("second", var.dims(), var.dtype())?)?;
            loaded.insert(name.to_owned(), Moments { steps, ahead, first, second });
        }
        self.moments = loaded;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// Three steps on w = [0.5, −1.5, 2.0] with gradients 2w + 1 at lr 0.1; made by `tests/golden/adam.py`.
    const GOLDEN: [(WeightDecay, [f64; 3]); 3] = [
        (WeightDecay::None, GOLDEN_PLAIN),
        (WeightDecay::Coupled(0.3), GOLDEN_COUPLED),
        (WeightDecay::Decoupled(0.3), GOLDEN_DECOUPLED),
    ];
    include!("../tests/golden/adam.in");

    fn run(weight_decay: WeightDecay, dtype: DType) -> Vec<f64> {
        let mut parameters = Parameters::default();
        let start = Tensor::new(&[0.5f64, -1.5, 2.0], &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
        parameters.insert("w", &start).unwrap();
        let mut adam = Adam::new(&parameters, AdamConfig { weight_decay, ..AdamConfig::default() }).unwrap();
        for _ in 0..3 {
            let w = parameters.get("w").unwrap();
            let loss = (w.as_tensor().sqr().unwrap() + w.as_tensor()).unwrap().sum_all().unwrap();
            adam.step(&loss.backward().unwrap(), 0.1).unwrap();
        }
        let w = parameters.get("w").unwrap().as_tensor().to_dtype(DType::F64).unwrap();
        w.to_vec1::<f64>().unwrap()
    }

    #[test]
    fn steps_equal_those_of_the_formula() {
        for (weight_decay, expected) in GOLDEN {
            for (dtype, tolerance) in [(DType::F32, 2e-6), (DType::F64, 1e-12)] {
                for (got, want) in run(weight_decay, dtype).into_iter().zip(expected) {
                    assert!(
                        (got - want).abs() < tolerance,
                        "{weight_decay:?} {dtype:?}: {got} against {want}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_zero_gradient_moves_a_parameter_and_a_missing_one_does_not() {
        let mut parameters = Parameters::default();
        parameters.insert("w", &Tensor::new(&[1f32], &Device::Cpu).unwrap()).unwrap();
        let w = parameters.get("w").unwrap().clone();
        let mut adam = Adam::new(&parameters, AdamConfig::default()).unwrap();
        let mut with = |values: Option<f32>| {
            let mut grads = GradStore::default();
            if let Some(value) = values {
                grads.insert(&w, Tensor::new(&[value], &Device::Cpu).unwrap());
            }
            let before = w.as_tensor().to_vec1::<f32>().unwrap()[0];
            adam.step(&grads, 0.1).unwrap();
            w.as_tensor().to_vec1::<f32>().unwrap()[0] - before
        };
        assert!(with(Some(1.0)) < 0.0);
        assert!(with(Some(0.0)) < 0.0);
        assert!(with(None) == 0.0);
    }

    #[test]
    fn a_saved_state_goes_on_exactly() {
        let start = Tensor::new(&[0.5f32, -1.5, 2.0], &Device::Cpu).unwrap();
        let step = |parameters: &Parameters, adam: &mut Adam| {
            let w = parameters.get("w").unwrap();
            adam.step(&w.as_tensor().sqr().unwrap().sum_all().unwrap().backward().unwrap(), 0.1).unwrap();
        };
        let mut whole = Parameters::default();
        whole.insert("w", &start).unwrap();
        let mut adam = Adam::new(&whole, AdamConfig::default()).unwrap();
        step(&whole, &mut adam);
        let (values, state) = (whole.snapshot().unwrap(), adam.state().unwrap());
        step(&whole, &mut adam);

        let mut resumed = Parameters::default();
        resumed.insert("w", &start).unwrap();
        let mut adam = Adam::new(&resumed, AdamConfig::default()).unwrap();
        resumed.load(&values, "checkpoint").unwrap();
        adam.load_state(&state, "checkpoint").unwrap();
        step(&resumed, &mut adam);
        assert_eq!(resumed.to_flat_vec().unwrap(), whole.to_flat_vec().unwrap());

        let mut cut = state.clone();
        cut.remove("second.w");
        let error = adam.load_state(&cut, "checkpoint").unwrap_err().to_string();
        assert!(error.contains("checkpoint lacks the parameters second.w"), "{error}");
        let mut negative = state.clone();
        negative.insert("steps.w".to_owned(), Tensor::new(&[-3i64], &Device::Cpu).unwrap());
        let error = adam.load_state(&negative, "checkpoint").unwrap_err().to_string();
        assert_eq!(error, "checkpoint has -3 in steps.w: the steps of an optimizer are at least 0");
        let mut other = state;
        other.insert("steps.w".to_owned(), Tensor::new(&[1f32], &Device::Cpu).unwrap());
        let error = adam.load_state(&other, "checkpoint").unwrap_err().to_string();
        assert!(error.contains("checkpoint has steps.w of type F32, the model needs I64"), "{error}");
    }
}
