//! The one test of a method of routing: each class of data trains what the table says, and nothing else.

use std::fmt;

use candle_core::{DType, Tensor};

use crate::table_masks::require_owned;
use crate::{
    Class, ExpectedFlow, Flow, GradFlow, Parameters, Result, RouteTable, RoutingError, Semantics, Site,
    parameter_masks,
};

/// What a class trains against what its table says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFlowMismatch {
    /// Name of the class.
    pub class: String,
    /// The parameters at fault, with what the table says and what was found.
    pub faults: Vec<(String, ExpectedFlow, Flow)>,
}

impl fmt::Display for TableFlowMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "class `{}` does not train what the table says:", self.class)?;
        for (index, (name, expected, found)) in self.faults.iter().enumerate() {
            let separator = if index == 0 { "" } else { ";" };
            let expected = match expected {
                ExpectedFlow::Nonzero => "let the masks pass one, or look for the cut with `find_cuts`",
                ExpectedFlow::Zero => "mask the way to it, with zeros, or give its group a weight",
                ExpectedFlow::None => "skip its update, or give its group a weight",
            };
            write!(f, "{separator} `{name}` ({found}): {expected}")?;
        }
        Ok(())
    }
}

impl std::error::Error for TableFlowMismatch {}

/// Holds a method of routing to its table: with the loss of each class alone, exactly the parameters that the
/// table names get a gradient, and the others get zeros or none as it says.
///
/// `loss_of_class` gives the loss of data of one class, weighted as the method weighs it; a constant for a class
/// that is left out. At [`Site::Activations`] the routes are in the graph of that loss. At [`Site::Parameters`]
/// the masks of [`parameter_masks`] are put on its gradients. Where a method computes gradients by other means,
/// hold each class to the table by [`assert_class_flow`].
///
/// A gradient of zeros may be an entry or none at activations ([`stop`](crate::stop) leaves none); at parameters
/// the entry is required where the table says so. Gives back the flow of each class.
///
/// # Errors
///
/// [`RoutingError::TableFlow`] for the first class that trains something else, and those of `loss_of_class`,
/// [`grad_flow`](crate::grad_flow) and [`parameter_masks`].
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use gradient_routing::{Class, Group, Parameters, RouteTable, Site, assert_table_flow, route};
///
/// let parameters = Parameters::from(["left", "right", "head"].map(|name| {
///     (name.to_string(), Var::new(&[[2f32]], &Device::Cpu).unwrap())
/// }));
/// let group = |name: &str| Group { channels: 1, ..Group::of_parameters(name, [name]) };
/// let classes = vec![Class::new("a", [1., 0.]), Class::new("b", [0., 1.])];
/// let table = RouteTable::new(Site::Activations, vec![group("left"), group("right")], classes)?;
///
/// let loss = |class: usize| {
///     let hidden = Tensor::cat(&[parameters["left"].as_tensor(), parameters["right"].as_tensor()], 1)?;
///     let mask = Tensor::from_vec(table.channel_masks(&[class]), (1, 2), &Device::Cpu)?;
///     Ok(route(&hidden, &mask)?.broadcast_mul(&parameters["head"])?.sum_all()?)
/// };
/// let flows = assert_table_flow(&table, &parameters, loss)?;
/// assert_eq!(flows[0].to_string(), "head   gradient\nleft   gradient\nright  gradient exactly zero\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
///
/// Cloud et al. 2024, arXiv 2410.04332, section 3 (what routing is to guarantee).
pub fn assert_table_flow(
    table: &RouteTable,
    parameters: &Parameters,
    mut loss_of_class: impl FnMut(usize) -> Result<Tensor>,
) -> Result<Vec<GradFlow>> {
    require_owned(table, parameters)?;
    let mut flows = Vec::with_capacity(table.classes().len());
    for class in 0..table.classes().len() {
        let loss = loss_of_class(class)?;
        let mut gradients = loss.backward()?;
        if table.site() != Site::Activations {
            parameter_masks(table, class, parameters)?.apply(parameters, &mut gradients)?;
        }
        let flow = GradFlow::of_gradients(&loss, parameters, &gradients)?;
        assert_class_flow(table, class, &flow)?;
        flows.push(flow);
    }
    Ok(flows)
}

/// Holds what one class trains to the table, wherever its gradients come from. See [`assert_table_flow`].
///
/// # Errors
///
/// [`RoutingError::TableFlow`] with every parameter of `found` that the class trains otherwise.
///
/// # Panics
///
/// Panics where the table has no such class.
pub fn assert_class_flow(table: &RouteTable, class: usize, found: &GradFlow) -> Result<()> {
    let expected = table.expected_flow(class, found.iter().map(|(name, _)| name));
    let faults = found.iter().filter_map(|(name, flow)| {
        let expected = expected[name];
        let entry = matches!(flow, Flow::Nonzero | Flow::Zero);
        let right = match expected {
            ExpectedFlow::Nonzero => flow == Flow::Nonzero,
            ExpectedFlow::Zero if entry => flow == Flow::Zero,
            ExpectedFlow::Zero => !needs_zeros(table, class, name),
            ExpectedFlow::None => !entry,
        };
        (!right).then(|| (name.to_string(), expected, flow))
    });
    let faults = faults.collect::<Vec<_>>();
    if faults.is_empty() {
        return Ok(());
    }
    Err(TableFlowMismatch { class: table.classes()[class].name.clone(), faults }.into())
}

/// Whether a parameter without a gradient must have an entry of zeros: where its own mask makes them.
fn needs_zeros(table: &RouteTable, class: usize, name: &str) -> bool {
    let owner = table.groups().iter().position(|group| group.owns(name));
    let masked = owner.is_some_and(|group| table.gradient(class)[group] == 0.0);
    masked && table.loss_weight(class) != 0.0 && table.site() == Site::Parameters(Semantics::ZeroGradient)
}

/// Holds the gradient of an activation or a parameter that the groups share to the table, channel by channel: the
/// channels with a gradient that is not zero are those of the groups that the class trains.
///
/// # Shapes
///
/// `gradient` any float tensor with the table's channels in dimension `dim`.
///
/// # Errors
///
/// [`RoutingError::ChannelFlow`] with the channels at fault, and candle's for a dimension out of range.
///
/// # Panics
///
/// Panics where the table has no such class, or not as many channels as the gradient has.
pub fn assert_channel_flow(table: &RouteTable, class: usize, gradient: &Tensor, dim: usize) -> Result<()> {
    let Class { forward, gradient: weights, loss_weight, name } = &table.classes()[class];
    let reached = forward.iter().zip(weights).map(|(forward, weight)| loss_weight * forward * weight);
    let reached = table.spread(&reached.collect::<Vec<_>>());
    let by_channel = gradient.transpose(0, dim)?.to_dtype(DType::F64)?.contiguous()?;
    let by_channel = by_channel.reshape((reached.len(), ()))?.to_vec2::<f64>()?;
    let wrong = |(channel, (reached, gradient)): (usize, (f32, Vec<f64>))| {
        let nonzero = gradient.iter().any(|element| *element != 0.0);
        (nonzero != (reached != 0.0)).then_some((channel, nonzero))
    };
    let wrong = reached.into_iter().zip(by_channel).enumerate().filter_map(wrong).collect::<Vec<_>>();
    if wrong.is_empty() {
        return Ok(());
    }
    let with = |nonzero| wrong.iter().filter(|fault| fault.1 == nonzero).map(|fault| fault.0).collect();
    Err(RoutingError::ChannelFlow { class: name.clone(), missing: with(false), unexpected: with(true) })
}
