//! One more token of each text, from the keys and values of the tokens before it.

use learning::Parameters;
use learning::kernels::{self, Matrix, Write, matmul};
use rayon::prelude::*;

use super::attention::{Heads, Rotary};
use super::lane::{BlockActivations, Lane, Pass};
use super::layout::with_weights;
use super::{FusedModel, Layout};
use crate::Error;
use crate::batch::Batch;
use crate::model::Hooks;

/// What is kept of a text.
#[derive(Clone, Default)]
pub(crate) struct Text {
    /// The logits after its last token.
    pub logits: Vec<f32>,
    /// Of each block and head of keys and values.
    heads: Vec<Kept>,
}

/// Keys, as queries meet them, and values of a head: (tokens, width) each.
#[derive(Clone, Default)]
struct Kept {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl FusedModel {
    /// What is kept of the sequences of a batch, of which the first `length` tokens are texts.
    pub(crate) fn begin(
        &mut self,
        parameters: &Parameters,
        batch: &Batch,
        length: usize,
        hooks: &Hooks,
    ) -> Result<Vec<Text>, Error> {
        let (depth, tokens, vocabulary) =
            (self.architecture.n_layer, self.tokens, self.architecture.vocab_size);
        let mut texts = vec![Text::default(); batch.sequences()];
        self.each_lane(parameters, batch, hooks, depth, &mut texts, |lane, pass, texts, _| {
            lane.trunk(pass);
            lane.final_norm(pass);
            lane.keep(texts, length);
            for (sequence, text) in texts.iter_mut().enumerate() {
                text.logits.resize(vocabulary, 0.0);
                lane.logits_of(pass, sequence * tokens + length - 1, &mut text.logits);
            }
        })?;
        Ok(texts)
    }

    /// Adds a token, the one at `place`, to each text.
    pub(crate) fn next(
        &mut self,
        parameters: &Parameters,
        inputs: &[u32],
        texts: &mut [Text],
        place: usize,
        hooks: &Hooks,
    ) -> Result<(), Error> {
        let Self { architecture, layout, lanes, tokens } = self;
        let (depth, tokens, layout): (usize, usize, &Layout) = (architecture.n_layer, *tokens, layout);
        let share = texts.len().div_ceil(lanes.len()).max(1);
        with_weights(layout, parameters, |weights| {
            let parts = texts.par_chunks_mut(share).zip(inputs.par_chunks(share));
            lanes.par_iter_mut().zip(parts).enumerate().for_each(|(index, (lane, (texts, inputs)))| {
                let first = index * share * tokens + place;
                let pass = Pass {
                    weights,
                    layout,
                    hooks,
                    depth,
                    batch_tokens: inputs.len(),
                    first,
                    stride: tokens,
                    inputs,
                    targets: &[],
                    shares: &[],
                };
                lane.next(&pass, texts, place);
            });
        })
    }
}

impl Lane {
    /// Keeps the keys and values of the first `length` tokens of each sequence of the last pass.
    fn keep(&self, texts: &mut [Text], length: usize) {
        let Heads { tokens, width, kv_count, .. } = self.heads;
        let row = self.heads.qkv_width();
        for (sequence, text) in texts.iter_mut().enumerate() {
            text.heads.clear();
            for block in self.blocks() {
                let rows = &block.qkv()[sequence * tokens * row..][..length * row];
                for head in 0..kv_count {
                    let mut kept = Kept::default();
                    let [_, k, v] = self.heads.begins(head * self.heads.count / kv_count);
                    for row in rows.chunks_exact(row) {
                        kept.keys.extend_from_slice(&row[k..][..width]);
                        kept.values.extend_from_slice(&row[v..][..width]);
                    }
                    if let Some(rotary) = self.rotary() {
                        rotary.turn(&mut kept.keys, width, 0, false);
                    }
                    text.heads.push(kept);
                }
            }
        }
    }

    /// One token of each text through the network.
    fn next(&mut self, pass: &Pass<'_>, texts: &mut [Text], place: usize) {
        self.run(pass, |_| place, |lane, layer, block| lane.attend_kept(layer, block, texts, place));
        self.final_norm(pass);
        self.with_logits(pass, |logits, vocabulary| {
            for (text, logits) in texts.iter_mut().zip(logits.chunks_exact(vocabulary)) {
                text.logits.copy_from_slice(logits);
            }
        });
    }

    /// z of one token of each text, whose keys and values are kept with the others.
    fn attend_kept(&mut self, layer: usize, block: &mut BlockActivations, texts: &mut [Text], place: usize) {
        let (heads, rotary) = (self.heads, self.rotary());
        let Heads { width, count, kv_count, .. } = heads;
        let (z, qkv) = block.z_of_qkv(texts.len() * count * width);
        let mut q = vec![0.0; width];
        let mut pattern = vec![0.0; place + 1];
        for (row, text) in texts.iter_mut().enumerate() {
            let qkv = &qkv[row * heads.qkv_width()..][..heads.qkv_width()];
            for head in 0..count {
                let [query, key, value] = heads.begins(head);
                let kept = &mut text.heads[layer * kv_count + head / (count / kv_count)];
                if heads.opens_group(head) {
                    let from = kept.keys.len();
                    kept.keys.extend_from_slice(&qkv[key..][..width]);
                    kept.values.extend_from_slice(&qkv[value..][..width]);
                    turn(rotary, &mut kept.keys[from..], place);
                }
                for (scaled, q) in q.iter_mut().zip(&qkv[query..][..width]) {
                    *scaled = q * heads.scale();
                }
                turn(rotary, &mut q, place);
                let (keys, values) = (&kept.keys, &kept.values);
                let keys = Matrix::new(keys, place + 1, width);
                matmul(&mut pattern, Matrix::new(&q, 1, width), keys.t(), Write::Set);
                kernels::causal_softmax(&mut pattern, place + 1, place);
                let out = &mut z[(row * count + head) * width..][..width];
                let values = Matrix::new(values, place + 1, width);
                matmul(out, Matrix::new(&pattern, 1, place + 1), values, Write::Set);
            }
        }
    }
}

fn turn(rotary: Option<&Rotary>, row: &mut [f32], place: usize) {
    if let Some(rotary) = rotary {
        rotary.turn(row, row.len(), place, false);
    }
}
