//! The CPU path: forward and backward passes written out, without a graph, in `f32`.
//!
//! A step goes through the networks one after another. In each, the threads share the rows of the batch for the
//! forward and backward pass, and the units of every layer for the weights' gradients and the optimiser (see
//! `stack.rs`). Between two networks nothing is kept but the encoding and its gradient, so that decoders and
//! certificates use the same buffers. Each thread sorts its rows by part: the images of a part are then a block
//! of rows, with one weight in the loss and one mask on the encoding's gradient.

mod penalties;
mod stack;

use std::ops::Range;

use candle_core::{DType, Device, Tensor};
use learning::kernels::{Matrix, add_bias, bias_absolute_error};
use learning::lanes::rows_of;
use learning::{AdamConfig, LearningError, Parameters, WeightDecay};
use rayon::prelude::*;

use crate::data::{Batch, Images};
use crate::model::{Architecture, Shape, State};
use crate::objective::{Losses, Objective, StepReport};
use crate::{Error, Reconstruction};
use stack::{ParamWithMoments, Stack, Trace};

/// Networks, moments and buffers of the CPU path.
#[derive(Debug)]
pub struct FusedLearner {
    objective: Objective,
    encoder: Stack,
    decoders: Vec<Stack>,
    certificates: Vec<Stack>,
    shards: Vec<Shard>,
    latents: Vec<f32>,
    latent_gradients: Vec<f32>,
    adam: AdamConfig,
}

/// The rows of a batch that one thread works on.
#[derive(Debug, Default)]
struct Shard {
    rows: usize,
    /// (rows, pixels), sorted by part.
    pixels: Vec<f32>,
    /// The rows of part p are `bounds[p]` to `bounds[p + 1]`.
    bounds: Vec<usize>,
    encoder: Trace,
    /// The decoder or certificate in hand.
    net: Trace,
    /// The gradient of that network's input.
    input_gradient: Vec<f32>,
    /// The weighted absolute errors of these rows.
    loss: f64,
}

impl FusedLearner {
    /// Takes over initial parameters; a batch will be split into `shards` parts.
    ///
    /// # Errors
    /// Fails where the parameters are not those of the architecture.
    pub fn new(
        architecture: &Architecture,
        objective: &Objective,
        parameters: &Parameters,
        weight_decay: f64,
        shards: usize,
    ) -> Result<Self, Error> {
        let stacks = |shapes: &[Shape]| shapes.iter().map(|shape| Stack::new(shape, shards)).collect();
        let mut learner = Self {
            objective: objective.clone(),
            encoder: Stack::new(&architecture.encoder, shards),
            decoders: stacks(&architecture.decoders),
            certificates: stacks(&architecture.certificates),
            shards: std::iter::repeat_with(Shard::default).take(shards).collect(),
            latents: Vec::new(),
            latent_gradients: Vec::new(),
            adam: AdamConfig { weight_decay: WeightDecay::Coupled(weight_decay), ..AdamConfig::default() },
        };
        learner.load_parameters(&parameters.snapshot()?, "the initial parameters")?;
        Ok(learner)
    }

