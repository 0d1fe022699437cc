//! How a binary ends: one `error:` line, one `hint:` line, an exit code.
use std::fmt::Write as _;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::error::RunError;
use crate::terminal::say;

/// An error of a binary of its own, with what the user can do and the exit code. It travels in an anyhow chain
/// like any other error; [`report`] finds it there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UserError {
    /// What is wrong, in lower case.
    pub message: String,
    /// What the user can do about it.
    pub hint: Option<String>,
    /// 1 where the run failed, 2 where usage or config are wrong.
    pub exit_code: u8,
}

impl UserError {
    /// Wrong usage or config: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, exit_code: 2 }
    }

    /// The run failed: exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, exit_code: 1 }
    }

    /// Adds what the user can do.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The end of `main`: on an error, its whole chain on one line of stderr as `error: outer: inner`, and the hint
/// of the first error of the chain that has one as `hint: …`.
///
/// The exit code is 0 for a run that is done. Otherwise the first [`UserError`], [`ConfigError`] or
/// [`RunError`] of the chain decides it; without one it is 1.
///
/// ```no_run
/// fn run() -> anyhow::Result<()> {
///     Ok(())
/// }
///
/// fn main() -> std::process::ExitCode {
///     experiment::report(run())
/// }
/// ```
pub fn report<E: Into<anyhow::Error>>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let (text, code) = describe(&error.into());
            say(text.trim_end());
            ExitCode::from(code)
        }
    }
}

/// What [`report`] prints, and the exit code.
fn describe(error: &anyhow::Error) -> (String, u8) {
    let message = format!("{error:#}");
    // names in damaged files may hold anything; only a list of faults has lines of its own
    let list = error.chain().any(|cause| cause.downcast_ref::<ConfigError>().is_some());
    let mut text = format!("error: {}\n", printable(&message, list));
    // a context that was added as a value is not in the chain as itself, but the whole can be asked for it
    let context = error.downcast_ref::<UserError>().map(|error| (error.hint.clone(), error.exit_code));
    let causes = error.chain().filter_map(|cause| {
        if let Some(error) = cause.downcast_ref::<ConfigError>() {
            Some((error.hint(), error.exit_code()))
        } else if let Some(error) = cause.downcast_ref::<RunError>() {
            Some((error.hint(), error.exit_code()))
        } else {
            cause.downcast_ref::<UserError>().map(|error| (error.hint.clone(), error.exit_code))
        }
    });
    let known: Vec<(Option<String>, u8)> = context.into_iter().chain(causes).collect();
    if let Some(hint) = known.iter().find_map(|(hint, _)| hint.as_ref()) {
        writeln!(text, "hint: {}", printable(hint, false)).ok();
    }
    (text, known.first().map_or(1, |(_, code)| *code))
}

/// Without line ends, unless `lines` says that they belong there, and with every other control character escaped.
fn printable(message: &str, lines: bool) -> String {
    let mut out = String::with_capacity(message.len());
    for letter in message.trim_end().chars() {
        match letter {
            '\n' if lines => out.push('\n'),
            '\n' => out.push(' '),
            letter if letter.is_control() => out.extend(letter.escape_debug()),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_whole_chain_is_one_line_and_the_cause_gives_hint_and_code() {
        let cause = RunError::FolderExists { path: PathBuf::from("runs/a-seed0") };
        let error = Err::<(), _>(cause).context("starting").context("ppo-routed").unwrap_err();
        insta::assert_snapshot!(describe(&error).0, @r"
        error: ppo-routed: starting: the run folder runs/a-seed0 already holds files
        hint: choose another folder with --out or give the run another name; to go on with this run: resume runs/a-seed0
        ");
        assert_eq!(describe(&error).1, 2);
    }

    #[test]
    fn a_full_disk_says_what_is_safe() {
        let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = anyhow::Error::new(RunError::Write { path: PathBuf::from("a/metrics.jsonl"), source });
        insta::assert_snapshot!(describe(&error).0, @r"
        error: cannot write a/metrics.jsonl: no storage space
        hint: free some space on that disk and resume; every checkpoint written before is intact
        ");
        assert_eq!(describe(&error).1, 1);
    }

    #[test]
    fn an_error_of_the_binary_counts_as_cause_and_as_context() {
        let usage = || UserError::usage("`eval` needs a run folder").with_hint("eval runs/NAME-seed0");
        let text = "error: `eval` needs a run folder\nhint: eval runs/NAME-seed0\n";
        assert_eq!(describe(&usage().into()), (text.to_owned(), 2));
        let error = anyhow::anyhow!("inner").context(usage()).context("outer");
        let text = "error: outer: `eval` needs a run folder: inner\nhint: eval runs/NAME-seed0\n";
        assert_eq!(describe(&error), (text.to_owned(), 2));
        let error = anyhow::Error::new(UserError::failed("the loss is NaN"));
        assert_eq!(describe(&error), ("error: the loss is NaN\n".to_owned(), 1));
    }

    #[test]
    fn what_a_damaged_file_says_stays_one_line() {
        let error = anyhow::anyhow!("it has the parameters a\nb and \u{1b}[31mc\n");
        assert_eq!(describe(&error).0, "error: it has the parameters a b and \\u{1b}[31mc\n");
    }

    #[test]
    fn any_other_error_is_a_failed_run() {
        assert_eq!(describe(&anyhow::anyhow!("odd").context("outer")), ("error: outer: odd\n".to_owned(), 1));
    }
}
