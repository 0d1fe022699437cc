//! One progress display for runs side by side.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use crate::Progress;
use crate::driver::Watch;

/// The bar of a sweep: the steps of all runs together.
#[derive(Debug)]
pub(crate) struct Board {
    progress: Progress,
    runs: usize,
    done: AtomicUsize,
    failed: AtomicUsize,
    /// Steps of all runs so far.
    steps: AtomicU64,
    /// Those of them that an earlier process made.
    earlier: AtomicU64,
    began: Instant,
}

impl Board {
    /// The bar for `runs` runs of `steps` steps together, which are called `unit`; none where `quiet`.
    pub(crate) fn new(unit: &'static str, runs: usize, steps: u64, quiet: bool) -> Self {
        Self {
            progress: Progress::new(steps, quiet).counting(unit),
            runs,
            done: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
            steps: AtomicU64::new(0),
            earlier: AtomicU64::new(0),
            began: Instant::now(),
        }
    }

    /// What one of the runs reports to.
    pub(crate) fn watch(&self) -> Part<'_> {
        Part { board: self, step: 0 }
    }

    /// A run is finished.
    pub(crate) fn done(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.show();
    }

    /// A run has failed.
    pub(crate) fn failed(&self, name: &str, fault: &str) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.progress.println(&format!("failed: {name}: {fault}"));
        self.show();
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        self.progress.finish();
    }

    fn show(&self) {
        let steps = self.steps.load(Ordering::Relaxed);
        let own = steps.saturating_sub(self.earlier.load(Ordering::Relaxed));
        let sps = own as f64 / self.began.elapsed().as_secs_f64().max(1e-3);
        let failed = match self.failed.load(Ordering::Relaxed) {
            0 => String::new(),
            failed => format!(", {failed} failed"),
        };
        let message = format!("{}/{} runs{failed}", self.done.load(Ordering::Relaxed), self.runs);
        self.progress.update(steps, sps, &message);
    }
}

/// One run's share of a [`Board`].
#[derive(Debug)]
pub(crate) struct Part<'a> {
    board: &'a Board,
    step: u64,
}

impl Watch for Part<'_> {
    fn begin(&mut self, step: u64, _total: u64) {
        self.step = step;
        self.board.steps.fetch_add(step, Ordering::Relaxed);
        self.board.earlier.fetch_add(step, Ordering::Relaxed);
        if step > 0 {
            // the time left is guessed from the steps of this process
            self.board.progress.start_at(self.board.steps.load(Ordering::Relaxed));
        }
    }

    fn update(&mut self, step: u64, _sps: f64, _message: &str) {
        self.board.steps.fetch_add(step.saturating_sub(self.step), Ordering::Relaxed);
        self.step = step;
        self.board.show();
    }

    fn end(&mut self) {}
}
