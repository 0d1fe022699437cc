//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::{check, redraw};

/// Make every block of the pages that shows results anew, tables, figures and numbers, from the files in docs/results.
#[derive(Parser, Debug)]
#[command(name = "redraw", bin_name = "redraw", version)]
struct Cli {
    /// Change nothing; fail where a page or a picture is not what its result files say.
    #[arg(long)]
    check: bool,
    /// The folder of the pages, with docs/ in it.
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
}

/// Parses the command line, does what it says and reports how it ended: exit code 0 done, 1 something differs or
/// failed, 2 bad usage.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return experiment::usage(&error, "redraw"),
    };
    experiment::init_logging(false);
    experiment::report(dispatch(&cli))
}

fn dispatch(cli: &Cli) -> Result<()> {
    let text = if cli.check {
        format!("{} blocks are what their result files say\n", check(&cli.root)?)
    } else {
        experiment::lines(&redraw(&cli.root)?)
    };
    Ok(experiment::print(&text)?)
}
