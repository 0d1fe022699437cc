//! Checkpoints: safetensors files with a JSON header and checksums.
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use crc32c::crc32c;
use safetensors::tensor::{Dtype, Metadata, View};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::atomic::write_held;
use crate::error::RunError;
use crate::hold::Hold;
use crate::opening::open_regular;

/// The key of the file's `__metadata__` that holds our header. It is the only one: the library writes several
/// in any order.
const KEY: &str = "signalbox";
/// Counts up with each change that older programs cannot read.
const FORMAT: u32 = 1;
/// A longer header is refused before any of it is read.
const LONGEST_HEADER: u64 = 16 << 20;

/// Named tensors and a JSON object about them: all that a run needs to go on.
///
/// On disk it is a safetensors file, so that other programs can read the tensors. Its `__metadata__` holds the
/// header and a checksum over header, names, types, shapes and data. The same content gives the same bytes.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("update-000001.safetensors");
/// use candle_core::{Device, Tensor};
/// use experiment::Checkpoint;
///
/// let weight = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
/// let checkpoint = Checkpoint {
///     header: serde_json::json!({"update": 1}),
///     tensors: [("actor.weight".to_owned(), weight)].into(),
/// };
/// checkpoint.save(&path)?;
/// let loaded = Checkpoint::load(&path, &Device::Cpu)?;
/// assert_eq!(loaded.header["update"], 1);
/// assert_eq!(loaded.tensors["actor.weight"].dims(), [2, 2]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// A JSON object of any content: counters, schedules, the state of the random streams.
    pub header: Value,
    /// The tensors by name, of type `f32`, `f64`, `u8`, `u32` or `i64`.
    pub tensors: BTreeMap<String, Tensor>,
}

/// What stands under [`KEY`].
#[derive(Serialize, Deserialize)]
struct Envelope {
    format: u32,
    crc32c: String,
    header: Value,
}

/// The bytes of one tensor on their way to the file.
struct Bytes {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl View for &Bytes {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }
    fn data_len(&self) -> usize {
        self.data.len()
    }
}

impl Checkpoint {
    /// Writes the checkpoint, atomically.
    ///
    /// # Errors
    /// [`RunError::Write`] where the disk refuses; [`RunError::Unsavable`] for a tensor of another type or
    /// name than a file can hold; [`RunError::Tensor`] where a tensor cannot be copied from its device.
    pub fn save(&self, path: &Path) -> Result<(), RunError> {
        self.save_held(path, None)
    }

    /// [`Checkpoint::save`] into a run folder that is held.
    ///
    /// # Errors
    /// As [`Checkpoint::save`], and [`RunError::Moved`].
    pub(crate) fn save_held(&self, path: &Path, hold: Option<&Hold>) -> Result<(), RunError> {
        let fault = |fault: String| RunError::Unsavable { path: path.to_owned(), fault };
        if self.tensors.contains_key("__metadata__") {
            return Err(fault(
                "a tensor cannot be named `__metadata__`, which the file format needs for itself".into(),
            ));
        }
        if !self.header.is_object() {
            return Err(fault("its header must be a JSON object".into()));
        }
        let mut table = self.header.to_string();
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for (name, tensor) in &self.tensors {
            let dtype = stored_as(tensor.dtype()).ok_or_else(|| {
                fault(format!("the tensor `{name}` is of type {:?}; {TYPES}", tensor.dtype()))
            })?;
            let data = to_bytes(tensor).map_err(|source| RunError::Tensor {
                path: path.to_owned(),
                name: name.clone(),
                source: Box::new(source),
            })?;
            let bytes = Bytes { dtype, shape: tensor.dims().to_vec(), data };
            add_row(&mut table, name, dtype, &bytes.shape, &bytes.data);
            tensors.push((name, bytes));
        }
        let envelope = Envelope { format: FORMAT, crc32c: checksum(&table), header: self.header.clone() };
        let envelope = serde_json::to_string(&envelope)
            .map_err(|source| RunError::Json { path: path.to_owned(), source })?;
        // nested more deeply than the parser follows, it would be lost only when it is needed
        serde_json::from_str::<Envelope>(&envelope)
            .map_err(|error| fault(format!("its header could not be read back: {error}")))?;
        let metadata = HashMap::from([(KEY.to_owned(), envelope)]);
        let views = tensors.iter().map(|(name, bytes)| (name.as_str(), bytes));
        let bytes =
            safetensors::serialize(views, Some(metadata)).map_err(|error| fault(format!("{error}")))?;
        if header_length(&bytes).is_none_or(|length| length > LONGEST_HEADER) {
            return Err(fault(format!(
                "its header is longer than {} MiB; keep large state in tensors",
                LONGEST_HEADER >> 20
            )));
        }
        write_held(path, &bytes, hold)
    }

