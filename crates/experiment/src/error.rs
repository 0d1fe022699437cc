//! What can go wrong in the life of a run, and what its user can do about it.
use std::io;
use std::path::PathBuf;

use crate::terminal::shell_path;

/// A failure of a run folder, a metrics file, a checkpoint, a device or a signal handler.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The folder for a new run is already in use.
    #[error("the run folder {} already holds files", path.display())]
    FolderExists {
        /// The folder that was asked for.
        path: PathBuf,
    },
    /// What is to be written as a new folder would go over something.
    #[error("{} is there already and holds something", path.display())]
    Occupied {
        /// The path that was asked for.
        path: PathBuf,
    },
    /// The path to open is no folder, or holds no run.
    #[error("{} is not a run folder: {fault}", path.display())]
    NotARun {
        /// The path that was asked for.
        path: PathBuf,
        /// What is missing there.
        fault: &'static str,
    },
    /// The run is one of another program.
    #[error("the run in {} is one of {found}, not of {wanted}", path.display())]
    OtherProgram {
        /// The folder that was asked for.
        path: PathBuf,
        /// The program that began it.
        found: String,
        /// The program that was asked.
        wanted: String,
    },
    /// The run was cut off before it had written all that it begins with.
    #[error("there is no {}: the run was cut off before it began", path.display())]
    NotBegun {
        /// The manifest that is not there.
        path: PathBuf,
    },
    /// Another process holds the lock of the run folder.
    #[error("the run folder {} is in use by {}", path.display(), holder(*pid))]
    Locked {
        /// The folder that was asked for.
        path: PathBuf,
        /// The process that holds the lock, where it could be read.
        pid: Option<u32>,
    },
    /// What was locked is no longer there, or something else is.
    #[error("{what} {} was moved, deleted or replaced while the run was at work", path.display())]
    Moved {
        /// The folder as it was named.
        path: PathBuf,
        /// The folder, or its lock.
        what: &'static str,
    },
    /// Something in a run folder is no file or folder.
    #[error("{} is {what}, which no run leaves", path.display())]
    Strange {
        /// Its path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file could not be written; what stood at its path before is still there.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Stdout took no more.
    #[error("cannot write to stdout")]
    Stdout(#[source] io::Error),
    /// A value has no JSON form.
    #[error("cannot write {} as JSON", path.display())]
    Json {
        /// The file it was meant for.
        path: PathBuf,
        /// What serde said.
        source: serde_json::Error,
    },
    /// A line of a metrics file is not a record.
    #[error("{} line {line}: {fault}", path.display())]
    Metrics {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        fault: String,
    },
    /// A metric carries a name that every record already has.
    #[error("a metric cannot be named `{name}`: every record has a `step` and an `update` of its own")]
    ReservedMetric {
        /// The name.
        name: String,
    },
    /// A checkpoint cannot be read back: cut short, damaged, or not one of ours.
    #[error("the checkpoint {} {fault}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, as the rest of the sentence.
        fault: String,
    },
    /// A checkpoint holds what its file cannot; nothing was written.
    #[error("cannot save the checkpoint {}: {fault}", path.display())]
    Unsavable {
        /// The file it was meant for.
        path: PathBuf,
        /// What the file cannot hold.
        fault: String,
    },
    /// The state of a run holds NaN or infinity; it was not saved.
    #[error("the state for {} is of no use: its tensor `{name}` holds NaN or infinity", path.display())]
    NotFinite {
        /// The checkpoint it was meant for.
        path: PathBuf,
        /// The first such tensor.
        name: String,
    },
    /// A tensor could not be moved from or to its device.
    #[error("cannot move the tensor `{name}` between the checkpoint {} and its device", path.display())]
    Tensor {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor's name in it.
        name: String,
        /// What candle said.
        source: Box<candle_core::Error>,
    },
    /// The device is not there.
    #[error("cannot use the device {device}: {fault}")]
    Device {
        /// The device as written on the command line.
        device: String,
        /// Why not, in one line.
        fault: String,
        /// What to do.
        hint: &'static str,
    },
    /// The handler for Ctrl-C and SIGTERM could not be set.
    #[error("cannot set the handler for Ctrl-C and SIGTERM")]
    Signals(#[source] io::Error),
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("another process (id {pid})"))
}

impl RunError {
    /// What the user can do, where the message alone does not say it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::FolderExists { path } => Some(format!(
                "choose another folder with --out or give the run another name; to go on with this run: resume {}",
                shell_path(path)
            )),
            Self::Occupied { .. } => Some("name a folder that is empty, or not there yet".into()),
            Self::NotARun { .. } => Some("give the folder that `train` printed, such as runs/NAME-seed0".into()),
            Self::OtherProgram { found, .. } => Some(format!("give it to {found}")),
            Self::NotBegun { .. } => Some("remove the folder and start the run again".into()),
            Self::Locked { .. } => Some(
                "wait until the other process has ended, or choose another folder with --out; a dead process \
                 holds no lock"
                    .into(),
            ),
            Self::Moved { .. } => Some(
                "nothing was written after that; where the folder stands now, `resume` goes on from its last \
                 checkpoint"
                    .into(),
            ),
            Self::Strange { .. } => Some(
                "give the folder that a link leads to, or put the file itself in its place: links are not followed, \
                 and regular files alone are read"
                    .into(),
            ),
            Self::Read { source, .. } | Self::Write { source, .. } => io_hint(source),
            Self::Metrics { .. } => Some("remove that line, or restore the file from a copy".into()),
            Self::Checkpoint { .. } => {
                Some("use an earlier file of the same checkpoints folder, written by the same binary".into())
            }
            Self::NotFinite { .. } => {
                Some("start again with a lower learning rate; the checkpoints before this one are as they were".into())
            }
            Self::Device { hint, .. } => Some((*hint).into()),
            Self::Json { .. }
            | Self::ReservedMetric { .. }
            | Self::Stdout(_)
            | Self::Unsavable { .. }
            | Self::Tensor { .. }
            | Self::Signals(_) => None,
        }
    }

    /// The exit code of a binary that ends with this error: 2 where the command line asked for something that
    /// cannot be, 1 where the run failed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::FolderExists { .. }
            | Self::Occupied { .. }
            | Self::NotARun { .. }
            | Self::OtherProgram { .. }
            | Self::Strange { .. }
            | Self::Locked { .. }
            | Self::Device { .. } => 2,
            _ => 1,
        }
    }
}

fn io_hint(source: &io::Error) -> Option<String> {
    let hint = match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space on that disk and resume; every checkpoint written before is intact"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "check who may write there, or choose another folder with --out"
        }
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            "a file stands where a folder is needed: choose another folder with --out"
        }
        _ => return None,
    };
    Some(hint.into())
}
