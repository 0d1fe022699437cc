//! Sweeps: a run for every combination of a program's own axes, seeds and any setting, on one machine or through
//! Slurm, and what is gathered from them.
//!
//! A sweep is a folder. `plan.jsonl` lists its runs; each run has a run folder of its own in it, like any other
//! run; whoever knows the plan and an index can do that run, on any machine that sees the folder. What is
//! finished is recognised by its settings, its seed and its `summary.json`; what was cut off goes on from its
//! newest checkpoint, exactly. Nothing is ever removed: what a run that never came to a checkpoint has left is
//! moved aside, and a folder that nobody can make sense of fails that run by its name. Gathering is separate from
//! running and can be repeated at any time, and results travel between machines as one file.
//!
//! | what | here |
//! |---|---|
//! | what a program brings along | [`SweepProgram`], [`SweepKeys`] |
//! | `[sweep]` in a config file | [`SweepConfig`], [`SweepSection`] |
//! | the list of runs | [`Sweep`], [`Planned`] |
//! | how far each of them is | [`State`], [`state`] |
//! | running | [`run_one`], [`run_all`] |
//! | results, of a sweep or of files alone | [`Results`], [`Row`], [`Selection`], [`Spread`], [`difference`] |
//! | tables and figures for pages | [`PageProgram`] |
//! | the verb | [`SweepArgs`], [`sweep`] |

mod alone;
mod board;
mod command;
mod execute;
mod line;
mod plan;
mod program;
mod results;
mod section;
mod slurm;
mod state;
mod statistics;
mod transfer;

#[cfg(test)]
mod tests;

pub use alone::Selection;
pub use command::{PlanRequest, SweepArgs, SweepReport, run_and_collect, sweep};
pub use execute::{Ended, Failed, Resources, run_all, run_one};
pub use plan::{Planned, Sweep};
pub use program::{
    AxisValue, Collected, NamedAxis, NoKeys, PageProgram, SweepKeys, SweepProgram, not_of_these,
};
pub use results::{Results, Row, Unusable};
pub use section::{Axis, SweepConfig, SweepSection};
pub use state::{State, state};
pub use statistics::{Spread, difference};
