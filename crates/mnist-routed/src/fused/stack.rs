//! Dense layers with a backward pass and an optimiser of their own.

use learning::AdamConfig;
use learning::kernels::{
    AdamStep, Matrix, Write, adam_step, add_assign, add_column_sums, bias_relu, matmul, relu_backward,
    sum_of_squares,
};
use rayon::prelude::*;

use crate::model::Shape;

/// A parameter and its moments.
#[derive(Clone, Debug, Default)]
pub(super) struct ParamWithMoments {
    pub value: Vec<f32>,
    pub first: Vec<f32>,
    pub second: Vec<f32>,
}

impl ParamWithMoments {
    fn blocks(&mut self, len: usize) -> impl Iterator<Item = [&mut [f32]; 3]> {
        let Self { value, first, second } = self;
        let moments = first.chunks_mut(len).zip(second.chunks_mut(len));
        value.chunks_mut(len).zip(moments).map(|(value, (first, second))| [value, first, second])
    }
}

/// y = x·Wᵀ + b.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub inputs: usize,
    pub outputs: usize,
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
/// batch, trace after trace, and steps Adam on them while they are in its cache. No gradient is written to
/// memory and read again, none is added up between threads, and every sum has a fixed order.
#[derive(Clone, Debug)]
pub(super) struct Stack {
    pub shape: Shape,
    pub layers: Vec<Layer>,
    /// Steps of the optimiser.
    pub steps: u64,
    /// The gradient in hand, for each thread.
    scratch: Vec<Vec<f32>>,
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
            let len = rows * layer.outputs;
            for buffer in [&mut self.outputs[index], &mut self.gradients[index]] {
                if buffer.len() < len {
                    buffer.resize(len, 0.0);
                }
            }
            self.bias_gradients[index].resize(layer.outputs, 0.0);
        }
    }

    /// What came out of the last layer.
    pub fn output(&self, width: usize) -> &[f32] {
        self.outputs.last().map_or(&[], |output| &output[..self.rows * width])
    }

    /// The gradient of the last layer's output, to be written before the backward pass.
    pub fn output_gradient(&mut self, width: usize) -> &mut [f32] {
        self.gradients.last_mut().map_or(&mut [], |gradient| &mut gradient[..self.rows * width])
    }

    /// The last layer's output, to be turned into its own gradient: [`Trace::output`] has no meaning then.
    pub fn output_into_gradient(&mut self, width: usize) -> &mut [f32] {
        if let (Some(output), Some(gradient)) = (self.outputs.last_mut(), self.gradients.last_mut()) {
            std::mem::swap(output, gradient);
        }
        self.output_gradient(width)
    }
}

impl Stack {
    /// Zeros of a shape, for `threads` threads.
    pub fn new(shape: &Shape, threads: usize) -> Self {
        let zeros = |len: usize| ParamWithMoments {
            value: vec![0.0; len],
            first: vec![0.0; len],
            second: vec![0.0; len],
        };
        let layers = (0..shape.layers())
            .map(|index| {
                let (inputs, outputs) = (shape.sizes[index], shape.sizes[index + 1]);
                let biased = shape.parameter_names(index).1.is_some();
                let bias = if biased { zeros(outputs) } else { ParamWithMoments::default() };
                Layer { inputs, outputs, weight: zeros(inputs * outputs), bias }
            })
            .collect();
        Self { shape: shape.clone(), layers, steps: 0, scratch: vec![Vec::new(); threads] }
    }

    /// The last layer's bias, which [`Stack::forward`] leaves to the caller.
    pub fn last_bias(&self) -> &[f32] {
        self.layers.last().map_or(&[], |layer| &layer.bias.value)
    }

    /// Runs `rows` rows of `input` through the layers, up to the last layer's product: its bias is not added,
    /// because the loss does so in the same pass over the memory.
    pub fn forward(&self, input: Matrix<'_>, rows: usize, trace: &mut Trace) {
        trace.fit(self, rows);
        for (index, layer) in self.layers.iter().enumerate() {
            let (before, after) = trace.outputs.split_at_mut(index);
            let input = before.last().map_or(input, |h| Matrix::new(h, rows, layer.inputs));
            let output = &mut after[0][..rows * layer.outputs];
            matmul(output, input, layer.weight_matrix().t(), Write::Set);
            if index + 1 < self.layers.len() {
                bias_relu(output, &layer.bias.value);
            }
        }
    }

