//! A low-rank product with a weight for each row of its output and another for that of its gradient.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use learning::kernels::{Matrix, Write, matmul};
use rayon::prelude::*;

use super::linear::product;
use super::{Numbers, gradient_of, numbers, rows_each};

/// The weights of each row: of the output, and of its gradient.
pub(crate) struct RowWeights {
    pub forward: Vec<f32>,
    pub gradient: Vec<f32>,
}

/// y = c ⊙ (x · Aᵀ · Bᵀ), c the weight of each row; backward as if y were c ⊙ route(x · Aᵀ · Bᵀ, m).
///
/// The weights are put on the narrow side, so that they cost nothing: dB = dyᵀ · (c m ⊙ x Aᵀ) and dx = (c m ⊙ dy B) · A.
///
/// # Shapes
/// `x` (rows, inputs), `a` (rank, inputs), `b` (outputs, rank) → (rows, outputs).
pub(crate) fn low_rank(x: &Tensor, a: &Tensor, b: &Tensor, weights: RowWeights) -> Result<Tensor> {
    let rows = x.dim(0)?;
    if weights.forward.len() != rows || weights.gradient.len() != rows {
        candle_core::bail!("{} weights for {rows} rows", weights.forward.len());
    }
    x.contiguous()?.apply_op3(&a.contiguous()?, &b.contiguous()?, weights)
}

/// Each row of (rows, width) times its weight.
fn weigh(rows: &mut [f32], width: usize, weight: impl Fn(usize) -> f32) {
    for (index, row) in rows.chunks_exact_mut(width).enumerate() {
        let weight = weight(index);
        for value in row {
            *value *= weight;
        }
    }
}

impl CustomOp3 for RowWeights {
    fn name(&self) -> &'static str {
        "low-rank"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((rows, inputs), (outputs, rank)) = (x_layout.shape().dims2()?, b_layout.shape().dims2()?);
        let (x, a, b) = (numbers(x, x_layout)?, numbers(a, a_layout)?, numbers(b, b_layout)?);
        let mut hidden = vec![0.0; rows * rank];
        product(&mut hidden, x, Matrix::new(a, rank, inputs).t());
        weigh(&mut hidden, rank, |row| self.forward[row]);
        let mut y = vec![0.0; rows * outputs];
        product(&mut y, &hidden, Matrix::new(b, outputs, rank).t());
        Ok((CpuStorage::F32(y), Shape::from((rows, outputs))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let ((rows, inputs), (outputs, rank)) = (x.dims2()?, b.dims2()?);
        let held = [x.contiguous()?, a.contiguous()?, b.contiguous()?, gradient.contiguous()?];
        let [x_numbers, a_numbers, b_numbers, dy] = [&held[0], &held[1], &held[2], &held[3]].map(Numbers::of);
        let (x_numbers, a_numbers, b_numbers, dy) = (x_numbers?, a_numbers?, b_numbers?, dy?);
        let a_matrix = Matrix::new(&a_numbers, rank, inputs);
        let weight = |row: usize| self.forward[row] * self.gradient[row];

        let mut hidden = vec![0.0; rows * rank];
        product(&mut hidden, &x_numbers, a_matrix.t());
        weigh(&mut hidden, rank, weight);
        let mut d_hidden = vec![0.0; rows * rank];
        product(&mut d_hidden, &dy, Matrix::new(&b_numbers, outputs, rank));
        weigh(&mut d_hidden, rank, weight);

        let (hidden, dy) = (Matrix::new(&hidden, rows, rank), Matrix::new(&dy, rows, outputs));
        let mut db = vec![0.0; outputs * rank];
        let each = rows_each(outputs);
        db.par_chunks_mut(each * rank).enumerate().for_each(|(part, db)| {
            let from = part * each;
            matmul(db, dy.columns(from, from + db.len() / rank).t(), hidden, Write::Set);
        });
        let mut da = vec![0.0; rank * inputs];
        let narrow = Matrix::new(&d_hidden, rows, rank);
        matmul(&mut da, narrow.t(), Matrix::new(&x_numbers, rows, inputs), Write::Set);
        let dx = if x.track_op() {
            let mut dx = vec![0.0; rows * inputs];
            product(&mut dx, &d_hidden, a_matrix);
            gradient_of(x, dx)?
        } else {
            None
        };
        Ok((dx, gradient_of(a, da)?, gradient_of(b, db)?))
    }
}
