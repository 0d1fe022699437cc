//! Parameters: how they start, and how neurons are added and cut out.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use learning::{Parameters, init, require_shape};
use rand::Rng;

use super::Architecture;
use crate::Error;

/// Standard deviation of every weight at the start, as in GPT-2; the matrices that write into the residual stream
/// have it divided by the root of their number.
const STD: f64 = 0.02;

/// Fresh parameters: weights normal with deviation 0.02 (those that write into the residual stream divided by
/// √(2 · layers)), norms at 1, biases at 0.
///
/// # Errors
/// Fails where a tensor cannot be placed on `device`.
///
/// # Source
/// Radford et al. 2019 (GPT-2), section 2.3.
pub fn initial(
    architecture: &Architecture,
    rng: &mut impl Rng,
    device: &Device,
) -> Result<Parameters, Error> {
    let mut parameters = Parameters::default();
    let residual = STD / (2.0 * architecture.n_layer as f64).sqrt();
    for (name, shape) in architecture.parameters() {
        let leaf = name.rsplit('.').next().unwrap_or_default();
        let tensor = match leaf {
            "w" => Tensor::ones(shape, DType::F32, device)?,
            "W_O" | "W_out" => init::normal(rng, &shape, residual, device)?,
            _ if leaf.starts_with('W') => init::normal(rng, &shape, STD, device)?,
            _ => Tensor::zeros(shape, DType::F32, device)?,
        };
        parameters.insert(&name, &tensor)?;
    }
    Ok(parameters)
}

/// The parameters of `expanded`, with the neurons of `base` first in every MLP. New input weights are drawn as at
/// the start; new output weights too, or zero where `silent`: the model then computes what it computed before.
///
/// # Errors
/// Fails where `values` are not the parameters of `base`.
pub fn expanded(
    values: &Parameters,
    base: &Architecture,
    expanded: &Architecture,
    silent: bool,
    rng: &mut impl Rng,
) -> Result<Parameters, Error> {
    let device = values.get("embed.W_E")?.device().clone();
    let fresh = initial(expanded, rng, &device)?;
    let mut parameters = Parameters::default();
    for (name, var) in values.iter() {
        let old = var.as_detached_tensor();
        let grown = match grown(name, base, expanded) {
            Some((dim, from, to)) => {
                let new = fresh.get(name)?.as_detached_tensor().narrow(dim, from, to - from)?;
                let new = if silent && name.ends_with("W_out") { new.zeros_like()? } else { new };
                Tensor::cat(&[&old, &new], dim)?
            }
            None => old,
        };
        parameters.insert(name, &grown)?;
    }
    Ok(parameters)
}

/// Where a parameter of `expanded` is larger than that of `base`: the dimension and the channels from and to.
fn grown(name: &str, base: &Architecture, expanded: &Architecture) -> Option<(usize, usize, usize)> {
    let (layer, leaf) = name.strip_prefix("blocks.")?.split_once('.')?;
    let layer: usize = layer.parse().ok()?;
    let dim = match leaf {
        "mlp.W_in" => 1,
        "mlp.b_in" | "mlp.W_out" => 0,
        _ => return None,
    };
    let (from, to) = (base.mlp_widths[layer], expanded.mlp_widths[layer]);
    (to > from).then_some((dim, from, to))
}

/// A copy of every value, that shares nothing with `values`.
///
/// # Errors
/// Fails where a tensor cannot be copied.
pub fn copied(values: &Parameters) -> Result<Parameters, Error> {
    let mut parameters = Parameters::default();
    for (name, tensor) in values.snapshot()? {
        parameters.insert(&name, &tensor)?;
    }
    Ok(parameters)
}

/// Parameters from a map such as a checkpoint's, which must be those of `architecture`; `origin` names the map in
/// errors.
///
/// # Errors
/// Fails where a parameter is lacking, is one too many or has another shape or type.
pub fn from_map(
    values: &BTreeMap<String, Tensor>,
    architecture: &Architecture,
    origin: &str,
    device: &Device,
) -> Result<Parameters, Error> {
    let mut parameters = Parameters::default();
    for (name, shape) in architecture.parameters() {
        // nothing is made in a shape that the values do not have: `load` names what is lacking
        let shape = if let Some(tensor) = values.get(&name) {
            require_shape(tensor, &shape, DType::F32, &name, origin)?;
            shape
        } else {
            vec![0]
        };
        parameters.insert(&name, &Tensor::zeros(shape, DType::F32, device)?)?;
    }
    parameters.load(values, origin)?;
    Ok(parameters)
}
