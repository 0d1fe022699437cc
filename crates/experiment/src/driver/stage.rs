//! Work of a run between two updates.

use super::progress::Watch;
use crate::interrupt::Interrupt;
use crate::report::UserError;
use crate::run_folder::RunFolder;
use crate::terminal::shell_path;

/// What [`super::Training::between_updates`] has at hand: the run's folder, and someone to tell what it is doing.
pub struct Stage<'a> {
    pub(super) program: &'static str,
    pub(super) folder: &'a RunFolder,
    pub(super) interrupt: &'a Interrupt,
    pub(super) watch: &'a mut dyn Watch,
}

impl<'a> Stage<'a> {
    /// The run's folder.
    pub fn folder(&self) -> &'a RunFolder {
        self.folder
    }

    /// Shows what is being done, with the bar at `step`.
    pub fn say(&mut self, step: u64, message: &str) {
        self.watch.update(step, 0.0, message);
    }

    /// Whether the user asked to stop: long work asks from time to time and ends with [`Stage::interrupted`].
    pub fn stop_requested(&self) -> bool {
        self.interrupt.requested()
    }

    /// The error of a run that stops because it was asked to, `after` something that is saved: "the training of era".
    pub fn interrupted(&self, after: &str) -> UserError {
        interrupted(self.program, self.folder, after)
    }
}

/// What a user who stopped a run reads.
pub(super) fn interrupted(program: &str, folder: &RunFolder, after: &str) -> UserError {
    UserError::failed(format!("interrupted after {after}"))
        .with_hint(format!("go on with: {program} resume {}", shell_path(folder.path())))
}
