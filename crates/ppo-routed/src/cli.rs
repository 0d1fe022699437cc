//! The command line: verbs, options, and what each verb prints.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use experiment::driver::{BenchArgs, Program as _, Run, RunRequest};
use experiment::sweep::{SweepArgs, SweepProgram as _, sweep};
use experiment::{CommonArgs, ConfigError, GivenOptions, LookupVerb, OutputArgs, Overview, UserError};
use report::{ReportVerb, Shown};

use crate::config::{Algo, Config};
use crate::run::Ppo;
use crate::{Summary, Supervision, bench, eval, plots};

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
    #[command(flatten)]
    Lookup(LookupVerb),
    #[command(flatten)]
    Report(ReportVerb),
    /// Time the training step and print one JSON line.
    Bench {
        /// The algorithm; that of the config if not given.
        #[arg(long, value_enum)]
        algo: Option<AlgoArg>,
        #[command(flatten)]
        times: BenchArgs,
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

/// What is said of runs.
const SHOWN: Shown = Shown {
    program: Ppo::NAME,
    steps: "environment steps",
    measures: Summary::measures,
    in_curves: |metric| Ppo.in_curves(metric),
    headline,
    verb: |_| vec!["train".to_owned()],
};

/// The return of the policy that a run's method is judged by.
fn headline(run: &Overview) -> Option<String> {
    let config: Config = experiment::load_run(&run.path.join("config.toml"), &[]).ok()?;
    let supervision = Supervision::new(config.train.method, &config.env.kinds).ok()?;
    let (name, _) = supervision.policies().into_iter().next()?;
    Some(format!("eval/{name}/return"))
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
    let given = GivenOptions::new(&common, outputs);
    let outputs = outputs.with_pictures();
    let mut view = common.view(Ppo::UNIT, SHOWN.in_curves);
    let text = match verb.unwrap_or(Verb::Train) {
        Verb::Train => {
            let config = run_config(&common)?;
            let request = RunRequest::new(&Ppo, config, &common, outputs);
            Run::create(&Ppo, &request)?.drive(&mut *view)?
        }
        Verb::Resume { run } => {
            let advice =
                "it goes on with the settings of the run; to change them, start a new run with `train`";
            given.refuse("resume", &["--csv", "--tensorboard", "--watch"], advice)?;
            Run::resume(&Ppo, &run, common.threads, outputs)?.drive(&mut *view)?
        }
        Verb::Eval { run, checkpoint, repeats } => {
            let advice = "it prints on stdout and has the config of the run, to be changed with --set";
            given.refuse("eval", &["--set", "--seed", "--device"], advice)?;
            eval::eval(&run, checkpoint.as_deref(), &common, common.thread_count(), repeats)?
        }
        Verb::Plot { runs } => {
            given.refuse("plot", &["--out"], DRAWN)?;
            let folder = common.out.clone();
            let paths = plots::plot(&runs, folder.as_deref())?;
            experiment::lines(&paths)
        }
        Verb::Render { run, text } => {
            if text {
                given.refuse(
                    "render --text",
                    &["--seed"],
                    "it prints on stdout what the run's policies do",
                )?;
                return Ok(experiment::print(&eval::play(&run, common.seed.unwrap_or(0))?)?);
            }
            given.refuse("render", &["--out"], DRAWN)?;
            let paths = plots::render(&run, common.out.as_deref())?;
            experiment::lines(&paths)
        }
        Verb::Sweep(args) => {
            let advice = "seeds stand in sweep.seeds; each run has a folder in the sweep's";
            given.refuse(args.name(), args.takes(), advice)?;
            return sweep(&Ppo, args, &common)?.print();
        }
        Verb::Lookup(verb) => verb.answer::<Config, Cli>(&common, &given, SHOWN.measures)?,
        Verb::Report(verb) => verb.answer(&common, &given, &SHOWN)?,
        Verb::Bench { algo, times, updates } => {
            given.refuse(
                "bench",
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
                bench::bench(&config, common.thread_count(), &common.device, &device, times, updates)?;
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

/// What `plot` and `render` answer to settings.
const DRAWN: &str = "it draws what the run has written, into the run's folder or into --out";
