//! Forward and backward passes on the CPU without a graph: each thread takes whole sequences through the network
//! and adds up a gradient of its own; the parts are then added in their order, so that results repeat.

mod attention;
mod lane;
mod layout;
mod passes;
#[cfg(test)]
mod tests;

use learning::Parameters;
use rayon::prelude::*;

use crate::Error;
use crate::batch::{Batch, StepLoss};
use crate::model::{Architecture, Hooks};
use lane::{Lane, Span};
use layout::{Layout, with_weights};

/// Tokens that a thread takes through the network at a time, so that their activations stay near.
const TOKENS_AT_A_TIME: usize = 1024;

/// Numbers of a gradient that a thread adds at a time.
const CHUNK: usize = 1 << 16;

/// The buffers of every thread, kept between passes.
pub(crate) struct FusedModel {
    architecture: Architecture,
    layout: Layout,
    lanes: Vec<Lane>,
    /// Tokens of a sequence.
    tokens: usize,
}

/// What is done with the residual stream after a block: the loss of some tokens, of which the first has this
/// index in the batch, and its gradient into the last argument.
pub type ResidualLoss<'a> = dyn Fn(usize, &[f32], &mut [f32]) -> f64 + Sync + 'a;

impl FusedModel {
    /// Passes over sequences of `tokens` tokens on `threads` threads.
    pub fn new(architecture: &Architecture, tokens: usize, threads: usize) -> Self {
        let lanes = (0..threads.max(1)).map(|_| Lane::new(architecture, tokens)).collect();
        Self { architecture: architecture.clone(), layout: Layout::new(architecture), lanes, tokens }
    }

    /// The gradient of the batch's loss, which [`FusedModel::gradients`] then gives.
    pub fn gradient(
        &mut self,
        parameters: &Parameters,
        batch: &Batch,
        hooks: &Hooks,
    ) -> Result<StepLoss, Error> {
        let total = batch.total_weight();
        let scale = (1.0 / total.max(1e-9)) as f32;
        let l1_scale = 1.0 / batch.inputs.len() as f32;
        let (layout, depth) = (&self.layout, self.architecture.n_layer);
        let mut losses = vec![0.0; batch.inputs.len()];
        with_weights(layout, parameters, |weights| {
            each_lane(&mut self.lanes, batch, self.tokens, &mut losses, 1, |lane, span, losses, opens| {
                if opens {
                    lane.begin(layout);
                }
                lane.trunk(weights, layout, span, hooks, depth);
                lane.final_norm(weights, layout);
                lane.loss_gradient(weights, layout, span, losses, scale);
                lane.backward(weights, layout, span, hooks, depth, l1_scale);
            });
            Ok(())
        })?;
        let penalty = self.lanes.iter().filter(|lane| lane.started).map(|lane| lane.penalty).sum();
        self.reduce();
        Ok(StepLoss::new(&losses, batch, penalty))
    }

    /// The loss of every token of the batch.
    pub fn token_losses(
        &mut self,
        parameters: &Parameters,
        batch: &Batch,
        hooks: &Hooks,
    ) -> Result<Vec<f32>, Error> {
        let (layout, depth) = (&self.layout, self.architecture.n_layer);
        let mut losses = vec![0.0; batch.inputs.len()];
        with_weights(layout, parameters, |weights| {
            each_lane(&mut self.lanes, batch, self.tokens, &mut losses, 1, |lane, span, losses, _| {
                lane.trunk(weights, layout, span, hooks, depth);
                lane.final_norm(weights, layout);
                lane.losses(weights, layout, span, losses);
            });
            Ok(())
        })?;
        Ok(losses)
    }

    /// The logits of one token of each sequence, at the places `places`: (sequences, vocabulary).
    pub fn logits(
        &mut self,
        parameters: &Parameters,
        batch: &Batch,
        places: &[usize],
        hooks: &Hooks,
    ) -> Result<Vec<f32>, Error> {
        let (layout, depth, tokens) = (&self.layout, self.architecture.n_layer, self.tokens);
        let vocabulary = self.architecture.vocab_size;
        let mut logits = vec![0.0; places.len() * vocabulary];
        with_weights(layout, parameters, |weights| {
            // one row of logits for each sequence of `tokens` tokens
            each_lane_of(&mut self.lanes, batch, tokens, &mut logits, vocabulary, |lane, span, logits, _| {
                lane.trunk(weights, layout, span, hooks, depth);
                lane.final_norm(weights, layout);
                let first = span.first / tokens;
                for (sequence, logits) in logits.chunks_exact_mut(vocabulary).enumerate() {
                    let row = sequence * tokens + places[first + sequence];
                    lane.logits_of(weights, layout, row, logits);
                }
            });
            Ok(())
        })?;
        Ok(logits)
    }

