//! A model, from a folder or file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use candle_core::Tensor;
use tokenizers::Tokenizer;

use crate::decoder::Decoder;
use crate::files::Files;
use crate::gguf::Gguf;
use crate::plan::{self, Entry};
use crate::shape::Shape;
use crate::{Error, config, tokenizer};

/// A model from disk.
pub struct Pretrained {
    /// Its passes and weights, frozen.
    pub decoder: Decoder,
    /// Its tokenizer, where there is one.
    pub tokenizer: Option<Tokenizer>,
    /// The tokens that end a text.
    pub ends: Vec<u32>,
}

impl Pretrained {
    /// Whether a path looks like such a model and not like something else: a `.gguf`, or a folder with `config.json`.
    pub fn is_at(path: &Path) -> bool {
        path.extension().is_some_and(|end| end == "gguf") || path.join("config.json").is_file()
    }

    /// Reads a folder with `config.json`, `model.safetensors` or its shards, and `tokenizer.json`; or a GGUF file.
    /// Weights become f32.
    ///
    /// # Errors
    /// [`Error::File`] with what is wrong: another architecture, a missing shard or tensor, one of another shape, a file
    /// that is cut short, a tokenizer with tokens that the model does not have.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if path.is_dir() { of_folder(path) } else { of_gguf(path) }
    }

    /// Architecture, sizes and parameters, a line each.
    pub fn described(&self) -> String {
        let shape = self.decoder.shape();
        let mut text = String::new();
        let tokens = self.tokenizer.as_ref().map(|tokenizer| tokenizer.get_vocab_size(true));
        let rows = [
            ("architecture", shape.family.name().to_owned()),
            ("blocks", shape.n_layer.to_string()),
            ("width", shape.n_embd.to_string()),
            ("heads", format!("{} of width {}", shape.n_head, shape.head_width)),
            ("key-value heads", shape.n_kv_head.to_string()),
            ("neurons", shape.d_mlp.to_string()),
            ("vocabulary", shape.vocab_size.to_string()),
            ("context", shape.context.to_string()),
            ("embedding", if shape.tied { "tied" } else { "untied" }.to_owned()),
            (
                "tokenizer",
                tokens.map_or_else(|| "missing: texts cannot be read".to_owned(), |n| format!("{n} tokens")),
            ),
            ("parameters", self.decoder.parameters().to_string()),
        ];
        for (what, value) in rows {
            // writing into a string cannot fail
            writeln!(text, "{what:<16} {value}").ok();
        }
        text
    }
}

fn of_folder(folder: &Path) -> Result<Pretrained, Error> {
    let path = folder.join("config.json");
    let bytes = experiment::read_at_most(&path, 1 << 20).map_err(|error| Error::file(&path, error))?;
    let json: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| Error::file(&path, error))?;
    let shape = config::shape(&json).map_err(|fault| Error::file(&path, fault))?;
    let mut files = Files::open(folder)?;
    let entries = plan::folder(&shape);
    let mut names = BTreeMap::new();
    for entry in &entries {
        let name = files
            .find(&entry.theirs)
            .ok_or_else(|| Error::file(folder, format!("it lacks {}", entry.theirs)))?;
        // all of them before the first is read
        files.require(&name, &entry.dims)?;
        names.insert(entry.theirs.clone(), name);
    }
    let tokenizer = tokenizer::of_folder(folder, shape.vocab_size)?;
    let values = collected(&entries, &shape, |name, dims| files.tensor(&names[name], dims))?;
    let ends = match &json["eos_token_id"] {
        serde_json::Value::Array(ends) => {
            ends.iter().filter_map(serde_json::Value::as_u64).map(|id| id as u32).collect()
        }
        id => id.as_u64().map(|id| id as u32).into_iter().collect(),
    };
    Ok(Pretrained { decoder: Decoder::new(shape, values), tokenizer, ends })
}

fn of_gguf(path: &Path) -> Result<Pretrained, Error> {
    let mut file = Gguf::open(path)?;
    let shape = file.shape().map_err(|fault| Error::file(path, fault))?;
    let entries = plan::gguf(&shape);
    for entry in &entries {
        file.require(path, &entry.theirs, &entry.dims)?;
    }
    let tokenizer = tokenizer::of_gguf(path, &file, shape.vocab_size)?;
    let ends =
        file.value("tokenizer.ggml.eos_token_id").and_then(|id| id.to_u32().ok()).into_iter().collect();
    let values = collected(&entries, &shape, |name, dims| file.tensor(path, name, dims))?;
    Ok(Pretrained { decoder: Decoder::new(shape, values), tokenizer, ends })
}

/// All parameters; a tensor that several are made of is read once.
fn collected(
    entries: &[Entry],
    shape: &Shape,
    mut read: impl FnMut(&str, &[usize]) -> Result<Tensor, Error>,
) -> Result<BTreeMap<String, Tensor>, Error> {
    let mut values = BTreeMap::new();
    for (theirs, entries) in plan::by_tensor(entries) {
        let tensor = read(theirs, &entries[0].dims)?;
        for entry in entries {
            values.insert(entry.ours.clone(), entry.of(&tensor, shape)?);
        }
    }
    Ok(values)
}
