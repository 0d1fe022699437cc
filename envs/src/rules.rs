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
    fn place<const K: usize>(&self, stream: &mut Stream) -> Placement<K>;

    /// Writes a whole observation, `[planes, rows, cols]`; `terminals` holds the cell of each kind, `bits` the oversight
    /// bits that can be seen, which may be none at all.
    fn observe(&self, agent: u16, terminals: &[u16], bits: &[u64], out: &mut [f32]);
}
