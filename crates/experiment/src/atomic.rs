//! Files that are either the old ones or the new ones, never half of each.
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::RunError;
use crate::hold::Hold;
use crate::opening::outlive_size_limits;

/// How the name of a file begins that a write has not finished; see [`sweep`].
const PREFIX: &str = ".unfinished-";

/// Writes `bytes` to `path` so that a reader, or the next process after a crash, finds either the old content
/// or all of the new: into a temporary file in the same folder, synced to the disk, then renamed. A folder that
/// cannot be synced is named in a warning: the new file is there, and would be missing only after a power cut.
///
/// # Errors
/// [`RunError::Write`] naming `path`; what stood there before is untouched.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    write_held(path, bytes, None)
}

/// [`write_atomic`] into a run folder that is held: the file takes its name only where the folder is still the same.
///
/// # Errors
/// As [`write_atomic`], and [`RunError::Moved`].
pub(crate) fn write_held(path: &Path, bytes: &[u8], hold: Option<&Hold>) -> Result<(), RunError> {
    let check = || hold.map_or(Ok(()), Hold::check);
    check()?;
    let failed = |source| RunError::Write { path: path.to_owned(), source };
    let file = match unfinished(path, |file| file.write_all(bytes)) {
        Ok(file) => file,
        // that it is gone says more than that nothing can be written there
        Err(error) => return check().and(Err(failed(error))),
    };
    check()?;
    finish(file, path).map_err(failed)
}

/// Refuses a path where [`write_folder`] would not write: only an empty folder, or none, will do.
///
/// # Errors
/// [`RunError::Occupied`].
pub fn require_vacant(path: &Path) -> Result<(), RunError> {
    let vacant = match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => fs::symlink_metadata(path).is_err(),
    };
    if vacant { Ok(()) } else { Err(RunError::Occupied { path: path.to_owned() }) }
}

/// Makes the folder `path` with the files that `fill` writes into the folder that it is given: all of them are there
/// under that name, or none.
///
/// # Errors
/// As [`require_vacant`], [`RunError::Write`] where the disk refuses, and those of `fill`.
pub fn write_folder<E: From<RunError>>(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    require_vacant(path)?;
    let failed = |source| E::from(RunError::Write { path: path.to_owned(), source });
    outlive_size_limits();
    let above = folder_of(path);
    fs::create_dir_all(above).map_err(failed)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    let folder = builder.tempdir_in(above).map_err(failed)?;
    fill(folder.path())?;
    for entry in fs::read_dir(folder.path()).map_err(failed)? {
        let file = entry.and_then(|entry| File::open(entry.path())).map_err(failed)?;
        file.sync_all().map_err(failed)?;
    }
    if path.is_dir() {
        // fails where something has come into it
        fs::remove_dir(path).map_err(failed)?;
    }
    fs::rename(folder.path(), path).map_err(failed)?;
    // it has another name now, under which nobody is to look for it
    let _ = folder.keep();
    #[cfg(unix)]
    sync_folder(above);
    Ok(())
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A temporary file beside `path`, on the disk, with the content written by `fill`, which may fail at any point.
fn unfinished(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<NamedTempFile> {
    outlive_size_limits();
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX);
    // temporary files are private by default, results are not: the umask decides, as for any new file
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder_of(path))?;
    fill(file.as_file_mut())?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Gives a temporary file its name.
fn finish(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.persist(path)?;
    #[cfg(unix)]
    sync_folder(folder_of(path));
    Ok(())
}

/// Has a rename in `folder` reach the disk, too.
#[cfg(unix)]
fn sync_folder(folder: &Path) {
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // some network file systems do not know how
        Err(error) if !matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            tracing::warn!("cannot sync {} to the disk: {error}", folder.display());
        }
        _ => {}
    }
}

/// Whether a file is what a write of a killed process left.
pub(crate) fn is_unfinished(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with(PREFIX)
}

/// Removes what writes of a killed process left in the folder of a run, whose lock is held, and in those below it.
pub(crate) fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sweep(&entry.path());
        } else if is_unfinished(&entry.file_name()) {
            // a leftover that cannot be removed is in nobody's way
            fs::remove_file(entry.path()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_anywhere_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.json");
        write_atomic(&path, b"old").unwrap();
        for written in 0..8 {
            let error = unfinished(&path, |file| {
                file.write_all(&b"newnewne"[..written])?;
                Err(io::ErrorKind::StorageFull.into())
            });
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::StorageFull);
            assert_eq!(fs::read(&path).unwrap(), b"old");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_folder_is_written_whole_or_not_at_all() {
        let within = tempfile::tempdir().unwrap();
        let path = within.path().join("above").join("new");
        let write = |fails: bool| {
            write_folder::<RunError>(&path, |folder| {
                fs::write(folder.join("a"), b"a").unwrap();
                if fails { Err(RunError::Occupied { path: folder.to_owned() }) } else { Ok(()) }
            })
        };
        write(true).unwrap_err();
        assert_eq!(fs::read_dir(within.path().join("above")).unwrap().count(), 0);
        // an empty folder will do
        fs::create_dir(&path).unwrap();
        write(false).unwrap();
        assert_eq!(fs::read(path.join("a")).unwrap(), b"a");
        let error = write(false).unwrap_err().to_string();
        assert!(error.ends_with("new is there already and holds something"), "{error}");
        assert!(require_vacant(&path.join("a")).is_err());
        assert_eq!(fs::read_dir(within.path().join("above")).unwrap().count(), 1);
    }

    #[test]
    fn a_rename_that_fails_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), b"x").unwrap();
        let error = write_atomic(&path, b"new").unwrap_err();
        assert!(error.to_string().ends_with("taken"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_cannot_be_opened_to_be_synced_takes_files() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.json");
        // an administrator may open it in spite of this
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o300)).unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        sync_folder(&folder.path().join("gone"));
    }

    #[cfg(unix)]
    #[test]
    fn the_umask_decides_who_may_read() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let (atomic, plain) = (folder.path().join("atomic"), folder.path().join("plain"));
        write_atomic(&atomic, b"x").unwrap();
        fs::write(&plain, b"x").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&atomic), mode(&plain));
    }
}
