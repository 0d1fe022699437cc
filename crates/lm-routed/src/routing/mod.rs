//! Which token is learned where.

mod frequency;
mod routes;
mod rules;

pub use frequency::{TokenCounts, retain_weight};
pub use routes::{FORGET, Labels, RETAIN, Routes, Routing, classes};
pub use rules::{RULES, Rule, RuleContext, concept_tokens};
