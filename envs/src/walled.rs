//! `WalledOversightGrid-v0`: a walled room with two terminals far from the start, one the unique closest.

use rand::RngExt;

use crate::EnvConfig;
use crate::grid::{Placement, set_bits};
use crate::rings::Rings;
use crate::rules::Rules;
use crate::stream::Stream;

/// The least distance from the start to a terminal, in steps.
const MIN_DISTANCE: usize = 3;

/// The rules of `WalledOversightGrid-v0`.
#[derive(Clone, Debug)]
pub(crate) struct WalledOversightGrid {
    rows: usize,
    cols: usize,
    /// The cells from which some other one is `MIN_DISTANCE + 1` steps away or more.
    starts: Vec<u16>,
    /// The observation of a room without anything in it.
    bare: Vec<f32>,
}

impl Rules for WalledOversightGrid {
    fn new(config: &EnvConfig) -> Self {
        let &EnvConfig { rows, cols, .. } = config;
        let cells = rows * cols;
        let mut rules = Self { rows, cols, starts: Vec::new(), bare: vec![0.0; config.planes() * cells] };
        for cell in 0..cells {
            let (row, col) = (cell / cols, cell % cols);
            let open = (1..rows - 1).contains(&row) && (1..cols - 1).contains(&col);
            rules.bare[if open { cell } else { cells + cell }] = 1.0;
            if open && rules.rings(cell).farthest() > MIN_DISTANCE {
                rules.starts.push(cell as u16);
            }
        }
        rules
    }

    /// Start, farther terminal, nearer terminal, and which of them is the Diamond, each uniform over what the
    /// ones before leave: the farther terminal over the cells more than `MIN_DISTANCE` steps from the start, the
    /// nearer one over those at least `MIN_DISTANCE` and fewer than the farther one's.
    ///
    /// Distances are those of the empty room. Every draw is over a set that is not empty: `starts` holds one of the
    /// room's corners (`EnvConfig::faults` sees to its size), from a start there is a farther cell by the choice of
    /// `starts`, and on a shortest way to it lies a cell at `MIN_DISTANCE`.
    fn place<const K: usize>(&self, stream: &mut Stream) -> Placement<K> {
        let start = self.starts[stream.random_range(0..self.starts.len() as u32) as usize];
        let rings = self.rings(usize::from(start));
        let (far, distance) = self.draw(&rings, MIN_DISTANCE + 1..rings.farthest() + 1, stream);
        let (near, _) = self.draw(&rings, MIN_DISTANCE..distance, stream);
        let near_is_diamond: bool = stream.random();
        // `EnvConfig::faults` sees to it that there are two kinds
        let terminals = std::array::from_fn(|kind| if (kind == 0) == near_is_diamond { near } else { far });
        Placement { agent: start, terminals }
    }

    /// Empty, wall, the terminals, oversight, agent.
    #[inline]
    fn observe(&self, agent: u16, terminals: &[u16], bits: &[u64], out: &mut [f32]) {
        let cells = self.rows * self.cols;
        out.copy_from_slice(&self.bare);
        for (kind, terminal) in terminals.iter().enumerate() {
            out[usize::from(*terminal)] = 0.0;
            out[(2 + kind) * cells + usize::from(*terminal)] = 1.0;
        }
        let oversight = 2 + terminals.len();
        for cell in set_bits(bits) {
            out[oversight * cells + cell] = 1.0;
        }
        out[(oversight + 1) * cells + usize::from(agent)] = 1.0;
    }
}

impl WalledOversightGrid {
    /// The rings around a cell within the room, whose cell (0, 0) is the grid's (1, 1).
    fn rings(&self, cell: usize) -> Rings {
        Rings::around(cell / self.cols - 1, cell % self.cols - 1, self.rows - 2, self.cols - 2)
    }

    /// Draws a cell uniformly from those at one of `distances`, and says at which.
    fn draw(&self, rings: &Rings, distances: std::ops::Range<usize>, stream: &mut Stream) -> (u16, usize) {
        let k = stream.random_range(0..rings.count(distances.clone()) as u32) as usize;
        let ((row, col), distance) = rings.nth(distances, k);
        (((row + 1) * self.cols + col + 1) as u16, distance)
    }
}
