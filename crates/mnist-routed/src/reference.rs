//! The reference: candle operations and autograd, with routing by [`gradient_routing::route`]. Also the path for
//! GPUs.

use candle_core::backprop::GradStore;
use candle_core::{D, DType, Device, Tensor};
use gradient_routing::{route, stop};
use learning::ops::relu;
use learning::{Adam, AdamConfig, Parameters, WeightDecay, global_norm};

use crate::data::{Batch, Images};
use crate::model::{Architecture, Shape, State};
use crate::objective::{LEAST_DEVIATION, Losses, Objective, StepReport};
use crate::{Error, Reconstruction};

/// Networks and optimiser on candle tensors.
pub struct ReferenceLearner {
    architecture: Architecture,
    objective: Objective,
    parameters: Parameters,
    adam: Adam,
    /// Of the newest batch, until a step is taken on it.
    gradients: Option<GradStore>,
    device: Device,
}

/// The losses of a batch as tensors, with the graph behind them; nothing for a term that trains nothing.
pub struct LossTensors {
    /// The weighted reconstruction error.
    pub reconstruction: Option<Tensor>,
    /// The L1 penalty of each part of the encoding, without its weight.
    pub l1: Vec<Tensor>,
    /// The correlation penalty, without its weight.
    pub correlation: Tensor,
    /// Each certificate's mean absolute error.
    pub certificates: Vec<Tensor>,
}

impl ReferenceLearner {
    /// Takes over initial parameters, which are shared, not copied.
    ///
    /// # Errors
    /// Fails where the moments cannot be placed on the device.
    pub fn new(
        architecture: &Architecture,
        objective: &Objective,
        parameters: &Parameters,
        weight_decay: f64,
        device: &Device,
    ) -> Result<Self, Error> {
        let config = AdamConfig { weight_decay: WeightDecay::Coupled(weight_decay), ..AdamConfig::default() };
        Ok(Self {
            architecture: architecture.clone(),
            objective: objective.clone(),
            parameters: parameters.clone(),
            adam: Adam::new(parameters, config)?,
            gradients: None,
            device: device.clone(),
        })
    }

    /// The parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The losses on a batch and their gradient, which is kept for [`ReferenceLearner::step`].
    ///
    /// # Errors
    /// Fails where candle does.
    pub fn gradient(&mut self, batch: Batch<'_>) -> Result<StepReport, Error> {
        let losses = self.losses(batch)?;
        let total = self.total(&losses)?;
        let gradients = total.backward()?;
        let grad_norm = global_norm(&self.parameters, &gradients)?;
        self.gradients = Some(gradients);
        let number = |tensor: &Tensor| -> Result<f64, Error> {
            Ok(f64::from(tensor.to_dtype(DType::F32)?.to_scalar::<f32>()?))
        };
        let losses = Losses {
            reconstruction: losses.reconstruction.as_ref().map_or(Ok(0.0), number)?,
            l1: losses.l1.iter().map(number).sum::<Result<f64, Error>>()?,
            correlation: number(&losses.correlation)?,
            certificates: losses.certificates.iter().map(number).collect::<Result<_, _>>()?,
        };
        Ok(StepReport { losses, grad_norm })
    }

    /// Moves the parameters along the gradient of the newest batch.
    ///
    /// # Errors
    /// Fails where candle does.
    pub fn step(&mut self, lr: f64) -> Result<(), Error> {
        if let Some(gradients) = self.gradients.take() {
            self.adam.step(&gradients, lr)?;
        }
        Ok(())
    }

    /// The weighted sum of the losses that train something.
    ///
    /// # Errors
    /// Fails where candle does.
    pub fn total(&self, losses: &LossTensors) -> Result<Tensor, Error> {
        let mut terms: Vec<Tensor> = losses.reconstruction.iter().cloned().collect();
        for (l1, weight) in losses.l1.iter().zip(&self.objective.l1).filter(|(_, weight)| **weight > 0.0) {
            terms.push((l1 * *weight)?);
        }
        if self.objective.correlation > 0.0 {
            terms.push((&losses.correlation * self.objective.correlation)?);
        }
        terms.extend(losses.certificates.iter().cloned());
        Ok(Tensor::stack(&terms, 0)?.sum_all()?)
    }

    /// The losses of a batch, see [`Objective`].
    ///
    /// # Errors
    /// Fails where candle does.
    pub fn losses(&self, batch: Batch<'_>) -> Result<LossTensors, Error> {
        let objective = &self.objective;
        let (parts, x) = (objective.parts(), self.pixels(batch)?);
        let part_of: Vec<usize> = batch
            .indices
            .iter()
            .map(|index| objective.split.part_of(batch.images.labels[*index as usize]))
            .collect();
        let z = self.run(&self.architecture.encoder, &x)?;
        let columns = |z: &Tensor, part: usize| {
            let columns = objective.columns(part);
            z.narrow(1, columns.start, columns.len())
        };

        let masks = objective.routes.channel_masks(&part_of);
        let routed = route(&z, &Tensor::from_vec(masks, z.shape(), &self.device)?)?;
        let mut reconstruction: Option<Tensor> = None;
        for (index, decoder) in self.architecture.decoders.iter().enumerate() {
            for part in objective.parts_of_decoder(index) {
                let rows: Vec<u32> =
                    (0..part_of.len() as u32).filter(|row| part_of[*row as usize] == part).collect();
                if rows.is_empty() {
                    continue;
                }
                let rows = self.indices(&rows)?;
                let out = self.run(decoder, &routed.index_select(&rows, 0)?)?;
                let error = (out - x.index_select(&rows, 0)?)?.abs()?.mean_all()?;
                let term = (error * objective.weight(part))?;
                reconstruction = Some(match reconstruction {
                    Some(sum) => (sum + term)?,
                    None => term,
                });
            }
        }
        let l1 = (0..parts).map(|part| Ok(columns(&z, part)?.abs()?.sum(1)?.mean_all()?));
        let certificates = self.architecture.certificates.iter().enumerate().map(|(part, certificate)| {
            let out = self.run(certificate, &stop(&columns(&z, part)?))?;
            Ok((out - &x)?.abs()?.mean_all()?)
        });
        Ok(LossTensors {
            reconstruction,
            l1: l1.collect::<Result<_, Error>>()?,
            correlation: self.correlation(&z)?,
            certificates: certificates.collect::<Result<_, Error>>()?,
        })
    }

