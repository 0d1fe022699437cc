//! Gradients on the fused CPU path.

use candle_core::backprop::GradStore;
use gradient_routing::RouteTable;
use learning::Parameters;
use learning::lanes::rows_of;
use policies::fused::{Activations, FusedPolicy, Gradient, Workspace};
use policies::{PolicyConfig, Steering};
use rayon::prelude::*;

use super::batch::{Batch, Losses, PolicyLoss};
use super::groups::Groups;
use super::sample::{Counts, RowOutputs, Totals};
use crate::losses::{entropy, log_softmax};
use crate::rollout::ForwardCache;
use crate::{Error, Samples};

/// Different observations that a thread takes through forward and backward pass at a time, so that their
/// activations stay in the cache.
const TILE: usize = 256;

/// The packed policy with the buffers of every lane, kept between updates.
pub struct FusedLearner {
    policy: FusedPolicy,
    lanes: Vec<Lane>,
    groups: Groups,
}

/// What one part of the work is done with, by whatever thread.
struct Lane {
    gradient: Gradient,
    totals: Totals,
    activations: Activations,
    workspace: Workspace,
    log_probs: Vec<f32>,
}

impl FusedLearner {
    /// A learner that splits its work in `lanes` parts.
    ///
    /// # Errors
    /// Fails where the parameters are not those of `config` on the CPU.
    pub fn new(config: &PolicyConfig, parameters: &Parameters, lanes: usize) -> Result<Self, Error> {
        let policy = FusedPolicy::new(config, parameters)?;
        let lane = || Lane {
            gradient: Gradient::new(&policy),
            totals: Totals::default(),
            activations: Activations::new(config),
            workspace: Workspace::default(),
            log_probs: Vec::new(),
        };
        let lanes = (0..lanes.max(1)).map(|_| lane()).collect();
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
    /// shared out among the lanes in equal parts; the parts' gradients are added up in order.
    ///
    /// # Errors
    /// Fails where the parameters are not those of the policy.
    pub fn gradient(
        &mut self,
        batch: &Batch<'_>,
        parameters: &Parameters,
    ) -> Result<(GradStore, Losses), Error> {
        let counts = Counts::new(batch.indices.len(), batch.supervised());
        self.groups.arrange(batch);
        let (groups, policy) = (&self.groups, &self.policy);
        let lanes = self.lanes.len();
        self.lanes.par_iter_mut().enumerate().try_for_each(|(index, lane)| {
            lane.begin();
            let mut own = rows_of(index, lanes, groups.rows.len());
            while !own.is_empty() {
                let (start, end) = (own.start, (own.start + TILE).min(own.end));
                let rows = &groups.rows[start..end];
                lane.activations.clear();
                policy.forward(batch.unique.rows(), rows, Steering::Mixture, &mut lane.activations)?;
                lane.totals.output.reset(policy, rows.len());
                for row in 0..rows.len() {
                    lane.log_probs.resize(policy.config().actions, 0.0);
                    log_softmax(lane.activations.logits(row), &mut lane.log_probs);
                    let outputs = RowOutputs {
                        row,
                        log_probs: &lane.log_probs,
                        entropy: entropy(&lane.log_probs),
                        value: lane.activations.value(row),
                        activations: &lane.activations,
                    };
                    for member in groups.members(start + row) {
                        let member = *member as usize;
                        outputs.add_sample(batch, member, counts, &mut lane.totals);
                    }
                }
                policy.backward(
                    batch.unique.rows(),
                    rows,
                    &lane.activations,
                    &lane.totals.output,
                    &mut lane.gradient,
                    &mut lane.workspace,
                );
                own.start = end;
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
    /// Panics if there are more parts than lanes.
    pub fn gradient_of_rollout(
        &mut self,
        parts: &[&Samples],
        caches: &[ForwardCache],
        advantages: &[f32],
        targets: &[f32],
        template: &RolloutLoss<'_>,
        parameters: &Parameters,
    ) -> Result<(GradStore, Losses), Error> {
        assert!(parts.len() <= self.lanes.len(), "a lane for every part");
        let labels = parts.iter().flat_map(|samples| &samples.labels);
        let supervised = labels.filter(|label| label.kind().is_some()).count();
        let counts = Counts::new(advantages.len(), supervised);
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
                routes: template.routes,
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
            first[0].totals.losses.add(&lane.totals.losses);
        }
        Ok((self.policy.unpack(&first[0].gradient, parameters)?, first[0].totals.losses))
    }
}

/// The loss of a whole rollout.
#[derive(Clone, Copy, Debug)]
pub struct RolloutLoss<'a> {
    /// As in [`Batch::routes`].
    pub routes: &'a RouteTable,
    /// The policy loss.
    pub policy_loss: PolicyLoss,
    /// The weights of the losses.
    pub weights: super::LossWeights,
}

impl Lane {
    fn begin(&mut self) {
        self.gradient.clear();
        self.totals.losses = Losses::default();
    }

    fn backward_of_rollout(
        &mut self,
        policy: &FusedPolicy,
        cache: &ForwardCache,
        batch: &Batch<'_>,
        counts: Counts,
    ) {
        let rows = cache.unique.len();
        self.totals.output.reset(policy, rows);
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
            outputs.add_sample(batch, member, counts, &mut self.totals);
        }
        let listed: Vec<u32> = (0..rows as u32).collect();
        policy.backward(
            cache.unique.rows(),
            &listed,
            &cache.activations,
            &self.totals.output,
            &mut self.gradient,
            &mut self.workspace,
        );
    }
}