    /// Reads a checkpoint onto a device. Memory is bounded by the size of the file.
    ///
    /// # Errors
    /// [`RunError::Read`] where the file cannot be read; [`RunError::Checkpoint`] where it is cut short,
    /// damaged, or not one of ours; [`RunError::Tensor`] where the device cannot take a tensor.
    pub fn load(path: &Path, device: &Device) -> Result<Self, RunError> {
        let fault = |fault: String| RunError::Checkpoint { path: path.to_owned(), fault };
        let unreadable = |source| RunError::Read { path: path.to_owned(), source };
        let mut file = open_regular(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let Opened { metadata, envelope } = open(&mut file, length).map_err(|error| match error {
            Refused::Io(source) => unreadable(source),
            Refused::Fault(text) => fault(text),
        })?;

        let mut tensors = BTreeMap::new();
        let mut rows = BTreeMap::new();
        for name in metadata.offset_keys() {
            let Some(info) = metadata.info(&name) else { continue };
            let dtype = read_as(info.dtype).ok_or_else(|| {
                fault(format!("holds the tensor {name:?} of type {:?}; {TYPES}", info.dtype))
            })?;
            let mut data = vec![0; info.data_offsets.1 - info.data_offsets.0];
            file.read_exact(&mut data).map_err(unreadable)?;
            let mut row = String::new();
            add_row(&mut row, &name, info.dtype, &info.shape, &data);
            rows.insert(name.clone(), row);
            let tensor = Tensor::from_raw_buffer(&data, dtype, &info.shape, device).map_err(|source| {
                RunError::Tensor { path: path.to_owned(), name: name.clone(), source: Box::new(source) }
            })?;
            tensors.insert(name, tensor);
        }
        let mut table = envelope.header.to_string();
        table.extend(rows.into_values());
        if checksum(&table) != envelope.crc32c {
            return Err(fault("is damaged: its checksum does not match its content".into()));
        }
        Ok(Self { header: envelope.header, tensors })
    }
}

impl Checkpoint {
    /// Refuses a state of a run that nobody could go on from or score: NaN or infinity in a tensor, or an optimizer
    /// that has taken fewer than zero steps (`steps.NAME` or `….steps.NAME`, of type `i64`). A file can hold both, a run
    /// writes neither.
    ///
    /// # Errors
    /// [`RunError::Checkpoint`] naming `path` and the first such tensor.
    pub fn require_sound(&self, path: &Path) -> Result<(), RunError> {
        for (name, tensor) in &self.tensors {
            let fault = fault_of(name, tensor).map_err(|source| RunError::Tensor {
                path: path.to_owned(),
                name: name.clone(),
                source: Box::new(source),
            })?;
            if let Some(fault) = fault {
                let fault = format!("is of no use: its tensor {name:?} holds {fault}");
                return Err(RunError::Checkpoint { path: path.to_owned(), fault });
            }
        }
        Ok(())
    }
}

/// What a tensor holds that no state of a run does.
fn fault_of(name: &str, tensor: &Tensor) -> candle_core::Result<Option<&'static str>> {
    if tensor.dtype() == DType::I64 && name.split('.').any(|word| word == "steps") {
        let negative = tensor.flatten_all()?.to_vec1::<i64>()?.iter().any(|count| *count < 0);
        return Ok(negative.then_some("a count below zero"));
    }
    Ok((!is_finite(tensor)?).then_some("NaN or infinity"))
}

/// Whether every value is a number.
pub(crate) fn is_finite(tensor: &Tensor) -> candle_core::Result<bool> {
    Ok(match tensor.dtype() {
        DType::F32 => tensor.flatten_all()?.to_vec1::<f32>()?.iter().all(|value| value.is_finite()),
        DType::F64 => tensor.flatten_all()?.to_vec1::<f64>()?.iter().all(|value| value.is_finite()),
        _ => true,
    })
}

const TYPES: &str = "checkpoints hold f32, f64, u8, u32 and i64";

fn stored_as(dtype: DType) -> Option<Dtype> {
    Some(match dtype {
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        DType::U8 => Dtype::U8,
        DType::U32 => Dtype::U32,
        DType::I64 => Dtype::I64,
        _ => return None,
    })
}

