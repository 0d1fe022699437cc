//! `route`, `scale` and `stop`: identity forward, weight backward.

use candle_core::{DType, Device, Tensor, Var};
use gradient_routing::{RoutingError, route, scale, stop};

use crate::{Outcome, gradient_of_sum, numbers};

fn bits(x: &Tensor) -> Result<Vec<u32>, candle_core::Error> {
    Ok(x.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect())
}

fn special_values() -> Vec<f32> {
    let payload = f32::from_bits(0x7fc0_1234);
    let negative_nan = f32::from_bits(0xffc0_0001);
    let subnormal = f32::from_bits(1);
    vec![
        payload,
        negative_nan,
        -0.0,
        0.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        subnormal,
        f32::MAX,
        0.1,
        -1.5,
        3.0,
        7.0,
    ]
}

#[test]
fn forward_is_the_identity_bit_for_bit() -> Outcome {
    let values = special_values();
    let x = Var::from_vec(values.clone(), (3, 4), &Device::Cpu)?;
    let expected = values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let mask = Tensor::new(&[0f32, 1., -0.75, 0.5], &Device::Cpu)?;
    assert_eq!(bits(&route(&x, &mask)?)?, expected);
    assert_eq!(bits(&scale(&x, 0.)?)?, expected);
    assert_eq!(bits(&stop(&x))?, expected);
    Ok(())
}

#[test]
fn forward_keeps_f64_and_the_half_precisions() -> Outcome {
    let values = vec![1. / 3., -0.0, f64::MIN_POSITIVE, 1e300];
    let x = Var::from_vec(values.clone(), 4, &Device::Cpu)?;
    let y = scale(&x, 2.)?.to_vec1::<f64>()?;
    assert!(y.iter().zip(&values).all(|(y, x)| y.to_bits() == x.to_bits()));
    for dtype in [DType::F16, DType::BF16] {
        let x = Var::from_tensor(&Tensor::new(&[0.1f32, -2., 65504.], &Device::Cpu)?.to_dtype(dtype)?)?;
        let y = route(&x, &Tensor::new(&[1f32, 0., 0.5], &Device::Cpu)?)?;
        assert_eq!(y.dtype(), dtype);
        assert_eq!(numbers(&y)?, numbers(&x)?);
        assert_eq!(gradient_of_sum(&y, &x)?, [1., 0., 0.5]);
    }
    Ok(())
}

#[test]
fn views_are_read_through_their_strides_and_offsets() -> Outcome {
    let x = Var::from_vec(special_values(), (3, 4), &Device::Cpu)?;
    let views = [
        ("transposed", x.t()?),
        ("rows from an offset", x.narrow(0, 1, 2)?),
        ("columns from an offset", x.narrow(1, 1, 2)?),
        ("transposed columns", x.narrow(1, 2, 2)?.t()?),
        ("one row broadcast", x.narrow(0, 2, 1)?.broadcast_as((5, 4))?),
        ("no rows", x.narrow(0, 3, 0)?),
        ("no columns", x.narrow(1, 4, 0)?),
    ];
    for (name, view) in views {
        let y = scale(&view, 1.)?;
        assert_eq!(y.shape(), view.shape(), "{name}");
        assert!(y.is_contiguous(), "{name}");
        assert_eq!(bits(&y)?, bits(&view)?, "{name}");
    }
    Ok(())
}

#[test]
fn gradient_passes_through_a_view() -> Outcome {
    let x = Var::from_vec(vec![1f64, 2., 3., 4., 5., 6.], (2, 3), &Device::Cpu)?;
    let mask = Tensor::new(&[[1f64, 2.], [3., 4.], [5., 6.]], &Device::Cpu)?;
    assert_eq!(gradient_of_sum(&route(&x.t()?, &mask)?, &x)?, [1., 3., 5., 2., 4., 6.]);
    assert_eq!(
        gradient_of_sum(&route(&x.narrow(1, 1, 2)?, &mask.narrow(0, 1, 2)?)?, &x)?,
        [0., 3., 4., 0., 5., 6.]
    );
    Ok(())
}

#[test]
fn mask_weighs_example_token_or_channel() -> Outcome {
    let x = Var::from_vec((0..8).map(f64::from).collect::<Vec<_>>(), (2, 2, 2), &Device::Cpu)?;
    let cases = [
        ("example", vec![2, 1, 1], vec![1., 0.], [1., 1., 1., 1., 0., 0., 0., 0.]),
        ("token", vec![2, 1], vec![1., 0.], [1., 1., 0., 0., 1., 1., 0., 0.]),
        ("channel", vec![2], vec![1., 0.], [1., 0., 1., 0., 1., 0., 1., 0.]),
        ("example and token", vec![2, 2, 1], vec![1., 2., 3., 4.], [1., 1., 2., 2., 3., 3., 4., 4.]),
        ("example and channel", vec![2, 1, 2], vec![1., 2., 3., 4.], [1., 2., 1., 2., 3., 4., 3., 4.]),
        (
            "everything",
            vec![2, 2, 2],
            vec![1., -0.75, -5e-8, 0.25, 0., 3., 4., -1.],
            [1., -0.75, -5e-8, 0.25, 0., 3., 4., -1.],
        ),
        ("one number", vec![], vec![-0.75], [-0.75; 8]),
    ];
    for (name, shape, weights, expected) in cases {
        let mask = Tensor::from_vec(weights, shape, &Device::Cpu)?;
        assert_eq!(gradient_of_sum(&route(&x, &mask)?, &x)?, expected, "{name}");
    }
    Ok(())
}

