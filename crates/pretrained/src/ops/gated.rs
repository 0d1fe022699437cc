//! The neurons of a gated MLP.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use learning::kernels::{silu_times as forward, silu_times_backward as backward};
use rayon::prelude::*;

use super::{Numbers, gradient_of, numbers, rows_each};

/// silu(gate) ⊙ up.
///
/// # Shapes
/// Both of one shape.
pub(crate) fn silu_times(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.contiguous()?.apply_op2(&up.contiguous()?, SiluTimes)
}

struct SiluTimes;

impl CustomOp2 for SiluTimes {
    fn name(&self) -> &'static str {
        "silu-times"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (gate, up) = (numbers(gate, gate_layout)?, numbers(up, up_layout)?);
        let mut post = vec![0.0; up.len()];
        let each = rows_each(up.len());
        post.par_chunks_mut(each)
            .zip(gate.par_chunks(each).zip(up.par_chunks(each)))
            .for_each(|(post, (gate, up))| forward(post, gate, up));
        Ok((CpuStorage::F32(post), up_layout.shape().clone()))
    }

    fn bwd(
        &self,
        gate: &Tensor,
        up: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (held_gate, held_up, held) = (gate.contiguous()?, up.contiguous()?, gradient.contiguous()?);
        let (gate_numbers, up_numbers, dpost) =
            (Numbers::of(&held_gate)?, Numbers::of(&held_up)?, Numbers::of(&held)?);
        let (mut dgate, mut dup) = (vec![0.0; dpost.len()], vec![0.0; dpost.len()]);
        let each = rows_each(dpost.len());
        let read = gate_numbers.par_chunks(each).zip(up_numbers.par_chunks(each)).zip(dpost.par_chunks(each));
        dgate
            .par_chunks_mut(each)
            .zip(dup.par_chunks_mut(each))
            .zip(read)
            .for_each(|((dgate, dup), ((gate, up), dpost))| backward(dgate, dup, dpost, gate, up));
        Ok((gradient_of(gate, dgate)?, gradient_of(up, dup)?))
    }
}
