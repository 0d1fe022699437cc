//! The command line: verbs, options, and what each verb prints.

mod looking;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use experiment::driver::{BenchArgs, Outputs, Program as _, Run, RunRequest};
use experiment::sweep::{SweepArgs, SweepReport, sweep};
use experiment::{CommonArgs, GivenOptions, LookupVerb, OutputArgs, Overview, UserError};
use report::{ReportVerb, Shown};

use crate::Error;
use crate::bench::{Method, Shape, bench};
use crate::config::{Config, Experiment};
use crate::data::{CacheIs, with_words};
use crate::evaluate::eval_metric;
use crate::export::{Choice, export};
use crate::methods::Part;
use crate::sweep::{in_curves, shown};
use crate::{Language, attack, commands, localise, pretrained_verbs, profiles};
use looking::{EvalArgs, GenerateArgs, options};

/// Localising and removing a concept in a small language model by gradient routing.
#[derive(Parser, Debug)]
#[command(name = "lm-routed", bin_name = "lm-routed", version, disable_help_subcommand = true)]
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
    /// Expand, route, ablate: remove a concept, and compare with other methods (the default verb).
    #[command(visible_alias = "train")]
    Era,
    /// Give one token a dimension of the residual stream and push along it.
    Steer,
    /// Route a list of tokens to some neurons and measure what is lost without them.
    Virology {
        /// The tokens, one a line, `␣` for a space in front.
        #[arg(long, value_name = "FILE")]
        tokens: PathBuf,
    },
    /// Adapt a model from disk: route a behaviour to an adapter of its own, remove it, and compare.
    Adapt {
        /// A folder with config.json and safetensors, or a .gguf file; or adapt.base of the config.
        base: Option<PathBuf>,
    },
    /// Go on with an interrupted run: what is done is skipped.
    Resume {
        /// The run folder.
        run: PathBuf,
        #[command(flatten)]
        trust: TrustArg,
    },
    /// Write the tables and pictures of a run anew, also of one that is still going on.
    Plot {
        /// The run folder.
        run: PathBuf,
    },
    /// Measure the models of a run on validation documents, or on a text.
    Eval(EvalArgs),
    /// Say what a model from disk is: architecture, sizes, parameters, whether its tokenizer is there.
    Model {
        /// A folder with config.json and safetensors, or a .gguf file; with the feature `hub` also hub:OWNER/MODEL.
        path: PathBuf,
    },
    /// Continue a text with a model of a run, or with one from disk.
    Generate(GenerateArgs),
    /// Attack the models of a run: is the concept gone, or only hidden? The same command goes on where it was stopped.
    Attack {
        /// The run folder.
        run: PathBuf,
        /// Of a run of `modules`, the concept: its module is taken out, and the model filtered of it is the anchor.
        #[arg(long, value_name = "NAME")]
        concept: Option<String>,
    },
    /// Write the smaller network of a run with modules in which all but some modules are gone.
    Profile {
        /// The run folder.
        run: PathBuf,
        /// The modules that stay, with commas between them; none, or `core`, for the core.
        #[arg(long, value_name = "LIST", value_delimiter = ',')]
        keep: Vec<String>,
    },
    /// Write a network of a run as a folder that other programs open: a GPT-2 in the layout of Hugging Face.
    Export {
        /// The run folder, or a folder that `profile` has written.
        run: PathBuf,
        /// The folder to write, empty or not there yet.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// The model, such as base or era; the last one that was trained unless given.
        #[arg(long, value_name = "NAME", conflicts_with = "checkpoint")]
        model: Option<String>,
        /// A checkpoint of the run in place of a model: its network before anything is cut out.
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
    },
    /// The experiment of the config with several seeds and settings: many runs, and a table of their losses.
    Sweep {
        /// The tokens of `virology`, one a line.
        #[arg(long, value_name = "FILE", global = true)]
        tokens: Option<PathBuf>,
        #[command(flatten)]
        args: SweepArgs,
    },
    #[command(flatten)]
    Lookup(LookupVerb),
    #[command(flatten)]
    Report(ReportVerb),
    /// Time a training step and print one JSON line.
    Bench {
        /// What is timed.
        #[arg(long, value_enum, default_value_t = Shape::Tinystories)]
        shape: Shape,
        /// Whose steps they are.
        #[arg(long, value_enum, default_value_t = Method::Baseline)]
        method: Method,
        /// A model from disk: a routed step of the adapters of `[adapt]` on it is timed instead.
        #[arg(long, value_name = "PATH")]
        base: Option<PathBuf>,
        #[command(flatten)]
        times: BenchArgs,
    },
}

