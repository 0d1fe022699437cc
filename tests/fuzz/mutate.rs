//! Damage.

use std::ops::Range;

use experiment::{SeedStreams, Xoshiro256PlusPlus};
use rand::RngExt;

/// What may stand where a number or a string does.
const VALUES: [&[u8]; 12] = [
    b"0",
    b"1",
    b"-3",
    b"255",
    b"65536",
    b"4294967295",
    b"18446744073709551615",
    b"1e308",
    b"\"\"",
    b"\" \"",
    b"\"a\"",
    b"true",
];

/// The next number or string in quotes after a place.
fn value(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let start = at + bytes[at..].iter().position(|byte| byte.is_ascii_digit() || *byte == b'"')?;
    let rest = &bytes[start + 1..];
    let length = if bytes[start] == b'"' {
        rest.iter().position(|byte| *byte == b'"')? + 1
    } else {
        rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    Some(start..start + 1 + length)
}

/// Makes damaged files out of good ones.
pub(crate) struct Mutator {
    rng: Xoshiro256PlusPlus,
}

/// What stands in headers, and what breaks those who trust it.
const HOSTILE: [&[u8]; 16] = [
    &[0xff; 8],
    &[0; 8],
    &[0xff, 0xff, 0xff, 0x7f],
    b"18446744073709551616",
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"\"",
    b"{",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b"\\u0000",
    b"\\ud800",
    b"\n",
    b"../../",
    "\u{feff}".as_bytes(),
];

impl Mutator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: SeedStreams::new(seed).stream("fuzz") }
    }

    /// One of the samples with one to eight mutations; now and then bytes out of nothing.
    pub(crate) fn mutate(&mut self, samples: &[Vec<u8>]) -> Vec<u8> {
        if self.rng.random_ratio(1, 50) {
            let length = self.rng.random_range(0..2000);
            return (0..length).map(|_| self.rng.random()).collect();
        }
        let mut input = samples[self.rng.random_range(0..samples.len())].clone();
        for _ in 0..self.rng.random_range(1..=8) {
            self.damage(&mut input, samples);
        }
        input
    }

    /// A place; the beginning, where headers are, as likely as all the rest.
    fn place(&mut self, length: usize) -> usize {
        let end = if self.rng.random() { length.min(400) } else { length };
        if end == 0 { 0 } else { self.rng.random_range(0..end) }
    }

    fn damage(&mut self, input: &mut Vec<u8>, samples: &[Vec<u8>]) {
        let at = self.place(input.len());
        let length = self.rng.random_range(1..=64).min(input.len() - at.min(input.len()));
        match self.rng.random_range(0..12) {
            0 if !input.is_empty() => input[at] ^= 1 << self.rng.random_range(0..8),
            1 if !input.is_empty() => input[at] = self.rng.random(),
            2 => input.truncate(at),
            3 => drop(input.drain(at..at + length)),
            4 => {
                let piece = input[at..at + length].to_vec();
                let to = self.place(input.len());
                drop(input.splice(to..to, piece));
            }
            5 => {
                let other = &samples[self.rng.random_range(0..samples.len())];
                let from = self.rng.random_range(0..=other.len());
                let piece = other[from..(from + 200).min(other.len())].to_vec();
                drop(input.splice(at..at + length, piece));
            }
            6 | 7 => {
                let piece = HOSTILE[self.rng.random_range(0..HOSTILE.len())];
                let over =
                    if self.rng.random() { piece.len().min(input.len() - at.min(input.len())) } else { 0 };
                drop(input.splice(at..at + over, piece.iter().copied()));
            }
            8 => {
                let bytes: Vec<u8> = (0..length).map(|_| self.rng.random()).collect();
                drop(input.splice(at..at, bytes));
            }
            _ => self.exchange(input, samples),
        }
    }

    /// A number or string in place of another, after which text is still of its grammar.
    fn exchange(&mut self, input: &mut Vec<u8>, samples: &[Vec<u8>]) {
        let at = self.rng.random_range(0..=input.len());
        let Some(range) = value(input, at) else { return };
        let piece = if self.rng.random() {
            VALUES[self.rng.random_range(0..VALUES.len())].to_vec()
        } else {
            let other = &samples[self.rng.random_range(0..samples.len())];
            let from = self.rng.random_range(0..=other.len());
            value(other, from).map_or_else(Vec::new, |range| other[range].to_vec())
        };
        drop(input.splice(range, piece));
    }
}
