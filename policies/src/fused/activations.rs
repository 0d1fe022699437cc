//! What a forward pass leaves behind for the backward pass.

use crate::PolicyConfig;

/// The forward values of a growing number of rows, laid out row by row.
///
/// A rollout appends the rows of each step as it goes; the backward pass reads them all.
#[derive(Clone, Debug)]
pub struct Activations {
    /// The buffers hold as many rows or more; what follows these is left from an earlier use.
    pub(super) rows: usize,
    /// `hidden[trunk][layer]`: (rows, width), after the ReLU.
    pub(super) hidden: Vec<Vec<Vec<f32>>>,
    /// `W_head·h_e` without the bias, (rows, actions) for each expert.
    pub(super) expert_logits: Vec<Vec<f32>>,
    pub(super) gate_logits: Vec<f32>,
    pub(super) gate: Vec<f32>,
    pub(super) logits: Vec<f32>,
    pub(super) values: Vec<f32>,
    /// The widths of each trunk's layers.
    pub(super) widths: Vec<Vec<usize>>,
    pub(super) actions: usize,
    pub(super) experts: usize,
    pub(super) gate_outputs: usize,
}

impl Activations {
    /// No rows yet.
    pub fn new(config: &PolicyConfig) -> Self {
        let experts = config.experts.len();
        let mut widths = vec![config.hidden.clone(); experts + usize::from(config.has_gate())];
        if config.has_value_trunk() {
            widths.push(config.value_hidden.clone());
        }
        Self {
            rows: 0,
            hidden: widths.iter().map(|layers| vec![Vec::new(); layers.len()]).collect(),
            expert_logits: vec![Vec::new(); experts],
            gate_logits: Vec::new(),
            gate: Vec::new(),
            logits: Vec::new(),
            values: Vec::new(),
            widths,
            actions: config.actions,
            experts,
            gate_outputs: config.gate_outputs(),
        }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// True where there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Removes all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.resize(0);
    }

    /// The logits of a row, one for each action.
    pub fn logits(&self, row: usize) -> &[f32] {
        &self.logits[row * self.actions..][..self.actions]
    }

    /// The weights of the experts in a row.
    pub fn gate(&self, row: usize) -> &[f32] {
        &self.gate[row * self.experts..][..self.experts]
    }

    /// The gate's logits in a row, one fewer than experts; empty without a gate network. Not computed under
    /// steering to one expert.
    pub fn gate_logits(&self, row: usize) -> &[f32] {
        &self.gate_logits[row * self.gate_outputs..][..self.gate_outputs]
    }

    /// The value of a row.
    pub fn value(&self, row: usize) -> f32 {
        self.values[row]
    }

    /// The part of the logits that comes from one expert, before the gate's weight and without the bias.
    /// Computed only for the experts that the steering needs.
    pub fn expert_logits(&self, expert: usize, row: usize) -> &[f32] {
        &self.expert_logits[expert][row * self.actions..][..self.actions]
    }

    /// Makes room for `rows` rows. Buffers never shrink, so that rows taken again are not filled with zeros first.
    pub(super) fn resize(&mut self, rows: usize) {
        self.rows = rows;
        let grow = |values: &mut Vec<f32>, width: usize| {
            if values.len() < rows * width {
                values.resize(rows * width, 0.0);
            }
        };
        for (trunk, widths) in self.hidden.iter_mut().zip(&self.widths) {
            trunk.iter_mut().zip(widths).for_each(|(layer, width)| grow(layer, *width));
        }
        self.expert_logits.iter_mut().for_each(|logits| grow(logits, self.actions));
        grow(&mut self.gate_logits, self.gate_outputs);
        grow(&mut self.gate, self.experts);
        grow(&mut self.logits, self.actions);
        grow(&mut self.values, 1);
    }
}
