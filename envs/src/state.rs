//! What changes over time in a batch, as a struct of arrays.

use ndarray::{Array, Array1, Array2, Dimension};
use serde::{Deserialize, Serialize};

use crate::grid::{Grid, Placement, set_bits};
use crate::stream::{Stream, stream};
use crate::{EnvConfig, EnvError, EnvId, Layout};

/// Everything that changes over time in a batch of a gridworld with K kinds, random streams included.
#[derive(Clone, Debug)]
pub(crate) struct GridState<const K: usize> {
    id: EnvId,
    rows: usize,
    cols: usize,
    /// `[n]`, cells.
    agent: Array1<u16>,
    /// For each kind `[n]`, cells.
    terminals: [Array1<u16>; K],
    /// `[n]`, actions taken in the episode so far.
    step: Array1<u32>,
    /// `[n, words]`, the oversight bits: cell `c` is bit `c % 64` of word `c / 64`.
    bits: Array2<u64>,
    /// `[n]`.
    streams: Array1<Stream>,
}

/// A state as it is written: the first two kinds by the names of the paper, further ones after them.
#[derive(Serialize, Deserialize)]
pub(crate) struct Saved {
    id: EnvId,
    rows: usize,
    cols: usize,
    agent: Array1<u16>,
    ghost: Array1<u16>,
    diamond: Array1<u16>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<Array1<u16>>,
    step: Array1<u32>,
    bits: Array2<u64>,
    streams: Array1<Stream>,
}

/// A run of environments of a batch, to be changed.
pub(crate) struct Lanes<'a, const K: usize> {
    pub agent: &'a mut [u16],
    pub terminals: [&'a mut [u16]; K],
    pub step: &'a mut [u32],
    pub bits: &'a mut [u64],
    pub streams: &'a mut [Stream],
}

impl<const K: usize> GridState<K> {
    /// A state with the streams of the environments `first..first + n` and with nothing placed yet.
    pub(crate) fn new(config: &EnvConfig, words: usize, first: usize, n: usize, seed: u64) -> Self {
        Self {
            id: config.id,
            rows: config.rows,
            cols: config.cols,
            agent: Array1::zeros(n),
            terminals: std::array::from_fn(|_| Array1::zeros(n)),
            step: Array1::zeros(n),
            bits: Array2::zeros((n, words)),
            streams: Array1::from_shape_fn(n, |i| stream(seed, first + i)),
        }
    }

    /// As it is written.
    pub(crate) fn save(&self) -> Saved {
        let Self { id, rows, cols, agent, terminals, step, bits, streams } = self.clone();
        let mut terminals = terminals.into_iter();
        Saved {
            id,
            rows,
            cols,
            agent,
            diamond: terminals.next().unwrap_or_default(),
            ghost: terminals.next().unwrap_or_default(),
            others: terminals.collect(),
            step,
            bits,
            streams,
        }
    }

    /// What was written.
    pub(crate) fn of(saved: Saved) -> Result<Self, EnvError> {
        let Saved { id, rows, cols, agent, ghost, diamond, others, step, bits, streams } = saved;
        let terminals: Vec<Array1<u16>> = [diamond, ghost].into_iter().chain(others).collect();
        let terminals = <[Array1<u16>; K]>::try_from(terminals).map_err(|found| EnvError::State {
            reason: format!("it has {} kinds of terminals, the batch {K}", found.len()),
        })?;
        Ok(Self { id, rows, cols, agent, terminals, step, bits, streams })
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
    pub(crate) fn lanes(&mut self) -> Lanes<'_, K> {
        Lanes {
            agent: flat(&mut self.agent),
            terminals: self.terminals.each_mut().map(flat),
            step: flat(&mut self.step),
            bits: flat(&mut self.bits),
            streams: flat(&mut self.streams),
        }
    }

    /// Where the objects of environment `i` are.
    pub(crate) fn placement(&self, i: usize) -> Placement<K> {
        Placement { agent: self.agent[i], terminals: self.terminals.each_ref().map(|cells| cells[i]) }
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
            terminals: self.terminals.iter().map(|cells| usize::from(cells[i])).collect(),
            oversight: set_bits(self.bits(i)).collect(),
            step: self.step[i],
        }
    }

    /// Puts everything in environment `i` where a layout that was checked says.
    pub(crate) fn set_layout(&mut self, i: usize, layout: &Layout) {
        self.agent[i] = layout.agent as u16;
        for (cells, terminal) in self.terminals.iter_mut().zip(&layout.terminals) {
            cells[i] = *terminal as u16;
        }
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
        let lens = [self.agent.len(), self.step.len(), self.streams.len()];
        let terminals = self.terminals.each_ref().map(Array1::len);
        if lens != [n; 3] || terminals != [n; K] || self.bits.dim() != (n, grid.words()) {
            return fail(format!("it holds {lens:?} and {terminals:?} environments, the batch {n}"));
        }
        for i in 0..n {
            if let Err(fault) = self.layout(i).check(config) {
                return fail(format!("environment {i}: {fault}"));
            }
        }
        Ok(())
    }
}

impl<'a, const K: usize> Lanes<'a, K> {
    pub(crate) fn len(&self) -> usize {
        self.agent.len()
    }

    /// Where the objects of environment `i` are.
    #[inline]
    pub(crate) fn placement(&self, i: usize) -> Placement<K> {
        Placement { agent: self.agent[i], terminals: self.terminals.each_ref().map(|cells| cells[i]) }
    }

    /// Puts the objects of environment `i` there.
    #[inline]
    pub(crate) fn put(&mut self, i: usize, placement: Placement<K>) {
        self.agent[i] = placement.agent;
        for (cells, terminal) in self.terminals.iter_mut().zip(placement.terminals) {
            cells[i] = terminal;
        }
    }

    /// The first `mid` environments and the rest.
    pub(crate) fn split_at(self, mid: usize, words: usize) -> (Lanes<'a, K>, Lanes<'a, K>) {
        let agent = self.agent.split_at_mut(mid);
        let (mut first, mut rest) = (self.terminals, std::array::from_fn(|_| <&mut [u16]>::default()));
        for (first, rest) in first.iter_mut().zip(&mut rest) {
            let (head, tail) = std::mem::take(first).split_at_mut(mid);
            (*first, *rest) = (head, tail);
        }
        let step = self.step.split_at_mut(mid);
        let bits = self.bits.split_at_mut(mid * words);
        let streams = self.streams.split_at_mut(mid);
        (
            Lanes { agent: agent.0, terminals: first, step: step.0, bits: bits.0, streams: streams.0 },
            Lanes { agent: agent.1, terminals: rest, step: step.1, bits: bits.1, streams: streams.1 },
        )
    }
}

/// The elements of an array that owns them, in order.
fn flat<T, D: Dimension>(array: &mut Array<T, D>) -> &mut [T] {
    array.as_slice_mut().expect("an array made here, or read by serde, is contiguous and in order")
}
