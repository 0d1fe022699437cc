//! The verb `adapt`: a model that somebody else trained stays frozen, adapters beside its weights learn, a behaviour is
//! routed to an adapter of its own, and that one is removed.

mod arm;
mod bench;
mod check;
mod export;
mod learner;
mod measure;
mod model;
mod program;
mod streams;
pub(crate) mod tables;
mod training;

use regex::Regex;

use crate::Error;
use crate::config::Config;

pub use arm::{Arm, Profile};
pub use bench::bench;
pub(crate) use check::faults;
pub(crate) use export::export_adapters;
pub use measure::{ArmResult, Rate, Relearning, Taught};
pub use program::Adaptation;
pub use training::Adapting;

/// What a text that shows the behaviour has: `adapt.pattern`, or a word of the concept.
///
/// # Errors
/// [`Error::Setting`] where that is no regular expression, or there is none.
pub(crate) fn pattern(config: &Config) -> Result<Regex, Error> {
    let given = &config.adapt.pattern;
    if given.is_empty() {
        let concepts = crate::data::with_words(&config.concepts())?;
        let found = concepts.first().map(crate::data::pattern).transpose()?.flatten();
        return found.ok_or_else(|| {
            Error::Setting("adapt.pattern must say which texts show a behaviour without words".to_owned())
        });
    }
    Regex::new(given).map_err(|error| {
        // the pattern with a mark under it comes first, the reason last
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        Error::Setting(format!("adapt.pattern is no regular expression: {reason}"))
    })
}