    /// The losses on a batch and their gradient, which is kept for [`FusedLearner::step`].
    pub fn gradient(&mut self, batch: Batch<'_>) -> StepReport {
        let images = batch.indices.len();
        // a step that was not taken on an earlier batch never is
        self.stacks_mut().for_each(|stack| stack.has_gradient = false);
        let counts = self.gather(batch);
        let Self { objective, encoder, decoders, certificates, shards, .. } = self;
        let (latent, pixels) = (objective.latent(), encoder.layers[0].dense.inputs());
        shards.par_iter_mut().for_each(|shard| {
            encoder.forward(Matrix::new(&shard.pixels, shard.rows, pixels), shard.rows, &mut shard.encoder);
        });

        // the penalties see the whole batch
        self.latents.clear();
        for shard in shards.iter() {
            self.latents.extend(shard.encoder.output(latent));
        }
        self.latent_gradients.resize(self.latents.len(), 0.0);
        let (l1, correlation) = penalties::penalties(&self.latents, objective, &mut self.latent_gradients);
        let mut rest = self.latent_gradients.as_slice();
        for shard in shards.iter_mut() {
            let (own, others) = rest.split_at(shard.rows * latent);
            shard.encoder.output_gradient(latent).copy_from_slice(own);
            rest = others;
        }

        let (mut reconstruction, mut squares) = (0.0, 0.0);
        let mut encoder_learns = objective.has_penalty();
        for (index, decoder) in decoders.iter_mut().enumerate() {
            let parts = objective.parts_of_decoder(index);
            if counts[parts.clone()].iter().sum::<usize>() == 0 {
                continue;
            }
            let scales: Vec<f64> = (0..objective.parts())
                .map(|part| objective.weight(part) / (counts[part].max(1) * pixels) as f64)
                .collect();
            let net = &*decoder;
            shards.par_iter_mut().for_each(|shard| shard.decode(net, objective, parts.clone(), &scales));
            reconstruction += shards.iter().map(|shard| shard.loss).sum::<f64>();
            let traces: Vec<_> = shards
                .iter()
                .map(|shard| {
                    (shard.latent_rows(latent, shard.bounds[parts.start], shard.net.rows), &shard.net)
                })
                .collect();
            squares += decoder.gradients(&traces);
            encoder_learns = true;
        }

        let scale = 1.0 / (images * pixels) as f64;
        let mut losses = Vec::with_capacity(certificates.len());
        for (part, certificate) in certificates.iter_mut().enumerate() {
            let columns = objective.columns(part);
            let net = &*certificate;
            shards.par_iter_mut().for_each(|shard| shard.certify(net, latent, columns.clone(), scale));
            losses.push(shards.iter().map(|shard| shard.loss).sum());
            let traces: Vec<_> = shards
                .iter()
                .map(|shard| {
                    (shard.latent_rows(latent, 0, shard.rows).columns(columns.start, columns.end), &shard.net)
                })
                .collect();
            squares += certificate.gradients(&traces);
        }

        if encoder_learns {
            let net = &*encoder;
            shards.par_iter_mut().for_each(|shard| net.backward(&mut shard.encoder));
            let traces: Vec<_> = shards
                .iter()
                .map(|shard| (Matrix::new(&shard.pixels, shard.rows, pixels), &shard.encoder))
                .collect();
            squares += encoder.gradients(&traces);
        }
        let losses = Losses { reconstruction, l1, correlation, certificates: losses };
        StepReport { losses, grad_norm: squares.sqrt() }
    }

    /// Moves the parameters along the gradient of the newest batch.
    pub fn step(&mut self, lr: f64) {
        let adam = self.adam;
        self.stacks_mut().for_each(|stack| stack.step(&adam, lr));
    }

    /// Shares the images out among the shards, each sorted by part; returns the images of each part.
    fn gather(&mut self, batch: Batch<'_>) -> Vec<usize> {
        let Self { objective, shards, .. } = self;
        let (split, total, number) = (&objective.split, batch.indices.len(), shards.len());
        shards.par_iter_mut().enumerate().for_each(|(index, shard)| {
            let own = &batch.indices[rows_of(index, number, total)];
            shard.gather(batch.images, own, |digit| split.part_of(digit), split.parts());
        });
        (0..split.parts())
            .map(|part| shards.iter().map(|shard| shard.bounds[part + 1] - shard.bounds[part]).sum())
            .collect()
    }

    /// What decoder and certificates make of images, without learning from them.
    pub fn reconstruct(&mut self, batch: Batch<'_>) -> Reconstruction {
        let Self { objective, encoder, decoders, certificates, shards, .. } = self;
        let (latent, pixels) = (objective.latent(), encoder.layers[0].dense.inputs());
        let (total, number) = (batch.indices.len(), shards.len());
        let split = &objective.split;
        let parts: Vec<Reconstruction> = shards
            .par_iter_mut()
            .enumerate()
            .map(|(index, shard)| {
                let own = &batch.indices[rows_of(index, number, total)];
                shard.gather(batch.images, own, |_| 0, 1);
                let input = Matrix::new(&shard.pixels, shard.rows, pixels);
                encoder.forward(input, shard.rows, &mut shard.encoder);
                let digit = |index: &u32| batch.images.labels[*index as usize];
                let mut decoder = Vec::new();
                for (part, net) in decoders.iter().enumerate() {
                    let out = shard.run(net, latent, 0..latent, pixels);
                    if part == 0 {
                        decoder = out;
                        continue;
                    }
                    for (row, index) in own.iter().enumerate() {
                        if split.part_of(digit(index)) == part {
                            let row = row * pixels..(row + 1) * pixels;
                            decoder[row.clone()].copy_from_slice(&out[row]);
                        }
                    }
                }
                let certificates = certificates.iter().enumerate();
                let certificates = certificates
                    .map(|(part, net)| shard.run(net, latent, objective.columns(part), pixels))
                    .collect();
                Reconstruction { decoder, certificates }
            })
            .collect();
        Reconstruction::join(parts)
    }

