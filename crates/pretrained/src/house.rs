//! Networks of this house as models of a family that everybody reads.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use transformer::{Activation, Architecture, Network, Norm, Position};

use crate::shape::{Family, Shape};
use crate::{Decoder, Error};

impl Decoder {
    /// A network with learned positions, layer norms and tanh-GELU as the GPT-2 that computes the same: biases that it
    /// lacks are zeros, and blocks with fewer neurons than the widest get neurons that write nothing.
    ///
    /// # Errors
    /// [`Error::NotGpt2`] with what the network has that GPT-2 lacks.
    pub fn of_network(network: &Network) -> Result<Self, Error> {
        let Network { architecture, parameters } = network;
        let shape = shape(architecture)?;
        let mut values = BTreeMap::new();
        let mut add = |name: String, value: Tensor| {
            let value = value.to_device(&Device::Cpu).and_then(|value| value.force_contiguous());
            value.map(|value| values.insert(name, value)).map(|_| ())
        };
        let get = |name: &str| parameters.get(name).map(Var::as_detached_tensor);
        let zeros = |size: usize| Tensor::zeros(size, DType::F32, &Device::Cpu);
        // its bias, or zeros where the network has none
        let bias = |name: &str, size: usize| -> Result<Tensor, Error> {
            if architecture.bias { Ok(get(name)?) } else { Ok(zeros(size)?) }
        };
        add("embed.W_E".to_owned(), get("embed.W_E")?)?;
        add("pos_embed.W_pos".to_owned(), get("pos_embed.W_pos")?)?;
        if !shape.tied {
            add("unembed.W_U".to_owned(), get("unembed.W_U")?)?;
        }
        let d = shape.n_embd;
        let norms =
            (0..shape.n_layer).flat_map(|layer| ["ln1", "ln2"].map(|n| format!("blocks.{layer}.{n}")));
        for norm in norms.chain(["ln_final".to_owned()]) {
            add(format!("{norm}.w"), get(&format!("{norm}.w"))?)?;
            add(format!("{norm}.b"), bias(&format!("{norm}.b"), d)?)?;
        }
        for layer in 0..shape.n_layer {
            let block = |name: &str| format!("blocks.{layer}.{name}");
            let (w, b) = (get(&block("attn.W_QKV"))?, bias(&block("attn.b_QKV"), 3 * d)?);
            for (part, name) in ["q", "k", "v"].into_iter().enumerate() {
                add(block(&format!("{name}.w")), w.narrow(1, part * d, d)?.t()?)?;
                add(block(&format!("{name}.b")), b.narrow(0, part * d, d)?)?;
            }
            add(block("o.w"), get(&block("attn.W_O"))?.t()?)?;
            add(block("o.b"), bias(&block("attn.b_O"), d)?)?;
            let more = shape.d_mlp - architecture.mlp_widths[layer];
            let wider = |value: Tensor| value.pad_with_zeros(0, 0, more);
            add(block("up.w"), wider(get(&block("mlp.W_in"))?.t()?)?)?;
            add(block("up.b"), wider(bias(&block("mlp.b_in"), architecture.mlp_widths[layer])?)?)?;
            add(block("down.w"), wider(get(&block("mlp.W_out"))?)?.t()?)?;
            add(block("down.b"), bias(&block("mlp.b_out"), d)?)?;
        }
        Ok(Self::new(shape, values))
    }
}

fn shape(architecture: &Architecture) -> Result<Shape, Error> {
    let fault = |what: String| Err(Error::NotGpt2(format!("the network has {what}")));
    let Architecture { n_layer, n_head, n_embd, ref mlp_widths, .. } = *architecture;
    if architecture.position != Position::Learned {
        return fault("rotary positions".to_owned());
    }
    if architecture.norm != Norm::LayerNorm {
        return fault("RMS norms".to_owned());
    }
    if architecture.activation != Activation::GeluTanh {
        return fault(format!("the activation {:?}", architecture.activation));
    }
    if architecture.kv_heads() != n_head {
        return fault(format!("{} key-value heads for {n_head} heads", architecture.kv_heads()));
    }
    Ok(Shape {
        family: Family::Gpt2,
        n_layer,
        n_head,
        n_kv_head: n_head,
        head_width: architecture.head_width(),
        n_embd,
        // no model has no neuron at all
        d_mlp: mlp_widths.iter().copied().max().unwrap_or(0).max(1),
        vocab_size: architecture.vocab_size,
        context: architecture.block_size,
        norm_eps: architecture.norm_eps,
        rope_theta: 10_000.0,
        rotary_width: 0,
        parallel: false,
        tied: architecture.tied,
        windows: vec![None; n_layer],
    })
}
