//! The bar at the foot of the terminal while a run trains.
use std::env;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::terminal::say;

/// The bar that is on the screen, for those who write beside it (the log, the signal handler).
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// A bar on stderr with the steps done, steps a second, a message such as the return, and the time left.
///
/// It is hidden when stderr is no terminal or the user asked for quiet, and has no colour under `NO_COLOR`.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    quiet: bool,
    unit: &'static str,
}

impl Progress {
    /// A bar for a run of `total_steps` steps.
    pub fn new(total_steps: u64, quiet: bool) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(total_steps), target).with_style(style(""));
        if !bar.is_hidden() {
            *shown() = Some(bar.clone());
        }
        Self { bar, quiet, unit: "steps" }
    }

    /// With place for a picture above the bar.
    pub(crate) fn with_picture(self) -> Self {
        self.bar.set_style(style("{prefix}\n"));
        self
    }

    /// Draws what `picture` makes for the width of the terminal above the bar; nothing where there is no bar.
    pub(crate) fn picture(&self, picture: impl FnOnce(u16) -> String) {
        if !self.bar.is_hidden() {
            let (_, columns) = console::Term::stderr().size();
            self.bar.set_prefix(picture(columns));
        }
    }

    /// Counts something other than steps, such as `images`.
    pub fn counting(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    /// Starts the bar at the step where a resumed run goes on, so that the time left is not guessed from steps
    /// taken earlier.
    pub fn start_at(&self, step: u64) {
        self.bar.set_position(step);
        self.bar.reset_eta();
    }

    /// Moves the bar to `step`; `sps` is steps a second, `message` anything short, such as `return 0.71`.
    pub fn update(&self, step: u64, sps: f64, message: &str) {
        self.bar.set_message(format!("{sps:.0} {}/s  {message}", self.unit));
        self.bar.set_position(step);
    }

    /// Prints a line to stderr above the bar; nothing when quiet.
    pub fn println(&self, line: &str) {
        if !self.quiet {
            say(line);
        }
    }

    /// Leaves the bar on the screen as it stands and ends it.
    pub fn finish(&self) {
        self.bar.abandon();
        *shown() = None;
    }
}

/// A line at the foot of the terminal that says what is being done where no steps can be counted. Where stderr is no
/// terminal, the first thing it says is a line of its own and the rest goes unsaid.
#[derive(Debug)]
pub struct Activity {
    bar: ProgressBar,
    quiet: bool,
    begun: bool,
}

impl Activity {
    /// A line that appears with the first thing it says; none where `quiet`.
    pub fn new(quiet: bool) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template("{spinner} {wide_msg}");
        Self {
            bar: bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner())),
            quiet,
            begun: false,
        }
    }

    /// Shows what is being done now.
    pub fn say(&mut self, what: &str) {
        if !self.begun && !self.quiet {
            if self.bar.is_hidden() {
                say(what);
            } else {
                *shown() = Some(self.bar.clone());
                self.bar.enable_steady_tick(TICK);
            }
        }
        self.begun = true;
        self.bar.set_message(what.to_owned());
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        if self.begun && !self.bar.is_hidden() {
            *shown() = None;
        }
    }
}

/// Between two pictures of the spinner.
const TICK: Duration = Duration::from_millis(120);

impl Drop for Progress {
    fn drop(&mut self) {
        if !self.bar.is_finished() {
            self.finish();
        }
    }
}

/// The bar, with a template for what stands above it.
fn style(above: &str) -> ProgressStyle {
    let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let bar = if plain { "{bar:10}" } else { "{bar:10.cyan/dim}" };
    // `wide_msg` is cut where the terminal ends, so that the bar never takes two lines; with millions of steps the
    // whole message still fits into 80 columns
    let template = format!("{above}{bar} {{human_pos}}/{{human_len}}  ETA {{eta}}  {{wide_msg}}");
    ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn shown() -> std::sync::MutexGuard<'static, Option<ProgressBar>> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `write`, which writes to stderr, with the bar taken off the screen meanwhile.
pub(crate) fn above_the_bar<T>(write: impl FnOnce() -> T) -> T {
    let bar = shown().clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}
