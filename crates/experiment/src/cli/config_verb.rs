//! The verb `config`: settings that can be looked up, saved and compared.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use schemars::JsonSchema;

use super::CommonArgs;
use crate::config::{Settings, describe, differences, load, load_run};
use crate::run_folder::RunFolder;

/// The options of `config`.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigArgs {
    /// The settings of a run or of a config file, in place of the defaults.
    #[arg(long, value_name = "RUN|FILE", conflicts_with = "diff")]
    pub of: Option<PathBuf>,
    /// The keys in which two runs or config files differ.
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    pub diff: Vec<PathBuf>,
}

impl ConfigArgs {
    /// Every key with its meaning, its type and its value, as a file that can be saved and run; or the differences.
    /// Without `--of`, the values are those of a run of `program` with this command line.
    ///
    /// # Errors
    /// Fails where a file cannot be read or has a fault.
    pub fn show<S: Settings + JsonSchema>(&self, common: &CommonArgs, program: &str) -> Result<String> {
        if let [one, other] = &self.diff[..] {
            let [one, other] = [one, other].map(|path| settings::<S>(path, &common.set, program));
            let lines = differences(&one?, &other?)?;
            return Ok(lines.into_iter().flat_map(|line| [line, "\n".to_owned()]).collect());
        }
        let settings = match &self.of {
            Some(path) => settings::<S>(path, &common.set, program)?,
            None => load(common.config.as_deref(), &common.set)?,
        };
        Ok(describe(&settings)?)
    }
}

/// The settings of a run folder or of a file.
fn settings<S: Settings>(path: &Path, overrides: &[String], program: &str) -> Result<S> {
    if path.is_dir() {
        return Ok(load_run(&RunFolder::view_of(path, program)?.config_path(), overrides)?);
    }
    Ok(load(Some(path), overrides)?)
}
