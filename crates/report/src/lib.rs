//! Runs for people: one HTML file that opens anywhere, and runs of different methods or settings side by side.
//!
//! | what | here |
//! |---|---|
//! | the verbs `report` and `compare` of a binary | [`ReportVerb`] |
//! | what a program says of its runs | [`Shown`] |
//!
//! The page needs no network and no other file: its curves are SVG, its pictures data URIs, its style and its script
//! stand in it (`page/`). It says nothing about when it was made, so that the same runs give the same page.
#![warn(missing_docs)]

mod chart;
mod cli;
mod compare;
mod curves;
mod groups;
mod page;
mod pictures;
mod tables;

pub use cli::{CompareArgs, ReportArgs, ReportVerb};

use experiment::{Measures, Overview};

/// What a program says of its runs.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// The binary.
    pub program: &'static str,
    /// What a step is called: `environment steps`, `images`, `tokens`.
    pub steps: &'static str,
    /// The numbers of a summary.
    pub measures: Measures,
    /// Whether a metric says what came of the training, rather than how it went.
    pub in_curves: fn(&str) -> bool,
    /// The verb and options with which a run is begun like this one, beside its settings, seed and threads.
    pub verb: fn(&Overview) -> Vec<String>,
    /// The metric that a run is judged by while it trains; nothing where its settings cannot be read.
    pub headline: fn(&Overview) -> Option<String>,
}
