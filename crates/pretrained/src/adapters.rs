//! Adapters beside frozen matrices and MLPs, each with weights of its own for the forward pass and for the gradient.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use gradient_routing::route;
use learning::{Parameters, init};
use rand::Rng;

use crate::Error;
use crate::aux_mlp::AuxMlp;
use crate::ops::{RowWeights, low_rank};
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
/// at a projection:   y = W x + Σᵢ fᵢ · route(αᵢ / rᵢ · Bᵢ Aᵢ x, mᵢ)
/// beside an MLP:     y = mlp(x) + Σⱼ fⱼ · route(auxⱼ(x), mⱼ)
/// ```
///
/// f and m are independent: an adapter can take part in the forward pass and get no gradient. Where m is 0 for every
/// token of a batch its parameters get *no* gradient, and an optimiser leaves them alone with their moments.
#[derive(Clone, Debug)]
pub struct Adapters {
    loras: Vec<Lora>,
    mlps: Vec<AuxMlp>,
    parameters: Parameters,
}

impl Adapters {
    /// Adapters that change nothing yet: A uniform in ±1/√inputs, B zero.
    ///
    /// # Errors
    /// [`Error::Adapter`] where a block, a projection or a rank cannot be, or a name is given twice.
    pub fn new(adapters: Vec<Lora>, shape: &Shape, rng: &mut impl Rng) -> Result<Self, Error> {
        Self::with_mlps(adapters, Vec::new(), shape, rng)
    }

    /// As [`Adapters::new`], with auxiliary MLPs: an adapter of both kinds has a name for each.
    ///
    /// # Errors
    /// As there, and for a number of neurons that cannot be.
    pub fn with_mlps(
        adapters: Vec<Lora>,
        mlps: Vec<AuxMlp>,
        shape: &Shape,
        rng: &mut impl Rng,
    ) -> Result<Self, Error> {
        let loras = adapters.iter().map(|lora| (&lora.name, &lora.layers));
        let all: Vec<(&String, &Vec<usize>)> =
            loras.chain(mlps.iter().map(|mlp| (&mlp.name, &mlp.layers))).collect();
        for (index, (name, layers)) in all.iter().enumerate() {
            let fault = |fault: String| Error::Adapter(format!("the adapter {name} {fault}"));
            require_name(name, all[..index].iter().map(|(other, _)| other.as_str()))?;
            if let Some(layer) = layers.iter().find(|layer| **layer >= shape.n_layer) {
                return Err(fault(format!("names block {layer} of {}", shape.n_layer)));
            }
        }
        let mut parameters = Parameters::default();
        for Lora { name, rank, targets, layers, .. } in &adapters {
            let fault = |fault: String| Error::Adapter(format!("the adapter {name} {fault}"));
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
        for mlp in &mlps {
            mlp.begin(shape, &mut parameters, rng)?;
        }
        Ok(Self { loras: adapters, mlps, parameters })
    }

    /// Adapters with these matrices.
    pub(crate) fn of_parts(adapters: Vec<Lora>, parameters: Parameters) -> Result<Self, Error> {
        for (index, lora) in adapters.iter().enumerate() {
            require_name(&lora.name, adapters[..index].iter().map(|other| other.name.as_str()))?;
        }
        Ok(Self { loras: adapters, mlps: Vec::new(), parameters })
    }

    /// f · (α / r) · B A of every projection that an adapter stands at, by block and projection.
    pub(crate) fn products(
        &self,
        name: &str,
        forward: f64,
    ) -> Result<Vec<(usize, Projection, Tensor)>, Error> {
        let lora = self
            .loras
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

    /// Their variables, as `NAME.blocks.LAYER.PROJECTION.A` and `.B`, and of auxiliary MLPs as
    /// `NAME.blocks.LAYER.mlp.PROJECTION`: all that an optimiser is to be given.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The low-rank ones.
    pub fn all(&self) -> &[Lora] {
        &self.loras
    }

    /// The auxiliary MLPs.
    pub fn mlps(&self) -> &[AuxMlp] {
        &self.mlps
    }

    /// The first block that one of them stands in; nothing changes below it.
    pub fn lowest(&self) -> Option<usize> {
        let loras = self.loras.iter().flat_map(|lora| &lora.layers);
        loras.chain(self.mlps.iter().flat_map(|mlp| &mlp.layers)).min().copied()
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
        for lora in &self.loras {
            if !lora.layers.contains(&layer) || !lora.targets.contains(&target) {
                continue;
            }
            let matrix = |which| -> Result<&Tensor, Error> {
                Ok(self.parameters.get(&key(&lora.name, layer, target, which))?.as_tensor())
            };
            let (a, b) = (matrix("A")?, matrix("B")?);
            let Some(Weights { mut forward, gradient }) = Weights::of(gates, &lora.name, y.dim(0)?)? else {
                continue;
            };
            let scale = (lora.alpha / lora.rank as f64) as f32;
            for weight in &mut forward {
                *weight *= scale;
            }
            let learns = gradient.iter().any(|weight| *weight != 0.0);
            let weights = RowWeights { forward, gradient };
            let out = if learns {
                low_rank(x, a, b, weights)?
            } else {
                low_rank(&x.detach(), &a.detach(), &b.detach(), weights)?
            };
            y = (y + out)?;
        }
        Ok(y)
    }

    /// The output `y` of a block's MLP for `x`, with what the auxiliary MLPs add.
    pub(crate) fn beside(
        &self,
        mut y: Tensor,
        x: &Tensor,
        layer: usize,
        shape: &Shape,
        gates: &Gates,
    ) -> Result<Tensor, Error> {
        for mlp in self.mlps.iter().filter(|mlp| mlp.layers.contains(&layer)) {
            let output = |learns| mlp.output(&self.parameters, shape, layer, x, learns);
            y = weighed(y, &mlp.name, gates, output)?;
        }
        Ok(y)
    }
}

/// Whether weights change what they weigh.
#[expect(clippy::float_cmp, reason = "exactly 1 is what changes nothing")]
fn any_weight(weights: &[f32]) -> bool {
    weights.iter().any(|weight| *weight != 1.0)
}

/// `y` with an adapter's output, weighed by its gate; `output` is told whether it needs a graph, and not asked where
/// the adapter takes no part.
fn weighed(
    y: Tensor,
    name: &str,
    gates: &Gates,
    output: impl Fn(bool) -> Result<Tensor, Error>,
) -> Result<Tensor, Error> {
    let Some(Weights { forward, gradient }) = Weights::of(gates, name, y.dim(0)?)? else { return Ok(y) };
    let learns = gradient.iter().any(|weight| *weight != 0.0);
    let mut out = output(learns)?;
    if learns && any_weight(&gradient) {
        out = route(&out, &column(gradient)?)?;
    }
    if any_weight(&forward) {
        out = out.broadcast_mul(&column(forward)?)?;
    }
    Ok((y + out)?)
}

fn require_name<'a>(name: &str, mut others: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    if name.is_empty() || name.contains('.') || others.any(|other| other == name) {
        return Err(Error::Adapter(format!("the adapter {name} needs a name of its own without dots")));
    }
    Ok(())
}

