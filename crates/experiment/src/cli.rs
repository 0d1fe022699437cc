//! The options that every binary has, and its answer to a wrong command line.
mod config_verb;
mod list_verb;
mod lookup;
mod options;
mod program;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::device::DeviceArg;
use crate::driver::{Bar, Watch};
use crate::live::LiveView;
use crate::report::{UserError, report};
use crate::terminal::unless_left;

pub use config_verb::ConfigArgs;
pub use list_verb::ListArgs;
pub use lookup::LookupVerb;
pub use options::{GivenOptions, OutputArgs};
pub use program::program_main;

/// The options that every binary and every verb has; flatten it into the parser.
#[derive(Args, Clone, Debug, Default)]
pub struct CommonArgs {
    /// Read settings from a TOML file.
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Set one key, over the file; can be given many times.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", global = true)]
    pub set: Vec<String>,
    /// Seed of every random stream.
    #[arg(long, value_name = "N", value_parser = seed, allow_negative_numbers = true, global = true)]
    pub seed: Option<u64>,
    /// Folder of the run, in place of runs/NAME-seedN.
    #[arg(long, value_name = "DIR", global = true)]
    pub out: Option<PathBuf>,
    /// Where the tensors live: cpu, cuda or cuda:N.
    #[arg(long, value_name = "DEVICE", default_value_t = DeviceArg::Cpu, global = true)]
    pub device: DeviceArg,
    /// Threads to compute with; all cores if not given.
    #[arg(long, value_name = "N", value_parser = threads, allow_negative_numbers = true, global = true)]
    pub threads: Option<usize>,
    /// No progress bar and no warnings.
    #[arg(long, global = true)]
    pub quiet: bool,
    /// Draw the curves of the evaluations above the bar, where stderr is a terminal.
    #[arg(long, global = true)]
    pub watch: bool,
}

impl CommonArgs {
    /// With every `--set` of the command line, in its order: of an option that stands before the verb and after
    /// it, clap keeps the values behind it and drops the others.
    #[must_use]
    pub fn with_every_set(self, command_line: impl IntoIterator<Item = OsString>) -> Self {
        let mut arguments = command_line.into_iter().map(|text| text.to_string_lossy().into_owned());
        let mut set = Vec::new();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--" => break,
                "--set" => set.extend(arguments.next()),
                _ => set.extend(argument.strip_prefix("--set=").map(str::to_owned)),
            }
        }
        Self { set, ..self }
    }

    /// What tells the user how far a run is that counts `unit`: a bar, with curves of the metrics that are `wanted` where
    /// these were asked for.
    pub fn view(&self, unit: &'static str, wanted: fn(&str) -> bool) -> Box<dyn Watch> {
        if self.watch {
            Box::new(LiveView::new(unit, self.quiet, wanted))
        } else {
            Box::new(Bar::new(unit, self.quiet))
        }
    }

    /// The threads to compute with.
    pub fn thread_count(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or_else(cores)
    }

    /// The folder of a run with a seed: `--out`, or `runs/NAME-seedN` with the name of the config file or else
    /// `name`.
    pub fn run_folder(&self, seed: u64, name: impl FnOnce() -> String) -> PathBuf {
        let file = || self.config.as_deref().and_then(Path::file_stem);
        let name = || file().map_or_else(name, |stem| stem.to_string_lossy().into_owned());
        self.out.clone().unwrap_or_else(|| Path::new("runs").join(format!("{}-seed{seed}", name())))
    }
}

/// The end of `main` where clap did not return the arguments of `program`: help and version go to stdout; a wrong
/// command line is one `error:` line with clap's advice as the hint.
pub fn usage(error: &clap::Error, program: &str) -> ExitCode {
    if !error.use_stderr() {
        return report(unless_left(error.print()));
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
    if let Some((before, range)) = first.rsplit_once(" is not in ")
        && let Some((least, most)) = range.split_once("..=")
    {
        first = format!("{before} does not lie between {least} and {most}");
    }
    let hint = if advice.is_empty() { format!("`{program} --help` lists verbs and options") } else { advice };
    report(Err::<(), _>(UserError::usage(first).with_hint(hint)))
}

/// The most threads that a run may have: more would be a slip of the fingers, and takes the machine minutes to start.
pub const MOST_THREADS: usize = 1024;

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("a seed is a whole number from 0 to {}", u64::MAX))
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least one thread is needed".into()),
        Ok(count) if count > MOST_THREADS => Err(format!("at most {MOST_THREADS} threads can be used")),
        Ok(count) => Ok(count),
        Err(_) => Err("a whole number is needed".into()),
    }
}
