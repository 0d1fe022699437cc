//! Which token is learned where.

mod frequency;
mod table;
mod token_route;

pub use frequency::{TokenCounts, retain_weight};
pub use table::{concept_tokens, token_table};
pub use token_route::{Routing, TokenRoute};
