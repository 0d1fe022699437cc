//! The command line: verbs, options, and what each verb prints.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use candle_core::Device;
use clap::{Args, Parser, Subcommand};
use experiment::{CommonArgs, DeviceArg, UserError};

use crate::data::{self, Dataset, DatasetName};
use crate::run::{Outputs, RunRequest};
use crate::table::{TableRequest, table};
use crate::{Config, PAPER, Setting, Split, bench, checkpoint, eval, plots, run};

/// Split the latent space of an MNIST autoencoder by gradient routing: digits 0-4 may train one half of the
/// encoding, 5-9 the other, and a certificate that sees one half shows what it knows.
#[derive(Parser, Debug)]
#[command(name = "mnist-routed", bin_name = "mnist-routed", version, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    own: OwnArgs,
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
    /// Also write metrics.csv when the run is done.
    #[arg(long, global = true)]
    csv: bool,
    /// Also write event files for `TensorBoard` while training.
    #[arg(long, global = true)]
    tensorboard: bool,
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
    /// Run several settings of Table 2 with several seeds, and put them beside the paper's numbers. The same
    /// command goes on where it was interrupted.
    Table {
        /// Rows of Table 2 by number or name, with commas between them; all if not given.
        #[arg(long, value_name = "LIST", value_delimiter = ',')]
        settings: Vec<Setting>,
        /// Seeds of each, from --seed upwards.
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
        seeds: u64,
    },
    /// Time the training step and print one JSON line.
    Bench {
        /// Timed repetitions.
        #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(5..=1000))]
        repetitions: u32,
        /// Updates of one repetition; chosen for about three seconds if not given.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
        updates: Option<u64>,
    },
}

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
    let Cli { common, own, verb } = cli;
    let common = common.with_every_set(std::env::args_os());
    let quiet = common.quiet;
    let outputs = Outputs { csv: own.csv, tensorboard: own.tensorboard, pictures: true, quiet };
    let images = |config: &Config| -> Result<Arc<Dataset>> {
        // a GPU that is not there is told before anything is fetched
        common.device.open()?;
        Ok(Arc::new(data::load(config.data.dataset, own.data_dir.as_deref(), quiet)?))
    };
    let load = |before: &[String]| {
        let set: Vec<String> =
            before.iter().cloned().chain(own.sets()).chain(common.set.iter().cloned()).collect();
        experiment::load::<Config>(common.config.as_deref(), &set)
    };
    let text = match verb.unwrap_or(Verb::Train) {
        Verb::Train => {
            let config = load(&[])?;
            let seed = common.seed.unwrap_or(0);
            let folder = common.out.clone().unwrap_or_else(|| run_name(&common, &config, seed));
            let dataset = images(&config)?;
            if !quiet && std::io::IsTerminal::is_terminal(&std::io::stderr()) {
                announce(&config);
            }
            let (threads, device) = (threads(&common), common.device);
            run::train(&RunRequest { config, dataset, seed, folder, threads, device, outputs })?
        }
        Verb::Resume { run } => {
            let advice =
                "it goes on with the settings of the run; to change them, start a new run with `train`";
            refuse("resume", &common, &own, &["--csv", "--tensorboard", "--data-dir"], advice)?;
            run::resume(&run, common.threads, outputs, images)?
        }
        Verb::Eval { run, checkpoint } => {
            let advice = "it prints on stdout and has the config of the run";
            refuse("eval", &common, &own, &["--device", "--data-dir"], advice)?;
            eval::eval(&run, checkpoint.as_deref(), &common.device, threads(&common), images)?
        }
        Verb::Plot { runs } => {
            let advice = "it draws what the run has written, into the run's folder or into --out";
            refuse("plot", &common, &own, &["--out", "--data-dir"], advice)?;
            plot(&runs, &common, images)?
        }
        Verb::Table { settings, seeds } => {
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
            refuse("table", &common, &own, &takes, "name the rows with --settings")?;
            let settings = if settings.is_empty() { Setting::ALL.to_vec() } else { settings };
            let config = |setting: &Setting| {
                let set = [own.sets(), common.set.clone(), vec![format!("train.setting={}", setting.name())]];
                experiment::load::<Config>(common.config.as_deref(), &set.concat())
            };
            let configs = settings.iter().map(config).collect::<Result<Vec<_>, _>>()?;
            let first = common.seed.unwrap_or(0);
            let Some(end) = first.checked_add(seeds) else {
                let message = format!("--seed {first} with {seeds} seeds: seeds must be below {}", u64::MAX);
                return Err(UserError::usage(message).with_hint("give a smaller --seed").into());
            };
            let dataset = images(&configs[0])?;
            let name = common.config.as_deref().and_then(Path::file_stem).map(|stem| stem.to_string_lossy());
            let folder = || Path::new("runs").join(name.unwrap_or("mnist_table".into()).into_owned());
            let request = TableRequest {
                configs,
                dataset,
                seeds: (first..end).collect(),
                folder: common.out.clone().unwrap_or_else(folder),
                threads: threads(&common),
                device: common.device,
                outputs,
            };
            table(&request)?
        }
        Verb::Bench { repetitions, updates } => {
            let takes = ["--config", "--set", "--setting", "--split", "--device"];
            refuse("bench", &common, &own, &takes, "it writes nothing, and needs neither seed nor images")?;
            // the paper's batch, unless another is asked for
            let paper = format!("train.batch_size={}", PAPER.1);
            let config = load(if common.config.is_none() { std::slice::from_ref(&paper) } else { &[] })?;
            let device = common.device.open()?;
            let report =
                bench::bench(&config, threads(&common), &common.device, &device, repetitions, updates)?;
            format!("{report}\n")
        }
    };
    Ok(experiment::print(&text)?)
}

