//! The readers of pretrained models: tiny ones, whose header, settings or weights are damaged.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use pretrained::Pretrained;

use crate::words;

/// A Llama with 2 blocks of width 16 and 40 tokens.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/pretrained/tests/golden/llama-f32");
const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";

pub(crate) fn configs(_: &Path) -> Vec<Vec<u8>> {
    vec![fs::read(Path::new(GOLDEN).join(CONFIG)).unwrap()]
}

/// All of them zeros, which a corpus keeps in little room.
pub(crate) fn weights(_: &Path) -> Vec<Vec<u8>> {
    let mut file = fs::read(Path::new(GOLDEN).join(WEIGHTS)).unwrap();
    let header = u64::from_le_bytes(*file.first_chunk().unwrap()) as usize;
    file[8 + header..].fill(0);
    vec![file]
}

pub(crate) fn of_config(folder: &Path) -> PathBuf {
    beside(folder, WEIGHTS).with_file_name(CONFIG)
}

pub(crate) fn of_weights(folder: &Path) -> PathBuf {
    beside(folder, CONFIG).with_file_name(WEIGHTS)
}

/// A folder with one file of the golden model.
fn beside(folder: &Path, name: &str) -> PathBuf {
    let model = folder.join("model");
    fs::create_dir_all(&model).unwrap();
    fs::copy(Path::new(GOLDEN).join(name), model.join(name)).unwrap();
    model.join(name)
}

pub(crate) fn read_folder(path: &Path) -> Result<(), String> {
    read(path.parent().unwrap())
}

/// What is done with every model: it is described, and reads a few tokens.
pub(crate) fn read(path: &Path) -> Result<(), String> {
    let model = Pretrained::open(path).map_err(words)?;
    model.described();
    let tokens = model.decoder.shape().vocab_size.min(3) as u32;
    let tokens: Vec<u32> = (0..tokens).collect();
    model.decoder.logits(&tokens, 1, &transformer::Hooks::default(), None).map(drop).map_err(words)
}

pub(crate) fn file(folder: &Path) -> PathBuf {
    folder.join("input.gguf")
}

/// A Llama of one block, plain and with quantised weights.
pub(crate) fn files(folder: &Path) -> Vec<Vec<u8>> {
    [GgmlDType::F32, GgmlDType::Q8_0].map(|kind| written(&folder.join("good.gguf"), kind)).into()
}

fn written(path: &Path, kind: GgmlDType) -> Vec<u8> {
    let text = |text: &str| Value::String(text.to_owned());
    let tokens = ('a'..='k').map(|letter| text(&letter.to_string())).chain([text("ab")]).collect();
    let metadata = [
        ("general.architecture", text("llama")),
        ("llama.embedding_length", Value::U32(32)),
        ("llama.block_count", Value::U32(1)),
        ("llama.feed_forward_length", Value::U32(32)),
        ("llama.context_length", Value::U32(8)),
        ("llama.attention.head_count", Value::U32(2)),
        ("llama.attention.head_count_kv", Value::U32(1)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-6)),
        ("llama.rope.freq_base", Value::F32(500.0)),
        ("tokenizer.ggml.model", text("gpt2")),
        ("tokenizer.ggml.tokens", Value::Array(tokens)),
        ("tokenizer.ggml.merges", Value::Array(vec![text("a b")])),
        ("tokenizer.ggml.eos_token_id", Value::U32(11)),
    ];
    let tensor = |name: &'static str, dims: &[usize]| {
        let zeros = Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap();
        let kind = if dims.len() == 1 { GgmlDType::F32 } else { kind };
        (name, QTensor::quantize(&zeros, kind).unwrap())
    };
    let tensors = [
        tensor("token_embd.weight", &[12, 32]),
        tensor("output_norm.weight", &[32]),
        tensor("blk.0.attn_norm.weight", &[32]),
        tensor("blk.0.ffn_norm.weight", &[32]),
        tensor("blk.0.attn_q.weight", &[32, 32]),
        tensor("blk.0.attn_k.weight", &[16, 32]),
        tensor("blk.0.attn_v.weight", &[16, 32]),
        tensor("blk.0.attn_output.weight", &[32, 32]),
        tensor("blk.0.ffn_gate.weight", &[32, 32]),
        tensor("blk.0.ffn_up.weight", &[32, 32]),
        tensor("blk.0.ffn_down.weight", &[32, 32]),
    ];
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
    gguf_file::write(&mut fs::File::create(path).unwrap(), &metadata, &tensors).unwrap();
    fs::read(path).unwrap()
}
