//! The tokenizer of a model from disk.

use std::path::Path;

use serde_json::{Value, json};
use tokenizers::Tokenizer;

use crate::gguf::Gguf;
use crate::{Error, tokenizer_file};

/// No tokenizer's file is longer.
const LONGEST: u64 = 64 << 20;

/// The tokenizer in `tokenizer.json` of a folder; none where there is none.
///
/// # Errors
/// Fails where the file is none, or has tokens that the model does not.
pub(crate) fn of_folder(folder: &Path, vocab_size: usize) -> Result<Option<Tokenizer>, Error> {
    let path = folder.join("tokenizer.json");
    if !path.exists() {
        return Ok(None);
    }
    let bytes = experiment::read_at_most(&path, LONGEST).map_err(|error| Error::file(&path, error))?;
    let file: Value = serde_json::from_slice(&bytes).map_err(|error| Error::file(&path, error))?;
    parsed(&path, file, vocab_size).map(Some)
}

/// The byte-level BPE that a GGUF file's metadata hold.
///
/// # Errors
/// Fails where they hold another kind, or tokens that the model does not have.
pub(crate) fn of_gguf(path: &Path, gguf: &Gguf, vocab_size: usize) -> Result<Option<Tokenizer>, Error> {
    let fault = |fault: &str| Error::file(path, format!("its tokenizer {fault}"));
    let Some(model) = gguf.text("tokenizer.ggml.model") else { return Ok(None) };
    if model != "gpt2" {
        return Err(fault(&format!(
            "is of the kind \"{model}\": only the byte-level BPE \"gpt2\" can be read"
        )));
    }
    let texts = |key: &str| -> Option<Vec<&str>> {
        gguf.value(key)?
            .to_vec()
            .ok()?
            .iter()
            .map(|value| value.to_string().ok().map(String::as_str))
            .collect()
    };
    let tokens = texts("tokenizer.ggml.tokens").ok_or_else(|| fault("has no tokens"))?;
    if tokens.len() > vocab_size {
        let found = tokens.len();
        return Err(fault(&format!("has {found} tokens, the model {vocab_size}: it is another model's")));
    }
    let merges = texts("tokenizer.ggml.merges").ok_or_else(|| fault("has no merges"))?;
    let kinds = gguf.value("tokenizer.ggml.token_type").and_then(|value| value.to_vec().ok());
    let vocabulary: serde_json::Map<String, Value> =
        tokens.iter().enumerate().map(|(id, token)| ((*token).to_owned(), id.into())).collect();
    let pairs: Option<Vec<Value>> =
        merges.iter().map(|merge| merge.split_once(' ').map(|(a, b)| json!([a, b]))).collect();
    let pairs = pairs.ok_or_else(|| fault("has a merge that is no pair"))?;
    // control tokens are of kind 3
    let special = |id: usize| kinds.and_then(|kinds| kinds.get(id)?.to_i32().ok()) == Some(3);
    let added: Vec<Value> = tokens
        .iter()
        .enumerate()
        .filter(|(id, _)| special(*id))
        .map(|(id, token)| {
            json!({"id": id, "content": token, "special": true, "single_word": false, "lstrip": false,
                   "rstrip": false, "normalized": false})
        })
        .collect();
    let bytes =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let split = match gguf.text("tokenizer.ggml.pre").unwrap_or("default") {
        "smollm" => {
            json!({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, bytes.clone()]})
        }
        "default" | "gpt-2" => bytes.clone(),
        other => return Err(fault(&format!("cuts texts as \"{other}\", which cannot be done here"))),
    };
    let file = json!({"version": "1.0", "added_tokens": added, "normalizer": null, "pre_tokenizer": split,
        "decoder": bytes, "model": {"type": "BPE", "vocab": vocabulary, "merges": pairs}});
    parsed(path, file, vocab_size).map(Some)
}

fn parsed(path: &Path, file: Value, vocab_size: usize) -> Result<Tokenizer, Error> {
    let fault = |fault: String| Error::file(path, fault);
    let Value::Object(file) = file else { return Err(fault("it is no tokenizer".to_owned())) };
    let tokenizer = tokenizer_file::of_json(file).map_err(fault)?;
    let largest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0);
    if largest as usize >= vocab_size {
        return Err(fault(format!(
            "its tokenizer has the token {largest}, the model {vocab_size} tokens: it is another model's"
        )));
    }
    Ok(tokenizer)
}