    /// Everything that was learned.
    ///
    /// # Errors
    /// Fails where candle cannot make a tensor.
    pub fn state(&self) -> Result<State, Error> {
        let mut state = State::new();
        let mut add = |name: String, values: &[f32], shape: &[usize]| -> Result<(), Error> {
            state.insert(name, Tensor::from_slice(values, shape, &Device::Cpu)?);
            Ok(())
        };
        let mut steps = Vec::new();
        for stack in self.stacks() {
            for (name, moved, shape) in named(stack) {
                add(format!("adam.first.{name}"), &moved.first, &shape)?;
                add(format!("adam.second.{name}"), &moved.second, &shape)?;
                steps.push((format!("adam.steps.{name}"), stack.steps));
                add(name, &moved.value, &shape)?;
            }
        }
        for (name, steps) in steps {
            state.insert(name, Tensor::new(&[steps as i64], &Device::Cpu)?);
        }
        Ok(state)
    }

    /// Goes back to a state; one without Adam's part of it leaves the moments alone.
    ///
    /// # Errors
    /// Fails where an entry is lacking or has another shape or type; `origin` names the source in the message.
    pub fn load(&mut self, state: &State, origin: &str) -> Result<(), Error> {
        self.load_parameters(state, origin)?;
        if !state.keys().any(|name| name.starts_with("adam.")) {
            return Ok(());
        }
        for stack in self.stacks_mut() {
            let mut steps = 0;
            for (name, moved, shape) in named_mut(stack) {
                moved.first = entry(state, &format!("adam.first.{name}"), &shape, origin)?;
                moved.second = entry(state, &format!("adam.second.{name}"), &shape, origin)?;
                let key = format!("adam.steps.{name}");
                let saved = fitting(state, &key, &[1], DType::I64, origin)?;
                let saved = saved.to_vec1::<i64>()?[0];
                steps = u64::try_from(saved).map_err(|_| {
                    let (origin, name) = (origin.to_owned(), key);
                    LearningError::Steps { origin, name, steps: saved }
                })?;
            }
            stack.steps = steps;
        }
        Ok(())
    }

    fn load_parameters(&mut self, values: &State, origin: &str) -> Result<(), Error> {
        for stack in self.stacks_mut() {
            for (name, moved, shape) in named_mut(stack) {
                moved.value = entry(values, &name, &shape, origin)?;
            }
        }
        Ok(())
    }

    fn stacks(&self) -> impl Iterator<Item = &Stack> {
        std::iter::once(&self.encoder).chain(&self.decoders).chain(&self.certificates)
    }

    fn stacks_mut(&mut self) -> impl Iterator<Item = &mut Stack> {
        std::iter::once(&mut self.encoder).chain(&mut self.decoders).chain(&mut self.certificates)
    }
}

impl Shard {
    fn gather(&mut self, images: &Images, own: &[u32], part_of: impl Fn(u8) -> usize, parts: usize) {
        self.rows = own.len();
        self.bounds.clear();
        self.bounds.push(0);
        self.pixels.resize(own.len() * images.pixels, 0.0);
        let mut row = 0;
        for part in 0..parts {
            for index in own {
                if part_of(images.labels[*index as usize]) == part {
                    images.write(*index, &mut self.pixels[row * images.pixels..][..images.pixels]);
                    row += 1;
                }
            }
            self.bounds.push(row);
        }
    }

