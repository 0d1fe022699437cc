//! What is wrong with a config, told so that it can be put right.
use std::fmt::{self, Display, Write as _};

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

impl Display for Fault {
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

    /// Adds each count that is 0.
    pub fn at_least_one<'a, T: PartialEq + From<u8>>(
        &mut self,
        counts: impl IntoIterator<Item = (&'a str, T)>,
    ) {
        for (key, count) in counts {
            if count == T::from(0) {
                self.add(key, "must be at least 1, got 0");
            }
        }
    }

    /// Adds each count that is 0, or above the most that is beside it.
    pub fn from_one_to<'a, T: Copy + Display + PartialOrd + From<u8>>(
        &mut self,
        counts: impl IntoIterator<Item = (&'a str, T, T)>,
    ) {
        for (key, count, most) in counts {
            self.at_least_one([(key, count)]);
            if count > most {
                self.add(key, format!("must be at most {most}, got {count}"));
            }
        }
    }

    /// Adds hidden layers of which there are more than eight, or one has no unit or more than 2¹⁴.
    pub fn hidden_layers<'a>(&mut self, networks: impl IntoIterator<Item = (&'a str, &'a [usize])>) {
        const MOST_UNITS: usize = 1 << 14;
        for (key, layers) in networks {
            if layers.len() > 8 {
                self.add(key, format!("must be at most 8 layers, got {}", layers.len()));
            }
            if let Some(units) = layers.iter().find(|units| !(1..=MOST_UNITS).contains(*units)) {
                self.add(key, format!("a layer has 1 to {MOST_UNITS} units, got {units}"));
            }
        }
    }

    /// Adds each number that is not above 0, or not finite.
    pub fn above_zero<'a>(&mut self, numbers: impl IntoIterator<Item = (&'a str, f64)>) {
        for (key, number) in numbers {
            if !(number > 0.0 && number.is_finite()) {
                self.add(key, format!("must be above 0, got {number}"));
            }
        }
    }

    /// Adds each number that is below 0, or not finite.
    pub fn zero_or_more<'a>(&mut self, numbers: impl IntoIterator<Item = (&'a str, f64)>) {
        for (key, number) in numbers {
            if !(number >= 0.0 && number.is_finite()) {
                self.add(key, format!("must be 0 or more, got {number}"));
            }
        }
    }

    /// Adds each share, probability or discount that is not between 0 and 1.
    pub fn up_to_one<'a>(&mut self, numbers: impl IntoIterator<Item = (&'a str, f64)>) {
        for (key, number) in numbers {
            if !(0.0..=1.0).contains(&number) {
                self.add(key, format!("must lie between 0 and 1, got {number}"));
            }
        }
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
