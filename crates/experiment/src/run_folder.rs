//! The folder of a run: created once, locked while in use, written atomically.
use std::fs::{self, FileType};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::atomic::{is_unfinished, sweep, write_held};
use crate::error::RunError;
use crate::hold::{Hold, LOCK};
use crate::manifest::Manifest;
use crate::report::UserError;

const CONFIG: &str = "config.toml";

/// The folder of a run, held by this process.
///
/// While the value lives, the process holds a lock of the operating system on a file in the folder: a second
/// process that asks for the same folder is refused. The lock of a process that died, however it died, is gone
/// with it. Before anything is written it is made sure that the folder and its lock are still those that were taken.
///
/// What leads out of a run folder, a symbolic link, or may never end, a pipe or a device, is refused: a folder that
/// came from somebody else must not have other files written, cut or removed.
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
    /// Nothing for a folder that is only looked at.
    hold: Option<Arc<Hold>>,
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
    /// has just taken it, [`RunError::Strange`] where it is a symbolic link, [`RunError::Write`] where it cannot be
    /// made.
    pub fn create(path: &Path) -> Result<Self, RunError> {
        refuse_link(path)?;
        create_folder(path)?;
        refuse_content(path)?;
        let hold = Hold::take(path)?;
        // another process may have come and gone between the look and the lock
        refuse_content(path)?;
        sweep(path);
        let run = Self { path: path.to_owned(), hold: Some(Arc::new(hold)) };
        run.make("checkpoints")?;
        run.make("plots")?;
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
    /// As [`RunFolder::view`]; [`RunError::Locked`] where another process is at work there.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        Self::view(path)?;
        let run = Self { path: path.to_owned(), hold: Some(Arc::new(Hold::take(path)?)) };
        sweep(path);
        Ok(run)
    }

    /// The folder of an earlier run, without its lock: for those who only read what the run has written, such as
    /// `plot`, also while it is still running.
    ///
    /// # Errors
    /// [`RunError::NotARun`] where no run is; [`RunError::Strange`] where the folder or something in it is a symbolic
    /// link, a pipe or a device.
    pub fn view(path: &Path) -> Result<Self, RunError> {
        refuse_link(path)?;
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
        refuse_strange(path)?;
        Ok(Self { path: path.to_owned(), hold: None })
    }

    /// Makes sure that what is written now reaches the folder that was taken: to be called before a file is written
    /// other than through this value. A folder that is only looked at is always as it should be.
    ///
    /// # Errors
    /// [`RunError::Moved`] where it was moved, deleted or replaced, or its lock was.
    pub fn require_held(&self) -> Result<(), RunError> {
        self.hold().map_or(Ok(()), Hold::check)
    }

    pub(crate) fn hold(&self) -> Option<&Hold> {
        self.hold.as_deref()
    }

    /// The hold on the folder, for who writes into it beside this value.
    pub(crate) fn shared_hold(&self) -> Option<Arc<Hold>> {
        self.hold.clone()
    }

    /// Makes a folder in the run folder; one that is there already will do. The run folder itself is never made anew.
    ///
    /// # Errors
    /// As [`RunFolder::require_held`], and [`RunError::Write`].
    pub fn make(&self, name: &str) -> Result<PathBuf, RunError> {
        self.require_held()?;
        let path = self.path.join(name);
        make_one(&path).map(|()| path)
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
            ([run], None) => Ok(Self::view(run)?.make("plots")?),
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
    /// [`RunError::Write`], and as [`RunFolder::require_held`]; the file that was there before is untouched.
    pub fn write_text(&self, name: &str, text: &str) -> Result<(), RunError> {
        write_held(&self.path.join(name), text.as_bytes(), self.hold())
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

/// Makes a folder, but none above it; one that is there already will do.
pub(crate) fn make_one(path: &Path) -> Result<(), RunError> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir(path).map_err(|source| RunError::Write { path: path.to_owned(), source })
}

/// Refuses a run folder that is a symbolic link.
fn refuse_link(path: &Path) -> Result<(), RunError> {
    // with a slash at its end, the system would look at what it leads to
    let path: PathBuf = path.components().collect();
    match fs::symlink_metadata(&path) {
        Ok(about) if about.is_symlink() => Err(strange(path, about.file_type())),
        _ => Ok(()),
    }
}

/// Refuses a run folder in which something is neither file nor folder.
fn refuse_strange(path: &Path) -> Result<(), RunError> {
    let unreadable = |source| RunError::Read { path: path.to_owned(), source };
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let kind = entry.file_type().map_err(unreadable)?;
        if !kind.is_file() && !kind.is_dir() {
            return Err(strange(entry.path(), kind));
        }
    }
    Ok(())
}

fn strange(path: PathBuf, kind: FileType) -> RunError {
    let what = if kind.is_symlink() { "a symbolic link" } else { "a pipe, a socket or a device" };
    RunError::Strange { path, what }
}
