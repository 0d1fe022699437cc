//! Tokenised documents as the bytes of a file.

use std::path::Path;

use experiment::{crc32c, read_at_most};

use crate::Error;

const MAGIC: &[u8; 8] = b"SBTOKEN2";
/// Where the number of documents stands, the first of what the checksum covers.
const COUNT: usize = 12;
/// Where the ends of the documents begin.
const ENDS: usize = 20;

/// No file is longer: texts end at 8 GiB, and no token has less than a letter.
const LONGEST: u64 = 16 << 30;

/// Documents as tokens, each with the concepts that it is about.
pub struct TokenFile {
    bytes: Vec<u8>,
    documents: usize,
}

impl TokenFile {
    /// The content of a file: magic, the CRC-32C of what follows, the number of documents, for each the index of its
    /// end in tokens, for each the concepts that it is about (a byte, of which concept i has bit i), the tokens in two
    /// bytes each; all numbers little-endian.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] for a token above 65,535.
    pub fn encode(documents: &[Vec<u32>], concepts: &[u8]) -> Result<Vec<u8>, Error> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([0; 4]);
        bytes.extend((documents.len() as u64).to_le_bytes());
        let mut end = 0u64;
        for document in documents {
            end += document.len() as u64;
            bytes.extend(end.to_le_bytes());
        }
        bytes.extend(concepts);
        for token in documents.iter().flatten() {
            let token = u16::try_from(*token).map_err(|_| too_large(*token))?;
            bytes.extend(token.to_le_bytes());
        }
        let sum = crc32c(&bytes[COUNT..]);
        bytes[MAGIC.len()..COUNT].copy_from_slice(&sum.to_le_bytes());
        Ok(bytes)
    }

    /// Content that is in memory already.
    ///
    /// # Errors
    /// As [`TokenFile::read`].
    pub fn held(bytes: Vec<u8>) -> Result<Self, Error> {
        Self::checked(bytes, Path::new("the tokens"))
    }

    /// Reads a file into memory. It is not mapped: a mapped one that somebody cuts short ends the program.
    ///
    /// # Errors
    /// [`Error::Corpus`] where it cannot be read or is no such file, cut short, too long or damaged.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = read_at_most(path, LONGEST)
            .map_err(|error| Error::Corpus { path: path.to_owned(), fault: error.to_string() })?;
        Self::checked(bytes, path)
    }

    fn checked(bytes: Vec<u8>, path: &Path) -> Result<Self, Error> {
        let fault = |fault: &str| Error::Corpus { path: path.to_owned(), fault: fault.to_owned() };
        let all = bytes.as_slice();
        if !all.starts_with(MAGIC) {
            return Err(fault("it is no token file of this version"));
        }
        let sum = all.get(MAGIC.len()..COUNT).and_then(|bytes| bytes.first_chunk());
        let count = all.get(COUNT..ENDS).and_then(|bytes| bytes.first_chunk());
        let (Some(sum), Some(count)) = (sum, count) else { return Err(fault("it is cut short")) };
        if u32::from_le_bytes(*sum) != crc32c(&all[COUNT..]) {
            return Err(fault("it is damaged: its checksum does not match its content"));
        }
        // a checksum can be right by chance or by intent: nothing below may trust a number
        let documents = usize::try_from(u64::from_le_bytes(*count)).unwrap_or(usize::MAX);
        let tokens = documents.checked_mul(9).and_then(|length| length.checked_add(ENDS));
        let Some(tokens) = tokens.filter(|tokens| *tokens <= all.len()) else {
            return Err(fault("it is damaged: it has no room for its documents"));
        };
        let length = all.len() - tokens;
        let file = Self { bytes, documents };
        let mut last = 0;
        for document in 0..documents {
            let end = file.end(document);
            if end < last {
                return Err(fault("it is damaged: a document ends before it begins"));
            }
            last = end;
        }
        if last.checked_mul(2) != Some(length) {
            return Err(fault("it is damaged: its last document does not end with it"));
        }
        Ok(file)
    }

    fn end(&self, document: usize) -> usize {
        let bytes = self.bytes[ENDS + 8 * document..].first_chunk();
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes) as usize)
    }

    /// The largest token; nothing where there is none.
    pub fn largest(&self) -> Option<u32> {
        tokens_of(&self.bytes[ENDS + 9 * self.documents..]).max()
    }

    /// Documents in it.
    pub fn len(&self) -> usize {
        self.documents
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.documents == 0
    }

    /// The tokens of a document.
    ///
    /// # Panics
    /// Panics if there is no such document.
    pub fn document(&self, index: usize) -> Vec<u32> {
        assert!(index < self.documents, "document {index} of {}", self.documents);
        let start = if index == 0 { 0 } else { self.end(index - 1) };
        let tokens = ENDS + 9 * self.documents;
        tokens_of(&self.bytes[tokens + 2 * start..tokens + 2 * self.end(index)]).collect()
    }

    /// The concepts that a document is about, of which concept i has bit i.
    ///
    /// # Panics
    /// Panics if there is no such document.
    pub fn concepts(&self, index: usize) -> u8 {
        assert!(index < self.documents, "document {index} of {}", self.documents);
        self.bytes[ENDS + 8 * self.documents + index]
    }
}

