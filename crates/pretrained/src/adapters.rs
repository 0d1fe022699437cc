//! Low-rank adapters beside frozen matrices, each with weights of its own for the forward pass and for the gradient.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use gradient_routing::route;
use learning::{Parameters, init};
use rand::Rng;

use crate::Error;
use crate::shape::{Projection, Shape};

/// A low-rank adapter: W x + (α / r) · B A x at some projections of some blocks.
///
/// # Source
/// Hu et al. 2021, arXiv 2106.09685.
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// Its name in parameters and gates.
    pub name: String,
    /// r.
    pub rank: usize,
    /// α.
    pub alpha: f64,
    /// The matrices beside which it stands.
    pub targets: Vec<Projection>,
    /// The blocks.
    pub layers: Vec<usize>,
}

/// How one adapter takes part in a pass, by token.
#[derive(Clone, Debug, PartialEq)]
pub enum Gate {
    /// Not at all: it is not computed.
    Off,
    /// With these weights f of its output and m of its gradient, the same for all tokens.
    All {
        /// f.
        forward: f32,
        /// m.
        gradient: f32,
    },
    /// With weights for each token of the batch.
    Tokens {
        /// f.
        forward: Vec<f32>,
        /// m.
        gradient: Vec<f32>,
    },
}

/// The gate of each adapter by name; one that is not named takes part fully.
pub type Gates = BTreeMap<String, Gate>;

/// Adapters of one model.
///
/// ```text
/// y = W x + Σᵢ fᵢ · route(αᵢ / rᵢ · Bᵢ Aᵢ x, mᵢ)
/// ```
///
/// f and m are independent: an adapter can take part in the forward pass and get no gradient. Where m is 0 for every
/// token of a batch its parameters get *no* gradient, and an optimiser leaves them alone with their moments.
#[derive(Clone, Debug)]
pub struct Adapters {
    adapters: Vec<Lora>,
    parameters: Parameters,
}

impl Adapters {
    /// Adapters that change nothing yet: A uniform in ±1/√inputs, B zero.
    ///
    /// # Errors
    /// [`Error::Adapter`] where a block, a projection or a rank cannot be, or a name is given twice.
    pub fn new(adapters: Vec<Lora>, shape: &Shape, rng: &mut impl Rng) -> Result<Self, Error> {
        let mut parameters = Parameters::default();
        for (index, lora) in adapters.iter().enumerate() {
            let Lora { name, rank, targets, layers, .. } = lora;
            let fault = |fault: String| Error::Adapter(format!("the adapter {name} {fault}"));
            require_name(name, &adapters[..index])?;
            if let Some(layer) = layers.iter().find(|layer| **layer >= shape.n_layer) {
                return Err(fault(format!("names block {layer} of {}", shape.n_layer)));
            }
            for layer in layers {
                for target in targets {
                    let (inputs, outputs) = shape
                        .projection(*target)
                        .ok_or_else(|| fault(format!("names {}, which the model lacks", target.name())))?;
                    if *rank == 0 || *rank > inputs.min(outputs) {
                        let most = inputs.min(outputs);
                        return Err(fault(format!("has rank {rank}: between 1 and {most} can be")));
                    }
                    let a = init::uniform_fan_in(rng, &[*rank, inputs], inputs, &Device::Cpu)?;
                    parameters.insert(&key(name, *layer, *target, "A"), &a)?;
                    let b = Tensor::zeros((outputs, *rank), DType::F32, &Device::Cpu)?;
                    parameters.insert(&key(name, *layer, *target, "B"), &b)?;
                }
            }
        }
        Ok(Self { adapters, parameters })
    }

    /// Adapters with these matrices.
    pub(crate) fn of_parts(adapters: Vec<Lora>, parameters: Parameters) -> Result<Self, Error> {
        for (index, lora) in adapters.iter().enumerate() {
            require_name(&lora.name, &adapters[..index])?;
        }
        Ok(Self { adapters, parameters })
    }

