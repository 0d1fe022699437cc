//! Where each parameter stands in the list of all, and their values as slices.

use candle_core::{CpuStorage, Storage};
use learning::{Parameters, kernels};

use crate::Error;
use crate::model::{Architecture, Norm};

/// Where a norm's parameters stand.
#[derive(Clone, Debug)]
pub(super) struct NormIndex {
    pub w: usize,
    pub b: Option<usize>,
}

/// Where a dense layer's parameters stand, and its sizes.
#[derive(Clone, Debug)]
pub(super) struct DenseIndex {
    pub w: usize,
    pub b: Option<usize>,
    pub inputs: usize,
    pub outputs: usize,
}

/// Where a block's parameters stand.
#[derive(Clone, Debug)]
pub(super) struct BlockIndex {
    pub ln1: NormIndex,
    pub qkv: DenseIndex,
    pub o: DenseIndex,
    pub ln2: NormIndex,
    pub mlp_in: DenseIndex,
    pub mlp_out: DenseIndex,
}

/// Where all parameters stand, in the order of their names.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Name and number of elements of each.
    pub parameters: Vec<(String, usize)>,
    pub embedding: usize,
    pub unembedding: usize,
    pub positions: Option<usize>,
    pub blocks: Vec<BlockIndex>,
    pub ln_final: NormIndex,
    centred: bool,
    eps: f32,
    /// What stands for a bias that there is not: as many zeros as the widest layer has outputs.
    zeros: Vec<f32>,
}

impl Layout {
    pub(crate) fn new(architecture: &Architecture) -> Self {
        let shapes = architecture.parameters();
        let find = |name: &str| shapes.binary_search_by(|(other, _)| other.as_str().cmp(name)).ok();
        // each of these names is in the list by construction
        let index = |name: &str| find(name).unwrap_or_default();
        let norm = |name: &str| NormIndex { w: index(&format!("{name}.w")), b: find(&format!("{name}.b")) };
        let dense = |module: &str, matrix: &str| {
            let w = index(&format!("{module}.W_{matrix}"));
            let shape = &shapes[w].1;
            let b = find(&format!("{module}.b_{matrix}"));
            DenseIndex { w, b, inputs: shape[0], outputs: shape[1] }
        };
        let block = |layer: usize| {
            let module = |name: &str| format!("blocks.{layer}.{name}");
            BlockIndex {
                ln1: norm(&module("ln1")),
                qkv: dense(&module("attn"), "QKV"),
                o: dense(&module("attn"), "O"),
                ln2: norm(&module("ln2")),
                mlp_in: dense(&module("mlp"), "in"),
                mlp_out: dense(&module("mlp"), "out"),
            }
        };
        let blocks: Vec<BlockIndex> = (0..architecture.n_layer).map(block).collect();
        let layers = blocks.iter().flat_map(|block| [&block.qkv, &block.o, &block.mlp_in, &block.mlp_out]);
        let zeros = layers.filter(|layer| layer.b.is_none()).map(|layer| layer.outputs).max().unwrap_or(0);
        Self {
            embedding: index("embed.W_E"),
            unembedding: index(architecture.unembedding()),
            positions: find("pos_embed.W_pos"),
            ln_final: norm("ln_final"),
            blocks,
            centred: architecture.norm == Norm::LayerNorm,
            eps: architecture.norm_eps as f32,
            zeros: vec![0.0; zeros],
            parameters: shapes.into_iter().map(|(name, shape)| (name, shape.iter().product())).collect(),
        }
    }
}

/// The values of all parameters, in the order of their names.
pub(super) struct Weights<'a> {
    layout: &'a Layout,
    slices: Vec<&'a [f32]>,
}

impl<'a> Weights<'a> {
    pub(crate) fn get(&self, index: usize) -> &'a [f32] {
        self.slices[index]
    }

    /// The bias of a layer, zeros where it has none.
    pub(crate) fn bias(&self, layer: &DenseIndex) -> &'a [f32] {
        match layer.b {
            Some(b) => self.get(b),
            None => &self.layout.zeros[..layer.outputs],
        }
    }

    pub(crate) fn norm(&self, norm: &NormIndex) -> kernels::Norm<'a> {
        let Layout { centred, eps, .. } = *self.layout;
        kernels::Norm { w: self.get(norm.w), b: norm.b.map(|b| self.get(b)), centred, eps }
    }
}

/// Calls `work` with the values of `parameters`, which must be contiguous `f32` on the CPU.
pub(super) fn with_weights<T>(
    layout: &Layout,
    parameters: &Parameters,
    work: impl FnOnce(&Weights<'_>) -> T,
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
    Ok(work(&Weights { layout, slices }))
}

fn unfit(name: &str) -> Error {
    Error::Parameter(name.to_owned())
}
