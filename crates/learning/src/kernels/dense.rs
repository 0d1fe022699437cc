//! The three products of a dense layer.

use super::{Matrix, Write, matmul};

/// The sizes of a dense layer y = x·Wᵀ + b and the order in which its weight is stored.
///
/// ```text
/// y = x·Wᵀ      dx = dy·W      dW = dyᵀ·x
/// ```
///
/// The bias is a pass of its own over the memory, since it is best added together with what follows:
/// [`super::add_bias`], [`super::bias_relu`], [`super::bias_gelu`], and [`super::add_column_sums`] on the way back.
///
/// ```
/// use learning::kernels::{Dense, Matrix, Write};
///
/// let layer = Dense::new(3, 2);
/// let (x, weight) = ([1.0, 2.0, 3.0], [1.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
/// let mut y = [0.0; 2];
/// layer.forward(&mut y, Matrix::new(&x, 1, 3), &weight, Write::Set);
/// assert_eq!(y, [1.0, 5.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dense {
    inputs: usize,
    outputs: usize,
    transposed: bool,
}

impl Dense {
    /// A layer whose weight is stored (outputs, inputs), as PyTorch's `Linear` has it.
    #[inline]
    pub fn new(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, transposed: false }
    }

    /// A layer whose weight is stored (inputs, outputs), as transformers have it.
    #[inline]
    pub fn transposed(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, transposed: true }
    }

    /// The number of inputs.
    #[inline]
    pub fn inputs(self) -> usize {
        self.inputs
    }

    /// The number of outputs.
    #[inline]
    pub fn outputs(self) -> usize {
        self.outputs
    }

    /// y ← or += x·Wᵀ.
    ///
    /// # Shapes
    /// `x` (rows, inputs), `y` (rows, outputs), `weight` in the layer's order.
    ///
    /// # Panics
    /// Panics if the shapes do not fit.
    #[inline]
    pub fn forward(self, y: &mut [f32], x: Matrix<'_>, weight: &[f32], write: Write) {
        matmul(y, x, self.weight(weight).t(), write);
    }

    /// dx ← dy·W.
    ///
    /// # Shapes
    /// `dy` (rows, outputs), `dx` (rows, inputs), `weight` in the layer's order.
    ///
    /// # Panics
    /// Panics if the shapes do not fit.
    #[inline]
    pub fn input_grad(self, dx: &mut [f32], dy: Matrix<'_>, weight: &[f32]) {
        matmul(dx, dy, self.weight(weight), Write::Set);
    }

    /// dW ← or += dyᵀ·x.
    ///
    /// # Shapes
    /// `dy` (rows, outputs), `x` (rows, inputs), `dw` in the layer's order.
    ///
    /// # Panics
    /// Panics if the shapes do not fit.
    #[inline]
    pub fn weight_grad(self, dw: &mut [f32], x: Matrix<'_>, dy: Matrix<'_>, write: Write) {
        assert!(
            x.cols() == self.inputs && dy.cols() == self.outputs,
            "x (_, {}) and dy (_, {}) of a layer from {} to {}",
            x.cols(),
            dy.cols(),
            self.inputs,
            self.outputs
        );
        if self.transposed { matmul(dw, x.t(), dy, write) } else { matmul(dw, dy.t(), x, write) }
    }

    /// W, (outputs, inputs).
    fn weight(self, weight: &[f32]) -> Matrix<'_> {
        if self.transposed {
            Matrix::new(weight, self.inputs, self.outputs).t()
        } else {
            Matrix::new(weight, self.outputs, self.inputs)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::transpose;

    #[test]
    fn both_orders_give_the_gradients_of_the_definition() {
        let (rows, inputs, outputs) = (3, 5, 4);
        let column = |len: usize, salt: usize| -> Vec<f32> {
            (0..len).map(|i| ((i * 7 + salt) % 11) as f32 - 5.0).collect()
        };
        let (x, dy, w) = (column(rows * inputs, 1), column(rows * outputs, 2), column(outputs * inputs, 3));
        let mut w_t = vec![0.0; w.len()];
        transpose(&mut w_t, &w, inputs);
        let (x_m, dy_m) = (Matrix::new(&x, rows, inputs), Matrix::new(&dy, rows, outputs));
        for (layer, weight) in [(Dense::new(inputs, outputs), &w), (Dense::transposed(inputs, outputs), &w_t)]
        {
            assert_eq!((layer.inputs(), layer.outputs()), (inputs, outputs));
            let (mut y, mut dx, mut dw) =
                (vec![1.0; rows * outputs], vec![f32::NAN; rows * inputs], vec![1.0; w.len()]);
            layer.forward(&mut y, x_m, weight, Write::Add);
            layer.input_grad(&mut dx, dy_m, weight);
            layer.weight_grad(&mut dw, x_m, dy_m, Write::Add);
            // whole numbers: every sum is exact
            for row in 0..rows {
                for o in 0..outputs {
                    let sum: f32 = (0..inputs).map(|i| x[row * inputs + i] * w[o * inputs + i]).sum();
                    assert_eq!(y[row * outputs + o].to_bits(), (sum + 1.0).to_bits());
                }
                for i in 0..inputs {
                    let sum: f32 = (0..outputs).map(|o| dy[row * outputs + o] * w[o * inputs + i]).sum();
                    assert_eq!((dx[row * inputs + i] + 0.0).to_bits(), (sum + 0.0).to_bits());
                }
            }
            for o in 0..outputs {
                for i in 0..inputs {
                    let sum: f32 = (0..rows).map(|r| dy[r * outputs + o] * x[r * inputs + i]).sum();
                    let at =
                        if layer == Dense::new(inputs, outputs) { o * inputs + i } else { i * outputs + o };
                    assert_eq!(dw[at].to_bits(), (sum + 1.0).to_bits());
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "x (_, 5) and dy (_, 3) of a layer from 5 to 4")]
    fn a_gradient_of_another_width_is_refused() {
        let (x, dy) = (Matrix::new(&[0.0; 5], 1, 5), Matrix::new(&[0.0; 3], 1, 3));
        Dense::new(5, 4).weight_grad(&mut [0.0; 20], x, dy, Write::Set);
    }
}
