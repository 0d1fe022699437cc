//! The command line: verbs, options, and what each verb prints.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use candle_core::Device;
use clap::{Args, Parser, Subcommand};
use experiment::driver::{BenchArgs, BuildContext, Program as _, ResumePoint, Run, RunRequest};
use experiment::sweep::{PlanRequest, Resources, SweepArgs, run_and_collect, sweep};
use experiment::{CommonArgs, GivenOptions, LookupVerb, OutputArgs, UserError};
use report::{ReportVerb, Shown};

use crate::{Autoencoder, Config, DatasetName, PAPER, Setting, Split, Summary, bench, eval, plots};

/// Split the latent space of an MNIST autoencoder by gradient routing: digits 0-4 may train one half of the
/// encoding, 5-9 the other, and a certificate that sees one half shows what it knows.
#[derive(Parser, Debug)]
#[command(name = "mnist-routed", bin_name = "mnist-routed", version, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    own: OwnArgs,
    #[command(flatten)]
    outputs: OutputArgs,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// Options of this binary alone.
#[derive(Args, Clone, Debug)]
struct OwnArgs {
    /// Row of the paper's Table 2, 1 to 10, or its name; the same as --set train.setting=NAME.
    #[arg(long, value_name = "N|NAME", global = true)]
    setting: Option<Setting>,
    /// Which digits belong together; the same as --set train.split=….
    #[arg(long, value_name = "0-4|5-9", global = true)]
    split: Option<Split>,
    /// Which images; the same as --set data.dataset=NAME.
    #[arg(long, value_enum, value_name = "NAME", global = true)]
    dataset: Option<DatasetName>,
    /// Folder with the data set's four IDX files, plain or .gz.
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
}

impl OwnArgs {
    /// The settings among them, to go before every --set.
    fn sets(&self) -> Vec<String> {
        let setting = self.setting.map(|setting| format!("train.setting={}", setting.name()));
        let split = self.split.as_ref().map(|split| format!("train.split=\"{split}\""));
        let dataset = self.dataset.map(|dataset| {
            let value = clap::ValueEnum::to_possible_value(&dataset);
            format!("data.dataset={}", value.map(|value| value.get_name().to_owned()).unwrap_or_default())
        });
        setting.into_iter().chain(split).chain(dataset).collect()
    }
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Train an autoencoder and its certificates (the default verb).
    Train,
    /// Go on with an interrupted run from its newest checkpoint.
    Resume {
        /// The run folder.
        run: PathBuf,
    },
    /// Score a run's newest checkpoint on the validation images.
    Eval {
        /// The run folder.
        run: PathBuf,
        /// Another checkpoint of the run.
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
    },
    /// Draw training curves, errors per digit and reconstructions of one run, or of several seeds together.
    Plot {
        /// The run folders.
        #[arg(required = true)]
        runs: Vec<PathBuf>,
    },
    /// Compare settings of Table 2, seeds and any other keys: many runs, and a table beside the paper's numbers.
    Sweep(SweepArgs),
    /// The sweep over the settings of Table 2: one run after another, each with all threads. The same command goes
    /// on where it was interrupted.
    Table {
        /// Rows of Table 2 by number or name, with commas between them; all if not given.
        #[arg(long, value_name = "LIST", value_delimiter = ',')]
        settings: Vec<Setting>,
        /// Seeds of each, from --seed upwards.
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
        seeds: u64,
        /// Runs side by side, each with --threads threads.
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
        jobs: u16,
    },
    #[command(flatten)]
    Lookup(LookupVerb),
    #[command(flatten)]
    Report(ReportVerb),
    /// Time the training step and print one JSON line.
    Bench {
        #[command(flatten)]
        times: BenchArgs,
        /// Updates of one repetition; chosen for about three seconds if not given.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
        updates: Option<u64>,
    },
}

/// What is said of runs.
const SHOWN: Shown = Shown {
    program: Autoencoder::NAME,
    steps: "images",
    measures: Summary::measures,
    in_curves: |metric| metric.starts_with("eval/") && !metric.contains('_'),
    headline: |_| Some("eval/factor".to_owned()),
    verb: |_| vec!["train".to_owned()],
};

/// Parses the command line, does what it says and reports how it ended: exit code 0 done, 1 the run failed, 2
/// bad usage or config.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return experiment::usage(&error, "mnist-routed"),
    };
    experiment::init_logging(cli.common.quiet);
    experiment::report(dispatch(cli))
}

