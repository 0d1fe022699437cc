//! Feeds damaged files to every reader of the project for a while and counts them.
//!
//! usage: `cargo run --release -p integration-tests --bin fuzz -- TARGET SECONDS [SEED]`
//!
//! Each input is a good file with a few mutations: bytes flipped, cut, repeated, moved, taken from another file or
//! made up; numbers in headers made huge. A reader may take it or refuse it with an error of one line (a list of
//! faults may have a line each); it must not panic, hang, or take memory beyond what a good file of this size would.
#![expect(clippy::print_stdout, reason = "a driver of a terminal says what it found")]
#![expect(clippy::unwrap_used, reason = "a test driver may panic where the machine fails it")]

mod mutate;
mod targets;
mod texts;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mutate::Mutator;
use targets::{TARGETS, Target};

/// No reader may need more, in KiB of the largest resident set.
const MOST_MEMORY: u64 = 400 << 10;
/// No input may take longer to be refused.
const LONGEST: Duration = Duration::from_secs(5);

/// Where the last panic was and what it said; it may have been on another thread.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let target = arguments.first().and_then(|name| TARGETS.iter().find(|target| target.name == *name));
    let seconds = arguments.get(1).and_then(|seconds| seconds.parse::<u64>().ok());
    let seed = arguments.get(2).map_or(Some(0), |seed| seed.parse().ok());
    let (Some(target), Some(seconds), Some(seed)) = (target, seconds, seed) else {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        experiment::say(&format!("usage: fuzz {} SECONDS [SEED]", names.join("|")));
        return ExitCode::from(2);
    };
    fuzz(target, Duration::from_secs(seconds), seed)
}

fn fuzz(target: &Target, time: Duration, seed: u64) -> ExitCode {
    // in memory where there is a place for it
    let shm = Path::new("/dev/shm");
    let folder = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.unwrap();
    let samples = (target.samples)(folder.path());
    let mut mutator = Mutator::new(seed);
    let path = (target.prepare)(folder.path());
    for (number, sample) in samples.iter().enumerate() {
        std::fs::write(&path, sample).unwrap();
        if let Err(words) = (target.read)(&path) {
            println!("{}: sample {number} is no good file: {words}", target.name);
            return ExitCode::FAILURE;
        }
    }
    let (mut inputs, mut accepted, began) = (0u64, 0u64, Instant::now());
    let mut slowest = Duration::ZERO;
    std::panic::set_hook(Box::new(|panic| {
        let words = panic.to_string();
        *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner) = words.replace('\n', " ");
    }));
    while began.elapsed() < time {
        let input = mutator.mutate(&samples);
        std::fs::write(&path, &input).unwrap();
        let start = Instant::now();
        let fault = match catch_unwind(AssertUnwindSafe(|| (target.read)(&path))) {
            Ok(Ok(())) => {
                accepted += 1;
                None
            }
            Ok(Err(message)) if message.trim().is_empty() => Some("an error without words".to_owned()),
            Ok(Err(_)) => None,
            Err(_) => Some(LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner).clone()),
        };
        let took = start.elapsed();
        slowest = slowest.max(took);
        inputs += 1;
        let fault = fault.or_else(|| (took > LONGEST).then(|| format!("{took:?} for one input")));
        let memory = if inputs.is_multiple_of(64) { peak_memory() } else { 0 };
        let fault = fault.or_else(|| (memory > MOST_MEMORY).then(|| format!("{memory} KiB of memory")));
        if let Some(fault) = fault {
            let kept = std::env::temp_dir().join(format!("fuzz-{}-{seed}-{inputs}", target.name));
            std::fs::write(&kept, &input).unwrap();
            println!("{}: {fault} at input {inputs}, kept as {}", target.name, kept.display());
            return ExitCode::FAILURE;
        }
    }
    println!(
        "{}: {inputs} inputs in {} s, {accepted} taken, {} refused, no panic; slowest {:.1} ms, memory {} MiB",
        target.name,
        time.as_secs(),
        inputs - accepted,
        slowest.as_secs_f64() * 1e3,
        peak_memory() >> 10
    );
    ExitCode::SUCCESS
}

/// The largest resident set of this process in KiB; 0 where the system does not say.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
