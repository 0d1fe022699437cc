//! A model with whatever computes its passes: the fused CPU path, or candle operations and autograd.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use gradient_routing::Semantics;
use learning::ops::cross_entropy;
use learning::{Adam, Backend, Moves, Parameters, clip_grad_norm};
use rayon::prelude::*;

use crate::Error;
use crate::batch::{Batch, StepLoss};
use crate::fused::{FusedModel, ResidualLoss};
use crate::model::{Activation, Architecture, Hooks, reference};

/// Weights on the gradient of one class of tokens, by the name of the parameter: one for each of its elements.
pub type ParameterWeights = BTreeMap<String, Vec<f32>>;

/// What one class of tokens has in a batch, and which parameters it trains.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassGradient {
    /// The class's share of each target: (sequences · tokens).
    pub shares: Vec<f32>,
    /// The weights of its gradient. A parameter without any gets its gradient as it is.
    pub weights: ParameterWeights,
}

enum Passes {
    Fused(Box<FusedModel>),
    Candle(GradStore),
}

/// A transformer that can be trained.
pub struct Model {
    architecture: Architecture,
    parameters: Parameters,
    passes: Passes,
    tokens: usize,
    device: Device,
}

impl Model {
    /// A model with these parameters, for sequences of `tokens` tokens on `threads` threads.
    ///
    /// # Errors
    /// Fails where no such network can be made, or the fused path is asked for what it does not compute.
    pub fn new(
        architecture: &Architecture,
        parameters: Parameters,
        tokens: usize,
        threads: usize,
        backend: Backend,
    ) -> Result<Self, Error> {
        architecture.check()?;
        let device = parameters.get("embed.W_E")?.device().clone();
        let computed = architecture.activation == Activation::GeluTanh;
        if backend == Backend::Fused && !computed {
            return Err(Error::FusedActivation(architecture.activation));
        }
        let fused = backend.is_fused_on(&device)? && computed;
        let passes = if fused {
            Passes::Fused(Box::new(FusedModel::new(architecture, tokens, threads)))
        } else {
            Passes::Candle(GradStore::default())
        };
        Ok(Self { architecture: architecture.clone(), parameters, passes, tokens, device })
    }

    /// Names and shapes.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The variables.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Where the tensors live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Tokens of a sequence.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Computes the gradient of the batch's mean loss and keeps it for [`Model::step`].
    ///
    /// # Errors
    /// Fails where the parameters are not the model's.
    pub fn gradient(&mut self, batch: &Batch, hooks: &Hooks) -> Result<StepLoss, Error> {
        match &mut self.passes {
            Passes::Fused(fused) => fused.gradient(&self.parameters, batch, hooks),
            Passes::Candle(grads) => {
                let (loss, penalty) =
                    candle_loss(&self.architecture, &self.parameters, batch, hooks, &self.device)?;
                let value = f64::from(loss.to_dtype(candle_core::DType::F32)?.to_scalar::<f32>()?);
                let (total, penalty) = match penalty {
                    Some(penalty) => {
                        let value = penalty.to_dtype(candle_core::DType::F32)?.to_scalar::<f32>()?;
                        ((loss + penalty)?, f64::from(value))
                    }
                    None => (loss, 0.0),
                };
                *grads = total.backward()?;
                Ok(StepLoss { loss: value, penalty })
            }
        }
    }

