//! The backward pass through the blocks.

use learning::kernels;

use super::{BlockActivations, BlockIndex, Heads, HookPoint, Lane, Pass, attention, product_backward};

impl Lane {
    /// The backward pass from the residual stream's gradient, which [`Lane::residual_gradient`] holds, after the last
    /// block of the pass down to the embeddings.
    pub(crate) fn backward(&mut self, pass: &Pass<'_>) {
        let mut residual = std::mem::take(&mut self.residual);
        for layer in (0..pass.depth).rev() {
            let block = std::mem::take(&mut self.blocks[layer]);
            pass.intervene_backward(layer, HookPoint::ResidPost, &mut residual);
            self.mlp_backward(pass, layer, &block, &mut residual);
            self.attention_backward(pass, layer, &block, &mut residual);
            self.blocks[layer] = block;
        }
        let (width, tokens) = (self.width, self.heads.tokens);
        let words = pass.inputs.iter().map(|token| *token as usize);
        self.gradient.add_rows(pass.layout.embedding, words, &residual, width);
        if let Some(positions) = pass.layout.positions {
            let places = (0..pass.inputs.len()).map(|row| row % tokens);
            self.gradient.add_rows(positions, places, &residual, width);
        }
        self.residual = residual;
        self.gradient.started = true;
    }

    /// Takes the residual stream's gradient from after a block's MLP to before it.
    fn mlp_backward(
        &mut self,
        pass: &Pass<'_>,
        layer: usize,
        block: &BlockActivations,
        residual: &mut [f32],
    ) {
        let BlockIndex { ln2, mlp_in, mlp_out, .. } = &pass.layout.blocks[layer];
        product_backward(&mut self.neurons, residual, pass, mlp_out);
        self.gradient.add_dense(mlp_out, &block.post, residual);
        pass.intervene_backward(layer, HookPoint::MlpPost, &mut self.neurons);
        let l1 = pass.hook(layer, HookPoint::MlpPost).map_or(0.0, |intervention| intervention.l1);
        if l1 > 0.0 {
            let l1 = l1 * (1.0 / pass.batch_tokens as f32);
            let sum = kernels::add_sign(&mut self.neurons, &block.post, l1);
            self.gradient.penalty += f64::from(l1 * sum);
        }
        kernels::multiply(&mut self.neurons, &block.slope);
        self.gradient.add_dense(mlp_in, &block.normed2.out, &self.neurons);
        product_backward(&mut self.narrow, &self.neurons, pass, mlp_in);
        self.gradient.add_norm(pass, ln2, (&block.middle, &block.normed2), residual, &mut self.narrow);
    }

    /// Takes the residual stream's gradient from after a block's attention to before it.
    fn attention_backward(
        &mut self,
        pass: &Pass<'_>,
        layer: usize,
        block: &BlockActivations,
        residual: &mut [f32],
    ) {
        let BlockIndex { ln1, qkv, o, .. } = &pass.layout.blocks[layer];
        product_backward(&mut self.narrow, residual, pass, o);
        self.gradient.add_dense(o, &block.z, residual);
        pass.intervene_backward(layer, HookPoint::AttnZ, &mut self.narrow);
        self.attend_backward(block);
        self.gradient.add_dense(qkv, &block.normed1.out, &self.dqkv);
        product_backward(&mut self.narrow, &self.dqkv, pass, qkv);
        self.gradient.add_norm(pass, ln1, (&block.before, &block.normed1), residual, &mut self.narrow);
    }

    /// The gradient of queries, keys and values of every sequence, from that of z in `narrow`.
    fn attend_backward(&mut self, block: &BlockActivations) {
        let Heads { tokens, .. } = self.heads;
        let (z_len, qkv_len) = (tokens * self.width, tokens * self.heads.qkv_width());
        self.dqkv.resize(block.qkv.len(), 0.0);
        let gradients = self.dqkv.chunks_exact_mut(qkv_len).zip(self.narrow.chunks_exact(z_len));
        let kept = block.patterns.chunks_exact(self.heads.pattern_len()).zip(block.qkv.chunks_exact(qkv_len));
        for ((dqkv, dz), (patterns, qkv)) in gradients.zip(kept) {
            let (heads, rotary) = (self.heads, self.rotary.as_ref());
            attention::backward(dqkv, (dz, patterns, qkv), heads, rotary, &mut self.head);
        }
    }
}
