//! Masks on the gradients of the parameters, class by class.

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use gradient_routing::{
    ParameterMask, ParameterMasks, Parameters, RoutingError, routed_gradients, sum_gradients,
};

use crate::{Outcome, numbers};

/// Two parameters of two elements each.
fn parameters() -> candle_core::Result<Parameters> {
    Ok(Parameters::from([
        ("a".to_string(), Var::new(&[1f64, 2.], &Device::Cpu)?),
        ("b".to_string(), Var::new(&[3f64, 4.], &Device::Cpu)?),
    ]))
}

/// A loss whose gradient is 1, 1 at `a` and 2, 2 at `b`.
fn loss(parameters: &Parameters) -> candle_core::Result<Tensor> {
    (parameters["a"].as_tensor() + (parameters["b"].as_tensor() * 2.)?)?.sum_all()
}

fn entry(gradients: &GradStore, parameter: &Var) -> Result<Option<Vec<f64>>, Box<dyn std::error::Error>> {
    gradients.get(parameter).map(numbers).transpose()
}

fn weights(values: &[f64]) -> candle_core::Result<ParameterMask> {
    Ok(ParameterMask::Weights(Tensor::new(values, &Device::Cpu)?))
}

#[test]
fn each_mask_does_what_its_name_says() -> Outcome {
    let parameters = parameters()?;
    let cases = [
        ("untouched", ParameterMasks::new(), Some(vec![2., 2.])),
        ("weights", ParameterMasks::new().with("b", weights(&[0.5, -3.])?), Some(vec![1., -6.])),
        ("one weight for all", ParameterMasks::new().with("b", weights(&[0.25])?), Some(vec![0.5, 0.5])),
        ("zero", ParameterMasks::new().with("b", ParameterMask::ZeroGradient), Some(vec![0., 0.])),
        ("skip", ParameterMasks::new().with("b", ParameterMask::SkipUpdate), None),
        (
            "otherwise",
            ParameterMasks::new().otherwise(ParameterMask::SkipUpdate).with("a", weights(&[1.])?),
            None,
        ),
        (
            "by name before otherwise",
            ParameterMasks::new().with("b", weights(&[3.])?).otherwise(weights(&[1.])?),
            Some(vec![6., 6.]),
        ),
        (
            "the last of a name",
            ParameterMasks::new().with("b", ParameterMask::SkipUpdate).with("b", weights(&[3.])?),
            Some(vec![6., 6.]),
        ),
    ];
    for (name, masks, at_b) in cases {
        let mut gradients = loss(&parameters)?.backward()?;
        masks.apply(&parameters, &mut gradients)?;
        assert_eq!(entry(&gradients, &parameters["a"])?, Some(vec![1., 1.]), "{name}");
        assert_eq!(entry(&gradients, &parameters["b"])?, at_b, "{name}");
    }
    Ok(())
}

#[test]
fn without_a_gradient_weights_leave_none_and_zero_gives_zeros() -> Outcome {
    let parameters = parameters()?;
    let only_a = || parameters["a"].sum_all()?.backward();
    let mut gradients = only_a()?;
    ParameterMasks::new().with("b", weights(&[1., 1.])?).apply(&parameters, &mut gradients)?;
    assert_eq!(entry(&gradients, &parameters["b"])?, None);
    let mut gradients = only_a()?;
    ParameterMasks::new().with("b", ParameterMask::ZeroGradient).apply(&parameters, &mut gradients)?;
    assert_eq!(entry(&gradients, &parameters["b"])?, Some(vec![0., 0.]));
    Ok(())
}

#[test]
fn zero_gradient_replaces_what_is_not_finite() -> Outcome {
    let parameters = parameters()?;
    let mut gradients = (parameters["a"].as_tensor() * f64::NAN)?.sum_all()?.backward()?;
    ParameterMasks::new().with("a", ParameterMask::ZeroGradient).apply(&parameters, &mut gradients)?;
    assert_eq!(entry(&gradients, &parameters["a"])?, Some(vec![0., 0.]));
    Ok(())
}

#[test]
fn mask_is_a_constant_of_any_dtype() -> Outcome {
    let parameters = parameters()?;
    let learned = Var::new(&[0f32, 0.5], &Device::Cpu)?;
    let masks = ParameterMasks::new().with("a", ParameterMask::Weights(learned.as_tensor().clone()));
    let mut gradients = loss(&parameters)?.backward()?;
    masks.apply(&parameters, &mut gradients)?;
    assert_eq!(entry(&gradients, &parameters["a"])?, Some(vec![0., 0.5]));
    assert!(!gradients.get(&parameters["a"]).ok_or("no gradient")?.track_op());
    Ok(())
}

