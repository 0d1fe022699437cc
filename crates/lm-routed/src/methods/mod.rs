//! The methods that are compared, each a value: what is added, which class of tokens trains what, what is removed.
//!
//! A new one is a file with its [`Spec`] and a line in [`METHODS`]; configs, tables, figures and tests know it from
//! there.

mod branch;
mod demix;
mod era;
mod gram;
mod method;
mod part;
mod plain;
mod recipe;
mod rmu;
mod sgtm;
mod single;
mod undo;
mod unlearn;

use std::fmt::Write as _;

use gradient_routing::RouteTableError;

use crate::config::Config;
pub(crate) use branch::{added_up, branch, core_filtered_of};
pub(crate) use gram::{BASELINE, choices};
pub use gram::{MOST_CONCEPTS, module_names, profiles, set_name};
pub use method::{Change, Method, MethodContext, Spec, Start};
pub(crate) use part::percent;
pub use part::{Filtered, Part};
pub use recipe::Recipe;
pub use rmu::rmu;

/// All methods, in the order of the tables. The model of the first is what the others are measured against.
pub static METHODS: [&Spec; 16] = [
    &plain::BASE,
    &plain::PURE,
    &plain::CONTROL,
    &era::ERA,
    &rmu::RMU,
    &unlearn::MAXENT,
    &unlearn::ASCENT,
    &undo::UNDO,
    &demix::DEMIX,
    &sgtm::SGTM,
    &single::STEER,
    &single::LOCALISE,
    &BASELINE,
    &gram::GRAM,
    &gram::FILTERED,
    &branch::BRANCH,
];

/// Every method with its table of routes, in Markdown.
///
/// # Errors
/// Fails where the settings make no table.
pub fn to_markdown(config: &Config) -> Result<String, RouteTableError> {
    let mut text = String::new();
    for method in METHODS {
        let Spec { name, about, .. } = method;
        let table = (method.routes)(config)?.table;
        write!(text, "`{name}`: {about}.\n\n").ok();
        if !table.groups().is_empty() {
            writeln!(text, "{table}").ok();
        }
    }
    Ok(text)
}
