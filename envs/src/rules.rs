//! What distinguishes one environment from another.

use crate::EnvConfig;
use crate::grid::Placement;
use crate::stream::Stream;

/// What distinguishes one environment from another: how an episode begins and how it looks.
pub(crate) trait Rules: Send + Sync {
    /// The rules on the grid of a config without faults.
    fn new(config: &EnvConfig) -> Self
    where
        Self: Sized;

    /// Draws where the objects are when an episode begins.
    fn place(&self, stream: &mut Stream) -> Placement;

    /// Writes a whole observation, `[planes, rows, cols]`; `bits` holds the oversight bits of the cells.
    fn observe(&self, placement: Placement, bits: &[u64], out: &mut [f32]);
}