fn read_as(dtype: Dtype) -> Option<DType> {
    [DType::F32, DType::F64, DType::U8, DType::U32, DType::I64]
        .into_iter()
        .find(|candidate| stored_as(*candidate) == Some(dtype))
}

/// The values in row-major order, little-endian.
fn to_bytes(tensor: &Tensor) -> candle_core::Result<Vec<u8>> {
    let flat = tensor.flatten_all()?;
    Ok(match tensor.dtype() {
        DType::F64 => flat.to_vec1::<f64>()?.into_iter().flat_map(f64::to_le_bytes).collect(),
        DType::U8 => flat.to_vec1::<u8>()?,
        DType::U32 => flat.to_vec1::<u32>()?.into_iter().flat_map(u32::to_le_bytes).collect(),
        DType::I64 => flat.to_vec1::<i64>()?.into_iter().flat_map(i64::to_le_bytes).collect(),
        _ => flat.to_vec1::<f32>()?.into_iter().flat_map(f32::to_le_bytes).collect(),
    })
}

/// What the checksum covers of one tensor. Rows are joined in the order of the names, after the header.
fn add_row(table: &mut String, name: &str, dtype: Dtype, shape: &[usize], data: &[u8]) {
    // writing into a string cannot fail
    write!(table, "\n{name:?} {dtype:?} {shape:?} {:08x}", crc32c(data)).ok();
}

fn checksum(table: &str) -> String {
    format!("{:08x}", crc32c(table.as_bytes()))
}

/// A file whose header fits its length; the data comes next.
struct Opened {
    metadata: Metadata,
    envelope: Envelope,
}

enum Refused {
    Io(io::Error),
    Fault(String),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The length of the header, which the first eight bytes of a file give.
fn header_length(file: &[u8]) -> Option<u64> {
    file.first_chunk().map(|prefix| u64::from_le_bytes(*prefix))
}

/// Reads and checks everything before the data, of a file of `length` bytes.
fn open(file: &mut impl Read, length: u64) -> Result<Opened, Refused> {
    let refused = |text: &str| Refused::Fault(text.to_owned());
    let not_ours =
        || refused("is not a Signalbox checkpoint, which is a safetensors file with a header of its own");
    if length < 8 {
        return Err(refused(&format!("is cut short: it has {length} bytes")));
    }
    let mut prefix = [0; 8];
    file.read_exact(&mut prefix)?;
    let header_length = u64::from_le_bytes(prefix);
    if header_length > LONGEST_HEADER {
        return Err(not_ours());
    }
    if header_length > length - 8 {
        return Err(refused(&format!(
            "is cut short: its header has {header_length} bytes, the file {length}"
        )));
    }
    let mut header = vec![0; header_length as usize];
    file.read_exact(&mut header)?;
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| {
        // one flipped byte does not make it someone else's
        let ours = header.windows(KEY.len()).any(|window| window == KEY.as_bytes());
        if ours { refused(&format!("has a damaged header: {error}")) } else { not_ours() }
    })?;
    let envelope = metadata.metadata().as_ref().and_then(|entries| entries.get(KEY)).ok_or_else(not_ours)?;
    let envelope: Envelope =
        serde_json::from_str(envelope).map_err(|error| refused(&format!("has a damaged header: {error}")))?;
    if !envelope.header.is_object() {
        return Err(refused("has a damaged header: it is not a JSON object"));
    }
    if envelope.format != FORMAT {
        return Err(refused(&format!(
            "has format {}, this program reads format {FORMAT}: use the version that wrote it",
            envelope.format
        )));
    }
    // a shape such as [0, 2⁴⁰, 2⁴⁰] has no elements and would still overflow its strides
    let fits = |shape: &[usize]| {
        shape.iter().filter(|size| **size > 0).try_fold(1_usize, |n, size| n.checked_mul(*size))
    };
    if let Some((name, info)) = metadata.tensors().iter().find(|(_, info)| fits(&info.shape).is_none()) {
        return Err(refused(&format!("is damaged: its tensor {name:?} has the shape {:?}", info.shape)));
    }
    let expected = (metadata.data_len() as u64).saturating_add(8 + header_length);
    if length != expected {
        let what = if length < expected { "is cut short" } else { "has something after its end" };
        return Err(refused(&format!("{what}: it has {length} bytes and should have {expected}")));
    }
    Ok(Opened { metadata, envelope })
}
