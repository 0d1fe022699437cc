//! The backward pass.

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use learning::Parameters;
use learning::kernels::{
    Matrix, SparseRows, Write, add_assign, add_column_sums, head_backward, head_weight_gradient,
    relu_backward, scatter_add, transpose,
};
use rayon::prelude::*;

use super::fold::{ConvGradient, unfold_chain, unfold_unit};
use super::forward::{with_conv, with_layer, with_value_chain};
use super::pack::{Layout, PackedLayer, Trunk};
use super::{Activations, FusedPolicy};
use crate::PolicyError;

/// Rows that a backward pass handles at a time, so that what it reads and writes stays in the second-level cache.
const TILE: usize = 256;

/// The derivatives of the loss by the outputs of each row, already routed.
///
/// With g = ∂L/∂logits: `head` is g, `experts` holds `mask_e·Γ_e·g` for each expert, `gate` the derivative by the
/// gate's logits, `value` that by the value. Rows that stand for several samples hold the sums over them.
#[derive(Clone, Debug, Default)]
pub struct OutputGradient {
    /// (rows, actions).
    pub head: Vec<f32>,
    /// One buffer (rows, actions) for each expert.
    pub experts: Vec<Vec<f32>>,
    /// (rows, experts − 1); empty without a gate network.
    pub gate: Vec<f32>,
    /// (rows).
    pub value: Vec<f32>,
}

impl OutputGradient {
    /// All zeros for `rows` rows of a policy of this shape; keeps the memory of an earlier use.
    pub fn reset(&mut self, policy: &FusedPolicy, rows: usize) {
        let config = policy.config();
        let zero = |buffer: &mut Vec<f32>, len: usize| {
            buffer.clear();
            buffer.resize(len, 0.0);
        };
        zero(&mut self.head, rows * config.actions);
        self.experts.resize(config.experts.len(), Vec::new());
        self.experts.iter_mut().for_each(|expert| zero(expert, rows * config.actions));
        zero(&mut self.gate, rows * config.gate_outputs());
        zero(&mut self.value, rows);
    }
}

/// The gradient of the packed weights.
#[derive(Clone, Debug)]
pub struct Gradient {
    packed: Vec<f32>,
}

impl Gradient {
    /// Zero.
    pub fn new(policy: &FusedPolicy) -> Self {
        Self { packed: vec![0.0; policy.layout.len] }
    }

    /// Back to zero.
    pub fn clear(&mut self) {
        self.packed.fill(0.0);
    }

    /// Adds the gradient of another part of the batch.
    pub fn add(&mut self, other: &Self) {
        add_assign(&mut self.packed, &other.packed);
    }

    fn layer(&self, name: String, dense: &PackedLayer) -> LayerGradient {
        let weight = self.packed[dense.weight.clone()].to_vec();
        LayerGradient { name, weight, bias: self.packed[dense.bias.clone()].to_vec() }
    }
}

/// The gradient of one layer's parameters.
struct LayerGradient {
    name: String,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// Scratch memory of a backward pass, one for each thread.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    above: Vec<f32>,
    below: Vec<f32>,
    coefficients: Vec<f32>,
}

impl FusedPolicy {
    /// Adds to `gradient` the gradient of all weights for the rows that `rows` lists of `x`, whose forward values
    /// under [`crate::Steering::Mixture`] are the rows of `activations` in the same order.
    ///
    /// # Panics
    /// Panics if the lengths differ.
    pub fn backward(
        &self,
        x: &SparseRows,
        rows: &[u32],
        activations: &Activations,
        output: &OutputGradient,
        gradient: &mut Gradient,
        workspace: &mut Workspace,
    ) {
        assert_eq!(rows.len(), activations.len(), "a forward value for every row");
        assert_eq!(rows.len(), output.value.len(), "an output gradient for every row");
        for (index, rows) in rows.chunks(TILE).enumerate() {
            let tile = Tile { x, rows, start: index * TILE, activations, output };
            self.head_tile(&tile, gradient, workspace);
            for trunk in 0..self.layout.trunks.len() {
                self.trunk_tile(&tile, trunk, gradient, workspace);
            }
            self.value_tile(&tile, gradient);
        }
    }