    /// The residual stream after the first `depth` blocks: (tokens, width).
    pub fn residuals(
        &mut self,
        parameters: &Parameters,
        batch: &Batch,
        hooks: &Hooks,
        depth: usize,
    ) -> Result<Vec<f32>, Error> {
        let (layout, width) = (&self.layout, self.architecture.n_embd);
        let mut out = vec![0.0; batch.inputs.len() * width];
        with_weights(layout, parameters, |weights| {
            each_lane(&mut self.lanes, batch, self.tokens, &mut out, width, |lane, span, out, _| {
                lane.trunk(weights, layout, span, hooks, depth);
                out.copy_from_slice(lane.residual_after());
            });
            Ok(())
        })?;
        Ok(out)
    }

    /// The gradient of a loss of the residual stream after the first `depth` blocks; returns the loss.
    pub fn residual_gradient(
        &mut self,
        parameters: &Parameters,
        batch: &Batch,
        hooks: &Hooks,
        depth: usize,
        loss: &ResidualLoss<'_>,
    ) -> Result<f64, Error> {
        let layout = &self.layout;
        let mut losses = vec![0.0; batch.inputs.len()];
        with_weights(layout, parameters, |weights| {
            each_lane(&mut self.lanes, batch, self.tokens, &mut losses, 1, |lane, span, losses, opens| {
                if opens {
                    lane.begin(layout);
                    lane.start(layout, true);
                }
                lane.trunk(weights, layout, span, hooks, depth);
                let mut gradient = std::mem::take(lane.residual_gradient());
                gradient.resize(lane.residual_after().len(), 0.0);
                losses[0] = loss(span.first, lane.residual_after(), &mut gradient) as f32;
                *lane.residual_gradient() = gradient;
                lane.backward(weights, layout, span, hooks, depth, 0.0);
            });
            Ok(())
        })?;
        self.reduce();
        Ok(losses.iter().map(|loss| f64::from(*loss)).sum())
    }

    /// The gradient of the last pass, in the order of the parameters' names.
    pub fn gradients(&self) -> &[Vec<f32>] {
        &self.lanes[0].gradient
    }

    /// As [`FusedModel::gradients`], to be weighed or added to.
    pub fn gradients_mut(&mut self) -> &mut [Vec<f32>] {
        &mut self.lanes[0].gradient
    }

    /// Adds the gradients of all lanes to the first one's.
    fn reduce(&mut self) {
        let Some((first, rest)) = self.lanes.split_first_mut() else { return };
        for lane in rest.iter().filter(|lane| lane.started) {
            for (sum, part) in first.gradient.iter_mut().zip(&lane.gradient) {
                sum.par_chunks_mut(CHUNK)
                    .zip(part.par_chunks(CHUNK))
                    .for_each(|(sum, part)| learning::kernels::add_assign(sum, part));
            }
        }
        for lane in rest {
            lane.started = false;
        }
    }
}

/// Shares whole sequences out among the lanes and calls `work` on some of them at a time, with the part of `out`
/// that is theirs (`each` numbers a token) and whether it is the lane's first call.
fn each_lane(
    lanes: &mut [Lane],
    batch: &Batch,
    tokens: usize,
    out: &mut [f32],
    each: usize,
    work: impl Fn(&mut Lane, Span<'_>, &mut [f32], bool) + Sync,
) {
    each_lane_of(lanes, batch, tokens, out, each * tokens, work);
}

/// As [`each_lane`], with `each` numbers of `out` a sequence.
fn each_lane_of(
    lanes: &mut [Lane],
    batch: &Batch,
    tokens: usize,
    out: &mut [f32],
    each: usize,
    work: impl Fn(&mut Lane, Span<'_>, &mut [f32], bool) + Sync,
) {
    let sequences = batch.inputs.len() / tokens;
    let share = sequences.div_ceil(lanes.len()).max(1);
    let at_a_time = (TOKENS_AT_A_TIME / tokens).max(1);
    lanes.par_iter_mut().zip(out.par_chunks_mut(share * each)).enumerate().for_each(
        |(index, (lane, out))| {
            let mut from = index * share;
            let to = ((index + 1) * share).min(sequences);
            for (call, out) in out.chunks_mut(at_a_time * each).enumerate() {
                let until = (from + at_a_time).min(to);
                let rows = from * tokens..until * tokens;
                let span = Span {
                    first: rows.start,
                    inputs: &batch.inputs[rows.clone()],
                    targets: &batch.targets[rows.clone()],
                    weights: &batch.weights[rows],
                };
                work(lane, span, out, call == 0);
                from = until;
            }
        },
    );
}
