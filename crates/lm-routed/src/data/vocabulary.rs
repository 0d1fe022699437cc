//! The tokenizer: a byte-level BPE trained on the corpus, or one from a file.

use std::path::Path;

use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};

use super::corpus::END_OF_TEXT;
use crate::Error;

/// A vocabulary with its end-of-text token.
pub struct Vocabulary {
    tokenizer: Tokenizer,
    end: u16,
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
        Self::with_end(tokenizer)
    }

    /// A tokenizer in the JSON format of the `tokenizers` library. It must have `<|endoftext|>`, or gets it.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where the file cannot be read or has more tokens than 65,536.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path)
            .map_err(|error| Error::Tokenizer(format!("cannot read {}: {error}", path.display())))?;
        Self::from_bytes(&bytes)
            .map_err(|error| Error::Tokenizer(format!("{} is none: {error}", path.display())))
    }

    /// As [`Vocabulary::read`], from the file's content.
    ///
    /// # Errors
    /// As there.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::with_end(Tokenizer::from_bytes(bytes).map_err(refused)?)
    }

    fn with_end(mut tokenizer: Tokenizer) -> Result<Self, Error> {
        if tokenizer.token_to_id(END_OF_TEXT).is_none() {
            tokenizer.add_special_tokens([AddedToken::from(END_OF_TEXT, true)]).map_err(refused)?;
        }
        let size = tokenizer.get_vocab_size(true);
        let end = tokenizer.token_to_id(END_OF_TEXT).and_then(|id| u16::try_from(id).ok());
        match end {
            Some(end) if size <= 1 << 16 => Ok(Self { tokenizer, end, size }),
            _ => Err(Error::Tokenizer(format!("it has {size} tokens; at most 65,536 can be used"))),
        }
    }

    /// The content of its file.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where it has no JSON form.
    pub fn to_json(&self) -> Result<String, Error> {
        self.tokenizer.to_string(false).map_err(refused)
    }

    /// Tokens in it.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The token that stands before and behind every document.
    pub fn end(&self) -> u16 {
        self.end
    }

    /// The tokens of some texts, without any at their ends.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where a text cannot be encoded.
    pub fn encode(&self, texts: &[String]) -> Result<Vec<Vec<u16>>, Error> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let encoded = self.tokenizer.encode_batch_fast(texts, false).map_err(refused)?;
        Ok(encoded.into_iter().map(|e| e.get_ids().iter().map(|id| *id as u16).collect()).collect())
    }

    /// The text of some tokens.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] for a token that there is not.
    pub fn decode(&self, tokens: &[u16]) -> Result<String, Error> {
        let ids: Vec<u32> = tokens.iter().map(|token| u32::from(*token)).collect();
        self.tokenizer.decode(&ids, true).map_err(refused)
    }

    /// A token as it stands in the vocabulary, with `␣` for a space in front; for tables.
    pub fn shown(&self, token: u16) -> String {
        let name = self.tokenizer.id_to_token(u32::from(token)).unwrap_or_default();
        match name.strip_prefix('Ġ') {
            Some(rest) => format!("␣{rest}"),
            None => name.replace('Ċ', "⏎"),
        }
    }

    /// The one token of a text such as ` forest` (or `␣forest`), if it is one.
    pub fn single(&self, text: &str) -> Option<u16> {
        let encoded = self.tokenizer.encode_fast(text.replace('␣', " "), false).ok()?;
        match encoded.get_ids() {
            [id] => u16::try_from(*id).ok(),
            _ => None,
        }
    }

    /// The word of a token, in lower case, where the token is a whole word with a space in front or none.
    pub fn word(&self, token: u16) -> String {
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
}
