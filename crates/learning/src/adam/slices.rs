//! Steps on the numbers of CPU tensors, in one pass over the memory.

use std::cell::RefCell;

use candle_core::{CpuStorage, InplaceOp1, Layout, Storage, Tensor, bail};
use rayon::prelude::*;

use super::{Adam, Moments};
use crate::kernels::{AdamStep, adam_step};
use crate::{LearningError, Parameters};

/// Numbers that a thread takes at a time.
const CHUNK: usize = 1 << 15;

impl Adam {
    /// One step as [`Adam::step`]'s along `scale` times the gradients, one for each parameter in the order of
    /// their names, for parameters of type `f32` on the CPU. Weights, moments and gradient are read once, in
    /// pieces on the current thread pool; no result depends on how.
    ///
    /// # Errors
    /// Fails where there is not one gradient of the right length for each parameter.
    pub fn step_slices(&mut self, gradients: &[Vec<f32>], scale: f64, lr: f64) -> Result<(), LearningError> {
        let lengths = |parameters: &Parameters| parameters.iter().map(|(_, var)| var.elem_count()).collect();
        let expected: Vec<usize> = lengths(&self.parameters);
        let found: Vec<usize> = gradients.iter().map(Vec::len).collect();
        if expected != found {
            let (origin, name) = ("the gradient".to_owned(), "every parameter".to_owned());
            return Err(LearningError::Shape { origin, name, expected, found });
        }
        let config = self.config;
        for (((_, var), moments), gradient) in
            self.parameters.iter().zip(self.moments.values_mut()).zip(gradients)
        {
            moments.steps += 1;
            let step = AdamStep::new(&config, moments.steps, lr).scaled(scale as f32);
            let Moments { first, second, .. } = moments;
            with_slices([var.as_tensor(), first, second], &|weight, first, second| {
                let pieces = weight
                    .par_chunks_mut(CHUNK)
                    .zip(first.par_chunks_mut(CHUNK))
                    .zip(second.par_chunks_mut(CHUNK))
                    .zip(gradient.par_chunks(CHUNK));
                pieces.for_each(|(((w, m), v), g)| adam_step(w, m, v, g, step));
            })?;
        }
        Ok(())
    }
}

/// One step on a weight and its two moments along a gradient of the same shape, on the calling thread.
pub(super) fn step_tensor(
    updated: [&Tensor; 3],
    gradient: &Tensor,
    step: AdamStep,
) -> candle_core::Result<()> {
    let mut gradient = gradient.contiguous()?;
    if updated.iter().any(|tensor| share_storage(tensor, &gradient)) {
        // what is written may not be read at the same time
        gradient = gradient.copy()?;
    }
    let (storage, layout) = gradient.storage_and_layout();
    let (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) =
        (&*storage, layout.contiguous_offsets())
    else {
        bail!("the gradient of an f32 parameter on the CPU is of another type or on another device");
    };
    let values = &values[start..end];
    with_slices(updated, &|weight, first, second| adam_step(weight, first, second, values, step))
}

fn share_storage(a: &Tensor, b: &Tensor) -> bool {
    let ((a, _), (b, _)) = (a.storage_and_layout(), b.storage_and_layout());
    std::ptr::eq(&raw const *a, &raw const *b)
}

type Work<'a> = dyn Fn(&mut [f32], &mut [f32], &mut [f32]) + 'a;

/// Lends out three tensors at once; candle's in-place operations lend one, so they are nested.
fn with_slices([a, b, c]: [&Tensor; 3], work: &Work<'_>) -> candle_core::Result<()> {
    a.inplace_op1(&Lend(&|a: &mut [f32]| {
        let a = RefCell::new(a);
        b.inplace_op1(&Lend(&|b: &mut [f32]| {
            let b = RefCell::new(b);
            c.inplace_op1(&Lend(&|c: &mut [f32]| {
                work(&mut a.borrow_mut(), &mut b.borrow_mut(), c);
                Ok(())
            }))
        }))
    }))
}

/// Calls a function with a tensor's numbers.
struct Lend<'a>(&'a dyn Fn(&mut [f32]) -> candle_core::Result<()>);

impl InplaceOp1 for Lend<'_> {
    fn name(&self) -> &'static str {
        "lend"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        match (storage, layout.contiguous_offsets()) {
            (CpuStorage::F32(values), Some((start, end))) => (self.0)(&mut values[start..end]),
            _ => bail!("this step is for contiguous f32 parameters on the CPU"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use candle_core::Device;
    use candle_core::backprop::GradStore;

    use super::*;
    use crate::{AdamConfig, WeightDecay};

    #[test]
    fn a_step_along_slices_is_a_step_along_tensors() {
        let len = CHUNK + 77;
        let column = |salt: usize| -> Vec<f32> {
            (0..len).map(|i| ((i * 7919 + salt) % 997) as f32 / 500.0 - 1.0).collect()
        };
        for weight_decay in [WeightDecay::None, WeightDecay::Coupled(0.1), WeightDecay::Decoupled(0.1)] {
            let make = || -> (Parameters, Adam) {
                let mut parameters = Parameters::default();
                for (name, salt) in [("a", 3), ("b", 5)] {
                    let value = Tensor::from_vec(column(salt), len, &Device::Cpu).unwrap();
                    parameters.insert(name, &value).unwrap();
                }
                let config = AdamConfig { weight_decay, ..AdamConfig::default() };
                let adam = Adam::new(&parameters, config).unwrap();
                (parameters, adam)
            };
            let ((expected, mut tensors), (got, mut slices)) = (make(), make());
            for step in 0..3 {
                let gradients = vec![column(10 + step), column(20 + step)];
                let mut store = GradStore::default();
                for ((_, var), gradient) in expected.iter().zip(&gradients) {
                    let gradient: Vec<f32> = gradient.iter().map(|g| g * 0.5).collect();
                    store.insert(var, Tensor::from_vec(gradient, len, &Device::Cpu).unwrap());
                }
                tensors.step(&store, 1e-2).unwrap();
                slices.step_slices(&gradients, 0.5, 1e-2).unwrap();
            }
            let (expected, got) = (expected.to_flat_vec().unwrap(), got.to_flat_vec().unwrap());
            for (expected, got) in expected.iter().zip(&got) {
                assert!((expected - got).abs() <= 2e-6, "{weight_decay:?}: {got} against {expected}");
            }
            let state: BTreeMap<_, _> = slices.state().unwrap();
            assert_eq!(state["steps.a"].to_vec1::<i64>().unwrap(), [3]);
            let error = slices.step_slices(&[vec![0.0]], 1.0, 1e-2).unwrap_err();
            assert!(error.to_string().contains("the gradient"), "{error}");
        }
    }

    #[test]
    fn a_gradient_may_be_the_parameter_itself() {
        let step = |gradient: &dyn Fn(&Tensor) -> Tensor| -> Vec<f32> {
            let mut parameters = Parameters::default();
            parameters.insert("w", &Tensor::new(&[0.5f32, -2.0], &Device::Cpu).unwrap()).unwrap();
            let mut adam = Adam::new(&parameters, AdamConfig::default()).unwrap();
            let (mut store, var) = (GradStore::default(), parameters.get("w").unwrap());
            store.insert(var, gradient(var.as_tensor()));
            adam.step(&store, 0.1).unwrap();
            parameters.to_flat_vec().unwrap()
        };
        assert_eq!(step(&Clone::clone), step(&|w| w.copy().unwrap()));
    }
}
