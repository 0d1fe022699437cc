//! Runs of a sweep: one, or all side by side.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use super::board::Board;
use super::plan::{Planned, Sweep};
use super::program::SweepProgram;
use super::state::{State, set_aside, state};
use super::transfer::Imported;
use crate::driver::{Outputs, Run, RunRequest, Watch};
use crate::{DeviceArg, UserError};

/// What each run computes with.
#[derive(Clone, Copy, Debug)]
pub struct Resources {
    /// Threads of a run.
    pub threads: usize,
    /// Where its tensors live.
    pub device: DeviceArg,
    /// What it writes beside the run folder's own files.
    pub outputs: Outputs,
}

/// Sees one run of a sweep through: starts it, goes on with it, or finds it finished.
///
/// # Errors
/// Fails where the run does; where its folder holds another run; and where the folder holds what a run that can
/// begin anew does not leave.
pub fn run_one<P: SweepProgram>(
    program: &P,
    sweep: &Sweep<P>,
    planned: &Planned<P::Config>,
    resources: Resources,
    watch: &mut dyn Watch,
) -> Result<()> {
    let folder = sweep.run_folder(planned);
    let Resources { threads, device, outputs } = resources;
    match state(program, sweep, planned)? {
        State::Finished(_) => {
            let steps = program.steps(&planned.config);
            watch.begin(steps, steps);
            watch.end();
            Ok(())
        }
        State::Interrupted => {
            Run::resume(program, &folder, Some(threads), outputs)?.drive(watch)?;
            Ok(())
        }
        State::Open => {
            set_aside(program, sweep, planned)?;
            let (config, seed) = (planned.config.clone(), planned.seed);
            let request = RunRequest { config, seed, folder, threads, device, outputs };
            Run::create(program, &request)?.drive(watch)?;
            Ok(())
        }
    }
}

/// What became of the runs of a sweep.
#[derive(Debug, Default)]
pub struct Ended {
    /// The failed ones.
    pub failed: Vec<Failed>,
    /// Whether Ctrl-C or SIGTERM came.
    pub interrupted: bool,
}

/// A run that failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failed {
    /// Its index.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// Why.
    pub fault: String,
    /// What the user can do about it.
    pub hint: Option<String>,
}

/// Sees all runs through that have no imported result, `jobs` at a time. One that fails does not stop the others.
///
/// # Errors
/// Fails where the handler of signals cannot be set, or imported results cannot be read.
pub fn run_all<P: SweepProgram>(
    program: &P,
    sweep: &Sweep<P>,
    jobs: usize,
    resources: Resources,
    quiet: bool,
) -> Result<Ended> {
    let interrupt = crate::install()?;
    let imported = Imported::read(program, sweep)?;
    let steps = sweep.runs.iter().map(|planned| program.steps(&planned.config));
    let total = steps.fold(0, u64::saturating_add);
    let board = Board::new(P::UNIT, sweep.runs.len(), total, quiet);
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    let started = std::thread::scope(|scope| -> std::io::Result<()> {
        for _ in 0..jobs.min(sweep.runs.len()) {
            std::thread::Builder::new().spawn_scoped(scope, || {
                while !interrupt.requested()
                    && let Some(planned) = sweep.runs.get(next.fetch_add(1, Ordering::SeqCst))
                {
                    let mut watch = board.watch();
                    if imported.has(planned) {
                        let steps = program.steps(&planned.config);
                        watch.begin(steps, steps);
                        board.done();
                        continue;
                    }
                    let run = || run_one(program, sweep, planned, resources, &mut watch);
                    let fault = match catch_unwind(AssertUnwindSafe(run)) {
                        Ok(Ok(())) => None,
                        Ok(Err(_)) if interrupt.requested() => None,
                        Ok(Err(error)) => Some((format!("{error:#}"), hint(&error))),
                        Err(panic) => Some((format!("it broke down: {}", words(panic.as_ref())), None)),
                    };
                    match fault {
                        Some((fault, hint)) => {
                            board.failed(&planned.name, &fault);
                            let (index, name) = (planned.index, planned.name.clone());
                            let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                            failed.push(Failed { index, name, fault, hint });
                        }
                        None if !interrupt.requested() => board.done(),
                        None => {}
                    }
                }
            })?;
        }
        Ok(())
    });
    board.end();
    // those that were started have ended by now
    started.map_err(|error| {
        UserError::failed(format!("cannot start a thread for each of {jobs} runs side by side: {error}"))
            .with_hint("give fewer with --jobs, or raise the limit of processes (ulimit -u)")
    })?;
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort();
    Ok(Ended { failed, interrupted: interrupt.requested() })
}

/// What the user can do about a fault.
pub(super) fn hint(error: &anyhow::Error) -> Option<String> {
    error.downcast_ref::<UserError>().and_then(|error| error.hint.clone())
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}