#[test]
fn mask_that_would_enlarge_is_refused_with_both_shapes() -> Outcome {
    let x = Var::zeros((2, 3), DType::F32, &Device::Cpu)?;
    let shapes: [&[usize]; 5] = [&[4, 2, 3], &[1, 2, 3], &[2], &[3, 1], &[2, 2]];
    for tracked in [x.as_tensor().clone(), stop(&x)] {
        for shape in shapes {
            let error = route(&tracked, &Tensor::zeros(shape, DType::F32, &Device::Cpu)?).unwrap_err();
            assert!(matches!(error, RoutingError::MaskShape { .. }), "{error}");
            let message = error.to_string();
            assert!(message.contains(&format!("mask {shape:?} does not broadcast to [2, 3]")), "{message}");
        }
    }
    let narrow = Var::zeros((2, 1), DType::F32, &Device::Cpu)?;
    assert!(route(&narrow, &Tensor::zeros((2, 3), DType::F32, &Device::Cpu)?).is_err());
    Ok(())
}

#[test]
fn integers_are_refused() -> Outcome {
    let x = Tensor::new(&[1u32, 2], &Device::Cpu)?;
    let one = Tensor::new(1f32, &Device::Cpu)?;
    assert!(matches!(route(&x, &one).unwrap_err(), RoutingError::NotFloat { dtype: DType::U32 }));
    assert!(matches!(scale(&x, 1.).unwrap_err(), RoutingError::NotFloat { dtype: DType::U32 }));
    Ok(())
}

#[test]
fn mask_is_a_constant_of_any_dtype() -> Outcome {
    let x = Var::new(&[1f32, 2., 3.], &Device::Cpu)?;
    let learned = Var::new(&[0.5f64, 1., 0.], &Device::Cpu)?;
    let y = route(&x, &(learned.as_tensor() * 2.)?)?;
    let gradients = (&y * &y)?.sum_all()?.backward()?;
    assert!(gradients.get(&learned).is_none());
    let gradient = gradients.get(&x).ok_or("no gradient")?;
    assert_eq!(gradient.dtype(), DType::F32);
    assert_eq!(numbers(gradient)?, [2., 8., 0.]);

    let comparison = x.gt(1.5f32)?;
    assert_eq!(comparison.dtype(), DType::U8);
    assert_eq!(gradient_of_sum(&route(&x, &comparison)?, &x)?, [0., 1., 1.]);
    Ok(())
}

#[test]
fn zero_weight_before_a_deep_graph_gives_zeros_and_does_not_panic() -> Outcome {
    let x = Var::new(&[[0.3f64, -0.2]], &Device::Cpu)?;
    let weight = Var::new(&[[1f64, 2.], [3., 4.]], &Device::Cpu)?;
    let deep = x.tanh()?.matmul(&weight)?.sqr()?.exp()?;
    for routed in [scale(&deep, 0.)?, route(&deep, &Tensor::new(0f64, &Device::Cpu)?)?] {
        assert_eq!(gradient_of_sum(&routed.sqr()?, &x)?, [0.; 2]);
        assert_eq!(gradient_of_sum(&routed.sqr()?, &weight)?, [0.; 4]);
    }
    Ok(())
}

#[test]
fn stop_leaves_no_entry_and_scale_by_zero_leaves_zeros() -> Outcome {
    let x = Var::new(&[2f64, 3.], &Device::Cpu)?;
    assert!(stop(&x.sqr()?).sum_all()?.backward()?.get(&x).is_none());
    assert_eq!(gradient_of_sum(&scale(&x.sqr()?, 0.)?, &x)?, [0., 0.]);
    Ok(())
}

#[test]
fn weights_multiply_along_a_path_and_add_up_over_paths() -> Outcome {
    let x = Var::new(&[2f64], &Device::Cpu)?;
    let twice = scale(&scale(&x, 0.5)?, -3.)?;
    assert_eq!(gradient_of_sum(&twice, &x)?, [-1.5]);
    let both = (scale(&x, 0.5)? + scale(&x, 4.)?)?;
    assert_eq!(gradient_of_sum(&both, &x)?, [4.5]);
    Ok(())
}

#[test]
fn without_a_graph_nothing_is_copied() -> Outcome {
    let x = Tensor::new(&[1f32, 2.], &Device::Cpu)?;
    assert_eq!(route(&x, &Tensor::new(&[0f32, 1.], &Device::Cpu)?)?.id(), x.id());
    assert_eq!(scale(&x, 3.)?.id(), x.id());
    Ok(())
}

#[test]
fn empty_batch_trains_nothing_and_fails_nowhere() -> Outcome {
    let inputs = Tensor::zeros((0, 3), DType::F64, &Device::Cpu)?;
    let weight = Var::ones((3, 2), DType::F64, &Device::Cpu)?;
    let mask_shapes: [&[usize]; 4] = [&[0, 2], &[0, 1], &[1, 2], &[2]];
    for shape in mask_shapes {
        let hidden = route(&inputs.matmul(&weight)?, &Tensor::ones(shape, DType::F64, &Device::Cpu)?)?;
        assert_eq!(hidden.dims(), [0, 2]);
        assert_eq!(gradient_of_sum(&hidden, &weight)?, [0.; 6]);
    }
    Ok(())
}

#[test]
fn gradient_that_is_not_finite_is_not_hidden() -> Outcome {
    let x = Var::new(&[1f32], &Device::Cpu)?;
    let overflow = (scale(&x, 0.)? * f64::INFINITY)?;
    assert!(gradient_of_sum(&overflow, &x)?[0].is_nan());
    Ok(())
}

#[test]
fn question_mark_works_in_a_function_of_candle() {
    fn model() -> candle_core::Result<Tensor> {
        let x = Tensor::new(&[1u8], &Device::Cpu)?;
        Ok(scale(&x, 1.)?)
    }
    assert!(model().unwrap_err().to_string().starts_with("cannot route a tensor of U8"));
}
