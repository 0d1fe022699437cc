//! Forward masks and ablation.

use candle_core::{D, DType, Device, Tensor, Var};
use gradient_routing::{RoutingError, ablate, ablate_parameter, mask_channels, remove_channels};

use crate::{Outcome, gradient_of_sum, numbers};

#[test]
fn channel_weights_multiply_both_passes_and_get_no_gradient() -> Outcome {
    let x = Var::from_vec(vec![1f32, 2., 3., 4.], (1, 2, 2), &Device::Cpu)?;
    let weights = Var::new(&[0.5f64, -1.], &Device::Cpu)?;
    for (dim, expected) in [(1, [0.5, 1., -3., -4.]), (2, [0.5, -2., 1.5, -4.])] {
        let y = mask_channels(&x, dim, &weights)?;
        assert_eq!(numbers(&y)?, expected);
        let gradients = y.sum_all()?.backward()?;
        assert!(gradients.get(&weights).is_none());
        let slope = expected.iter().zip([1., 2., 3., 4.]).map(|(y, x)| y / x).collect::<Vec<_>>();
        assert_eq!(numbers(gradients.get(&x).ok_or("no gradient")?)?, slope);
    }
    Ok(())
}

#[test]
fn channel_weights_of_another_size_are_refused() -> Outcome {
    let x = Tensor::zeros((2, 3), DType::F32, &Device::Cpu)?;
    let shapes: [&[usize]; 4] = [&[], &[1], &[2], &[1, 3]];
    for shape in shapes {
        let error = mask_channels(&x, 1, &Tensor::zeros(shape, DType::F32, &Device::Cpu)?).unwrap_err();
        assert!(matches!(error, RoutingError::ChannelWeights { dim: 1, .. }), "{error}");
    }
    let integers = Tensor::zeros((2, 3), DType::U32, &Device::Cpu)?;
    let weights = Tensor::zeros(3, DType::F32, &Device::Cpu)?;
    assert!(matches!(mask_channels(&integers, 1, &weights).unwrap_err(), RoutingError::NotFloat { .. }));
    Ok(())
}

#[test]
fn ablation_zeroes_value_and_gradient_whatever_is_there() -> Outcome {
    let x = Var::new(&[[f32::NAN, -0.0, 3.], [f32::INFINITY, 5., 6.]], &Device::Cpu)?;
    let y = ablate(&x, D::Minus1, &[0, 0])?;
    let bits = y.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    assert_eq!(bits, [0., -0.0, 3., 0., 5., 6.].map(f32::to_bits));
    assert_eq!(gradient_of_sum(&y, &x)?, [0., 1., 1., 0., 1., 1.]);
    let infinite = (y * f64::INFINITY)?;
    assert_eq!(gradient_of_sum(&infinite, &x)?[..2], [0., f64::INFINITY]);
    Ok(())
}

#[test]
fn ablation_takes_any_dimension_any_layout_and_an_empty_batch() -> Outcome {
    let x = Tensor::new(&[[1f32, 2.], [3., 4.], [5., 6.]], &Device::Cpu)?;
    assert_eq!(numbers(&ablate(&x, 0, &[2, 0])?)?, [0., 0., 3., 4., 0., 0.]);
    assert_eq!(numbers(&ablate(&x.t()?, 0, &[0])?)?, [0., 0., 0., 2., 4., 6.]);
    assert_eq!(numbers(&ablate(&x, 0, &[])?)?, numbers(&x)?);
    let empty = Tensor::zeros((0, 2), DType::F32, &Device::Cpu)?;
    assert_eq!(ablate(&empty, 1, &[1])?.dims(), [0, 2]);
    assert_eq!(remove_channels(&empty, 1, &[1])?.dims(), [0, 1]);
    Ok(())
}

#[test]
fn removed_channels_leave_the_rest_in_order_with_its_gradient() -> Outcome {
    let x = Var::new(&[[1f32, 2., 3.], [4., 5., 6.]], &Device::Cpu)?;
    let y = remove_channels(&x, D::Minus1, &[1])?;
    assert_eq!(y.to_vec2::<f32>()?, [[1., 3.], [4., 6.]]);
    assert_eq!(gradient_of_sum(&y, &x)?, [1., 0., 1., 1., 0., 1.]);
    assert_eq!(remove_channels(&x, 0, &[])?.to_vec2::<f32>()?, x.to_vec2::<f32>()?);
    Ok(())
}

#[test]
fn channels_that_do_not_exist_are_refused() -> Outcome {
    let x = Var::zeros((2, 3), DType::F32, &Device::Cpu)?;
    let errors = [
        ablate(&x, 1, &[0, 3]).unwrap_err(),
        remove_channels(&x, 1, &[3]).unwrap_err(),
        ablate_parameter(&x, 1, &[3]).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(
            error.to_string(),
            "no channel 3 in dimension 1 of [2, 3]: channels count from 0 to its size less one"
        );
    }
    assert!(ablate(&x, 2, &[0]).is_err());
    let error = remove_channels(&x, 0, &[1, 0]).unwrap_err();
    assert!(matches!(error, RoutingError::NoChannelLeft { dim: 0, .. }), "{error}");
    Ok(())
}

#[test]
fn parameter_is_ablated_in_place() -> Outcome {
    let weight = Var::new(&[[1f32, 2.], [3., 4.]], &Device::Cpu)?;
    let in_the_model = weight.as_tensor().clone();
    ablate_parameter(&weight, 1, &[])?;
    assert_eq!(numbers(&in_the_model)?, [1., 2., 3., 4.]);
    ablate_parameter(&weight, 1, &[0])?;
    assert_eq!(numbers(&in_the_model)?, [0., 2., 0., 4.]);
    assert!(weight.is_variable());
    Ok(())
}
