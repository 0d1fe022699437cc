//! Folding of linear layers that follow each other, and the way back for their gradients.

/// A 1×1 convolution: kernel (out planes, in planes) and bias (out planes), on planes of `cells` cells.
#[derive(Clone, Copy)]
pub(super) struct Conv<'a> {
    pub kernel: &'a [f32],
    pub bias: &'a [f32],
    pub planes_in: usize,
    pub cells: usize,
}

impl Conv<'_> {
    fn planes_out(&self) -> usize {
        self.bias.len()
    }

    /// The numbers that it makes of an observation.
    pub(super) fn outputs(&self) -> usize {
        self.planes_out() * self.cells
    }
}

/// The gradient of a convolution.
pub(super) struct ConvGradient {
    pub kernel: Vec<f32>,
    pub bias: Vec<f32>,
}

/// One output unit behind a convolution: from its weights on the convolved planes to its weights on the
/// observation, `folded` (in planes × cells), and the shift of its bias.
pub(super) fn fold_unit(conv: &Conv<'_>, weights: &[f32], folded: &mut [f32]) -> f32 {
    let cells = conv.cells;
    folded.fill(0.0);
    let mut shift = 0.0;
    for (d, weights) in weights.chunks_exact(cells).enumerate() {
        for (c, folded) in folded.chunks_exact_mut(cells).enumerate() {
            let k = conv.kernel[d * conv.planes_in + c];
            for (f, w) in folded.iter_mut().zip(weights) {
                *f += k * w;
            }
        }
        shift += conv.bias[d] * weights.iter().sum::<f32>();
    }
    shift
}

/// The way back of [`fold_unit`]: adds to `conv_gradient` and returns the gradient of the unit's weights on the
/// convolved planes.
pub(super) fn unfold_unit(
    conv: &Conv<'_>,
    weights: &[f32],
    folded_gradient: &[f32],
    bias_gradient: f32,
    conv_gradient: &mut ConvGradient,
    weights_gradient: &mut [f32],
) {
    let cells = conv.cells;
    for d in 0..conv.planes_out() {
        let weights = &weights[d * cells..][..cells];
        let out = &mut weights_gradient[d * cells..][..cells];
        out.fill(bias_gradient * conv.bias[d]);
        for (c, folded) in folded_gradient.chunks_exact(cells).enumerate() {
            let k = conv.kernel[d * conv.planes_in + c];
            let mut sum = 0.0;
            for ((out, g), w) in out.iter_mut().zip(folded).zip(weights) {
                *out += k * g;
                sum += g * w;
            }
            conv_gradient.kernel[d * conv.planes_in + c] += sum;
        }
        conv_gradient.bias[d] += bias_gradient * weights.iter().sum::<f32>();
    }
}

/// A linear layer of a chain: weight (out, in), bias (out).
#[derive(Clone, Copy)]
pub(super) struct LinearLayer<'a> {
    pub weight: &'a [f32],
    pub bias: &'a [f32],
}

/// A convolution followed by linear layers down to one number, folded to that number's weights on the
/// observation: v(x) = weights·x + bias.
pub(super) struct FoldedChain {
    pub weights: Vec<f32>,
    pub bias: f32,
    /// `rows[i]`: the derivative of v by the inputs of layer i, kept for the way back.
    rows: Vec<Vec<f32>>,
}

pub(super) fn fold_chain(conv: &Conv<'_>, layers: &[LinearLayer<'_>]) -> FoldedChain {
    let mut rows = vec![Vec::new(); layers.len()];
    let mut row = vec![1.0];
    let mut bias = 0.0;
    for (index, layer) in layers.iter().enumerate().rev() {
        bias += dot(&row, layer.bias);
        let inputs = layer.weight.len() / layer.bias.len();
        let mut next = vec![0.0; inputs];
        for (r, weights) in row.iter().zip(layer.weight.chunks_exact(inputs)) {
            for (n, w) in next.iter_mut().zip(weights) {
                *n += r * w;
            }
        }
        rows[index].clone_from(&next);
        row = next;
    }
    let mut weights = vec![0.0; conv.planes_in * conv.cells];
    bias += fold_unit(conv, &row, &mut weights);
    FoldedChain { weights, bias, rows }
}

/// The gradients of a chain's parts: the convolution's and each layer's (weight, bias).
pub(super) struct ChainGradient {
    pub conv: ConvGradient,
    pub layers: Vec<(Vec<f32>, Vec<f32>)>,
}

/// The way back of [`fold_chain`] for a loss whose derivatives by the folded weights and bias are given.
pub(super) fn unfold_chain(
    conv: &Conv<'_>,
    layers: &[LinearLayer<'_>],
    folded: &FoldedChain,
    weights_gradient: &[f32],
    bias_gradient: f32,
) -> ChainGradient {
    let mut conv_gradient =
        ConvGradient { kernel: vec![0.0; conv.kernel.len()], bias: vec![0.0; conv.bias.len()] };
    let mut row_gradient = vec![0.0; folded.rows[0].len()];
    unfold_unit(
        conv,
        &folded.rows[0],
        weights_gradient,
        bias_gradient,
        &mut conv_gradient,
        &mut row_gradient,
    );
    let mut out = Vec::with_capacity(layers.len());
    let one = vec![1.0];
    for (index, layer) in layers.iter().enumerate() {
        // v depends on this layer by rows[i + 1]·(W·_ + b), and rows[i] = rows[i + 1]·W
        let above = folded.rows.get(index + 1).unwrap_or(&one);
        let mut weight = Vec::with_capacity(layer.weight.len());
        for a in above {
            weight.extend(row_gradient.iter().map(|g| a * g));
        }
        let bias = above.iter().map(|a| a * bias_gradient).collect();
        let inputs = row_gradient.len();
        let next = layer.weight.chunks_exact(inputs).zip(layer.bias);
        row_gradient = next.map(|(w, b)| dot(w, &row_gradient) + bias_gradient * b).collect();
        out.push((weight, bias));
    }
    ChainGradient { conv: conv_gradient, layers: out }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
