//! Which parameters a loss trains: the table that a route must produce.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};

use crate::error::quoted;
use crate::parameter_masks::require_known;
use crate::{Parameters, Result};

/// What the backward pass of a loss leaves at one parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// A gradient with at least one element that is not zero; NaN counts.
    Nonzero,
    /// A gradient whose every element is exactly zero: masked, or a dead path.
    Zero,
    /// No gradient, although the parameter is in the graph of the loss: a custom op's `bwd` returned `None`, or a
    /// mask removed it.
    Dropped,
    /// No gradient, since the parameter is not in the graph of the loss: it is not used, or the way to it is
    /// cut by `detach`, a forward-only layer, a product with the number 0, integers, `floor`, `round`, `sign`
    /// or an argmax. [`find_cuts`](crate::find_cuts) says between which activations.
    Unreached,
}

impl Flow {
    /// The flow to a parameter whose gradient has these elements.
    pub fn of_elements(gradient: &[f32]) -> Self {
        if gradient.iter().all(|element| *element == 0.) { Self::Zero } else { Self::Nonzero }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nonzero => "gradient",
            Self::Zero => "gradient exactly zero",
            Self::Dropped => "no gradient: dropped by a custom op or a mask",
            Self::Unreached => "no gradient: not in the graph of the loss",
        })
    }
}

/// The [`Flow`] of each parameter, by name; printed, it is a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GradFlow {
    flows: BTreeMap<String, Flow>,
}

impl GradFlow {
    /// What each parameter got from gradients of a loss, after masks perhaps.
    ///
    /// # Errors
    ///
    /// candle's, where a gradient cannot be read.
    pub fn of_gradients(loss: &Tensor, parameters: &Parameters, gradients: &GradStore) -> Result<Self> {
        let variables = loss.sorted_nodes().into_iter().filter(|node| node.is_variable());
        let in_graph = variables.map(Tensor::id).collect::<Vec<_>>();
        let flow = |parameter: &Var| -> Result<Flow> {
            Ok(match gradients.get(parameter) {
                Some(gradient) if is_zero(gradient)? => Flow::Zero,
                Some(_) => Flow::Nonzero,
                None if in_graph.contains(&parameter.id()) => Flow::Dropped,
                None => Flow::Unreached,
            })
        };
        parameters.iter().map(|(name, parameter)| Ok((name.clone(), flow(parameter)?))).collect()
    }

    /// The flow to the parameter of that name, if there is one.
    pub fn get(&self, name: &str) -> Option<Flow> {
        self.flows.get(name).copied()
    }

    /// Name and flow of each parameter, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Flow)> {
        self.flows.iter().map(|(name, flow)| (name.as_str(), *flow))
    }

    /// The parameters with that flow, ordered by name.
    pub fn names(&self, flow: Flow) -> Vec<&str> {
        self.iter().filter(|&(_, other)| other == flow).map(|(name, _)| name).collect()
    }
}

impl fmt::Display for GradFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.flows.keys().map(|name| name.chars().count()).max().unwrap_or(0);
        for (name, flow) in self.iter() {
            writeln!(f, "{name:width$}  {flow}")?;
        }
        Ok(())
    }
}

impl FromIterator<(String, Flow)> for GradFlow {
    /// From gradients that were computed without a graph: see [`Flow::of_elements`].
    fn from_iter<I: IntoIterator<Item = (String, Flow)>>(flows: I) -> Self {
        Self { flows: flows.into_iter().collect() }
    }
}

/// The parameters that a loss should have trained and did not, and the other way round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowMismatch {
    /// Expected, but without a gradient or with one of zeros; with what was found instead.
    pub missing: Vec<(String, Flow)>,
    /// Not expected, but with a gradient that is not zero.
    pub unexpected: Vec<String>,
}

impl fmt::Display for FlowMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the loss does not train what it should:")?;
        if !self.missing.is_empty() {
            let missing =
                self.missing.iter().map(|(name, flow)| format!("`{name}` ({flow})")).collect::<Vec<_>>();
            write!(
                f,
                " missing {}; let the masks pass them, or look for the cut with `find_cuts`",
                missing.join(", ")
            )?;
        }
        if !self.unexpected.is_empty() {
            let separator = if self.missing.is_empty() { "" } else { ";" };
            let unexpected = quoted(&self.unexpected);
            write!(f, "{separator} unexpected {unexpected}; mask or stop the way to them, or expect them")?;
        }
        Ok(())
    }
}