    /// Σ over the classes of `weights ⊙ ∂(mean loss of the batch, with the class's share of each target)`, kept
    /// for [`Model::step`]. The shares of a target over the classes add up to 1.
    ///
    /// # Errors
    /// As [`Model::gradient`], and where weights do not fit their parameter.
    pub fn gradient_by_class(&mut self, batch: &Batch, classes: &[ClassGradient]) -> Result<StepLoss, Error> {
        let whole = batch.total_weight();
        let mut sums: Vec<Vec<f32>> = Vec::new();
        let mut loss = 0.0;
        for ClassGradient { shares, weights } in classes {
            let mut part = batch.clone();
            part.weights.iter_mut().zip(shares).for_each(|(weight, share)| *weight *= share);
            let share = (part.total_weight() / whole.max(1e-9)) as f32;
            if share == 0.0 {
                continue;
            }
            loss += self.gradient(&part, &Hooks::default())?.loss * f64::from(share);
            for (index, (name, mut gradient)) in self.gradients()?.into_iter().enumerate() {
                match weights.get(&name) {
                    Some(weights) if weights.len() == gradient.len() => {
                        gradient.iter_mut().zip(weights).for_each(|(g, w)| *g *= w * share);
                    }
                    Some(weights) => {
                        let (found, expected) = (weights.len(), gradient.len());
                        return Err(Error::ParameterWeights { name, expected, found });
                    }
                    None => gradient.iter_mut().for_each(|g| *g *= share),
                }
                match sums.get_mut(index) {
                    Some(sum) => learning::kernels::add_assign(sum, &gradient),
                    None => sums.push(gradient),
                }
            }
        }
        if !sums.is_empty() {
            self.set_gradients(sums)?;
        }
        Ok(StepLoss { loss, penalty: 0.0 })
    }

    /// Computes the gradient of a loss of the residual stream after the first `depth` blocks, and keeps it.
    ///
    /// # Errors
    /// As [`Model::gradient`].
    pub fn residual_gradient(
        &mut self,
        batch: &Batch,
        depth: usize,
        loss: &ResidualLoss<'_>,
    ) -> Result<f64, Error> {
        let hooks = Hooks::default();
        match &mut self.passes {
            Passes::Fused(fused) => fused.residual_gradient(&self.parameters, batch, &hooks, depth, loss),
            Passes::Candle(grads) => {
                let inputs = Tensor::new(batch.inputs.as_slice(), &self.device)?;
                let (architecture, parameters) = (&self.architecture, &self.parameters);
                let stream =
                    reference::trunk(architecture, parameters, &inputs, batch.tokens, &hooks, depth)?
                        .residual;
                let values = stream.flatten_all()?.to_vec1::<f32>()?;
                let mut gradient = vec![0.0; values.len()];
                let value = loss(0, &values, &mut gradient);
                let gradient = Tensor::from_vec(gradient, stream.shape(), &self.device)?;
                // its gradient with respect to the stream is the one that the loss gave
                *grads = stream.mul(&gradient)?.sum_all()?.backward()?;
                Ok(value)
            }
        }
    }

    /// One step of `adam` along the gradient that was kept, clipped to the norm `max_norm` (0 for no limit).
    /// Returns the norm before.
    ///
    /// # Errors
    /// Fails where `adam` is not one of this model's parameters.
    pub fn step(&mut self, adam: &mut Adam, lr: f64, max_norm: f64) -> Result<f64, Error> {
        match &mut self.passes {
            Passes::Fused(fused) => step_along(adam, fused.gradients(), lr, max_norm, &Moves::new()),
            Passes::Candle(grads) => {
                let limit = if max_norm > 0.0 { max_norm } else { f64::INFINITY };
                let norm = clip_grad_norm(&self.parameters, grads, limit)?;
                if norm.is_finite() {
                    adam.step(grads, lr)?;
                }
                Ok(norm)
            }
        }
    }

    /// As [`Model::step`], but along the gradient of the parts that `trained` says alone, which is masked here, once,
    /// before its norm is taken. The other parts stay as they are with their moments, or move by moments and decay, as
    /// `semantics` says.
    ///
    /// # Errors
    /// As [`Model::step`].
    pub fn step_parts(
        &mut self,
        adam: &mut Adam,
        lr: f64,
        max_norm: f64,
        trained: &Moves,
        semantics: Semantics,
    ) -> Result<f64, Error> {
        let whole = Moves::new();
        let moves = if semantics == Semantics::Frozen { trained } else { &whole };
        if let Passes::Fused(fused) = &mut self.passes {
            adam.zero_unmoved(fused.gradients_mut(), trained);
            return step_along(adam, fused.gradients(), lr, max_norm, moves);
        }
        let mut gradients: Vec<Vec<f32>> = self.gradients()?.into_iter().map(|(_, values)| values).collect();
        adam.zero_unmoved(&mut gradients, trained);
        step_along(adam, &gradients, lr, max_norm, moves)
    }

