//! Ctrl-C and SIGTERM as a question that the training loop asks between two updates.
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::RunError;
use crate::terminal::say;

/// The flag of the installed handler: a process can have only one.
static INSTALLED: Mutex<Option<Interrupt>> = Mutex::new(None);

/// Whether the run has been asked to stop; clones share one flag.
///
/// [`install`] gives the one that signals set. The default one is set only by [`Interrupt::request`].
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    flag: Arc<AtomicBool>,
}

impl Interrupt {
    /// Whether the run should finish the update in hand, write a checkpoint and end.
    pub fn requested(&self) -> bool {
        self.flag.load(Ordering::SeqCst)
    }

    /// Asks the run to stop, as the first Ctrl-C does.
    pub fn request(&self) {
        self.flag.store(true, Ordering::SeqCst);
    }
}

/// Sets the handler for Ctrl-C and SIGTERM: the first signal sets the flag, a second one ends the process at once
/// with exit code 130. Calling it again gives the same flag. SIGHUP is left alone, so that `nohup` works.
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
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(RunError::Signals)?;
    let listener = thread::Builder::new().name("signals".into()).spawn(move || {
        for _ in signals.forever() {
            if shared.requested() {
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
