//! Parameters that a step must leave alone.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};

use crate::parameter_masks::require_known;
use crate::{Parameters, Result, RoutingError};

/// Copies of parameters, which later steps do not change: a variable shares its memory with its clones.
///
/// # Errors
///
/// candle's, where a tensor cannot be copied.
pub fn snapshot(parameters: &Parameters) -> Result<BTreeMap<String, Tensor>> {
    let copy =
        |(name, parameter): (&String, &candle_core::Var)| Ok((name.clone(), parameter.copy()?.detach()));
    parameters.iter().map(copy).collect()
}

/// Requires that parameters have the same bits as before; for the step of an optimizer, where a gradient of zeros
/// is not enough.
///
/// ```text
/// after[p] = before[p], bit for bit, for every p of `before`
/// ```
///
/// # Shapes
///
/// Any; a parameter of another shape than before counts as changed.
///
/// # Errors
///
/// [`RoutingError::NotFrozen`] with every parameter that changed, [`RoutingError::UnknownParameter`] where one is
/// gone.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Var};
/// use gradient_routing::{Parameters, assert_frozen, snapshot};
///
/// let parameters = Parameters::from(["a", "b"].map(|name| {
///     (name.to_string(), Var::new(&[1f32, 2.], &Device::Cpu).unwrap())
/// }));
/// let mut before = snapshot(&parameters)?;
/// parameters["a"].set(&(parameters["a"].as_tensor() * 2.)?)?;
///
/// let error = assert_frozen(&before, &parameters).unwrap_err().to_string();
/// assert!(error.starts_with("`a` changed although frozen"));
/// before.remove("a"); // which may learn
/// assert_frozen(&before, &parameters)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn assert_frozen(before: &BTreeMap<String, Tensor>, after: &Parameters) -> Result<()> {
    require_known(before.keys(), after)?;
    let mut names = Vec::new();
    for (name, old) in before {
        let new = &after[name];
        if old.shape() != new.shape() || bits(old)? != bits(new)? {
            names.push(name.clone());
        }
    }
    if names.is_empty() { Ok(()) } else { Err(RoutingError::NotFrozen { names }) }
}

/// The bits of every element, in f64, which tells all numbers of the other dtypes apart.
fn bits(tensor: &Tensor) -> Result<Vec<u64>> {
    let elements = tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    Ok(elements.into_iter().map(f64::to_bits).collect())
}