    /// The encoding of some rows.
    fn latent_rows(&self, latent: usize, from: usize, rows: usize) -> Matrix<'_> {
        Matrix::new(&self.encoder.output(latent)[from * latent..], rows, latent)
    }

    /// Forward and backward pass of a decoder on the images of `parts`, down to the gradient of the encoding.
    fn decode(&mut self, net: &Stack, objective: &Objective, parts: Range<usize>, scales: &[f64]) {
        let (latent, width) = (objective.latent(), net.last_bias().len());
        let (from, to) = (self.bounds[parts.start], self.bounds[parts.end]);
        let input = Matrix::new(&self.encoder.output(latent)[from * latent..], to - from, latent);
        net.forward(input, to - from, &mut self.net);
        self.loss = 0.0;
        let output = self.net.output_into_gradient(width);
        for part in parts.clone() {
            let (start, end) = (self.bounds[part], self.bounds[part + 1]);
            let target = &self.pixels[start * width..end * width];
            let output = &mut output[(start - from) * width..(end - from) * width];
            let error = bias_absolute_error(output, net.last_bias(), target, scales[part] as f32);
            self.loss += error * scales[part];
        }
        net.backward(&mut self.net);
        net.input_gradient(&self.net, &mut self.input_gradient);
        let gradient = self.encoder.output_gradient(latent);
        for part in parts {
            let (start, end) = (self.bounds[part], self.bounds[part + 1]);
            let own = &self.input_gradient[(start - from) * latent..(end - from) * latent];
            let mask = objective.routes.channel_masks(&[part]);
            for (row, own) in
                gradient[start * latent..end * latent].chunks_exact_mut(latent).zip(own.chunks_exact(latent))
            {
                for ((sum, own), weight) in row.iter_mut().zip(own).zip(&mask) {
                    *sum += weight * own;
                }
            }
        }
    }

    /// Forward and backward pass of a certificate; the encoding gets no gradient from it.
    fn certify(&mut self, net: &Stack, latent: usize, columns: Range<usize>, scale: f64) {
        let width = net.last_bias().len();
        let input =
            Matrix::new(self.encoder.output(latent), self.rows, latent).columns(columns.start, columns.end);
        net.forward(input, self.rows, &mut self.net);
        let output = self.net.output_into_gradient(width);
        let target = &self.pixels[..self.rows * width];
        self.loss = bias_absolute_error(output, net.last_bias(), target, scale as f32) * scale;
        net.backward(&mut self.net);
    }

    /// What a network makes of some columns of the encoding.
    fn run(&mut self, net: &Stack, latent: usize, columns: Range<usize>, pixels: usize) -> Vec<f32> {
        let input =
            Matrix::new(self.encoder.output(latent), self.rows, latent).columns(columns.start, columns.end);
        net.forward(input, self.rows, &mut self.net);
        let mut out = self.net.output(pixels).to_vec();
        add_bias(&mut out, net.last_bias());
        out
    }
}

/// The parameters of a network with their names and shapes.
fn named(stack: &Stack) -> Vec<(String, &ParamWithMoments, Vec<usize>)> {
    let mut out = Vec::new();
    for (index, layer) in stack.layers.iter().enumerate() {
        let (weight, bias) = stack.shape.parameter_names(index);
        out.push((weight, &layer.weight, vec![layer.dense.outputs(), layer.dense.inputs()]));
        out.extend(bias.map(|name| (name, &layer.bias, vec![layer.dense.outputs()])));
    }
    out
}

/// As [`named`], to be changed.
fn named_mut(stack: &mut Stack) -> Vec<(String, &mut ParamWithMoments, Vec<usize>)> {
    let mut out = Vec::new();
    for (index, layer) in stack.layers.iter_mut().enumerate() {
        let (weight, bias) = stack.shape.parameter_names(index);
        out.push((weight, &mut layer.weight, vec![layer.dense.outputs(), layer.dense.inputs()]));
        out.extend(bias.map(|name| (name, &mut layer.bias, vec![layer.dense.outputs()])));
    }
    out
}

fn fitting<'a>(
    state: &'a State,
    name: &str,
    shape: &[usize],
    dtype: DType,
    origin: &str,
) -> Result<&'a Tensor, Error> {
    let lacking = || LearningError::Missing { origin: origin.to_owned(), names: name.to_owned() };
    let tensor = state.get(name).ok_or_else(lacking)?;
    learning::require_shape(tensor, shape, dtype, name, origin)?;
    Ok(tensor)
}

fn entry(state: &State, name: &str, shape: &[usize], origin: &str) -> Result<Vec<f32>, Error> {
    Ok(fitting(state, name, shape, DType::F32, origin)?.flatten_all()?.to_vec1::<f32>()?)
}
