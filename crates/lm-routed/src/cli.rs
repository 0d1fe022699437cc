//! The command line: verbs, options, and what each verb prints.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use experiment::{CommonArgs, UserError};

use crate::bench::{Shape, bench};
use crate::config::{Config, Experiment};
use crate::run::{self, RunRequest};
use crate::watch::Bar;

/// Localising and removing a concept in a small language model by gradient routing.
#[derive(Parser, Debug)]
#[command(name = "lm-routed", bin_name = "lm-routed", version, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    common: CommonArgs,
    /// Also write metrics.csv when the run is done.
    #[arg(long, global = true)]
    csv: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Expand, route, ablate: remove a concept, and compare with other methods (the default verb).
    Era,
    /// Go on with an interrupted run.
    Resume {
        /// The run folder.
        run: PathBuf,
    },
    /// Time a training step and print one JSON line.
    Bench {
        /// What is timed.
        #[arg(long, value_enum, default_value_t = Shape::Tinystories)]
        shape: Shape,
        /// Timed steps.
        #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(5..=1000))]
        repetitions: u32,
    },
}

/// Parses the command line, does what it says and reports how it ended: exit code 0 done, 1 the run failed, 2
/// bad usage or config.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    experiment::init_logging(cli.common.quiet);
    experiment::report(dispatch(cli))
}

/// Help and version go to stdout; a wrong command line is one `error:` line with clap's advice as the hint.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return if error.print().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let text = error.render().to_string();
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let mut first = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let mut advice = lines.collect::<Vec<_>>().join("; ").replace("tip: ", "");
    // what is missing stands in lines of its own
    if first.ends_with(':') {
        first = format!("{first} {}", std::mem::take(&mut advice));
    }
    let hint =
        if advice.is_empty() { "`lm-routed --help` lists verbs and options".to_owned() } else { advice };
    experiment::report(Err::<(), _>(UserError::usage(first).with_hint(hint)))
}

fn dispatch(cli: Cli) -> Result<()> {
    let Cli { common, csv, verb } = cli;
    let common = common.with_every_set(std::env::args_os());
    let mut bar = Bar::new(common.quiet);
    match verb {
        None | Some(Verb::Era) => {
            let mut config: Config = experiment::load(common.config.as_deref(), &common.set)?;
            if verb.is_some() {
                config.experiment.kind = Experiment::Era;
            }
            print(&run::start(&request(&common, config, csv), &mut bar)?)
        }
        Some(Verb::Bench { shape, repetitions }) => {
            let config: Config = experiment::load(common.config.as_deref(), &common.set)?;
            let device = common.device.open()?;
            let report = bench(&config, shape, threads(&common), common.device, &device, repetitions)?;
            print(&format!("{report}\n"))
        }
        Some(Verb::Resume { run }) => print(&run::resume(&run, common.threads, csv, &mut bar)?),
    }
}

fn request(common: &CommonArgs, config: Config, csv: bool) -> RunRequest {
    let seed = common.seed.unwrap_or(0);
    let folder = common.out.clone().unwrap_or_else(|| run_name(common, &config, seed));
    RunRequest {
        config,
        seed,
        folder,
        threads: threads(common),
        device: common.device,
        csv,
        tokens: Vec::new(),
    }
}

/// `runs/NAME-seedN`, with the config file's name or else the experiment's.
fn run_name(common: &CommonArgs, config: &Config, seed: u64) -> PathBuf {
    let stem =
        common.config.as_deref().and_then(Path::file_stem).map(|stem| stem.to_string_lossy().into_owned());
    let name = stem.unwrap_or_else(|| config.experiment.kind.name().to_owned());
    Path::new("runs").join(format!("{name}-seed{seed}"))
}

fn threads(common: &CommonArgs) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    common.threads.unwrap_or_else(cores)
}

/// Data goes to stdout; a reader that went away early, such as `head`, is no failure.
fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("writing to stdout")
        }
        _ => Ok(()),
    }
}
