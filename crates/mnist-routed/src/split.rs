//! Which digits belong together: a partition of the ten classes.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// The classes of the data sets.
pub const CLASSES: usize = 10;

/// A partition of the digits 0 to 9 into two to ten parts, written `0-4|5-9`. Each part has its own share of the
/// encoding, and a certificate that sees nothing else.
///
/// ```
/// use mnist_routed::Split;
///
/// let split: Split = "0,2-4|1|5-9".parse()?;
/// assert_eq!(split.parts(), 3);
/// assert_eq!(split.part_of(3), 0);
/// assert_eq!(split.to_string(), "0,2-4|1|5-9");
/// assert!("0-4|4-9".parse::<Split>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Split {
    part_of: [u8; CLASSES],
    parts: usize,
}

impl Split {
    /// The number of parts.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// The part of a digit.
    ///
    /// # Panics
    /// Panics if `digit` is above 9.
    pub fn part_of(&self, digit: u8) -> usize {
        usize::from(self.part_of[usize::from(digit)])
    }

    /// The digits of a part, in order.
    pub fn digits(&self, part: usize) -> Vec<u8> {
        (0..CLASSES as u8).filter(|digit| self.part_of(*digit) == part).collect()
    }

    /// The digits of a part in short, such as `0-4`.
    pub fn digits_label(&self, part: usize) -> String {
        label(&self.digits(part))
    }

    /// What the part's half of the encoding, and its certificate, are called: `top` and `bottom` where there are
    /// two, as in the paper, else `part1`, `part2` and so on.
    pub fn part_name(&self, part: usize) -> String {
        match (self.parts, part) {
            (2, 0) => "top".to_owned(),
            (2, _) => "bottom".to_owned(),
            _ => format!("part{}", part + 1),
        }
    }
}

impl Default for Split {
    /// The paper's: `0-4|5-9`.
    fn default() -> Self {
        Self { part_of: [0, 0, 0, 0, 0, 1, 1, 1, 1, 1], parts: 2 }
    }
}

impl std::str::FromStr for Split {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut part_of = [None; CLASSES];
        let mut parts = 0;
        for part in text.split('|') {
            let mut any = false;
            for range in part.split(',') {
                let (from, to) = range.split_once('-').unwrap_or((range, range));
                let digit = |text: &str| match text.trim().as_bytes() {
                    [digit @ b'0'..=b'9'] => Ok(usize::from(digit - b'0')),
                    _ => Err(format!("`{}` is no digit: a split reads like 0-4|5-9", text.trim())),
                };
                let (from, to) = (digit(from)?, digit(to)?);
                if from > to {
                    return Err(format!("`{range}` runs backwards"));
                }
                for (digit, place) in part_of.iter_mut().enumerate().take(to + 1).skip(from) {
                    if place.replace(parts as u8).is_some() {
                        return Err(format!("the digit {digit} stands in it twice"));
                    }
                    any = true;
                }
            }
            parts += usize::from(any);
        }
        if let Some(digit) = part_of.iter().position(Option::is_none) {
            return Err(format!("the digit {digit} is in no part"));
        }
        if parts < 2 {
            return Err("a split has at least two parts, as in 0-4|5-9".to_owned());
        }
        Ok(Self { part_of: part_of.map(Option::unwrap_or_default), parts })
    }
}

impl TryFrom<String> for Split {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Split> for String {
    fn from(split: Split) -> Self {
        split.to_string()
    }
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for part in 0..self.parts {
            let bar = if part > 0 { "|" } else { "" };
            write!(f, "{bar}{}", self.digits_label(part))?;
        }
        Ok(())
    }
}

/// `0-2,5` for 0, 1, 2 and 5.
fn label(digits: &[u8]) -> String {
    let mut out = String::new();
    for run in digits.chunk_by(|a, b| a + 1 == *b) {
        let comma = if out.is_empty() { "" } else { "," };
        let written = match run {
            [single] => write!(out, "{comma}{single}"),
            [first, .., last] => write!(out, "{comma}{first}-{last}"),
            [] => Ok(()),
        };
        debug_assert!(written.is_ok(), "writing to a string");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_partition_is_refused_by_name() {
        for (text, fault) in [
            ("0-4|5-8", "the digit 9 is in no part"),
            ("0-4|4-9", "the digit 4 stands in it twice"),
            ("0-9", "at least two parts"),
            ("0-4|", "`` is no digit"),
            ("0-4|5-10", "`10` is no digit"),
            ("4-0|5-9", "`4-0` runs backwards"),
            ("a|b", "`a` is no digit"),
        ] {
            let error = text.parse::<Split>().unwrap_err();
            assert!(error.contains(fault), "{text}: {error}");
        }
        assert_eq!("0-4|5-9".parse(), Ok(Split::default()));
        assert_eq!("0|1|2|3|4|5|6|7|8|9".parse::<Split>().unwrap().parts(), 10);
    }

    proptest! {
        #[test]
        fn every_partition_reads_back(seed in proptest::array::uniform10(0u8..10)) {
            // parts are numbered in the order in which they are written
            let mut names: Vec<u8> = Vec::new();
            for part in seed {
                if !names.contains(&part) {
                    names.push(part);
                }
            }
            prop_assume!(names.len() > 1);
            let part_of = seed.map(|part| names.iter().position(|name| *name == part).unwrap() as u8);
            let split = Split { part_of, parts: names.len() };
            prop_assert_eq!(split.to_string().parse::<Split>().unwrap(), split);
        }
    }
}
