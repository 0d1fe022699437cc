//! Relations that hold for every tensor and every mask.

use candle_core::{Device, Tensor, Var};
use gradient_routing::{ablate, remove_channels, route};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::{gradient_of_sum, numbers};

#[derive(Debug, Clone)]
struct Case {
    shape: Vec<usize>,
    x: Vec<f64>,
    above: Vec<f64>,
    mask_shape: Vec<usize>,
    mask: Vec<f64>,
}

/// A tensor of (example, token, channel), numbers to weigh its elements in the loss, and a mask in which each
/// dimension is whole or broadcast, and leading dimensions may be absent.
fn cases() -> impl Strategy<Value = Case> {
    let dimension = (0..4usize, any::<bool>());
    (prop::collection::vec(dimension, 3), 0..3usize).prop_flat_map(|(dimensions, absent)| {
        let shape = dimensions.iter().map(|&(size, _)| size).collect::<Vec<_>>();
        let mask_shape = dimensions[absent..]
            .iter()
            .map(|&(size, whole)| if whole { size } else { 1 })
            .collect::<Vec<_>>();
        let count = shape.iter().product::<usize>();
        let mask_count = mask_shape.iter().product::<usize>();
        (
            prop::collection::vec(-3.0..3.0, count),
            prop::collection::vec(-3.0..3.0, count),
            prop::collection::vec(prop_oneof![Just(0.), Just(1.), -2.0..2.0], mask_count),
        )
            .prop_map(move |(x, above, mask)| Case {
                shape: shape.clone(),
                x,
                above,
                mask_shape: mask_shape.clone(),
                mask,
            })
    })
}

impl Case {
    fn tensors(self) -> candle_core::Result<(Var, Tensor, Tensor)> {
        Ok((
            Var::from_vec(self.x, self.shape.as_slice(), &Device::Cpu)?,
            Tensor::from_vec(self.above, self.shape.as_slice(), &Device::Cpu)?,
            Tensor::from_vec(self.mask, self.mask_shape.as_slice(), &Device::Cpu)?,
        ))
    }
}

fn fail(error: impl std::fmt::Display) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

proptest! {
    #[test]
    fn mask_and_complement_add_up_to_the_full_gradient(case in cases()) {
        let (x, above, mask) = case.tensors().map_err(fail)?;
        let loss = |y: &Tensor| y.sin().and_then(|y| y * &above);
        let gradient = |y: &Tensor| gradient_of_sum(&loss(y).map_err(fail)?, &x).map_err(fail);
        let complement = (1. - &mask).map_err(fail)?;
        let full = gradient(&x)?;
        let routed = gradient(&route(&x, &mask).map_err(fail)?)?;
        let rest = gradient(&route(&x, &complement).map_err(fail)?)?;
        for (i, full) in full.into_iter().enumerate() {
            prop_assert!((routed[i] + rest[i] - full).abs() <= 1e-12 * (1. + full.abs()));
        }
    }

    /// The loss is linear above the mask, so that the rounding in the forward pass of the composition does not
    /// reach its gradient: the two are equal to the bit.
    #[test]
    fn equals_the_composition_with_stop_gradient(case in cases()) {
        let (x, above, mask) = case.tensors().map_err(fail)?;
        let below = x.sin().map_err(fail)?;
        let composed = below.broadcast_mul(&mask)
            .and_then(|kept| kept + below.detach().broadcast_mul(&(1. - &mask)?)?)
            .and_then(|y| y * &above)
            .map_err(fail)?;
        let routed = (route(&below, &mask).map_err(fail)? * &above).map_err(fail)?;
        prop_assert_eq!(
            gradient_of_sum(&routed, &x).map_err(fail)?,
            gradient_of_sum(&composed, &x).map_err(fail)?
        );
    }

    #[test]
    fn forward_is_the_identity(case in cases()) {
        let (x, _, mask) = case.tensors().map_err(fail)?;
        let y = route(&x, &mask).map_err(fail)?;
        prop_assert_eq!(y.shape(), x.shape());
        let bits = |x: &Tensor| -> Result<Vec<u64>, TestCaseError> {
            Ok(numbers(x).map_err(fail)?.into_iter().map(f64::to_bits).collect())
        };
        prop_assert_eq!(bits(&y)?, bits(&x)?);
    }

    /// What a linear layer sends on is the same whether its units are set to zero or cut out.
    #[test]
    fn ablated_and_removed_units_send_on_the_same(
        hidden in prop::collection::vec(-3.0..3.0, 8),
        weight in prop::collection::vec(-3.0..3.0, 8),
        channels in prop::collection::vec(0..4usize, 0..6),
    ) {
        let hidden = Tensor::from_vec(hidden, (2, 4), &Device::Cpu).map_err(fail)?;
        let weight = Tensor::from_vec(weight, (4, 2), &Device::Cpu).map_err(fail)?;
        let ablated = ablate(&hidden, 1, &channels).map_err(fail)?.matmul(&weight).map_err(fail)?;
        match remove_channels(&hidden, 1, &channels) {
            Err(_) => prop_assert_eq!(numbers(&ablated).map_err(fail)?, vec![0.; 4]),
            Ok(smaller) => {
                let smaller_weight = remove_channels(&weight, 0, &channels).map_err(fail)?;
                let removed = smaller.matmul(&smaller_weight).map_err(fail)?;
                let pairs = numbers(&ablated).map_err(fail)?.into_iter().zip(numbers(&removed).map_err(fail)?);
                for (ablated, removed) in pairs {
                    prop_assert!((ablated - removed).abs() <= 1e-12);
                }
            }
        }
    }
}
