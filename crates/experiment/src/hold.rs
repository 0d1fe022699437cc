//! The hold of a process on a run folder: its lock, and that it is still the same folder.
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process;

use crate::error::RunError;
use crate::opening::open_own;

/// The name of the file that is locked.
pub(crate) const LOCK: &str = ".lock";

/// A run folder that this process has locked, and what tells it from any other that may stand under its name later.
#[derive(Debug)]
pub(crate) struct Hold {
    folder: PathBuf,
    /// The folder when it was locked.
    about: Metadata,
    /// Held for its lock; nothing on a file system without locks.
    lock: Option<File>,
}

impl Hold {
    /// Locks a folder and leaves this process's id in the lock's file, for the message to the next one.
    ///
    /// # Errors
    /// [`RunError::Locked`] where another process has it, [`RunError::Write`] where it cannot be locked.
    pub(crate) fn take(folder: &Path) -> Result<Self, RunError> {
        let unreadable = |source| RunError::Read { path: folder.to_owned(), source };
        let about = fs::symlink_metadata(folder).map_err(unreadable)?;
        let hold = Self { folder: folder.to_owned(), about, lock: lock(folder)? };
        // the file may have been taken away until it was locked
        hold.check()?;
        Ok(hold)
    }

    /// Refuses to go on where another folder, or none, stands under the name of the one that was locked, or where its
    /// lock is no longer there: whatever is written then would be mixed with somebody else's.
    ///
    /// # Errors
    /// [`RunError::Moved`].
    pub(crate) fn check(&self) -> Result<(), RunError> {
        let moved = |what| RunError::Moved { path: self.folder.clone(), what };
        let is_the_same =
            |path: &Path, about: &Metadata| fs::symlink_metadata(path).is_ok_and(|now| same(&now, about));
        if !is_the_same(&self.folder, &self.about) {
            return Err(moved("the run folder"));
        }
        if let Some(lock) = &self.lock
            && !lock.metadata().is_ok_and(|about| is_the_same(&self.folder.join(LOCK), &about))
        {
            return Err(moved("the lock of the run folder"));
        }
        Ok(())
    }
}

#[cfg(unix)]
fn same(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// There, nothing is moved that is open.
#[cfg(not(unix))]
fn same(a: &Metadata, b: &Metadata) -> bool {
    a.file_type() == b.file_type()
}

fn lock(folder: &Path) -> Result<Option<File>, RunError> {
    let path = folder.join(LOCK);
    let unwritable = |source| RunError::Write { path: path.clone(), source };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = open_own(&mut options, &path).map_err(unwritable)?;
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
