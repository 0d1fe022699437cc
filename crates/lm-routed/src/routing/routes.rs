//! Which class of tokens trains which channels, and the masks of a batch that follow from it.

use std::sync::Arc;

use super::steps::StepLabels;
use gradient_routing::{Class, RouteTable, Site};
use transformer::{
    Architecture, Batch, ChannelGroups, ChannelWeights, ClassGradient, HookPoint, Hooks, Intervention,
    ParameterWeights,
};

/// The class of tokens that are like any other: the unlabelled ones.
pub const RETAIN: usize = 0;
/// The class of tokens that are routed.
pub const FORGET: usize = 1;

/// The classes of every table of this crate, with the gradient weights of both: one for each group.
pub fn classes(retain: impl Into<Vec<f32>>, forget: impl Into<Vec<f32>>) -> Vec<Class> {
    vec![Class::new("retain", retain), Class::new("forget", forget)]
}

/// An activation of a block, and how many neighbouring channels of it each group of a table has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The activation.
    pub point: HookPoint,
    /// Channels of each group.
    pub channels: Vec<usize>,
}

impl Place {
    /// The channels that the groups of a table have of themselves.
    pub fn of_table(point: HookPoint, table: &RouteTable) -> Self {
        Self { point, channels: table.groups().iter().map(|group| group.channels).collect() }
    }

    /// Where the channels of each group end.
    fn ends(&self) -> Vec<usize> {
        let sum = |end: &mut usize, channels: &usize| {
            *end += channels;
            Some(*end)
        };
        self.channels.iter().scan(0, sum).collect()
    }
}

/// What is added to a network, and which class of tokens trains which channels of it.
///
/// A table's groups are neighbouring channels of one activation or several. Of a token that belongs to both classes, to
/// *forget* with the weight 1 − w, the gradient is weighed by
///
/// ```text
/// mask = (1 − w) · m[forget] + w · m[retain]
/// ```
///
/// # Source
/// Cloud et al. 2024, section 4.2 and app. C.
#[derive(Clone, Debug, PartialEq)]
pub struct Routes {
    /// The classes [`RETAIN`] and [`FORGET`], as [`classes`] makes them.
    pub table: RouteTable,
    /// The activations with the groups' channels.
    pub places: Vec<Place>,
    /// The blocks whose activations are routed.
    pub layers: Vec<usize>,
    /// Neurons that are added to the MLP of each of them.
    pub added: usize,
    /// Weight of the activation's absolute values in the loss, where the table applies to activations.
    pub l1: f32,
    /// Whether the output weights of what is added start at zero, so that it changes nothing at first.
    pub silent: bool,
}

impl Routes {
    /// Routes at the neurons of some MLPs, of which `added` are new.
    pub fn at_neurons(table: RouteTable, layers: &[usize], added: usize) -> Self {
        let places = vec![Place::of_table(HookPoint::MlpPost, &table)];
        Self { table, places, layers: layers.to_vec(), added, l1: 0.0, silent: false }
    }

    /// The channels that the groups have of an activation; none where it is not divided.
    pub fn channels_at(&self, point: HookPoint) -> Vec<usize> {
        let place = self.places.iter().find(|place| place.point == point);
        place.map(|place| place.channels.clone()).unwrap_or_default()
    }

    /// The neurons and heads of each group in a network.
    pub fn groups(&self, architecture: &Architecture) -> ChannelGroups {
        let heads = self.channels_at(HookPoint::AttnZ);
        ChannelGroups {
            layers: self.layers.clone(),
            neurons: self.channels_at(HookPoint::MlpPost),
            heads: heads.into_iter().map(|channels| channels / architecture.head_width()).collect(),
        }
    }

    /// Whether the class of a token decides which channels take part in its forward pass.
    pub fn masks_forward(&self) -> bool {
        any_weight(self.table.forward(RETAIN)) || any_weight(self.table.forward(FORGET))
    }

    /// Whether groups are removed in the end: those that the table's only profile does not keep.
    pub fn ablates(&self) -> bool {
        !self.table.profiles().is_empty()
    }

    /// The forward pass of one class, for all tokens.
    pub fn forward_hooks(&self, class: usize) -> Hooks {
        self.weighed(self.table.forward(class))
    }

    /// A forward pass in which the channels of each group are multiplied by its weight, for all tokens.
    pub fn weighed(&self, groups: &[f32]) -> Hooks {
        if !any_weight(groups) {
            return Hooks::default();
        }
        self.everywhere(|place| {
            let scale = Some(Arc::new(ChannelWeights::constant(place.ends(), groups.to_vec())));
            Intervention { scale, ..Intervention::default() }
        })
    }

