//! Training from scratch: the order of the documents, the learning rate, the step.

mod order;
mod schedule;
mod trainer;

pub use order::Order;
pub use schedule::cosine;
pub use trainer::{StepReport, Trainer};
pub(crate) use trainer::{batch_of, optimiser};
