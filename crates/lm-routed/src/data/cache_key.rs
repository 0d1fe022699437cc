//! Under which name tokenised documents are kept.

use std::io::{self, Read as _};
use std::path::Path;

use super::corpus::{Kind, find, open};
use crate::Error;
use crate::config::{ConceptSection, DataSection};

/// The name of the cache's folder: a hash of everything that decides over its content.
pub(super) fn cache_key(
    data: &DataSection,
    concepts: &[ConceptSection],
    seen: usize,
    train: &Path,
    validation: Option<&Path>,
) -> Result<String, Error> {
    let mut hash = Fnv::default();
    // counts up with each change of the files
    hash.field("version", b"4");
    let tokenizer = (!data.tokenizer.is_empty()).then(|| find(&data.tokenizer));
    for (name, path) in
        [("train", Some(train)), ("validation", validation), ("tokenizer", tokenizer.as_deref())]
    {
        if let Some(path) = path {
            hash.file(name, path)?;
        }
    }
    for concept in concepts {
        for word in &concept.words {
            hash.field("word", word.as_bytes());
        }
        if !concept.field.is_empty() {
            hash.field("name", concept.name.as_bytes());
            hash.field("field", concept.field.as_bytes());
        }
        hash.field("concept", b"");
    }
    let DataSection { max_documents, validation_documents, vocab_size, tokenizer_documents, .. } = data;
    for (name, number) in [
        ("max_documents", max_documents),
        ("validation_documents", validation_documents),
        ("vocab_size", vocab_size),
        ("tokenizer_documents", tokenizer_documents),
        ("seen", &seen),
    ] {
        hash.field(name, &(*number as u64).to_le_bytes());
    }
    Ok(format!("{:016x}", hash.0))
}

/// The 64-bit FNV-1a hash.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// The name of a field and how long it is, and then the field: no two lists of fields give the same bytes.
    fn begin(&mut self, name: &str, length: u64) {
        self.add(&(name.len() as u64).to_le_bytes());
        self.add(name.as_bytes());
        self.add(&length.to_le_bytes());
    }

    fn field(&mut self, name: &str, bytes: &[u8]) {
        self.begin(name, bytes.len() as u64);
        self.add(bytes);
    }

    /// A file, with what its name says of how it is read.
    fn file(&mut self, name: &str, path: &Path) -> Result<(), Error> {
        let fault = |fault: String| Error::Corpus { path: path.to_owned(), fault };
        self.field("kind", format!("{:?}", Kind::of(path)).as_bytes());
        let (mut file, length) = open(path)?;
        self.begin(name, length);
        let (mut chunk, mut total) = (vec![0; 1 << 16], 0);
        loop {
            match file.read(&mut chunk).map_err(|error| (error.kind(), error)) {
                Ok(0) if total == length => return Ok(()),
                Ok(0) => return Err(fault("it was changed while it was read".to_owned())),
                Ok(read) => {
                    total += read as u64;
                    self.add(&chunk[..read]);
                }
                Err((io::ErrorKind::Interrupted, _)) => {}
                Err((_, error)) => return Err(fault(error.to_string())),
            }
        }
    }
}
