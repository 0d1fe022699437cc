//! Where everything is in one environment.

use serde::{Deserialize, Serialize};

use crate::detour::DetourOversightGrid;
use crate::grid::put_bit;
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
    /// The cell of each kind's terminal, such as the Diamond's, then the Ghost's.
    pub terminals: Vec<usize>,
    /// The cells whose oversight bit is set; an environment lists them in order and once.
    pub oversight: Vec<usize>,
    /// Actions taken in this episode so far.
    pub step: u32,
}

impl Layout {
    /// Writes what an agent in an environment of these settings, which have no faults, would see here:
    /// `[planes, rows, cols]`, row-major, all of it.
    ///
    /// Objects may share cells, so that a picture can put an agent anywhere.
    ///
    /// # Panics
    /// If `out` is not `planes * rows * cols` long, a cell lies outside the grid, or there is not a terminal of each kind.
    pub fn write_observation(&self, config: &EnvConfig, out: &mut [f32]) {
        let (&Self { rows, cols, .. }, id) = (self, config.id);
        let cells = rows * cols;
        assert_eq!(out.len(), config.planes() * cells, "an observation of {id} is planes × rows × cols");
        assert_eq!(self.terminals.len(), config.kinds.len(), "a terminal of each kind");
        for cell in self.terminals.iter().chain(&self.oversight).chain([&self.agent]) {
            assert!(*cell < cells, "cell {cell} lies outside a grid of {rows} × {cols}");
        }
        let config = EnvConfig { rows, cols, ..config.clone() };
        let terminals: Vec<u16> = self.terminals.iter().map(|cell| *cell as u16).collect();
        let bits = if config.oversight_observed { self.bits() } else { Vec::new() };
        let agent = self.agent as u16;
        match id {
            EnvId::OversightGridV0 => OversightGrid::new(&config).observe(agent, &terminals, &bits, out),
            EnvId::WalledOversightGridV0 => {
                WalledOversightGrid::new(&config).observe(agent, &terminals, &bits, out);
            }
            EnvId::DetourOversightGridV0 => {
                DetourOversightGrid::new(&config).observe(agent, &terminals, &bits, out);
            }
        }
    }

    /// Whether an environment with these settings, which have no faults, can be here.
    ///
    /// It cannot if the grid has another size, there is not a terminal of each kind, an object lies outside it or on a wall, two objects share a
    /// cell, a bit lies outside the grid or on a wall, or the episode would be over.
    pub(crate) fn check(&self, config: &EnvConfig) -> Result<(), EnvError> {
        let Self { rows, cols, agent, ref terminals, step, .. } = *self;
        let fail = |reason| Err(EnvError::Layout { id: config.id, reason });
        if (rows, cols) != (config.rows, config.cols) {
            return fail(format!("it has {rows} × {cols} cells, the grid {} × {}", config.rows, config.cols));
        }
        if terminals.len() != config.kinds.len() {
            return fail(format!("it has {} terminals of {} kinds", terminals.len(), config.kinds.len()));
        }
        let wall = config.id.wall();
        let open = |cell: usize| {
            (wall..rows - wall).contains(&(cell / cols)) && (wall..cols - wall).contains(&(cell % cols))
        };
        let kinds = config.kinds.iter().map(|kind| kind.name.as_ref());
        for (what, cell) in [("agent", agent)]
            .into_iter()
            .chain(kinds.zip(terminals.iter().copied()))
            .chain(self.oversight.iter().map(|&cell| ("an oversight bit", cell)))
        {
            if !open(cell) {
                return fail(format!("{what} is on cell {cell}, which is no free cell of the grid"));
            }
        }
        let mut cells = terminals.clone();
        cells.push(agent);
        cells.sort_unstable();
        if cells.windows(2).any(|pair| pair[0] == pair[1]) {
            return fail(format!(
                "agent and terminals need cells of their own, got {agent} and {terminals:?}"
            ));
        }
        if step >= config.max_steps {
            return fail(format!("step {step} is no step of an episode of {}", config.max_steps));
        }
        Ok(())
    }

    pub(crate) fn bits(&self) -> Vec<u64> {
        let mut bits = vec![0; (self.rows * self.cols).div_ceil(64)];
        for &cell in &self.oversight {
            put_bit(&mut bits, cell, true);
        }
        bits
    }
}
