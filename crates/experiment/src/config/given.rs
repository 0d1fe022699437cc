//! What the user gave, as single keys with their origin.
use std::collections::HashSet;
use std::io::{self, Read};
use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::check::{Known, join, lookup};
use super::faults::{OVERRIDE, short};
use super::{ConfigError, Fault};
use crate::opening::open_regular;

/// A config is a page; whatever is longer is another file.
const LONGEST_FILE: u64 = 64 << 10;

/// A key as given, with its value: for a known section, each key in it; an unknown section as a whole.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) path: Vec<String>,
    pub(super) value: Value,
    pub(super) origin: String,
}

impl Leaf {
    pub(super) fn key(&self) -> String {
        join(&self.path)
    }
}

/// Everything given, in the order in which later ones win.
#[derive(Debug, Default)]
pub(super) struct Given(Vec<Leaf>);

impl Given {
    /// Adds the keys of a file; what keeps it from being read as TOML goes to `faults`.
    pub(super) fn add_file(
        &mut self,
        path: &Path,
        known: &Table,
        faults: &mut Vec<Fault>,
    ) -> Result<(), ConfigError> {
        let name = path.display().to_string();
        let text = match read(path) {
            Ok(text) => text,
            Err(source) if source.kind() == io::ErrorKind::InvalidData => {
                faults.push(Fault::of("", source.to_string()).from(name));
                return Ok(());
            }
            Err(source) => return Err(ConfigError::Read { path: path.to_owned(), source }),
        };
        match (text.parse::<Table>(), DeTable::parse(&text)) {
            (Ok(table), Ok(spans)) => {
                let line = |path: &[String]| match offset_of(spans.get_ref(), path) {
                    Some(offset) => format!("{name}, line {}", position(&text, offset).0),
                    None => name.clone(),
                };
                let begin = self.0.len();
                self.add_table(&[], table, known, &line);
                // a table is sorted by name, a reader goes down the lines
                self.0[begin..].sort_by_cached_key(|leaf| offset_of(spans.get_ref(), &leaf.path));
            }
            (Err(error), _) | (_, Err(error)) => {
                let (line, column) = position(&text, error.span().map_or(0, |span| span.start));
                faults.push(
                    Fault::of("", first_line(error.message()))
                        .from(format!("{name}, line {line}, column {column}")),
                );
            }
        }
        Ok(())
    }

    /// Adds one `section.key=value`.
    pub(super) fn add_override(&mut self, text: &str, known: &Table, faults: &mut Vec<Fault>) {
        let origin = OVERRIDE;
        let Some((key, value)) = text.split_once('=') else {
            faults.push(Fault::of("", format!("{:?} has no `=`", short(text))).from(origin));
            return;
        };
        let path: Vec<String> = key.split('.').map(|part| part.trim().to_owned()).collect();
        if path.iter().any(String::is_empty) {
            faults
                .push(Fault::of("", format!("{:?} has an empty name in its key", short(text))).from(origin));
            return;
        }
        match (parse_value(value.trim()), lookup(known, &path)) {
            (Ok(Value::Table(table)), Known::Section(_)) => {
                self.add_table(&path, table, known, &|_| origin.to_owned());
            }
            // the shell takes quotes away, so a name such as `7` or `true` comes without them
            (Ok(scalar), Known::Value(Value::String(_)))
                if !matches!(scalar, Value::String(_) | Value::Array(_)) =>
            {
                let value = Value::String(value.trim().to_owned());
                self.0.push(Leaf { path, value, origin: origin.to_owned() });
            }
            (Ok(value), _) => self.0.push(Leaf { path, value, origin: origin.to_owned() }),
            (Err(message), _) => faults.push(Fault::of(join(&path), message).from(origin)),
        }
    }

    /// Adds the keys of a section, given by its path. It goes down only as far as the known sections go.
    pub(super) fn add_table(
        &mut self,
        section: &[String],
        table: Table,
        known: &Table,
        origin: &dyn Fn(&[String]) -> String,
    ) {
        for (name, value) in table {
            let path: Vec<String> = section.iter().cloned().chain([name]).collect();
            match (value, lookup(known, &path)) {
                (Value::Table(inner), Known::Section(_)) => self.add_table(&path, inner, known, origin),
                (value, _) => {
                    let origin = origin(&path);
                    self.0.push(Leaf { path, value, origin });
                }
            }
        }
    }

    /// The keys that count: of several with the same path the last.
    pub(super) fn effective(self) -> Vec<Leaf> {
        let mut seen = HashSet::new();
        let mut leaves: Vec<Leaf> =
            self.0.into_iter().rev().filter(|leaf| seen.insert(leaf.path.clone())).collect();
        leaves.reverse();
        leaves
    }
}

pub(super) fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let length =
        open_regular(path)?.take(LONGEST_FILE + 1).read_to_string(&mut text).map_err(|error| match error
            .kind()
        {
            io::ErrorKind::InvalidData => io::Error::new(error.kind(), "not a text file: it is not UTF-8"),
            _ => error,
        })?;
    if length as u64 > LONGEST_FILE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "longer than 64 KiB, which no config is"));
    }
    Ok(text)
}

/// A TOML value, or a string for a bare word.
fn parse_value(text: &str) -> Result<Value, String> {
    let error = match text.parse::<Value>() {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    match text.chars().next() {
        None => Err("has no value; an empty string is written \"\"".into()),
        Some('"' | '\'' | '[' | '{') => {
            Err(format!("{:?} is not a TOML value: {}", short(text), first_line(error.message())))
        }
        // numbers that TOML alone does not take, such as `.5`
        Some('.' | '+' | '-' | '0'..='9') if text.parse::<f64>().is_ok() => {
            Ok(Value::Float(text.parse().unwrap_or_default()))
        }
        Some(_) => Ok(Value::String(text.to_owned())),
    }
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or(message)
}

/// Where in the file the key at `path` begins.
fn offset_of(table: &DeTable<'_>, path: &[String]) -> Option<usize> {
    let (name, rest) = path.split_first()?;
    let (key, value) = table.get_key_value(name.as_str())?;
    match (rest, value.get_ref()) {
        ([], _) => Some(key.span().start),
        (rest, DeValue::Table(inner)) => offset_of(inner, rest),
        _ => None,
    }
}

/// Line and column of a byte offset, both from 1, the column in characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let (above, beside) = before.iter().rposition(|byte| *byte == b'\n').map_or((0, before), |at| {
        (before[..=at].split_inclusive(|byte| *byte == b'\n').count(), &before[at + 1..])
    });
    (above + 1, String::from_utf8_lossy(beside).chars().count() + 1)
}
