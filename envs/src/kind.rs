//! The kinds of ends that an episode can come to.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A kind of end, such as the Diamond of the gridworlds: an environment lists its own
/// ([`VectorEnv::kinds`](crate::VectorEnv::kinds)), and an outcome names one by its place in that list.
///
/// The first kind is the one that is wanted: methods with an expert for each kind are judged by the first expert.
///
/// Written, in a config or by `Display`, as its name and its value: `diamond +1`.
///
/// ```
/// use envs::Kind;
///
/// let kind: Kind = "ghost -1".parse().unwrap();
/// assert_eq!(kind, Kind::new("ghost", -1.0));
/// assert_eq!(kind.to_string(), "ghost -1");
/// ```
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

    /// Whether its name is one for metrics: lower-case letters, digits and `_`, at least one of them.
    pub(crate) fn has_plain_name(&self) -> bool {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        !self.name.is_empty() && self.name.chars().all(plain)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:+}", self.name, self.value)
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let kind = match words[..] {
            [name, value] => value.parse().ok().map(|value| Self { name: name.to_owned().into(), value }),
            _ => None,
        };
        kind.ok_or_else(|| format!("a kind is a name and a value, such as \"ghost -1\", got {text:?}"))
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
