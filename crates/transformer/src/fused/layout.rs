//! Where each parameter stands in the list of all, and their values as slices.

use candle_core::{CpuStorage, Storage};
use learning::Parameters;

use crate::Error;
use crate::model::Architecture;

/// Indices of a norm's parameters.
#[derive(Clone, Debug)]
pub(super) struct NormIndex {
    pub w: usize,
    pub b: Option<usize>,
}

/// Indices of a block's parameters.
#[derive(Clone, Debug)]
pub(super) struct BlockIndex {
    pub ln1: NormIndex,
    pub w_qkv: usize,
    pub b_qkv: usize,
    pub w_o: usize,
    pub b_o: usize,
    pub ln2: NormIndex,
    pub w_in: usize,
    pub b_in: usize,
    pub w_out: usize,
    pub b_out: usize,
    pub neurons: usize,
}

/// Indices of all parameters, in the order of their names.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Name and number of elements of each.
    pub parameters: Vec<(String, usize)>,
    pub embedding: usize,
    pub unembedding: usize,
    pub positions: Option<usize>,
    pub blocks: Vec<BlockIndex>,
    pub ln_final: NormIndex,
}

impl Layout {
    pub fn new(architecture: &Architecture) -> Self {
        let parameters: Vec<(String, usize)> = architecture
            .parameters()
            .into_iter()
            .map(|(name, shape)| (name, shape.iter().product()))
            .collect();
        let find = |name: &str| parameters.binary_search_by(|(other, _)| other.as_str().cmp(name)).ok();
        // each of these names is in the list by construction
        let index = |name: &str| find(name).unwrap_or_default();
        let norm = |name: &str| NormIndex { w: index(&format!("{name}.w")), b: find(&format!("{name}.b")) };
        let blocks = architecture
            .mlp_widths
            .iter()
            .enumerate()
            .map(|(layer, neurons)| {
                let block = |name: &str| index(&format!("blocks.{layer}.{name}"));
                BlockIndex {
                    ln1: norm(&format!("blocks.{layer}.ln1")),
                    w_qkv: block("attn.W_QKV"),
                    b_qkv: block("attn.b_QKV"),
                    w_o: block("attn.W_O"),
                    b_o: block("attn.b_O"),
                    ln2: norm(&format!("blocks.{layer}.ln2")),
                    w_in: block("mlp.W_in"),
                    b_in: block("mlp.b_in"),
                    w_out: block("mlp.W_out"),
                    b_out: block("mlp.b_out"),
                    neurons: *neurons,
                }
            })
            .collect();
        Self {
            embedding: index("embed.W_E"),
            unembedding: index(architecture.unembedding()),
            positions: find("pos_embed.W_pos"),
            blocks,
            ln_final: norm("ln_final"),
            parameters,
        }
    }
}

/// The values of all parameters, in the order of their names.
pub(super) struct Weights<'a> {
    slices: Vec<&'a [f32]>,
}

impl<'a> Weights<'a> {
    pub fn get(&self, index: usize) -> &'a [f32] {
        self.slices[index]
    }
}

/// Calls `work` with the values of `parameters`, which must be contiguous `f32` on the CPU.
pub(super) fn with_weights<T>(
    layout: &Layout,
    parameters: &Parameters,
    work: impl FnOnce(&Weights<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut held = Vec::with_capacity(layout.parameters.len());
    for (name, len) in &layout.parameters {
        let (storage, shape) = parameters.get(name)?.storage_and_layout();
        let range = shape.contiguous_offsets().filter(|(start, end)| end - start == *len);
        held.push((storage, range.ok_or_else(|| unfit(name))?));
    }
    let slices = layout
        .parameters
        .iter()
        .zip(&held)
        .map(|((name, _), (storage, (start, end)))| match &**storage {
            Storage::Cpu(CpuStorage::F32(values)) => Ok(&values[*start..*end]),
            _ => Err(unfit(name)),
        })
        .collect::<Result<Vec<_>, Error>>()?;
    work(&Weights { slices })
}

fn unfit(name: &str) -> Error {
    Error::Parameter(name.to_owned())
}
