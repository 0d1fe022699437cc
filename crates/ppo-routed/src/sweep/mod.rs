//! Sweeps: a grid of methods × oversight × seeds × any setting, on one machine or through Slurm, and the figures
//! and tables of label efficiency that come of it.
//!
//! A sweep is a folder. `plan.jsonl` lists its runs; each run has a run folder of its own in it, like any other
//! run; whoever knows the plan and an index can do that run, on any machine that sees the folder. What is
//! finished is recognised by its settings, its seed and its `summary.json`; what was cut off goes on from its
//! newest checkpoint, exactly. Gathering is separate from running and can be repeated at any time.

mod board;
mod command;
mod execute;
mod figures;
mod plan;
mod results;
mod section;
mod slurm;
mod statistics;
mod tables;

pub use command::{SweepArgs, sweep};
pub use execute::{Ended, State, run_all, run_one, state};
pub use plan::{Planned, Sweep};
pub use results::{Arm, Cell, Results, Row};
pub use section::{Axis, SweepConfig, SweepSection};
pub use statistics::{Spread, difference};