    /// The loss of every target of the batch, also of those with weight 0.
    ///
    /// # Errors
    /// As [`Model::gradient`].
    pub fn token_losses(&mut self, batch: &Batch, hooks: &Hooks) -> Result<Vec<f32>, Error> {
        match &mut self.passes {
            Passes::Fused(fused) => fused.token_losses(&self.parameters, batch, hooks),
            Passes::Candle(_) => {
                let losses =
                    candle_losses(&self.architecture, &self.parameters, batch, hooks, &self.device)?.0;
                Ok(losses.to_dtype(candle_core::DType::F32)?.to_vec1::<f32>()?)
            }
        }
    }

    /// The logits of one token of each sequence: (sequences · vocabulary).
    ///
    /// # Errors
    /// As [`Model::gradient`].
    pub fn logits(&mut self, batch: &Batch, places: &[usize], hooks: &Hooks) -> Result<Vec<f32>, Error> {
        match &mut self.passes {
            Passes::Fused(fused) => fused.logits(&self.parameters, batch, places, hooks),
            Passes::Candle(_) => {
                let (architecture, parameters) = (&self.architecture, &self.parameters);
                let inputs = Tensor::new(batch.inputs.as_slice(), &self.device)?;
                let depth = architecture.n_layer;
                let stream =
                    reference::trunk(architecture, parameters, &inputs, batch.tokens, hooks, depth)?.residual;
                let rows: Vec<u32> =
                    places.iter().enumerate().map(|(i, place)| (i * batch.tokens + place) as u32).collect();
                let rows = stream.index_select(&Tensor::new(rows, &self.device)?, 0)?;
                let logits = reference::logits(architecture, parameters, &rows)?;
                Ok(logits.flatten_all()?.to_dtype(candle_core::DType::F32)?.to_vec1::<f32>()?)
            }
        }
    }

    /// The fused passes, where it has them, with their parameters.
    pub(crate) fn fused(&mut self) -> Option<(&mut FusedModel, &Parameters)> {
        match &mut self.passes {
            Passes::Fused(fused) => Some((fused, &self.parameters)),
            Passes::Candle(_) => None,
        }
    }

    /// The logits of every token: (tokens · vocabulary).
    ///
    /// # Errors
    /// As [`Model::gradient`].
    pub fn all_logits(&mut self, batch: &Batch, hooks: &Hooks) -> Result<Vec<f32>, Error> {
        let (depth, width) = (self.architecture.n_layer, self.architecture.n_embd);
        let stream = self.residuals(batch, hooks, depth)?;
        let rows = Tensor::from_vec(stream, (batch.inputs.len(), width), &self.device)?;
        let logits = reference::logits(&self.architecture, &self.parameters, &rows)?;
        Ok(logits.flatten_all()?.to_dtype(candle_core::DType::F32)?.to_vec1::<f32>()?)
    }

    /// The residual stream after the first `depth` blocks: (tokens · width).
    ///
    /// # Errors
    /// As [`Model::gradient`].
    pub fn residuals(&mut self, batch: &Batch, hooks: &Hooks, depth: usize) -> Result<Vec<f32>, Error> {
        match &mut self.passes {
            Passes::Fused(fused) => fused.residuals(&self.parameters, batch, hooks, depth),
            Passes::Candle(_) => {
                let inputs = Tensor::new(batch.inputs.as_slice(), &self.device)?;
                let (architecture, parameters) = (&self.architecture, &self.parameters);
                let forward =
                    reference::trunk(architecture, parameters, &inputs, batch.tokens, hooks, depth)?;
                Ok(forward.residual.flatten_all()?.to_vec1::<f32>()?)
            }
        }
    }

