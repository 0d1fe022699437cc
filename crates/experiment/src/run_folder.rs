//! The folder of a run: created once, locked while in use, written atomically.
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process;

use serde::Serialize;

use crate::atomic::{is_unfinished, sweep, write_atomic};
use crate::error::RunError;
use crate::manifest::Manifest;
use crate::report::UserError;

const LOCK: &str = ".lock";
const CONFIG: &str = "config.toml";

/// The folder of a run, held by this process.
///
/// While the value lives, the process holds a lock of the operating system on a file in the folder: a second
/// process that asks for the same folder is refused. The lock of a process that died, however it died, is gone
/// with it.
///
/// ```text
/// NAME-seedN/
///   config.toml  manifest.json  metrics.jsonl  summary.json
///   checkpoints/*.safetensors
///   plots/*.png
/// ```
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Held for its lock; nothing for a folder that is only looked at.
    _lock: Option<File>,
}

/// Makes a folder, with the folders above it; one that is there already will do.
///
/// # Errors
/// [`RunError::Write`] naming `path`.
pub fn create_folder(path: &Path) -> Result<(), RunError> {
    fs::create_dir_all(path).map_err(|source| RunError::Write { path: path.to_owned(), source })
}

impl RunFolder {
    /// Makes the folder of a new run, with the folders above it.
    ///
    /// # Errors
    /// [`RunError::FolderExists`] where the folder holds anything, [`RunError::Locked`] where another process
    /// has just taken it, [`RunError::Write`] where it cannot be made.
    pub fn create(path: &Path) -> Result<Self, RunError> {
        create_folder(path)?;
        refuse_content(path)?;
        let lock = lock(path)?;
        // another process may have come and gone between the look and the lock
        refuse_content(path)?;
        sweep(path);
        let run = Self { path: path.to_owned(), _lock: lock };
        create_folder(&run.checkpoints())?;
        create_folder(&run.plots())?;
        Ok(run)
    }

    /// Refuses a folder that [`RunFolder::create`] will not take, before anything else is done for a run in it.
    ///
    /// # Errors
    /// [`RunError::FolderExists`] where the folder holds anything.
    pub fn require_free(path: &Path) -> Result<(), RunError> {
        if path.is_dir() { refuse_content(path) } else { Ok(()) }
    }

