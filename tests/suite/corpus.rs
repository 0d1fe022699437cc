//! Every reader takes its good files, and what a fuzzer found on the way to new code is taken or refused in words.
use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;
use readers::TARGETS;

fn corpus_of(name: &str) -> Vec<(String, Vec<u8>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fuzz/corpus/{name}.tar.gz"));
    let mut archive = tar::Archive::new(GzDecoder::new(std::fs::File::open(path).unwrap()));
    let mut inputs = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            inputs.push((entry.path().unwrap().display().to_string(), bytes));
        }
    }
    inputs
}

#[test]
fn readers_take_their_good_files() {
    for target in TARGETS {
        let folder = tempfile::tempdir().unwrap();
        let samples = (target.samples)(folder.path());
        assert!(!samples.is_empty(), "{} has no sample", target.name);
        let path = (target.prepare)(folder.path());
        for (number, sample) in samples.iter().enumerate() {
            std::fs::write(&path, sample).unwrap();
            (target.read)(&path).unwrap_or_else(|words| panic!("{}, sample {number}: {words}", target.name));
        }
    }
}

#[test]
fn readers_answer_everything_in_the_corpus_in_words() {
    for target in TARGETS {
        let folder = tempfile::tempdir().unwrap();
        let path = (target.prepare)(folder.path());
        let corpus = corpus_of(target.name);
        assert!(corpus.len() > 10, "the corpus of {} has {} inputs", target.name, corpus.len());
        for (name, input) in corpus {
            std::fs::write(&path, input).unwrap();
            if let Err(words) = (target.read)(&path) {
                assert!(!words.trim().is_empty(), "{}, {name}: an error without words", target.name);
            }
        }
    }
}
