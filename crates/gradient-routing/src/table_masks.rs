//! A route table at the parameters: the masks on the gradients of each class's loss.

use candle_core::{D, Tensor, Var};

use crate::parameter_masks::require_known;
use crate::{
    Group, ParameterMask, ParameterMasks, Parameters, Result, RouteTable, RoutingError, Semantics, Site,
};

/// The masks that a table puts on the gradients of one class's loss, parameter by parameter.
///
/// ```text
/// m[c, g] = 1            the gradient stays as it is
/// m[c, g] = 0            ParameterMask::ZeroGradient or ParameterMask::SkipUpdate, as the table's site says
/// any other weight       ParameterMask::Weights with that one number
/// ```
///
/// A parameter of no group keeps its gradient. The class's loss weight belongs to its loss, not to the masks.
///
/// # Errors
///
/// [`RoutingError::NotAtParameters`] where the table routes at activations, and
/// [`RoutingError::UnknownParameter`] where a group's prefix names no parameter.
///
/// # Panics
///
/// Panics where the table has no such class.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Var};
/// use gradient_routing::{Class, Group, Parameters, RouteTable, Semantics, Site, parameter_masks};
///
/// let parameters = Parameters::from(["shared.weight", "extra.weight"].map(|name| {
///     (name.to_string(), Var::new(2f32, &Device::Cpu).unwrap())
/// }));
/// let groups = vec![Group::of_parameters("shared", ["shared"]), Group::of_parameters("extra", ["extra"])];
/// let classes = vec![Class::new("to keep", [1., 1.]), Class::new("to forget", [0., 1.])];
/// let table = RouteTable::new(Site::Parameters(Semantics::Frozen), groups, classes)?;
///
/// let loss = (parameters["shared.weight"].as_tensor() * parameters["extra.weight"].as_tensor())?;
/// let mut gradients = loss.backward()?;
/// parameter_masks(&table, 1, &parameters)?.apply(&parameters, &mut gradients)?;
/// assert!(gradients.get(&parameters["shared.weight"]).is_none());
/// assert!(gradients.get(&parameters["extra.weight"]).is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
///
/// Cloud et al. 2024, arXiv 2410.04332, section 3 (weights on the edges into the parameters).
pub fn parameter_masks(table: &RouteTable, class: usize, parameters: &Parameters) -> Result<ParameterMasks> {
    let semantics = semantics(table)?;
    require_owned(table, parameters)?;
    let mut masks = ParameterMasks::new();
    for (name, parameter) in parameters {
        let owner = table.groups().iter().position(|group| group.owns(name));
        let weight = owner.map(|group| table.gradient(class)[group]);
        if let Some(mask) = weight.map(|weight| whole(weight, semantics, parameter)).transpose()?.flatten() {
            masks = masks.with(name, mask);
        }
    }
    Ok(masks)
}

/// The masks of a step, by the class of its data: for whole parameters, and for parameters that the groups share
/// channel by channel.
///
/// Training by steps of one class each, the parameters that belong to other classes are masked in the step and
/// everything else learns as usual. A head's rows in a joint projection, or a share of an MLP's neurons, are
/// channels of a parameter: give its name and the dimension in which the table's channels lie.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Var};
/// use gradient_routing::{Class, Group, Parameters, RouteTable, Semantics, Site, StepMasks};
///
/// let weight = Var::new(&[[1f32, 2.], [3., 4.], [5., 6.]], &Device::Cpu)?; // (neurons, inputs)
/// let parameters = Parameters::from([("mlp.weight".to_string(), weight.clone())]);
/// let groups = vec![Group::of_channels("general", 2), Group::of_channels("concept", 1)];
/// let classes = vec![Class::new("unlabelled", [1., 1.]), Class::new("concept", [0., 1.])];
/// let table = RouteTable::new(Site::Parameters(Semantics::ZeroGradient), groups, classes)?;
///
/// let masks = StepMasks::new(&table, &parameters, &[("mlp.weight", 0)])?;
/// let mut gradients = weight.sum_all()?.backward()?;
/// masks.class(1).apply(&parameters, &mut gradients)?;
/// assert_eq!(gradients.get(&weight).unwrap().to_vec2::<f32>()?, [[0., 0.], [0., 0.], [1., 1.]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct StepMasks {
    classes: Vec<ParameterMasks>,
}

