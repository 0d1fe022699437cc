//! What a pass over a frozen model is made of, each with a backward pass of its own on the CPU in `f32`: candle's
//! primitives would keep a tensor for each of their steps, and would compute gradients of matrices that are never moved.
//!
//! All of them run on the threads of the pool they are called in.

mod attention;
mod gated;
mod linear;
mod lora;
mod loss;
mod norm;
#[cfg(test)]
mod tests;

use std::ops::{Deref, Range};

use candle_core::{CpuStorage, Layout, Result, Storage, StorageRef, Tensor};

pub(crate) use attention::{AttentionSizes, attention};
pub(crate) use gated::silu_times;
pub(crate) use linear::linear;
pub(crate) use lora::{RowWeights, low_rank};
pub(crate) use loss::{Targets, loss};
pub(crate) use norm::{NormWeights, norm};

/// The numbers of a contiguous tensor of `f32` on the CPU.
pub(crate) struct Numbers<'a> {
    storage: StorageRef<'a>,
    range: Range<usize>,
}

impl<'a> Numbers<'a> {
    pub(crate) fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        let range = match &*storage {
            Storage::Cpu(cpu) => range_of(cpu, layout)?,
            _ => candle_core::bail!("this pass runs on the CPU alone"),
        };
        Ok(Self { storage, range })
    }
}

impl Deref for Numbers<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.range.clone()],
            _ => &[],
        }
    }
}

fn range_of(storage: &CpuStorage, layout: &Layout) -> Result<Range<usize>> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(_), Some((from, to))) => Ok(from..to),
        _ => candle_core::bail!("this pass takes contiguous tensors of f32"),
    }
}

/// The numbers of an argument of a forward pass.
fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let range = range_of(storage, layout)?;
    match storage {
        CpuStorage::F32(values) => Ok(&values[range]),
        _ => Ok(&[]),
    }
}

/// The gradient of an argument of a forward pass.
fn gradient_of(argument: &Tensor, values: Vec<f32>) -> Result<Option<Tensor>> {
    Tensor::from_vec(values, argument.shape(), argument.device()).map(Some)
}

/// Rows for each thread of the pool.
fn rows_each(rows: usize) -> usize {
    rows.div_ceil(rayon::current_num_threads()).max(1)
}
