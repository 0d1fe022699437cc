//! The documents of a run: read, tokenised and marked once, then taken from the cache.

use std::path::{Path, PathBuf};

use experiment::{create_folder, write_atomic};
use regex::Regex;

use super::cache_key::cache_key;
use super::corpus::{find, read_words};
use super::documents::Documents;
use super::marked::{Marked, read_marked};
use super::places::{CacheIs, cache_folder};
use super::token_file::TokenFile;
use super::vocabulary::Vocabulary;
use crate::Error;
use crate::config::{ConceptSection, DataSection};

/// Training and validation documents with their vocabulary.
pub struct Dataset {
    /// What the tokens stand for.
    pub vocabulary: Vocabulary,
    /// To train on.
    pub train: Documents,
    /// To measure on.
    pub validation: Documents,
}

impl Dataset {
    /// The same documents, of which only those about concept `number` count as being about something.
    pub fn about_only(mut self, number: usize) -> Self {
        self.train.count_only(number);
        self.validation.count_only(number);
        self
    }

    /// The documents that `data` asks for, from the cache where they are there already. A document is about a concept
    /// where a word of it is among its first `seen` tokens, the ones that a model is trained on. Computes on the current
    /// thread pool.
    ///
    /// # Errors
    /// Fails where files cannot be read or written, a document has no vocabulary, or a side of a concept's split is
    /// empty.
    pub fn load(data: &DataSection, concepts: &[ConceptSection], seen: usize) -> Result<Self, Error> {
        Self::load_telling(data, concepts, seen, CacheIs::TheUsers, &mut |_| Ok(()))
    }

    /// Documents from memory, each with the concepts that it is about, of which concept i has bit i. Nothing is cached.
    /// Computes on the current thread pool.
    ///
    /// # Errors
    /// Fails where a text cannot be tokenised or has a token above 65,535.
    pub fn from_texts(
        vocabulary: Vocabulary,
        train: &[(String, u8)],
        validation: &[(String, u8)],
    ) -> Result<Self, Error> {
        let packed = |documents: &[(String, u8)]| -> Result<TokenFile, Error> {
            let (texts, marks): (Vec<String>, Vec<u8>) = documents.iter().cloned().unzip();
            TokenFile::held(TokenFile::encode(&vocabulary.encode(&texts)?, &marks)?)
        };
        let (train, validation) = (packed(train)?, packed(validation)?);
        Ok(Self::of(vocabulary, train, validation))
    }