impl StepMasks {
    /// The masks of every class. `channels` names the parameters that the groups share, each with the dimension
    /// of the channels; parameters named by a group's prefix are masked whole, and the rest not at all.
    ///
    /// # Errors
    ///
    /// Those of [`parameter_masks`]; [`RoutingError::UnknownParameter`], [`RoutingError::SharedChannels`] where a
    /// parameter has not the table's channels in that dimension or belongs to one group as a whole,
    /// [`RoutingError::FrozenChannels`] where a class should freeze some channels of a parameter and train others.
    pub fn new(table: &RouteTable, parameters: &Parameters, channels: &[(&str, usize)]) -> Result<Self> {
        let names = channels.iter().map(|(name, _)| (*name).to_string()).collect::<Vec<_>>();
        require_known(&names, parameters)?;
        let semantics = semantics(table)?;
        let mut classes = Vec::with_capacity(table.classes().len());
        for class in 0..table.classes().len() {
            let mut masks = parameter_masks(table, class, parameters)?;
            for (name, dim) in channels {
                let weights = table.spread(table.gradient(class));
                let parameter = &parameters[*name];
                let fits = parameter.dims().get(*dim) == Some(&weights.len());
                if !fits || table.groups().iter().any(|group| group.owns(name)) {
                    return Err(RoutingError::SharedChannels {
                        name: (*name).to_string(),
                        dim: *dim,
                        shape: parameter.shape().clone(),
                        channels: weights.len(),
                    });
                }
                if let Some(mask) = shared(&weights, semantics, parameter, *dim, name)? {
                    masks = masks.with(*name, mask);
                }
            }
            classes.push(masks);
        }
        Ok(Self { classes })
    }

    /// The masks of a class's steps.
    ///
    /// # Panics
    ///
    /// Panics where the table has no such class.
    pub fn class(&self, class: usize) -> &ParameterMasks {
        &self.classes[class]
    }
}

fn semantics(table: &RouteTable) -> Result<Semantics> {
    match table.site() {
        Site::Parameters(semantics) => Ok(semantics),
        Site::Activations => Err(RoutingError::NotAtParameters),
    }
}

/// Refuses a table with a prefix that names no parameter.
pub(crate) fn require_owned(table: &RouteTable, parameters: &Parameters) -> Result<()> {
    let owns_none = |prefix: &&String| {
        let group = Group::of_parameters("", [prefix.as_str()]);
        !parameters.keys().any(|name| group.owns(name))
    };
    let prefixes = table.groups().iter().flat_map(|group| &group.parameters);
    let names = prefixes.filter(owns_none).cloned().collect::<Vec<_>>();
    if names.is_empty() {
        return Ok(());
    }
    Err(RoutingError::UnknownParameter { names, known: parameters.keys().cloned().collect() })
}

/// The mask of one weight for a whole parameter; none where it changes nothing.
fn whole(weight: f32, semantics: Semantics, parameter: &Var) -> Result<Option<ParameterMask>> {
    #[expect(clippy::float_cmp, reason = "1 is what leaves a gradient alone, and nothing near it")]
    let untouched = weight == 1.0;
    Ok(match semantics {
        _ if untouched => None,
        Semantics::ZeroGradient if weight == 0.0 => Some(ParameterMask::ZeroGradient),
        Semantics::Frozen if weight == 0.0 => Some(ParameterMask::SkipUpdate),
        _ => Some(ParameterMask::Weights(Tensor::new(weight, parameter.device())?)),
    })
}

/// The mask of a weight for each channel; that of a whole parameter where all are the same.
fn shared(
    weights: &[f32],
    semantics: Semantics,
    parameter: &Var,
    dim: usize,
    name: &str,
) -> Result<Option<ParameterMask>> {
    #[expect(clippy::float_cmp, reason = "the same number for each channel, to the bit")]
    let uniform = weights.windows(2).all(|pair| pair[0] == pair[1]);
    match weights.first() {
        Some(weight) if uniform => return whole(*weight, semantics, parameter),
        _ if semantics == Semantics::Frozen && weights.contains(&0.0) => {
            return Err(RoutingError::FrozenChannels { name: name.to_string() });
        }
        _ => {}
    }
    let mut mask = Tensor::new(weights, parameter.device())?;
    for _ in dim + 1..parameter.rank() {
        mask = mask.unsqueeze(D::Minus1)?;
    }
    Ok(Some(ParameterMask::Weights(mask)))
}
