//! Masks of a batch, from the weights of its tokens.

use std::sync::Arc;

use transformer::{Architecture, Batch, ChannelWeights, HookPoint, Hooks, Intervention, ParameterWeights};

/// A mask at one activation of some blocks that depends on the token to be predicted there.
///
/// ```text
/// mask = (1 − w) · routed + w · free,     w = table[the token to be predicted]
/// ```
///
/// # Source
/// Cloud et al. 2024, section 4.2 and app. C.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenRoute {
    /// Where.
    pub point: HookPoint,
    /// The blocks.
    pub layers: Vec<usize>,
    /// Where each group of channels ends.
    pub ends: Vec<usize>,
    /// The groups' mask for tokens with w = 0.
    pub routed: Vec<f32>,
    /// The groups' mask for tokens with w = 1.
    pub free: Vec<f32>,
    /// w of every token of the vocabulary.
    pub table: Vec<f32>,
    /// Whether w is 1 in documents without a label.
    pub labelled_only: bool,
    /// Weight of the activations' absolute values in the loss.
    pub l1: f32,
}

impl TokenRoute {
    /// w of every target of a batch; `labelled` says it of every sequence.
    fn weights(&self, batch: &Batch, labelled: &[bool]) -> Vec<f32> {
        let sequences = batch.targets.chunks_exact(batch.tokens).zip(labelled);
        sequences
            .flat_map(|(targets, labelled)| {
                let whole = self.labelled_only && !labelled;
                targets.iter().map(move |token| if whole { 1.0 } else { self.table[*token as usize] })
            })
            .collect()
    }

    /// The masks of a batch at the activations.
    pub fn hooks(&self, batch: &Batch, labelled: &[bool]) -> Hooks {
        let weights = self.weights(batch, labelled);
        let mix = |w: f32| {
            self.routed.iter().zip(&self.free).map(move |(routed, free)| {
                // exact at both ends
                if w >= 1.0 { *free } else { routed + w * (free - routed) }
            })
        };
        let weights = weights.into_iter().flat_map(mix).collect();
        let mask = Arc::new(ChannelWeights { ends: self.ends.clone(), weights });
        self.layers.iter().fold(Hooks::default(), |hooks, layer| {
            let intervention =
                Intervention { route: Some(mask.clone()), l1: self.l1, ..Intervention::default() };
            hooks.with(*layer, self.point, intervention)
        })
    }

    /// The two classes of a batch for masks at the parameters: each target's share in the class, and the class's
    /// weights. A group's mask holds for its neurons' input weights, biases and output weights; all other parameters
    /// are not masked.
    pub fn classes(
        &self,
        batch: &Batch,
        labelled: &[bool],
        architecture: &Architecture,
    ) -> [(Vec<f32>, ParameterWeights); 2] {
        let free: Vec<f32> = self.weights(batch, labelled);
        let routed = free.iter().map(|w| 1.0 - w).collect();
        [
            (routed, self.parameter_weights(&self.routed, architecture)),
            (free, self.parameter_weights(&self.free, architecture)),
        ]
    }

    fn parameter_weights(&self, groups: &[f32], architecture: &Architecture) -> ParameterWeights {
        let neurons = ChannelWeights::constant(self.ends.clone(), groups.to_vec()).dense(1);
        let width = architecture.n_embd;
        let mut all = ParameterWeights::new();
        for layer in &self.layers {
            let name = |leaf: &str| format!("blocks.{layer}.mlp.{leaf}");
            all.insert(name("W_in"), neurons.repeat(width));
            all.insert(name("b_in"), neurons.clone());
            all.insert(name("W_out"), neurons.iter().flat_map(|w| std::iter::repeat_n(*w, width)).collect());
        }
        all
    }
}

/// How a model's gradient is routed while it is trained.
#[derive(Clone, Debug, PartialEq)]
pub enum Routing {
    /// Not at all.
    None,
    /// At activations.
    Activations(TokenRoute),
    /// At the MLPs' parameters.
    Parameters(TokenRoute),
    /// Two experts in every MLP, chosen for a whole document by its label: the first `neurons` neurons for documents
    /// without one, the rest for labelled ones. It is the forward pass that is masked.
    Experts {
        /// Neurons of an expert.
        neurons: usize,
    },
}

impl Routing {
    /// The interventions of a batch's passes.
    pub fn hooks(&self, batch: &Batch, labelled: &[bool], layers: usize) -> Hooks {
        match self {
            Self::None | Self::Parameters(_) => Hooks::default(),
            Self::Activations(route) => route.hooks(batch, labelled),
            Self::Experts { neurons } => {
                let of = |labelled: &bool| if *labelled { [0.0, 1.0] } else { [1.0, 0.0] };
                let weights =
                    labelled.iter().flat_map(|label| of(label).repeat(batch.tokens)).collect::<Vec<f32>>();
                let scale = Arc::new(ChannelWeights { ends: vec![*neurons, 2 * neurons], weights });
                (0..layers).fold(Hooks::default(), |hooks, layer| {
                    let intervention = Intervention { scale: Some(scale.clone()), ..Intervention::default() };
                    hooks.with(layer, HookPoint::MlpPost, intervention)
                })
            }
        }
    }
}
