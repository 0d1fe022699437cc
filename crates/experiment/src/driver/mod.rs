//! The life of a run, for any program: a [`Program`] says how its [`Training`] is built, brought back and summed up,
//! and [`Run`] does everything else.
//!
//! | a run | here |
//! |---|---|
//! | begins: folder and lock, `config.toml`, `manifest.json`, `metrics.jsonl` | [`Run::create`] |
//! | goes on: the newest intact checkpoint, checked against config and metrics, which are cut back to it | [`Run::resume`] |
//! | trains: metrics with their event files, evaluations, checkpoints, progress, Ctrl-C | [`Run::drive`] |
//! | ends: `metrics.csv`, what the program draws, `manifest.json`, and `summary.json` last | [`Run::drive`] |
//!
//! A run that is killed at any moment and resumed leaves the same `metrics.jsonl` (but for `charts/SPS`) and the
//! same last checkpoint (but for `seconds` in its header), byte for byte, as one that nobody disturbed. A program keeps its side of that promise where
//! [`Training::state`] holds everything that changes and [`Program::rewind`] brings all of it back.

mod bench;
mod program;
mod progress;
mod resume;
mod run;
mod stage;

pub use bench::{BenchArgs, BenchFields, BenchPlan, Rates, median};
pub use program::{
    BuildContext, CutOff, Due, Finished, FinishedRun, Position, Program, Report, State, Training,
};
pub use progress::{Bar, Watch};
pub use resume::ResumePoint;
pub use run::{Outputs, Run, RunRequest};
pub use stage::Stage;
