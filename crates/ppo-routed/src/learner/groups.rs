//! The samples of a batch that share an observation.

use super::batch::Batch;
use crate::grouped::Grouped;

/// The samples of a batch by observation.
#[derive(Default)]
pub(super) struct Groups {
    /// Different observations of the batch, in order of appearance.
    pub rows: Vec<u32>,
    /// Positions in the batch that share observation `rows[g]`, in group g.
    positions: Grouped,
    group_of_row: Vec<u32>,
    group_of_member: Vec<u32>,
}

impl Groups {
    pub(crate) fn arrange(&mut self, batch: &Batch<'_>) {
        const NONE: u32 = u32::MAX;
        self.rows.clear();
        self.group_of_member.clear();
        self.group_of_row.clear();
        self.group_of_row.resize(batch.unique.len(), NONE);
        for index in batch.indices {
            let row = batch.samples.rows[*index as usize];
            let group = &mut self.group_of_row[row as usize];
            if *group == NONE {
                *group = self.rows.len() as u32;
                self.rows.push(row);
            }
            self.group_of_member.push(*group);
        }
        self.positions.arrange(&self.group_of_member, self.rows.len());
    }

    pub(crate) fn members(&self, group: usize) -> &[u32] {
        self.positions.members(group)
    }
}
