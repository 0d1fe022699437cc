//! Central differences in f64. The forward pass is the identity, so they give the gradient without the mask, and
//! what is wanted is mask ⊙ difference.

use candle_core::{Device, Result, Tensor, Var};
use gradient_routing::{route, scale};

use crate::{Outcome, numbers};

const STEP: f64 = 1e-5;
const TOLERANCE: f64 = 1e-8;

fn waves(count: usize, phase: f64) -> Vec<f64> {
    (0..count).map(|i| (i as f64 * 1.7 + phase).sin()).collect()
}

/// Central differences of `loss` at each element of `x`.
fn differences(x: &Tensor, loss: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Vec<f64>> {
    let values = x.flatten_all()?.to_vec1::<f64>()?;
    let at = |i: usize, change: f64| -> Result<f64> {
        let mut moved = values.clone();
        moved[i] += change;
        loss(&Tensor::from_vec(moved, x.shape(), x.device())?)?.to_scalar::<f64>()
    };
    (0..values.len()).map(|i| Ok((at(i, STEP)? - at(i, -STEP)?) / (2. * STEP))).collect()
}

fn assert_close(actual: &[f64], expected: &[f64]) {
    assert_eq!(actual.len(), expected.len());
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!((a - e).abs() <= TOLERANCE * (1. + e.abs()), "element {i}: {a} instead of {e}");
    }
}

/// A loss that is neither linear nor separable in its argument of shape (3, 4).
fn head(hidden: &Tensor) -> Result<Tensor> {
    let out = Tensor::from_vec(waves(8, 0.9), (4, 2), &Device::Cpu)?;
    hidden.tanh()?.matmul(&out)?.sqr()?.sum_all()?.sqrt()
}

#[test]
fn route_is_the_mask_times_the_difference() -> Outcome {
    let x = Var::from_vec(waves(12, 0.2), (3, 4), &Device::Cpu)?;
    let mask = Tensor::from_vec(waves(12, 2.5), (3, 4), &Device::Cpu)?;
    let gradients = head(&route(&x, &mask)?)?.backward()?;
    let expected = (Tensor::from_vec(differences(&x, head)?, (3, 4), &Device::Cpu)? * &mask)?;
    assert_close(&numbers(gradients.get(&x).ok_or("no gradient")?)?, &numbers(&expected)?);
    Ok(())
}

#[test]
fn scale_is_the_factor_times_the_difference() -> Outcome {
    let x = Var::from_vec(waves(12, 0.2), (3, 4), &Device::Cpu)?;
    let gradients = head(&scale(&x, -0.75)?)?.backward()?;
    let expected = differences(&x, head)?.into_iter().map(|d| -0.75 * d).collect::<Vec<_>>();
    assert_close(&numbers(gradients.get(&x).ok_or("no gradient")?)?, &expected);
    Ok(())
}

/// Two ways from `x` to the loss, one of them routed: mask ⊙ difference of the one plus difference of the other.
#[test]
fn an_unrouted_way_keeps_its_whole_gradient() -> Outcome {
    let other = |x: &Tensor| x.sin()?.sum_all();
    let x = Var::from_vec(waves(12, 0.2), (3, 4), &Device::Cpu)?;
    let mask = Tensor::from_vec(vec![0., 1., -1., 0.25], 4, &Device::Cpu)?;
    let gradients = (head(&route(&x, &mask)?)? + other(&x)?)?.backward()?;
    let routed = Tensor::from_vec(differences(&x, head)?, (3, 4), &Device::Cpu)?.broadcast_mul(&mask)?;
    let expected = (routed + Tensor::from_vec(differences(&x, other)?, (3, 4), &Device::Cpu)?)?;
    assert_close(&numbers(gradients.get(&x).ok_or("no gradient")?)?, &numbers(&expected)?);
    Ok(())
}

/// A weight below a routed activation gets inputᵀ · (mask ⊙ difference); one above it gets its plain difference.
#[test]
fn parameters_below_are_masked_and_parameters_above_are_not() -> Outcome {
    let inputs = Tensor::from_vec(waves(6, 4.), (3, 2), &Device::Cpu)?;
    let below = Var::from_vec(waves(8, 1.), (2, 4), &Device::Cpu)?;
    let above = Var::from_vec(waves(4, 3.), (4, 1), &Device::Cpu)?;
    let mask = Tensor::from_vec(vec![1., 0., -0.5], (3, 1), &Device::Cpu)?;
    let hidden = inputs.matmul(&below)?;
    let loss = |hidden: &Tensor, above: &Tensor| hidden.tanh()?.matmul(above)?.sqr()?.sum_all();

    let gradients = loss(&route(&hidden, &mask)?, &above)?.backward()?;
    let at_hidden = differences(&hidden, |hidden| loss(hidden, &above))?;
    let masked = Tensor::from_vec(at_hidden, (3, 4), &Device::Cpu)?.broadcast_mul(&mask)?;
    let expected = inputs.t()?.matmul(&masked)?;
    assert_close(&numbers(gradients.get(&below).ok_or("no gradient")?)?, &numbers(&expected)?);
    let expected = differences(&above, |above| loss(&hidden, above))?;
    assert_close(&numbers(gradients.get(&above).ok_or("no gradient")?)?, &expected);
    Ok(())
}
