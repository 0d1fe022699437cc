//! Rotary positions, and heads that share keys and values, in candle operations.

use std::ops::Range;

use candle_core::{D, DType, Device, Tensor};

use crate::Error;

/// The base of the angles in this crate's own networks.
pub(crate) const ROPE_THETA: f64 = 10_000.0;

/// Cosines and sines of the angles by which pairs of channels are turned.
///
/// ```text
/// angle of pair i at place t = t · theta^(−2i / width)
/// ```
///
/// # Shapes
/// (places, width / 2) each.
///
/// # Errors
/// Fails where a tensor cannot be placed on `device`.
///
/// # Source
/// Su et al. 2021, arXiv 2104.09864.
pub fn turns(
    places: Range<usize>,
    width: usize,
    theta: f64,
    dtype: DType,
    device: &Device,
) -> Result<[Tensor; 2], Error> {
    let half = width / 2;
    let shape = (places.len(), half);
    let angles: Vec<f64> = places
        .flat_map(|place| (0..half).map(move |pair| (place, pair)))
        .map(|(place, pair)| place as f64 * theta.powf(-2.0 * pair as f64 / width as f64))
        .collect();
    let table = |f: fn(f64) -> f64| -> Result<Tensor, Error> {
        let values: Vec<f64> = angles.iter().map(|angle| f(*angle)).collect();
        Ok(Tensor::from_vec(values, shape, device)?.to_dtype(dtype)?)
    };
    Ok([table(f64::cos)?, table(f64::sin)?])
}

/// Queries or keys (…, places, channels) after each channel i of the first `width` was turned against i + width / 2.
///
/// # Errors
/// Fails where the shapes do not fit.
pub fn turned(x: &Tensor, [cos, sin]: &[Tensor; 2], width: usize) -> Result<Tensor, Error> {
    let (half, whole) = (width / 2, x.dim(D::Minus1)?);
    if half == 0 {
        return Ok(x.clone());
    }
    let (low, high) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
    let first = (low.broadcast_mul(cos)? - high.broadcast_mul(sin)?)?;
    let second = (high.broadcast_mul(cos)? + low.broadcast_mul(sin)?)?;
    if whole == width {
        return Ok(Tensor::cat(&[first, second], D::Minus1)?);
    }
    Ok(Tensor::cat(&[first, second, x.narrow(D::Minus1, width, whole - width)?], D::Minus1)?)
}

/// Keys or values (sequences, groups, tokens, width) for each of `heads` heads, of which as many neighbours as fit share
/// a group.
///
/// # Errors
/// Fails where the shapes do not fit.
pub fn shared(x: &Tensor, heads: usize) -> Result<Tensor, Error> {
    let (sequences, groups, tokens, width) = x.dims4()?;
    if groups == heads {
        return Ok(x.contiguous()?);
    }
    let each = x.unsqueeze(2)?.broadcast_as((sequences, groups, heads / groups, tokens, width))?;
    Ok(each.contiguous()?.reshape((sequences, heads, tokens, width))?)
}
