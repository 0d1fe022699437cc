//! Which tensor of a file becomes which parameter.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};

use crate::shape::{Family, Projection, Shape};

/// What is done to a tensor of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Nothing.
    Plain,
    /// It is stored (inputs, outputs).
    Transposed,
    /// It is stored (inputs, outputs), and this is the third with that number of its outputs.
    Third(usize),
    /// Queries, keys and values of each head lie side by side in its rows; this is the one with that number.
    OfHeads(usize),
    /// Its rows were reordered for rotary positions of neighbouring channels, of that many heads.
    Reordered(usize),
}

/// One parameter.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Our name.
    pub ours: String,
    /// The name in the file.
    pub theirs: String,
    /// The shape in the file.
    pub dims: Vec<usize>,
    /// What is done to it.
    pub how: How,
}

impl Entry {
    /// The parameter, of the tensor of the file.
    pub(crate) fn of(&self, tensor: &Tensor, shape: &Shape) -> Result<Tensor> {
        let width = shape.head_width;
        match self.how {
            How::Plain => Ok(tensor.clone()),
            How::Transposed => tensor.t()?.contiguous(),
            How::Third(part) => {
                let last = tensor.rank() - 1;
                let third = tensor.dim(last)? / 3;
                let part = tensor.narrow(last, part * third, third)?;
                if last == 0 { part.contiguous()?.copy() } else { part.t()?.contiguous() }
            }
            How::OfHeads(part) => of_heads(tensor, part, shape),
            How::Reordered(heads) => {
                let rest = tensor.elem_count() / (heads * width);
                let whole = tensor.reshape((heads, width / 2, 2, rest))?.transpose(1, 2)?.contiguous()?;
                whole.reshape(tensor.dims())
            }
        }
    }
}

/// Of rows in which queries, keys and values of each head lie side by side, those of the part with that number.
pub(crate) fn of_heads(whole: &Tensor, part: usize, shape: &Shape) -> Result<Tensor> {
    let (heads, width) = (shape.n_head, shape.head_width);
    let rest = whole.elem_count() / (heads * 3 * width);
    let part = whole.reshape((heads, 3, width, rest))?.narrow(1, part, 1)?.force_contiguous()?;
    if whole.rank() == 1 { part.flatten_all() } else { part.reshape((heads * width, rest)) }
}

/// The rows of which [`of_heads`] gives these parts.
pub(crate) fn by_heads(parts: &[Tensor], shape: &Shape) -> Result<Tensor> {
    let (heads, width) = (shape.n_head, shape.head_width);
    let rest = parts[0].elem_count() / (heads * width);
    let rows = |part: &Tensor| part.reshape((heads, 1, width, rest));
    let whole = Tensor::cat(&parts.iter().map(rows).collect::<Result<Vec<_>>>()?, 1)?;
    if parts[0].rank() == 1 { whole.flatten_all() } else { whole.reshape((3 * heads * width, rest)) }
}

/// The tensor of the file, of the parameters that are made of it, in their order: what [`Entry::of`] takes apart.
pub(crate) fn joined(entries: &[&Entry], parts: &[Tensor], shape: &Shape) -> Result<Tensor> {
    let (entry, width) = (entries[0], shape.head_width);
    match entry.how {
        How::Plain => Ok(parts[0].clone()),
        How::Transposed => parts[0].t()?.contiguous(),
        How::Third(_) => {
            let last = parts[0].rank() - 1;
            let columns = |part: &Tensor| if last == 0 { Ok(part.clone()) } else { part.t()?.contiguous() };
            Tensor::cat(&parts.iter().map(columns).collect::<Result<Vec<_>>>()?, last)
        }
        How::OfHeads(_) => by_heads(parts, shape),
        How::Reordered(heads) => {
            let rest = parts[0].elem_count() / (heads * width);
            let whole = parts[0].reshape((heads, 2, width / 2, rest))?.transpose(1, 2)?.contiguous()?;
            whole.reshape(entry.dims.as_slice())
        }
    }
}

