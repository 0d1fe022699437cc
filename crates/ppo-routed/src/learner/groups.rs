//! The samples of a batch that share an observation.

use super::batch::Batch;

/// The samples of a batch by observation.
#[derive(Default)]
pub(super) struct Groups {
    /// Different observations of the batch, in order of appearance.
    pub rows: Vec<u32>,
    /// `members[starts[g]..starts[g + 1]]`: positions in the batch that share observation `rows[g]`.
    starts: Vec<u32>,
    members: Vec<u32>,
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
        // a counting sort keeps the order of the batch inside each group
        self.starts.clear();
        self.starts.resize(self.rows.len() + 1, 0);
        for group in &self.group_of_member {
            self.starts[*group as usize + 1] += 1;
        }
        for group in 0..self.rows.len() {
            self.starts[group + 1] += self.starts[group];
        }
        let mut next = self.starts.clone();
        self.members.resize(self.group_of_member.len(), 0);
        for (member, group) in self.group_of_member.iter().enumerate() {
            let place = &mut next[*group as usize];
            self.members[*place as usize] = member as u32;
            *place += 1;
        }
    }

    pub(crate) fn members(&self, group: usize) -> &[u32] {
        &self.members[self.starts[group] as usize..self.starts[group + 1] as usize]
    }
}
