//! The methods that are compared, each a value: what is added, which class of tokens trains what, what is removed.

mod demix;
mod era;
mod method;
mod part;
mod plain;
mod recipe;
mod rmu;
mod single;

pub use method::{Change, Method, MethodContext, Spec, Start};
pub use part::Part;
pub(crate) use part::percent;
pub use recipe::Recipe;
pub use rmu::rmu;

/// All methods, in the order of the tables. The model of the first is what the others are measured against.
pub static METHODS: [&Spec; 8] = [
    &plain::BASE,
    &plain::PURE,
    &plain::CONTROL,
    &era::ERA,
    &rmu::RMU,
    &demix::DEMIX,
    &single::STEER,
    &single::LOCALISE,
];