/// Entries by the tensor of the file that they are made of.
pub(crate) fn by_tensor(entries: &[Entry]) -> BTreeMap<&str, Vec<&Entry>> {
    let mut all: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        all.entry(&entry.theirs).or_default().push(entry);
    }
    all
}

/// The parameters of a model in the layout of Hugging Face; names without the prefix of the base model.
pub(crate) fn folder(shape: &Shape) -> Vec<Entry> {
    let d = shape.n_embd;
    let mut plan = Plan { entries: Vec::new() };
    let (embed, places, last, unembed) = match shape.family {
        Family::Llama | Family::Qwen2 => ("model.embed_tokens", None, "model.norm", "lm_head"),
        Family::Gpt2 | Family::GptNeo => {
            ("transformer.wte", Some("transformer.wpe"), "transformer.ln_f", "lm_head")
        }
        Family::GptNeoX => ("gpt_neox.embed_in", None, "gpt_neox.final_layer_norm", "embed_out"),
    };
    plan.add("embed.W_E", embed, &[shape.vocab_size, d], How::Plain);
    if let Some(places) = places {
        plan.add("pos_embed.W_pos", places, &[shape.context, d], How::Plain);
    }
    plan.norm("ln_final", last, shape);
    if !shape.tied {
        plan.add("unembed.W_U", unembed, &[shape.vocab_size, d], How::Plain);
    }
    for layer in 0..shape.n_layer {
        let (ln1, ln2) = match shape.family {
            Family::Gpt2 | Family::GptNeo => ("ln_1", "ln_2"),
            Family::Llama | Family::Qwen2 | Family::GptNeoX => {
                ("input_layernorm", "post_attention_layernorm")
            }
        };
        let theirs = |name: &str| format!("{}.{layer}.{name}", blocks(shape.family));
        plan.norm(&format!("blocks.{layer}.ln1"), &theirs(ln1), shape);
        plan.norm(&format!("blocks.{layer}.ln2"), &theirs(ln2), shape);
        for projection in Projection::ALL {
            let Some((inputs, outputs)) = shape.projection(projection) else { continue };
            let (name, how) = of_family(shape.family, projection);
            let ours = format!("blocks.{layer}.{}", projection.name());
            let (weight, bias) = match how {
                How::Plain | How::Reordered(_) => (vec![outputs, inputs], outputs),
                How::Transposed => (vec![inputs, outputs], outputs),
                How::Third(_) => (vec![inputs, 3 * outputs], 3 * outputs),
                How::OfHeads(_) => (vec![3 * outputs, inputs], 3 * outputs),
            };
            plan.add(&format!("{ours}.w"), &theirs(name), &weight, how);
            if shape.has_bias(projection) {
                let how = if how == How::Transposed { How::Plain } else { how };
                plan.entries.push(Entry {
                    ours: format!("{ours}.b"),
                    theirs: format!("{}.bias", theirs(name)),
                    dims: vec![bias],
                    how,
                });
            }
        }
    }
    plan.entries
}

/// The same for a GGUF file of a Llama or Qwen2.
pub(crate) fn gguf(shape: &Shape) -> Vec<Entry> {
    let mut entries = folder(shape);
    for entry in &mut entries {
        let name = &entry.theirs;
        let renamed = [
            ("model.embed_tokens", "token_embd"),
            ("model.norm", "output_norm"),
            ("lm_head", "output"),
            ("model.layers.", "blk."),
            ("input_layernorm", "attn_norm"),
            ("post_attention_layernorm", "ffn_norm"),
            ("self_attn.q_proj", "attn_q"),
            ("self_attn.k_proj", "attn_k"),
            ("self_attn.v_proj", "attn_v"),
            ("self_attn.o_proj", "attn_output"),
            ("mlp.gate_proj", "ffn_gate"),
            ("mlp.up_proj", "ffn_up"),
            ("mlp.down_proj", "ffn_down"),
        ];
        let renamed = renamed.iter().fold(name.clone(), |name, (from, to)| name.replace(from, to));
        if shape.family == Family::Llama {
            entry.how = match entry.ours.split('.').nth(2) {
                Some("q") => How::Reordered(shape.n_head),
                Some("k") => How::Reordered(shape.n_kv_head),
                _ => entry.how,
            };
        }
        entry.theirs = renamed;
    }
    entries
}