fn tokens_of(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(2).map(|pair| u32::from(u16::from_le_bytes([pair[0], pair[1]])))
}

/// The error of a token that the files and vocabularies of this crate have no room for.
pub(super) fn too_large(token: u32) -> Error {
    Error::Tokenizer(format!("it has the token {token}; up to 65,535 can be used"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_from_memory_and_from_a_file() {
        let documents = vec![vec![1, 65535, 3], vec![], vec![9]];
        let bytes = TokenFile::encode(&documents, &[1, 0, 6]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.bin");
        std::fs::write(&path, &bytes).unwrap();
        for file in [TokenFile::read(&path).unwrap(), TokenFile::held(bytes.clone()).unwrap()] {
            assert_eq!((0..file.len()).map(|i| file.document(i)).collect::<Vec<_>>(), documents);
            assert_eq!((0..3).map(|i| file.concepts(i)).collect::<Vec<_>>(), [1, 0, 6]);
            assert_eq!(file.largest(), Some(65535));
        }
        assert_eq!(TokenFile::held(TokenFile::encode(&[], &[]).unwrap()).unwrap().largest(), None);
        let error = TokenFile::encode(&[vec![65536]], &[0]).unwrap_err().to_string();
        assert!(error.contains("the token 65536; up to 65,535"), "{error}");
        for cut in [0, 7, 12, 20, 40, bytes.len() - 1] {
            assert!(TokenFile::held(bytes[..cut].to_vec()).is_err(), "{cut}");
        }
        let longer = [bytes.clone(), vec![0]].concat();
        assert!(TokenFile::held(longer).is_err());
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            assert!(TokenFile::held(flipped).is_err(), "a bit of byte {at}");
        }
    }

    #[test]
    fn a_file_that_is_cut_short_later_is_still_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.bin");
        // more than a page, of which the rest would be gone
        std::fs::write(&path, TokenFile::encode(&[vec![7; 1 << 16]], &[1]).unwrap()).unwrap();
        let file = TokenFile::read(&path).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
        assert_eq!(file.document(0), vec![7; 1 << 16]);
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused_under_a_right_checksum() {
        let good = TokenFile::encode(&[vec![1, 2], vec![3]], &[1, 0]).unwrap();
        let second_end = ENDS + 8;
        // the last one is the length of the file modulo 2⁶⁴
        for (at, number) in [
            (COUNT, 0),
            (COUNT, 1),
            (COUNT, 3),
            (COUNT, u64::MAX),
            (COUNT, u64::MAX / 9),
            (ENDS, 4),
            (second_end, 0),
            (second_end, 2),
            (second_end, u64::MAX),
            (second_end, (1 << 63) - 1),
            (second_end, (1 << 63) + 3),
        ] {
            let mut bytes = good.clone();
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
            let sum = crc32c(&bytes[COUNT..]);
            bytes[MAGIC.len()..COUNT].copy_from_slice(&sum.to_le_bytes());
            let error = TokenFile::held(bytes).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(
                error.contains("it is damaged: ") && !error.contains("checksum"),
                "{at} {number}: {error}"
            );
        }
    }
}
