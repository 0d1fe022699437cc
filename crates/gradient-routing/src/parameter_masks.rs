//! Routing at the parameters: masks on the gradients of one class's loss, summed over the classes.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use crate::mask::constant_like;
use crate::{Result, RoutingError};

/// The variables of a model by name, in an order that does not change from run to run.
///
/// From candle's `VarMap`, whose own order does: `varmap.data().lock().unwrap().clone().into_iter().collect()`.
pub type Parameters = BTreeMap<String, Var>;

/// What happens to the gradient of one parameter.
///
/// The last two are different things under any optimizer with state. With Adam, gradient `g`, moments `m` and
/// `v`, learning rate `η` and decoupled weight decay `λ` (`m̂`, `v̂` corrected for bias):
///
/// ```text
/// ZeroGradient:   g = 0, so   m ← β₁ m    v ← β₂ v    θ ← (1 − η λ) θ − η m̂ / (√v̂ + ε)     the parameter moves
/// SkipUpdate:     no g, so    m, v and θ stay as they are                                    it does not
/// ```
///
/// (candle's `AdamW` counts its steps for all parameters together, so the bias correction of a later update
/// counts the skipped steps too.)
#[derive(Debug, Clone)]
pub enum ParameterMask {
    /// `g ← mask ⊙ g`, with a mask of the shape of the parameter or broadcastable to it. Without a gradient
    /// there is none afterwards either. Elements under a weight of 0 have a zero gradient: an optimizer skips
    /// whole parameters only. An infinite or NaN gradient is not hidden by a weight of 0.
    Weights(Tensor),
    /// `g ← 0`: an entry of zeros, also where the loss does not reach the parameter or its gradient is not
    /// finite. An optimizer with moments or weight decay still moves the parameter.
    ZeroGradient,
    /// The entry is removed from the store: an optimizer leaves the parameter and its moments alone.
    SkipUpdate,
}

/// The masks of one class of data, by the name of the parameter. A parameter without one keeps its gradient.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use gradient_routing::{ParameterMask, ParameterMasks, Parameters};
///
/// let weight = Var::new(&[1f32, 2.], &Device::Cpu)?;
/// let bias = Var::new(&[0f32, 0.], &Device::Cpu)?;
/// let parameters =
///     Parameters::from([("weight".to_string(), weight.clone()), ("bias".to_string(), bias.clone())]);
///
/// let to_forget = ParameterMasks::new()
///     .with("weight", ParameterMask::Weights(Tensor::new(&[1f32, 0.], &Device::Cpu)?))
///     .with("bias", ParameterMask::SkipUpdate);
///
/// let mut gradients = (weight.as_tensor() + bias.as_tensor())?.sum_all()?.backward()?;
/// to_forget.apply(&parameters, &mut gradients)?;
/// assert_eq!(gradients.get(&weight).unwrap().to_vec1::<f32>()?, [1., 0.]);
/// assert!(gradients.get(&bias).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
///
/// Cloud et al. 2024, arXiv 2410.04332, section 3 (weights on the edges into the parameters).
#[derive(Debug, Clone, Default)]
pub struct ParameterMasks {
    named: BTreeMap<String, ParameterMask>,
    otherwise: Option<ParameterMask>,
}

impl ParameterMasks {
    /// No masks: every gradient passes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the mask of one parameter, in place of an earlier one of that name.
    pub fn with(mut self, name: impl Into<String>, mask: ParameterMask) -> Self {
        self.named.insert(name.into(), mask);
        self
    }

    /// Sets the mask of every parameter that has none by name. `otherwise(SkipUpdate)` confines a class to the
    /// parameters that are named.
    pub fn otherwise(mut self, mask: ParameterMask) -> Self {
        self.otherwise = Some(mask);
        self
    }

    /// Applies the masks to the gradients of one class's loss.
    ///
    /// ```text
    /// g[p] ← mask[p] ⊙ g[p]      g[p] ← 0      or no g[p],      as the mask of p says
    /// ```
    ///
    /// # Shapes
    ///
    /// A mask of weights has the shape of its parameter or broadcasts to it; it is converted to its dtype.
    ///
    /// # Errors
    ///
    /// [`RoutingError::UnknownParameter`] where a mask names none of `parameters`, [`RoutingError::Parameter`]
    /// where one does not fit. The gradients are then unchanged.
    ///
    /// # Source
    ///
    /// Cloud et al. 2024, arXiv 2410.04332, section 3.
    pub fn apply(&self, parameters: &Parameters, gradients: &mut GradStore) -> Result<()> {
        require_known(self.named.keys(), parameters)?;
        let mut masked = Vec::new();
        for (name, parameter) in parameters {
            let Some(mask) = self.named.get(name).or(self.otherwise.as_ref()) else { continue };
            let gradient = match mask {
                ParameterMask::Weights(weights) => {
                    let weights = constant_like(weights, parameter).map_err(|source| {
                        RoutingError::Parameter { name: name.clone(), source: Box::new(source) }
                    })?;
                    gradients.get(parameter).map(|gradient| gradient.mul(&weights)).transpose()?
                }
                ParameterMask::ZeroGradient => Some(parameter.zeros_like()?),
                ParameterMask::SkipUpdate => None,
            };
            masked.push((parameter, gradient));
        }
        for (parameter, gradient) in masked {
            match gradient {
                Some(gradient) => gradients.insert(parameter, gradient),
                None => gradients.remove(parameter),
            };
        }
        Ok(())
    }
}

