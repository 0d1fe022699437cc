//! Gradients on the fused CPU path.

use candle_core::backprop::GradStore;
use learning::Parameters;
use policies::fused::{Activations, FusedPolicy, Gradient, OutputGradient, Workspace};
use policies::{PolicyConfig, Steering};
use rayon::prelude::*;

use super::batch::{Batch, Losses, PolicyLoss};
use crate::losses::{add_logit_gradient, clipped_policy, entropy, gate_loss, log_softmax, value_loss};
use crate::rollout::ForwardCache;
use crate::{Error, Samples};

/// Different observations that a thread takes through forward and backward pass at a time, so that their
/// activations stay in the cache.
const TILE: usize = 256;

/// The packed policy with the buffers of every thread, kept between updates.
pub struct FusedLearner {
    policy: FusedPolicy,
    lanes: Vec<Lane>,
    groups: Groups,
}

/// What one thread works with.
struct Lane {
    gradient: Gradient,
    output: OutputGradient,
    activations: Activations,
    workspace: Workspace,
    log_probs: Vec<f32>,
    losses: Losses,
}

/// The samples of a batch by observation.
#[derive(Default)]
struct Groups {
    /// Different observations of the batch, in order of appearance.
    rows: Vec<u32>,
    /// `members[starts[g]..starts[g + 1]]`: positions in the batch that share observation `rows[g]`.
    starts: Vec<u32>,
    members: Vec<u32>,
    group_of_row: Vec<u32>,
    group_of_member: Vec<u32>,
}

impl Groups {
    fn arrange(&mut self, batch: &Batch<'_>) {
        const NONE: u32 = u32::MAX;
        self.rows.clear();
        self.group_of_member.clear();
        self.group_of_row.clear();
        self.group_of_row.resize(batch.unique.len(), NONE);
        for index in batch.indices {
            let row = batch.samples.rows[*index as usize];
            let group = &mut self.group_of_row[row as usize];
            if *group == NONE {
                *group = self.rows.len() as u32;
                self.rows.push(row);
            }
            self.group_of_member.push(*group);
        }
        // a counting sort keeps the order of the batch inside each group
        self.starts.clear();
        self.starts.resize(self.rows.len() + 1, 0);
        for group in &self.group_of_member {
            self.starts[*group as usize + 1] += 1;
        }
        for group in 0..self.rows.len() {
            self.starts[group + 1] += self.starts[group];
        }
        let mut next = self.starts.clone();
        self.members.resize(self.group_of_member.len(), 0);
        for (member, group) in self.group_of_member.iter().enumerate() {
            let place = &mut next[*group as usize];
            self.members[*place as usize] = member as u32;
            *place += 1;
        }
    }

    fn members(&self, group: usize) -> &[u32] {
        &self.members[self.starts[group] as usize..self.starts[group + 1] as usize]
    }
}

/// The counts by which a batch's sums are divided.
#[derive(Clone, Copy)]
struct Counts {
    samples: f32,
    supervised: f32,
}

impl Counts {
    fn of(batch: &Batch<'_>) -> Self {
        Self { samples: batch.indices.len().max(1) as f32, supervised: batch.supervised().max(1) as f32 }
    }
}

impl FusedLearner {
    /// A learner for as many threads as `threads`.
    ///
    /// # Errors
    /// Fails where the parameters are not those of `config` on the CPU.
    pub fn new(config: &PolicyConfig, parameters: &Parameters, threads: usize) -> Result<Self, Error> {
        let policy = FusedPolicy::new(config, parameters)?;
        let lane = || Lane {
            gradient: Gradient::new(&policy),
            output: OutputGradient::default(),
            activations: Activations::new(config),
            workspace: Workspace::default(),
            log_probs: Vec::new(),
            losses: Losses::default(),
        };
        let lanes = (0..threads.max(1)).map(|_| lane()).collect();
        Ok(Self { policy, lanes, groups: Groups::default() })
    }

    /// The packed policy.
    pub fn policy(&self) -> &FusedPolicy {
        &self.policy
    }

    /// Packs the parameters' current values; due after every optimiser step.
    ///
    /// # Errors
    /// Fails where the parameters are not those of the policy.
    pub fn load(&mut self, parameters: &Parameters) -> Result<(), Error> {
        Ok(self.policy.load(parameters)?)
    }

