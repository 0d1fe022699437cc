//! Sweeps over methods, levels of oversight and seeds, and the figures and tables of label efficiency that come of
//! them. Planning, running and gathering are those of [`experiment::sweep`].

mod by_kind;
mod figures;
mod keys;
mod pages;
mod program;
mod results;
mod tables;

pub use keys::LabelEfficiency;
pub use results::{Arm, Cell, Results, Row};
