//! Gradient clipping by the global norm.

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, DType, Storage, Tensor};

use crate::{LearningError, Parameters};

/// The Euclidean norm of all gradients of `parameters` together; those without a gradient count as zero.
///
/// # Errors
/// Fails where candle cannot compute a sum.
pub fn global_norm(parameters: &Parameters, grads: &GradStore) -> Result<f64, LearningError> {
    let mut sum = 0.0;
    for (_, var) in parameters.iter() {
        if let Some(grad) = grads.get(var) {
            sum += sum_of_squares(grad)?;
        }
    }
    Ok(sum.sqrt())
}

/// Scales all gradients by min(1, `max_norm` / (norm + 1e-6)), as PyTorch's `clip_grad_norm_` does, and returns
/// the norm before. A norm that is not finite is returned with the gradients left alone: the caller decides.
///
/// # Errors
/// Fails where candle cannot compute a product.
pub fn clip_grad_norm(
    parameters: &Parameters,
    grads: &mut GradStore,
    max_norm: f64,
) -> Result<f64, LearningError> {
    let norm = global_norm(parameters, grads)?;
    let scale = max_norm / (norm + 1e-6);
    if norm.is_finite() && scale < 1.0 {
        for (_, var) in parameters.iter() {
            if let Some(grad) = grads.remove(var) {
                grads.insert(var, (grad * scale)?);
            }
        }
    }
    Ok(norm)
}

fn sum_of_squares(grad: &Tensor) -> Result<f64, LearningError> {
    let (storage, layout) = grad.storage_and_layout();
    if let (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) =
        (&*storage, layout.contiguous_offsets())
    {
        return Ok(crate::kernels::sum_of_squares(&values[start..end]));
    }
    drop(storage);
    Ok(f64::from(grad.to_dtype(DType::F32)?.sqr()?.sum_all()?.to_scalar::<f32>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn norm_and_clipping_agree_with_the_formula() {
        let mut parameters = Parameters::default();
        for (name, values) in [("a", vec![3f32, 0.0]), ("b", vec![4f32]), ("unused", vec![9f32])] {
            parameters.insert(name, &Tensor::new(values, &Device::Cpu).unwrap()).unwrap();
        }
        let mut grads = GradStore::default();
        for name in ["a", "b"] {
            let var = parameters.get(name).unwrap();
            grads.insert(var, var.as_tensor().copy().unwrap());
        }
        assert!((clip_grad_norm(&parameters, &mut grads, 10.0).unwrap() - 5.0).abs() < 1e-9);
        assert!((global_norm(&parameters, &grads).unwrap() - 5.0).abs() < 1e-6);
        assert!((clip_grad_norm(&parameters, &mut grads, 0.5).unwrap() - 5.0).abs() < 1e-6);
        assert!((global_norm(&parameters, &grads).unwrap() - 0.5).abs() < 1e-5);
        assert!(grads.get(parameters.get("unused").unwrap()).is_none());
    }
}
