//! What is wrong with a config, told so that it can be put right.
use std::fmt::{self, Write as _};

/// The origin of what was given on the command line.
pub(super) const OVERRIDE: &str = "--set";

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key path, such as `env.rows`; empty for what has none.
    pub key: String,
    /// What is wrong with it, in lower case.
    pub message: String,
    /// Where the value was given, such as `a.toml, line 3`; nothing for a default.
    pub origin: Option<String>,
}

impl Fault {
    pub(super) fn of(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into(), origin: None }
    }

    /// Whether it is a `--set` that names no key.
    pub(super) fn is_malformed_override(&self) -> bool {
        self.key.is_empty() && self.origin.as_deref() == Some(OVERRIDE)
    }

    pub(super) fn from(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (short(&self.key).as_str(), &self.origin) {
            ("", Some(origin)) => write!(f, "{origin}: {}", self.message),
            ("", None) => f.write_str(&self.message),
            (key, Some(origin)) => write!(f, "`{key}` ({origin}): {}", self.message),
            (key, None) => write!(f, "`{key}`: {}", self.message),
        }
    }
}

/// A list for [`Settings::faults`](crate::Settings::faults) to add to.
#[derive(Clone, Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Notes that the value of `key`, a path such as `env.rows`, makes no sense; `message` says why in lower
    /// case, such as `must be at least 2, got 1`.
    pub fn add(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.0.push(Fault::of(key, message));
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was added.
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }

    pub(super) fn into_vec(self) -> Vec<Fault> {
        self.0
    }
}

/// No more faults are printed: a file with more of them is another file.
const PRINTED: usize = 20;

/// What was given, cut to fit into a line.
pub(super) fn short(text: &str) -> String {
    if text.chars().count() <= 80 { text.to_owned() } else { text.chars().take(79).chain(['…']).collect() }
}

/// One fault in its line, or a heading and one line for each.
pub(super) fn list(faults: &[Fault]) -> String {
    if let [fault] = faults {
        return fault.to_string();
    }
    let mut text = format!("the config has {} faults", faults.len());
    for fault in faults.iter().take(PRINTED) {
        // writing into a string cannot fail
        write!(text, "\n  {fault}").ok();
    }
    if faults.len() > PRINTED {
        write!(text, "\n  … and {} more", faults.len() - PRINTED).ok();
    }
    text
}
