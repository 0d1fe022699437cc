use std::fs;
use std::path::Path;

use pretrained::Pretrained;

use crate::golden::golden;

fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(golden(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

fn refused(path: &Path) -> String {
    let error = Pretrained::open(path).err().unwrap().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

fn configured(key: &str, value: serde_json::Value) -> String {
    let folder = copy("llama-f32");
    let path = folder.path().join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config[key] = value;
    fs::write(&path, config.to_string()).unwrap();
    refused(folder.path())
}

#[test]
fn configs_of_something_else_are_refused_in_one_line() {
    for (key, value, words) in [
        (
            "model_type",
            "mamba".into(),
            "its model_type is \"mamba\", and only these can be read: llama, qwen2",
        ),
        ("hidden_size", 32.into(), "has the shape [40, 16], config.json says [40, 32]"),
        ("num_hidden_layers", 3.into(), "it lacks model.layers.2.input_layernorm.weight"),
        ("num_hidden_layers", u64::MAX.into(), "blocks, at most 1024 can be used"),
        ("vocab_size", (1u64 << 60).into(), "tokens of the vocabulary, between 1 and"),
        ("num_attention_heads", 0.into(), "0 heads"),
        ("num_key_value_heads", 3.into(), "4 heads cannot share 3 key-value heads"),
        ("hidden_act", "relu".into(), "its activation is \"relu\""),
        (
            "rope_scaling",
            serde_json::json!({"rope_type": "llama3"}),
            "its rotary positions are scaled (llama3)",
        ),
    ] {
        let error = configured(key, value);
        assert!(error.contains(words), "{key}: {error}");
    }
}

#[test]
fn files_that_are_damaged_are_refused_before_they_take_memory() {
    let folder = copy("llama-bf16");
    fs::remove_file(folder.path().join("model-00002-of-00002.safetensors")).unwrap();
    assert!(refused(folder.path()).contains("the shard model-00002-of-00002.safetensors is missing"));

    let folder = copy("llama-f32");
    let path = folder.path().join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 100]).unwrap();
    assert!(refused(folder.path()).contains("it is cut short: it has"));
    fs::write(&path, [10_000_000_000u64.to_le_bytes().as_slice(), &whole[8..]].concat()).unwrap();
    assert!(refused(folder.path()).contains("its header has 10000000000 bytes, at most"));
    fs::write(&path, b"abc").unwrap();
    assert!(refused(folder.path()).contains("it is cut short: it has 3 bytes"));
    fs::remove_file(&path).unwrap();
    assert!(refused(folder.path()).contains("model.safetensors"));

    let folder = copy("llama-f32");
    let words: serde_json::Map<String, serde_json::Value> =
        (0..41).map(|i| (format!("w{i}"), i.into())).collect();
    let file = serde_json::json!({"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "w0"}});
    fs::write(folder.path().join("tokenizer.json"), file.to_string()).unwrap();
    assert!(refused(folder.path()).contains("its tokenizer has the token 40, the model 40 tokens"));
}
