//! One sample on the fused path: its losses, and their derivatives by the network's outputs.

use policies::fused::{Activations, OutputGradient};

use super::batch::{Batch, Losses, PolicyLoss, Route};
use crate::losses::{add_logit_gradient, clipped_policy, gate_loss, value_loss};

/// The counts by which a batch's sums are divided.
#[derive(Clone, Copy)]
pub(super) struct Counts {
    samples: f32,
    supervised: f32,
}

impl Counts {
    /// At least 1 each, so that an empty sum is 0.
    pub(crate) fn new(samples: usize, supervised: usize) -> Self {
        Self { samples: samples.max(1) as f32, supervised: supervised.max(1) as f32 }
    }
}

/// What the samples add to, with buffers for one of them.
#[derive(Default)]
pub(super) struct Totals {
    pub output: OutputGradient,
    pub losses: Losses,
    /// ∂L/∂logits of the sample in hand, (actions).
    logits: Vec<f32>,
    /// `u_e·g` for each expert, (experts).
    scores: Vec<f32>,
}

/// The network's outputs for one observation.
pub(super) struct RowOutputs<'a> {
    pub row: usize,
    pub log_probs: &'a [f32],
    pub entropy: f32,
    pub value: f32,
    pub activations: &'a Activations,
}

impl RowOutputs<'_> {
    /// Adds the losses of the batch's sample `member`, and their derivatives by the outputs, routed.
    pub(crate) fn add_sample(&self, batch: &Batch<'_>, member: usize, counts: Counts, totals: &mut Totals) {
        let sample = batch.indices[member] as usize;
        let samples = batch.samples;
        let label = samples.labels[sample];
        let weight = batch.weight(sample) / counts.samples;
        let action = usize::from(samples.actions[sample]);
        let (log_prob, advantage) = (self.log_probs[action], batch.advantages[member]);
        let losses = &mut totals.losses;

        let (by_log_prob, value_clip) = match batch.policy_loss {
            PolicyLoss::Reinforce => {
                losses.policy += f64::from(weight * -log_prob * advantage);
                (-advantage, None)
            }
            PolicyLoss::Ppo { clip_coef, clip_vloss } => {
                let part = clipped_policy(log_prob, samples.log_probs[sample], advantage, clip_coef);
                losses.policy += f64::from(weight * part.loss);
                losses.approx_kl += f64::from(part.approx_kl / counts.samples);
                losses.clipfrac += if part.clipped { f64::from(1.0 / counts.samples) } else { 0.0 };
                (part.by_log_prob, clip_vloss.then_some(clip_coef))
            }
        };
        losses.entropy += f64::from(weight * self.entropy);
        let target = batch.targets[sample];
        let (value, by_value) = value_loss(self.value, target, samples.values[sample], value_clip);
        losses.value += f64::from(weight * value);
        totals.output.value[self.row] += batch.weights.vf_coef * weight * by_value;

        let (by_log_prob, by_entropy) = (weight * by_log_prob, -weight * batch.weights.ent_coef);
        totals.logits.clear();
        totals.logits.resize(self.log_probs.len(), 0.0);
        let logits = &mut totals.logits;
        add_logit_gradient(self.log_probs, self.entropy, action, by_log_prob, by_entropy, logits);
        self.add_policy_gradient(batch.route(label, totals.output.experts.len()), totals);
        if let Some(kind) = label.kind() {
            self.add_gate_loss(kind, batch.weights.gate_coef, counts, totals);
        }
    }

    /// Sends the derivative by the logits on to the head, the experts and the gate, as the route says.
    fn add_policy_gradient(&self, route: Route<'_>, totals: &mut Totals) {
        let Totals { output, logits: g, scores, .. } = totals;
        let range = self.row * g.len()..(self.row + 1) * g.len();
        output.head[range.clone()].iter_mut().zip(&*g).for_each(|(out, g)| *out += g);
        let gate = self.activations.gate(self.row);
        for ((out, weight), mask) in output.experts.iter_mut().zip(gate).zip(route.experts) {
            out[range.clone()].iter_mut().zip(&*g).for_each(|(out, g)| *out += mask * weight * g);
        }
        let gate_outputs = self.activations.gate_logits(self.row).len();
        if gate_outputs == 0 || route.gate == 0.0 {
            return;
        }
        let score = |expert: usize| -> f32 {
            self.activations.expert_logits(expert, self.row).iter().zip(&*g).map(|(u, g)| u * g).sum()
        };
        scores.clear();
        scores.extend((0..gate.len()).map(score));
        let mean: f32 = gate.iter().zip(&*scores).map(|(weight, score)| weight * score).sum();
        let out = &mut output.gate[self.row * gate_outputs..][..gate_outputs];
        for ((out, weight), score) in out.iter_mut().zip(gate).zip(&*scores) {
            *out += route.gate * weight * (score - mean);
        }
    }

    /// The gate's own loss on a step whose episode ended on `kind`.
    fn add_gate_loss(&self, kind: usize, gate_coef: f32, counts: Counts, totals: &mut Totals) {
        let logits = self.activations.gate_logits(self.row);
        if logits.is_empty() {
            return;
        }
        totals.losses.gate += f64::from(gate_loss(logits, kind) / counts.supervised);
        let out = &mut totals.output.gate[self.row * logits.len()..][..logits.len()];
        for (expert, (out, weight)) in out.iter_mut().zip(self.activations.gate(self.row)).enumerate() {
            let target = if expert == kind { 1.0 } else { 0.0 };
            *out += gate_coef * (weight - target) / counts.supervised;
        }
    }
}
