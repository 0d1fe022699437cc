//! Log lines that read like the rest of the command's messages: `warning: …`, no timestamps.
use std::fmt;
use std::io::{self, Write};
#[cfg(unix)]
use std::sync::{Arc, atomic::AtomicBool};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::progress::above_the_bar;

/// Sends log lines to stderr: warnings and errors, only errors when `quiet`, or what `RUST_LOG` asks for.
///
/// Where a logger is set already, as in a test, it stays. From then on a process that must abort, as where memory cannot
/// be had, ends with exit code 1 behind the line that says so, and not by a signal.
pub fn init_logging(quiet: bool) {
    #[cfg(unix)]
    signal_hook::flag::register_conditional_shutdown(
        signal_hook::consts::SIGABRT,
        1,
        Arc::new(AtomicBool::new(true)),
    )
    .ok();
    let default = if quiet { "error" } else { "warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .event_format(PlainLine)
        .with_writer(|| AboveTheBar)
        .try_init()
        .ok();
}

/// `warning: message field=value`
struct PlainLine;

impl<S, N> FormatEvent<S, N> for PlainLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let word = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        write!(writer, "{word}: ")?;
        ctx.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// Stderr, with the progress bar out of the way.
struct AboveTheBar;

impl Write for AboveTheBar {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // an error here would be printed, by the subscriber, on the same stderr
        above_the_bar(|| io::stderr().write_all(line)).ok();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
