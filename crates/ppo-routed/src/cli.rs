//! The command line: verbs, options, and what each verb prints.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use experiment::{CommonArgs, ConfigError, DeviceArg, UserError};

use crate::config::{Algo, Config};
use crate::progress::Bar;
use crate::run::{Outputs, RunRequest};
use crate::sweep::{SweepArgs, sweep};
use crate::{bench, eval, plots, run};

/// Oversight experiments with gradient routing: train a policy of which only a share of episodes is overseen,
/// and see whether the module you keep does what was meant.
#[derive(Parser, Debug)]
#[command(name = "ppo-routed", bin_name = "ppo-routed", version, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    outputs: OutputArgs,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// What a training run writes beside the run folder's own files.
#[derive(Args, Clone, Copy, Debug)]
struct OutputArgs {
    /// Also write metrics.csv when the run is done.
    #[arg(long, global = true)]
    csv: bool,
    /// Also write event files for `TensorBoard` while training.
    #[arg(long, global = true)]
    tensorboard: bool,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Train a policy (the default verb).
    Train,
    /// Go on with an interrupted run from its newest checkpoint.
    Resume {
        /// The run folder.
        run: PathBuf,
    },
    /// Score a run's newest checkpoint on fresh environments.
    Eval {
        /// The run folder.
        run: PathBuf,
        /// Another checkpoint of the run.
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// Evaluations to average over, each on environments of its own.
        #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        repeats: u64,
    },
    /// Draw reward curves, routing shares and gate curves of one run, or of several seeds together.
    Plot {
        /// The run folders.
        #[arg(required = true)]
        runs: Vec<PathBuf>,
    },
    /// Draw a run's policies as arrows, a GIF over its snapshots, or play an episode as text.
    Render {
        /// The run folder.
        run: PathBuf,
        /// Print an episode of each policy to stdout in place of drawing.
        #[arg(long)]
        text: bool,
    },
    /// Compare methods, levels of oversight, seeds and settings: many runs, tables and figures.
    Sweep(SweepArgs),
    /// Time the training step and print one JSON line.
    Bench {
        /// The algorithm; that of the config if not given.
        #[arg(long, value_enum)]
        algo: Option<AlgoArg>,
        /// Timed repetitions.
        #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(5..=1000))]
        repetitions: u32,
        /// Updates of one repetition; chosen for about two seconds if not given.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
        updates: Option<u64>,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum AlgoArg {
    Ppo,
    Reinforce,
}

/// Parses the command line, does what it says and reports how it ended: exit code 0 done, 1 the run failed, 2
/// bad usage or config.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return experiment::usage(&error, "ppo-routed"),
    };
    experiment::init_logging(cli.common.quiet);
    experiment::report(dispatch(cli))
}