/// What is said of runs.
const SHOWN: Shown =
    Shown { program: Language::NAME, steps: "tokens", measures: shown, in_curves, headline, verb };

/// The loss on the concept's documents of the last part that is trained.
fn headline(run: &Overview) -> Option<String> {
    let config: Config = experiment::load_run(&run.path.join("config.toml"), &[]).ok()?;
    let trained = Part::all(&config).into_iter().rfind(|part| part.steps(&config) > 0)?;
    Some(eval_metric(&trained.name(), "forget"))
}

fn verb(run: &Overview) -> Vec<String> {
    let kind = run.settings.get("experiment.kind").map_or("era", |kind| kind.trim_matches('"'));
    let tokens = run.path.join("tokens.txt").display().to_string();
    let list = (kind == Experiment::Virology.name()).then(|| ["--tokens".to_owned(), tokens]);
    std::iter::once(kind.to_owned()).chain(list.into_iter().flatten()).collect()
}

/// Parses the command line, does what it says and reports how it ended: exit code 0 done, 1 the run failed, 2
/// bad usage or config.
pub fn main() -> ExitCode {
    hold_candle_workers();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return experiment::usage(&error, "lm-routed"),
    };
    experiment::init_logging(cli.common.quiet);
    experiment::report(dispatch(cli))
}

/// Keeps candle from a pool of its own for element-wise passes, whose workers spin on every core between two of them, unless
/// the user asked for one. All that takes time here runs on the threads of `--threads`.
fn hold_candle_workers() {
    const THREADS: &str = "CANDLE_NUM_THREADS";
    if std::env::var_os(THREADS).is_none() {
        // SAFETY: this is the first thing that the program does: no other thread is there yet to read or write the
        // environment.
        #[expect(unsafe_code, reason = "candle takes this number from the environment alone")]
        unsafe {
            std::env::set_var(THREADS, "1");
        }
    }
}

fn dispatch(cli: Cli) -> Result<()> {
    let Cli { common, outputs, verb } = cli;
    let common = common.with_every_set(std::env::args_os());
    let given = GivenOptions::new(&common, outputs);
    let outputs = outputs.with_pictures();
    let text = match verb {
        None => {
            let config: Config = experiment::load(common.config.as_deref(), &common.set)?;
            if config.experiment.kind == Experiment::Virology {
                let error = UserError::usage("this config is for the verb `virology`");
                return Err(error.with_hint("lm-routed virology --config FILE --tokens FILE").into());
            }
            train(config, &common, outputs, Vec::new())?
        }
        Some(Verb::Era) => train_as(Experiment::Era, &common, outputs, Vec::new())?,
        Some(Verb::Steer) => train_as(Experiment::Steer, &common, outputs, Vec::new())?,
        Some(Verb::Virology { tokens }) => {
            let tokens = localise::read_tokens(&tokens).map_err(Error::for_user)?;
            train_as(Experiment::Virology, &common, outputs, tokens)?
        }
        Some(Verb::Adapt { base }) => commands::adapt(base, common, outputs)?,
        Some(Verb::Resume { run, trust }) => {
            let advice = "it goes on with the settings of the run; to change them, start a new run";
            given.refuse("resume", &["--csv", "--tensorboard", "--watch"], advice)?;
            commands::resume(&run, trust.cache(), &common, outputs)?
        }
        Some(Verb::Plot { run }) => {
            let advice = "it draws what the run has written, into the run's folder or into --out";
            given.refuse("plot", &["--out"], advice)?;
            commands::plot(&run, common.out.as_deref())?
        }
        Some(Verb::Eval(args)) => looking::eval(args, &common, &given)?,
        Some(Verb::Model { path }) => {
            given.refuse("model", &[], "it prints what stands on disk")?;
            pretrained_verbs::model(&path)?
        }
        Some(Verb::Generate(args)) => looking::generate(args, &common, &given)?,
        Some(Verb::Attack { run, concept }) => {
            let advice = "it writes into the run's folder, with the settings of the run";
            given.refuse("attack", &["--set", "--seed", "--device"], advice)?;
            let (seed, options) = (common.seed.unwrap_or(0), options(&common, CacheIs::TheRuns)?);
            attack::attack(&run, concept.as_deref(), &common.set, seed, &options)?
        }
        Some(Verb::Profile { run, keep }) => {
            given.refuse("profile", &["--out"], "it has the settings of the run")?;
            let missing = UserError::usage("`profile` needs a folder to write into");
            let out = common.out.as_deref().ok_or_else(|| missing.with_hint("give one with --out"))?;
            profiles::write(&run, &keep, out, &options(&common, CacheIs::TheRuns)?)?
        }
        Some(Verb::Export { run, to, model, checkpoint }) => {
            given.refuse("export", &[], "it writes what the run has left, into the folder of --to")?;
            let named = model.map_or(Choice::Last, Choice::Model);
            export(&run, &checkpoint.map_or(named, Choice::Checkpoint), &to)?
        }
        Some(Verb::Sweep { tokens, args }) => {
            let advice = "seeds stand in sweep.seeds; each run has a folder in the sweep's";
            given.refuse(args.name(), args.takes(), advice)?;
            return run_sweep(tokens, args, common)?.print();
        }
        Some(Verb::Lookup(verb)) => verb.answer::<Config, Cli>(&common, &given, SHOWN.measures)?,
        Some(Verb::Report(verb)) => verb.answer(&common, &given, &SHOWN)?,
        Some(Verb::Bench { shape, method, base, times }) => {
            let takes = &["--config", "--set", "--device"];
            given.refuse("bench", takes, "it writes nothing, and needs no seed")?;
            match base {
                Some(base) => commands::bench_adapters(&base, common, times)?,
                None => bench_steps((shape, method), &common, times)?,
            }
        }
    };
    Ok(experiment::print(&text)?)
}

