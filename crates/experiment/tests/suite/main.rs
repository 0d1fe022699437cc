//! The life of a run from outside: one binary, a module for each part.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic, as tests do")]

mod checkpoint;
mod cli;
mod config;
mod driver;
mod metrics;
mod run_folder;
#[cfg(unix)]
mod signals;