/// The gradients of several classes, each under its own masks, added up.
///
/// ```text
/// G[p] = Σ over classes k of   masks_k[p] ⊙ ∂L_k/∂p
/// ```
///
/// The result has an entry for a parameter where at least one class has one after its masks: a class that
/// skips a parameter leaves it to the others, and a parameter skipped by all of them is not updated.
///
/// # Shapes
///
/// Each loss is a scalar; the gradients have the shapes of their parameters.
///
/// # Errors
///
/// As [`ParameterMasks::apply`].
///
/// # Example
///
/// ```
/// use candle_core::{Device, Var};
/// use gradient_routing::{ParameterMask, ParameterMasks, Parameters, routed_gradients};
///
/// let (shared, own) = (Var::new(1f32, &Device::Cpu)?, Var::new(1f32, &Device::Cpu)?);
/// let parameters = Parameters::from([("shared".to_string(), shared.clone()), ("own".to_string(), own.clone())]);
/// let output = (shared.as_tensor() + own.as_tensor())?;
///
/// let unlabelled = ParameterMasks::new();
/// let labelled = ParameterMasks::new().with("shared", ParameterMask::SkipUpdate);
/// let losses = [((&output * 2.)?, &unlabelled), ((&output * 3.)?, &labelled)];
/// let gradients = routed_gradients(&parameters, &losses)?;
/// assert_eq!(gradients.get(&shared).unwrap().to_scalar::<f32>()?, 2.);
/// assert_eq!(gradients.get(&own).unwrap().to_scalar::<f32>()?, 5.);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
///
/// Cloud et al. 2024, arXiv 2410.04332, section 3.
pub fn routed_gradients(parameters: &Parameters, classes: &[(Tensor, &ParameterMasks)]) -> Result<GradStore> {
    let mut masked = Vec::with_capacity(classes.len());
    for (loss, masks) in classes {
        let mut gradients = loss.backward()?;
        masks.apply(parameters, &mut gradients)?;
        masked.push(gradients);
    }
    sum_gradients(parameters, &masked)
}

/// The sum of several gradient stores, parameter by parameter.
///
/// ```text
/// G[p] = Σ over the stores with an entry for p of   g[p]
/// ```
///
/// A parameter without an entry in any store has none in the sum; entries of other tensors are left out. The
/// stores are added in their order, so the result is the same to the bit in every run.
///
/// # Shapes
///
/// The gradients have the shapes of their parameters.
///
/// # Errors
///
/// candle's, where two gradients of one parameter differ in shape, dtype or device.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Var};
/// use gradient_routing::{Parameters, sum_gradients};
///
/// let x = Var::new(3f32, &Device::Cpu)?;
/// let parameters = Parameters::from([("x".to_string(), x.clone())]);
/// let stores = [x.sqr()?.backward()?, (x.as_tensor() * 2.)?.backward()?];
/// let sum = sum_gradients(&parameters, &stores)?;
/// assert_eq!(sum.get(&x).unwrap().to_scalar::<f32>()?, 8.);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
///
/// Cloud et al. 2024, arXiv 2410.04332, section 3.
pub fn sum_gradients(parameters: &Parameters, stores: &[GradStore]) -> Result<GradStore> {
    let mut sums = GradStore::default();
    for parameter in parameters.values() {
        for gradient in stores.iter().filter_map(|store| store.get(parameter)) {
            let sum = match sums.get(parameter) {
                Some(sum) => sum.add(gradient)?,
                None => gradient.clone(),
            };
            sums.insert(parameter, sum);
        }
    }
    Ok(sums)
}

/// Refuses names that no parameter has, all of them at once.
pub(crate) fn require_known<'a>(
    names: impl IntoIterator<Item = &'a String>,
    parameters: &Parameters,
) -> Result<()> {
    let unknown =
        names.into_iter().filter(|name| !parameters.contains_key(*name)).cloned().collect::<Vec<_>>();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(RoutingError::UnknownParameter { names: unknown, known: parameters.keys().cloned().collect() })
}
