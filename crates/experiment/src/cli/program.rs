//! A command line for programs that need no verbs of their own.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use candle_core::Device;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::{CommonArgs, GivenOptions, OutputArgs, usage};
use crate::config::{load, load_run};
use crate::driver::{BuildContext, Program, ResumePoint, Run, RunRequest, Training as _};
use crate::metrics::{Record, read_metrics};
use crate::report::report;
use crate::run_folder::RunFolder;
use crate::terminal::print;

#[derive(Parser, Debug)]
#[command(disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    outputs: OutputArgs,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Args, Debug)]
struct RunArg {
    /// The run folder.
    run: PathBuf,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Train (the default verb).
    Train,
    /// Go on with an interrupted run from its newest checkpoint.
    Resume(RunArg),
    /// Score a run's newest checkpoint and print one JSON line.
    Eval(RunArg),
    /// Draw a run into its folder of plots.
    Plot(RunArg),
}

/// The `main` of a program with the verbs `train`, `resume`, `eval` and `plot` and the options that every binary has.
///
/// `eval` prints what [`Training::evaluate`](crate::driver::Training::evaluate) reports of the newest checkpoint.
/// `draw` draws a run's metrics as the PNG of that path. Exit code 0 done, 1 the run failed, 2
/// bad usage or config.
pub fn program_main<P: Program>(program: &P, draw: impl Fn(&[Record], &Path) -> Result<()>) -> ExitCode {
    let command = Cli::command().name(P::NAME).bin_name(P::NAME).version(P::VERSION);
    let cli = command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    match cli {
        Ok(cli) => report(dispatch(program, draw, cli)),
        Err(error) => usage(&error, P::NAME),
    }
}

fn dispatch<P: Program>(
    program: &P,
    draw: impl Fn(&[Record], &Path) -> Result<()>,
    Cli { common, outputs, verb }: Cli,
) -> Result<()> {
    crate::init_logging(common.quiet);
    let common = common.with_every_set(std::env::args_os());
    let given = GivenOptions::new(&common, outputs);
    let outputs = outputs.with_pictures();
    let mut view = common.view(P::UNIT, |metric| metric.starts_with("eval/"));
    let text = match verb.unwrap_or(Verb::Train) {
        Verb::Train => {
            let config = load(common.config.as_deref(), &common.set)?;
            Run::create(program, &RunRequest::new(program, config, &common, outputs))?.drive(&mut *view)?
        }
        Verb::Resume(RunArg { run }) => {
            given.refuse(
                "resume",
                &["--csv", "--tensorboard", "--watch"],
                "it goes on with the settings of the run",
            )?;
            Run::resume(program, &run, common.threads, outputs)?.drive(&mut *view)?
        }
        Verb::Eval(RunArg { run }) => {
            given.refuse("eval", &[], "it scores what the run has learned, under the run's settings")?;
            let view = RunFolder::view_of(&run, P::NAME)?;
            let config = load_run(&view.config_path(), &[])?;
            let point = ResumePoint::asked_or_newest::<P>(&view, None)?;
            let threads = common.thread_count();
            let cx = BuildContext {
                seed: point.seed,
                threads,
                lanes: threads,
                device: &Device::Cpu,
                folder: &run,
            };
            let scores = program.rewind(&config, &cx, &point)?.evaluate()?.values;
            let mut line: serde_json::Map<_, _> =
                scores.into_iter().map(|(name, value)| (name, value.into())).collect();
            line.insert("checkpoint".to_owned(), point.origin().into());
            serde_json::to_string(&line)? + "\n"
        }
        Verb::Plot(RunArg { run }) => {
            given.refuse("plot", &[], "it draws what the run has written, into the run's folder")?;
            let view = RunFolder::view_of(&run, P::NAME)?;
            let path = view.plots().join("curves.png");
            draw(&read_metrics(&view.metrics_path())?, &path)?;
            format!("{}\n", path.display())
        }
    };
    Ok(print(&text)?)
}
