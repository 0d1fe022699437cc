//! Auxiliary MLPs: neurons beside a block's own, which stay as they are.

use candle_core::{DType, Device, Tensor};
use learning::{Parameters, init};
use rand::Rng;

use crate::Error;
use crate::decoder::activated;
use crate::shape::{Projection, Shape};

/// An MLP of the model's own kind that reads what a block's MLP reads and adds to what it gives:
///
/// ```text
/// gated families:   W_down (silu(W_gate x) ⊙ W_up x)
/// others:           W_down gelu(W_up x)
/// ```
///
/// `W_down` is zero at the start, so that nothing changes at first.
///
/// # Source
/// The modules of GRAM, put beside an MLP that is frozen instead of into one in training.
#[derive(Clone, Debug, PartialEq)]
pub struct AuxMlp {
    /// Its name in parameters and gates.
    pub name: String,
    /// Neurons in each block.
    pub neurons: usize,
    /// The blocks.
    pub layers: Vec<usize>,
}

/// No auxiliary MLP is wider.
const MOST: usize = 1 << 16;

impl AuxMlp {
    /// Its variables at the start, as `NAME.blocks.LAYER.mlp.PROJECTION`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn begin(
        &self,
        shape: &Shape,
        parameters: &mut Parameters,
        rng: &mut impl Rng,
    ) -> Result<(), Error> {
        let Self { name, neurons, layers } = self;
        if *neurons == 0 || *neurons > MOST {
            let fault = format!("the adapter {name} has {neurons} neurons: between 1 and {MOST} can be");
            return Err(Error::Adapter(fault));
        }
        let width = shape.n_embd;
        for layer in layers {
            for projection in shape.of_mlp_input() {
                let matrix = init::uniform_fan_in(rng, &[*neurons, width], width, &Device::Cpu)?;
                parameters.insert(&key(name, *layer, *projection), &matrix)?;
            }
            let down = Tensor::zeros((width, *neurons), DType::F32, &Device::Cpu)?;
            parameters.insert(&key(name, *layer, Projection::Down), &down)?;
        }
        Ok(())
    }

    /// What it adds in a block to the stream of `x`; without a graph unless it `learns`.
    pub(crate) fn output(
        &self,
        parameters: &Parameters,
        shape: &Shape,
        layer: usize,
        x: &Tensor,
        learns: bool,
    ) -> Result<Tensor, Error> {
        let product = |projection: Projection, x: &Tensor| -> Result<Tensor, Error> {
            let matrix = parameters.get(&key(&self.name, layer, projection))?.as_tensor();
            let matrix = if learns { matrix.clone() } else { matrix.detach() };
            Ok(x.matmul(&matrix.t()?)?)
        };
        let x = if learns { x.clone() } else { x.detach() };
        let up = product(Projection::Up, &x)?;
        let gate = shape.family.gated().then(|| product(Projection::Gate, &x)).transpose()?;
        product(Projection::Down, &activated(shape.family, &up, gate.as_ref())?)
    }
}

fn key(name: &str, layer: usize, projection: Projection) -> String {
    format!("{name}.blocks.{layer}.mlp.{}", projection.name())
}
