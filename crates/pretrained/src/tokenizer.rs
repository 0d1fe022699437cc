//! The tokenizer of a model from disk.

use std::path::Path;

use serde_json::{Value, json};
use tokenizers::Tokenizer;

use crate::Error;
use crate::gguf::Gguf;

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

fn parsed(path: &Path, mut file: Value, vocab_size: usize) -> Result<Tokenizer, Error> {
    let fault = |fault: String| Error::file(path, fault);
    let Some(fields) = file.as_object_mut() else { return Err(fault("it is no tokenizer".to_owned())) };
    // padding and truncation are for batches, a post-processor stands tokens around a text
    for key in ["padding", "truncation", "post_processor"] {
        fields.insert(key.to_owned(), Value::Null);
    }
    require_merges(&fields["model"]).map_err(fault)?;
    let tokenizer: Tokenizer = serde_json::from_value(file).map_err(|error| fault(error.to_string()))?;
    let largest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0);
    if largest as usize >= vocab_size {
        return Err(fault(format!(
            "its tokenizer has the token {largest}, the model {vocab_size} tokens: it is another model's"
        )));
    }
    Ok(tokenizer)
}

/// Merges that give no token make the library panic.
fn require_merges(model: &Value) -> Result<(), String> {
    let (Some(merges), Some(vocabulary)) = (model["merges"].as_array(), model["vocab"].as_object()) else {
        return Ok(());
    };
    for merge in merges {
        let pair = match merge {
            Value::String(pair) => pair.split_once(' '),
            _ => merge[0].as_str().zip(merge[1].as_str()),
        };
        if let Some((a, b)) = pair
            && !vocabulary.contains_key(&format!("{a}{b}"))
        {
            return Err(format!("its tokenizer's merge of {a:?} and {b:?} gives no token of it"));
        }
    }
    Ok(())
}