    /// As [`Dataset::load`], with a cache that may be another's to name: what is not there yet is then not made. Tells
    /// what is being done where the cache does not have the documents.
    ///
    /// # Errors
    /// As there, and where `tell` says so; nothing has been written then.
    pub(crate) fn load_telling(
        data: &DataSection,
        concepts: &[ConceptSection],
        seen: usize,
        cache: CacheIs,
        tell: &mut dyn FnMut(&str) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let concepts = &with_words(concepts)?;
        let train = source(&data.train)?;
        let validation = if data.validation.is_empty() { None } else { Some(source(&data.validation)?) };
        let key = cache_key(data, concepts, seen, &train, validation.as_deref())?;
        let cached = cache_folder(data).map(|folder| folder.join(key));
        if let Some(folder) = &cached
            // the file that is written last
            && folder.join(VOCABULARY).exists()
        {
            match Self::from_cache(folder) {
                Ok(dataset) => return dataset.checked(concepts),
                Err(error) => tracing::warn!("{error}; made anew from {}", train.display()),
            }
        }
        let cached = cached.filter(|folder| cache.may_be_made(folder, data));
        let place = cached.as_ref().and_then(|folder| folder.parent());
        let kept = place.map(|place| format!("; the result is kept in {}", place.display()));
        tell(&format!("preparing {}{}", train.display(), kept.unwrap_or_default()))?;
        let mut texts = read_marked(&train, data.max_documents, concepts)?;
        let held_out = if let Some(path) = &validation {
            read_marked(path, data.validation_documents, concepts)?
        } else {
            let count = data.validation_documents.min(texts.len() / 10).max(1);
            texts.split_off(texts.len() - count)
        };
        if texts.is_empty() {
            let fault = "it holds one document, which is needed to measure on: give more, or data.validation";
            return Err(Error::Corpus { path: train, fault: fault.to_owned() });
        }
        let vocabulary = if data.tokenizer.is_empty() {
            let sample = &texts.texts[..data.tokenizer_documents.clamp(1, texts.len())];
            tell(&format!("learning {} tokens from {} texts", data.vocab_size, sample.len()))?;
            Vocabulary::train(sample, data.vocab_size)?
        } else {
            Vocabulary::read(&find(&data.tokenizer))?
        };
        let patterns: Vec<Option<Regex>> = concepts.iter().map(pattern).collect::<Result<_, Error>>()?;
        let mut pack = |Marked { texts, marks }: &Marked| -> Result<Vec<u8>, Error> {
            let tokens = vocabulary.encode_telling(texts, tell)?;
            let each = texts.iter().zip(&tokens).zip(marks);
            let marks = each.map(|((text, tokens), mark)| {
                Ok(mark | seen_in(&patterns, text, tokens, seen, &vocabulary)?)
            });
            let marks = marks.collect::<Result<Vec<u8>, Error>>()?;
            TokenFile::encode(&tokens, &marks)
        };
        let (packed, validation) = (pack(&texts)?, pack(&held_out)?);
        if let Some(folder) = &cached {
            create_folder(folder)?;
            write_atomic(&folder.join(TRAIN), &packed)?;
            write_atomic(&folder.join(VALIDATION), &validation)?;
            // the last one, which says that the others are there
            write_atomic(&folder.join(VOCABULARY), vocabulary.to_json()?.as_bytes())?;
        }
        Self::of(vocabulary, TokenFile::held(packed)?, TokenFile::held(validation)?).checked(concepts)
    }

    fn from_cache(folder: &Path) -> Result<Self, Error> {
        let vocabulary = Vocabulary::read(&folder.join(VOCABULARY))?;
        let tokens = |name: &str| {
            let path = folder.join(name);
            let file = TokenFile::read(&path)?;
            // whole, but beside the vocabulary of other texts
            if file.largest().is_some_and(|token| token as usize >= vocabulary.size()) {
                let fault = format!("it has tokens that {VOCABULARY} beside it does not have");
                return Err(Error::Corpus { path, fault });
            }
            Ok(file)
        };
        let (train, validation) = (tokens(TRAIN)?, tokens(VALIDATION)?);
        Ok(Self::of(vocabulary, train, validation))
    }

    fn of(vocabulary: Vocabulary, train: TokenFile, validation: TokenFile) -> Self {
        let end = vocabulary.end();
        let documents = |file| Documents::new(file, end);
        Self { train: documents(train), validation: documents(validation), vocabulary }
    }

    fn checked(self, concepts: &[ConceptSection]) -> Result<Self, Error> {
        for (name, documents) in [("train", &self.train), ("validation", &self.validation)] {
            for (index, concept) in concepts.iter().enumerate() {
                let about =
                    (0..documents.len()).filter(|at| documents.concepts(*at) >> index & 1 == 1).count();
                for (side, count) in [("has", about), ("lacks", documents.len() - about)] {
                    if count == 0 {
                        return Err(Error::Setting(format!(
                            "no document of data.{name} {side} {}: nothing to compare",
                            concept.described()
                        )));
                    }
                }
            }
            if (0..documents.len()).all(|index| documents.is_forget(index)) {
                return Err(Error::Setting(format!(
                    "every document of data.{name} is about a concept: nothing general is left to train on"
                )));
            }
        }
        Ok(self)
    }
}

const TRAIN: &str = "train.tokens";
const VALIDATION: &str = "validation.tokens";
const VOCABULARY: &str = "tokenizer.json";

