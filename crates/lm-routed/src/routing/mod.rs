//! Which token is learned where.

mod frequency;
mod routes;
mod rules;
mod steps;

pub use frequency::{TokenCounts, retain_weight};
pub use routes::{FORGET, Labels, Place, RETAIN, Routes, Routing, classes};
pub use rules::{RULES, Rule, RuleContext, concept_tokens};
pub use steps::{Choice, StepLabels, StepMasks};
