//! A block, made of its result files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use experiment::sweep::{PageProgram, Results, Selection, SweepConfig};
use lm_routed::Language;
use mnist_routed::Autoencoder;
use ppo_routed::Ppo;

use crate::blocks::{Block, ProgramName, Shows};
use crate::scale::{self, Measured};

/// What a block came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// Markdown.
    Table(String),
    /// A number, with its interval.
    Value(String),
    /// A PNG, and what it shows in words.
    Figure {
        /// The bytes of the file.
        png: Vec<u8>,
        /// The words.
        alt: String,
    },
}

/// The names of a program's tables, figures and values.
pub(crate) type Names = (&'static [&'static str], &'static [&'static str], &'static [&'static str]);

fn names_of<P: PageProgram>() -> Names {
    (P::TABLES, P::FIGURES, P::VALUES)
}

impl ProgramName {
    /// The tables, figures and values of its results.
    pub(crate) fn shown(self) -> Names {
        match self {
            Self::Ppo => names_of::<Ppo>(),
            Self::Mnist => names_of::<Autoencoder>(),
            Self::Lm => names_of::<Language>(),
            Self::Bench => (scale::TABLES, scale::FIGURES, &[]),
        }
    }
}

impl Block {
    /// Makes it of the result files in `docs/results` below `root`.
    ///
    /// # Errors
    /// Fails where one of them is not there or cannot be used, or they do not make what the block shows.
    pub fn make(&self, root: &Path) -> Result<Made> {
        match self.program {
            ProgramName::Ppo => self.made_by(&Ppo, root),
            // results need neither images nor texts
            ProgramName::Mnist => self.made_by(&Autoencoder::new(None, true), root),
            ProgramName::Lm => self.made_by(&Language::default(), root),
            ProgramName::Bench => self.made_of_measurements(root),
        }
    }

    fn results(&self, root: &Path) -> Vec<PathBuf> {
        self.files.iter().map(|file| root.join("docs/results").join(file)).collect()
    }

    fn made_of_measurements(&self, root: &Path) -> Result<Made> {
        let wanted = |line: &serde_json::Value| {
            self.only.iter().all(|(key, values)| values.list().contains(&line[key]))
        };
        let measured = Measured::read(&self.results(root), wanted)?;
        match self.shows().map_err(anyhow::Error::msg)? {
            Shows::Figure(_) => self.drawn(|file| Ok(measured.draw()?.write_png(file)?)),
            Shows::Table(_) | Shows::Value(_) => Ok(Made::Table(measured.table())),
        }
    }

    fn made_by<P: PageProgram>(&self, program: &P, root: &Path) -> Result<Made> {
        let only = self.only.iter().map(|(key, values)| (key.clone(), values.list())).collect();
        let selection = Selection { only, by: Some(self.by.clone()) };
        let results = Results::read(program, &self.results(root), &selection)?;
        let settings: SweepConfig<P::Config, P::Keys> =
            experiment::load(self.config.as_ref().map(|config| root.join(config)).as_deref(), &[])?;
        let keys = &settings.sweep.own;
        match self.shows().map_err(anyhow::Error::msg)? {
            Shows::Table(name) => Ok(Made::Table(program.table(&results, keys, name)?)),
            Shows::Value(name) => Ok(Made::Value(program.value(&results, name)?)),
            Shows::Figure(name) => self.drawn(|file| program.figure(&results, keys, name, file)),
        }
    }

    /// The figure that `draw` writes to the file that it is given.
    fn drawn(&self, draw: impl FnOnce(&Path) -> Result<()>) -> Result<Made> {
        let scratch = tempfile::tempdir().context("a temporary folder")?;
        let file = scratch.path().join("figure.png");
        draw(&file)?;
        let png = fs::read(&file).context("the figure that was drawn")?;
        Ok(Made::Figure { png, alt: self.alt.clone() })
    }
}
