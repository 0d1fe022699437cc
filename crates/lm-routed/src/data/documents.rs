//! Documents as tokens, with what each is about.

use super::pool::Pool;
use super::token_file::TokenFile;

/// Documents of one kind, training or validation.
pub struct Documents {
    file: TokenFile,
    end: u32,
    /// The only concept that counts, where not all do.
    only: Option<usize>,
}

impl Documents {
    /// The documents of a file, with the end-of-text token `end`.
    pub(super) fn new(file: TokenFile, end: u32) -> Self {
        Self { file, end, only: None }
    }

    /// From now on a document counts as being about concept `number` or about nothing.
    pub(super) fn count_only(&mut self, number: usize) {
        self.only = Some(number);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.file.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.file.is_empty()
    }

    /// A document with the end-of-text token before and after it, cut to `most` tokens.
    pub fn get(&self, index: usize, most: usize) -> Vec<u32> {
        let mut tokens = vec![self.end];
        tokens.extend(self.file.document(index));
        tokens.push(self.end);
        tokens.truncate(most);
        tokens
    }

    /// Whether a document is about the concept, or one of them where there are several.
    pub fn is_forget(&self, index: usize) -> bool {
        self.concepts(index) != 0
    }

    /// The concepts that a document is about, of which concept i has bit i.
    pub fn concepts(&self, index: usize) -> u8 {
        let concepts = self.file.concepts(index);
        self.only.map_or(concepts, |only| concepts >> only & 1)
    }

    /// The first `most` documents of a pool that are about the concept, or that are not.
    pub fn pool(&self, pool: Pool, forget: bool, most: usize) -> Vec<usize> {
        let kind = self.first(forget, usize::MAX).into_iter().enumerate();
        kind.filter(|(place, _)| pool.takes(forget, *place)).map(|(_, index)| index).take(most).collect()
    }

    /// The first `most` documents that are about the concept, or that are not.
    pub fn first(&self, forget: bool, most: usize) -> Vec<usize> {
        (0..self.len()).filter(|index| self.is_forget(*index) == forget).take(most).collect()
    }
}
