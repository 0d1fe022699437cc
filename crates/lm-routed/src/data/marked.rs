//! Documents with the concepts that their own labels say.

use std::path::Path;

use serde_json::Value;

use super::corpus::{Object, read_documents, read_objects};
use crate::Error;
use crate::config::ConceptSection;

/// Texts, each with the concepts that a field of it names: concept i in bit i.
pub(super) struct Marked {
    pub texts: Vec<String>,
    pub marks: Vec<u8>,
}

impl Marked {
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// The documents from number `at` on, which are taken out.
    pub(super) fn split_off(&mut self, at: usize) -> Self {
        Self { texts: self.texts.split_off(at), marks: self.marks.split_off(at) }
    }
}

/// The first `most` documents of a file (0 for all), with what their fields say of concepts that have one.
///
/// # Errors
/// As [`read_documents`], and where a concept has a field and the file has none, or not that one.
pub(super) fn read_marked(path: &Path, most: usize, concepts: &[ConceptSection]) -> Result<Marked, Error> {
    if concepts.iter().all(|concept| concept.field.is_empty()) {
        let texts = read_documents(path, most)?;
        return Ok(Marked { marks: vec![0; texts.len()], texts });
    }
    let objects = read_objects(path, most)?;
    for ConceptSection { name, field, .. } in concepts.iter().filter(|concept| !concept.field.is_empty()) {
        if !objects.iter().any(|object| object.fields.contains_key(field)) {
            let fault = format!("no line of it has the field `{field}` of the concept {name}");
            return Err(Error::Corpus { path: path.to_owned(), fault });
        }
    }
    let mark = |object: &Object| {
        let about = |concept: &ConceptSection| {
            object.fields.get(&concept.field).is_some_and(|value| names(value, &concept.name))
        };
        concepts.iter().enumerate().fold(0, |mark, (i, concept)| mark | u8::from(about(concept)) << i)
    };
    let marks = objects.iter().map(mark).collect();
    Ok(Marked { texts: objects.into_iter().map(|object| object.text).collect(), marks })
}

/// Whether a label says a name: it is the name, a list with it, or true.
fn names(label: &Value, name: &str) -> bool {
    match label {
        Value::Bool(label) => *label,
        Value::String(label) => label == name,
        Value::Array(labels) => labels.iter().any(|label| label.as_str() == Some(name)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concept(name: &str, field: &str) -> ConceptSection {
        ConceptSection { field: field.to_owned(), ..ConceptSection::of_words(name, Vec::new()) }
    }

    #[test]
    fn a_field_says_what_a_document_is_about() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let lines = [
            r#"{"text": "one", "topic": "sea"}"#,
            r#"{"text": "two", "topic": ["birds", "sea"], "old": true}"#,
            r#"{"text": "three", "topic": "seashore", "old": false}"#,
            r#"{"text": "four"}"#,
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        let concepts = [concept("sea", "topic"), concept("birds", "topic"), concept("old", "old")];
        let Marked { texts, marks } = read_marked(&path, 0, &concepts).unwrap();
        assert_eq!(texts, ["one", "two", "three", "four"]);
        assert_eq!(marks, [0b001, 0b111, 0, 0]);
        for (concept, path, words) in [
            (
                concept("sea", "topics"),
                path.clone(),
                "no line of it has the field `topics` of the concept sea",
            ),
            (concept("sea", "topic"), folder.path().join("a.txt"), "it has no fields"),
        ] {
            let error = read_marked(&path, 0, &[concept]).err().unwrap().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