    /// A copy of the gradient that is kept, by name; zeros where a parameter has none.
    ///
    /// # Errors
    /// Fails where a gradient cannot be copied from its device.
    pub fn gradients(&self) -> Result<Vec<(String, Vec<f32>)>, Error> {
        match &self.passes {
            Passes::Fused(fused) => {
                let names = self.parameters.iter().map(|(name, _)| name.to_owned());
                Ok(names.zip(fused.gradients().iter().cloned()).collect())
            }
            Passes::Candle(grads) => {
                let gradient = |(name, var): (&str, &candle_core::Var)| -> Result<_, Error> {
                    let values = match grads.get(var) {
                        Some(gradient) => {
                            gradient.flatten_all()?.to_dtype(candle_core::DType::F32)?.to_vec1()?
                        }
                        None => vec![0.0; var.elem_count()],
                    };
                    Ok((name.to_owned(), values))
                };
                self.parameters.iter().map(gradient).collect()
            }
        }
    }

    pub(crate) fn set_gradients(&mut self, gradients: Vec<Vec<f32>>) -> Result<(), Error> {
        match &mut self.passes {
            Passes::Fused(fused) => {
                fused.set_gradients(gradients);
            }
            Passes::Candle(grads) => {
                for ((_, var), gradient) in self.parameters.iter().zip(gradients) {
                    grads.insert(var, Tensor::from_vec(gradient, var.shape(), &self.device)?);
                }
            }
        }
        Ok(())
    }
}

/// A step along gradients that are clipped to a norm, of the parts that `moves` says. Returns the norm before.
fn step_along(
    adam: &mut Adam,
    gradients: &[Vec<f32>],
    lr: f64,
    max_norm: f64,
    moves: &Moves,
) -> Result<f64, Error> {
    let norm = norm_of(gradients);
    let scale = if max_norm > 0.0 { (max_norm / (norm + 1e-6)).min(1.0) } else { 1.0 };
    if norm.is_finite() {
        adam.step_parts(gradients, scale, lr, moves)?;
    }
    Ok(norm)
}

/// The norm of all gradients together, summed in a fixed order.
fn norm_of(gradients: &[Vec<f32>]) -> f64 {
    let sums: Vec<Vec<f64>> = gradients
        .iter()
        .map(|gradient| gradient.par_chunks(1 << 16).map(learning::kernels::sum_of_squares).collect())
        .collect();
    sums.iter().flatten().sum::<f64>().sqrt()
}

/// The loss of every target, and the penalties.
fn candle_losses(
    architecture: &Architecture,
    parameters: &Parameters,
    batch: &Batch,
    hooks: &Hooks,
    device: &Device,
) -> Result<(Tensor, Option<Tensor>), Error> {
    let inputs = Tensor::new(batch.inputs.as_slice(), device)?;
    let targets = Tensor::new(batch.targets.as_slice(), device)?;
    let forward =
        reference::trunk(architecture, parameters, &inputs, batch.tokens, hooks, architecture.n_layer)?;
    let logits = reference::logits(architecture, parameters, &forward.residual)?;
    Ok((cross_entropy(&logits, &targets)?, forward.penalty))
}

/// The mean loss, and the penalties.
fn candle_loss(
    architecture: &Architecture,
    parameters: &Parameters,
    batch: &Batch,
    hooks: &Hooks,
    device: &Device,
) -> Result<(Tensor, Option<Tensor>), Error> {
    let (losses, penalty) = candle_losses(architecture, parameters, batch, hooks, device)?;
    let weights = Tensor::new(batch.weights.as_slice(), device)?.to_dtype(losses.dtype())?;
    let loss = (losses.mul(&weights)?.sum_all()? * (1.0 / batch.total_weight().max(1e-9)))?;
    Ok((loss, penalty))
}
