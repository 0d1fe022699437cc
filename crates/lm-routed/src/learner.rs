//! What a model is taught by: all its weights, or low-rank matrices beside them.

use std::collections::BTreeMap;

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use experiment::SeedStreams;
use learning::{Adam, Parameters, clip_grad_norm};
use rand_distr::{Distribution, Normal};
use transformer::{Model, StepLoss};

use crate::Error;
use crate::config::TrainSection;
use crate::train::{StepContext, optimiser};

/// What moves in a step.
pub(crate) enum Learner {
    /// Every parameter.
    Full(Adam),
    /// Low-rank matrices, which are added to the weights.
    LowRank(LowRank),
}

impl Learner {
    /// Moves every parameter, or matrices of a rank, drawn from the stream `lora` of a seed.
    pub(crate) fn new(
        model: &Model,
        train: &TrainSection,
        low_rank: Option<(usize, SeedStreams)>,
    ) -> Result<Self, Error> {
        Ok(match low_rank {
            None => Self::Full(optimiser(model.parameters(), train)?),
            Some((rank, streams)) => Self::LowRank(LowRank::new(model, train, rank, streams)?),
        })
    }

    /// A step along the gradient that the model has kept, which `loss` came with.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where loss or gradient are not numbers.
    pub(crate) fn step(
        &mut self,
        step_context: StepContext<'_>,
        model: &mut Model,
        loss: StepLoss,
        learning_rate: f64,
        max_norm: f64,
    ) -> Result<(), Error> {
        match self {
            Self::Full(adam) => {
                step_context.take(model, adam, loss, learning_rate, max_norm, None)?;
                Ok(())
            }
            Self::LowRank(low_rank) => low_rank.step(step_context, model, loss, learning_rate, max_norm),
        }
    }
}

/// `LoRA`: the matrices of attention and MLPs stay, and a product of two narrow ones is learned beside each.
///
/// ```text
/// W = W₀ + A · B          ∂L/∂A = ∂L/∂W · Bᵀ          ∂L/∂B = Aᵀ · ∂L/∂W
/// ```
///
/// # Shapes
/// W (inputs, outputs), A (inputs, rank) drawn from N(0, 1/inputs), B (rank, outputs) of zeros, so that nothing is
/// changed at first.
///
/// # Source
/// Hu et al. 2021, arXiv 2106.09685.
pub(crate) struct LowRank {
    /// W₀ by name.
    frozen: BTreeMap<String, Tensor>,
    /// `NAME.A` and `NAME.B`.
    narrow: Parameters,
    adam: Adam,
}

impl LowRank {
    fn new(model: &Model, train: &TrainSection, rank: usize, streams: SeedStreams) -> Result<Self, Error> {
        let (mut frozen, mut narrow) = (BTreeMap::new(), Parameters::default());
        let mut rng = streams.stream("lora");
        for (name, var) in model.parameters().iter() {
            let &[inputs, outputs] = var.dims() else { continue };
            if !name.starts_with("blocks.") {
                continue;
            }
            let deviation = (inputs as f32).sqrt().recip();
            let values = (0..inputs * rank).map(|_| Normal::new(0.0, deviation).map(|n| n.sample(&mut rng)));
            let values: Vec<f32> = values.collect::<Result<_, _>>().unwrap_or_default();
            let (device, kind) = (var.device(), var.dtype());
            narrow.insert(&format!("{name}.A"), &Tensor::from_vec(values, (inputs, rank), device)?)?;
            narrow.insert(&format!("{name}.B"), &Tensor::zeros((rank, outputs), kind, device)?)?;
            frozen.insert(name.to_owned(), var.as_tensor().copy()?.detach());
        }
        let adam = optimiser(&narrow, train)?;
        Ok(Self { frozen, narrow, adam })
    }

    fn both(&self, name: &str) -> Result<[Tensor; 2], Error> {
        let of = |leaf: &str| Ok(self.narrow.get(&format!("{name}.{leaf}"))?.as_detached_tensor());
        let (a, b): (Result<_, Error>, Result<_, Error>) = (of("A"), of("B"));
        Ok([a?, b?])
    }

    fn step(
        &mut self,
        step_context: StepContext<'_>,
        model: &mut Model,
        loss: StepLoss,
        learning_rate: f64,
        max_norm: f64,
    ) -> Result<(), Error> {
        let mut store = GradStore::default();
        for (name, gradient) in model.gradients()? {
            let Some(frozen) = self.frozen.get(&name) else { continue };
            let gradient = Tensor::from_vec(gradient, frozen.shape(), frozen.device())?;
            let [a, b] = self.both(&name)?;
            store.insert(self.narrow.get(&format!("{name}.A"))?, gradient.matmul(&b.t()?)?);
            store.insert(self.narrow.get(&format!("{name}.B"))?, a.t()?.matmul(&gradient)?);
        }
        let limit = if max_norm > 0.0 { max_norm } else { f64::INFINITY };
        let norm = clip_grad_norm(&self.narrow, &mut store, limit)?;
        step_context.require_finite(&[("the loss", loss.loss), ("the gradient's norm", norm)])?;
        self.adam.step(&store, learning_rate)?;
        for (name, frozen) in &self.frozen {
            let [a, b] = self.both(name)?;
            model.parameters().get(name)?.set(&(frozen + a.matmul(&b)?)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use transformer::{Backend, Batch, Hooks, Network, initial};

    use super::*;
    use crate::config::Config;

    #[test]
    fn low_rank_matrices_move_the_weights_by_their_product_and_nothing_else() {
        let mut config = Config::default();
        (config.model.n_layer, config.model.n_head, config.model.n_embd) = (1, 1, 8);
        (config.model.d_mlp, config.model.block_size) = (12, 6);
        let architecture = config.architecture(16);
        let streams = SeedStreams::new(3);
        let parameters = initial(&architecture, &mut streams.stream("init"), &Device::Cpu).unwrap();
        let network = Network { architecture, parameters };
        let before = network.parameters.snapshot().unwrap();
        let mut model = network.model(6, 1, Backend::Auto).unwrap();
        let batch = Batch::new([[1, 2, 3, 4, 5].as_slice(), &[6, 7, 8, 9]], 6, 0);
        let mut learner = Learner::new(&model, &config.train, Some((1, streams))).unwrap();
        let mut losses = Vec::new();
        for step in 1..=20 {
            let loss = model.gradient(&batch, &Hooks::default()).unwrap();
            losses.push(loss.loss);
            let step_context = StepContext { part: "test", step, section: "attack" };
            learner.step(step_context, &mut model, loss, 1e-2, 1.0).unwrap();
        }
        assert!(losses.is_sorted_by(|one, next| next < one), "{losses:?}");
        for (name, var) in model.parameters().iter() {
            let change = (var.as_tensor() - &before[name]).unwrap().abs().unwrap();
            let largest = change.flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
            let taught = name.starts_with("blocks.") && var.rank() == 2;
            assert_eq!(largest > 0.0, taught, "{name}");
        }
        // of rank one: every two by two minor of a change is zero
        let name = "blocks.0.mlp.W_in";
        let after = model.parameters().get(name).unwrap().as_tensor();
        let change = (after - &before[name]).unwrap().to_vec2::<f32>().unwrap();
        let largest = change.concat().iter().fold(0f32, |most, value| most.max(value.abs()));
        for row in 1..8 {
            for column in 1..12 {
                let minor = change[0][0] * change[row][column] - change[0][column] * change[row][0];
                assert!(minor.abs() < 1e-4 * largest * largest, "{row} {column}: {minor}");
            }
        }
    }
}
