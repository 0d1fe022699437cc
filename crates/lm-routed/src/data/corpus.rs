//! Texts from files: one document after another.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Error;

/// What separates documents in a text file, as in `TinyStories`.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// The longest line that is read: whatever has a longer one is no corpus.
const LONGEST_LINE: u64 = 64 << 20;

#[derive(Deserialize)]
struct Line {
    text: String,
}

/// The first `most` documents of a file (0 for all): the `text` fields of a `.jsonl`, the parts of any other file
/// between `<|endoftext|>`, or between blank lines where it has none. A name that ends in `.gz` is unpacked.
///
/// # Errors
/// [`Error::Corpus`] where the file cannot be read, a line is no JSON object with a `text`, or nothing is in it.
pub fn read_documents(path: &Path, most: usize) -> Result<Vec<String>, Error> {
    let fault = |fault: String| Error::Corpus { path: path.to_owned(), fault };
    let file = File::open(path).map_err(|error| fault(error.to_string()))?;
    let name = path.to_string_lossy().to_lowercase();
    let (plain, reader): (&str, Box<dyn Read>) = match name.strip_suffix(".gz") {
        Some(plain) => (plain, Box::new(flate2::read::MultiGzDecoder::new(file))),
        None => (&name, Box::new(file)),
    };
    let reader = BufReader::with_capacity(1 << 16, reader);
    let most = if most == 0 { usize::MAX } else { most };
    let documents = if Path::new(plain).extension().is_some_and(|extension| extension == "jsonl") {
        json_lines(reader, most)
    } else {
        plain_text(reader, most)
    };
    let documents = documents.map_err(fault)?;
    if documents.is_empty() {
        return Err(fault("it holds no text".to_owned()));
    }
    Ok(documents)
}

fn json_lines(mut reader: impl BufRead, most: usize) -> Result<Vec<String>, String> {
    let (mut documents, mut line) = (Vec::new(), Vec::new());
    for number in 1.. {
        line.clear();
        let read = (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line);
        if read.map_err(|error| error.to_string())? == 0 || documents.len() == most {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let parsed: Line = serde_json::from_slice(&line)
            .map_err(|error| format!("line {number} is no JSON object with a `text`: {error}"))?;
        documents.push(parsed.text);
    }
    Ok(documents)
}

fn plain_text(reader: impl BufRead, most: usize) -> Result<Vec<String>, String> {
    let mut documents = Vec::new();
    let (mut marked, mut current) = (Vec::new(), String::new());
    let mut by_mark = false;
    for line in reader.lines() {
        let line = line.map_err(|error| error.to_string())?;
        if line.contains(END_OF_TEXT) {
            by_mark = true;
            let mut parts = line.split(END_OF_TEXT);
            current.push_str(parts.next().unwrap_or_default());
            for part in parts {
                push(&mut marked, &mut current);
                part.clone_into(&mut current);
            }
            current.push('\n');
        } else {
            current.push_str(&line);
            current.push('\n');
        }
        if marked.len() >= most {
            break;
        }
    }
    push(&mut marked, &mut current);
    if by_mark {
        documents.append(&mut marked);
    } else {
        let text = marked.pop().unwrap_or_default();
        let mut paragraph = String::new();
        for line in text.lines() {
            if line.trim().is_empty() {
                push(&mut documents, &mut paragraph);
            } else {
                paragraph.push_str(line);
                paragraph.push('\n');
            }
        }
        push(&mut documents, &mut paragraph);
    }
    documents.truncate(most);
    Ok(documents)
}

fn push(documents: &mut Vec<String>, text: &mut String) {
    let trimmed = text.trim();
    if !trimmed.is_empty() {
        documents.push(trimmed.to_owned());
    }
    text.clear();
}

/// A file as it was named, or else, for a name that is relative, in the checkout that the binary was built from: so
/// that the stories of the repository are found from every folder.
pub fn find(path: &str) -> PathBuf {
    let given = PathBuf::from(path);
    if given.exists() || given.is_absolute() {
        return given;
    }
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if checkout.exists() { checkout } else { given }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn written(name: &str, content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        (folder, path)
    }

    #[test]
    fn documents_of_every_kind_of_file() {
        let json = b"{\"text\": \"one\"}\n\n{\"text\": \"two\\nlines\", \"x\": 1}\n";
        let (_folder, path) = written("a.jsonl", json);
        assert_eq!(read_documents(&path, 0).unwrap(), ["one", "two\nlines"]);
        assert_eq!(read_documents(&path, 1).unwrap(), ["one"]);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(json).unwrap();
        let (_folder, path) = written("a.jsonl.gz", &gz.finish().unwrap());
        assert_eq!(read_documents(&path, 0).unwrap().len(), 2);
        let (_folder, path) = written("a.txt", b"one\nstill\n\ntwo\n<|endoftext|>\nthree<|endoftext|>four");
        assert_eq!(read_documents(&path, 0).unwrap(), ["one\nstill\n\ntwo", "three", "four"]);
        assert_eq!(read_documents(&path, 2).unwrap().len(), 2);
        let (_folder, path) = written("b.txt", b"one\nstill\n\n\ntwo\n");
        assert_eq!(read_documents(&path, 0).unwrap(), ["one\nstill", "two"]);
    }

    #[test]
    fn what_is_no_corpus_is_named() {
        for (name, content, part) in [
            ("a.jsonl", b"{\"txt\": 1}\n".as_slice(), "line 1 is no JSON object with a `text`"),
            ("a.txt", b"  \n", "it holds no text"),
            ("a.txt", b"\xff\xfe", "UTF-8"),
            ("a.jsonl.gz", b"{\"text\": \"one\"}\n", "gzip"),
        ] {
            let (_folder, path) = written(name, content);
            let error = read_documents(&path, 0).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(read_documents(Path::new("/nowhere.txt"), 0).is_err());
    }
}
