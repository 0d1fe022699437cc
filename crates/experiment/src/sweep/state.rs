//! How far a run of a sweep is, and how its folder is made ready to begin anew.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use candle_core::Device;
use serde_json::Value;

use super::plan::{Planned, Sweep};
use super::program::{SweepProgram, read_summary};
use crate::atomic::is_unfinished;
use crate::{CheckpointStore, Manifest, RunFolder, UserError, read_at_most};

/// No summary is longer.
const LONGEST_SUMMARY: u64 = 16 << 20;

/// How far a run of a sweep is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Done, with its `summary.json`.
    Finished(Value),
    /// Cut off, with a checkpoint to go on from.
    Interrupted,
    /// Not begun, or cut off before there was any checkpoint.
    Open,
}

/// How far the run of `planned` is.
///
/// # Errors
/// Fails where its folder holds another run, or something that a run which can begin anew does not leave: a
/// checkpoint that cannot be read, a file of somebody else, a folder that cannot be listed.
pub fn state<P: SweepProgram>(program: &P, sweep: &Sweep<P>, planned: &Planned<P::Config>) -> Result<State> {
    let path = sweep.run_folder(planned);
    if !is_there(&path)? {
        return Ok(State::Open);
    }
    refuse_another_run(sweep, planned)?;
    if let Some(summary) = summary(program, sweep, planned)? {
        return Ok(State::Finished(summary));
    }
    let store = CheckpointStore::new(path.join("checkpoints"), 0);
    if !store.list()?.is_empty() {
        if store.latest_intact(&Device::Cpu).is_some() {
            return Ok(State::Interrupted);
        }
        let message = format!("{} has checkpoints, of which none can be read", path.display());
        return Err(UserError::failed(message)
            .with_hint("restore one from a copy, or move the folder away to begin the run anew")
            .into());
    }
    refuse_foreign(&path, P::EARLY_FILES)?;
    Ok(State::Open)
}

/// Refuses a folder that holds a run with other settings or another seed.
///
/// # Errors
/// As its name says, and where `config.toml` or `manifest.json` cannot be read.
pub(super) fn refuse_another_run<P: SweepProgram>(
    sweep: &Sweep<P>,
    planned: &Planned<P::Config>,
) -> Result<()> {
    let path = sweep.run_folder(planned);
    let (config, manifest) = (path.join("config.toml"), path.join("manifest.json"));
    let other_config = is_there(&config)? && crate::load_run::<P::Config>(&config, &[])? != planned.config;
    let seed = if is_there(&manifest)? { Some(Manifest::read(&manifest)?.seed) } else { None };
    let what = match seed {
        _ if other_config => "settings".to_owned(),
        Some(seed) if seed != planned.seed => format!("seed, {seed}"),
        _ => return Ok(()),
    };
    let message = format!("{} holds a run with other {what}", path.display());
    Err(UserError::usage(message).with_hint("choose another folder with --out, or move that run away").into())
}

/// `summary.json` of a finished run, checked by the program.
fn summary<P: SweepProgram>(
    program: &P,
    sweep: &Sweep<P>,
    planned: &Planned<P::Config>,
) -> Result<Option<Value>> {
    let path = sweep.run_folder(planned).join("summary.json");
    let read = || -> Result<Value, String> {
        let bytes = read_at_most(&path, LONGEST_SUMMARY).map_err(|error| error.to_string())?;
        let json: Value = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        read_summary(program, &planned.config, &json)?;
        match json.get("seed").and_then(Value::as_u64) {
            Some(seed) if seed != planned.seed => Err(format!("it is of seed {seed}")),
            _ => Ok(json),
        }
    };
    if !is_there(&path)? {
        return Ok(None);
    }
    read().map(Some).map_err(|fault| {
        UserError::failed(format!("cannot use {}: {fault}", path.display()))
            .with_hint("remove that file: the same command writes it anew from the run's checkpoint")
            .into()
    })
}

/// Whether there is something at `path`; a folder that cannot be looked into is not an empty one.
fn is_there(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
    }
}

/// The entries of a folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>());
    listed.with_context(|| format!("cannot list {}", folder.display()))
}

fn name(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}

/// Refuses a folder with anything in it that a run does not leave which was cut off before its first checkpoint.
fn refuse_foreign(path: &Path, early: &[&str]) -> Result<()> {
    const FILES: [&str; 4] = [".lock", "config.toml", "manifest.json", "metrics.jsonl"];
    let mut foreign = Vec::new();
    for entry in entries(path)? {
        let known = |name: &OsStr| {
            is_unfinished(name) || FILES.iter().chain(early).any(|file| name == OsStr::new(file))
        };
        if fs::symlink_metadata(&entry).is_ok_and(|meta| meta.is_dir()) {
            // the folders that a run begins with are empty, but for event files
            let events = name(&entry) == "tensorboard";
            let left = |inner: &PathBuf| {
                let event = events && name(inner).to_string_lossy().starts_with("events.");
                !event && !is_unfinished(name(inner))
            };
            foreign.extend(entries(&entry)?.into_iter().filter(left));
        } else if !known(name(&entry)) {
            foreign.push(entry);
        }
    }
    let Some(first) = foreign.iter().min() else { return Ok(()) };
    let first = first.strip_prefix(path).unwrap_or(first);
    let message = format!(
        "{} has no checkpoint but holds {}, which no run leaves that can begin anew",
        path.display(),
        first.display()
    );
    Err(UserError::failed(message)
        .with_hint("move the folder away if nobody needs what is in it; then the same command begins the run")
        .into())
}

/// Moves what a run has left that was cut off before its first checkpoint to `NAME.old-1`, or the next number that
/// is free; not where another process is at work there.
///
/// # Errors
/// Fails where the folder is in use, is not that of such a run, or cannot be moved.
pub(super) fn set_aside<P: SweepProgram>(
    program: &P,
    sweep: &Sweep<P>,
    planned: &Planned<P::Config>,
) -> Result<()> {
    let path = sweep.run_folder(planned);
    if !is_there(&path)? {
        return Ok(());
    }
    let nothing = |entry: &PathBuf| {
        let empty = || fs::read_dir(entry).is_ok_and(|mut entries| entries.next().is_none());
        name(entry) == ".lock" || is_unfinished(name(entry)) || empty()
    };
    // a run can begin in what is left of one that had written nothing
    if entries(&path)?.iter().all(nothing) {
        return Ok(());
    }
    let lock = RunFolder::open(&path)?;
    // another process may have been at work there until the lock was taken
    if state(program, sweep, planned)? != State::Open {
        let message = format!("{} was worked on by another process just now", path.display());
        return Err(UserError::failed(message).with_hint("the same command goes on").into());
    }
    for number in 1_u32.. {
        let aside = sweep.folder.join(format!("{}.old-{number}", planned.name));
        if !is_there(&aside)? {
            // the lock goes with the folder and is held until it has a new name
            fs::rename(&path, &aside)
                .with_context(|| format!("cannot move {} to {}", path.display(), aside.display()))?;
            break;
        }
    }
    drop(lock);
    Ok(())
}
