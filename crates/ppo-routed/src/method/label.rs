//! What a trainer knows of a step.

/// What a trainer knows of a step: how its episode ended, as far as this rollout and the oversight show. It is the
/// step's class in the route table of the method, see [`Supervision::routes`](super::Supervision::routes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Label(u8);

impl Label {
    /// Something was reached and nobody saw what.
    pub const UNSEEN: Self = Self(0);

    /// Truncated, or unfinished in this rollout: nothing was reached.
    pub const NOTHING: Self = Self(1);

    /// An episode that was seen to end on the kind of that index.
    pub const fn of_kind(kind: u8) -> Self {
        Self(kind + 2)
    }

    /// The kind that it names, whose expert has the same index.
    pub fn kind(self) -> Option<usize> {
        usize::from(self.0).checked_sub(2)
    }

    /// The index of the class.
    pub fn class(self) -> usize {
        usize::from(self.0)
    }

    /// All labels that there are with so many kinds, by their class.
    pub fn all(kinds: usize) -> impl Iterator<Item = Self> {
        (0..kinds + 2).map(|class| Self(class as u8))
    }
}

impl Default for Label {
    fn default() -> Self {
        Self::NOTHING
    }
}
