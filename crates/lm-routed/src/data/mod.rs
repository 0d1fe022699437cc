//! Texts, tokens and the concept to be removed from them.

mod cache_key;
mod corpus;
mod dataset;
#[cfg(feature = "hub")]
mod hub;
mod labels;
mod marked;
mod places;
mod pool;
mod token_file;
mod tokenizer_file;
mod vocabulary;

pub use corpus::{END_OF_TEXT, find, read_documents};
pub use dataset::{Dataset, Documents};
pub(crate) use dataset::{pattern, with_words};
pub use places::{CacheIs, USER_CACHE};
pub(crate) use places::{PLACES, note_places, placed};
pub use pool::Pool;
pub(crate) use pool::SET_ASIDE;
pub use token_file::TokenFile;
pub use vocabulary::Vocabulary;
