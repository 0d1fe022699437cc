//! The transformer in plain candle operations: the reference of the fused passes, and what runs off the CPU.

use candle_core::{Tensor, Var};
use learning::Parameters;
use learning::ops::{layer_norm, rms_norm, softmax};

use super::rotary::{ROPE_THETA, shared, turned, turns};
use super::{Activation, Architecture, ChannelWeights, HookPoint, Hooks, Norm, Position};
use crate::Error;

/// What a forward pass gives.
pub(crate) struct Forward {
    /// The residual stream after the last block that ran: (sequences · tokens, width).
    pub residual: Tensor,
    /// Σ l1 · |a| / tokens, where any intervention has an l1.
    pub penalty: Option<Tensor>,
}

/// Runs the first `depth` blocks on sequences of `tokens` tokens.
///
/// # Shapes
/// `inputs` (sequences · tokens) of type `u32`.
pub(crate) fn trunk(
    architecture: &Architecture,
    parameters: &Parameters,
    inputs: &Tensor,
    tokens: usize,
    hooks: &Hooks,
    depth: usize,
) -> Result<Forward, Error> {
    let get = |name: &str| parameters.get(name).map(|var| var.as_tensor().clone());
    let rows = inputs.elem_count();
    let sequences = rows / tokens;
    let (d, heads, head_width) = (architecture.n_embd, architecture.n_head, architecture.head_width());
    let kv_heads = architecture.kv_heads();
    let mut x = get("embed.W_E")?.embedding(inputs)?;
    if architecture.position == Position::Learned {
        let places = get("pos_embed.W_pos")?.narrow(0, 0, tokens)?;
        x = x.reshape((sequences, tokens, d))?.broadcast_add(&places)?.reshape((rows, d))?;
    }
    let device = inputs.device();
    let hidden: Vec<f32> =
        (0..tokens * tokens).map(|i| if i % tokens > i / tokens { f32::NEG_INFINITY } else { 0.0 }).collect();
    let causal = Tensor::from_vec(hidden, (tokens, tokens), device)?.to_dtype(x.dtype())?;
    let rotary = (architecture.position == Position::Rotary)
        .then(|| turns(0..tokens, head_width, ROPE_THETA, x.dtype(), device))
        .transpose()?;
    let mut penalty: Option<Tensor> = None;
    for layer in 0..depth {
        let dense = |x: &Tensor, leaf: &str| -> Result<Tensor, Error> {
            let (module, matrix) = leaf.split_once('.').unwrap_or((leaf, ""));
            let y = x.matmul(&get(&format!("blocks.{layer}.{module}.W_{matrix}"))?)?;
            if !architecture.bias {
                return Ok(y);
            }
            Ok(y.broadcast_add(&get(&format!("blocks.{layer}.{module}.b_{matrix}"))?)?)
        };
        let normed = norm(architecture, parameters, &format!("blocks.{layer}.ln1"), &x)?;
        let qkv = dense(&normed, "attn.QKV")?;
        let part = |first: usize, count: usize| -> Result<Tensor, Error> {
            let part = qkv.narrow(1, first * head_width, count * head_width)?;
            Ok(part.reshape((sequences, tokens, count, head_width))?.transpose(1, 2)?.contiguous()?)
        };
        let (mut q, mut k, mut v) =
            (part(0, heads)?, part(heads, kv_heads)?, part(heads + kv_heads, kv_heads)?);
        if let Some(turns) = &rotary {
            (q, k) = (turned(&q, turns, head_width)?, turned(&k, turns, head_width)?);
        }
        (k, v) = (shared(&k, heads)?, shared(&v, heads)?);
        let scores = (q.matmul(&k.t()?.contiguous()?)? * (1.0 / (head_width as f64).sqrt()))?;
        let pattern = softmax(&scores.broadcast_add(&causal)?)?;
        let z = pattern.matmul(&v)?.transpose(1, 2)?.contiguous()?.reshape((rows, d))?;
        let z = edited(z, layer, HookPoint::AttnZ, hooks, &mut penalty)?;
        x = (x + dense(&z, "attn.O")?)?;
        let normed = norm(architecture, parameters, &format!("blocks.{layer}.ln2"), &x)?;
        let post = activated(architecture.activation, &dense(&normed, "mlp.in")?)?;
        let post = edited(post, layer, HookPoint::MlpPost, hooks, &mut penalty)?;
        x = (x + dense(&post, "mlp.out")?)?;
        x = edited(x, layer, HookPoint::ResidPost, hooks, &mut penalty)?;
    }
    Ok(Forward { residual: x, penalty })
}

/// The logits of the residual stream after the last block: (rows, vocabulary).
pub(crate) fn logits(
    architecture: &Architecture,
    parameters: &Parameters,
    residual: &Tensor,
) -> Result<Tensor, Error> {
    let normed = norm(architecture, parameters, "ln_final", residual)?;
    let unembedding = parameters.get(architecture.unembedding())?.as_tensor().t()?;
    Ok(normed.matmul(&unembedding)?)
}

fn norm(
    architecture: &Architecture,
    parameters: &Parameters,
    name: &str,
    x: &Tensor,
) -> Result<Tensor, Error> {
    let get = |leaf: &str| parameters.get(&format!("{name}.{leaf}"));
    let (weight, eps) = (get("w")?, architecture.norm_eps);
    Ok(match architecture.norm {
        Norm::LayerNorm => {
            let bias = architecture.bias.then(|| get("b")).transpose()?;
            layer_norm(x, weight, bias.map(Var::as_tensor), eps)?
        }
        Norm::RmsNorm => rms_norm(x, weight, eps)?,
    })
}

fn activated(activation: Activation, h: &Tensor) -> Result<Tensor, Error> {
    Ok(match activation {
        Activation::GeluTanh => h.gelu()?,
        Activation::Gelu => h.gelu_erf()?,
        Activation::Silu => h.silu()?,
    })
}

/// An activation `a` (rows, channels) after the intervention at that place; its L1 term is added to `penalty`.
///
/// # Errors
/// Fails where weights do not fit the activation.
pub fn edited(
    a: Tensor,
    layer: usize,
    point: HookPoint,
    hooks: &Hooks,
    penalty: &mut Option<Tensor>,
) -> Result<Tensor, Error> {
    let Some(intervention) = hooks.get(layer, point) else { return Ok(a) };
    let rows = a.dim(0)?;
    let weights = |weights: &ChannelWeights| -> Result<Tensor, Error> {
        Ok(Tensor::from_vec(weights.dense(rows), a.shape(), a.device())?.to_dtype(a.dtype())?)
    };
    if intervention.l1 > 0.0 {
        let sum = (a.abs()?.sum_all()? * (f64::from(intervention.l1) / rows as f64))?;
        *penalty = Some(match penalty.take() {
            Some(penalty) => (penalty + sum)?,
            None => sum,
        });
    }
    let mut y = a.clone();
    if let Some(route) = &intervention.route {
        y = gradient_routing::route(&y, &weights(route)?)?;
    }
    if let Some(scale) = &intervention.scale {
        y = y.mul(&weights(scale)?)?;
    }
    if let Some(add) = &intervention.add {
        y = y.broadcast_add(&Tensor::new(add.as_slice(), y.device())?.to_dtype(y.dtype())?)?;
    }
    Ok(y)
}
