//! Dense layers with a backward pass and an optimiser of their own.

use learning::AdamConfig;
use learning::kernels::{
    AdamStep, Dense, Matrix, Write, adam_step, add_assign, add_column_sums, bias_relu, relu_backward,
    sum_of_squares,
};
use rayon::prelude::*;

use crate::model::Shape;

/// A parameter, its gradient on the batch in hand, and its moments.
#[derive(Clone, Debug, Default)]
pub(super) struct ParamWithMoments {
    pub value: Vec<f32>,
    pub gradient: Vec<f32>,
    pub first: Vec<f32>,
    pub second: Vec<f32>,
}

impl ParamWithMoments {
    fn zeros(len: usize) -> Self {
        let zeros = || vec![0.0; len];
        Self { value: zeros(), gradient: zeros(), first: zeros(), second: zeros() }
    }

    fn step(&mut self, adam: AdamStep, block: usize) {
        let Self { value, gradient, first, second } = self;
        let moments = first.par_chunks_mut(block).zip(second.par_chunks_mut(block));
        value
            .par_chunks_mut(block)
            .zip(gradient.par_chunks(block))
            .zip(moments)
            .for_each(|((value, gradient), (first, second))| adam_step(value, first, second, gradient, adam));
    }
}

/// y = x·Wᵀ + b.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub dense: Dense,
    /// (outputs, inputs)
    pub weight: ParamWithMoments,
    /// (outputs), or empty for a layer without one.
    pub bias: ParamWithMoments,
}

/// Dense layers with ReLU between them and none at the end.
///
/// ```text
/// h₀ = x      zₗ = hₗ₋₁·Wₗᵀ + bₗ      hₗ = max(zₗ, 0), but hₙ = zₙ for the last
/// dhₙ given   dzₗ = dhₗ ⊙ [hₗ > 0], but dzₙ = dhₙ      dhₗ₋₁ = dzₗ·Wₗ      dWₗ = dzₗᵀ·hₗ₋₁      dbₗ = ∑ rows of dzₗ
/// ```
///
/// Forward and backward passes are split among threads by rows: each has a [`Trace`] of its own. The gradients of
/// the weights are split by *units*: each thread multiplies out the gradient of its rows of Wₗ over the whole
/// batch, trace after trace. No gradient is added up between threads, and every sum has a fixed order. The
/// optimiser waits until the gradients of all networks are known, so that none moves where one is not finite.
#[derive(Clone, Debug)]
pub(super) struct Stack {
    pub shape: Shape,
    pub layers: Vec<Layer>,
    /// Steps of the optimiser.
    pub steps: u64,
    /// Whether the layers have a gradient that no step was taken on.
    pub has_gradient: bool,
    threads: usize,
}

/// What the passes over some rows of a batch leave behind: hₗ, dzₗ and the rows' part of dbₗ.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    pub rows: usize,
    outputs: Vec<Vec<f32>>,
    gradients: Vec<Vec<f32>>,
    bias_gradients: Vec<Vec<f32>>,
}

impl Trace {
    fn fit(&mut self, stack: &Stack, rows: usize) {
        self.rows = rows;
        let layers = stack.layers.len();
        for buffers in [&mut self.outputs, &mut self.gradients, &mut self.bias_gradients] {
            buffers.resize_with(layers, Vec::new);
        }
        for (index, layer) in stack.layers.iter().enumerate() {
            let len = rows * layer.dense.outputs();
            for buffer in [&mut self.outputs[index], &mut self.gradients[index]] {
                if buffer.len() < len {
                    buffer.resize(len, 0.0);
                }
            }
            self.bias_gradients[index].resize(layer.dense.outputs(), 0.0);
        }
    }

    /// What came out of the last layer.
    pub(crate) fn output(&self, width: usize) -> &[f32] {
        self.outputs.last().map_or(&[], |output| &output[..self.rows * width])
    }

    /// The gradient of the last layer's output, to be written before the backward pass.
    pub(crate) fn output_gradient(&mut self, width: usize) -> &mut [f32] {
        self.gradients.last_mut().map_or(&mut [], |gradient| &mut gradient[..self.rows * width])
    }

    /// The last layer's output, to be turned into its own gradient: [`Trace::output`] has no meaning then.
    pub(crate) fn output_into_gradient(&mut self, width: usize) -> &mut [f32] {
        if let (Some(output), Some(gradient)) = (self.outputs.last_mut(), self.gradients.last_mut()) {
            std::mem::swap(output, gradient);
        }
        self.output_gradient(width)
    }
}

impl Stack {
    /// Zeros of a shape, for `threads` threads.
    pub(crate) fn new(shape: &Shape, threads: usize) -> Self {
        let layers = (0..shape.layers())
            .map(|index| {
                let (inputs, outputs) = (shape.sizes[index], shape.sizes[index + 1]);
                let biased = shape.parameter_names(index).1.is_some();
                let bias = ParamWithMoments::zeros(if biased { outputs } else { 0 });
                let weight = ParamWithMoments::zeros(inputs * outputs);
                Layer { dense: Dense::new(inputs, outputs), weight, bias }
            })
            .collect();
        Self { shape: shape.clone(), layers, steps: 0, has_gradient: false, threads }
    }

