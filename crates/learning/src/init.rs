//! Seeded initialisers. candle's own random kinds draw from a thread generator that cannot be seeded.

use candle_core::{Device, Tensor};
use rand::Rng;
use rand_distr::{Distribution, Normal, Uniform};

use crate::LearningError;

/// Weights uniform on (−1/√`fan_in`, 1/√`fan_in`), as PyTorch's `Linear` and `Conv2d` start.
///
/// # Shapes
/// Any `shape`; `fan_in` is the number of inputs of one output unit.
///
/// # Errors
/// Fails where the tensor cannot be placed on `device`.
///
/// # Source
/// Cloud et al. 2024, app. F.
///
/// # Panics
/// Panics if `fan_in` is zero.
pub fn uniform_fan_in(
    rng: &mut impl Rng,
    shape: &[usize],
    fan_in: usize,
    device: &Device,
) -> Result<Tensor, LearningError> {
    assert!(fan_in > 0, "fan_in must be at least 1");
    let bound = 1.0 / (fan_in as f32).sqrt();
    let uniform = Uniform::new(-bound, bound).map_err(|e| candle_core::Error::Msg(e.to_string()))?;
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| uniform.sample(rng)).collect();
    Ok(Tensor::from_vec(values, shape, device)?)
}

/// Weights normal with mean 0 and standard deviation `std`.
///
/// # Shapes
/// Any `shape`.
///
/// # Errors
/// Fails where `std` is negative or not finite, or the tensor cannot be placed on `device`.
pub fn normal(
    rng: &mut impl Rng,
    shape: &[usize],
    std: f64,
    device: &Device,
) -> Result<Tensor, LearningError> {
    // the distribution takes a negative deviation for a mirrored one
    if std < 0.0 {
        return Err(candle_core::Error::Msg(format!("the deviation of weights is negative: {std}")).into());
    }
    let normal = Normal::new(0.0, std).map_err(|e| candle_core::Error::Msg(e.to_string()))?;
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| normal.sample(rng) as f32).collect();
    Ok(Tensor::from_vec(values, shape, device)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

    #[test]
    fn stays_in_bounds_has_the_right_spread_and_repeats() {
        let draw = |seed| {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let weights = uniform_fan_in(&mut rng, &[100, 64], 64, &Device::Cpu).unwrap();
            weights.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let values = draw(7);
        assert!(values.iter().all(|v| v.abs() < 0.125));
        let variance = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
        assert!((variance - 0.125f32.powi(2) / 3.0).abs() < 2e-4, "{variance}");
        assert_eq!(values, draw(7));
        assert_ne!(values, draw(8));
    }

    #[test]
    fn normal_weights_have_the_deviation_asked_for_and_repeat() {
        let draw = || {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
            normal(&mut rng, &[6400], 0.02, &Device::Cpu).unwrap().to_vec1::<f32>().unwrap()
        };
        let values = draw();
        let deviation = (values.iter().map(|v| v * v).sum::<f32>() / 6400.0).sqrt();
        assert!((deviation - 0.02).abs() < 1e-3, "{deviation}");
        assert_eq!(values, draw());
        assert!(normal(&mut Xoshiro256PlusPlus::seed_from_u64(3), &[1], -1.0, &Device::Cpu).is_err());
    }
}
