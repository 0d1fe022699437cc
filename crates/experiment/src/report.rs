//! How a binary ends: one `error:` line, one `hint:` line, an exit code.
use std::fmt::Write as _;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::error::RunError;
use crate::progress::above_the_bar;

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
/// The exit code is 0 for a run that is done. Otherwise the first [`ConfigError`], [`RunError`] or
/// [`UserError`] of the chain decides it; without one it is 1.
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
            above_the_bar(|| eprint!("{text}"));
            ExitCode::from(code)
        }
    }
}

/// What [`report`] prints, and the exit code.
fn describe(error: &anyhow::Error) -> (String, u8) {
    let mut text = format!("error: {error:#}\n");
    let known = error.chain().filter_map(|cause| {
        if let Some(error) = cause.downcast_ref::<ConfigError>() {
            Some((error.hint(), error.exit_code()))
        } else if let Some(error) = cause.downcast_ref::<RunError>() {
            Some((error.hint(), error.exit_code()))
        } else {
            cause.downcast_ref::<UserError>().map(|error| (error.hint.clone(), error.exit_code))
        }
    });
    let known: Vec<(Option<String>, u8)> = known.collect();
    if let Some(hint) = known.iter().find_map(|(hint, _)| hint.as_ref()) {
        writeln!(text, "hint: {hint}").ok();
    }
    (text, known.first().map_or(1, |(_, code)| *code))
}
