//! What a gradient step needs, and what it reports.

use gradient_routing::RouteTable;
use policies::fused::UniqueRows;

use crate::{Config, Label, Samples};

/// Which policy loss, with its constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PolicyLoss {
    /// −log p·A.
    Reinforce,
    /// PPO's clipped objective, with the value's change clipped too where `clip_vloss`.
    Ppo {
        /// ε.
        clip_coef: f32,
        /// Clip the value's change.
        clip_vloss: bool,
    },
}

/// The weights of the losses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossWeights {
    /// Of the entropy bonus.
    pub ent_coef: f32,
    /// Of the value loss.
    pub vf_coef: f32,
    /// Of the gate's cross-entropy.
    pub gate_coef: f32,
}

impl LossWeights {
    /// As in the settings.
    pub fn of(config: &Config) -> Self {
        let loss = &config.loss;
        Self {
            ent_coef: loss.ent_coef as f32,
            vf_coef: loss.vf_coef as f32,
            gate_coef: loss.gate_coef as f32,
        }
    }
}

/// The samples of one gradient step.
///
/// With N samples of weight w (which is 0 or 1), the loss is
///
/// ```text
/// L = 1/N Σ w·(policy loss) + vf_coef/N Σ w·(value loss) − ent_coef/N Σ w·H
///     + gate_coef/M Σ_{overseen} (gate loss)
/// ```
///
/// with M the overseen samples, so that a batch without any has a gate loss of 0. The policy loss and the
/// entropy are routed by `routes`; the value net and the gate's own loss are not.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    /// Where each label's policy and entropy losses go, and how much its losses count: groups are the experts, then
    /// the gate where there is one; classes are the labels.
    pub routes: &'a RouteTable,
    /// The different observations of the rollout.
    pub unique: &'a UniqueRows,
    /// All samples of the rollout.
    pub samples: &'a Samples,
    /// Those of this step.
    pub indices: &'a [u32],
    /// A of each entry of `indices`.
    pub advantages: &'a [f32],
    /// The value's target for each sample of the rollout.
    pub targets: &'a [f32],
    /// The policy loss.
    pub policy_loss: PolicyLoss,
    /// The weights of the losses.
    pub weights: LossWeights,
}

impl Batch<'_> {
    /// The samples on which the gate is supervised.
    pub fn supervised(&self) -> usize {
        let labels = self.indices.iter().map(|i| self.samples.labels[*i as usize]);
        labels.filter(|label| label.kind().is_some()).count()
    }

    /// The weight of a sample in every loss.
    pub(super) fn weight(&self, sample: usize) -> f32 {
        self.routes.loss_weight(self.samples.labels[sample].class())
    }

    /// The route of a label in a policy of so many experts.
    pub(super) fn route(&self, label: Label, experts: usize) -> Route<'_> {
        let (experts, gate) = self.routes.gradient(label.class()).split_at(experts);
        Route { experts, gate: gate.first().copied().unwrap_or(1.0) }
    }
}

/// A row of the table: the masks of each expert and of the gate.
#[derive(Clone, Copy)]
pub(super) struct Route<'a> {
    pub experts: &'a [f32],
    pub gate: f32,
}

/// The losses of a gradient step, each as it enters the sum before its weight.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Losses {
    /// The mean policy loss.
    pub policy: f64,
    /// The mean value loss.
    pub value: f64,
    /// The mean entropy in nats.
    pub entropy: f64,
    /// The mean cross-entropy of the gate on overseen samples; 0 without any.
    pub gate: f64,
    /// The mean of ρ − 1 − log ρ.
    pub approx_kl: f64,
    /// The share of samples with ρ outside 1 ± ε.
    pub clipfrac: f64,
}

impl Losses {
    /// The weighted sum that is minimised.
    pub fn total(&self, weights: LossWeights) -> f64 {
        self.policy + f64::from(weights.vf_coef) * self.value - f64::from(weights.ent_coef) * self.entropy
            + f64::from(weights.gate_coef) * self.gate
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.policy += other.policy;
        self.value += other.value;
        self.entropy += other.entropy;
        self.gate += other.gate;
        self.approx_kl += other.approx_kl;
        self.clipfrac += other.clipfrac;
    }
}