    /// The gradient of a batch's loss for parameters that may have changed since the rollout. Observations are
    /// shared out among the threads in equal parts; the parts' gradients are added up in order.
    ///
    /// # Errors
    /// Fails where the parameters are not those of the policy.
    pub fn gradient(
        &mut self,
        batch: &Batch<'_>,
        parameters: &Parameters,
    ) -> Result<(GradStore, Losses), Error> {
        let counts = Counts::of(batch);
        self.groups.arrange(batch);
        let (groups, policy) = (&self.groups, &self.policy);
        let lanes = self.lanes.len();
        let bound = |lane: usize| lane * groups.rows.len() / lanes;
        self.lanes.par_iter_mut().enumerate().try_for_each(|(index, lane)| {
            lane.begin();
            let mut start = bound(index);
            while start < bound(index + 1) {
                let end = (start + TILE).min(bound(index + 1));
                let rows = &groups.rows[start..end];
                lane.activations.clear();
                policy.forward(batch.unique.rows(), rows, Steering::Mixture, &mut lane.activations)?;
                lane.output.reset(policy, rows.len());
                for (row, listed) in rows.iter().enumerate() {
                    lane.log_probs.resize(policy.config().actions, 0.0);
                    log_softmax(lane.activations.logits(row), &mut lane.log_probs);
                    let outputs = RowOutputs {
                        row,
                        log_probs: &lane.log_probs,
                        entropy: entropy(&lane.log_probs),
                        value: policy.value(batch.unique.rows(), *listed as usize),
                        activations: &lane.activations,
                    };
                    for member in groups.members(start + row) {
                        let member = *member as usize;
                        outputs.add_sample(batch, member, counts, &mut lane.output, &mut lane.losses);
                    }
                }
                policy.backward(
                    batch.unique.rows(),
                    rows,
                    &lane.activations,
                    &lane.output,
                    &mut lane.gradient,
                    &mut lane.workspace,
                );
                start = end;
            }
            Ok::<_, Error>(())
        })?;
        self.finish(parameters)
    }

    /// The gradient of a loss on all samples of a rollout that was taken with the current parameters: the
    /// activations are those that the rollout left in `caches`, one for each of its `parts`.
    ///
    /// `advantages` and `targets` are those of all parts' samples in order.
    ///
    /// # Errors
    /// Fails where the parameters are not those of the policy.
    ///
    /// # Panics
    /// Panics if there are more parts than threads.
    pub fn gradient_of_rollout(
        &mut self,
        parts: &[&Samples],
        caches: &[ForwardCache],
        advantages: &[f32],
        targets: &[f32],
        template: &RolloutLoss,
        parameters: &Parameters,
    ) -> Result<(GradStore, Losses), Error> {
        assert!(parts.len() <= self.lanes.len(), "a lane for every part");
        let supervised: usize = parts
            .iter()
            .map(|samples| samples.labels.iter().filter(|label| label.expert().is_some()).count())
            .sum();
        let counts = Counts { samples: advantages.len().max(1) as f32, supervised: supervised.max(1) as f32 };
        let mut starts = vec![0];
        starts.extend(parts.iter().scan(0, |sum, samples| {
            *sum += samples.len();
            Some(*sum)
        }));
        let policy = &self.policy;
        self.lanes.iter_mut().for_each(Lane::begin);
        let parts = parts.par_iter().zip(caches);
        self.lanes.par_iter_mut().zip(parts).enumerate().for_each(|(index, (lane, (samples, cache)))| {
            let range = starts[index]..starts[index + 1];
            let indices: Vec<u32> = (0..samples.len() as u32).collect();
            let batch = Batch {
                method: template.method,
                unique: &cache.unique,
                samples,
                indices: &indices,
                advantages: &advantages[range.clone()],
                targets: &targets[range],
                policy_loss: template.policy_loss,
                weights: template.weights,
            };
            lane.backward_of_rollout(policy, cache, &batch, counts);
        });
        self.finish(parameters)
    }

    fn finish(&mut self, parameters: &Parameters) -> Result<(GradStore, Losses), Error> {
        let (first, rest) = self.lanes.split_at_mut(1);
        for lane in rest {
            first[0].gradient.add(&lane.gradient);
            first[0].losses.add(&lane.losses);
        }
        Ok((self.policy.unpack(&first[0].gradient, parameters)?, first[0].losses))
    }
}

/// The loss of a whole rollout.
#[derive(Clone, Copy, Debug)]
pub struct RolloutLoss {
    /// The method, which routes and weighs.
    pub method: crate::Method,
    /// The policy loss.
    pub policy_loss: PolicyLoss,
    /// The weights of the losses.
    pub weights: super::LossWeights,
}

