//! Causal attention with rotary positions, whole sequences in each thread.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use transformer::attention::{HeadBuffers, Heads, Rotary, backward, forward};

use super::{Numbers, gradient_of, numbers};

/// Sizes of a layer.
#[derive(Clone)]
pub(crate) struct AttentionSizes {
    pub heads: Heads,
    pub rotary: Option<Rotary>,
}

/// What the heads read: softmax(q kᵀ / √width) v, each query up to its own place, after queries and keys were turned.
///
/// # Shapes
/// `q` (sequences · tokens, heads · width), `k` and `v` (sequences · tokens, heads of keys · width) → that of q.
pub(crate) fn attention(q: &Tensor, k: &Tensor, v: &Tensor, sizes: AttentionSizes) -> Result<Tensor> {
    q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, sizes)
}

impl AttentionSizes {
    /// The widths of a token's queries, and of its keys or values.
    fn widths(&self) -> (usize, usize) {
        (self.heads.count * self.heads.width, self.heads.kv_count * self.heads.width)
    }

    /// Queries, keys and values of one sequence, token after token.
    fn joined(&self, qkv: [&[f32]; 3], sequence: usize) -> Vec<f32> {
        let (wide, narrow) = self.widths();
        let tokens = self.heads.tokens;
        let mut all = Vec::with_capacity(tokens * (wide + 2 * narrow));
        for token in sequence * tokens..(sequence + 1) * tokens {
            for (part, width) in qkv.into_iter().zip([wide, narrow, narrow]) {
                all.extend_from_slice(&part[token * width..][..width]);
            }
        }
        all
    }
}

impl CustomOp3 for AttentionSizes {
    fn name(&self) -> &'static str {
        "causal-attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let qkv = [numbers(q, q_layout)?, numbers(k, k_layout)?, numbers(v, v_layout)?];
        let mut z = vec![0.0; qkv[0].len()];
        let each = self.heads.tokens * self.widths().0;
        z.par_chunks_mut(each).enumerate().for_each_init(
            || (HeadBuffers::new(self.heads), vec![0.0; self.heads.pattern_len()]),
            |(buffers, patterns), (sequence, z)| {
                forward(z, patterns, &self.joined(qkv, sequence), self.heads, self.rotary.as_ref(), buffers);
            },
        );
        Ok((CpuStorage::F32(z), q_layout.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let held = [q.contiguous()?, k.contiguous()?, v.contiguous()?];
        let [q_numbers, k_numbers, v_numbers] = [&held[0], &held[1], &held[2]].map(Numbers::of);
        let (q_numbers, k_numbers, v_numbers) = (q_numbers?, k_numbers?, v_numbers?);
        let qkv: [&[f32]; 3] = [&q_numbers, &k_numbers, &v_numbers];
        let held_gradient = gradient.contiguous()?;
        let dz = Numbers::of(&held_gradient)?;

        let (wide, narrow) = self.widths();
        let (tokens, heads, rotary) = (self.heads.tokens, self.heads, self.rotary.as_ref());
        let mut dq = vec![0.0; dz.len()];
        let (mut dk, mut dv) = (vec![0.0; qkv[1].len()], vec![0.0; qkv[2].len()]);
        let outs = dk.par_chunks_mut(tokens * narrow).zip(dv.par_chunks_mut(tokens * narrow));
        let outs = dq.par_chunks_mut(tokens * wide).zip(outs);
        outs.zip(dz.par_chunks(tokens * wide)).enumerate().for_each_init(
            || (HeadBuffers::new(heads), vec![0.0; heads.pattern_len()], vec![0.0; tokens * wide]),
            |(buffers, patterns, z), (sequence, ((dq, (dk, dv)), dz))| {
                let joined = self.joined(qkv, sequence);
                forward(z, patterns, &joined, heads, rotary, buffers);
                let mut gradients = vec![0.0; joined.len()];
                backward(&mut gradients, (dz, patterns, &joined), heads, rotary, buffers);
                let rows = gradients.chunks_exact(wide + 2 * narrow);
                let outs = dq.chunks_exact_mut(wide).zip(dk.chunks_exact_mut(narrow));
                for ((row, (dq, dk)), dv) in rows.zip(outs).zip(dv.chunks_exact_mut(narrow)) {
                    dq.copy_from_slice(&row[..wide]);
                    dk.copy_from_slice(&row[wide..wide + narrow]);
                    dv.copy_from_slice(&row[wide + narrow..]);
                }
            },
        );
        Ok((gradient_of(q, dq)?, gradient_of(k, dk)?, gradient_of(v, dv)?))
    }
}
