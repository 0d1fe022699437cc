//! The verb `sweep` and its own verbs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use experiment::{CommonArgs, UserError};

use super::execute::{State, run_all, run_one, state};
use super::plan::Sweep;
use super::results::Results;
use super::section::SweepConfig;
use super::slurm::{self, SlurmRequest};
use super::{figures, tables};
use crate::progress::Bar;

/// The options of `sweep`.
#[derive(Args, Clone, Debug)]
pub struct SweepArgs {
    #[command(subcommand)]
    verb: Option<SweepVerb>,
    #[command(flatten)]
    axes: AxisArgs,
    /// Runs side by side, each with --threads threads (1 if not given); as many as fill the cores if not given.
    #[arg(long, value_name = "N", value_parser = jobs)]
    jobs: Option<usize>,
}

#[derive(Args, Clone, Debug)]
struct AxisArgs {
    /// Also vary this key, beside the axes of [sweep]; can be given many times.
    #[arg(long = "axis", value_name = "SECTION.KEY=VALUE,VALUE")]
    axes: Vec<String>,
}

#[derive(Subcommand, Clone, Debug)]
enum SweepVerb {
    /// Write the list of runs, for any engine that can run an indexed command.
    Plan {
        #[command(flatten)]
        axes: AxisArgs,
    },
    /// Do one run of a plan: start it, go on with it, or find it finished.
    Run {
        /// The folder of the sweep.
        sweep: PathBuf,
        /// The run's index in plan.jsonl, from 0.
        #[arg(long, value_name = "I")]
        index: usize,
    },
    /// Gather the finished runs into tables and figures.
    Collect {
        /// The folder of the sweep.
        sweep: PathBuf,
    },
    /// Write a Slurm job array for the unfinished runs, with a gathering job that depends on it.
    Slurm {
        #[command(flatten)]
        axes: AxisArgs,
        /// Submit both jobs.
        #[arg(long)]
        submit: bool,
        /// The most runs at a time.
        #[arg(long, value_name = "N", value_parser = jobs)]
        concurrent: Option<usize>,
        /// A further option of sbatch, such as --sbatch=--partition=cpu; can be given many times.
        #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
        sbatch: Vec<String>,
    },
}

impl SweepArgs {
    /// The verb in messages.
    pub fn name(&self) -> &'static str {
        match self.verb {
            None => "sweep",
            Some(SweepVerb::Plan { .. }) => "sweep plan",
            Some(SweepVerb::Run { .. }) => "sweep run",
            Some(SweepVerb::Collect { .. }) => "sweep collect",
            Some(SweepVerb::Slurm { .. }) => "sweep slurm",
        }
    }

    /// The common options that make sense with it.
    pub fn takes(&self) -> &'static [&'static str] {
        match self.verb {
            None => &["--config", "--set", "--out", "--device"],
            Some(SweepVerb::Plan { .. } | SweepVerb::Slurm { .. }) => &["--config", "--set", "--out"],
            Some(SweepVerb::Run { .. }) => &["--device"],
            Some(SweepVerb::Collect { .. }) => &[],
        }
    }
}

fn jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least one is needed".into()),
        Ok(count) if count > 1024 => Err("at most 1024 fit".into()),
        Ok(count) => Ok(count),
        Err(_) => Err("a whole number is needed".into()),
    }
}

/// What a verb has to say: text for stdout, and a fault that comes after it.
#[derive(Debug, Default)]
pub struct Report {
    /// For stdout.
    pub text: String,
    /// What is wrong although there is something to say.
    pub fault: Option<UserError>,
}

/// Does what the command line says.
///
/// # Errors
/// Fails where the plan makes no sense, a run that was asked for by its index fails, or a file cannot be written.
pub fn sweep(args: SweepArgs, common: &CommonArgs) -> Result<Report> {
    let threads = common.threads.unwrap_or(1);
    let plan =
        |axes: Vec<String>| plan(common, &args.axes.axes.iter().cloned().chain(axes).collect::<Vec<_>>());
    match args.verb {
        None => {
            let sweep = plan(Vec::new())?;
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let jobs = args.jobs.unwrap_or_else(|| (cores / threads).max(1));
            let ended = run_all(&sweep, jobs, threads, &common.device, common.quiet)?;
            let mut report = collect(&sweep)?;
            let total = sweep.runs.len();
            if ended.interrupted {
                let fault = UserError::failed("interrupted; every run at work was saved");
                report.fault = Some(fault.with_hint("the same command goes on"));
            } else if !ended.failed.is_empty() {
                let said: Vec<String> =
                    ended.failed.iter().map(|(name, fault)| format!("{name}: {fault}")).collect();
                let message = format!("{} of {total} runs failed: {}", said.len(), said.join("; "));
                report.fault = Some(
                    UserError::failed(message)
                        .with_hint("the others are gathered; the same command tries these again"),
                );
            }
            Ok(report)
        }
        Some(SweepVerb::Plan { axes }) => {
            let sweep = plan(axes.axes)?;
            let folder = sweep.folder.display();
            let text = format!(
                "{} runs in {folder}/plan.jsonl\n\
                 each: ppo-routed sweep run {folder} --index I\n\
                 then: ppo-routed sweep collect {folder}\n",
                sweep.runs.len()
            );
            Ok(Report { text, fault: None })
        }
        Some(SweepVerb::Run { sweep, index }) => {
            let sweep = Sweep::open(&sweep)?;
            let planned = sweep.run(index)?;
            let mut bar = Bar::new(common.quiet);
            run_one(&sweep, planned, threads, &common.device, &mut bar)?;
            Ok(Report { text: format!("{}\n", sweep.run_folder(planned).display()), fault: None })
        }
        Some(SweepVerb::Collect { sweep }) => collect(&Sweep::open(&sweep)?),
        Some(SweepVerb::Slurm { axes, submit, concurrent, sbatch }) => {
            let request = SlurmRequest { threads, concurrent, options: sbatch };
            through_slurm(&plan(axes.axes)?, submit, &request)
        }
    }
}

