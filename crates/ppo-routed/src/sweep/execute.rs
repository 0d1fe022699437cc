//! Runs of a sweep: one, or all side by side.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use candle_core::Device;
use experiment::{CheckpointStore, DeviceArg, Manifest, RunFolder, UserError};

use super::board::Board;
use super::plan::{Planned, Sweep};
use crate::progress::Watch;
use crate::run::{self, Outputs, RunRequest};
use crate::{Config, Summary};

/// How far a run of a sweep is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Done, with its result.
    Finished(Box<Summary>),
    /// Cut off, with a checkpoint to go on from.
    Interrupted,
    /// Not begun, or cut off before its first checkpoint.
    Open,
}

/// How far the run of `planned` is.
///
/// # Errors
/// Fails where its folder holds another run, or cannot be read.
pub fn state(sweep: &Sweep, planned: &Planned) -> Result<State> {
    let path = sweep.run_folder(planned);
    if !path.join("config.toml").exists() {
        return Ok(State::Open);
    }
    let folder = RunFolder::view(&path)?;
    let config: Config = experiment::load(Some(&folder.config_path()), &[])?;
    let seed = match folder.manifest_path() {
        manifest if manifest.exists() => Manifest::read(&manifest)?.seed,
        _ => return Ok(State::Open),
    };
    if config != planned.config || seed != planned.seed {
        let message = format!("{} holds a run with other settings", path.display());
        return Err(UserError::usage(message)
            .with_hint("choose another folder for the sweep with --out, or remove that run")
            .into());
    }
    if let Some(summary) = Summary::read(&folder.summary_path())? {
        return Ok(State::Finished(Box::new(summary)));
    }
    let store = CheckpointStore::new(folder.checkpoints(), 0);
    Ok(if store.latest_intact(&Device::Cpu).is_some() { State::Interrupted } else { State::Open })
}

/// Sees one run of a sweep through: starts it, goes on with it, or finds it finished.
///
/// # Errors
/// As [`run::train`] and [`run::resume`]; and where its folder holds another run.
pub fn run_one(
    sweep: &Sweep,
    planned: &Planned,
    threads: usize,
    device: &DeviceArg,
    watch: &mut dyn Watch,
) -> Result<()> {
    let folder = sweep.run_folder(planned);
    let outputs = Outputs::default();
    match state(sweep, planned)? {
        State::Finished(_) => {
            watch.begin(planned.steps(), planned.steps());
            watch.end();
        }
        State::Interrupted => drop(run::resume(&folder, Some(threads), outputs, watch)?),
        State::Open => {
            clear(&folder)?;
            let config = planned.config.clone();
            let request =
                RunRequest { config, seed: planned.seed, folder, threads, device: *device, outputs };
            run::train(&request, watch)?;
        }
    }
    Ok(())
}

/// Removes what a process left that was cut off before its first checkpoint; not where another is at work there.
fn clear(path: &Path) -> Result<()> {
    if !path.join("config.toml").exists() {
        return Ok(());
    }
    let folder = RunFolder::open(path)?;
    for entry in std::fs::read_dir(folder.path())? {
        let path = entry?.path();
        let removed =
            if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// What became of the runs of a sweep.
#[derive(Debug, Default)]
pub struct Ended {
    /// The names of the failed ones, and why.
    pub failed: Vec<(String, String)>,
    /// Whether Ctrl-C or SIGTERM came.
    pub interrupted: bool,
}

/// Sees all runs through, `jobs` at a time with `threads` threads each. One that fails does not stop the others.
///
/// # Errors
/// Fails where the handler of signals cannot be set.
pub fn run_all(sweep: &Sweep, jobs: usize, threads: usize, device: &DeviceArg, quiet: bool) -> Result<Ended> {
    let interrupt = experiment::install()?;
    let board = Board::new(&sweep.runs, quiet);
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(sweep.runs.len()) {
            scope.spawn(|| {
                while !interrupt.requested()
                    && let Some(planned) = sweep.runs.get(next.fetch_add(1, Ordering::SeqCst))
                {
                    let run = || run_one(sweep, planned, threads, device, &mut board.watch());
                    let fault = match catch_unwind(AssertUnwindSafe(run)) {
                        Ok(Ok(())) => None,
                        Ok(Err(_)) if interrupt.requested() => None,
                        Ok(Err(error)) => Some(format!("{error:#}")),
                        Err(panic) => Some(format!("it broke down: {}", words(panic.as_ref()))),
                    };
                    match fault {
                        Some(fault) => {
                            board.failed(&planned.name, &fault);
                            let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                            failed.push((planned.index, planned.name.clone(), fault));
                        }
                        None if !interrupt.requested() => board.done(),
                        None => {}
                    }
                }
            });
        }
    });
    board.end();
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort();
    let failed = failed.into_iter().map(|(_, name, fault)| (name, fault)).collect();
    Ok(Ended { failed, interrupted: interrupt.requested() })
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}
