//! A block, made of its result files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use experiment::sweep::{PageProgram, Results, Selection, SweepConfig};
use ppo_routed::Ppo;

use crate::blocks::{Block, ProgramName, Shows};

/// What a block came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// Markdown.
    Table(String),
    /// A PNG, and what it shows in words.
    Figure {
        /// The bytes of the file.
        png: Vec<u8>,
        /// The words.
        alt: String,
    },
}

impl ProgramName {
    /// The tables of its results.
    pub(crate) fn tables(self) -> &'static [&'static str] {
        match self {
            Self::Ppo => Ppo::TABLES,
        }
    }

    /// The figures of its results.
    pub(crate) fn figures(self) -> &'static [&'static str] {
        match self {
            Self::Ppo => Ppo::FIGURES,
        }
    }
}

impl Block {
    /// Makes it of the result files in `results`.
    ///
    /// # Errors
    /// Fails where one of them is not there or cannot be used, or they do not make what the block shows.
    pub fn make(&self, results: &Path) -> Result<Made> {
        match self.program {
            ProgramName::Ppo => self.made_by(&Ppo, results),
        }
    }

    fn made_by<P: PageProgram>(&self, program: &P, folder: &Path) -> Result<Made> {
        let files: Vec<PathBuf> = self.files.iter().map(|file| folder.join(file)).collect();
        let only = self.only.iter().map(|(key, values)| (key.clone(), values.list())).collect();
        let selection = Selection { only, by: Some(self.by.clone()) };
        let results = Results::read(program, &files, &selection)?;
        let settings: SweepConfig<P::Config, P::Keys> = experiment::load(None, &self.set)?;
        let keys = &settings.sweep.own;
        match self.shows().map_err(anyhow::Error::msg)? {
            Shows::Table(name) => Ok(Made::Table(program.table(&results, keys, name)?)),
            Shows::Figure(name) => {
                let scratch = tempfile::tempdir().context("a temporary folder")?;
                let file = scratch.path().join("figure.png");
                program.figure(&results, keys, name, &file)?;
                let png = fs::read(&file).context("the figure that was drawn")?;
                Ok(Made::Figure { png, alt: self.alt.clone() })
            }
        }
    }
}
