//! The forward pass of every family, in operations that have a gradient.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{DType, Device, Tensor};
use learning::Parameters;
use learning::ops::{cross_entropy, softmax};
use sha2::{Digest, Sha256};
use transformer::attention::{Heads, Rotary};
use transformer::rotary::{shared, turned, turns};
use transformer::{HookPoint, Hooks, edited};

use crate::adapters::Gates;
use crate::ops::{AttentionSizes, NormWeights, Numbers, Targets, attention, linear, loss, norm, silu_times};
use crate::shape::{Family, Projection, Shape};
use crate::{Adapters, Error};

/// A model's weights and passes. As read from disk the weights are constants: no graph is kept for what lies below the
/// first adapter, and no gradient of a matrix is computed.
#[derive(Clone)]
pub struct Decoder {
    shape: Shape,
    values: BTreeMap<String, Tensor>,
}

/// The keys and values of the tokens so far, of every block: (sequences, heads, tokens, width).
#[derive(Clone, Default)]
pub struct Cache {
    blocks: Vec<(Tensor, Tensor)>,
}

impl Cache {
    /// Tokens in it.
    pub fn tokens(&self) -> usize {
        self.blocks.first().map_or(0, |(keys, _)| keys.dims()[2])
    }
}

/// What takes part in a pass beside the frozen weights.
#[derive(Clone, Copy)]
struct Pass<'a> {
    hooks: &'a Hooks,
    adapters: Option<(&'a Adapters, &'a Gates)>,
}

/// The places of the tokens of a pass.
struct Places {
    sequences: usize,
    /// Of each sequence.
    tokens: usize,
    turns: [Tensor; 2],
    /// The same for passes that begin at the first place.
    rotary: Option<Rotary>,
}

impl Decoder {
    pub(crate) fn new(shape: Shape, values: BTreeMap<String, Tensor>) -> Self {
        Self { shape, values }
    }

    pub(crate) fn values(&self) -> &BTreeMap<String, Tensor> {
        &self.values
    }

    /// Names and sizes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The number of parameters.
    pub fn parameters(&self) -> usize {
        self.values.values().map(Tensor::elem_count).sum()
    }

    /// SHA-256 of all weights with their names and shapes, in hexadecimal: the same model, from whatever file.
    ///
    /// # Errors
    /// Fails where a weight is not of contiguous `f32` on the CPU.
    pub fn digest(&self) -> Result<String, Error> {
        let mut digest = Sha256::new();
        for (name, value) in &self.values {
            digest.update(format!("{name} {:?}\n", value.dims()));
            for numbers in Numbers::of(value)?.chunks(1 << 14) {
                let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
                digest.update(&bytes);
            }
        }
        Ok(format!("{:x}", digest.finalize()))
    }

    /// The same with weights that are variables, which all get a gradient.
    ///
    /// # Errors
    /// Fails where a tensor cannot be copied.
    pub fn thawed(&self) -> Result<(Self, Parameters), Error> {
        let mut parameters = Parameters::default();
        for (name, value) in &self.values {
            parameters.insert(name, value)?;
        }
        let values =
            parameters.iter().map(|(name, var)| (name.to_owned(), var.as_tensor().clone())).collect();
        Ok((Self::new(self.shape.clone(), values), parameters))
    }

    /// The logits of every token.
    ///
    /// # Shapes
    /// Tokens of `sequences` texts of one length, one after another → (sequences · tokens, vocabulary).
    ///
    /// # Errors
    /// Fails for a token that there is not, a text that is too long, and adapters of another shape.
    pub fn logits(
        &self,
        tokens: &[u32],
        sequences: usize,
        hooks: &Hooks,
        adapters: Option<(&Adapters, &Gates)>,
    ) -> Result<Tensor, Error> {
        let stream = self.residual(tokens, sequences, Pass { hooks, adapters }, None)?;
        self.unembedded(&stream)
    }

    /// The logits of the last of some tokens that follow on those in the cache, where theirs are added.
    ///
    /// # Errors
    /// As [`Decoder::logits`].
    pub fn next(
        &self,
        tokens: &[u32],
        cache: &mut Cache,
        adapters: Option<(&Adapters, &Gates)>,
    ) -> Result<Vec<f32>, Error> {
        self.next_of(tokens, 1, cache, adapters)
    }

