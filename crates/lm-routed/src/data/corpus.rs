//! Texts from files: one document after another.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::Error;

/// What separates documents in a text file, as in `TinyStories`.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// What is read at most.
#[derive(Clone, Copy)]
struct Limits {
    /// Bytes of a line: whatever has a longer one is no corpus.
    line: u64,
    /// Bytes in all, which are held in memory.
    total: u64,
    /// Bytes in all of a packed file: this many times its size. Text packs to a quarter, text that repeats itself to a
    /// twentieth; what unpacks to twice that was made to fill the memory.
    unpacked: u64,
    /// Bytes in all that a packed file may have whatever its size.
    free: u64,
}

const LIMITS: Limits = Limits { line: 64 << 20, total: 8 << 30, unpacked: 40, free: 64 << 20 };

#[derive(Deserialize)]
struct Line {
    text: String,
}

/// A line with everything else that it holds.
#[derive(Deserialize)]
pub(super) struct Object {
    pub text: String,
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

/// The first `most` documents of a file (0 for all): the `text` fields of a `.jsonl`, the parts of any other file
/// between `<|endoftext|>`, or between blank lines where it has none. A name that ends in `.gz` is unpacked.
///
/// No line may have more than 64 MiB, and no more than 8 GiB of text are read, or forty times the size of a packed
/// file.
///
/// # Errors
/// [`Error::Corpus`] where the file cannot be read, is too long, a line is no JSON object with a `text`, or nothing is
/// in it.
pub fn read_documents(path: &Path, most: usize) -> Result<Vec<String>, Error> {
    read_within(path, most, LIMITS, |Line { text }| text)
}

/// The objects of a `.jsonl`, as [`read_documents`] reads it.
pub(super) fn read_objects(path: &Path, most: usize) -> Result<Vec<Object>, Error> {
    if !Kind::of(path).json {
        let fault = "it has no fields: a concept with `field` needs texts in a `.jsonl`".to_owned();
        return Err(Error::Corpus { path: path.to_owned(), fault });
    }
    let mut objects = Vec::new();
    read_within(path, most, LIMITS, |object: Object| {
        objects.push(object);
        String::new()
    })?;
    Ok(objects)
}

/// `take` is given the objects of a `.jsonl`.
fn read_within<T: DeserializeOwned>(
    path: &Path,
    most: usize,
    limits: Limits,
    take: impl FnMut(T) -> String,
) -> Result<Vec<String>, Error> {
    let fault = |fault: String| Error::Corpus { path: path.to_owned(), fault };
    let (file, length) = open(path)?;
    let kind = Kind::of(path);
    let reader: Box<dyn Read> =
        if kind.packed { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
    let unpacked = limits.unpacked.saturating_mul(length).max(limits.free);
    let total = if kind.packed { unpacked.min(limits.total) } else { limits.total };
    let lines = Lines::new(BufReader::with_capacity(1 << 16, reader), Limits { total, ..limits });
    let most = if most == 0 { usize::MAX } else { most };
    let documents = if kind.json { json_lines(lines, most, take) } else { plain_text(lines, most) };
    let documents = documents.map_err(fault)?;
    if documents.is_empty() {
        return Err(fault("it holds no text".to_owned()));
    }
    Ok(documents)
}

/// A list, one a line and trimmed by `trim`; empty lines and those that begin with `#` then are left out.
///
/// # Errors
/// [`Error::List`] where the file cannot be read, is longer than `most` bytes or lists nothing.
pub(crate) fn read_list(path: &Path, most: u64, trim: fn(&str) -> &str) -> Result<Vec<String>, Error> {
    let fault = |fault: String| Error::List { path: path.to_owned(), fault };
    let bytes = experiment::read_at_most(path, most).map_err(|error| fault(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| fault(format!("it is no UTF-8 text: {error}")))?;
    let lines = text.lines().map(trim).filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let list: Vec<String> = lines.map(str::to_owned).collect();
    if list.is_empty() { Err(fault("it lists nothing".to_owned())) } else { Ok(list) }
}

/// A list of words.
pub(super) fn read_words(path: &Path) -> Result<Vec<String>, Error> {
    read_list(path, LIMITS.free, str::trim)
}

/// How a file is read, of which its name decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// `.gz`
    packed: bool,
    /// `.jsonl`
    json: bool,
}

impl Kind {
    pub(super) fn of(path: &Path) -> Self {
        let name = path.to_string_lossy().to_lowercase();
        let plain = name.strip_suffix(".gz");
        let json = Path::new(plain.unwrap_or(&name)).extension().is_some_and(|end| end == "jsonl");
        Self { packed: plain.is_some(), json }
    }
}

/// Opens a file and tells its length. What has none, such as a device or a pipe, is refused: it may never end, and
/// cannot be read twice.
pub(super) fn open(path: &Path) -> Result<(File, u64), Error> {
    let fault = |fault: String| Error::Corpus { path: path.to_owned(), fault };
    let file = experiment::open_regular(path).map_err(|error| fault(error.to_string()))?;
    let length = file.metadata().map_err(|error| fault(error.to_string()))?.len();
    Ok((file, length))
}

/// The lines of a file within limits.
struct Lines<R> {
    reader: R,
    limits: Limits,
    line: Vec<u8>,
    number: usize,
    read: u64,
}

impl<R: BufRead> Lines<R> {
    fn new(reader: R, limits: Limits) -> Self {
        Self { reader, limits, line: Vec::new(), number: 0, read: 0 }
    }

    /// The next line without its end; nothing after the last one.
    fn next_line(&mut self) -> Result<Option<&[u8]>, String> {
        let Limits { line: longest, total, .. } = self.limits;
        self.line.clear();
        self.number += 1;
        let line = self.reader.by_ref().take(longest + 1).read_until(b'\n', &mut self.line);
        let length = line.map_err(|error| error.to_string())? as u64;
        self.read += length;
        if length > longest {
            return Err(format!("line {} has more than {longest} bytes", self.number));
        }
        if self.read > total {
            return Err(format!("it has more than {total} bytes of text once unpacked: give a part of it"));
        }
        Ok((length > 0).then(|| self.line.strip_suffix(b"\n").unwrap_or(&self.line)))
    }
}

fn json_lines<T: DeserializeOwned>(
    mut lines: Lines<impl BufRead>,
    most: usize,
    mut take: impl FnMut(T) -> String,
) -> Result<Vec<String>, String> {
    let mut documents = Vec::new();
    while documents.len() < most
        && let Some(line) = lines.next_line()?
    {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice(line) {
            Ok(object) => documents.push(take(object)),
            Err(error) => {
                return Err(format!("line {} is no JSON object with a `text`: {error}", lines.number));
            }
        }
    }
    Ok(documents)
}

fn plain_text(mut lines: Lines<impl BufRead>, most: usize) -> Result<Vec<String>, String> {
    let mut documents = Vec::new();
    let (mut marked, mut current) = (Vec::new(), String::new());
    let mut by_mark = false;
    while let Some(line) = lines.next_line()? {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|error| format!("it is no UTF-8 text: {error}"))?;
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
            current.push_str(line);
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
        let (folder, _) = written("a.txt", b"");
        let error = read_documents(folder.path(), 0).unwrap_err().to_string();
        assert!(error.ends_with("it is no regular file"), "{error}");
    }

    #[test]
    fn what_is_too_long_is_refused_at_the_limit() {
        let limits = Limits { line: 16, total: 40, unpacked: 1, free: 8 };
        let packed = |content: &[u8]| {
            let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            gz.write_all(content).unwrap();
            gz.finish().unwrap()
        };
        let bomb = packed(&b"\n".repeat(1 << 20));
        let small = packed(b"{\"text\": \"1\"}\n");
        for (name, content, part) in [
            ("a.jsonl", b"{\"text\": \"123\"}\n".as_slice(), None),
            ("a.jsonl", b"{\"text\": \"1234\"}\n", Some("line 1 has more than 16 bytes")),
            ("a.jsonl", b"{\"text\": \"1234", Some("line 1 is no JSON object")),
            ("a.txt", b"one\n\n01234567890123456\n", Some("line 3 has more than 16 bytes")),
            ("a.txt", &b"one\n".repeat(10), None),
            ("a.txt", &b"one\n".repeat(11), Some("it has more than 40 bytes of text")),
            ("a.jsonl.gz", &small, None),
            ("a.jsonl.gz", &bomb, Some("it has more than 40 bytes of text")),
            ("b.txt.gz", &packed(&b"\n".repeat(38)), Some("bytes of text once unpacked: give a part of it")),
        ] {
            let (_folder, path) = written(name, content);
            let error =
                read_within(&path, 0, limits, |Line { text }| text).err().map(|error| error.to_string());
            assert_eq!(error.is_some(), part.is_some(), "{name}: {error:?}");
            assert!(error.unwrap_or_default().contains(part.unwrap_or_default()), "{name}: no {part:?}");
        }
    }
}
