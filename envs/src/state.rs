//! What changes over time in a batch, as a struct of arrays.

use ndarray::{Array, Array1, Array2, Dimension};
use serde::{Deserialize, Serialize};

use crate::grid::{Grid, Placement, set_bits};
use crate::stream::{Stream, stream};
use crate::{EnvConfig, EnvError, EnvId, Layout};

/// Everything that changes over time in a batch of a gridworld, random streams included.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct GridState {
    id: EnvId,
    rows: usize,
    cols: usize,
    /// `[n]`, cells.
    agent: Array1<u16>,
    /// `[n]`, cells.
    ghost: Array1<u16>,
    /// `[n]`, cells.
    diamond: Array1<u16>,
    /// `[n]`, actions taken in the episode so far.
    step: Array1<u32>,
    /// `[n, words]`, the oversight bits: cell `c` is bit `c % 64` of word `c / 64`.
    bits: Array2<u64>,
    /// `[n]`.
    streams: Array1<Stream>,
}

/// A run of environments of a batch, to be changed.
pub(crate) struct Lanes<'a> {
    pub agent: &'a mut [u16],
    pub ghost: &'a mut [u16],
    pub diamond: &'a mut [u16],
    pub step: &'a mut [u32],
    pub bits: &'a mut [u64],
    pub streams: &'a mut [Stream],
}

impl GridState {
    /// A state with the streams of the environments `first..first + n` and with nothing placed yet.
    pub(crate) fn new(config: &EnvConfig, words: usize, first: usize, n: usize, seed: u64) -> Self {
        Self {
            id: config.id,
            rows: config.rows,
            cols: config.cols,
            agent: Array1::zeros(n),
            ghost: Array1::zeros(n),
            diamond: Array1::zeros(n),
            step: Array1::zeros(n),
            bits: Array2::zeros((n, words)),
            streams: Array1::from_shape_fn(n, |i| stream(seed, first + i)),
        }
    }

    /// The number of environments.
    pub(crate) fn num_envs(&self) -> usize {
        self.agent.len()
    }

    /// Starts every stream anew.
    pub(crate) fn seed(&mut self, first: usize, seed: u64) {
        for (i, generator) in self.streams.iter_mut().enumerate() {
            *generator = stream(seed, first + i);
        }
    }

    /// All environments.
    pub(crate) fn lanes(&mut self) -> Lanes<'_> {
        Lanes {
            agent: flat(&mut self.agent),
            ghost: flat(&mut self.ghost),
            diamond: flat(&mut self.diamond),
            step: flat(&mut self.step),
            bits: flat(&mut self.bits),
            streams: flat(&mut self.streams),
        }
    }

    /// Where the objects of environment `i` are.
    pub(crate) fn placement(&self, i: usize) -> Placement {
        Placement { agent: self.agent[i], ghost: self.ghost[i], diamond: self.diamond[i] }
    }

    /// The oversight bits of environment `i`.
    pub(crate) fn bits(&self, i: usize) -> &[u64] {
        self.bits.row(i).to_slice().expect("an array made here, or read by serde, is contiguous and in order")
    }

    /// Where everything is in environment `i`.
    pub(crate) fn layout(&self, i: usize) -> Layout {
        Layout {
            rows: self.rows,
            cols: self.cols,
            agent: usize::from(self.agent[i]),
            ghost: usize::from(self.ghost[i]),
            diamond: usize::from(self.diamond[i]),
            oversight: set_bits(self.bits(i)).collect(),
            step: self.step[i],
        }
    }

    /// Puts everything in environment `i` where a layout that was checked says.
    pub(crate) fn set_layout(&mut self, i: usize, layout: &Layout) {
        let placement = layout.placement();
        (self.agent[i], self.ghost[i], self.diamond[i]) =
            (placement.agent, placement.ghost, placement.diamond);
        self.step[i] = layout.step;
        self.bits.row_mut(i).iter_mut().zip(layout.bits()).for_each(|(word, bits)| *word = bits);
    }

    /// Whether a batch of `n` environments can go on from here.
    pub(crate) fn check(&self, config: &EnvConfig, grid: &Grid, n: usize) -> Result<(), EnvError> {
        let fail = |reason| Err(EnvError::State { reason });
        if (self.id, self.rows, self.cols) != (config.id, config.rows, config.cols) {
            return fail(format!(
                "it is of {} with {} × {} cells, the batch of {} with {} × {}",
                self.id, self.rows, self.cols, config.id, config.rows, config.cols
            ));
        }
        let lens =
            [self.agent.len(), self.ghost.len(), self.diamond.len(), self.step.len(), self.streams.len()];
        if lens != [n; 5] || self.bits.dim() != (n, grid.words()) {
            return fail(format!("it holds {lens:?} environments, the batch {n}"));
        }
        for i in 0..n {
            if let Err(fault) = self.layout(i).check(config) {
                return fail(format!("environment {i}: {fault}"));
            }
        }
        Ok(())
    }
}

impl<'a> Lanes<'a> {
    pub(crate) fn len(&self) -> usize {
        self.agent.len()
    }

    /// Where the objects of environment `i` are.
    #[inline]
    pub(crate) fn placement(&self, i: usize) -> Placement {
        Placement { agent: self.agent[i], ghost: self.ghost[i], diamond: self.diamond[i] }
    }

    /// The first `mid` environments and the rest.
    pub(crate) fn split_at(self, mid: usize, words: usize) -> (Lanes<'a>, Lanes<'a>) {
        let agent = self.agent.split_at_mut(mid);
        let ghost = self.ghost.split_at_mut(mid);
        let diamond = self.diamond.split_at_mut(mid);
        let step = self.step.split_at_mut(mid);
        let bits = self.bits.split_at_mut(mid * words);
        let streams = self.streams.split_at_mut(mid);
        (
            Lanes {
                agent: agent.0,
                ghost: ghost.0,
                diamond: diamond.0,
                step: step.0,
                bits: bits.0,
                streams: streams.0,
            },
            Lanes {
                agent: agent.1,
                ghost: ghost.1,
                diamond: diamond.1,
                step: step.1,
                bits: bits.1,
                streams: streams.1,
            },
        )
    }
}

/// The elements of an array that owns them, in order.
fn flat<T, D: Dimension>(array: &mut Array<T, D>) -> &mut [T] {
    array.as_slice_mut().expect("an array made here, or read by serde, is contiguous and in order")
}