    /// As [`Decoder::next`] for several texts of one length, whose tokens stand one text after another: the logits of
    /// each one's last token.
    ///
    /// # Errors
    /// As [`Decoder::logits`].
    pub fn next_of(
        &self,
        tokens: &[u32],
        sequences: usize,
        cache: &mut Cache,
        adapters: Option<(&Adapters, &Gates)>,
    ) -> Result<Vec<f32>, Error> {
        let pass = Pass { hooks: &Hooks::default(), adapters };
        let stream = self.residual(tokens, sequences, pass, Some(cache))?;
        let each = (tokens.len() / sequences.max(1)) as u32;
        let last: Vec<u32> = (1..=sequences as u32).map(|text| text * each - 1).collect();
        let last = stream.index_select(&Tensor::new(last, &Device::Cpu)?, 0)?;
        Ok(self.unembedded(&last)?.flatten_all()?.to_vec1()?)
    }

    /// The residual stream of every token after the first `blocks` blocks, without any adapter: what training and
    /// measuring can go on from, where all adapters stand above, see [`Decoder::loss_above`].
    ///
    /// # Shapes
    /// Tokens of `sequences` texts of one length → (sequences · tokens, width).
    ///
    /// # Errors
    /// As [`Decoder::logits`].
    pub fn stream(&self, tokens: &[u32], sequences: usize, blocks: usize) -> Result<Tensor, Error> {
        let pass = Pass { hooks: &Hooks::default(), adapters: None };
        let (x, each) = self.embedded(tokens, sequences, 0)?;
        Ok(self.through(x, 0..blocks.min(self.shape.n_layer), (sequences, each), pass, None)?.detach())
    }

    /// The mean loss of the targets, each with its weight; a scalar with its graph.
    ///
    /// # Errors
    /// As [`Decoder::logits`].
    pub fn loss(
        &self,
        batch: &transformer::Batch,
        hooks: &Hooks,
        adapters: Option<(&Adapters, &Gates)>,
    ) -> Result<Tensor, Error> {
        let stream = self.residual(&batch.inputs, batch.sequences(), Pass { hooks, adapters }, None)?;
        self.loss_of(&stream, batch)
    }

    /// As [`Decoder::loss`], from the stream that [`Decoder::stream`] gave for the batch's inputs after `below` blocks.
    ///
    /// # Errors
    /// As [`Decoder::logits`].
    pub fn loss_above(
        &self,
        stream: &Tensor,
        below: usize,
        batch: &transformer::Batch,
        adapters: Option<(&Adapters, &Gates)>,
    ) -> Result<Tensor, Error> {
        let pass = Pass { hooks: &Hooks::default(), adapters };
        let sizes = (batch.sequences(), batch.tokens);
        let stream = self.through(stream.clone(), below..self.shape.n_layer, sizes, pass, None)?;
        self.loss_of(&stream, batch)
    }

    fn loss_of(&self, stream: &Tensor, batch: &transformer::Batch) -> Result<Tensor, Error> {
        // the vocabulary is the largest part of a small model: rows that do not count are left out
        let counted: Vec<u32> =
            (0..batch.weights.len() as u32).filter(|row| batch.weights[*row as usize] != 0.0).collect();
        let chosen =
            |values: &[u32]| -> Vec<u32> { counted.iter().map(|row| values[*row as usize]).collect() };
        let weights: Vec<f32> = counted.iter().map(|row| batch.weights[*row as usize]).collect();
        let rows = stream.index_select(&Tensor::new(counted.as_slice(), &Device::Cpu)?, 0)?;
        let scale = 1.0 / batch.total_weight().max(1e-9);
        let unembed = self.unembedding()?;
        if !unembed.is_variable() {
            let targets = Targets { tokens: chosen(&batch.targets), weights, scale };
            return Ok(loss(&self.norm("ln_final", &rows)?, unembed, targets)?);
        }
        let targets = Tensor::new(chosen(&batch.targets), &Device::Cpu)?;
        let losses = cross_entropy(&self.unembedded(&rows)?, &targets)?;
        Ok((losses.mul(&Tensor::new(weights, &Device::Cpu)?)?.sum_all()? * scale)?)
    }