#[test]
fn faulty_masks_are_refused_and_change_nothing() -> Outcome {
    let parameters = parameters()?;
    let mut gradients = loss(&parameters)?.backward()?;

    let misspelt = ParameterMasks::new()
        .with("a", ParameterMask::SkipUpdate)
        .with("c", ParameterMask::SkipUpdate)
        .with("d", ParameterMask::SkipUpdate);
    let error = misspelt.apply(&parameters, &mut gradients).unwrap_err();
    assert_eq!(error.to_string(), "no parameter named `c`, `d`: the parameters are `a`, `b`");

    let misshapen = ParameterMasks::new().with("a", ParameterMask::SkipUpdate).with("b", weights(&[1.; 3])?);
    let error = misshapen.apply(&parameters, &mut gradients).unwrap_err();
    assert!(error.to_string().starts_with("parameter `b`: mask [3] does not broadcast to [2]"), "{error}");
    assert!(matches!(error, RoutingError::Parameter { .. }));

    assert_eq!(entry(&gradients, &parameters["a"])?, Some(vec![1., 1.]));
    assert_eq!(entry(&gradients, &parameters["b"])?, Some(vec![2., 2.]));
    Ok(())
}

#[test]
fn classes_add_up_after_their_masks() -> Outcome {
    let parameters = parameters()?;
    let everywhere = ParameterMasks::new();
    let skips_b = ParameterMasks::new().with("b", ParameterMask::SkipUpdate).with("a", weights(&[0., -1.])?);
    let zeroes_b = ParameterMasks::new().with("b", ParameterMask::ZeroGradient);
    let loss = loss(&parameters)?;
    let cases = [
        (vec![&everywhere, &everywhere], vec![2., 2.], Some(vec![4., 4.])),
        (vec![&everywhere, &skips_b], vec![1., 0.], Some(vec![2., 2.])),
        (vec![&skips_b, &skips_b], vec![0., -2.], None),
        (vec![&skips_b, &zeroes_b], vec![1., 0.], Some(vec![0., 0.])),
        (vec![&everywhere, &skips_b, &zeroes_b], vec![2., 1.], Some(vec![2., 2.])),
    ];
    for (masks, at_a, at_b) in cases {
        let classes = masks.into_iter().map(|masks| (loss.clone(), masks)).collect::<Vec<_>>();
        let gradients = routed_gradients(&parameters, &classes)?;
        assert_eq!(entry(&gradients, &parameters["a"])?, Some(at_a));
        assert_eq!(entry(&gradients, &parameters["b"])?, at_b);
    }
    Ok(())
}

#[test]
fn sum_of_no_stores_has_no_entries() -> Outcome {
    let parameters = parameters()?;
    let sum = sum_gradients(&parameters, &[])?;
    assert_eq!(sum.get_ids().count(), 0);
    Ok(())
}

/// After one ordinary step, a second one under `mask`; the parameter before and after it.
fn second_step(weight_decay: f64, mask: ParameterMask) -> Result<[Vec<f64>; 2], Box<dyn std::error::Error>> {
    let parameters = parameters()?;
    let settings = ParamsAdamW { lr: 0.1, weight_decay, ..ParamsAdamW::default() };
    let mut optimizer = AdamW::new(parameters.values().cloned().collect(), settings)?;
    optimizer.backward_step(&loss(&parameters)?)?;
    let before = numbers(&parameters["b"])?;
    let masks = ParameterMasks::new().with("b", mask);
    optimizer.step(&routed_gradients(&parameters, &[(loss(&parameters)?, &masks)])?)?;
    Ok([before, numbers(&parameters["b"])?])
}

/// m̂ and v̂ of a gradient of 2 and then 0, after two steps.
fn moments_after_a_zero() -> (f64, f64) {
    let (beta1, beta2) = (0.9, 0.999f64);
    let m = beta1 * (1. - beta1) * 2. / (1. - beta1 * beta1);
    let v = beta2 * (1. - beta2) * 4. / (1. - beta2 * beta2);
    (m, v)
}

#[test]
fn adam_moves_a_parameter_whose_gradient_is_zero_by_its_moments_and_its_decay() -> Outcome {
    let (m, v) = moments_after_a_zero();
    for decay in [0., 0.5] {
        let [before, after] = second_step(decay, ParameterMask::ZeroGradient)?;
        for (before, after) in before.into_iter().zip(after) {
            let expected = before * (1. - 0.1 * decay) - 0.1 * m / (v.sqrt() + 1e-8);
            assert!((after - before).abs() > 0.05);
            assert!((after - expected).abs() < 1e-12, "{after} instead of {expected}");
        }
    }
    Ok(())
}

#[test]
fn adam_moves_a_parameter_under_a_mask_of_zeros_just_the_same() -> Outcome {
    let zeros = weights(&[0., 0.])?;
    assert_eq!(second_step(0.5, zeros)?, second_step(0.5, ParameterMask::ZeroGradient)?);
    Ok(())
}

#[test]
fn adam_leaves_a_skipped_parameter_alone() -> Outcome {
    for decay in [0., 0.5] {
        let [before, after] = second_step(decay, ParameterMask::SkipUpdate)?;
        assert_eq!(before, after);
    }
    Ok(())
}
