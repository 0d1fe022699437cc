//! The verb `sweep` and its own verbs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use super::alone::Selection;
use super::execute::{Failed, Resources, run_all, run_one};
use super::plan::{PLAN, Sweep};
use super::program::{Collected, SweepProgram};
use super::results::Results;
use super::section::{Axis, SweepConfig};
use super::slurm::{self, SlurmRequest};
use super::state::{State, refuse_another_run, state};
use super::transfer::{Imported, export, import};
use crate::driver::{Bar, Outputs};
use crate::{CommonArgs, UserError};

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
        /// The folder of the sweep; or files of results, of which tables and figures are made in --out.
        #[arg(required = true, value_name = "SWEEP|FILE")]
        from: Vec<PathBuf>,
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
    /// Write the results of the finished runs into one file: settings, seeds, curves and summaries, no clocks.
    Export {
        /// The folders of sweeps, or of finished runs alone.
        #[arg(required = true, value_name = "SWEEP|RUN")]
        folders: Vec<PathBuf>,
        /// The file, a JSON line a run.
        file: PathBuf,
    },
    /// Add results that were exported elsewhere to those of a plan; its runs then count as finished.
    Import {
        /// The folder of the sweep.
        sweep: PathBuf,
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
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
            Some(SweepVerb::Export { .. }) => "sweep export",
            Some(SweepVerb::Import { .. }) => "sweep import",
        }
    }

    /// The common options that make sense with it.
    pub fn takes(&self) -> &'static [&'static str] {
        match &self.verb {
            None => &["--config", "--set", "--out", "--device"],
            Some(SweepVerb::Plan { .. } | SweepVerb::Slurm { .. }) => &["--config", "--set", "--out"],
            Some(SweepVerb::Run { .. }) => &["--device"],
            Some(SweepVerb::Collect { from }) if from.iter().all(|path| path.is_file()) => {
                &["--config", "--set", "--out"]
            }
            Some(SweepVerb::Collect { .. } | SweepVerb::Export { .. } | SweepVerb::Import { .. }) => &[],
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
pub struct SweepReport {
    /// For stdout.
    pub text: String,
    /// What is wrong although there is something to say.
    pub fault: Option<UserError>,
}

impl SweepReport {
    fn of(text: String) -> Self {
        Self { text, fault: None }
    }

    /// Prints the text; then the fault is an error.
    ///
    /// # Errors
    /// The fault, or that stdout took no more.
    pub fn print(self) -> Result<()> {
        crate::print(&self.text)?;
        self.fault.map_or(Ok(()), |fault| Err(fault.into()))
    }
}

/// What is to be planned.
#[derive(Clone, Debug, Default)]
pub struct PlanRequest {
    /// The config file.
    pub file: Option<PathBuf>,
    /// Settings over the file, those of `[sweep]` among them.
    pub set: Vec<String>,
    /// Axes beside those of `[sweep]`.
    pub axes: Vec<String>,
    /// The folder of the sweep.
    pub folder: PathBuf,
}

/// Does what the command line says.
///
/// # Errors
/// Fails where the plan makes no sense, a run that was asked for by its index fails, or a file cannot be written.
pub fn sweep<P: SweepProgram>(program: &P, args: SweepArgs, common: &CommonArgs) -> Result<SweepReport> {
    let resources = Resources {
        threads: common.threads.unwrap_or(1),
        device: common.device,
        outputs: Outputs::default(),
    };
    let outer = args.axes.axes;
    let request = |axes: Vec<String>| {
        let (file, set) = (common.config.clone(), common.set.clone());
        let axes = outer.iter().cloned().chain(axes).collect();
        let stem = file.as_deref().and_then(Path::file_stem).map(|stem| stem.to_string_lossy().into_owned());
        let folder = || Path::new("runs").join(stem.unwrap_or_else(|| "sweep".to_owned()));
        PlanRequest { file, set, axes, folder: common.out.clone().unwrap_or_else(folder) }
    };
    match args.verb {
        None => run_and_collect(program, &request(Vec::new()), args.jobs, resources, common.quiet),
        Some(SweepVerb::Plan { axes }) => {
            let sweep = plan::<P>(&request(axes.axes))?;
            let (name, folder) = (P::NAME, crate::shell_path(&sweep.folder));
            Ok(SweepReport::of(format!(
                "{} runs in {}\n\
                 each: {name} sweep run {folder} --index I\n\
                 then: {name} sweep collect {folder}\n",
                sweep.runs.len(),
                sweep.folder.join(PLAN).display(),
            )))
        }
        Some(SweepVerb::Run { sweep, index }) => {
            let sweep = Sweep::open(&sweep)?;
            let planned = sweep.run(index)?;
            if !Imported::read(program, &sweep)?.has(planned) {
                run_one(program, &sweep, planned, resources, &mut Bar::new(P::UNIT, common.quiet))?;
            }
            Ok(SweepReport::of(format!("{}\n", sweep.run_folder(planned).display())))
        }
        Some(SweepVerb::Collect { from }) => match from.as_slice() {
            [sweep] if !sweep.is_file() => collect(program, &Sweep::open(sweep)?),
            files => collect_files(program, files, common),
        },
        Some(SweepVerb::Slurm { axes, submit, concurrent, sbatch }) => {
            let slurm = SlurmRequest { threads: resources.threads, concurrent, options: sbatch };
            through_slurm(program, &plan::<P>(&request(axes.axes))?, submit, &slurm)
        }
        Some(SweepVerb::Export { folders, file }) => export(program, &folders, &file).map(SweepReport::of),
        Some(SweepVerb::Import { sweep, files }) => {
            import(program, &Sweep::open(&sweep)?, &files).map(SweepReport::of)
        }
    }
}

/// Plans a sweep, sees its runs through and gathers the results. Without `jobs` as many runs go side by side as
/// fill the cores.
///
/// # Errors
/// Fails where the plan makes no sense or a file cannot be written. That runs failed is the fault of the report.
pub fn run_and_collect<P: SweepProgram>(
    program: &P,
    request: &PlanRequest,
    jobs: Option<usize>,
    resources: Resources,
    quiet: bool,
) -> Result<SweepReport> {
    // a GPU that is not there is told before anything is written
    resources.device.open()?;
    let sweep = plan::<P>(request)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = jobs.unwrap_or_else(|| (cores / resources.threads).max(1));
    let ended = run_all(program, &sweep, jobs, resources, quiet)?;
    let mut report = collect(program, &sweep)?;
    let total = sweep.runs.len();
    if ended.interrupted {
        let fault = UserError::failed("interrupted; every run at work was saved");
        report.fault = Some(fault.with_hint("the same command goes on"));
    } else if let Some(first) = ended.failed.first() {
        let count = ended.failed.len();
        let same = ended.failed.iter().all(|failed| failed.fault == first.fault);
        let said = |failed: &Failed| format!("{}: {}", failed.name, failed.fault);
        let said = match ended.failed.as_slice() {
            [_, _, ..] if same => format!("each of them: {}", first.fault),
            failed => failed.iter().map(said).collect::<Vec<_>>().join("; "),
        };
        let message = format!("{count} of {total} runs failed: {said}");
        let again = "the others are gathered; the same command tries these again";
        let hint = first.hint.clone().filter(|_| same).unwrap_or_else(|| again.to_owned());
        report.fault = Some(UserError::failed(message).with_hint(hint));
    }
    Ok(report)
}

/// The plan that is asked for; without settings, the one that stands in the folder already.
fn plan<P: SweepProgram>(request: &PlanRequest) -> Result<Sweep<P>> {
    let PlanRequest { file, set, axes, folder } = request;
    let file = file.as_deref();
    if file.is_none() && set.is_empty() && axes.is_empty() && folder.join(PLAN).exists() {
        return Sweep::open(folder);
    }
    let mut set = set.clone();
    if let Some(text) = axes.iter().find(|text| Axis::parse(text).is_none()) {
        return Err(
            UserError::usage(format!("--axis {text}: an axis is written section.key=value,value")).into()
        );
    }
    if !axes.is_empty() {
        let given: SweepConfig<P::Config, P::Keys> = crate::load(file, &set)?;
        let all: Vec<toml::Value> =
            given.sweep.axes.iter().chain(axes).map(|axis| toml::Value::String(axis.clone())).collect();
        set.push(format!("sweep.axes={}", toml::Value::Array(all)));
    }
    let sweep = Sweep::plan(folder, file, &set)?;
    for planned in &sweep.runs {
        // before a plan that stands there is replaced; what cannot be read fails that run alone, when it is its turn
        if let Err(error) = refuse_another_run(&sweep, planned)
            && error.downcast_ref::<UserError>().is_some_and(|error| error.exit_code == 2)
        {
            return Err(error);
        }
    }
    sweep.write()?;
    Ok(sweep)
}

/// Gathers what is finished into tables and figures.
fn collect<P: SweepProgram>(program: &P, sweep: &Sweep<P>) -> Result<SweepReport> {
    let results = Results::gather(program, sweep)?;
    let (total, finished) = (sweep.runs.len(), results.rows.len());
    let fault = (finished < total).then(|| {
        let some: Vec<String> = results.unfinished.iter().take(10).map(ToString::to_string).collect();
        let more = if results.unfinished.len() > some.len() { ", …" } else { "" };
        let faults = results.unusable.iter().map(|unusable| unusable.fault.clone());
        let said: Vec<String> = std::iter::once(format!("{}{more}", some.join(", "))).chain(faults).collect();
        let message = format!("{} of {total} runs are not finished: {}", total - finished, said.join("; "));
        let own = results.unusable.first().and_then(|first| first.hint.clone());
        let each = format!("each: {} sweep run {} --index I", P::NAME, crate::shell_path(&sweep.folder));
        UserError::failed(message).with_hint(own.unwrap_or(each))
    });
    if finished == 0 {
        return Ok(SweepReport { text: String::new(), fault });
    }
    let collected = program.collect(&results, &sweep.config.sweep.own, &sweep.folder)?;
    Ok(SweepReport { text: said(collected, finished, total)?, fault })
}

/// Makes tables and figures of files of results alone.
fn collect_files<P: SweepProgram>(
    program: &P,
    files: &[PathBuf],
    common: &CommonArgs,
) -> Result<SweepReport> {
    let keys: SweepConfig<P::Config, P::Keys> = crate::load(common.config.as_deref(), &common.set)?;
    let results = Results::read(program, files, &Selection::default())?;
    let stem = files.first().and_then(|file| file.file_stem()).unwrap_or_default();
    let folder = common.out.clone().unwrap_or_else(|| Path::new("runs").join(stem));
    crate::create_folder(&folder)?;
    let (collected, runs) = (program.collect(&results, &keys.sweep.own, &folder)?, results.rows.len());
    Ok(SweepReport::of(said(collected, runs, runs)?))
}

/// What was gathered, for stdout.
fn said(collected: Collected, finished: usize, total: usize) -> Result<String> {
    let mut text = collected.text;
    let effort = if collected.effort.is_empty() { String::new() } else { format!(", {}", collected.effort) };
    writeln!(text, "\n{finished} of {total} runs{effort}")?;
    text += &crate::lines(&collected.files);
    Ok(text)
}

fn through_slurm<P: SweepProgram>(
    program: &P,
    sweep: &Sweep<P>,
    submit: bool,
    request: &SlurmRequest,
) -> Result<SweepReport> {
    let imported = Imported::read(program, sweep)?;
    let mut indices = Vec::new();
    for planned in sweep.runs.iter().filter(|planned| !imported.has(planned)) {
        // a run whose folder cannot be used fails by its name in its own task
        if !matches!(state(program, sweep, planned), Ok(State::Finished(_))) {
            indices.push(planned.index);
        }
    }
    if indices.is_empty() {
        let text = format!("all {} runs are finished\n", sweep.runs.len());
        return Ok(SweepReport::of(text + &collect(program, sweep)?.text));
    }
    let binary = std::env::current_exe().context("the path of this program")?;
    let jobs = slurm::write(program, sweep, &indices, &binary, request)?;
    let count = indices.len();
    Ok(SweepReport::of(if submit {
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
            crate::shell_path(&jobs.runs),
            crate::shell_path(&jobs.collect)
        )
    }))
}
