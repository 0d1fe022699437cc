//! Packing and the forward pass.

use candle_core::{CpuStorage, Storage};
use learning::Parameters;
use learning::kernels::{
    Dense, Matrix, SparseRows, Write, add_bias, bias_relu, gather_relu, head_forward, transpose,
};

use super::Activations;
use super::fold::{Conv, FoldedChain, LinearLayer, fold_chain, fold_unit};
use super::pack::{Layout, PackedLayer, Trunk};
use crate::{PolicyConfig, PolicyError, Steering};
use rayon::prelude::*;

/// A policy's weights, packed for the CPU. [`FusedPolicy::load`] must follow every change of the parameters.
pub struct FusedPolicy {
    pub(super) config: PolicyConfig,
    pub(super) layout: Layout,
    pub(super) packed: Vec<f32>,
    /// The dense layers' weights once more, transposed, in the same places: the forward product reads a weight
    /// by columns of its inputs, the backward product by rows, and neither then rearranges it at every call.
    turned: Vec<f32>,
    pub(super) value: Option<FoldedChain>,
}

impl FusedPolicy {
    /// Packs the parameters of a policy of this configuration.
    ///
    /// # Errors
    /// Fails where a parameter is lacking or is no contiguous `f32` tensor on the CPU.
    pub fn new(config: &PolicyConfig, parameters: &Parameters) -> Result<Self, PolicyError> {
        config.check()?;
        let layout = Layout::new(config);
        let (packed, turned) = (vec![0.0; layout.len], vec![0.0; layout.len]);
        let mut policy = Self { config: config.clone(), layout, packed, turned, value: None };
        policy.load(parameters)?;
        Ok(policy)
    }

    /// The configuration.
    pub fn config(&self) -> &PolicyConfig {
        &self.config
    }

    /// Packs the current values of `parameters`, on the current thread pool.
    ///
    /// # Errors
    /// Fails where a parameter is lacking or is no contiguous `f32` tensor on the CPU.
    pub fn load(&mut self, parameters: &Parameters) -> Result<(), PolicyError> {
        let (mut packed, mut turned) = (self.packed.as_mut_slice(), self.turned.as_mut_slice());
        let mut trunks = Vec::new();
        for trunk in &self.layout.trunks {
            let (packed_part, packed_rest) = packed.split_at_mut(trunk.len());
            let (turned_part, turned_rest) = turned.split_at_mut(trunk.len());
            trunks.push((trunk, packed_part, turned_part));
            (packed, turned) = (packed_rest, turned_rest);
        }
        let config = &self.config;
        let (trunks, chain) = rayon::join(
            || {
                let pack = |(trunk, packed, turned)| pack_trunk(parameters, config, trunk, packed, turned);
                trunks.into_par_iter().try_for_each(pack)
            },
            || {
                let is_folded = self.layout.value_trunk.is_none();
                is_folded.then(|| with_value_chain(parameters, config, fold_chain)).transpose()
            },
        );
        trunks?;
        let chain = chain?;
        let packed = &mut self.packed;
        copy_layer(parameters, "head", &self.layout.head, packed)?;
        if let Some(gate) = &self.layout.gate {
            copy_layer(parameters, &format!("gate.{}", self.config.hidden.len()), gate, packed)?;
        }
        let value = &self.layout.value;
        if let Some(chain) = &chain {
            packed[value.weight.clone()].copy_from_slice(&chain.weights);
            packed[value.bias.start] = chain.bias;
        } else {
            copy_layer(parameters, &format!("value.{}", self.config.value_hidden.len()), value, packed)?;
        }
        self.value = chain;
        Ok(())
    }

    /// The values of observations given in full, one after the other.
    ///
    /// # Panics
    /// Panics if they are no whole number of the policy's inputs.
    pub fn values_of(&self, observations: &[f32]) -> Vec<f32> {
        let width = self.config.inputs();
        assert_eq!(observations.len() % width, 0, "observations of the wrong length");
        let mut x = SparseRows::new(width);
        observations.chunks_exact(width).for_each(|observation| x.push_dense(observation));
        let rows: Vec<u32> = (0..x.len() as u32).collect();
        let widths = self.layout.value_trunk.iter().flat_map(|_| &self.config.value_hidden);
        let mut layers: Vec<Vec<f32>> = widths.map(|width| vec![0.0; rows.len() * width]).collect();
        let mut values = vec![0.0; rows.len()];
        self.value_rows(&x, &rows, 0, &mut layers, &mut values);
        values
    }

