//! `OversightGrid-v0`: an open grid with three objects on distinct cells.

use rand::RngExt;

use crate::EnvConfig;
use crate::grid::{Placement, set_bits};
use crate::rules::Rules;
use crate::stream::Stream;

/// Agent, ghost, diamond, oversight.
pub(crate) const PLANES: usize = 4;

/// The rules of `OversightGrid-v0`.
#[derive(Clone, Debug)]
pub(crate) struct OversightGrid {
    cells: u32,
}

impl Rules for OversightGrid {
    fn new(config: &EnvConfig) -> Self {
        Self { cells: (config.rows * config.cols) as u32 }
    }

    /// Uniform over the ordered triples of distinct cells: each object takes one of the cells still free,
    /// counted past those taken.
    #[inline]
    fn place(&self, stream: &mut Stream) -> Placement {
        let agent = stream.random_range(0..self.cells);
        let ghost = stream.random_range(0..self.cells - 1);
        let ghost = ghost + u32::from(ghost >= agent);
        let diamond = stream.random_range(0..self.cells - 2);
        let diamond = diamond + u32::from(diamond >= agent.min(ghost));
        let diamond = diamond + u32::from(diamond >= agent.max(ghost));
        Placement { agent: agent as u16, ghost: ghost as u16, diamond: diamond as u16 }
    }

    #[inline]
    fn observe(&self, placement: Placement, bits: &[u64], out: &mut [f32]) {
        let cells = self.cells as usize;
        out.fill(0.0);
        out[usize::from(placement.agent)] = 1.0;
        out[cells + usize::from(placement.ghost)] = 1.0;
        out[2 * cells + usize::from(placement.diamond)] = 1.0;
        for cell in set_bits(bits) {
            out[3 * cells + cell] = 1.0;
        }
    }
}
