//! Texts, tokens and the concept to be removed from them.

mod cache_key;
mod corpus;
mod dataset;
mod documents;
#[cfg(feature = "hub")]
mod hub;
mod labels;
mod marked;
mod places;
mod pool;
mod token_file;
mod vocabulary;

pub(crate) use corpus::read_list;
pub use corpus::{END_OF_TEXT, find, read_documents};
pub use dataset::Dataset;
pub(crate) use dataset::{pattern, with_words};
pub use documents::Documents;
pub use places::{CacheIs, USER_CACHE};
pub(crate) use places::{PLACES, note_places, placed};
pub use pool::Pool;
pub(crate) use pool::SET_ASIDE;
pub use token_file::TokenFile;
pub use vocabulary::Vocabulary;

/// What is fetched from the Hugging Face hub.
#[derive(Clone, Copy)]
pub(crate) enum HubKind {
    /// A file of a data set.
    File,
    /// A model.
    Model,
}

/// The local path of what `hub:NAME` names.
#[cfg(feature = "hub")]
pub(crate) fn from_hub(name: &str, kind: HubKind) -> Result<std::path::PathBuf, crate::Error> {
    match kind {
        HubKind::File => hub::fetch(name),
        HubKind::Model => hub::fetch_model(name),
    }
}

/// The local path of what `hub:NAME` names: this binary has no client for the hub.
#[cfg(not(feature = "hub"))]
pub(crate) fn from_hub(name: &str, kind: HubKind) -> Result<std::path::PathBuf, crate::Error> {
    let instead = match kind {
        HubKind::File => "a file",
        HubKind::Model => "a folder or file",
    };
    let fault = format!(
        "this binary was built without the feature `hub`: build with --features hub, or give {instead}"
    );
    Err(crate::Error::Corpus { path: std::path::PathBuf::from(format!("hub:{name}")), fault })
}
