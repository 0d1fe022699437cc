//! Forward and backward passes on the CPU without a graph: each thread takes whole sequences through the network
//! and adds up a gradient of its own; the parts are then added in their order, so that results repeat.

pub mod attention;
mod cached;
mod lane;
mod layout;
#[cfg(test)]
mod tests;

use learning::{Parameters, lanes};
use rayon::prelude::*;

use crate::Error;
use crate::batch::{Batch, StepLoss};
use crate::model::{Architecture, Hooks};
pub(crate) use cached::Text;
use lane::{Lane, Pass};
use layout::{Layout, with_weights};

/// Tokens that a thread takes through the network at a time, so that their activations stay near.
const TOKENS_AT_A_TIME: usize = 1024;

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
    pub(crate) fn new(architecture: &Architecture, tokens: usize, threads: usize) -> Self {
        let lanes = (0..threads.max(1)).map(|_| Lane::new(architecture, tokens)).collect();
        Self { architecture: architecture.clone(), layout: Layout::new(architecture), lanes, tokens }
    }

    /// The gradient of the batch's loss, which [`FusedModel::gradients`] then gives.
    pub(crate) fn gradient(
        &mut self,
        parameters: &Parameters,
        batch: &Batch,
        hooks: &Hooks,
    ) -> Result<StepLoss, Error> {
        let scale = (1.0 / batch.total_weight().max(1e-9)) as f32;
        let depth = self.architecture.n_layer;
        let mut losses = vec![0.0; batch.inputs.len()];
        self.each_lane(parameters, batch, hooks, depth, &mut losses, |lane, pass, losses, opens| {
            if opens {
                lane.gradient.begin(pass.layout);
            }
            lane.trunk(pass);
            lane.final_norm(pass);
            lane.loss_gradient(pass, losses, scale);
            lane.backward(pass);
        })?;
        let gradients = self.lanes.iter().map(|lane| &lane.gradient);
        let penalty = gradients.filter(|gradient| gradient.started).map(|gradient| gradient.penalty).sum();
        self.reduce();
        Ok(StepLoss::new(&losses, batch, penalty))
    }

    /// The loss of every token of the batch.
    pub(crate) fn token_losses(
        &mut self,
        parameters: &Parameters,
        batch: &Batch,
        hooks: &Hooks,
    ) -> Result<Vec<f32>, Error> {
        let depth = self.architecture.n_layer;
        let mut losses = vec![0.0; batch.inputs.len()];
        self.each_lane(parameters, batch, hooks, depth, &mut losses, |lane, pass, losses, _| {
            lane.trunk(pass);
            lane.final_norm(pass);
            lane.losses(pass, losses);
        })?;
        Ok(losses)
    }

    /// The logits of one token of each sequence, at the positions `positions`: (sequences, vocabulary).
    pub(crate) fn logits(
        &mut self,
        parameters: &Parameters,
        batch: &Batch,
        positions: &[usize],
        hooks: &Hooks,
    ) -> Result<Vec<f32>, Error> {
        let (depth, tokens) = (self.architecture.n_layer, self.tokens);
        let vocabulary = self.architecture.vocab_size;
        let mut logits = vec![0.0; positions.len() * vocabulary];
        self.each_lane(parameters, batch, hooks, depth, &mut logits, |lane, pass, logits, _| {
            lane.trunk(pass);
            lane.final_norm(pass);
            let first = pass.first / tokens;
            for (sequence, logits) in logits.chunks_exact_mut(vocabulary).enumerate() {
                lane.logits_of(pass, sequence * tokens + positions[first + sequence], logits);
            }
        })?;
        Ok(logits)
    }

    /// The residual stream after the first `depth` blocks: (tokens, width).
    pub(crate) fn residuals(
        &mut self,
        parameters: &Parameters,
        batch: &Batch,
        hooks: &Hooks,
        depth: usize,
    ) -> Result<Vec<f32>, Error> {
        let mut out = vec![0.0; batch.inputs.len() * self.architecture.n_embd];
        self.each_lane(parameters, batch, hooks, depth, &mut out, |lane, pass, out, _| {
            lane.trunk(pass);
            out.copy_from_slice(lane.residual_after());
        })?;
        Ok(out)
    }

    /// The gradient of a loss of the residual stream after the first `depth` blocks; returns the loss.
    pub(crate) fn residual_gradient(
        &mut self,
        parameters: &Parameters,
        batch: &Batch,
        hooks: &Hooks,
        depth: usize,
        loss: &ResidualLoss<'_>,
    ) -> Result<f64, Error> {
        let mut losses = vec![0.0; batch.inputs.len()];
        self.each_lane(parameters, batch, hooks, depth, &mut losses, |lane, pass, losses, opens| {
            if opens {
                lane.gradient.begin(pass.layout);
                lane.gradient.empty_all();
            }
            lane.trunk(pass);
            losses[0] = lane.residual_gradient(|stream, gradient| loss(pass.first, stream, gradient)) as f32;
            lane.backward(pass);
        })?;
        self.reduce();
        Ok(losses.iter().map(|loss| f64::from(*loss)).sum())
    }

    /// The gradient of the last pass, in the order of the parameters' names.
    pub(crate) fn gradients(&self) -> &[Vec<f32>] {
        &self.lanes[0].gradient.values
    }

    /// As [`FusedModel::gradients`], to be weighed or added to.
    pub(crate) fn gradients_mut(&mut self) -> &mut [Vec<f32>] {
        &mut self.lanes[0].gradient.values
    }

    /// Takes a gradient in place of the last pass's, one for each parameter in the order of their names.
    pub(crate) fn set_gradients(&mut self, gradients: Vec<Vec<f32>>) {
        self.lanes[0].gradient.values = gradients;
    }

    /// Adds the gradients of all lanes to the first one's.
    fn reduce(&mut self) {
        let Some((first, rest)) = self.lanes.split_first_mut() else { return };
        for (index, sum) in first.gradient.values.iter_mut().enumerate() {
            let started = rest.iter().filter(|lane| lane.gradient.started);
            let parts: Vec<&[f32]> = started.map(|lane| lane.gradient.values[index].as_slice()).collect();
            lanes::add_in_order(sum, &parts);
        }
        for lane in rest {
            lane.gradient.started = false;
        }
    }

    /// Shares whole sequences out among the lanes and calls `work` on some of them at a time, with the part of `out`
    /// that is theirs (as many values for each sequence) and whether it is the lane's first call.
    fn each_lane<T: Send>(
        &mut self,
        parameters: &Parameters,
        batch: &Batch,
        hooks: &Hooks,
        depth: usize,
        out: &mut [T],
        work: impl Fn(&mut Lane, &Pass<'_>, &mut [T], bool) + Sync,
    ) -> Result<(), Error> {
        let Self { layout, lanes, tokens, .. } = self;
        with_weights(layout, parameters, |weights| {
            let whole = Pass {
                weights,
                layout,
                hooks,
                depth,
                batch_tokens: batch.inputs.len(),
                first: 0,
                stride: 1,
                inputs: &batch.inputs,
                targets: &batch.targets,
                shares: &batch.weights,
            };
            share_out(lanes, &whole, *tokens, out, work);
        })
    }
}

fn share_out<T: Send>(
    lanes: &mut [Lane],
    whole: &Pass<'_>,
    tokens: usize,
    out: &mut [T],
    work: impl Fn(&mut Lane, &Pass<'_>, &mut [T], bool) + Sync,
) {
    let sequences = whole.inputs.len() / tokens;
    if sequences == 0 {
        return;
    }
    let each = out.len() / sequences;
    let share = sequences.div_ceil(lanes.len());
    let at_a_time = (TOKENS_AT_A_TIME / tokens).max(1);
    lanes.par_iter_mut().zip(out.par_chunks_mut(share * each)).enumerate().for_each(
        |(index, (lane, out))| {
            let (mut from, to) = (index * share, ((index + 1) * share).min(sequences));
            for (call, out) in out.chunks_mut(at_a_time * each).enumerate() {
                let until = (from + at_a_time).min(to);
                work(lane, &whole.part(from * tokens..until * tokens), out, call == 0);
                from = until;
            }
        },
    );
}
