//! Settings that can be looked up: every key with what it means, as a file that can be saved and run.

use schemars::JsonSchema;
use serde_json::Value as Json;
use toml::{Table, Value};

use super::check::{Known, allowed, kind, lookup};
use super::{ConfigError, Settings, table_of, to_toml};

/// The widest line of a comment.
const WIDTH: usize = 100;

/// The settings as TOML with a comment above every section and key: its meaning, from the doc comment of its field, and
/// its type or the values that it can have. Read back, it gives the same settings.
///
/// # Errors
/// [`ConfigError::Unwritable`] for settings that TOML cannot express.
pub fn describe<S: Settings + JsonSchema>(settings: &S) -> Result<String, ConfigError> {
    let schema = schemars::schema_for!(S).to_value();
    let known = table_of(settings)?;
    let mut out = String::new();
    let mut section: Vec<String> = Vec::new();
    // the serialiser writes the keys in the order of the fields, each on a line of its own
    for line in to_toml(settings)?.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.split('.').map(str::to_owned).collect();
            let meaning = field(&schema, &section).map(|field| meaning(&schema, field)).unwrap_or_default();
            comment(&mut out, &meaning);
        } else if let Some((key, _)) = line.split_once(" = ") {
            let path: Vec<String> = section.iter().cloned().chain([key.to_owned()]).collect();
            if let Some(field) = field(&schema, &path) {
                comment(&mut out, &meaning(&schema, field));
            }
            comment(&mut out, &values::<S>(&known, &path));
        }
        out.push_str(line);
        out.push('\n');
    }
    Ok(out)
}

/// The keys in which two settings differ, each as `section.key = one → other`, in the order of their names.
///
/// # Errors
/// [`ConfigError::Unwritable`] for settings that TOML cannot express.
pub fn differences<S: Settings>(one: &S, other: &S) -> Result<Vec<String>, ConfigError> {
    let mut lines = Vec::new();
    compare("", &table_of(one)?, &table_of(other)?, &mut lines);
    Ok(lines)
}

fn compare(prefix: &str, one: &Table, other: &Table, lines: &mut Vec<String>) {
    let absent = || "(absent)".to_owned();
    let mut names: Vec<&String> = one.keys().chain(other.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        match (one.get(name), other.get(name)) {
            (Some(Value::Table(one)), Some(Value::Table(other))) => {
                compare(&format!("{prefix}{name}."), one, other, lines);
            }
            (one, other) if one != other => {
                let show = |value: Option<&Value>| value.map_or_else(absent, ToString::to_string);
                lines.push(format!("{prefix}{name} = {} → {}", show(one), show(other)));
            }
            _ => {}
        }
    }
}

/// The schema of a key.
fn field<'a>(schema: &'a Json, path: &[String]) -> Option<&'a Json> {
    path.iter().try_fold(schema, |at, name| resolved(schema, at).get("properties")?.get(name))
}

/// What a schema refers to.
fn resolved<'a>(root: &'a Json, at: &'a Json) -> &'a Json {
    let name = at.get("$ref").and_then(Json::as_str).and_then(|path| path.strip_prefix("#/$defs/"));
    name.and_then(|name| root.get("$defs")?.get(name)).unwrap_or(at)
}

/// The doc comment of a field, then that of each value it can have.
fn meaning(root: &Json, field: &Json) -> String {
    let text = |at: &Json| at.get("description").and_then(Json::as_str).map(plain);
    let own = text(field).unwrap_or_default();
    let variants = resolved(root, field).get("oneOf").and_then(Json::as_array);
    let variants = variants
        .into_iter()
        .flatten()
        .filter_map(|variant| Some(format!("- {}: {}", variant.get("const")?.as_str()?, text(variant)?)));
    std::iter::once(own).chain(variants).collect::<Vec<_>>().join("\n")
}

/// The first paragraph of a doc comment, without its markup.
fn plain(text: &str) -> String {
    let first = text.split("\n\n").next().unwrap_or_default();
    first.replace("[`", "").replace("`]", "").replace('\n', " ")
}

/// The type of a key, or the values that it can have.
fn values<S: Settings>(known: &Table, path: &[String]) -> String {
    let names = allowed::<S>(known, path);
    if !names.is_empty() {
        return format!("one of: {}", names.join(", "));
    }
    match lookup(known, path) {
        Known::Value(value) => kind(value).to_owned(),
        Known::Section(_) | Known::Nothing => String::new(),
    }
}

fn comment(out: &mut String, text: &str) {
    for paragraph in text.lines() {
        let mut line = "#".to_owned();
        for word in paragraph.split_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > WIDTH {
                out.push_str(&line);
                "\n#".clone_into(&mut line);
            }
            line.push(' ');
            line.push_str(word);
        }
        out.push_str(&line);
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::Faults;

    /// How fast.
    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Speed {
        /// In no hurry.
        Slow,
        /// At once.
        Fast,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    struct Config {
        /// The schedule.
        train: Train,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    struct Train {
        /// Passes over the data,
        /// see [`Speed`].
        ///
        /// A second paragraph.
        epochs: u64,
        /// The pace.
        speed: Speed,
        /// A list.
        sizes: Vec<usize>,
    }

    impl Default for Config {
        fn default() -> Self {
            Self { train: Train { epochs: 3, speed: Speed::Slow, sizes: vec![4, 2] } }
        }
    }

    impl Settings for Config {
        fn faults(&self, _: &mut Faults) {}
    }

    #[test]
    fn every_key_has_its_meaning_its_type_and_its_values() {
        let text = describe(&Config::default()).unwrap();
        let expected = "# The schedule.\n[train]\n# Passes over the data, see Speed.\n# a whole number\nepochs = 3\n\
            # The pace.\n# - slow: In no hurry.\n# - fast: At once.\n# one of: slow, fast\nspeed = \"slow\"\n\
            # A list.\n# a list\nsizes = [4, 2]\n";
        assert_eq!(text, expected);
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), Config::default());
    }

    #[test]
    fn differences_name_the_key_and_both_values() {
        let other = Config { train: Train { epochs: 5, speed: Speed::Fast, sizes: vec![4, 2] } };
        let lines = differences(&Config::default(), &other).unwrap();
        assert_eq!(lines, ["train.epochs = 3 → 5", "train.speed = \"slow\" → \"fast\""]);
        assert!(differences(&other, &other).unwrap().is_empty());
    }
}
