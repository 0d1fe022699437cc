//! Who is told how far a run is.

use crate::progress::Progress;

/// Is told how far a run is, from whatever thread computes.
pub trait Watch: Send {
    /// The run begins, or goes on, at step `step` of `total`.
    fn begin(&mut self, step: u64, total: u64);

    /// The run stands at `step` and makes `speed` steps a second; `message` is its newest score, or what it is doing.
    fn update(&mut self, step: u64, speed: f64, message: &str);

    /// What the run has written down at `step`.
    fn values(&mut self, _step: u64, _values: &[(String, f64)]) {}

    /// No update follows.
    fn end(&mut self);
}

/// The progress bar of a run that has the terminal for itself.
#[derive(Debug)]
pub struct Bar {
    unit: &'static str,
    quiet: bool,
    progress: Option<Progress>,
}

impl Bar {
    /// A bar that appears when the run begins and counts `unit`, such as `images`; none where `quiet`.
    pub fn new(unit: &'static str, quiet: bool) -> Self {
        Self { unit, quiet, progress: None }
    }
}

impl Watch for Bar {
    fn begin(&mut self, step: u64, total: u64) {
        let progress = Progress::new(total, self.quiet).counting(self.unit);
        progress.start_at(step);
        self.progress = Some(progress);
    }

    fn update(&mut self, step: u64, speed: f64, message: &str) {
        if let Some(progress) = &self.progress {
            progress.update(step, speed, message);
        }
    }

    fn end(&mut self) {
        self.progress = None;
    }
}