    /// Computes the rows of `x` that `rows` lists under `steering` and appends them to `out`.
    ///
    /// # Errors
    /// Fails where `steering` names an expert that is not there.
    ///
    /// # Panics
    /// Panics if a row is out of range or `out` was made for another configuration.
    pub fn forward(
        &self,
        x: &SparseRows,
        rows: &[u32],
        steering: Steering,
        out: &mut Activations,
    ) -> Result<(), PolicyError> {
        let fixed = self.config.fixed_gate(steering)?;
        let (start, n) = (out.rows, rows.len());
        out.resize(start + n);
        for index in 0..out.experts + usize::from(self.layout.gate.is_some()) {
            let is_expert = index < out.experts;
            let needed = if is_expert { steering.keeps(index) } else { fixed.is_none() };
            if !needed {
                continue;
            }
            let layers = &mut out.hidden[index];
            self.hidden_rows(index, x, rows, start, layers);
            let width = self.layout.head.inputs;
            let top = &layers[layers.len() - 1][start * width..][..n * width];
            if is_expert {
                let logits = &mut out.expert_logits[index][start * out.actions..][..n * out.actions];
                head_forward(logits, top, self.slice(&self.layout.head.weight), width);
            } else if let Some(gate) = &self.layout.gate {
                let logits = &mut out.gate_logits[start * out.gate_outputs..][..n * out.gate_outputs];
                head_forward(logits, top, self.slice(&gate.weight), width);
                add_bias(logits, self.slice(&gate.bias));
            }
        }
        for row in start..start + n {
            let gate = &mut out.gate[row * out.experts..][..out.experts];
            if let Some(weights) = &fixed {
                gate.copy_from_slice(weights);
            } else {
                let logits = &out.gate_logits[row * out.gate_outputs..][..out.gate_outputs];
                gate_weights(logits, steering, gate);
            }
            let logits = &mut out.logits[row * out.actions..][..out.actions];
            logits.copy_from_slice(self.slice(&self.layout.head.bias));
            for (weight, expert) in gate.iter().zip(&out.expert_logits).filter(|(weight, _)| **weight != 0.0)
            {
                let part = &expert[row * out.actions..][..out.actions];
                logits.iter_mut().zip(part).for_each(|(logit, u)| *logit += weight * u);
            }
        }
        let Activations { hidden, values, .. } = out;
        let layers = self.layout.value_trunk.map_or(&mut [][..], |trunk| &mut hidden[trunk]);
        self.value_rows(x, rows, start, layers, values);
        Ok(())
    }

    /// Computes the hidden layers of a trunk for these rows, from row `start` of `layers` on.
    fn hidden_rows(&self, trunk: usize, x: &SparseRows, rows: &[u32], start: usize, layers: &mut [Vec<f32>]) {
        let Trunk { table, dense, .. } = &self.layout.trunks[trunk];
        let n = rows.len();
        let first = &mut layers[0][start * table.outputs..][..n * table.outputs];
        gather_relu(first, x, rows, self.slice(&table.weight), self.slice(&table.bias));
        for (layer, dense) in dense.iter().enumerate() {
            let (below, above) = layers.split_at_mut(layer + 1);
            let input = Matrix::new(&below[layer][start * dense.inputs..], n, dense.inputs);
            let output = &mut above[0][start * dense.outputs..][..n * dense.outputs];
            let turned = Dense::transposed(dense.inputs, dense.outputs);
            turned.forward(output, input, &self.turned[dense.weight.clone()], Write::Set);
            bias_relu(output, self.slice(&dense.bias));
        }
    }

    /// Computes the values of these rows, from row `start` on; `layers` are those of the value net's trunk, if it has one.
    fn value_rows(
        &self,
        x: &SparseRows,
        rows: &[u32],
        start: usize,
        layers: &mut [Vec<f32>],
        values: &mut [f32],
    ) {
        let value = &self.layout.value;
        let weight = self.slice(&value.weight);
        let values = &mut values[start..][..rows.len()];
        if let Some(trunk) = self.layout.value_trunk {
            self.hidden_rows(trunk, x, rows, start, layers);
            let width = value.inputs;
            let top = &layers[layers.len() - 1][start * width..][..rows.len() * width];
            head_forward(values, top, weight, width);
            add_bias(values, self.slice(&value.bias));
        } else {
            for (out, row) in values.iter_mut().zip(rows) {
                *out = x.dot(*row as usize, weight) + self.packed[value.bias.start];
            }
        }
    }

    pub(super) fn slice(&self, range: &std::ops::Range<usize>) -> &[f32] {
        &self.packed[range.clone()]
    }
}

/// softmax([z, 0]) over the experts that are kept.
fn gate_weights(logits: &[f32], steering: Steering, gate: &mut [f32]) {
    let logits = || logits.iter().copied().chain([0.0]).enumerate();
    let kept = logits().filter(|(expert, _)| steering.keeps(*expert));
    let max = kept.fold(f32::NEG_INFINITY, |max, (_, z)| max.max(z));
    for (weight, (expert, z)) in gate.iter_mut().zip(logits()) {
        *weight = if steering.keeps(expert) { (z - max).exp() } else { 0.0 };
    }
    let sum: f32 = gate.iter().sum();
    for weight in gate {
        *weight /= sum;
    }
}