    /// The mean absolute correlation of columns of different parts.
    fn correlation(&self, z: &Tensor) -> Result<Tensor, Error> {
        // 0 for a column that is exactly constant: its rounded mean may leave something that is no deviation
        let varies = z.max_keepdim(0)?.ne(&z.min_keepdim(0)?)?.to_dtype(z.dtype())?;
        let centred = z.broadcast_sub(&z.mean_keepdim(0)?)?.broadcast_mul(&varies)?;
        let others = (z.dim(0)? as f64 - 1.0).max(1.0);
        let variance = (centred.sqr()?.sum_keepdim(0)? / others)?;
        let deviation = variance.maximum(LEAST_DEVIATION * LEAST_DEVIATION)?.sqrt()?;
        let normal = centred.broadcast_div(&deviation)?;
        let correlations = (normal.t()?.matmul(&normal)? / z.dim(0)? as f64)?;
        let part: Vec<u32> = self.objective.part_of_columns().into_iter().map(|part| part as u32).collect();
        let part = Tensor::new(part, &self.device)?;
        let apart = part.unsqueeze(1)?.broadcast_ne(&part.unsqueeze(0)?)?.to_dtype(DType::F32)?;
        let pairs = f64::from(apart.sum_all()?.to_scalar::<f32>()?);
        Ok(((correlations.abs()? * apart)?.sum_all()? / pairs)?)
    }

    fn run(&self, shape: &Shape, input: &Tensor) -> Result<Tensor, Error> {
        let mut h = input.clone();
        for layer in 0..shape.layers() {
            let (weight, bias) = shape.parameter_names(layer);
            h = h.matmul(&self.parameters.get(&weight)?.t()?)?;
            if let Some(bias) = bias {
                h = h.broadcast_add(self.parameters.get(&bias)?)?;
            }
            if layer + 1 < shape.layers() {
                h = relu(&h)?;
            }
        }
        Ok(h)
    }

    fn indices(&self, values: &[u32]) -> Result<Tensor, Error> {
        Ok(Tensor::new(values, &self.device)?)
    }

    fn pixels(&self, batch: Batch<'_>) -> Result<Tensor, Error> {
        let Images { pixels, .. } = batch.images;
        let mut values = vec![0.0; batch.indices.len() * pixels];
        for (row, index) in values.chunks_exact_mut(*pixels).zip(batch.indices) {
            batch.images.write(*index, row);
        }
        Ok(Tensor::from_vec(values, (batch.indices.len(), *pixels), &self.device)?)
    }

    /// What decoder and certificates make of images, without learning from them.
    ///
    /// # Errors
    /// Fails where candle does.
    pub fn reconstruct(&self, batch: Batch<'_>) -> Result<Reconstruction, Error> {
        let objective = &self.objective;
        let z = stop(&self.run(&self.architecture.encoder, &self.pixels(batch)?)?);
        let flat = |tensor: Tensor| -> Result<Vec<f32>, Error> { Ok(tensor.flatten_all()?.to_vec1()?) };
        let mut decoder = flat(self.run(&self.architecture.decoders[0], &z)?)?;
        for (part, shape) in self.architecture.decoders.iter().enumerate().skip(1) {
            let out = self.run(shape, &z)?;
            let width = out.dim(D::Minus1)?;
            let out = flat(out)?;
            for (row, index) in batch.indices.iter().enumerate() {
                if objective.split.part_of(batch.images.labels[*index as usize]) == part {
                    let row = row * width..(row + 1) * width;
                    decoder[row.clone()].copy_from_slice(&out[row]);
                }
            }
        }
        let certificates = self.architecture.certificates.iter().enumerate().map(|(part, shape)| {
            let columns = objective.columns(part);
            flat(self.run(shape, &z.narrow(1, columns.start, columns.len())?)?)
        });
        Ok(Reconstruction { decoder, certificates: certificates.collect::<Result<_, Error>>()? })
    }

    /// Everything that was learned.
    ///
    /// # Errors
    /// Fails where a tensor cannot be copied.
    pub fn state(&self) -> Result<State, Error> {
        let mut state = self.parameters.snapshot()?;
        state.extend(self.adam.state()?.into_iter().map(|(name, tensor)| (format!("adam.{name}"), tensor)));
        Ok(state)
    }

    /// Goes back to a state; one without Adam's part of it leaves the moments alone.
    ///
    /// # Errors
    /// Fails where an entry is lacking or has another shape; `origin` names the source in the message.
    pub fn load(&mut self, state: &State, origin: &str) -> Result<(), Error> {
        let (mut parameters, mut adam) = (State::new(), State::new());
        for (name, tensor) in state {
            match name.strip_prefix("adam.") {
                Some(name) => adam.insert(name.to_owned(), tensor.clone()),
                None => parameters.insert(name.clone(), tensor.clone()),
            };
        }
        self.parameters.load(&parameters, origin)?;
        if !adam.is_empty() {
            self.adam.load_state(&adam, origin)?;
        }
        Ok(())
    }
}