/// The plan that the command line asks for; without settings, the one that stands in `--out` already.
fn plan(common: &CommonArgs, axes: &[String]) -> Result<Sweep> {
    let file = common.config.as_deref();
    let folder = common.out.clone().unwrap_or_else(|| {
        let stem = file.and_then(Path::file_stem).map(|stem| stem.to_string_lossy().into_owned());
        Path::new("runs").join(stem.unwrap_or_else(|| "sweep".to_owned()))
    });
    if file.is_none() && common.set.is_empty() && axes.is_empty() && folder.join("plan.jsonl").exists() {
        return Sweep::open(&folder);
    }
    let mut set = common.set.clone();
    if !axes.is_empty() {
        let given: SweepConfig = experiment::load(file, &set)?;
        let all: Vec<toml::Value> =
            given.sweep.axes.iter().chain(axes).map(|axis| toml::Value::String(axis.clone())).collect();
        set.push(format!("sweep.axes={}", toml::Value::Array(all)));
    }
    let sweep = Sweep::plan(&folder, file, &set)?;
    for planned in &sweep.runs {
        // refuses a folder that holds another run, before a plan that stands there is replaced
        state(&sweep, planned)?;
    }
    sweep.write()?;
    Ok(sweep)
}

/// Gathers what is finished into tables and figures.
fn collect(sweep: &Sweep) -> Result<Report> {
    let results = Results::gather(sweep)?;
    let (total, finished) = (sweep.runs.len(), results.rows.len());
    let fault = (finished < total).then(|| {
        let some: Vec<String> = results.unfinished.iter().take(10).map(ToString::to_string).collect();
        let more = if results.unfinished.len() > some.len() { ", …" } else { "" };
        let message =
            format!("{} of {total} runs are not finished: {}{more}", total - finished, some.join(", "));
        UserError::failed(message)
            .with_hint(format!("each: ppo-routed sweep run {} --index I", sweep.folder.display()))
    });
    if finished == 0 {
        return Ok(Report { text: String::new(), fault });
    }
    let threshold = sweep.config.sweep.threshold;
    let (mut paths, mut text) = tables::write(&results, threshold, &sweep.folder)?;
    paths.extend(figures::draw(&results, threshold, &sweep.folder.join("plots"))?);
    let seconds: f64 = results.rows.iter().map(|row| row.summary.seconds).sum();
    let steps: u64 = results.rows.iter().map(|row| row.summary.env_steps).sum();
    let million = steps as f64 / 1e6;
    writeln!(
        text,
        "\n{finished} of {total} runs, {million:.1}M environment steps, {:.1} minutes of computing in all",
        seconds / 60.0
    )?;
    for path in paths {
        writeln!(text, "{}", path.display())?;
    }
    Ok(Report { text, fault })
}

fn through_slurm(sweep: &Sweep, submit: bool, request: &SlurmRequest) -> Result<Report> {
    let mut indices = Vec::new();
    for planned in &sweep.runs {
        if !matches!(state(sweep, planned)?, State::Finished(_)) {
            indices.push(planned.index);
        }
    }
    if indices.is_empty() {
        let text = format!("all {} runs are finished\n", sweep.runs.len());
        return Ok(Report { text: text + &collect(sweep)?.text, fault: None });
    }
    let program = std::env::current_exe().context("the path of this program")?;
    let jobs = slurm::write(sweep, &indices, &program, request)?;
    let count = indices.len();
    let text = if submit {
        let (runs, collect) = slurm::submit(&jobs)?;
        format!(
            "{count} runs submitted as job {runs}; job {collect} gathers them when it has ended\n\
             watch: squeue -j {runs},{collect}\n"
        )
    } else {
        format!(
            "{count} runs in {}\n\
             submit: jid=$(sbatch --parsable {}) && sbatch --dependency=afterany:$jid {}\n",
            jobs.runs.display(),
            jobs.runs.display(),
            jobs.collect.display()
        )
    };
    Ok(Report { text, fault: None })
}
