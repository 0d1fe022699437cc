//! What the blocks of the pages are made of: `docs/results/blocks.toml`.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use anyhow::Result;
use experiment::UserError;
use serde::Deserialize;
use serde_json::Value;

/// No such file is longer.
const LONGEST: u64 = 1 << 20;

/// All blocks by their names.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Blocks(BTreeMap<String, Block>);

/// What a block of a page shows, and what it is made of.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// The program that the results are of.
    pub program: ProgramName,
    /// The result files, below `docs/results`.
    pub files: Vec<String>,
    /// The table that it shows, or else a figure or a number.
    #[serde(default)]
    pub table: Option<String>,
    /// The figure that it shows.
    #[serde(default)]
    pub figure: Option<String>,
    /// The number that it shows, in the middle of a sentence.
    #[serde(default)]
    pub value: Option<String>,
    /// What a figure shows, in words.
    #[serde(default)]
    pub alt: String,
    /// For some keys of the settings, or `seed`, the value or the values to take.
    #[serde(default, rename = "where")]
    pub only: BTreeMap<String, OneOrMany>,
    /// Keys of the settings that tell runs apart beside the program's own axes.
    #[serde(default)]
    pub by: Vec<String>,
    /// The config, below the root, with whose `[sweep]` tables and figures are made, for what is not about single
    /// runs, such as `threshold`; else with the defaults.
    #[serde(default)]
    pub config: Option<PathBuf>,
}

/// A program whose results can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum ProgramName {
    /// Oversight in a gridworld.
    #[serde(rename = "ppo-routed")]
    Ppo,
    /// Splitting an encoding.
    #[serde(rename = "mnist-routed")]
    Mnist,
    /// Cutting a concept out of a language model.
    #[serde(rename = "lm-routed")]
    Lm,
    /// What a training step costs at growing sizes: no program's results, but measurements of all.
    #[serde(rename = "bench")]
    Bench,
}

/// A value, or a list of them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// A list.
    Many(Vec<Value>),
    /// A value.
    One(Value),
}

impl OneOrMany {
    /// As a list.
    pub(crate) fn list(&self) -> Vec<Value> {
        match self {
            Self::Many(values) => values.clone(),
            Self::One(value) => vec![value.clone()],
        }
    }
}

/// What a block shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows<'a> {
    /// The table of that name.
    Table(&'a str),
    /// The figure of that name.
    Figure(&'a str),
    /// The number of that name.
    Value(&'a str),
}

impl Blocks {
    /// Reads `docs/results/blocks.toml` below `root`; every block must make sense, whether a page has it or not.
    ///
    /// # Errors
    /// Fails where the file cannot be read or a block shows what its program does not have.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join("docs/results/blocks.toml");
        let refused = |fault: String| {
            UserError::failed(format!("{}: {fault}", path.display()))
                .with_hint("docs/results/README.md says how a block is written")
        };
        let bytes = experiment::read_at_most(&path, LONGEST).map_err(|error| refused(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|error| refused(error.to_string()))?;
        let blocks: Self =
            toml::from_str(&text).map_err(|error| refused(error.to_string().trim().replace('\n', " ")))?;
        for (name, block) in &blocks.0 {
            block.refuse_nonsense().map_err(|fault| refused(format!("block {name}: {fault}")))?;
        }
        Ok(blocks)
    }

    /// The block of a name.
    pub fn get(&self, name: &str) -> Option<&Block> {
        self.0.get(name)
    }
}

impl Block {
    /// What it shows.
    ///
    /// # Errors
    /// What is wrong, where it shows nothing or several things.
    pub fn shows(&self) -> Result<Shows<'_>, String> {
        match (&self.table, &self.figure, &self.value) {
            (Some(table), None, None) => Ok(Shows::Table(table)),
            (None, Some(figure), None) => Ok(Shows::Figure(figure)),
            (None, None, Some(value)) => Ok(Shows::Value(value)),
            _ => Err("it needs one of `table`, `figure` and `value`".to_owned()),
        }
    }

    fn refuse_nonsense(&self) -> Result<(), String> {
        let (kind, name, known) = match self.shows()? {
            Shows::Table(name) => ("table", name, self.program.shown().0),
            Shows::Figure(_) if self.alt.is_empty() => return Err("a figure needs `alt`".to_owned()),
            Shows::Figure(name) => ("figure", name, self.program.shown().1),
            Shows::Value(name) => ("value", name, self.program.shown().2),
        };
        if !known.contains(&name) {
            return Err(format!("no {kind} is called `{name}`; there are {}", known.join(", ")));
        }
        if self.program == ProgramName::Bench && !(self.by.is_empty() && self.config.is_none()) {
            return Err("measurements have neither `by` nor `config`".to_owned());
        }
        let leaves = |file: &Path| file.components().any(|part| !matches!(part, Component::Normal(_)));
        if let Some(config) = self.config.as_deref().filter(|config| leaves(config)) {
            return Err(format!("{} is not below the root", config.display()));
        }
        match self.files.iter().find(|file| leaves(Path::new(file))) {
            _ if self.files.is_empty() => Err("it needs `files`".to_owned()),
            Some(file) => Err(format!("{file} is not below docs/results")),
            None => Ok(()),
        }
    }
}
