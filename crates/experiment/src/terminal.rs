//! What goes to stdout and to stderr. Either may be a full disk, or a pipe whose reader has left, where the standard
//! library's macros would panic.
use std::borrow::Cow;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::RunError;
use crate::progress::above_the_bar;

/// Prints data on stdout. A reader that went away early, such as `head`, is no failure.
///
/// # Errors
/// [`RunError::Stdout`].
pub fn print(text: &str) -> Result<(), RunError> {
    let mut stdout = io::stdout();
    unless_left(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// Says a line on stderr, above the progress bar. Where it cannot be said, nobody listens.
pub fn say(line: &str) {
    let line = format!("{line}\n");
    // at once, so that processes which share a terminal do not mix their lines
    above_the_bar(|| io::stderr().write_all(line.as_bytes())).ok();
}

/// Paths as a text, one a line.
pub fn lines(paths: &[PathBuf]) -> String {
    paths.iter().fold(String::new(), |text, path| text + &path.display().to_string() + "\n")
}

/// A word for a shell: as it is where it is plain, else quoted.
pub fn shell_word(text: &str) -> String {
    // no file name and no argument can have the zero byte that is refused
    shlex::try_quote(text).map_or_else(|_| "''".to_owned(), Cow::into_owned)
}

/// A path as a word for a shell, for commands that a user copies.
pub fn shell_path(path: &Path) -> String {
    shell_word(&path.to_string_lossy())
}

/// What came of writing to stdout, without the case that its reader has left.
pub(crate) fn unless_left(written: io::Result<()>) -> Result<(), RunError> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(RunError::Stdout(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_left_is_no_failure_and_a_full_disk_is() {
        assert!(unless_left(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        let error = unless_left(Err(io::ErrorKind::StorageFull.into())).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.exit_code()), ("cannot write to stdout", 1));
    }
}
