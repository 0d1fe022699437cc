//! Each given key against the defaults: is it known, has it the right type.
use std::collections::HashSet;

use toml::{Table, Value};

use super::faults::short;
use super::given::Leaf;
use super::{Fault, Settings};

/// What the defaults have at a path.
pub(super) enum Known<'a> {
    Section(&'a Table),
    Value(&'a Value),
    Nothing,
}

pub(super) fn lookup<'a>(defaults: &'a Table, path: &[String]) -> Known<'a> {
    let mut table = defaults;
    for (depth, name) in path.iter().enumerate() {
        match table.get(name) {
            Some(Value::Table(inner)) => table = inner,
            Some(value) if depth + 1 == path.len() => return Known::Value(value),
            _ => return Known::Nothing,
        }
    }
    Known::Section(table)
}

/// A key path as it is written, with quotes where TOML needs them.
pub(super) fn join(path: &[String]) -> String {
    let parts: Vec<String> = path
        .iter()
        .map(|part| {
            let bare = part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
            if bare && !part.is_empty() { part.clone() } else { format!("{part:?}") }
        })
        .collect();
    parts.join(".")
}

/// The given keys, sorted out.
pub(super) struct Checked {
    /// The well-typed ones.
    pub(super) good: Table,
    /// The paths of those that have the wrong type.
    pub(super) bad: HashSet<String>,
}

pub(super) fn leaves<S: Settings>(given: &[Leaf], defaults: &Table, faults: &mut Vec<Fault>) -> Checked {
    let mut checked = Checked { good: Table::new(), bad: HashSet::new() };
    for leaf in given {
        let message = match lookup(defaults, &leaf.path) {
            Known::Nothing => unknown(defaults, leaf),
            Known::Section(section) => {
                let keys: Vec<&str> = section.keys().map(String::as_str).collect();
                format!("is a section, not a value; it has {}", quoted(&keys))
            }
            Known::Value(default) => {
                let mut trial = defaults.clone();
                set(&mut trial, &leaf.path, leaf.value.clone());
                match S::deserialize(Value::Table(trial)) {
                    Ok(_) => {
                        set(&mut checked.good, &leaf.path, leaf.value.clone());
                        continue;
                    }
                    Err(error) => wrong_type(default, &leaf.value, error.message()),
                }
            }
        };
        faults.push(Fault::of(leaf.key(), message).from(leaf.origin.as_str()));
        checked.bad.insert(leaf.key());
    }
    checked
}

/// Puts `over` on top of `table`, key by key.
pub(super) fn lay_over(table: &mut Table, over: Table) {
    for (name, value) in over {
        match (table.get_mut(&name), value) {
            (Some(Value::Table(inner)), Value::Table(value)) => lay_over(inner, value),
            (_, value) => {
                table.insert(name, value);
            }
        }
    }
}

fn set(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => {
            table.insert(name.clone(), value);
        }
        [name, rest @ ..] => {
            let section = table.entry(name.clone()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = section {
                set(section, rest, value);
            }
        }
    }
}

/// The message for a key that the defaults do not have, with the nearest that they do.
fn unknown(defaults: &Table, leaf: &Leaf) -> String {
    let is_table = leaf.value.is_table();
    let what = if is_table { "section" } else { "key" };
    let mut known = Vec::new();
    paths(defaults, "", &mut known);
    let given = leaf.key();
    let candidates = known.iter().filter(|(_, section)| *section == is_table).map(|(path, _)| path.as_str());
    if let Some(path) = nearest(&given, candidates) {
        return format!("no such {what}, did you mean `{path}`?");
    }
    // what there is beside the place where it was put, as far as that place is known
    let parent = (0..leaf.path.len()).rev().find_map(|depth| match lookup(defaults, &leaf.path[..depth]) {
        Known::Section(section) => Some((depth, section)),
        _ => None,
    });
    let (depth, section) = parent.unwrap_or((0, defaults));
    let keys: Vec<&str> = section.keys().map(String::as_str).collect();
    let place = if depth == 0 { "the config".to_owned() } else { format!("`{}`", join(&leaf.path[..depth])) };
    format!("no such {what}; {place} has {}", quoted(&keys))
}

/// Every path of the defaults and whether it is a section.
fn paths(table: &Table, prefix: &str, out: &mut Vec<(String, bool)>) {
    for (name, value) in table {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        out.push((path.clone(), value.is_table()));
        if let Value::Table(inner) = value {
            paths(inner, &path, out);
        }
    }
}

/// The candidate that differs least from `given`: the same name in another section, a slip of the fingers, or the
/// beginning of a name.
fn nearest<'a>(given: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    // a longer one is no slip, and the distance takes time and memory of the order of the length
    if given.chars().count() > 100 {
        return None;
    }
    let scored = candidates.filter_map(|path| {
        let whole = strsim::damerau_levenshtein(given, path);
        let name = strsim::damerau_levenshtein(&last(given), &last(path));
        let allowed = (last(path).chars().count() / 3).max(1);
        let begun = last(given).len() >= 3 && last(path).starts_with(&last(given));
        let near = name <= allowed || whole <= allowed || begun;
        near.then_some((name.min(whole), whole, path))
    });
    scored.min().map(|(_, _, path)| path)
}

/// The names that a key can have, where it has a choice of names: those that serde lists when it is given another.
pub(super) fn allowed<S: Settings>(known: &Table, path: &[String]) -> Vec<String> {
    let mut trial = known.clone();
    set(&mut trial, path, Value::String("?".to_owned()));
    let error = S::deserialize(Value::Table(trial)).err();
    error.map(|error| variants(error.message())).unwrap_or_default()
}

/// The names in serde's message about an unknown variant.
fn variants(message: &str) -> Vec<String> {
    let names = message.strip_prefix("unknown variant").and_then(|rest| rest.rsplit_once(", expected "));
    names
        .map(|(_, names)| names.split('`').skip(1).step_by(2).map(str::to_owned).collect())
        .unwrap_or_default()
}

/// The message for a value that does not deserialise where `default` does.
fn wrong_type(default: &Value, given: &Value, reason: &str) -> String {
    let names = variants(reason);
    if !names.is_empty() {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let near = given.as_str().and_then(|given| nearest(given, names.iter().copied()));
        let question = near.map(|name| format!(", did you mean `{name}`?")).unwrap_or_default();
        return format!("must be {}, got {}{question}", either(&names), show(given));
    }
    match (default, given) {
        (Value::Integer(_), Value::Integer(number)) if *number < 0 && reason.contains("expected u") => {
            format!("must not be negative, got {number}")
        }
        (Value::Integer(_), Value::Integer(number)) if *number > i64::from(u8::MAX) => {
            format!("is too large, got {number}")
        }
        _ if kind(default) != kind(given) => {
            let quote =
                matches!(default, Value::String(_)) && !matches!(given, Value::Table(_) | Value::Array(_));
            let remedy = if quote { "; put it in quotes" } else { "" };
            format!("must be {}, got {}{remedy}", kind(default), show(given))
        }
        _ => short(reason.lines().next().unwrap_or(reason)),
    }
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section",
    }
}

/// A value in one short line.
fn show(value: &Value) -> String {
    let text = match value {
        Value::String(text) => format!("{text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a section".to_owned(),
        value => value.to_string(),
    };
    short(&text)
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The names as a choice, for the message of a fault: `` `a`, `b` or `c` ``.
pub fn either(names: &[&str]) -> String {
    match names {
        [rest @ .., last] if !rest.is_empty() => format!("{} or `{last}`", quoted(rest)),
        _ => quoted(names),
    }
}