/// Draws runs, the reconstructions with the networks of the first, if it has an intact checkpoint.
fn plot(
    runs: &[PathBuf],
    common: &CommonArgs,
    images: impl FnOnce(&Config) -> Result<Arc<Dataset>>,
) -> Result<String> {
    let (config, records) = plots::read_runs(runs)?;
    let view = experiment::RunFolder::view(&runs[0])?;
    let newest = experiment::CheckpointStore::new(view.checkpoints(), 0).latest_intact(&Device::Cpu);
    let mut trainer = match newest {
        None => None,
        Some((path, checkpoint)) => {
            let dataset = images(&config)?;
            Some(checkpoint::restore(&checkpoint, &path, &config, &dataset, threads(common), &Device::Cpu)?.0)
        }
    };
    let folder = common.out.clone().unwrap_or_else(|| view.plots());
    let paths = plots::draw(&config, &records, trainer.as_mut(), &folder)?;
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    Ok(paths.join("\n") + "\n")
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

/// `runs/NAME-seedN`, with the config file's name or else the data set, the setting and the split, if it is not
/// the paper's.
fn run_name(common: &CommonArgs, config: &Config, seed: u64) -> PathBuf {
    let stem =
        common.config.as_deref().and_then(Path::file_stem).map(|stem| stem.to_string_lossy().into_owned());
    let name = stem.unwrap_or_else(|| {
        let dataset = match config.data.dataset {
            DatasetName::Mnist => "mnist",
            DatasetName::Fashion => "fashion",
            DatasetName::Sample => "sample",
        };
        let split = config.train.split.to_string().replace('|', "_");
        let split = if config.train.split == Split::default() { String::new() } else { format!("-{split}") };
        format!("{dataset}-{}{split}", config.train.setting.name())
    });
    Path::new("runs").join(format!("{name}-seed{seed}"))
}

fn threads(common: &CommonArgs) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    common.threads.unwrap_or_else(cores)
}

/// Refuses an option that every verb parses and `verb` would pass over in silence.
fn refuse(verb: &str, common: &CommonArgs, own: &OwnArgs, takes: &[&str], advice: &str) -> Result<()> {
    let given = [
        ("--config", common.config.is_some()),
        ("--set", !common.set.is_empty()),
        ("--seed", common.seed.is_some()),
        ("--out", common.out.is_some()),
        ("--device", common.device != DeviceArg::default()),
        ("--setting", own.setting.is_some()),
        ("--split", own.split.is_some()),
        ("--dataset", own.dataset.is_some()),
        ("--data-dir", own.data_dir.is_some()),
        ("--csv", own.csv),
        ("--tensorboard", own.tensorboard),
    ];
    match given.iter().find(|(option, given)| *given && !takes.contains(option)) {
        Some((option, _)) => {
            Err(UserError::usage(format!("`{verb}` does not take {option}")).with_hint(advice).into())
        }
        None => Ok(()),
    }
}
