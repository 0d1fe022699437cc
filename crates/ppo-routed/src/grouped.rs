//! Members by group, in one array.

/// Members `0..n`, each of which is in one group, by group: a counting sort, whose memory is kept.
#[derive(Debug, Default)]
pub(crate) struct Grouped {
    /// `members[starts[g]..starts[g + 1]]` are in group g.
    starts: Vec<u32>,
    members: Vec<u32>,
}

impl Grouped {
    /// Takes up new members: `group_of` has the group of each, below `groups`.
    pub(crate) fn arrange(&mut self, group_of: &[u32], groups: usize) {
        self.starts.clear();
        self.starts.resize(groups + 1, 0);
        for group in group_of {
            self.starts[*group as usize + 1] += 1;
        }
        for group in 0..groups {
            self.starts[group + 1] += self.starts[group];
        }
        let mut next = self.starts.clone();
        self.members.resize(group_of.len(), 0);
        for (member, group) in group_of.iter().enumerate() {
            let place = &mut next[*group as usize];
            self.members[*place as usize] = member as u32;
            *place += 1;
        }
    }

    /// The members of a group, ascending.
    pub(crate) fn members(&self, group: usize) -> &[u32] {
        &self.members[self.starts[group] as usize..self.starts[group + 1] as usize]
    }
}