fn dispatch(cli: Cli) -> Result<()> {
    let Cli { common, own, outputs, verb } = cli;
    let common = common.with_every_set(std::env::args_os());
    let given = GivenOptions::new(&common, outputs)
        .and("--setting", own.setting.is_some())
        .and("--split", own.split.is_some())
        .and("--dataset", own.dataset.is_some())
        .and("--data-dir", own.data_dir.is_some());
    let (outputs, quiet) = (outputs.with_pictures(), common.quiet);
    let program = Autoencoder::new(own.data_dir.clone(), quiet);
    let mut view = common.view(Autoencoder::UNIT, SHOWN.in_curves);
    let load = |before: &[String]| {
        let set = [before, &own.sets(), &common.set].concat();
        experiment::load::<Config>(common.config.as_deref(), &set)
    };
    let text = match verb.unwrap_or(Verb::Train) {
        Verb::Train => {
            let request = RunRequest::new(&program, load(&[])?, &common, outputs);
            let run = Run::create(&program, &request)?;
            if !quiet && std::io::IsTerminal::is_terminal(&std::io::stderr()) {
                announce(&request.config);
            }
            run.drive(&mut *view)?
        }
        Verb::Resume { run } => {
            let advice =
                "it goes on with the settings of the run; to change them, start a new run with `train`";
            given.refuse("resume", &["--csv", "--tensorboard", "--watch", "--data-dir"], advice)?;
            Run::resume(&program, &run, common.threads, outputs)?.drive(&mut *view)?
        }
        Verb::Eval { run, checkpoint } => {
            let advice = "it prints on stdout and has the config of the run, to be changed with --set";
            given.refuse("eval", &["--set", "--dataset", "--device", "--data-dir"], advice)?;
            let set = [own.sets(), common.set.clone()].concat();
            let threads = common.thread_count();
            eval::eval(&program, &run, checkpoint.as_deref(), &set, &common.device, threads)?
        }
        Verb::Plot { runs } => {
            let advice = "it draws what the run has written, into the run's folder or into --out";
            given.refuse("plot", &["--out", "--data-dir"], advice)?;
            plot(&program, &runs, &common)?
        }
        Verb::Sweep(args) => {
            let advice = "seeds stand in sweep.seeds, settings in sweep.settings; each run has a folder in the sweep's";
            let takes = [args.takes(), &["--data-dir"]].concat();
            let own_too = if takes.contains(&"--set") { &["--split", "--dataset"][..] } else { &[] };
            given.refuse(args.name(), &[&takes, own_too].concat(), advice)?;
            let set = [own.sets(), common.set.clone()].concat();
            return sweep(&program, args, &CommonArgs { set, ..common })?.print();
        }
        Verb::Table { settings, seeds, jobs } => {
            let takes = [
                "--config",
                "--set",
                "--seed",
                "--out",
                "--device",
                "--split",
                "--dataset",
                "--data-dir",
                "--csv",
                "--tensorboard",
            ];
            given.refuse("table", &takes, "name the rows with --settings")?;
            let request = table_request(&settings, seeds, &own, &common)?;
            let resources = Resources { threads: common.thread_count(), device: common.device, outputs };
            return run_and_collect(&program, &request, Some(jobs.into()), resources, quiet)?.print();
        }
        Verb::Lookup(verb) => verb.answer::<Config, Cli>(&common, &given, SHOWN.measures)?,
        Verb::Report(verb) => verb.answer(&common, &given, &SHOWN)?,
        Verb::Bench { times, updates } => {
            let takes = ["--config", "--set", "--setting", "--split", "--device"];
            given.refuse("bench", &takes, "it writes nothing, and needs neither seed nor images")?;
            // the paper's batch, unless another is asked for
            let paper = format!("train.batch_size={}", PAPER.1);
            let config = load(if common.config.is_none() { std::slice::from_ref(&paper) } else { &[] })?;
            let device = common.device.open()?;
            let threads = common.thread_count();
            bench::bench(&config, threads, &common.device, &device, times, updates)? + "\n"
        }
    };
    Ok(experiment::print(&text)?)
}

/// The sweep over rows of Table 2.
fn table_request(
    settings: &[Setting],
    seeds: u64,
    own: &OwnArgs,
    common: &CommonArgs,
) -> Result<PlanRequest> {
    let first = common.seed.unwrap_or(0);
    // TOML has no larger numbers
    let most = i64::MAX as u64;
    let Some(end) = first.checked_add(seeds).filter(|end| *end <= most) else {
        let message = format!("--seed {first} with {seeds} seeds: seeds must be below {most}");
        return Err(UserError::usage(message).with_hint("give a smaller --seed").into());
    };
    let settings = if settings.is_empty() { &Setting::ALL[..] } else { settings };
    let names: Vec<&str> = settings.iter().map(|setting| setting.name()).collect();
    let seeds: Vec<u64> = (first..end).collect();
    let varied = [format!("sweep.settings={names:?}"), format!("sweep.seeds={seeds:?}")];
    let set = [&own.sets(), common.set.as_slice(), &varied].concat();
    let stem =
        common.config.as_deref().and_then(Path::file_stem).map(|stem| stem.to_string_lossy().into_owned());
    let folder = || Path::new("runs").join(stem.unwrap_or_else(|| "mnist_table".to_owned()));
    let folder = common.out.clone().unwrap_or_else(folder);
    Ok(PlanRequest { file: common.config.clone(), set, axes: Vec::new(), folder })
}

/// Draws runs, the reconstructions with the networks of the first, if it has an intact checkpoint.
fn plot(program: &Autoencoder, runs: &[PathBuf], common: &CommonArgs) -> Result<String> {
    let (config, records) = plots::read_runs(runs)?;
    let folder = experiment::RunFolder::pictures_of(runs, common.out.as_deref())?;
    let view = experiment::RunFolder::view(&runs[0])?;
    let newest = ResumePoint::newest::<Autoencoder>(&view)?.map(|point| {
        point.require_config(&config)?;
        let threads = common.thread_count();
        let (device, folder) = (&Device::Cpu, view.path());
        let cx = BuildContext { seed: point.seed, threads, lanes: threads, device, folder };
        program.rewind(&config, &cx, &point)
    });
    let mut trainer = newest.transpose()?;
    Ok(experiment::lines(&plots::draw(&config, &records, trainer.as_mut(), &folder)?))
}

/// Says on a terminal where the schedule is not the paper's.
fn announce(config: &Config) {
    let (epochs, batch) = (config.train.epochs, config.train.batch_size);
    if (epochs, batch) != PAPER && config.data.dataset == DatasetName::Mnist {
        experiment::say(&format!(
            "{epochs} epochs with batches of {batch}: quicker than the paper's {} with {}, for which there is \
             --config configs/mnist_paper.toml",
            PAPER.0, PAPER.1
        ));
    }
}