impl Lane {
    fn begin(&mut self) {
        self.gradient.clear();
        self.losses = Losses::default();
    }

    fn backward_of_rollout(
        &mut self,
        policy: &FusedPolicy,
        cache: &ForwardCache,
        batch: &Batch<'_>,
        counts: Counts,
    ) {
        let rows = cache.unique.len();
        self.output.reset(policy, rows);
        let actions = policy.config().actions;
        let entropies: Vec<f32> = cache.log_probs.chunks_exact(actions).map(entropy).collect();
        for member in 0..batch.indices.len() {
            let row = batch.samples.rows[member] as usize;
            let outputs = RowOutputs {
                row,
                log_probs: &cache.log_probs[row * actions..][..actions],
                entropy: entropies[row],
                value: cache.values[row],
                activations: &cache.activations,
            };
            outputs.add_sample(batch, member, counts, &mut self.output, &mut self.losses);
        }
        let listed: Vec<u32> = (0..rows as u32).collect();
        policy.backward(
            cache.unique.rows(),
            &listed,
            &cache.activations,
            &self.output,
            &mut self.gradient,
            &mut self.workspace,
        );
    }
}

/// The network's outputs for one observation.
struct RowOutputs<'a> {
    row: usize,
    log_probs: &'a [f32],
    entropy: f32,
    value: f32,
    activations: &'a Activations,
}

impl RowOutputs<'_> {
    /// Adds the losses of the batch's sample `member`, and their derivatives by the outputs, routed.
    fn add_sample(
        &self,
        batch: &Batch<'_>,
        member: usize,
        counts: Counts,
        output: &mut OutputGradient,
        losses: &mut Losses,
    ) {
        let sample = batch.indices[member] as usize;
        let samples = batch.samples;
        let label = samples.labels[sample];
        let weight = batch.method.weight(label) / counts.samples;
        let action = usize::from(samples.actions[sample]);
        let (log_prob, advantage) = (self.log_probs[action], batch.advantages[member]);

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
        output.value[self.row] += batch.weights.vf_coef * weight * by_value;

        self.add_policy_gradient(
            batch.method.route(label),
            action,
            weight * by_log_prob,
            -weight * batch.weights.ent_coef,
            output,
        );
        if let Some(expert) = label.expert() {
            self.add_gate_loss(expert, batch.weights.gate_coef, counts, output, losses);
        }
    }

    fn add_policy_gradient(
        &self,
        route: crate::Route,
        action: usize,
        by_log_prob: f32,
        by_entropy: f32,
        output: &mut OutputGradient,
    ) {
        const MAX_ACTIONS: usize = envs::NUM_ACTIONS;
        let mut g = [0.0; MAX_ACTIONS];
        add_logit_gradient(self.log_probs, self.entropy, action, by_log_prob, by_entropy, &mut g);
        let range = self.row * MAX_ACTIONS..(self.row + 1) * MAX_ACTIONS;
        output.head[range.clone()].iter_mut().zip(g).for_each(|(out, g)| *out += g);
        let gate = self.activations.gate(self.row);
        for (expert, (out, weight)) in output.experts.iter_mut().zip(gate).enumerate() {
            // a single expert has the first mask, which is 1 in every method that has one
            let mask = route.experts[expert];
            out[range.clone()].iter_mut().zip(g).for_each(|(out, g)| *out += mask * weight * g);
        }
        let gate_outputs = self.activations.gate_logits(self.row).len();
        if gate_outputs > 0 && route.gate != 0.0 {
            let score = |expert: usize| -> f32 {
                self.activations.expert_logits(expert, self.row).iter().zip(g).map(|(u, g)| u * g).sum()
            };
            let scores: [f32; 2] = [score(0), score(1)];
            let mean: f32 = gate.iter().zip(scores).map(|(weight, score)| weight * score).sum();
            output.gate[self.row] += route.gate * gate[0] * (scores[0] - mean);
        }
    }

    fn add_gate_loss(
        &self,
        expert: usize,
        gate_coef: f32,
        counts: Counts,
        output: &mut OutputGradient,
        losses: &mut Losses,
    ) {
        let logits = self.activations.gate_logits(self.row);
        if logits.is_empty() {
            return;
        }
        losses.gate += f64::from(gate_loss(logits, expert) / counts.supervised);
        let gate = self.activations.gate(self.row);
        let target = if expert == 0 { 1.0 } else { 0.0 };
        output.gate[self.row] += gate_coef * (gate[0] - target) / counts.supervised;
    }
}
