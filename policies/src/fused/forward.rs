//! Packing and the forward pass.

use candle_core::{DType, Storage, Tensor};
use learning::Parameters;
use learning::kernels::{Matrix, SparseRows, Write, bias_relu, gather_relu, head_forward, matmul};

use super::Activations;
use super::fold::{Conv, FoldedChain, LinearLayer, fold_chain, fold_unit};
use super::pack::{Dense, Layout};
use crate::{PolicyConfig, PolicyError, Steering};

/// A policy's weights, packed for the CPU. [`FusedPolicy::load`] must follow every change of the parameters.
pub struct FusedPolicy {
    pub(super) config: PolicyConfig,
    pub(super) layout: Layout,
    pub(super) packed: Vec<f32>,
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
        let packed = vec![0.0; layout.len];
        let mut policy = Self { config: config.clone(), layout, packed, value: None };
        policy.load(parameters)?;
        Ok(policy)
    }

    /// The configuration.
    pub fn config(&self) -> &PolicyConfig {
        &self.config
    }

    /// Packs the current values of `parameters`.
    ///
    /// # Errors
    /// Fails where a parameter is lacking or is no contiguous `f32` tensor on the CPU.
    pub fn load(&mut self, parameters: &Parameters) -> Result<(), PolicyError> {
        let packed = &mut self.packed;
        for trunk in &self.layout.trunks {
            let table = &trunk.table;
            let first = format!("{}.0", trunk.prefix);
            with_layer(parameters, &first, |weight, bias| {
                packed[table.bias.clone()].copy_from_slice(bias);
                if trunk.prefix == "gate" {
                    let mut row = vec![0.0; table.inputs];
                    with_conv(parameters, "gate", &self.config, |conv| {
                        for (unit, weights) in weight.chunks_exact(table.inputs).enumerate() {
                            packed[table.bias.start + unit] += fold_unit(conv, weights, &mut row);
                            write_column(&mut packed[table.weight.clone()], &row, unit, table.outputs);
                        }
                    })?;
                } else {
                    for (unit, weights) in weight.chunks_exact(table.inputs).enumerate() {
                        write_column(&mut packed[table.weight.clone()], weights, unit, table.outputs);
                    }
                }
                Ok(())
            })?;
            for (index, dense) in trunk.dense.iter().enumerate() {
                copy_layer(parameters, &format!("{}.{}", trunk.prefix, index + 1), dense, packed)?;
            }
        }
        copy_layer(parameters, "head", &self.layout.head, packed)?;
        if let Some(gate) = &self.layout.gate {
            copy_layer(parameters, &format!("gate.{}", self.config.hidden.len()), gate, packed)?;
        }
        let chain = with_value_chain(parameters, &self.config, fold_chain)?;
        let value = &self.layout.value;
        self.packed[value.weight.clone()].copy_from_slice(&chain.weights);
        self.packed[value.bias.start] = chain.bias;
        self.value = Some(chain);
        Ok(())
    }

    /// The value of row `row` of `x`.
    ///
    /// # Panics
    /// Panics if there is no such row.
    pub fn value(&self, x: &SparseRows, row: usize) -> f32 {
        let value = &self.layout.value;
        x.dot(row, &self.packed[value.weight.clone()]) + self.packed[value.bias.start]
    }

    /// The value of an observation given in full.
    ///
    /// # Panics
    /// Panics if `observation` has another length than the policy's inputs.
    pub fn value_of(&self, observation: &[f32]) -> f32 {
        let value = &self.layout.value;
        let weights = self.slice(&value.weight);
        assert_eq!(observation.len(), weights.len(), "an observation of the wrong length");
        let entries = observation.iter().zip(weights).filter(|(x, _)| **x != 0.0);
        entries.map(|(x, w)| x * w).sum::<f32>() + self.packed[value.bias.start]
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
        for (index, trunk) in self.layout.trunks.iter().enumerate() {
            let is_expert = index < out.experts;
            let needed = match steering {
                Steering::Mixture => true,
                Steering::Expert(expert) => expert == index,
            };
            if !needed {
                continue;
            }
            let layers = &mut out.hidden[index];
            let table = &trunk.table;
            let first = &mut layers[0][start * table.outputs..];
            gather_relu(first, x, rows, self.slice(&table.weight), self.slice(&table.bias));
            for (layer, dense) in trunk.dense.iter().enumerate() {
                let (below, above) = layers.split_at_mut(layer + 1);
                let input = Matrix::new(&below[layer][start * dense.inputs..], n, dense.inputs);
                let weight = Matrix::new(self.slice(&dense.weight), dense.outputs, dense.inputs);
                let output = &mut above[0][start * dense.outputs..];
                matmul(output, input, weight.t(), Write::Set);
                bias_relu(output, self.slice(&dense.bias));
            }
            let width = self.layout.head.inputs;
            let top = &layers[layers.len() - 1][start * width..];
            if is_expert {
                let logits = &mut out.expert_logits[index][start * out.actions..];
                head_forward(logits, top, self.slice(&self.layout.head.weight), width);
            } else if let Some(gate) = &self.layout.gate {
                let logits = &mut out.gate_logits[start * out.gate_outputs..];
                head_forward(logits, top, self.slice(&gate.weight), width);
                for row in logits.chunks_exact_mut(gate.outputs) {
                    row.iter_mut().zip(self.slice(&gate.bias)).for_each(|(z, b)| *z += b);
                }
            }
        }
        for row in start..start + n {
            let gate = &mut out.gate[row * out.experts..][..out.experts];
            match &fixed {
                Some(weights) => gate.copy_from_slice(weights),
                None => gate_weights(&out.gate_logits[row * out.gate_outputs..][..out.gate_outputs], gate),
            }
            let logits = &mut out.logits[row * out.actions..][..out.actions];
            logits.copy_from_slice(self.slice(&self.layout.head.bias));
            for (weight, expert) in gate.iter().zip(&out.expert_logits).filter(|(weight, _)| **weight != 0.0) {
                let part = &expert[row * out.actions..][..out.actions];
                logits.iter_mut().zip(part).for_each(|(logit, u)| *logit += weight * u);
            }
        }
        Ok(())
    }

    pub(super) fn slice(&self, range: &std::ops::Range<usize>) -> &[f32] {
        &self.packed[range.clone()]
    }
}