/// Concepts with the words of their files in place of these.
///
/// # Errors
/// Fails where a file cannot be read or lists no word.
pub(crate) fn with_words(concepts: &[ConceptSection]) -> Result<Vec<ConceptSection>, Error> {
    let mut concepts = concepts.to_vec();
    for concept in concepts.iter_mut().filter(|concept| !concept.file.is_empty()) {
        concept.words = read_words(&find(&concept.file))?;
        concept.file.clear();
    }
    Ok(concepts)
}

/// `\b(tree|trees|…)\b` without regard to case; nothing for a concept without words.
pub(crate) fn pattern(concept: &ConceptSection) -> Result<Option<Regex>, Error> {
    if concept.words.is_empty() {
        return Ok(None);
    }
    let words: Vec<String> = concept.words.iter().map(|word| regex::escape(word)).collect();
    Regex::new(&format!(r"(?i)\b(?:{})\b", words.join("|")))
        .map(Some)
        .map_err(|error| Error::Setting(format!("{} is no pattern: {error}", concept.described())))
}

/// The concepts of which a whole word ends within the first `seen` tokens of a text: concept i has bit i.
fn seen_in(
    patterns: &[Option<Regex>],
    text: &str,
    tokens: &[u32],
    seen: usize,
    vocabulary: &Vocabulary,
) -> Result<u8, Error> {
    // where the tokens end that are seen, decoded for the first concept that needs it
    let mut end = (tokens.len() <= seen).then_some(text.len());
    let mut concepts = 0;
    for (index, pattern) in patterns.iter().enumerate() {
        let Some(word) = pattern.as_ref().and_then(|pattern| pattern.find(text)) else { continue };
        let end = match end {
            Some(end) => end,
            None => *end.insert(vocabulary.decode(&tokens[..seen])?.len()),
        };
        concepts |= u8::from(word.end() <= end) << index;
    }
    Ok(concepts)
}

