//! Safetensors files that others made: nothing is read before it is known to fit, and one tensor at a time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, Metadata};
use serde::Deserialize;

use crate::Error;

/// No model's header is longer: what is kept of one takes a few times as much memory.
const LONGEST_HEADER: u64 = 8 << 20;

/// Bytes of a tensor that are read and turned into f32 at a time.
const PIECE: usize = 1 << 20;

/// The tensors of one or more files.
pub(crate) struct Files {
    files: Vec<Opened>,
    /// Which file has a tensor.
    places: BTreeMap<String, usize>,
}

struct Opened {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// Where the data begin.
    begin: u64,
}

impl Files {
    /// Reads the headers of a folder's `model.safetensors`, or of the shards that its index names.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let single = folder.join("model.safetensors");
        let index = folder.join("model.safetensors.index.json");
        let paths = if index.exists() && !single.exists() { shards(folder, &index)? } else { vec![single] };
        Self::of(paths)
    }

    /// Reads the headers of these files.
    pub(crate) fn of(paths: Vec<PathBuf>) -> Result<Self, Error> {
        let mut all = Self { files: Vec::new(), places: BTreeMap::new() };
        for path in paths {
            let opened = open(path)?;
            for name in opened.metadata.offset_keys() {
                all.places.insert(name, all.files.len());
            }
            all.files.push(opened);
        }
        Ok(all)
    }

    /// The names of all tensors.
    pub(crate) fn names(&self) -> Vec<String> {
        self.places.keys().cloned().collect()
    }

    /// The shape of a tensor that is here.
    pub(crate) fn dims(&self, name: &str) -> Vec<usize> {
        let file = self.places.get(name).map(|place| &self.files[*place]);
        file.and_then(|file| file.metadata.info(name)).map(|info| info.shape.clone()).unwrap_or_default()
    }

    /// The name that a tensor has here: base models are saved without their first word.
    pub(crate) fn find(&self, name: &str) -> Option<String> {
        let short = name.split_once('.').map_or(name, |(_, rest)| rest);
        [name, short].into_iter().find(|name| self.places.contains_key(*name)).map(str::to_owned)
    }

    /// Refuses a tensor that is not here, or has not the shape `dims` or one of the types that are read.
    pub(crate) fn require(&self, name: &str, dims: &[usize]) -> Result<(), Error> {
        self.known(name, dims).map(|_| ())
    }

    /// Which file has a tensor, and its type and place there.
    fn known(&self, name: &str, dims: &[usize]) -> Result<(usize, DType, u64, usize), Error> {
        let Some(place) = self.places.get(name) else {
            let path = self.files.first().map_or_else(PathBuf::new, |opened| opened.path.clone());
            return Err(Error::file(&path, format!("it lacks {name}")));
        };
        let opened = &self.files[*place];
        let fault = |fault: String| Error::file(&opened.path, fault);
        let info = opened.metadata.info(name).ok_or_else(|| fault(format!("it lacks {name}")))?;
        if info.shape != dims {
            return Err(fault(format!(
                "its {name} has the shape {:?}, config.json says {dims:?}",
                info.shape
            )));
        }
        let dtype = match info.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            other => return Err(fault(format!("its {name} is of type {other:?}, not F32, F16 or BF16"))),
        };
        let (from, to) = info.data_offsets;
        Ok((*place, dtype, opened.begin + from as u64, to - from))
    }

    /// A tensor as f32, which must have the shape `dims`. It takes its own memory and no more.
    pub(crate) fn tensor(&mut self, name: &str, dims: &[usize]) -> Result<Tensor, Error> {
        let (place, dtype, from, bytes) = self.known(name, dims)?;
        let Opened { path, file, .. } = &mut self.files[place];
        let unreadable = |error: std::io::Error| Error::file(path, error);
        file.seek(SeekFrom::Start(from)).map_err(unreadable)?;
        let mut values: Vec<f32> = Vec::with_capacity(bytes / dtype.size_in_bytes());
        let mut piece = vec![0; PIECE.min(bytes)];
        let mut left = bytes;
        while left > 0 {
            let piece = &mut piece[..PIECE.min(left)];
            file.read_exact(piece).map_err(unreadable)?;
            left -= piece.len();
            let count = piece.len() / dtype.size_in_bytes();
            let read = Tensor::from_raw_buffer(piece, dtype, &[count], &Device::Cpu)?.to_dtype(DType::F32)?;
            values.extend(read.to_vec1::<f32>()?);
        }
        Ok(Tensor::from_vec(values, dims, &Device::Cpu)?)
    }
}

/// An index of shards.
#[derive(Deserialize)]
struct Index {
    /// The file of each tensor.
    weight_map: BTreeMap<String, String>,
}

/// The names of the files that an index of shards, `model.safetensors.index.json`, names.
///
/// # Errors
/// Fails where it is none, or names a file that is not beside it.
pub fn shard_names(index: &Path) -> Result<Vec<String>, Error> {
    let bytes = experiment::read_at_most(index, LONGEST_HEADER).map_err(|error| Error::file(index, error))?;
    // nothing else of it is kept
    let index_file: Index = serde_json::from_slice(&bytes).map_err(|error| Error::file(index, error))?;
    let mut names: Vec<String> = index_file.weight_map.into_values().collect();
    names.sort_unstable();
    names.dedup();
    if let Some(name) = names.iter().find(|name| name.contains(['/', '\\']) || *name == "..") {
        return Err(Error::file(index, format!("it names {name:?}, which is no file beside it")));
    }
    Ok(names)
}

/// The files that an index names, each of which must be there.
fn shards(folder: &Path, index: &Path) -> Result<Vec<PathBuf>, Error> {
    let names = shard_names(index)?;
    if let Some(name) = names.iter().find(|name| !folder.join(name).exists()) {
        return Err(Error::file(index, format!("the shard {name} is missing beside it")));
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

fn open(path: PathBuf) -> Result<Opened, Error> {
    let unreadable = |error: std::io::Error| Error::file(&path, error);
    let fault = |fault: String| Error::file(&path, fault);
    let mut file = experiment::open_regular(&path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let mut prefix = [0; 8];
    file.read_exact(&mut prefix).map_err(|_| fault(format!("it is cut short: it has {length} bytes")))?;
    let header = u64::from_le_bytes(prefix);
    if header > LONGEST_HEADER {
        return Err(fault(format!(
            "it says that its header has {header} bytes, at most {LONGEST_HEADER} are read"
        )));
    }
    if header + 8 > length {
        return Err(fault(format!("it is cut short: its header has {header} bytes, the file {length}")));
    }
    let mut bytes = vec![0; header as usize];
    file.read_exact(&mut bytes).map_err(unreadable)?;
    let metadata: Metadata =
        serde_json::from_slice(&bytes).map_err(|error| fault(format!("its header is damaged: {error}")))?;
    let expected = (metadata.data_len() as u64).saturating_add(header + 8);
    if length < expected {
        return Err(fault(format!("it is cut short: it has {length} bytes and should have {expected}")));
    }
    Ok(Opened { path, file, metadata, begin: header + 8 })
}