    pub(crate) fn value(&self, name: &str) -> Result<&Tensor, Error> {
        let missing =
            || learning::LearningError::Missing { origin: "the model".to_owned(), names: name.to_owned() };
        Ok(self.values.get(name).ok_or_else(missing)?)
    }

    fn norm(&self, name: &str, x: &Tensor) -> Result<Tensor, Error> {
        let centred = !self.shape.family.gated();
        let bias = centred.then(|| self.value(&format!("{name}.b")).cloned()).transpose()?;
        let weight = self.value(&format!("{name}.w"))?.clone();
        Ok(norm(x, NormWeights { weight, bias, eps: self.shape.norm_eps })?)
    }

    fn unembedding(&self) -> Result<&Tensor, Error> {
        self.value(if self.shape.tied { "embed.W_E" } else { "unembed.W_U" })
    }

    fn unembedded(&self, stream: &Tensor) -> Result<Tensor, Error> {
        Ok(linear(&self.norm("ln_final", stream)?, self.unembedding()?)?)
    }

    fn projected(
        &self,
        x: &Tensor,
        layer: usize,
        projection: Projection,
        pass: Pass<'_>,
    ) -> Result<Tensor, Error> {
        let name = format!("blocks.{layer}.{}", projection.name());
        let mut y = linear(x, self.value(&format!("{name}.w"))?)?;
        if self.shape.has_bias(projection) {
            y = y.broadcast_add(self.value(&format!("{name}.b"))?)?;
        }
        match pass.adapters {
            Some((adapters, gates)) => adapters.added(y, x, layer, projection, gates),
            None => Ok(y),
        }
    }

    fn residual(
        &self,
        tokens: &[u32],
        sequences: usize,
        pass: Pass<'_>,
        cache: Option<&mut Cache>,
    ) -> Result<Tensor, Error> {
        let before = cache.as_deref().map_or(0, Cache::tokens);
        let (x, each) = self.embedded(tokens, sequences, before)?;
        self.through(x, 0..self.shape.n_layer, (sequences, each), pass, cache)
    }

    /// The stream before the first block, and the tokens of each text, of which `before` are in a cache already.
    fn embedded(&self, tokens: &[u32], sequences: usize, before: usize) -> Result<(Tensor, usize), Error> {
        let shape = &self.shape;
        let each = tokens.len() / sequences.max(1);
        if each == 0 || before + each > shape.context {
            return Err(Error::Context { found: before + each, most: shape.context });
        }
        if let Some(token) = tokens.iter().find(|token| **token as usize >= shape.vocab_size) {
            return Err(Error::Token { token: *token, size: shape.vocab_size });
        }
        let mut x = self.value("embed.W_E")?.embedding(&Tensor::new(tokens, &Device::Cpu)?)?;
        if matches!(shape.family, Family::Gpt2 | Family::GptNeo) {
            let places = self.value("pos_embed.W_pos")?.narrow(0, before, each)?;
            let added = x.reshape((sequences, each, shape.n_embd))?.broadcast_add(&places)?;
            x = added.reshape((sequences * each, shape.n_embd))?;
        }
        Ok((x, each))
    }

    /// The stream after some blocks.
    fn through(
        &self,
        mut x: Tensor,
        blocks: Range<usize>,
        (sequences, each): (usize, usize),
        pass: Pass<'_>,
        mut cache: Option<&mut Cache>,
    ) -> Result<Tensor, Error> {
        let shape = &self.shape;
        let before = cache.as_deref().map_or(0, Cache::tokens);
        let turned = shape.rotary_width > 0;
        let places = Places {
            sequences,
            tokens: each,
            turns: turns(
                before..before + each,
                shape.rotary_width,
                shape.rope_theta,
                DType::F32,
                &Device::Cpu,
            )?,
            rotary: turned.then(|| Rotary::new(each, shape.rotary_width, shape.rope_theta)),
        };
        let mut penalty = None;
        for layer in blocks {
            let normed = self.norm(&format!("blocks.{layer}.ln1"), &x)?;
            let z = self.attention(&normed, layer, &places, pass, cache.as_deref_mut())?;
            let z = edited(z, layer, HookPoint::AttnZ, pass.hooks, &mut penalty)?;
            let attention = self.projected(&z, layer, Projection::O, pass)?;
            let between = if shape.parallel { x.clone() } else { (&x + &attention)? };
            let normed = self.norm(&format!("blocks.{layer}.ln2"), &between)?;
            let up = self.projected(&normed, layer, Projection::Up, pass)?;
            let gated = shape.family.gated();
            let gate = gated.then(|| self.projected(&normed, layer, Projection::Gate, pass)).transpose()?;
            let post = activated(shape.family, &up, gate.as_ref())?;
            let post = edited(post, layer, HookPoint::MlpPost, pass.hooks, &mut penalty)?;
            let mut mlp = self.projected(&post, layer, Projection::Down, pass)?;
            if let Some((adapters, gates)) = pass.adapters {
                mlp = adapters.beside(mlp, &normed, layer, shape, gates)?;
            }
            x = if shape.parallel { ((x + attention)? + mlp)? } else { (between + mlp)? };
            x = edited(x, layer, HookPoint::ResidPost, pass.hooks, &mut penalty)?;
        }
        Ok(x)
    }

