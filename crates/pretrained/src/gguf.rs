//! GGUF files of Llama and Qwen2 models; what is quantised becomes f32.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{DType, Device, Tensor};

use crate::shape::{Family, Shape};
use crate::{Error, gguf_header};

/// An open file.
pub(crate) struct Gguf {
    reader: BufReader<File>,
    /// Bytes of the file.
    length: u64,
    content: Content,
}

impl Gguf {
    /// Reads everything before the data.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = experiment::open_regular(path).map_err(|error| Error::file(path, error))?;
        let length = file.metadata().map_err(|error| Error::file(path, error))?.len();
        let mut reader = BufReader::new(file);
        gguf_header::require_bounded(&mut reader, length).map_err(|fault| Error::file(path, fault))?;
        let content = Content::read(&mut reader).map_err(|error| {
            Error::file(path, format!("it is no GGUF file, or cut short: {}", first_line(&error)))
        })?;
        Ok(Self { reader, length, content })
    }

    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(key)
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.value(key)?.to_string().ok().map(String::as_str)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(name)
    }

    /// The shape that the metadata say.
    pub(crate) fn shape(&self) -> Result<Shape, String> {
        let kind = self.text("general.architecture").ok_or("it does not say its architecture")?;
        let family = match kind {
            "llama" => Family::Llama,
            "qwen2" => Family::Qwen2,
            other => {
                return Err(format!("its architecture is \"{other}\", and only llama and qwen2 can be read"));
            }
        };
        let key = |key: &str| format!("{kind}.{key}");
        let number = |name: &str| self.value(&key(name)).and_then(|value| as_u64(value).map(|n| n as usize));
        let size = |name: &str| number(name).ok_or_else(|| format!("it has no {}", key(name)));
        let real = |name: &str| self.value(&key(name)).and_then(|value| value.to_f32().ok()).map(f64::from);
        let (n_embd, n_head, n_layer) =
            (size("embedding_length")?, size("attention.head_count")?, size("block_count")?);
        if n_layer > 1 << 10 || n_head == 0 || !n_embd.is_multiple_of(n_head) {
            return Err(format!("{n_layer} blocks of {n_head} heads for {n_embd} channels cannot be"));
        }
        if self.value(&key("rope.scaling.type")).is_some() || self.has("rope_freqs.weight") {
            return Err("its rotary positions are scaled, which cannot be read".to_owned());
        }
        let vocab_size = match self.content.tensor_infos.get("token_embd.weight") {
            Some(info) => info.shape.dims().first().copied().unwrap_or(0),
            None => return Err("it lacks token_embd.weight".to_owned()),
        };
        let head_width = number("attention.key_length").unwrap_or(n_embd / n_head);
        let shape = Shape {
            family,
            n_layer,
            n_head,
            n_kv_head: number("attention.head_count_kv").unwrap_or(n_head),
            head_width,
            n_embd,
            d_mlp: size("feed_forward_length")?,
            vocab_size,
            context: size("context_length")?,
            norm_eps: real("attention.layer_norm_rms_epsilon").unwrap_or(1e-5),
            rope_theta: real("rope.freq_base").unwrap_or(10_000.0),
            rotary_width: head_width,
            parallel: false,
            tied: !self.has("output.weight"),
            windows: vec![None; n_layer],
        };
        shape.check()?;
        Ok(shape)
    }

    /// Refuses a tensor that is not here, has not the shape `dims` or reaches past the end of the file.
    pub(crate) fn require(&self, path: &Path, name: &str, dims: &[usize]) -> Result<(), Error> {
        let fault = |fault: String| Error::file(path, fault);
        let Some(info) = self.content.tensor_infos.get(name) else {
            return Err(fault(format!("it lacks {name}")));
        };
        let found = info.shape.dims();
        if found != dims {
            return Err(fault(format!("its {name} has the shape {found:?}, its sizes say {dims:?}")));
        }
        let blocks = info.shape.elem_count().div_ceil(info.ggml_dtype.block_size()) as u64;
        let end = (self.content.tensor_data_offset.saturating_add(info.offset))
            .saturating_add(blocks.saturating_mul(info.ggml_dtype.type_size() as u64));
        if end > self.length {
            return Err(fault(format!(
                "it is cut short: it has {} bytes, and {name} ends at {end}",
                self.length
            )));
        }
        Ok(())
    }

    /// A tensor as f32, which must have the shape `dims`.
    pub(crate) fn tensor(&mut self, path: &Path, name: &str, dims: &[usize]) -> Result<Tensor, Error> {
        self.require(path, name, dims)?;
        let info = &self.content.tensor_infos[name];
        let offset = self.content.tensor_data_offset;
        let tensor = info.read(&mut self.reader, offset, &Device::Cpu).map_err(|error| {
            Error::file(path, format!("its {name} cannot be read: {}", first_line(&error)))
        })?;
        Ok(tensor.dequantize(&Device::Cpu)?.to_dtype(DType::F32)?)
    }
}

fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

fn as_u64(value: &Value) -> Option<u64> {
    value.to_u32().map(u64::from).or_else(|_| value.to_u64()).ok()
}