fn bench_steps(what: (Shape, Method), common: &CommonArgs, times: BenchArgs) -> Result<String> {
    let config: Config = experiment::load(common.config.as_deref(), &common.set)?;
    let device = common.device.open()?;
    let line = bench(&config, what, common.thread_count(), common.device, &device, times)?;
    Ok(line + "\n")
}

/// A list of tokens makes the sweep's runs those of `virology`, as the verb does.
fn run_sweep(list: Option<PathBuf>, args: SweepArgs, mut common: CommonArgs) -> Result<SweepReport> {
    let Some(list) = list else { return sweep(&Language::default().telling(common.quiet), args, &common) };
    let program = Language::with_list(list).map_err(Error::for_user)?.telling(common.quiet);
    if args.takes().contains(&"--set") {
        let words = localise::words_of(program.tokens());
        common.set.push("experiment.kind=virology".to_owned());
        common.set.push(format!("data.forget_words={}", toml::Value::from(words)));
    }
    sweep(&program, args, &common)
}

/// Runs an experiment, whichever one the config has.
fn train_as(kind: Experiment, common: &CommonArgs, outputs: Outputs, tokens: Vec<String>) -> Result<String> {
    let mut config: Config = experiment::load(common.config.as_deref(), &common.set)?;
    config.experiment.kind = kind;
    if kind == Experiment::Virology {
        config.data.forget_words = localise::words_of(&tokens);
        config.concept.clear();
    }
    train(config, common, outputs, tokens)
}

fn train(mut config: Config, common: &CommonArgs, outputs: Outputs, tokens: Vec<String>) -> Result<String> {
    // the words stand in the run's own settings
    config.concept = with_words(&config.concept).map_err(Error::for_user)?;
    let program = Language::new(tokens).telling(common.quiet);
    let request = RunRequest::new(&program, config, common, outputs);
    let mut view = common.view(Language::UNIT, SHOWN.in_curves);
    Run::create(&program, &request)?.drive(&mut *view)
}

/// Whether the paths of a run's own config may be written.
#[derive(Args, Clone, Copy, Debug)]
struct TrustArg {
    /// Also make the folder outside the run that its own config.toml names as data.cache.
    #[arg(long)]
    trust: bool,
}

impl TrustArg {
    fn cache(self) -> CacheIs {
        if self.trust { CacheIs::TheUsers } else { CacheIs::TheRuns }
    }
}