    /// What the heads read: (rows, heads · width).
    fn attention(
        &self,
        normed: &Tensor,
        layer: usize,
        places: &Places,
        pass: Pass<'_>,
        cache: Option<&mut Cache>,
    ) -> Result<Tensor, Error> {
        let (shape, Places { sequences, tokens, turns, rotary }) = (&self.shape, places);
        let (sequences, tokens, width) = (*sequences, *tokens, shape.head_width);
        let [q, k, v] = [Projection::Q, Projection::K, Projection::V]
            .map(|projection| self.projected(normed, layer, projection, pass));
        let (q, k, v) = (q?, k?, v?);
        if cache.is_none() && shape.windows[layer].is_none() && shape.family != Family::GptNeo {
            let heads = Heads { tokens, count: shape.n_head, kv_count: shape.n_kv_head, width };
            return Ok(attention(&q, &k, &v, AttentionSizes { heads, rotary: rotary.clone() })?);
        }
        let heads = |rows: &Tensor, count| -> Result<Tensor, Error> {
            Ok(rows.reshape((sequences, tokens, count, width))?.transpose(1, 2)?.contiguous()?)
        };
        let q = turned(&heads(&q, shape.n_head)?, turns, shape.rotary_width)?;
        let mut k = turned(&heads(&k, shape.n_kv_head)?, turns, shape.rotary_width)?;
        let mut v = heads(&v, shape.n_kv_head)?;
        if let Some(cache) = cache {
            if let Some((keys, values)) = cache.blocks.get(layer) {
                (k, v) = (Tensor::cat(&[keys, &k], 2)?, Tensor::cat(&[values, &v], 2)?);
            }
            if cache.blocks.len() == layer {
                cache.blocks.push((k.clone(), v.clone()));
            } else {
                cache.blocks[layer] = (k.clone(), v.clone());
            }
        }
        let seen = k.dim(2)?;
        let (k, v) = (shared(&k, shape.n_head)?, shared(&v, shape.n_head)?);
        // GPT-Neo was trained without the scale
        let scale = if shape.family == Family::GptNeo { 1.0 } else { 1.0 / (width as f64).sqrt() };
        let scores = (q.matmul(&k.t()?.contiguous()?)? * scale)?;
        let window = shape.windows[layer].unwrap_or(usize::MAX);
        let hidden = |i: usize| {
            let (at, other) = (i / seen + seen - tokens, i % seen);
            if other > at || at - other >= window { f32::NEG_INFINITY } else { 0.0 }
        };
        let mask = Tensor::from_vec((0..tokens * seen).map(hidden).collect(), (tokens, seen), &Device::Cpu)?;
        let z = softmax(&scores.broadcast_add(&mask)?)?.matmul(&v)?;
        Ok(z.transpose(1, 2)?.contiguous()?.reshape((sequences * tokens, shape.n_head * width))?)
    }
}

/// What an MLP's neurons give: their activation, times their gate in families that have one.
pub(crate) fn activated(family: Family, up: &Tensor, gate: Option<&Tensor>) -> Result<Tensor, Error> {
    Ok(match gate {
        Some(gate) => silu_times(gate, up)?,
        None if family == Family::GptNeoX => up.gelu_erf()?,
        None => up.gelu()?,
    })
}