/// Packs one trunk into its part of the packed and of the transposed weights.
fn pack_trunk(
    parameters: &Parameters,
    config: &PolicyConfig,
    trunk: &Trunk,
    packed: &mut [f32],
    turned: &mut [f32],
) -> Result<(), PolicyError> {
    let within = |dense: &PackedLayer| dense.clone().moved_back(trunk.start());
    let table = within(&trunk.table);
    with_layer(parameters, &format!("{}.0", trunk.prefix), |weight, bias| {
        packed[table.bias.clone()].copy_from_slice(bias);
        if !trunk.has_conv {
            transpose(&mut packed[table.weight.clone()], weight, table.inputs);
            return Ok(());
        }
        let mut folded = vec![0.0; table.weight.len()];
        with_conv(parameters, &trunk.prefix, config, |conv| {
            let units = weight.chunks_exact(conv.outputs()).zip(folded.chunks_exact_mut(table.inputs));
            for ((weights, folded), bias) in units.zip(&mut packed[table.bias.clone()]) {
                *bias += fold_unit(conv, weights, folded);
            }
        })?;
        transpose(&mut packed[table.weight.clone()], &folded, table.inputs);
        Ok(())
    })?;
    for (index, dense) in trunk.dense.iter().map(within).enumerate() {
        copy_layer(parameters, &format!("{}.{}", trunk.prefix, index + 1), &dense, packed)?;
        transpose(&mut turned[dense.weight.clone()], &packed[dense.weight.clone()], dense.inputs);
    }
    Ok(())
}

fn copy_layer(
    parameters: &Parameters,
    name: &str,
    dense: &PackedLayer,
    packed: &mut [f32],
) -> Result<(), PolicyError> {
    with_layer(parameters, name, |weight, bias| {
        packed[dense.weight.clone()].copy_from_slice(weight);
        packed[dense.bias.clone()].copy_from_slice(bias);
        Ok(())
    })
}

/// Calls `f` with a layer's weight and bias.
pub(super) fn with_layer<T>(
    parameters: &Parameters,
    name: &str,
    f: impl FnOnce(&[f32], &[f32]) -> Result<T, PolicyError>,
) -> Result<T, PolicyError> {
    let weight = parameters.get(&format!("{name}.weight"))?.as_tensor();
    let bias = parameters.get(&format!("{name}.bias"))?.as_tensor();
    let ((weight, weight_layout), (bias, bias_layout)) =
        (weight.storage_and_layout(), bias.storage_and_layout());
    f(values(&weight, weight_layout)?, values(&bias, bias_layout)?)
}

/// Calls `f` with the convolution `PREFIX.conv`.
pub(super) fn with_conv<T>(
    parameters: &Parameters,
    prefix: &str,
    config: &PolicyConfig,
    f: impl FnOnce(&Conv<'_>) -> T,
) -> Result<T, PolicyError> {
    with_layer(parameters, &format!("{prefix}.conv"), |kernel, bias| {
        Ok(f(&Conv { kernel, bias, planes_in: config.planes, cells: config.cells }))
    })
}

/// Calls `f` with the value net's convolution and its linear layers, first to last.
pub(super) fn with_value_chain<T>(
    parameters: &Parameters,
    config: &PolicyConfig,
    f: impl FnOnce(&Conv<'_>, &[LinearLayer<'_>]) -> T,
) -> Result<T, PolicyError> {
    let mut held = Vec::new();
    for index in 0..=config.value_hidden.len() {
        let weight = parameters.get(&format!("value.{index}.weight"))?.as_tensor();
        let bias = parameters.get(&format!("value.{index}.bias"))?.as_tensor();
        held.push((weight.storage_and_layout(), bias.storage_and_layout()));
    }
    let layers = held.iter().map(|((weight, weight_layout), (bias, bias_layout))| {
        Ok(LinearLayer { weight: values(weight, weight_layout)?, bias: values(bias, bias_layout)? })
    });
    let layers = layers.collect::<Result<Vec<_>, PolicyError>>()?;
    with_conv(parameters, "value", config, |conv| f(conv, &layers))
}

fn values<'a>(storage: &'a Storage, layout: &candle_core::Layout) -> Result<&'a [f32], PolicyError> {
    match (storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) => Ok(&values[start..end]),
        _ => Err(PolicyError::Config("the fused path needs contiguous f32 parameters on the CPU".to_owned())),
    }
}
