//! The tokenizer: a byte-level BPE trained on the corpus, or one from a file.

use std::path::Path;

use experiment::read_at_most;
use pretrained::{TokenizerPatterns, parse_tokenizer};
use rayon::prelude::*;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};

use super::corpus::END_OF_TEXT;
use super::token_file::too_large;
use crate::Error;

/// No tokenizer of 65,536 tokens has a longer file.
const LONGEST: u64 = 16 << 20;

/// Texts that are encoded at a time: the library keeps much more of each than its tokens.
const AT_A_TIME: usize = 4096;

/// A vocabulary with its end-of-text token.
pub struct Vocabulary {
    tokenizer: Tokenizer,
    /// What is tried on a text before the tokenizer has it.
    patterns: TokenizerPatterns,
    end: u32,
    /// Every token is below it.
    size: usize,
}

impl std::fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vocabulary").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Vocabulary {
    /// A byte-level BPE of `size` tokens, trained on `documents`. The same documents give the same tokens.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where training fails.
    pub fn train(documents: &[String], size: usize) -> Result<Self, Error> {
        let mut tokenizer = Tokenizer::new(BPE::default());
        tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
        tokenizer.with_decoder(Some(ByteLevel::default()));
        let trainer = BpeTrainerBuilder::new()
            .vocab_size(size)
            .show_progress(false)
            .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        let mut trainer = TrainerWrapper::from(trainer);
        tokenizer.train(&mut trainer, documents.iter()).map_err(refused)?;
        Self::with_end(tokenizer, TokenizerPatterns::default())
    }

    /// A tokenizer in the JSON format of the `tokenizers` library. It must have `<|endoftext|>`, or gets it. What the
    /// file says of dropout, padding, truncation and post-processing is left out.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where the file cannot be read, has tokens above 65,535 or two of one number, or would make
    /// the library panic or fill the memory.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = read_at_most(path, LONGEST)
            .map_err(|error| Error::Tokenizer(format!("cannot read {}: {error}", path.display())))?;
        Self::from_bytes(&bytes)
            .map_err(|error| Error::Tokenizer(format!("{} is none: {error}", path.display())))
    }

    /// As [`Vocabulary::read`], from the file's content.
    ///
    /// # Errors
    /// As there.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let patterns = TokenizerPatterns::of_file(bytes).map_err(Error::Tokenizer)?;
        Self::with_end(parse_tokenizer(bytes).map_err(Error::Tokenizer)?, patterns)
    }

    fn with_end(mut tokenizer: Tokenizer, patterns: TokenizerPatterns) -> Result<Self, Error> {
        if tokenizer.token_to_id(END_OF_TEXT).is_none() {
            tokenizer.add_special_tokens([AddedToken::from(END_OF_TEXT, true)]).map_err(refused)?;
        }
        // sorted by their numbers, which may have gaps
        let mut tokens: Vec<(u32, String)> =
            tokenizer.get_vocab(true).into_iter().map(|(token, id)| (id, token)).collect();
        tokens.sort_unstable();
        let same = tokens.windows(2).find(|pair| pair[0].0 == pair[1].0);
        if let Some([(id, one), (_, other)]) = same {
            let fault = format!("its tokens {one:?} and {other:?} have the same number {id}");
            return Err(Error::Tokenizer(fault));
        }
        let largest = tokens.last().map_or(0, |(id, _)| *id);
        // a cache of tokens has two bytes for each
        let last = u16::try_from(largest).map_err(|_| too_large(largest))?;
        let end = tokenizer.token_to_id(END_OF_TEXT);
        let end = end.ok_or_else(|| Error::Tokenizer(format!("it takes no {END_OF_TEXT}")))?;
        Ok(Self { tokenizer, patterns, end, size: usize::from(last) + 1 })
    }

    /// The content of its file.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where it has no JSON form.
    pub fn to_json(&self) -> Result<String, Error> {
        self.tokenizer.to_string(false).map_err(refused)
    }

    /// Tokens in it, those included whose numbers it leaves out.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The token that stands before and after every document.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// The tokens of some texts, without any at their ends.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where a text cannot be encoded, or a pattern of the file would try for too long.
    pub fn encode(&self, texts: &[String]) -> Result<Vec<Vec<u32>>, Error> {
        self.encode_telling(texts, &mut |_| Ok(()))
    }

    /// As [`Vocabulary::encode`], and tells how far it is.
    ///
    /// # Errors
    /// As there, and where `tell` says so.
    pub(super) fn encode_telling(
        &self,
        texts: &[String],
        tell: &mut dyn FnMut(&str) -> Result<(), Error>,
    ) -> Result<Vec<Vec<u32>>, Error> {
        let mut all = Vec::with_capacity(texts.len());
        for chunk in texts.chunks(AT_A_TIME) {
            tell(&format!("tokenising: {} of {} texts", all.len(), texts.len()))?;
            chunk.par_iter().try_for_each(|text| self.patterns.afford(text)).map_err(Error::Tokenizer)?;
            let texts: Vec<&str> = chunk.iter().map(String::as_str).collect();
            for encoding in self.tokenizer.encode_batch_fast(texts, false).map_err(refused)? {
                all.push(encoding.get_ids().iter().map(|id| self.token(*id)).collect::<Result<_, _>>()?);
            }
        }
        Ok(all)
    }

    /// A token that the library gave, if it is one of the vocabulary.
    fn token(&self, id: u32) -> Result<u32, Error> {
        let known = (id as usize) < self.size;
        let error = || Error::Tokenizer(format!("it gave the token {id}, which it does not have"));
        known.then_some(id).ok_or_else(error)
    }

    /// The text of some tokens.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] for a token that there is not.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, Error> {
        self.tokenizer.decode(tokens, true).map_err(refused)
    }

    /// A token as it stands in the vocabulary, with `␣` for a space in front; for tables.
    pub fn shown(&self, token: u32) -> String {
        let name = self.tokenizer.id_to_token(token).unwrap_or_default();
        match name.strip_prefix('Ġ') {
            Some(rest) => format!("␣{rest}"),
            None => name.replace('Ċ', "⏎"),
        }
    }

    /// The one token of a text such as ` forest` (or `␣forest`), if it is one.
    pub fn single(&self, text: &str) -> Option<u32> {
        let encoded = self.tokenizer.encode_fast(text.replace('␣', " "), false).ok()?;
        match encoded.get_ids() {
            [id] => self.token(*id).ok(),
            _ => None,
        }
    }

    /// The word of a token, in lower case, where the token is a whole word with a space in front or none.
    pub fn word(&self, token: u32) -> String {
        let shown = self.shown(token);
        shown.trim_start_matches('␣').to_lowercase()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "to be given to map_err as it is")]
