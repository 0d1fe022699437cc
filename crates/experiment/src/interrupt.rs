//! Ctrl-C, SIGTERM and SIGHUP as a question that the training loop asks between two updates, and long updates between
//! two steps.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::RunError;
use crate::terminal::{say, shell_path};

/// The flag of the installed handler: a process can have only one.
static INSTALLED: Mutex<Option<Interrupt>> = Mutex::new(None);

/// How long an update may go on that was at work when the run was asked to stop. Slurm kills after 30 s.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether the run has been asked to stop; clones share one flag.
///
/// [`install`] gives the one that signals set. The default one is set only by [`Interrupt::request`].
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    requested: AtomicBool,
    insisted: AtomicBool,
    since: OnceLock<Instant>,
    /// The runs at work, and the update that each has saved last.
    saved: Mutex<BTreeMap<PathBuf, Option<u64>>>,
}

impl Interrupt {
    /// Whether the run should finish the update in hand, write a checkpoint and end.
    pub fn requested(&self) -> bool {
        self.shared.requested.load(Ordering::SeqCst)
    }

    /// Asks the run to stop, as the first Ctrl-C does.
    pub fn request(&self) {
        self.shared.since.get_or_init(Instant::now);
        self.shared.requested.store(true, Ordering::SeqCst);
    }

    /// Whether the update in hand should not be finished either: it was asked for ten seconds ago.
    pub fn is_overdue(&self) -> bool {
        let late = || self.shared.since.get().is_some_and(|since| since.elapsed() >= PATIENCE);
        self.requested() && (self.shared.insisted.load(Ordering::SeqCst) || late())
    }

    /// Asks the run to stop within the update in hand, as if it had been asked long ago.
    pub fn insist(&self) {
        self.shared.insisted.store(true, Ordering::SeqCst);
        self.request();
    }

    /// Notes which update of a run is on the disk, for who ends the process at once; none yet where it is nothing.
    pub(crate) fn note_saved(&self, folder: &Path, update: Option<u64>) {
        let mut saved = self.shared.saved.lock().unwrap_or_else(PoisonError::into_inner);
        saved.insert(folder.to_owned(), update);
    }

    /// The run has ended.
    pub(crate) fn forget(&self, folder: &Path) {
        self.shared.saved.lock().unwrap_or_else(PoisonError::into_inner).remove(folder);
    }

    /// What the disk has of the runs at work.
    fn on_disk(&self) -> String {
        let saved = self.shared.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = saved.iter().map(|(folder, update)| {
            let folder = shell_path(folder);
            match update {
                Some(update) => format!("{folder} is saved up to update {update}"),
                None => format!("{folder} has no checkpoint"),
            }
        });
        let runs: Vec<String> = runs.collect();
        if runs.is_empty() {
            "stopped at once".to_owned()
        } else {
            format!("stopped at once; {}", runs.join(", "))
        }
    }
}

/// Sets the handler for Ctrl-C, SIGTERM and, unless it is ignored as under `nohup`, SIGHUP: the first signal sets the
/// flag, a second one says what is on the disk and ends the process at once with exit code 130. Calling it again gives
/// the same flag.
///
/// # Errors
/// [`RunError::Signals`] where the system refuses the handler.
pub fn install() -> Result<Interrupt, RunError> {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(interrupt) = installed.as_ref() {
        return Ok(interrupt.clone());
    }
    let interrupt = Interrupt::default();
    let shared = interrupt.clone();
    let hangup = (!is_ignored(SIGHUP)).then_some(SIGHUP);
    let mut signals = Signals::new([SIGINT, SIGTERM].into_iter().chain(hangup)).map_err(RunError::Signals)?;
    let listener = thread::Builder::new().name("signals".into()).spawn(move || {
        for _ in signals.forever() {
            if shared.requested() {
                say(&shared.on_disk());
                process::exit(130);
            }
            shared.request();
            say("stopping after the work in hand; once more to stop at once");
        }
    });
    listener.map_err(RunError::Signals)?;
    *installed = Some(interrupt.clone());
    Ok(interrupt)
}

/// Whether this process was started with a signal ignored. Where the system does not say, it was.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(u64::MAX);
    mask >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_cut_off_only_where_it_was_asked_for_long_ago() {
        let interrupt = Interrupt::default();
        assert!(!interrupt.requested() && !interrupt.is_overdue());
        interrupt.request();
        assert!(interrupt.requested() && !interrupt.clone().is_overdue());
        interrupt.insist();
        assert!(interrupt.clone().is_overdue());
    }

    #[test]
    fn what_is_on_the_disk_is_said() {
        let interrupt = Interrupt::default();
        assert_eq!(interrupt.on_disk(), "stopped at once");
        let [a, b] = ["runs/a", "my runs/b"].map(Path::new);
        interrupt.note_saved(a, None);
        interrupt.note_saved(b, Some(3));
        interrupt.note_saved(b, Some(40));
        assert_eq!(
            interrupt.on_disk(),
            "stopped at once; 'my runs/b' is saved up to update 40, runs/a has no checkpoint"
        );
        interrupt.forget(a);
        assert_eq!(interrupt.on_disk(), "stopped at once; 'my runs/b' is saved up to update 40");
    }
}
