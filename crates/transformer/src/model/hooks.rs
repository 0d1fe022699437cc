//! What is done to activations, and to the gradients at them, while a model runs.

use std::collections::BTreeMap;
use std::sync::Arc;

/// An activation of a block, named as in `TransformerLens`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookPoint {
    /// `attn.hook_z`: what the heads read, before the output matrix; (tokens, width).
    AttnZ,
    /// `mlp.hook_post`: the MLP's neurons after the GELU; (tokens, neurons).
    MlpPost,
    /// `hook_resid_post`: the residual stream after the block; (tokens, width).
    ResidPost,
}

impl HookPoint {
    /// The name of the hook in block `layer`.
    pub fn name(self, layer: usize) -> String {
        let point = match self {
            Self::AttnZ => "attn.hook_z",
            Self::MlpPost => "mlp.hook_post",
            Self::ResidPost => "hook_resid_post",
        };
        format!("blocks.{layer}.{point}")
    }
}

/// A weight for each token and each group of channels that lie side by side.
///
/// Group g holds the channels from `ends[g − 1]` (0 for the first) to `ends[g]`, the last not included. With one
/// channel a group it is a weight per token and channel.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelWeights {
    /// Where each group ends; rises, and the last is the number of channels.
    pub ends: Vec<usize>,
    /// `weights[token · groups + group]`; for a single token, the same weights hold for all.
    pub weights: Vec<f32>,
}

impl ChannelWeights {
    /// The same weights for all tokens.
    pub fn constant(ends: Vec<usize>, weights: Vec<f32>) -> Self {
        Self { ends, weights }
    }

    /// The weights of one token, one for each group.
    pub fn of(&self, token: usize) -> &[f32] {
        let groups = self.ends.len();
        let token = if self.weights.len() == groups { 0 } else { token };
        &self.weights[token * groups..][..groups]
    }

    /// Multiplies the channels of tokens, of which the first is `first` and each stands `stride` behind the one before.
    pub(crate) fn weigh(&self, values: &mut [f32], first: usize, stride: usize) {
        let Some(width) = self.ends.last() else { return };
        for (row, values) in values.chunks_exact_mut(*width).enumerate() {
            let mut begin = 0;
            for (end, weight) in self.ends.iter().zip(self.of(first + row * stride)) {
                #[expect(clippy::float_cmp, reason = "exactly one is left out as it changes nothing")]
                if *weight != 1.0 {
                    values[begin..*end].iter_mut().for_each(|value| *value *= weight);
                }
                begin = *end;
            }
        }
    }

    /// One row of weights for each of `tokens` tokens, one weight a channel.
    pub fn dense(&self, tokens: usize) -> Vec<f32> {
        let width = self.ends.last().copied().unwrap_or(0);
        let mut dense = vec![1.0; tokens * width];
        self.weigh(&mut dense, 0, 1);
        dense
    }
}

/// What is done at one activation `a` of one block, in this order.
///
/// ```text
/// loss += l1 · Σ |a| / tokens          (its gradient is not routed)
/// y = a,  ∂L/∂a = route ⊙ ∂L/∂y        the route: forward nothing changes
/// y = scale ⊙ y                        an ablation: in both passes
/// y = y + add                          a steering vector
/// ```
#[derive(Clone, Debug, Default)]
pub struct Intervention {
    /// Weights of the gradient.
    pub route: Option<Arc<ChannelWeights>>,
    /// Weights of the activation.
    pub scale: Option<Arc<ChannelWeights>>,
    /// Added to the activation of every token.
    pub add: Option<Arc<Vec<f32>>>,
    /// Weight of the absolute values in the loss.
    pub l1: f32,
}

/// The interventions of a pass, by block and place. The default has none.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    interventions: BTreeMap<(usize, HookPoint), Intervention>,
}

impl Hooks {
    /// Adds an intervention, in place of an earlier one there.
    #[must_use]
    pub fn with(mut self, layer: usize, point: HookPoint, intervention: Intervention) -> Self {
        self.interventions.insert((layer, point), intervention);
        self
    }

    /// The intervention at a place, if there is one.
    pub fn get(&self, layer: usize, point: HookPoint) -> Option<&Intervention> {
        self.interventions.get(&(layer, point))
    }

    /// All interventions, by block and place.
    pub fn iter(&self) -> impl Iterator<Item = (usize, HookPoint, &Intervention)> {
        self.interventions.iter().map(|((layer, point), intervention)| (*layer, *point, intervention))
    }
}
