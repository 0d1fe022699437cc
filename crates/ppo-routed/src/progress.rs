//! Who is told how far a run is.

use experiment::Progress;

/// Is told how far a run is.
pub trait Watch {
    /// The run begins, or goes on, at environment step `step` of `total`.
    fn begin(&mut self, step: u64, total: u64);

    /// An update is done: the run stands at `step` and makes `sps` steps a second; `message` is its newest score.
    fn update(&mut self, step: u64, sps: f64, message: &str);

    /// No update follows.
    fn end(&mut self);
}

/// The progress bar of a run that has the terminal for itself.
#[derive(Debug)]
pub struct Bar {
    quiet: bool,
    progress: Option<Progress>,
}

impl Bar {
    /// A bar that appears when the run begins; none where `quiet`.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, progress: None }
    }
}

impl Watch for Bar {
    fn begin(&mut self, step: u64, total: u64) {
        let progress = Progress::new(total, self.quiet);
        progress.start_at(step);
        self.progress = Some(progress);
    }

    fn update(&mut self, step: u64, sps: f64, message: &str) {
        if let Some(progress) = &self.progress {
            progress.update(step, sps, message);
        }
    }

    fn end(&mut self) {
        self.progress = None;
    }
}