    fn head_tile(&self, tile: &Tile<'_>, gradient: &mut Gradient, workspace: &mut Workspace) {
        let head = &self.layout.head;
        let width = head.inputs;
        let output = tile.of(&tile.output.head, head.outputs);
        add_column_sums(&mut gradient.packed[head.bias.clone()], output);
        for expert in 0..tile.activations.experts {
            let coefficients = &mut workspace.coefficients;
            coefficients.clear();
            for (row, output) in output.chunks_exact(head.outputs).enumerate() {
                let weight = tile.activations.gate(tile.start + row)[expert];
                coefficients.extend(output.iter().map(|g| weight * g));
            }
            let hidden = tile.top(expert, width);
            let weights = &mut gradient.packed[head.weight.clone()];
            head_weight_gradient(weights, coefficients, hidden, width);
        }
        if let Some(gate) = &self.layout.gate {
            let output = tile.of(&tile.output.gate, gate.outputs);
            add_column_sums(&mut gradient.packed[gate.bias.clone()], output);
            let hidden = tile.top(tile.activations.experts, width);
            head_weight_gradient(&mut gradient.packed[gate.weight.clone()], output, hidden, width);
        }
    }

    fn trunk_tile(&self, tile: &Tile<'_>, trunk: usize, gradient: &mut Gradient, workspace: &mut Workspace) {
        let n = tile.rows.len();
        let (last, output) = match (tile.output.experts.get(trunk), &self.layout.gate) {
            (Some(expert), _) => (&self.layout.head, tile.of(expert, self.layout.head.outputs)),
            _ if self.layout.value_trunk == Some(trunk) => {
                (&self.layout.value, tile.of(&tile.output.value, 1))
            }
            (None, Some(gate)) => (gate, tile.of(&tile.output.gate, gate.outputs)),
            (None, None) => return,
        };
        let Workspace { above, below, .. } = workspace;
        let width = last.inputs;
        above.resize(n * width, 0.0);
        head_backward(above, output, self.slice(&last.weight), tile.top(trunk, width), width);
        let layers = &tile.activations.hidden[trunk];
        for (layer, dense) in self.layout.trunks[trunk].dense.iter().enumerate().rev() {
            let hidden = tile.of(&layers[layer], dense.inputs);
            let dz = Matrix::new(above, n, dense.outputs);
            let input = Matrix::new(hidden, n, dense.inputs);
            add_column_sums(&mut gradient.packed[dense.bias.clone()], above);
            let products = dense.dense();
            products.weight_grad(&mut gradient.packed[dense.weight.clone()], input, dz, Write::Add);
            below.resize(n * dense.inputs, 0.0);
            products.input_grad(below, dz, self.slice(&dense.weight));
            relu_backward(below, hidden);
            std::mem::swap(above, below);
        }
        let table = &self.layout.trunks[trunk].table;
        add_column_sums(&mut gradient.packed[table.bias.clone()], above);
        let weights = &mut gradient.packed[table.weight.clone()];
        scatter_add(weights, tile.x, tile.rows, above, table.outputs);
    }

    fn value_tile(&self, tile: &Tile<'_>, gradient: &mut Gradient) {
        let value = &self.layout.value;
        let output = tile.of(&tile.output.value, 1);
        gradient.packed[value.bias.start] += output.iter().sum::<f32>();
        let weights = &mut gradient.packed[value.weight.clone()];
        match self.layout.value_trunk {
            Some(trunk) => head_weight_gradient(weights, output, tile.top(trunk, value.inputs), value.inputs),
            None => scatter_add(weights, tile.x, tile.rows, output, 1),
        }
    }

    /// The gradient of the parameters from that of the packed weights, ready for an optimiser; on the current
    /// thread pool.
    ///
    /// # Errors
    /// Fails where `parameters` are not those of this policy.
    pub fn unpack(&self, gradient: &Gradient, parameters: &Parameters) -> Result<GradStore, PolicyError> {
        let (trunks, ends) = rayon::join(
            || {
                self.layout
                    .trunks
                    .par_iter()
                    .map(|trunk| self.unpack_trunk(gradient, trunk, parameters))
                    .collect()
            },
            || self.unpack_ends(gradient, parameters),
        );
        let trunks: Result<Vec<_>, PolicyError> = trunks;
        let mut grads = GradStore::default();
        for layer in trunks?.into_iter().flatten().chain(ends?) {
            for (kind, values) in [("weight", layer.weight), ("bias", layer.bias)] {
                let var = parameters.get(&format!("{}.{kind}", layer.name))?;
                grads.insert(var, Tensor::from_vec(values, var.shape(), &Device::Cpu)?);
            }
        }
        Ok(grads)
    }