fn source(name: &str) -> Result<PathBuf, Error> {
    match name.strip_prefix("hub:") {
        Some(file) => super::from_hub(file, super::HubKind::File),
        None => Ok(find(name)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Config;

    const SEEN: usize = 128;

    fn section(folder: &Path) -> DataSection {
        let mut data = Config::default().data;
        data.train = folder.join("corpus.txt").display().to_string();
        data.validation = String::new();
        data.cache = folder.join("cache").display().to_string();
        data.vocab_size = 300;
        data
    }

    fn concepts() -> Vec<ConceptSection> {
        Config::default().concepts()
    }

    fn tokens(dataset: &Dataset) -> Vec<Vec<u32>> {
        (0..dataset.train.len()).map(|index| dataset.train.get(index, usize::MAX)).collect()
    }

    #[test]
    fn one_concept_alone_can_count() {
        let vocabulary = Vocabulary::train(&[String::new()], 300).unwrap();
        let texts: Vec<(String, u8)> = (0..4).map(|set| (set.to_string(), set)).collect();
        let sets = |dataset: &Dataset| (0..4).map(|at| dataset.train.concepts(at)).collect::<Vec<_>>();
        let dataset = Dataset::from_texts(vocabulary, &texts, &texts).unwrap();
        assert_eq!(sets(&dataset), [0, 1, 2, 3]);
        let dataset = dataset.about_only(1);
        assert_eq!(sets(&dataset), [0, 0, 1, 1]);
        assert_eq!(dataset.validation.first(true, 9), [2, 3]);
    }

    #[test]
    fn a_damaged_cache_is_made_anew_from_the_texts() {
        let folder = tempfile::tempdir().unwrap();
        let data = section(folder.path());
        let texts = ["A boat at sea.", "A house.", "A tree in a forest."].repeat(9).join("\n\n");
        fs::write(&data.train, texts).unwrap();
        let good = tokens(&Dataset::load(&data, &concepts(), SEEN).unwrap());
        let cache = fs::read_dir(&data.cache).unwrap().next().unwrap().unwrap().path();
        // whole, but with tokens of a larger vocabulary
        let foreign = TokenFile::encode(&[vec![7, 60_000]], &[1]).unwrap();
        let small = Vocabulary::train(&[String::new()], 300).unwrap().to_json().unwrap();
        for (name, damaged) in [
            (TRAIN, fs::read(cache.join(TRAIN)).unwrap()[..50].to_vec()),
            (VALIDATION, foreign),
            (VOCABULARY, b"{}".to_vec()),
            (VOCABULARY, small.into_bytes()),
        ] {
            let whole = fs::read(cache.join(name)).unwrap();
            fs::write(cache.join(name), damaged).unwrap();
            assert!(Dataset::from_cache(&cache).is_err(), "{name}");
            assert_eq!(tokens(&Dataset::load(&data, &concepts(), SEEN).unwrap()), good, "{name}");
            assert!(fs::read(cache.join(name)).unwrap() == whole, "{name} is not mended");
        }
        fs::remove_file(cache.join(TRAIN)).unwrap();
        assert_eq!(tokens(&Dataset::load(&data, &concepts(), SEEN).unwrap()), good);
    }

    #[test]
    fn a_cache_is_that_of_the_same_files_in_the_same_places() {
        let folder = tempfile::tempdir().unwrap();
        let of_words = |data: &DataSection| vec![ConceptSection::of_words("", data.forget_words.clone())];
        let mut data = section(folder.path());
        data.validation = folder.path().join("held_out.txt").display().to_string();
        let key = |data: &DataSection, train: &str, validation: &str| {
            fs::write(&data.train, train).unwrap();
            fs::write(&data.validation, validation).unwrap();
            cache_key(data, &of_words(data), SEEN, Path::new(&data.train), Some(Path::new(&data.validation)))
                .unwrap()
        };
        let first = key(&data, "A tree.\n\nA boat.\n\n", "A house.\n");
        assert_eq!(key(&data, "A tree.\n\nA boat.\n\n", "A house.\n"), first);
        // the same bytes, of which more are held out
        assert_ne!(key(&data, "A tree.\n\n", "A boat.\n\nA house.\n"), first);
        // as lines of JSON
        let json = DataSection { train: data.train.replace(".txt", ".jsonl"), ..data.clone() };
        assert_ne!(key(&json, "A tree.\n\nA boat.\n\n", "A house.\n"), first);
        let words = |words: &[&str]| DataSection {
            forget_words: words.iter().map(|word| (*word).to_owned()).collect(),
            ..data.clone()
        };
        let one = key(&words(&["tree|boat"]), "A tree.", "A house.");
        assert_ne!(key(&words(&["tree", "boat"]), "A tree.", "A house."), one);
        let fewer = DataSection { max_documents: 12, validation_documents: 3, ..data.clone() };
        let other = DataSection { max_documents: 1, validation_documents: 23, ..data.clone() };
        assert_ne!(key(&fewer, "A tree.", "A house."), key(&other, "A tree.", "A house."));
    }

    #[test]
    fn a_word_counts_where_it_ends_within_the_tokens_that_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let data = section(folder.path());
        let texts = ["A house.", "A tree.", "x x x x x tree", "x x x x treetop x"];
        fs::write(&data.train, [texts.as_slice(), &["A boat.", "A tree."]].concat().join("\n\n")).unwrap();
        let marks = |seen| {
            let mut data = data.clone();
            data.validation.clone_from(&data.train);
            let dataset = Dataset::load(&data, &concepts(), seen).unwrap();
            let length = dataset.train.get(2, usize::MAX).len() - 2;
            ((0..4).map(|index| dataset.train.is_forget(index)).collect::<Vec<_>>(), length)
        };
        let (whole, length) = marks(SEEN);
        assert_eq!(whole, [false, true, true, false]);
        assert_eq!(marks(length).0, whole);
        assert_eq!(marks(length - 1).0, [false, true, false, false]);
    }

    #[test]
    fn one_document_is_not_enough_for_both_sides() {
        let folder = tempfile::tempdir().unwrap();
        let data = section(folder.path());
        fs::write(&data.train, "A tree in a forest.").unwrap();
        let error = Dataset::load(&data, &concepts(), SEEN).err().unwrap().to_string();
        assert!(
            error.contains("corpus.txt: it holds one document, which is needed to measure on"),
            "{error}"
        );
    }
}