    /// Takes the folder of an earlier run, to go on with it, and clears away the temporary files of writes that
    /// were cut off.
    ///
    /// # Errors
    /// [`RunError::NotARun`] where no run is, [`RunError::Locked`] where another process is at work there.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        Self::view(path)?;
        let run = Self { path: path.to_owned(), _lock: lock(path)? };
        sweep(path);
        Ok(run)
    }

    /// The folder of an earlier run, without its lock: for those who only read what the run has written, such as
    /// `plot`, also while it is still running.
    ///
    /// # Errors
    /// [`RunError::NotARun`] where no run is.
    pub fn view(path: &Path) -> Result<Self, RunError> {
        let refused = |fault| Err(RunError::NotARun { path: path.to_owned(), fault });
        if !path.exists() {
            return refused("there is no such folder");
        }
        if !path.is_dir() {
            return refused("it is a file");
        }
        if !path.join(CONFIG).exists() && !path.join(LOCK).exists() {
            return refused("it has no config.toml");
        }
        Ok(Self { path: path.to_owned(), _lock: None })
    }

    /// As [`RunFolder::view`], for a run of `program` alone.
    ///
    /// # Errors
    /// As there, and [`RunError::OtherProgram`].
    pub fn view_of(path: &Path, program: &str) -> Result<Self, RunError> {
        let run = Self::view(path)?;
        run.require_program(program)?;
        Ok(run)
    }

    /// Refuses a run of another program than `wanted`. One without a manifest, which has not begun, is nobody's.
    ///
    /// # Errors
    /// [`RunError::OtherProgram`], or [`RunError::Read`] for a damaged manifest.
    pub(crate) fn require_program(&self, wanted: &str) -> Result<(), RunError> {
        match Manifest::read(&self.manifest_path()) {
            Err(RunError::NotBegun { .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(manifest) if manifest.name == wanted => Ok(()),
            Ok(Manifest { name: found, .. }) => {
                let (path, wanted) = (self.path.clone(), wanted.to_owned());
                Err(RunError::OtherProgram { path, found, wanted })
            }
        }
    }

    /// The folder for pictures of runs: the one that was asked for, made where it is not there, or the only run's own.
    ///
    /// # Errors
    /// Fails where several runs have none, or it cannot be made.
    pub fn pictures_of(runs: &[PathBuf], asked: Option<&Path>) -> anyhow::Result<PathBuf> {
        match (runs, asked) {
            (_, Some(folder)) => {
                create_folder(folder)?;
                Ok(folder.to_owned())
            }
            ([run], None) => Ok(Self::view(run)?.plots()),
            _ => Err(UserError::usage("the pictures of several runs need a folder of their own")
                .with_hint("name it with --out DIR")
                .into()),
        }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `config.toml`, the resolved config.
    pub fn config_path(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    /// `manifest.json`, see [`crate::Manifest`].
    pub fn manifest_path(&self) -> PathBuf {
        self.path.join("manifest.json")
    }

    /// `metrics.jsonl`, see [`crate::MetricsWriter`].
    pub fn metrics_path(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// `summary.json`, the result of a run that is done.
    pub fn summary_path(&self) -> PathBuf {
        self.path.join("summary.json")
    }

    /// The folder of the checkpoints, see [`crate::CheckpointStore`].
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// The folder of the pictures.
    pub fn plots(&self) -> PathBuf {
        self.path.join("plots")
    }

    /// Writes a text file into the folder, atomically.
    ///
    /// # Errors
    /// [`RunError::Write`]; the file that was there before is untouched.
    pub fn write_text(&self, name: &str, text: &str) -> Result<(), RunError> {
        write_atomic(&self.path.join(name), text.as_bytes())
    }

    /// Writes a value into the folder as indented JSON, atomically.
    ///
    /// # Errors
    /// [`RunError::Json`] for a value without a JSON form, and as [`RunFolder::write_text`].
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), RunError> {
        let mut text = serde_json::to_string_pretty(value)
            .map_err(|source| RunError::Json { path: self.path.join(name), source })?;
        text.push('\n');
        self.write_text(name, &text)
    }
}

/// Refuses a folder that holds anything but what a process leaves that died before it had written anything: its
/// lock, an unfinished file and empty folders.
fn refuse_content(path: &Path) -> Result<(), RunError> {
    let unreadable = |source| RunError::Read { path: path.to_owned(), source };
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let empty_folder = || fs::read_dir(entry.path()).is_ok_and(|mut entries| entries.next().is_none());
        let name = entry.file_name();
        if name != LOCK && !is_unfinished(&name) && !empty_folder() {
            return Err(RunError::FolderExists { path: path.to_owned() });
        }
    }
    Ok(())
}

/// Takes the lock of a run folder and leaves this process's id in it, for the message to the next one.
fn lock(folder: &Path) -> Result<Option<File>, RunError> {
    let path = folder.join(LOCK);
    let unwritable = |source| RunError::Write { path: path.clone(), source };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(unwritable)?;
    match file.try_lock() {
        Ok(()) => {
            note_process(&mut file).map_err(unwritable)?;
            Ok(Some(file))
        }
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // where the id cannot be read the message goes without it
            (&mut file).take(20).read_to_string(&mut pid).ok();
            Err(RunError::Locked { path: folder.to_owned(), pid: pid.trim().parse().ok() })
        }
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
            tracing::warn!(
                "the file system of {} has no locks: make sure yourself that only one process uses this run",
                folder.display()
            );
            Ok(None)
        }
        Err(TryLockError::Error(error)) => Err(unwritable(error)),
    }
}

fn note_process(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", process::id())
}
