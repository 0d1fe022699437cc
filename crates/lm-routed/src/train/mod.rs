//! Training from scratch: the order of the documents, the learning rate, the step.

mod labelled_order;
mod labelled_steps;
mod order;
mod schedule;
mod step_context;
mod trainer;

pub use labelled_order::LabelledOrder;
pub(crate) use labelled_steps::LabelledSteps;
pub use order::Order;
pub use schedule::cosine;
pub(crate) use step_context::StepContext;
pub use trainer::{StepReport, Trainer};
pub(crate) use trainer::{batch_of, optimiser, optimiser_of_parts};