struct Plan {
    entries: Vec<Entry>,
}

impl Plan {
    fn add(&mut self, ours: &str, theirs: &str, dims: &[usize], how: How) {
        let (ours, theirs) = (ours.to_owned(), format!("{theirs}.weight"));
        self.entries.push(Entry { ours, theirs, dims: dims.to_vec(), how });
    }

    fn norm(&mut self, ours: &str, theirs: &str, shape: &Shape) {
        self.add(&format!("{ours}.w"), theirs, &[shape.n_embd], How::Plain);
        if !shape.family.gated() {
            let (ours, theirs) = (format!("{ours}.b"), format!("{theirs}.bias"));
            self.entries.push(Entry { ours, theirs, dims: vec![shape.n_embd], how: How::Plain });
        }
    }
}

/// Where a family's blocks are.
pub(crate) fn blocks(family: Family) -> &'static str {
    match family {
        Family::Llama | Family::Qwen2 => "model.layers",
        Family::Gpt2 | Family::GptNeo => "transformer.h",
        Family::GptNeoX => "gpt_neox.layers",
    }
}

/// The name of a projection in a family's blocks, and how it is stored.
pub(crate) fn of_family(family: Family, projection: Projection) -> (&'static str, How) {
    use Projection::{Down, Gate, K, O, Q, Up, V};
    let part = match projection {
        K => 1,
        V => 2,
        _ => 0,
    };
    match (family, projection) {
        (Family::Llama | Family::Qwen2, Q) => ("self_attn.q_proj", How::Plain),
        (Family::Llama | Family::Qwen2, K) => ("self_attn.k_proj", How::Plain),
        (Family::Llama | Family::Qwen2, V) => ("self_attn.v_proj", How::Plain),
        (Family::Llama | Family::Qwen2, O) => ("self_attn.o_proj", How::Plain),
        (_, Gate) => ("mlp.gate_proj", How::Plain),
        (Family::Llama | Family::Qwen2, Up) => ("mlp.up_proj", How::Plain),
        (Family::Llama | Family::Qwen2, Down) => ("mlp.down_proj", How::Plain),
        (Family::Gpt2, Q | K | V) => ("attn.c_attn", How::Third(part)),
        (Family::Gpt2, O) => ("attn.c_proj", How::Transposed),
        (Family::Gpt2, Up) => ("mlp.c_fc", How::Transposed),
        (Family::Gpt2, Down) => ("mlp.c_proj", How::Transposed),
        (Family::GptNeoX, Q | K | V) => ("attention.query_key_value", How::OfHeads(part)),
        (Family::GptNeoX, O) => ("attention.dense", How::Plain),
        (Family::GptNeoX, Up) => ("mlp.dense_h_to_4h", How::Plain),
        (Family::GptNeoX, Down) => ("mlp.dense_4h_to_h", How::Plain),
        (Family::GptNeo, Q) => ("attn.attention.q_proj", How::Plain),
        (Family::GptNeo, K) => ("attn.attention.k_proj", How::Plain),
        (Family::GptNeo, V) => ("attn.attention.v_proj", How::Plain),
        (Family::GptNeo, O) => ("attn.attention.out_proj", How::Plain),
        (Family::GptNeo, Up) => ("mlp.c_fc", How::Plain),
        (Family::GptNeo, Down) => ("mlp.c_proj", How::Plain),
    }
}
