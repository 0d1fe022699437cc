//! The verbs that answer a question and change nothing, the same in every binary.

use anyhow::Result;
use clap::{CommandFactory, Subcommand};
use clap_complete::Shell;
use schemars::JsonSchema;

use super::config_verb::ConfigArgs;
use super::list_verb::ListArgs;
use super::{CommonArgs, GivenOptions};
use crate::config::Settings;
use crate::overview::Measures;

/// What can be asked about settings and runs; flatten it into the verbs of a binary.
#[derive(Subcommand, Clone, Debug)]
pub enum LookupVerb {
    /// Print every setting with its meaning, type and value, as a file that can be saved and run.
    Config(ConfigArgs),
    /// List the runs of a folder: their state, score, age, and the settings that differ.
    List(ListArgs),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

impl LookupVerb {
    /// The answer for a program with the settings `S` and the command line `C`, whose summaries have `measures`.
    ///
    /// # Errors
    /// Fails where an option was given that the verb does not take, and where a file or folder cannot be read.
    pub fn answer<S: Settings + JsonSchema, C: CommandFactory>(
        self,
        common: &CommonArgs,
        given: &GivenOptions,
        measures: Measures,
    ) -> Result<String> {
        match self {
            Self::Config(args) => {
                given.refuse("config", &["--config", "--set"], "it prints the settings on stdout")?;
                args.show::<S>(common, C::command().get_name())
            }
            Self::List(args) => {
                given.refuse("list", &[], "it prints the runs of a folder on stdout")?;
                args.list(measures)
            }
            Self::Completions { shell } => {
                given.refuse("completions", &[], "it prints a script on stdout")?;
                Ok(completions::<C>(shell))
            }
        }
    }
}

/// The completion script of a binary for a shell.
fn completions<C: CommandFactory>(shell: Shell) -> String {
    let mut command = C::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