impl std::error::Error for FlowMismatch {}

/// Runs the backward pass of a loss and says what each parameter got.
///
/// ```text
/// flow[p] = Nonzero | Zero | Dropped | Unreached,      from ∂loss/∂p and the graph of the loss
/// ```
///
/// candle keeps the operations of its graph private, so the walk knows the variables that lead to the loss and
/// nothing about tensors that do not: a parameter is reported as [`Flow::Unreached`] without the place of the
/// cut, which [`find_cuts`](crate::find_cuts) narrows down from activations that the caller names.
///
/// # Shapes
///
/// `loss` any float tensor, usually a scalar (candle starts the backward pass of another with ones).
///
/// # Errors
///
/// candle's, where an operation in the graph has no backward pass.
///
/// # Panics
///
/// In candle, where a custom op's `bwd` returns `None` for an argument that is itself the result of an operation.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Var};
/// use gradient_routing::{Flow, Parameters, grad_flow, scale};
///
/// let parameters = Parameters::from(["a", "b", "c"].map(|name| {
///     (name.to_string(), Var::new(2f32, &Device::Cpu).unwrap())
/// }));
/// let loss = (parameters["a"].sqr()? + scale(&parameters["b"], 0.)?)?;
/// let flow = grad_flow(&loss, &parameters)?;
/// assert_eq!(flow.names(Flow::Nonzero), ["a"]);
/// assert_eq!(flow.get("b"), Some(Flow::Zero));
/// assert_eq!(flow.get("c"), Some(Flow::Unreached));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
///
/// Cloud et al. 2024, arXiv 2410.04332, section 3 (what routing is to guarantee).
pub fn grad_flow(loss: &Tensor, parameters: &Parameters) -> Result<GradFlow> {
    GradFlow::of_gradients(loss, parameters, &loss.backward()?)
}

/// Requires that a loss trains exactly the parameters named: these get a gradient that is not zero, all others
/// get none or one of zeros. Gives the whole table back, for what else a test wants to know.
///
/// ```text
/// { p : ∂loss/∂p ≠ 0 } = expected
/// ```
///
/// # Shapes
///
/// As [`grad_flow`].
///
/// # Errors
///
/// [`RoutingError::Flow`](crate::RoutingError::Flow) with every missing and every unexpected name,
/// [`RoutingError::UnknownParameter`](crate::RoutingError::UnknownParameter) where an expected name is no
/// parameter, and those of [`grad_flow`].
///
/// # Panics
///
/// As [`grad_flow`].
///
/// # Example
///
/// ```
/// use candle_core::{Device, Var};
/// use gradient_routing::{Parameters, assert_grad_flow, stop};
///
/// let parameters = Parameters::from(["a", "b"].map(|name| {
///     (name.to_string(), Var::new(2f32, &Device::Cpu).unwrap())
/// }));
/// let loss = (parameters["a"].as_tensor() * stop(&parameters["b"]))?;
/// assert_grad_flow(&loss, &parameters, &["a"])?;
///
/// let error = assert_grad_flow(&loss, &parameters, &["b"]).unwrap_err().to_string();
/// assert!(error.contains("missing `b` (no gradient: not in the graph of the loss)"));
/// assert!(error.contains("unexpected `a`"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
///
/// Cloud et al. 2024, arXiv 2410.04332, section 3 (what routing is to guarantee).
pub fn assert_grad_flow(loss: &Tensor, parameters: &Parameters, expected: &[&str]) -> Result<GradFlow> {
    let expected = expected.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    require_known(&expected, parameters)?;
    let found = grad_flow(loss, parameters)?;
    let mut mismatch = FlowMismatch { missing: Vec::new(), unexpected: Vec::new() };
    for (name, flow) in found.iter() {
        match (expected.contains(name), flow) {
            (true, Flow::Nonzero) | (false, Flow::Zero | Flow::Dropped | Flow::Unreached) => {}
            (true, flow) => mismatch.missing.push((name.to_string(), flow)),
            (false, Flow::Nonzero) => mismatch.unexpected.push(name.to_string()),
        }
    }
    if mismatch.missing.is_empty() && mismatch.unexpected.is_empty() {
        Ok(found)
    } else {
        Err(mismatch.into())
    }
}

/// Whether every element is exactly zero; in f64, which holds the smallest number of every other float dtype.
fn is_zero(gradient: &Tensor) -> Result<bool> {
    let elements = gradient.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    Ok(elements.into_iter().all(|element| element == 0.))
}
