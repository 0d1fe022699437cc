//! The narrow last layer: a handful of outputs from a wide hidden vector, where a general matrix product is
//! mostly overhead.

use super::reductions::dot;

vectorised! {
    /// u = h·Wᵀ.
    ///
    /// # Shapes
    /// `h` (rows, width), `weight` (outputs, width), `u` (rows, outputs).
    ///
    /// # Panics
    /// Panics if `width` or the number of outputs is zero.
    pub fn head_forward(u: &mut [f32], h: &[f32], weight: &[f32], width: usize) {
        let outputs = weight.len() / width;
        for (u, h) in u.chunks_exact_mut(outputs).zip(h.chunks_exact(width)) {
            for (u, w) in u.iter_mut().zip(weight.chunks_exact(width)) {
                *u = dot(h, w);
            }
        }
    }

    /// `dz = (du·W) ⊙ [h > 0]`: back through the narrow layer and the ReLU before it.
    ///
    /// # Shapes
    /// `du` (rows, outputs), `weight` (outputs, width), `h` and `dz` (rows, width).
    ///
    /// # Panics
    /// Panics if `width` or the number of outputs is zero.
    pub fn head_backward(dz: &mut [f32], du: &[f32], weight: &[f32], h: &[f32], width: usize) {
        /// Units whose sums stay in registers until all outputs are in.
        const BLOCK: usize = 64;
        let outputs = weight.len() / width;
        let rows = dz.chunks_exact_mut(width).zip(h.chunks_exact(width)).zip(du.chunks_exact(outputs));
        for ((dz, h), du) in rows {
            let mut blocks = dz.chunks_exact_mut(BLOCK);
            let mut start = 0;
            for dz in blocks.by_ref() {
                let mut sums = [0f32; BLOCK];
                for (du, w) in du.iter().zip(weight.chunks_exact(width)) {
                    for (sum, w) in sums.iter_mut().zip(&w[start..start + BLOCK]) {
                        *sum += du * w;
                    }
                }
                for ((dz, sum), h) in dz.iter_mut().zip(&sums).zip(&h[start..start + BLOCK]) {
                    *dz = if *h > 0.0 { *sum } else { 0.0 };
                }
                start += BLOCK;
            }
            for (i, dz) in (start..width).zip(blocks.into_remainder()) {
                let sum = du.iter().zip(weight.chunks_exact(width)).fold(0.0, |sum, (du, w)| sum + du * w[i]);
                *dz = if h[i] > 0.0 { sum } else { 0.0 };
            }
        }
    }

    /// dW += duᵀ·h.
    ///
    /// # Shapes
    /// `dw` (outputs, width), `du` (rows, outputs), `h` (rows, width).
    ///
    /// # Panics
    /// Panics if `width` or the number of outputs is zero.
    pub fn head_weight_gradient(dw: &mut [f32], du: &[f32], h: &[f32], width: usize) {
        let outputs = dw.len() / width;
        for (du, h) in du.chunks_exact(outputs).zip(h.chunks_exact(width)) {
            for (du, dw) in du.iter().zip(dw.chunks_exact_mut(width)) {
                for (dw, h) in dw.iter_mut().zip(h) {
                    *dw += du * h;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Matrix, Write, matmul, relu_backward};

    #[test]
    fn agrees_with_the_matrix_product() {
        for (rows, width, outputs) in [(1, 1, 1), (3, 20, 4), (5, 256, 4), (2, 33, 1)] {
            let value = |i: usize| ((i * 7919) % 997) as f32 / 500.0 - 1.0;
            let h: Vec<f32> = (0..rows * width).map(value).collect();
            let weight: Vec<f32> = (0..outputs * width).map(|i| value(i + 13)).collect();
            let du: Vec<f32> = (0..rows * outputs).map(|i| value(i + 29)).collect();
            let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
            let (h_m, w_m) = (Matrix::new(&h, rows, width), Matrix::new(&weight, outputs, width));
            let du_m = Matrix::new(&du, rows, outputs);

            let (mut u, mut expected) = (vec![9.0; rows * outputs], vec![0.0; rows * outputs]);
            head_forward(&mut u, &h, &weight, width);
            matmul(&mut expected, h_m, w_m.t(), Write::Set);
            assert!(close(&u, &expected), "forward {rows} {width} {outputs}");

            let (mut dz, mut expected) = (vec![9.0; rows * width], vec![0.0; rows * width]);
            head_backward(&mut dz, &du, &weight, &h, width);
            matmul(&mut expected, du_m, w_m, Write::Set);
            relu_backward(&mut expected, &h);
            assert!(close(&dz, &expected), "backward {rows} {width} {outputs}");

            let (mut dw, mut expected) = (vec![1.0; outputs * width], vec![1.0; outputs * width]);
            head_weight_gradient(&mut dw, &du, &h, width);
            matmul(&mut expected, du_m.t(), h_m, Write::Add);
            assert!(close(&dw, &expected), "weights {rows} {width} {outputs}");
        }
    }
}