fn dispatch(cli: Cli) -> Result<()> {
    let Cli { common, outputs, verb } = cli;
    let common = common.with_every_set(std::env::args_os());
    let outputs = Outputs { csv: outputs.csv, tensorboard: outputs.tensorboard, pictures: true };
    let mut bar = Bar::new(common.quiet);
    let text = match verb.unwrap_or(Verb::Train) {
        Verb::Train => {
            let config = run_config(&common)?;
            let seed = common.seed.unwrap_or(0);
            let folder = common.out.clone().unwrap_or_else(|| run_name(&common, &config, seed));
            let request = RunRequest {
                config,
                seed,
                folder,
                threads: threads(&common),
                device: common.device,
                outputs,
            };
            run::train(&request, &mut bar)?
        }
        Verb::Resume { run } => {
            let advice =
                "it goes on with the settings of the run; to change them, start a new run with `train`";
            refuse("resume", &common, outputs, &["--csv", "--tensorboard"], advice)?;
            run::resume(&run, common.threads, outputs, &mut bar)?
        }
        Verb::Eval { run, checkpoint, repeats } => {
            let advice = "it prints on stdout and has the config of the run, to be changed with --set";
            refuse("eval", &common, outputs, &["--set", "--seed", "--device"], advice)?;
            eval::eval(&run, checkpoint.as_deref(), &common, threads(&common), repeats)?
        }
        Verb::Plot { runs } => {
            refuse("plot", &common, outputs, &["--out"], DRAWN)?;
            let folder = common.out.clone();
            let paths = plots::plot(&runs, folder.as_deref())?;
            lines(&paths)
        }
        Verb::Render { run, text } => {
            if text {
                refuse(
                    "render --text",
                    &common,
                    outputs,
                    &["--seed"],
                    "it prints on stdout what the run's policies do",
                )?;
                return Ok(experiment::print(&eval::play(&run, common.seed.unwrap_or(0))?)?);
            }
            refuse("render", &common, outputs, &["--out"], DRAWN)?;
            let paths = plots::render(&run, common.out.as_deref())?;
            lines(&paths)
        }
        Verb::Sweep(args) => {
            let advice = "seeds stand in sweep.seeds; each run has a folder in the sweep's";
            let takes = args.takes();
            refuse(args.name(), &common, outputs, takes, advice)?;
            let report = sweep(args, &common)?;
            experiment::print(&report.text)?;
            return report.fault.map_or(Ok(()), |fault| Err(fault.into()));
        }
        Verb::Bench { algo, repetitions, updates } => {
            refuse(
                "bench",
                &common,
                outputs,
                &["--config", "--set", "--device"],
                "it writes nothing, and needs no seed",
            )?;
            let algo = algo.map(|algo| match algo {
                AlgoArg::Ppo => Algo::Ppo,
                AlgoArg::Reinforce => Algo::Reinforce,
            });
            let algo = algo.map(|algo| format!("train.algo={}", algo.name()));
            let set: Vec<String> = algo.into_iter().chain(common.set.iter().cloned()).collect();
            let config: Config = experiment::load(common.config.as_deref(), &set)?;
            let device = common.device.open()?;
            let report =
                bench::bench(&config, threads(&common), &common.device, &device, repetitions, updates)?;
            format!("{report}\n")
        }
    };
    Ok(experiment::print(&text)?)
}

/// The settings of a run; a sweep's file is sent to its verb.
fn run_config(common: &CommonArgs) -> Result<Config> {
    experiment::load(common.config.as_deref(), &common.set).map_err(|error| match &error {
        ConfigError::Faults(faults) if faults.iter().any(|fault| fault.key == "sweep") => {
            UserError::usage(error.to_string())
                .with_hint("a config with a section [sweep] is for `ppo-routed sweep --config FILE`")
                .into()
        }
        _ => error.into(),
    })
}

/// `runs/NAME-seedN`, with the config file's name or else the method, algorithm and oversight.
fn run_name(common: &CommonArgs, config: &Config, seed: u64) -> PathBuf {
    let stem =
        common.config.as_deref().and_then(Path::file_stem).map(|stem| stem.to_string_lossy().into_owned());
    let name = stem.unwrap_or_else(|| {
        let (method, algo) = (config.train.method.name(), config.train.algo.name());
        format!("{method}-{algo}-p{}", config.env.oversight_prob)
    });
    Path::new("runs").join(format!("{name}-seed{seed}"))
}

fn threads(common: &CommonArgs) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    common.threads.unwrap_or_else(cores)
}

/// What `plot` and `render` answer to settings.
const DRAWN: &str = "it draws what the run has written, into the run's folder or into --out";

/// Refuses an option that every verb parses and `verb` would pass over in silence.
fn refuse(verb: &str, common: &CommonArgs, outputs: Outputs, takes: &[&str], advice: &str) -> Result<()> {
    let given = [
        ("--config", common.config.is_some()),
        ("--set", !common.set.is_empty()),
        ("--seed", common.seed.is_some()),
        ("--out", common.out.is_some()),
        ("--device", common.device != DeviceArg::default()),
        ("--csv", outputs.csv),
        ("--tensorboard", outputs.tensorboard),
    ];
    match given.iter().find(|(option, given)| *given && !takes.contains(option)) {
        Some((option, _)) => {
            Err(UserError::usage(format!("`{verb}` does not take {option}")).with_hint(advice).into())
        }
        None => Ok(()),
    }
}

fn lines(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join("\n") + "\n"
}
