//! Steps on the numbers of CPU tensors, in one pass over the memory.

use std::cell::RefCell;

use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Storage, Tensor, Var, bail};
use rayon::prelude::*;

use super::parts::moved;
use super::{Adam, Moments, Moves};
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
        self.step_parts(gradients, scale, lr, &Moves::new())
    }

    /// As [`Adam::step_slices`], but of each parameter only the parts that `moves` says: the others keep their
    /// weights, moments and step counts, bit for bit, whatever their gradient. The parameters may lie on any device.
    ///
    /// # Errors
    /// As there.
    pub fn step_parts(
        &mut self,
        gradients: &[Vec<f32>],
        scale: f64,
        lr: f64,
        moves: &Moves,
    ) -> Result<(), LearningError> {
        let lengths = |parameters: &Parameters| parameters.iter().map(|(_, var)| var.elem_count()).collect();
        let expected: Vec<usize> = lengths(&self.parameters);
        let found: Vec<usize> = gradients.iter().map(Vec::len).collect();
        if expected != found {
            let (origin, name) = ("the gradient".to_owned(), "every parameter".to_owned());
            return Err(LearningError::Shape { origin, name, expected, found });
        }
        let config = self.config;
        let each = self.parameters.iter().zip(self.moments.values_mut()).zip(&self.parts).zip(gradients);
        for ((((name, var), moments), parts), gradient) in each {
            let mut steps: Vec<Option<AdamStep>> = Vec::with_capacity(parts.count);
            for (part, count) in moments.steps.iter_mut().enumerate() {
                let moves = moved(moves, name, part);
                *count += u64::from(moves);
                steps.push(moves.then(|| AdamStep::new(&config, *count, lr).scaled(scale as f32)));
            }
            if steps.iter().all(Option::is_none) {
                continue;
            }
            let Moments { first, second, .. } = moments;
            on_slices(var, [first, second], &|weight, first, second| {
                for (run, part) in &parts.runs {
                    let Some(step) = steps[*part] else { continue };
                    let weight = &mut weight[run.clone()];
                    let (first, second) = (&mut first[run.clone()], &mut second[run.clone()]);
                    if run.len() <= CHUNK {
                        // many short runs are not worth a task each
                        adam_step(weight, first, second, &gradient[run.clone()], step);
                        continue;
                    }
                    let pieces = weight
                        .par_chunks_mut(CHUNK)
                        .zip(first.par_chunks_mut(CHUNK))
                        .zip(second.par_chunks_mut(CHUNK))
                        .zip(gradient[run.clone()].par_chunks(CHUNK));
                    pieces.for_each(|(((w, m), v), g)| adam_step(w, m, v, g, step));
                }
            })?;
        }
        Ok(())
    }

    /// Sets the gradient of every part that does not move to zero, so that it has no part in a norm; one gradient for
    /// each parameter in the order of their names.
    pub fn zero_unmoved(&self, gradients: &mut [Vec<f32>], moves: &Moves) {
        let each = self.parameters.iter().zip(&self.parts).zip(gradients);
        for (((name, _), parts), gradient) in each.filter(|(((name, _), _), _)| moves.contains_key(*name)) {
            for (run, _) in parts.runs.iter().filter(|(_, part)| !moved(moves, name, *part)) {
                gradient[run.clone()].fill(0.0);
            }
        }
    }
}

/// Calls `work` with the numbers of a weight and its two moments, where they lie or, if that is on another device, on
/// copies that are then put back.
fn on_slices(weight: &Var, moments: [&mut Tensor; 2], work: &Work<'_>) -> candle_core::Result<()> {
    let [first, second] = moments;
    if weight.device().is_cpu() {
        return with_slices([weight.as_tensor(), first, second], work);
    }
    let device = weight.device().clone();
    let here = |tensor: &Tensor| tensor.to_device(&Device::Cpu);
    let copies = [here(&weight.as_detached_tensor())?, here(first)?, here(second)?];
    with_slices([&copies[0], &copies[1], &copies[2]], work)?;
    weight.set(&copies[0].to_device(&device)?)?;
    (*first, *second) = (copies[1].to_device(&device)?, copies[2].to_device(&device)?);
    Ok(())
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
