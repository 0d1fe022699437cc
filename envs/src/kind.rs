//! The kinds of ends that an episode can come to.

use std::borrow::Cow;

/// A kind of end, such as the Diamond of the gridworlds: an environment lists its own
/// ([`VectorEnv::kinds`](crate::VectorEnv::kinds)), and an outcome names one by its place in that list.
///
/// The first kind is the one that is wanted: methods with an expert for each kind are judged by the first expert.
#[derive(Clone, Debug, PartialEq)]
pub struct Kind {
    /// Its name in metrics and results: lower-case letters, digits and `_`.
    pub name: Cow<'static, str>,
    /// The ground-truth reward of reaching it.
    pub value: f32,
}

impl Kind {
    /// A kind with a name known at compile time.
    pub const fn new(name: &'static str, value: f32) -> Self {
        Self { name: Cow::Borrowed(name), value }
    }

    /// Its name in prose and pictures: with a capital letter.
    pub fn title(&self) -> String {
        Self::title_of(&self.name)
    }

    /// As [`Kind::title`], from the name alone.
    pub fn title_of(name: &str) -> String {
        let mut letters = name.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    }
}
