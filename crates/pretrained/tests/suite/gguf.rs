//! GGUF files, made here of the golden folders: what is read is what the folders say, and what is damaged is refused.
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use pretrained::Pretrained;
use transformer::Hooks;

use crate::golden::golden;

const TOKENS: [u32; 8] = [3, 1, 4, 1, 5, 9, 2, 35];

/// What a file says beside its tensors.
fn metadata(family: &str) -> Vec<(String, Value)> {
    let own = |key: &str| format!("{family}.{key}");
    let letters = ('a'..='z').chain('A'..='L').map(String::from);
    let tokens: Vec<Value> =
        letters.chain(["ab".to_owned(), "<end>".to_owned()]).map(Value::String).collect();
    let kinds = (0..40).map(|id| Value::I32(if id == 39 { 3 } else { 1 })).collect();
    let theta = if family == "llama" { 500.0 } else { 10_000.0 };
    vec![
        ("general.architecture".to_owned(), Value::String(family.to_owned())),
        ("general.alignment".to_owned(), Value::U32(32)),
        (own("embedding_length"), Value::U32(16)),
        (own("block_count"), Value::U32(2)),
        (own("feed_forward_length"), Value::U32(24)),
        (own("context_length"), Value::U32(64)),
        (own("attention.head_count"), Value::U32(4)),
        (own("attention.head_count_kv"), Value::U32(2)),
        (own("attention.layer_norm_rms_epsilon"), Value::F32(1e-6)),
        (own("rope.freq_base"), Value::F32(theta)),
        ("tokenizer.ggml.model".to_owned(), Value::String("gpt2".to_owned())),
        ("tokenizer.ggml.tokens".to_owned(), Value::Array(tokens)),
        ("tokenizer.ggml.token_type".to_owned(), Value::Array(kinds)),
        ("tokenizer.ggml.merges".to_owned(), Value::Array(vec![Value::String("a b".to_owned())])),
        ("tokenizer.ggml.eos_token_id".to_owned(), Value::U32(39)),
    ]
}

/// The golden folder of a family as a file, with its metadata changed.
fn file(folder: &Path, family: &str, change: impl FnOnce(&mut Vec<(String, Value)>)) -> PathBuf {
    let path = folder.join("model.gguf");
    let golden = golden(&format!("{family}-f32")).join("model.safetensors");
    let tensors = candle_core::safetensors::load(golden, &Device::Cpu).unwrap();
    let mut all: Vec<(String, QTensor)> = Vec::new();
    for (name, tensor) in tensors {
        // the rows of queries and keys of a Llama are in another order in such files
        let heads = [("q_proj", 4), ("k_proj", 2)].into_iter().find(|(part, _)| name.contains(part));
        let tensor = match heads.filter(|_| family == "llama") {
            Some((_, heads)) => reordered(&tensor, heads),
            None => tensor,
        };
        let name = [
            ("model.embed_tokens", "token_embd"),
            ("model.norm", "output_norm"),
            ("lm_head", "output"),
            ("model.layers.", "blk."),
            ("input_layernorm", "attn_norm"),
            ("post_attention_layernorm", "ffn_norm"),
            ("self_attn.o_proj", "attn_output"),
            ("self_attn.", "attn_"),
            ("mlp.", "ffn_"),
            ("_proj", ""),
        ]
        .iter()
        .fold(name, |name, (from, to)| name.replace(from, to));
        all.push((name, QTensor::quantize(&tensor, GgmlDType::F32).unwrap()));
    }
    let mut metadata = metadata(family);
    change(&mut metadata);
    let values: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let tensors: Vec<(&str, &QTensor)> = all.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    gguf_file::write(&mut File::create(&path).unwrap(), &values, &tensors).unwrap();
    path
}

fn reordered(tensor: &Tensor, heads: usize) -> Tensor {
    let shape = tensor.dims().to_vec();
    let parts = tensor.reshape((heads, 2, 2, shape[1])).unwrap().transpose(1, 2).unwrap();
    parts.contiguous().unwrap().reshape(shape).unwrap()
}

fn logits(model: &Pretrained) -> Vec<f32> {
    let rows = model.decoder.logits(&TOKENS, 1, &Hooks::default(), None).unwrap();
    rows.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn a_file_is_read_as_the_folder_with_the_same_weights() {
    for family in ["llama", "qwen2"] {
        let folder = tempfile::tempdir().unwrap();
        let read = Pretrained::open(&file(folder.path(), family, |_| {})).unwrap();
        let same = Pretrained::open(&golden(&format!("{family}-f32"))).unwrap();
        for (read, same) in logits(&read).iter().zip(logits(&same)) {
            assert!((read - same).abs() < 1e-5, "{family}: {read} against {same}");
        }
        assert_eq!(read.ends, [39]);
        let tokenizer = read.tokenizer.unwrap();
        let encoded = tokenizer.encode_fast("abc<end>", false).unwrap();
        assert_eq!(encoded.get_ids(), [38, 2, 39]);
    }
}

#[test]
fn files_that_are_damaged_are_refused_before_they_take_memory() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path| {
        let error = Pretrained::open(path).err().unwrap().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    };
    let changed = |key: &str, value: Value| {
        let path = file(folder.path(), "llama", |metadata| {
            metadata.retain(|(other, _)| other != key);
            metadata.push((key.to_owned(), value));
        });
        refused(&path)
    };
    let many = |count: usize| Value::Array(vec![Value::U8(0); count]);
    for (key, value, words) in [
        ("general.architecture", Value::String("mamba".to_owned()), "its architecture is \"mamba\""),
        ("general.alignment", Value::U32(0), "its alignment is 0"),
        ("llama.embedding_length", Value::U32(32), "has the shape [40, 16], its sizes say [40, 32]"),
        ("llama.block_count", Value::U32(3), "it lacks blk.2."),
        ("llama.block_count", Value::U32(u32::MAX), "blocks of 4 heads for 16 channels cannot be"),
        (
            "llama.feed_forward_length",
            Value::U32(1 << 20),
            "has the shape [24, 16], its sizes say [1048576, 16]",
        ),
        ("other", many(60_000), "values, more than such a file has"),
        ("other", Value::Array(vec![Value::Array(vec![Value::U8(0)])]), "it has lists within lists"),
        ("tokenizer.ggml.model", Value::String("llama".to_owned()), "only the byte-level BPE \"gpt2\""),
        (
            "tokenizer.ggml.merges",
            Value::Array(vec![Value::String("b a".to_owned())]),
            "gives no token of it",
        ),
        (
            "tokenizer.ggml.tokens",
            Value::Array((0..41).map(|i| Value::String(format!("w{i}"))).collect()),
            "has 41 tokens, the model 40",
        ),
    ] {
        let error = changed(key, value);
        assert!(error.contains(words), "{key}: {error}");
    }
    let path = file(folder.path(), "llama", |_| {});
    let whole = std::fs::read(&path).unwrap();
    for (length, words) in [
        (whole.len() - 1000, "it is cut short: it has"),
        (700, "cut short"),
        (30, "cut short"),
        (2, "cut short"),
    ] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = refused(&path);
        assert!(error.contains(words), "{length}: {error}");
    }
    // counts of tensors, of values, and the length of a string that no disk holds
    for place in [8, 16, 24] {
        let mut bytes = whole.clone();
        bytes[place..place + 8].copy_from_slice(&(1u64 << 60).to_le_bytes());
        File::create(&path).unwrap().write_all(&bytes).unwrap();
        let error = refused(&path);
        assert!(error.contains("model.gguf"), "{error}");
    }
}