/// f and m of every row.
struct Weights {
    forward: Vec<f32>,
    gradient: Vec<f32>,
}

impl Weights {
    /// Those of an adapter, unless it takes no part.
    fn of(gates: &Gates, name: &str, rows: usize) -> Result<Option<Self>, Error> {
        let (forward, gradient) = match gates.get(name).unwrap_or(&Gate::All { forward: 1.0, gradient: 1.0 })
        {
            Gate::Off => return Ok(None),
            Gate::All { forward, gradient } => (vec![*forward; rows], vec![*gradient; rows]),
            Gate::Tokens { forward, gradient } if forward.len() == rows && gradient.len() == rows => {
                (forward.clone(), gradient.clone())
            }
            Gate::Tokens { forward, gradient } => {
                return Err(Error::Adapter(format!(
                    "the gate of {name} has {} and {} weights for {rows} tokens",
                    forward.len(),
                    gradient.len()
                )));
            }
        };
        let takes_part = forward.iter().any(|weight| *weight != 0.0);
        Ok(takes_part.then_some(Self { forward, gradient }))
    }
}

fn column(values: Vec<f32>) -> Result<Tensor, Error> {
    let rows = values.len();
    Ok(Tensor::from_vec(values, (rows, 1), &Device::Cpu)?)
}

pub(crate) fn key(name: &str, layer: usize, target: Projection, matrix: &str) -> String {
    format!("{name}.blocks.{layer}.{}.{matrix}", target.name())
}
