//! `OversightGrid-v0`: an open grid with the agent and a terminal of each kind on distinct cells.

use rand::RngExt;

use crate::grid::{Placement, set_bits};
use crate::rules::Rules;
use crate::stream::Stream;
use crate::{EnvConfig, MAX_KINDS};

/// The rules of `OversightGrid-v0`.
#[derive(Clone, Debug)]
pub(crate) struct OversightGrid {
    cells: u32,
}

impl Rules for OversightGrid {
    fn new(config: &EnvConfig) -> Self {
        Self { cells: (config.rows * config.cols) as u32 }
    }

    /// Uniform over the tuples of distinct cells: agent, then the terminals, the last kind first, each on one of the
    /// cells still free, counted past those taken.
    #[inline]
    fn place<const K: usize>(&self, stream: &mut Stream) -> Placement<K> {
        let agent = stream.random_range(0..self.cells) as u16;
        let mut terminals = [0; K];
        let mut taken = Taken::new(agent);
        for kind in (0..K).rev() {
            terminals[kind] = taken.take(stream.random_range(0..self.cells - taken.len()) as u16);
        }
        Placement { agent, terminals }
    }

    /// Agent, the terminals, the last kind first, oversight.
    #[inline]
    fn observe(&self, agent: u16, terminals: &[u16], bits: &[u64], out: &mut [f32]) {
        let cells = self.cells as usize;
        out.fill(0.0);
        out[usize::from(agent)] = 1.0;
        for (plane, terminal) in terminals.iter().rev().enumerate() {
            out[(1 + plane) * cells + usize::from(*terminal)] = 1.0;
        }
        for cell in set_bits(bits) {
            out[(1 + terminals.len()) * cells + cell] = 1.0;
        }
    }
}

/// Numbers that are taken, in ascending order.
pub(crate) struct Taken {
    numbers: [u16; MAX_KINDS + 1],
    len: usize,
}

impl Taken {
    /// One of them.
    #[inline]
    pub(crate) fn new(first: u16) -> Self {
        Self { numbers: [first; MAX_KINDS + 1], len: 1 }
    }

    /// None of them.
    pub(crate) fn none() -> Self {
        Self { numbers: [0; MAX_KINDS + 1], len: 0 }
    }

    /// How many.
    #[inline]
    pub(crate) fn len(&self) -> u32 {
        self.len as u32
    }

    /// Takes the number that is the `free`-th of those not taken, and returns it.
    #[inline]
    pub(crate) fn take(&mut self, free: u16) -> u16 {
        let mut number = free;
        for taken in &self.numbers[..self.len] {
            number += u16::from(number >= *taken);
        }
        let mut at = self.len;
        while at > 0 && self.numbers[at - 1] > number {
            self.numbers[at] = self.numbers[at - 1];
            at -= 1;
        }
        self.numbers[at] = number;
        self.len += 1;
        number
    }
}