    fn everywhere(&self, intervention: impl Fn(&Place) -> Intervention) -> Hooks {
        let mut hooks = Hooks::default();
        for place in &self.places {
            let intervention = intervention(place);
            hooks = self
                .layers
                .iter()
                .fold(hooks, |hooks, layer| hooks.with(*layer, place.point, intervention.clone()));
        }
        hooks
    }
}

/// Whether a weight does anything.
#[expect(clippy::float_cmp, reason = "exactly 1 is what changes nothing")]
fn any_weight(weights: &[f32]) -> bool {
    weights.iter().any(|weight| *weight != 1.0)
}

/// How the tokens of a batch are told apart.
#[derive(Clone, Debug, PartialEq)]
pub enum Labels {
    /// Not at all: every token is of the class [`RETAIN`].
    None,
    /// By the label of their document.
    Documents,
    /// By the token that is to be predicted.
    Tokens {
        /// w of every token of the vocabulary.
        retain_weights: Vec<f32>,
        /// Whether w is 1 in documents without a label.
        labelled_only: bool,
    },
    /// Step by step: all documents of a step have one label.
    Steps(StepLabels),
}

impl Labels {
    /// w of every target of a batch; `labelled` says of every sequence whether its document is labelled.
    pub fn retain_weights(&self, batch: &Batch, labelled: &[bool]) -> Vec<f32> {
        let sequences = batch.targets.chunks_exact(batch.tokens).zip(labelled);
        let weight = |token: u32, labelled: bool| match self {
            Self::None | Self::Steps(_) => 1.0,
            Self::Documents => f32::from(u8::from(!labelled)),
            Self::Tokens { labelled_only: true, .. } if !labelled => 1.0,
            Self::Tokens { retain_weights, .. } => retain_weights[token as usize],
        };
        let weight = &weight;
        sequences
            .flat_map(|(targets, labelled)| targets.iter().map(move |token| weight(*token, *labelled)))
            .collect()
    }
}

/// Routes, and how the tokens of a batch are told apart: the masks of any batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Routing {
    /// Which class trains what.
    pub routes: Routes,
    /// Which token is of which class.
    pub labels: Labels,
}

impl Routing {
    /// The interventions of a batch's passes, where the table applies to activations.
    pub fn hooks(&self, batch: &Batch, labelled: &[bool]) -> Hooks {
        let Self { routes, labels } = self;
        let table = &routes.table;
        let (at_activations, masks_forward) = (table.site() == Site::Activations, routes.masks_forward());
        let routed = any_weight(table.gradient(RETAIN)) || any_weight(table.gradient(FORGET));
        let route = at_activations && routed;
        let l1 = if at_activations { routes.l1 } else { 0.0 };
        if !route && !masks_forward && l1 == 0.0 {
            return Hooks::default();
        }
        let retain_weights = labels.retain_weights(batch, labelled);
        routes.everywhere(|place| {
            let weights = |of: &dyn Fn(f32) -> Vec<f32>| {
                let weights = retain_weights.iter().flat_map(|w| of(*w)).collect();
                Arc::new(ChannelWeights { ends: place.ends(), weights })
            };
            Intervention {
                route: route.then(|| weights(&|w| table.mix(FORGET, RETAIN, w))),
                // a token runs as one of the class that it belongs to more
                scale: masks_forward
                    .then(|| weights(&|w| table.forward(if w < 0.5 { FORGET } else { RETAIN }).to_vec())),
                l1,
                ..Intervention::default()
            }
        })
    }

    /// The classes of a batch, where the table applies to parameters: each target's share in the class, and the
    /// class's weights. A group's weight holds for its neurons' input weights, biases and output weights; all other
    /// parameters are not masked.
    pub fn classes(
        &self,
        batch: &Batch,
        labelled: &[bool],
        architecture: &Architecture,
    ) -> [ClassGradient; 2] {
        let retain = self.labels.retain_weights(batch, labelled);
        let forget = retain.iter().map(|w| 1.0 - w).collect();
        [(FORGET, forget), (RETAIN, retain)].map(|(class, shares)| ClassGradient {
            shares,
            weights: self.parameter_weights(class, architecture),
        })
    }

    fn parameter_weights(&self, class: usize, architecture: &Architecture) -> ParameterWeights {
        let table = &self.routes.table;
        let neurons = table.spread(table.gradient(class));
        let width = architecture.n_embd;
        let mut all = ParameterWeights::new();
        for layer in &self.routes.layers {
            let name = |leaf: &str| format!("blocks.{layer}.mlp.{leaf}");
            all.insert(name("W_in"), neurons.repeat(width));
            all.insert(name("b_in"), neurons.clone());
            all.insert(name("W_out"), neurons.iter().flat_map(|w| std::iter::repeat_n(*w, width)).collect());
        }
        all
    }
}
