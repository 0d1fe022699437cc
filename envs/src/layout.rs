//! Where everything is in one environment.

use serde::{Deserialize, Serialize};

use crate::grid::{Placement, put_bit};
use crate::oversight_grid::OversightGrid;
use crate::rules::Rules;
use crate::walled::WalledOversightGrid;
use crate::{EnvConfig, EnvError, EnvId};

/// Where everything is in one environment. Cells are numbered `row * cols + col`, walls included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Rows of the grid.
    pub rows: usize,
    /// Columns of the grid.
    pub cols: usize,
    /// The agent's cell.
    pub agent: usize,
    /// The Ghost's cell; in `WalledOversightGrid-v0` that of kind 1.
    pub ghost: usize,
    /// The Diamond's cell; in `WalledOversightGrid-v0` that of kind 0.
    pub diamond: usize,
    /// The cells whose oversight bit is set; an environment lists them in order and once.
    pub oversight: Vec<usize>,
    /// Actions taken in this episode so far.
    pub step: u32,
}

impl Layout {
    /// Writes what an agent in `id` would see here: `[planes, rows, cols]`, row-major, all of it.
    ///
    /// Objects may share cells, so that a picture can put an agent anywhere.
    ///
    /// # Panics
    /// If `out` is not `planes * rows * cols` long, or a cell lies outside the grid.
    pub fn write_observation(&self, id: EnvId, out: &mut [f32]) {
        let &Self { rows, cols, .. } = self;
        let cells = rows * cols;
        assert_eq!(out.len(), id.planes() * cells, "an observation of {id} is planes × rows × cols");
        for cell in [self.agent, self.ghost, self.diamond].iter().chain(&self.oversight) {
            assert!(*cell < cells, "cell {cell} lies outside a grid of {rows} × {cols}");
        }
        let config = EnvConfig { rows, cols, ..EnvConfig::for_id(id) };
        let (placement, bits) = (self.placement(), self.bits());
        match id {
            EnvId::OversightGridV0 => OversightGrid::new(&config).observe(placement, &bits, out),
            EnvId::WalledOversightGridV0 => WalledOversightGrid::new(&config).observe(placement, &bits, out),
        }
    }

    /// Whether an environment with these settings, which have no faults, can be here.
    ///
    /// It cannot if the grid has another size, an object lies outside it or on a wall, two objects share a
    /// cell, a bit lies outside the grid or on a wall, or the episode would be over.
    pub(crate) fn check(&self, config: &EnvConfig) -> Result<(), EnvError> {
        let &Self { rows, cols, agent, ghost, diamond, step, .. } = self;
        let fail = |reason| Err(EnvError::Layout { id: config.id, reason });
        if (rows, cols) != (config.rows, config.cols) {
            return fail(format!("it has {rows} × {cols} cells, the grid {} × {}", config.rows, config.cols));
        }
        let wall = config.id.wall();
        let open = |cell: usize| {
            (wall..rows - wall).contains(&(cell / cols)) && (wall..cols - wall).contains(&(cell % cols))
        };
        for (what, cell) in [("agent", agent), ("ghost", ghost), ("diamond", diamond)]
            .into_iter()
            .chain(self.oversight.iter().map(|&cell| ("an oversight bit", cell)))
        {
            if !open(cell) {
                return fail(format!("{what} is on cell {cell}, which is no free cell of the grid"));
            }
        }
        if agent == ghost || agent == diamond || ghost == diamond {
            return fail(format!(
                "agent, ghost and diamond need three cells, got {agent}, {ghost} and {diamond}"
            ));
        }
        if step >= config.max_steps {
            return fail(format!("step {step} is no step of an episode of {}", config.max_steps));
        }
        Ok(())
    }

    pub(crate) fn placement(&self) -> Placement {
        Placement { agent: self.agent as u16, ghost: self.ghost as u16, diamond: self.diamond as u16 }
    }

    pub(crate) fn bits(&self) -> Vec<u64> {
        let mut bits = vec![0; (self.rows * self.cols).div_ceil(64)];
        for &cell in &self.oversight {
            put_bit(&mut bits, cell, true);
        }
        bits
    }
}