    /// Takes the gradient of the last layer's output back to all layers.
    pub fn backward(&self, trace: &mut Trace) {
        let rows = trace.rows;
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let (before, after) = trace.gradients.split_at_mut(index);
            let gradient = &after[0][..rows * layer.outputs];
            if !layer.bias.value.is_empty() {
                trace.bias_gradients[index].fill(0.0);
                add_column_sums(&mut trace.bias_gradients[index], gradient);
            }
            if let Some(gradient_before) = before.last_mut() {
                let gradient_before = &mut gradient_before[..rows * layer.inputs];
                let gradient = Matrix::new(gradient, rows, layer.outputs);
                matmul(gradient_before, gradient, layer.weight_matrix(), Write::Set);
                relu_backward(gradient_before, &trace.outputs[index - 1]);
            }
        }
    }

    /// The gradient of the first layer's input, (rows, inputs).
    pub fn input_gradient(&self, trace: &Trace, out: &mut Vec<f32>) {
        let layer = &self.layers[0];
        out.resize(trace.rows * layer.inputs, 0.0);
        let gradient = Matrix::new(&trace.gradients[0], trace.rows, layer.outputs);
        matmul(out, gradient, layer.weight_matrix(), Write::Set);
    }

    /// One step of Adam on the gradients of all traces together, each given with its input; returns the sum of
    /// the gradients' squares, which is not finite where one of them is not.
    pub fn update(&mut self, parts: &[(Matrix<'_>, &Trace)], adam: AdamRates) -> f64 {
        self.steps += 1;
        let step = adam.at(self.steps);
        let threads = self.scratch.len();
        let mut shares: Vec<Vec<Block<'_>>> = (0..threads).map(|_| Vec::new()).collect();
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let units = layer.outputs.div_ceil(threads);
            let mut biases = layer.bias.blocks(units);
            for (share, weight) in layer.weight.blocks(units * layer.inputs).enumerate() {
                let first_unit = share * units;
                shares[share].push(Block { index, first_unit, weight, bias: biases.next() });
            }
        }
        let sizes = &self.shape.sizes;
        let squares: Vec<f64> = shares
            .par_iter_mut()
            .zip(&mut self.scratch)
            .map(|(share, scratch)| {
                share.iter_mut().map(|block| block.step(sizes, parts, scratch, step)).sum()
            })
            .collect();
        squares.iter().sum()
    }
}

impl Layer {
    fn weight_matrix(&self) -> Matrix<'_> {
        Matrix::new(&self.weight.value, self.outputs, self.inputs)
    }
}

/// Some units of a layer: value and moments of their weights and biases.
struct Block<'a> {
    index: usize,
    first_unit: usize,
    weight: [&'a mut [f32]; 3],
    bias: Option<[&'a mut [f32]; 3]>,
}

impl Block<'_> {
    /// The gradient and Adam's step on it; returns the sum of its squares.
    fn step(
        &mut self,
        sizes: &[usize],
        parts: &[(Matrix<'_>, &Trace)],
        scratch: &mut Vec<f32>,
        step: AdamStep,
    ) -> f64 {
        let (index, from) = (self.index, self.first_unit);
        let (inputs, outputs) = (sizes[index], sizes[index + 1]);
        let [weight, first, second] = &mut self.weight;
        let to = from + weight.len() / inputs;
        if scratch.len() < weight.len() {
            scratch.resize(weight.len(), 0.0);
        }
        let gradient = &mut scratch[..weight.len()];
        for (number, (input, trace)) in parts.iter().enumerate() {
            let rows = trace.rows;
            let before = index.checked_sub(1).map(|before| Matrix::new(&trace.outputs[before], rows, inputs));
            let dz = Matrix::new(&trace.gradients[index], rows, outputs).columns(from, to);
            let write = if number == 0 { Write::Set } else { Write::Add };
            matmul(gradient, dz.t(), before.unwrap_or(*input), write);
        }
        let mut squares = sum_of_squares(gradient);
        adam_step(weight, first, second, gradient, step);
        if let Some([bias, first, second]) = &mut self.bias {
            let gradient = &mut scratch[..to - from];
            gradient.fill(0.0);
            for (_, trace) in parts {
                add_assign(gradient, &trace.bias_gradients[index][from..to]);
            }
            squares += sum_of_squares(gradient);
            adam_step(bias, first, second, gradient, step);
        }
        squares
    }
}

/// What Adam needs beside the gradient.
#[derive(Clone, Copy, Debug)]
pub(super) struct AdamRates {
    pub config: AdamConfig,
    pub decay: f64,
    pub lr: f64,
}

impl AdamRates {
    /// The constants of step number `steps`, from 1.
    fn at(self, steps: u64) -> AdamStep {
        let AdamConfig { beta1, beta2, eps, .. } = self.config;
        let correction = |beta: f64| 1.0 - beta.powf(steps as f64);
        AdamStep {
            beta1: (beta1 as f32, (1.0 - beta1) as f32),
            beta2: (beta2 as f32, (1.0 - beta2) as f32),
            decay: self.decay as f32,
            rate: (self.lr / correction(beta1)) as f32,
            root_correction: correction(beta2).sqrt() as f32,
            eps: eps as f32,
        }
    }
}