    /// The last layer's bias, which [`Stack::forward`] leaves to the caller.
    pub(crate) fn last_bias(&self) -> &[f32] {
        self.layers.last().map_or(&[], |layer| &layer.bias.value)
    }

    /// Runs `rows` rows of `input` through the layers, up to the last layer's product: its bias is not added,
    /// because the loss does so in the same pass over the memory.
    pub(crate) fn forward(&self, input: Matrix<'_>, rows: usize, trace: &mut Trace) {
        trace.fit(self, rows);
        for (index, layer) in self.layers.iter().enumerate() {
            let (before, after) = trace.outputs.split_at_mut(index);
            let input = before.last().map_or(input, |h| Matrix::new(h, rows, layer.dense.inputs()));
            let output = &mut after[0][..rows * layer.dense.outputs()];
            layer.dense.forward(output, input, &layer.weight.value, Write::Set);
            if index + 1 < self.layers.len() {
                bias_relu(output, &layer.bias.value);
            }
        }
    }

    /// Takes the gradient of the last layer's output back to all layers.
    pub(crate) fn backward(&self, trace: &mut Trace) {
        let rows = trace.rows;
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let (before, after) = trace.gradients.split_at_mut(index);
            let gradient = &after[0][..rows * layer.dense.outputs()];
            if !layer.bias.value.is_empty() {
                trace.bias_gradients[index].fill(0.0);
                add_column_sums(&mut trace.bias_gradients[index], gradient);
            }
            if let Some(gradient_before) = before.last_mut() {
                let gradient_before = &mut gradient_before[..rows * layer.dense.inputs()];
                let gradient = Matrix::new(gradient, rows, layer.dense.outputs());
                layer.dense.input_grad(gradient_before, gradient, &layer.weight.value);
                relu_backward(gradient_before, &trace.outputs[index - 1]);
            }
        }
    }

    /// The gradient of the first layer's input, (rows, inputs).
    pub(crate) fn input_gradient(&self, trace: &Trace, out: &mut Vec<f32>) {
        let Layer { dense, weight, .. } = &self.layers[0];
        out.resize(trace.rows * dense.inputs(), 0.0);
        let gradient = Matrix::new(&trace.gradients[0], trace.rows, dense.outputs());
        dense.input_grad(out, gradient, &weight.value);
    }

    /// The gradients of all parameters over all traces together, each given with its input; returns the sum of
    /// their squares, which is not finite where one of them is not.
    pub(crate) fn gradients(&mut self, parts: &[(Matrix<'_>, &Trace)]) -> f64 {
        self.has_gradient = true;
        let threads = self.threads;
        let mut shares: Vec<Vec<Block<'_>>> = (0..threads).map(|_| Vec::new()).collect();
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let units = layer.dense.outputs().div_ceil(threads);
            let mut biases = layer.bias.gradient.chunks_mut(units);
            for (share, weight) in layer.weight.gradient.chunks_mut(units * layer.dense.inputs()).enumerate()
            {
                let first_unit = share * units;
                shares[share].push(Block { index, first_unit, weight, bias: biases.next() });
            }
        }
        let sizes = &self.shape.sizes;
        let squares: Vec<f64> = shares
            .par_iter_mut()
            .map(|share| share.iter_mut().map(|block| block.fill(sizes, parts)).sum())
            .collect();
        squares.iter().sum()
    }

    /// One step of Adam on the gradients, if there are any.
    pub(crate) fn step(&mut self, adam: &AdamConfig, lr: f64) {
        if !std::mem::take(&mut self.has_gradient) {
            return;
        }
        self.steps += 1;
        let (step, threads) = (AdamStep::new(adam, self.steps, lr), self.threads);
        for layer in &mut self.layers {
            let units = layer.dense.outputs().div_ceil(threads);
            layer.weight.step(step, units * layer.dense.inputs());
            layer.bias.step(step, units);
        }
    }
}

/// The gradients of some units of a layer: of their weights and biases.
struct Block<'a> {
    index: usize,
    first_unit: usize,
    weight: &'a mut [f32],
    bias: Option<&'a mut [f32]>,
}

impl Block<'_> {
    /// Writes them; returns the sum of their squares.
    fn fill(&mut self, sizes: &[usize], parts: &[(Matrix<'_>, &Trace)]) -> f64 {
        let (index, from) = (self.index, self.first_unit);
        let (inputs, outputs) = (sizes[index], sizes[index + 1]);
        let to = from + self.weight.len() / inputs;
        let units = Dense::new(inputs, to - from);
        for (number, (input, trace)) in parts.iter().enumerate() {
            let rows = trace.rows;
            let before = index.checked_sub(1).map(|before| Matrix::new(&trace.outputs[before], rows, inputs));
            let dz = Matrix::new(&trace.gradients[index], rows, outputs).columns(from, to);
            let write = if number == 0 { Write::Set } else { Write::Add };
            units.weight_grad(self.weight, before.unwrap_or(*input), dz, write);
        }
        let mut squares = sum_of_squares(self.weight);
        if let Some(bias) = &mut self.bias {
            bias.fill(0.0);
            for (_, trace) in parts {
                add_assign(bias, &trace.bias_gradients[index][from..to]);
            }
            squares += sum_of_squares(bias);
        }
        squares
    }
}
