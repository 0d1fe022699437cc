//! Training from scratch: the order of the documents, the learning rate, the step.

mod in_hand;
mod order;
mod schedule;
mod trainer;

pub(crate) use in_hand::InHand;
pub use order::Order;
pub use schedule::cosine;
pub use trainer::{StepReport, Trainer};
pub(crate) use trainer::{batch_of, optimiser};
