//! `DetourOversightGrid-v0`: an open grid in which the wanted terminal is always the farthest.

use rand::RngExt;

use crate::EnvConfig;
use crate::grid::Placement;
use crate::oversight_grid::{OversightGrid, Taken};
use crate::rings::Rings;
use crate::rules::Rules;
use crate::stream::Stream;

/// The rules of `DetourOversightGrid-v0`.
#[derive(Clone, Debug)]
pub(crate) struct DetourOversightGrid {
    rows: usize,
    cols: usize,
    /// The cells from which the wanted terminal can be the farthest, and the least distance at which it then is.
    starts: Vec<(u16, u16)>,
    looks: OversightGrid,
}

impl Rules for DetourOversightGrid {
    fn new(config: &EnvConfig) -> Self {
        let &EnvConfig { rows, cols, .. } = config;
        let others = config.kinds.len() - 1;
        let mut rules = Self { rows, cols, starts: Vec::new(), looks: OversightGrid::new(config) };
        for cell in 0..rows * cols {
            let rings = rules.rings(cell);
            let least = (2..=rings.farthest()).find(|&d| rings.count(1..d) >= others);
            rules.starts.extend(least.map(|least| (cell as u16, least as u16)));
        }
        rules
    }

    /// Start, wanted terminal, the others, the last kind first, each uniform over what the ones before leave: the
    /// wanted one over the cells with room for all others nearer to the start, the others over those nearer cells.
    ///
    /// Every draw is over a set that is not empty: from a corner, all cells but the opposite one are nearer than that
    /// one, so `starts` holds a corner in every grid with a cell for each object (`EnvConfig::faults` sees to that).
    fn place<const K: usize>(&self, stream: &mut Stream) -> Placement<K> {
        let (start, least) = self.starts[stream.random_range(0..self.starts.len() as u32) as usize];
        let rings = self.rings(usize::from(start));
        let wanted = usize::from(least)..rings.farthest() + 1;
        let k = stream.random_range(0..rings.count(wanted.clone()) as u32) as usize;
        let (cell, distance) = rings.nth(wanted, k);
        let number = |(row, col): (usize, usize)| (row * self.cols + col) as u16;
        let mut terminals = [number(cell); K];
        let nearer = rings.count(1..distance) as u32;
        let mut taken = Taken::none();
        for kind in (1..K).rev() {
            let k = taken.take(stream.random_range(0..nearer - taken.len()) as u16);
            terminals[kind] = number(rings.nth(1..distance, usize::from(k)).0);
        }
        Placement { agent: start, terminals }
    }

    /// As `OversightGrid-v0` looks.
    #[inline]
    fn observe(&self, agent: u16, terminals: &[u16], bits: &[u64], out: &mut [f32]) {
        self.looks.observe(agent, terminals, bits, out);
    }
}

impl DetourOversightGrid {
    fn rings(&self, cell: usize) -> Rings {
        Rings::around(cell / self.cols, cell % self.cols, self.rows, self.cols)
    }
}
