//! Who is told how far a run is.

use experiment::Progress;

/// The progress bar of a run, in tokens.
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

    /// The run begins, or goes on, at token `at` of `total`.
    pub fn begin(&mut self, at: u64, total: u64) {
        let progress = Progress::new(total, self.quiet).counting("tokens");
        progress.start_at(at);
        self.progress = Some(progress);
    }

    /// The run stands at token `at` and makes `rate` tokens a second.
    pub fn update(&self, at: u64, rate: f64, message: &str) {
        if let Some(progress) = &self.progress {
            progress.update(at, rate, message);
        }
    }

    /// A line above the bar.
    pub fn say(&self, line: &str) {
        if let Some(progress) = &self.progress {
            progress.println(line);
        }
    }

    /// Takes the bar off.
    pub fn end(&mut self) {
        self.progress = None;
    }
}
