//! The ground: which cells there are, where a move leads, and the bits on the cells.

use rand::distr::{Bernoulli, Distribution};

use crate::stream::Stream;
use crate::{BlindRegion, EnvConfig};

/// What each action of the gridworlds does, in their order.
pub const ACTION_NAMES: [&str; 4] = ["north", "east", "south", "west"];

/// The number of actions.
pub(crate) const NUM_ACTIONS: usize = ACTION_NAMES.len();

/// Where the objects are, as cell numbers: the agent, and the terminal of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placement<const K: usize> {
    pub agent: u16,
    pub terminals: [u16; K],
}

/// A rectangle of cells, with a wall of some thickness around it, and the chances of a cell being watched.
#[derive(Clone, Debug)]
pub(crate) struct Grid {
    pub rows: usize,
    pub cols: usize,
    wall: usize,
    /// `[cells, actions]`: the cell an action leads to, the same one if the way is barred.
    moves: Vec<u16>,
    terminal_bit: Bernoulli,
    /// `None` if no other cell is ever watched, so that no number is drawn for it.
    spurious_bit: Option<Bernoulli>,
    /// A bit for each cell that may be watched; empty if all may.
    sighted: Vec<u64>,
}

impl Grid {
    /// The ground of a config without faults.
    pub(crate) fn new(config: &EnvConfig) -> Self {
        let bernoulli = |p| Bernoulli::new(p).expect("a config without faults has probabilities");
        let spurious = config.spurious_oversight_prob;
        let mut grid = Self {
            rows: config.rows,
            cols: config.cols,
            wall: config.id.wall(),
            moves: Vec::with_capacity(config.rows * config.cols * NUM_ACTIONS),
            terminal_bit: bernoulli(config.oversight_prob),
            spurious_bit: (spurious > 0.0).then(|| bernoulli(spurious)),
            sighted: Vec::new(),
        };
        if config.blind_region != BlindRegion::None {
            grid.sighted = vec![0; grid.words()];
            for cell in 0..grid.cells() {
                let blind = config.blind_region.holds(cell / grid.cols, cell % grid.cols);
                put_bit(&mut grid.sighted, cell, !blind);
            }
        }
        for cell in 0..grid.cells() {
            let (row, col) = (cell / grid.cols, cell % grid.cols);
            let north = row.checked_sub(1).map(|_| cell - grid.cols);
            let east = (col + 1 < grid.cols).then_some(cell + 1);
            let south = (row + 1 < grid.rows).then_some(cell + grid.cols);
            let west = col.checked_sub(1).map(|_| cell - 1);
            let go = |to: Option<usize>| to.filter(|&to| grid.is_open(to)).unwrap_or(cell) as u16;
            let moves = [north, east, south, west].map(go);
            grid.moves.extend(moves);
        }
        grid
    }

    /// The number of cells, walls included.
    pub(crate) fn cells(&self) -> usize {
        self.rows * self.cols
    }

    /// Whether `cell` is one an agent can stand on.
    pub(crate) fn is_open(&self, cell: usize) -> bool {
        let (row, col) = (cell / self.cols, cell % self.cols);
        (self.wall..self.rows - self.wall).contains(&row) && (self.wall..self.cols - self.wall).contains(&col)
    }

    /// Where `action` (one of the four) leads from `cell`.
    #[inline]
    pub(crate) fn go(&self, cell: u16, action: u8) -> u16 {
        self.moves[usize::from(cell) * NUM_ACTIONS + usize::from(action)]
    }

    /// The number of words that hold a bit for each cell.
    pub(crate) fn words(&self) -> usize {
        self.cells().div_ceil(64)
    }

    /// Whether `cell` is one that is never watched.
    #[inline]
    pub(crate) fn is_blind(&self, cell: u16) -> bool {
        !self.sighted.is_empty() && !bit(&self.sighted, cell)
    }

    /// Draws the oversight bits of a new episode: first those of the terminals, the last kind's first, then those of
    /// the other open cells in order. A bit of the blind region is drawn and then cleared.
    ///
    /// rand's `Bernoulli` compares one word of the stream with `p·2^64`; 0 and 1 are exact.
    #[inline]
    pub(crate) fn draw_bits(&self, terminals: &[u16], stream: &mut Stream, bits: &mut [u64]) {
        bits.fill(0);
        for terminal in terminals.iter().rev() {
            put_bit(bits, usize::from(*terminal), self.terminal_bit.sample(stream));
        }
        if let Some(spurious) = &self.spurious_bit {
            for row in self.wall..self.rows - self.wall {
                for cell in row * self.cols + self.wall..(row + 1) * self.cols - self.wall {
                    if !terminals.iter().any(|terminal| usize::from(*terminal) == cell) {
                        put_bit(bits, cell, spurious.sample(stream));
                    }
                }
            }
        }
        bits.iter_mut().zip(&self.sighted).for_each(|(bits, sighted)| *bits &= sighted);
    }
}

/// Whether the bit of `cell` is set.
#[inline]
pub(crate) fn bit(bits: &[u64], cell: u16) -> bool {
    bits[usize::from(cell >> 6)] >> (cell & 63) & 1 == 1
}

/// Sets the bit of `cell`, which is clear, if `value`.
#[inline]
pub(crate) fn put_bit(bits: &mut [u64], cell: usize, value: bool) {
    bits[cell >> 6] |= u64::from(value) << (cell & 63);
}

/// The cells whose bit is set, in order.
#[inline]
pub(crate) fn set_bits(bits: &[u64]) -> impl Iterator<Item = usize> + '_ {
    bits.iter().enumerate().flat_map(|(word, &bits)| {
        let mut left = bits;
        std::iter::from_fn(move || {
            (left != 0).then(|| {
                let cell = word * 64 + left.trailing_zeros() as usize;
                left &= left - 1;
                cell
            })
        })
    })
}
