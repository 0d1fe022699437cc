//! What each held-out document is for.

/// One of every so many documents of a kind is set aside from the reported ones.
pub(crate) const SET_ASIDE: usize = 4;

/// A use of held-out documents. No document is in two pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// The losses on these are reported: three of four documents of each kind.
    Reported,
    /// These decide which step of the coherence stage is kept: every fourth document without the concept.
    CoherenceSelection,
    /// From these the concept is taught back: every fourth document with the concept.
    Relearning,
}

impl Pool {
    /// The pool of the document at `place`, counted from 0, among those with the concept, or among the others.
    pub fn of(forget: bool, place: usize) -> Self {
        match (place % SET_ASIDE == SET_ASIDE - 1, forget) {
            (false, _) => Self::Reported,
            (true, false) => Self::CoherenceSelection,
            (true, true) => Self::Relearning,
        }
    }

    /// Whether it has that document.
    pub fn takes(self, forget: bool, place: usize) -> bool {
        Self::of(forget, place) == self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fourth_document_is_set_aside_for_what_its_kind_is_needed_for() {
        let pools = |forget| (0..8).map(|place| Pool::of(forget, place)).collect::<Vec<_>>();
        let with = |aside| [[Pool::Reported; 3].as_slice(), &[aside]].concat().repeat(2);
        assert_eq!(pools(true), with(Pool::Relearning));
        assert_eq!(pools(false), with(Pool::CoherenceSelection));
    }
}
