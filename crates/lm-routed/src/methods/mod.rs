//! The methods that are compared, and how each of their models is trained.

mod method;
mod recipe;
mod rmu;

pub use method::Method;
pub(crate) use recipe::percent;
pub use recipe::{Part, Recipe};
pub use rmu::rmu;
