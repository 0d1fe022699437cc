//! The ground: which cells there are, where a move leads, and the bits on the cells.

use rand::distr::{Bernoulli, Distribution};

use crate::EnvConfig;
use crate::stream::Stream;

/// The number of actions: north, east, south, west.
pub(crate) const NUM_ACTIONS: usize = 4;

/// Where the three objects are, as cell numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    pub agent: u16,
    pub ghost: u16,
    pub diamond: u16,
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
        };
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

    /// Draws the oversight bits of a new episode: first the Ghost's, then the Diamond's, then those of the other
    /// open cells in order.
    ///
    /// rand's `Bernoulli` compares one word of the stream with `p·2^64`; 0 and 1 are exact.
    pub(crate) fn draw_bits(&self, placement: Placement, stream: &mut Stream, bits: &mut [u64]) {
        bits.fill(0);
        let (ghost, diamond) = (usize::from(placement.ghost), usize::from(placement.diamond));
        for terminal in [ghost, diamond] {
            put_bit(bits, terminal, self.terminal_bit.sample(stream));
        }
        let Some(spurious) = &self.spurious_bit else { return };
        for row in self.wall..self.rows - self.wall {
            for cell in row * self.cols + self.wall..(row + 1) * self.cols - self.wall {
                if cell != ghost && cell != diamond {
                    put_bit(bits, cell, spurious.sample(stream));
                }
            }
        }
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
