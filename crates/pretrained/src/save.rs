//! Writing models for other programs, in the layout of Hugging Face.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use candle_core::Tensor;
use serde_json::{Value, json};
use tokenizers::Tokenizer;

use crate::{Adapters, Decoder, Error, config, plan};

impl Decoder {
    /// Writes the model as a folder with `config.json`, `model.safetensors` in f32 and, where there is one, its tokenizer
    /// (the content of a `tokenizer.json`) with `tokenizer_config.json`. The folder is there with all of it or not at all.
    ///
    /// # Errors
    /// Fails where something is there already, a file cannot be written, or the tokenizer is none.
    pub fn save(&self, folder: &Path, tokenizer: Option<&str>, ends: &[u32]) -> Result<(), Error> {
        let shape = self.shape();
        let settings = tokenizer.map(|json| tokenizer_config(json, shape.context, ends)).transpose()?;
        experiment::write_folder(folder, |folder| {
            write_tensors(&folder.join("model.safetensors"), &self.theirs()?)?;
            write_json(&folder.join("config.json"), &config::written(shape, ends))?;
            if let (Some(json), Some(settings)) = (tokenizer, settings) {
                write(&folder.join("tokenizer.json"), json.as_bytes())?;
                write_json(&folder.join("tokenizer_config.json"), &settings)?;
            }
            Ok(())
        })
    }

    /// The model with some adapters in its weights, each with its forward weight f.
    ///
    /// ```text
    /// W + Σᵢ fᵢ · αᵢ / rᵢ · Bᵢ Aᵢ
    /// ```
    ///
    /// # Errors
    /// Fails where there is no such adapter, or it is another model's.
    pub fn merged(&self, adapters: &Adapters, chosen: &[(&str, f64)]) -> Result<Self, Error> {
        let mut values = self.values().clone();
        for (name, forward) in chosen {
            for (layer, target, product) in adapters.products(name, *forward)? {
                let weight = format!("blocks.{layer}.{}.w", target.name());
                let before =
                    values.get(&weight).filter(|before| before.dims() == product.dims()).ok_or_else(
                        || Error::Adapter(format!("the adapter {name} is another model's: {weight}")),
                    )?;
                let after = (before + product)?;
                values.insert(weight, after);
            }
        }
        Ok(Self::new(self.shape().clone(), values))
    }

    /// The tensors by the names that their family has for them.
    fn theirs(&self) -> Result<BTreeMap<String, Tensor>, Error> {
        let (shape, entries) = (self.shape(), plan::folder(self.shape()));
        let mut all = BTreeMap::new();
        for (name, entries) in plan::by_tensor(&entries) {
            let parts: Result<Vec<Tensor>, Error> =
                entries.iter().map(|entry| Ok(self.value(&entry.ours)?.clone())).collect();
            all.insert(name.to_owned(), plan::joined(&entries, &parts?, shape)?);
        }
        Ok(all)
    }
}

fn tokenizer_config(json: &str, context: usize, ends: &[u32]) -> Result<Value, Error> {
    let path = Path::new("tokenizer.json");
    let tokenizer: Tokenizer = json.parse().map_err(|error| Error::file(path, error))?;
    let end = ends.first().and_then(|end| tokenizer.id_to_token(*end));
    Ok(json!({
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": context,
        "clean_up_tokenization_spaces": false, "bos_token": end, "eos_token": end, "pad_token": end,
    }))
}

/// Writes tensors with the mark that other programs look for.
pub(crate) fn write_tensors(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<(), Error> {
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(tensors, Some(metadata), path).map_err(|error| Error::file(path, error))
}

pub(crate) fn write_json(path: &Path, value: &Value) -> Result<(), Error> {
    write(path, format!("{value:#}\n").as_bytes())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).map_err(|error| Error::file(path, error))
}
