//! The promises of the README and the design, kept by the real binary: each test runs it in a folder of its own
//! and looks at what a user would see there.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic, as tests do")]

mod adapt;
mod bench;
mod commands;
mod corpus;
mod damaged;
mod determinism;
#[cfg(unix)]
mod disk;
mod export;
mod files;
#[cfg(target_os = "linux")]
mod folders;
mod kills;
mod language;
mod lookup;
#[cfg(target_os = "linux")]
mod memory;
mod mnist;
mod outputs;
#[cfg(unix)]
mod pages;
mod redraw;
mod refusals;
mod report;
mod repository;
#[cfg(unix)]
mod signals;
#[cfg(target_os = "linux")]
mod strangers;
#[cfg(target_os = "linux")]
mod streams;
mod sweep;
mod texts;
mod training;
mod workspace;