fn refused(error: tokenizers::Error) -> Error {
    Error::Tokenizer(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trained_vocabulary_repeats_reads_back_and_loses_nothing() {
        let texts: Vec<String> =
            (0..50).map(|i| format!("The forest was dark. Tree {i} stood in the forest.\n")).collect();
        let vocabulary = Vocabulary::train(&texts, 300).unwrap();
        assert_eq!(vocabulary.to_json().unwrap(), Vocabulary::train(&texts, 300).unwrap().to_json().unwrap());
        let again = Vocabulary::from_bytes(vocabulary.to_json().unwrap().as_bytes()).unwrap();
        let odd = vec!["The forest — naïve ☂ 7".to_owned()];
        let tokens = again.encode(&odd).unwrap();
        assert_eq!(tokens, vocabulary.encode(&odd).unwrap());
        assert_eq!(again.decode(&tokens[0]).unwrap(), odd[0]);
        let forest = vocabulary.single(" forest").unwrap();
        assert_eq!(
            (vocabulary.shown(forest).as_str(), vocabulary.word(forest).as_str()),
            ("␣forest", "forest")
        );
        assert_eq!(vocabulary.single("␣forest"), Some(forest));
        assert_eq!(vocabulary.single(" nowhere"), None);
        assert!(Vocabulary::from_bytes(b"{}").is_err());
    }

    fn of_words(vocabulary: &str, more: &str) -> Result<Vocabulary, Error> {
        let file = format!(
            r#"{{"version": "1.0", {more} "added_tokens": [], "pre_tokenizer": {{"type": "Whitespace"}},
            "model": {{"type": "WordLevel", "vocab": {vocabulary}, "unk_token": "a"}}}}"#
        );
        Vocabulary::from_bytes(file.as_bytes())
    }

    #[test]
    fn numbers_of_tokens_may_have_gaps_but_no_end() {
        let words = of_words(r#"{"a": 3, "b": 300, "<|endoftext|>": 65535}"#, "").unwrap();
        assert_eq!((words.size(), words.end()), (65_536, 65_535));
        assert_eq!(words.encode(&["b c a".to_owned()]).unwrap(), [[300, 3, 3]]);
        let error = of_words(r#"{"a": 0, "b": 65536, "<|endoftext|>": 1}"#, "").unwrap_err().to_string();
        assert_eq!(error, "the tokenizer: it has the token 65536; up to 65,535 can be used");
        assert!(of_words(r#"{"a": 4294967295}"#, "").is_err());
        // the library gives a new token the number after the count of the others
        let error = of_words(r#"{"a": 0, "b": 2}"#, "").unwrap_err().to_string();
        assert_eq!(error, r#"the tokenizer: its tokens "<|endoftext|>" and "b" have the same number 2"#);
    }

    #[test]
    fn padding_and_truncation_of_the_file_are_left_out() {
        let more = r#""truncation": {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0},
            "padding": {"strategy": {"Fixed": 5}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 70000, "pad_type_id": 0, "pad_token": "[PAD]"},"#;
        let words = of_words(r#"{"a": 0, "b": 1}"#, more).unwrap();
        assert_eq!(words.encode(&["a b".to_owned(), "b".to_owned()]).unwrap(), [vec![0, 1], vec![1]]);
    }
}