/// softmax([z, 0]).
fn gate_weights(logits: &[f32], gate: &mut [f32]) {
    let max = logits.iter().fold(0f32, |max, z| max.max(*z));
    let last = gate.len() - 1;
    for (weight, z) in gate.iter_mut().zip(logits) {
        *weight = (z - max).exp();
    }
    gate[last] = (-max).exp();
    let sum: f32 = gate.iter().sum();
    gate.iter_mut().for_each(|weight| *weight /= sum);
}

fn write_column(table: &mut [f32], values: &[f32], column: usize, width: usize) {
    for (row, value) in table.chunks_exact_mut(width).zip(values) {
        row[column] = *value;
    }
}

fn copy_layer(
    parameters: &Parameters,
    name: &str,
    dense: &Dense,
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
    with_values(weight, |weight| with_values(bias, |bias| f(weight, bias)))
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
    let mut values = Vec::new();
    for index in 0..=config.value_hidden.len() {
        let copy = |weight: &[f32], bias: &[f32]| Ok((weight.to_vec(), bias.to_vec()));
        values.push(with_layer(parameters, &format!("value.{index}"), copy)?);
    }
    let layers: Vec<_> = values.iter().map(|(weight, bias)| LinearLayer { weight, bias }).collect();
    with_conv(parameters, "value", config, |conv| f(conv, &layers))
}

fn with_values<T>(
    tensor: &Tensor,
    f: impl FnOnce(&[f32]) -> Result<T, PolicyError>,
) -> Result<T, PolicyError> {
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(values), Some((start, end))) if tensor.dtype() == DType::F32 => {
            f(&values.as_slice::<f32>()?[start..end])
        }
        _ => Err(PolicyError::Config("the fused path needs contiguous f32 parameters on the CPU".to_owned())),
    }
}