    fn unpack_trunk(
        &self,
        gradient: &Gradient,
        trunk: &Trunk,
        parameters: &Parameters,
    ) -> Result<Vec<LayerGradient>, PolicyError> {
        let mut layers = Vec::new();
        let table = &gradient.packed[trunk.table.weight.clone()];
        let mut weight = vec![0.0; table.len()];
        transpose(&mut weight, table, trunk.table.outputs);
        let bias = gradient.packed[trunk.table.bias.clone()].to_vec();
        if trunk.has_conv {
            let conv = self.unfold_conv(&trunk.prefix, parameters, &mut weight, &bias)?;
            let name = format!("{}.conv", trunk.prefix);
            layers.push(LayerGradient { name, weight: conv.kernel, bias: conv.bias });
        }
        layers.push(LayerGradient { name: format!("{}.0", trunk.prefix), weight, bias });
        for (index, dense) in trunk.dense.iter().enumerate() {
            layers.push(gradient.layer(format!("{}.{}", trunk.prefix, index + 1), dense));
        }
        Ok(layers)
    }

    /// The gradients of the head, the gate's last layer and the value net.
    fn unpack_ends(
        &self,
        gradient: &Gradient,
        parameters: &Parameters,
    ) -> Result<Vec<LayerGradient>, PolicyError> {
        let Layout { head, gate, value, .. } = &self.layout;
        let mut layers = vec![gradient.layer("head".to_owned(), head)];
        if let Some(gate) = gate {
            layers.push(gradient.layer(format!("gate.{}", self.config.hidden.len()), gate));
        }
        if let Some(folded) = &self.value {
            let (weight, bias) = (&gradient.packed[value.weight.clone()], gradient.packed[value.bias.start]);
            let chain = with_value_chain(parameters, &self.config, |conv, layers| {
                unfold_chain(conv, layers, folded, weight, bias)
            })?;
            let ConvGradient { kernel, bias } = chain.conv;
            layers.push(LayerGradient { name: "value.conv".to_owned(), weight: kernel, bias });
            for (index, (weight, bias)) in chain.layers.into_iter().enumerate() {
                layers.push(LayerGradient { name: format!("value.{index}"), weight, bias });
            }
        } else {
            layers.push(gradient.layer(format!("value.{}", self.config.value_hidden.len()), value));
        }
        Ok(layers)
    }

    /// Turns the gradient of a net's folded first layer, (out, in), into that of the layer itself, and returns that of
    /// the convolution.
    fn unfold_conv(
        &self,
        prefix: &str,
        parameters: &Parameters,
        weight: &mut Vec<f32>,
        bias: &[f32],
    ) -> Result<ConvGradient, PolicyError> {
        let inputs = self.config.inputs();
        with_layer(parameters, &format!("{prefix}.0"), |current, _| {
            with_conv(parameters, prefix, &self.config, |conv| {
                let mut out =
                    ConvGradient { kernel: vec![0.0; conv.kernel.len()], bias: vec![0.0; conv.bias.len()] };
                let folded = std::mem::replace(weight, vec![0.0; current.len()]);
                let units = current.chunks_exact(conv.outputs()).zip(weight.chunks_exact_mut(conv.outputs()));
                for ((folded, bias), (current, weight)) in folded.chunks_exact(inputs).zip(bias).zip(units) {
                    unfold_unit(conv, current, folded, *bias, &mut out, weight);
                }
                out
            })
        })
    }
}

/// Consecutive rows of a backward pass.
struct Tile<'a> {
    x: &'a SparseRows,
    rows: &'a [u32],
    start: usize,
    activations: &'a Activations,
    output: &'a OutputGradient,
}

impl<'a> Tile<'a> {
    fn of(&self, values: &'a [f32], width: usize) -> &'a [f32] {
        &values[self.start * width..][..self.rows.len() * width]
    }

    fn top(&self, trunk: usize, width: usize) -> &'a [f32] {
        let layers = &self.activations.hidden[trunk];
        self.of(&layers[layers.len() - 1], width)
    }
}