    /// f · (α / r) · B A of every projection that an adapter stands at, by block and projection.
    pub(crate) fn products(
        &self,
        name: &str,
        forward: f64,
    ) -> Result<Vec<(usize, Projection, Tensor)>, Error> {
        let lora = self
            .adapters
            .iter()
            .find(|lora| lora.name == name)
            .ok_or_else(|| Error::Adapter(format!("there is no adapter {name}")))?;
        let mut all = Vec::new();
        for layer in &lora.layers {
            for target in &lora.targets {
                let get = |which| self.parameters.get(&key(name, *layer, *target, which));
                let (a, b) = (get("A")?.as_detached_tensor(), get("B")?.as_detached_tensor());
                let product = (b.matmul(&a)? * (forward * lora.alpha / lora.rank as f64))?;
                all.push((*layer, *target, product));
            }
        }
        Ok(all)
    }

    /// Their variables, as `NAME.blocks.LAYER.PROJECTION.A` and `.B`: all that an optimiser is to be given.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// What they are.
    pub fn all(&self) -> &[Lora] {
        &self.adapters
    }

    /// The output `y` of a projection of `x`, with what the adapters add.
    pub(crate) fn added(
        &self,
        mut y: Tensor,
        x: &Tensor,
        layer: usize,
        target: Projection,
        gates: &Gates,
    ) -> Result<Tensor, Error> {
        for lora in &self.adapters {
            let gate = gates.get(&lora.name).unwrap_or(&Gate::All { forward: 1.0, gradient: 1.0 });
            if *gate == Gate::Off || !lora.layers.contains(&layer) || !lora.targets.contains(&target) {
                continue;
            }
            let matrix = |which| -> Result<&Tensor, Error> {
                Ok(self.parameters.get(&key(&lora.name, layer, target, which))?.as_tensor())
            };
            let (forward, gradient) = weights(gate, x.dim(0)?, &lora.name)?;
            let learns = gradient.iter().any(|weight| *weight != 0.0);
            let (a, b) = (matrix("A")?, matrix("B")?);
            let out = if learns {
                let out = (x.matmul(&a.t()?)?.matmul(&b.t()?)? * (lora.alpha / lora.rank as f64))?;
                route(&out, &column(gradient)?)?
            } else {
                let (a, b) = (a.detach(), b.detach());
                (x.detach().matmul(&a.t()?)?.matmul(&b.t()?)? * (lora.alpha / lora.rank as f64))?
            };
            y = (y + out.broadcast_mul(&column(forward)?)?)?;
        }
        Ok(y)
    }
}

fn require_name(name: &str, others: &[Lora]) -> Result<(), Error> {
    if name.is_empty() || name.contains('.') || others.iter().any(|other| other.name == name) {
        return Err(Error::Adapter(format!("the adapter {name} needs a name of its own without dots")));
    }
    Ok(())
}

/// f and m of every row.
fn weights(gate: &Gate, rows: usize, name: &str) -> Result<(Vec<f32>, Vec<f32>), Error> {
    match gate {
        Gate::Off => Ok((vec![0.0; rows], vec![0.0; rows])),
        Gate::All { forward, gradient } => Ok((vec![*forward; rows], vec![*gradient; rows])),
        Gate::Tokens { forward, gradient } if forward.len() == rows && gradient.len() == rows => {
            Ok((forward.clone(), gradient.clone()))
        }
        Gate::Tokens { forward, gradient } => Err(Error::Adapter(format!(
            "the gate of {name} has {} and {} weights for {rows} tokens",
            forward.len(),
            gradient.len()
        ))),
    }
}

fn column(values: Vec<f32>) -> Result<Tensor, Error> {
    let rows = values.len();
    Ok(Tensor::from_vec(values, (rows, 1), &Device::Cpu)?)
}

pub(crate) fn key(name: &str, layer: usize, target: Projection, matrix: &str) -> String {
    format!("{name}.blocks.{layer}.{}.{matrix}", target.name())
}
