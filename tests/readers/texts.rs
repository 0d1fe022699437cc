//! The readers of lm-routed: corpora, tokenizers, token caches.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use experiment::crc32c;
use lm_routed::data::{TokenFile, Vocabulary, read_documents};

use crate::words;

const JSON_LINES: &str =
    "{\"text\": \"One day a cat sat under a tree.\"}\n\n{\"text\": \"Two\\nlines \\u2602\", \"x\": 1}\n";

pub(crate) fn stories(_: &Path) -> Vec<Vec<u8>> {
    let plain = "One day.\nA cat.\n<|endoftext|>\nTwo<|endoftext|>three ☂\r\n\n\nfour\n";
    let members = packed(JSON_LINES.as_bytes()).repeat(2);
    vec![JSON_LINES.as_bytes().to_vec(), plain.as_bytes().to_vec(), members]
}

fn packed(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// The input under every name that decides over its format, and packed: damage inside a packed file seldom gets past
/// its checksum.
pub(crate) fn read_stories(path: &Path) -> Result<(), String> {
    let bytes = fs::read(path).unwrap();
    let mut outcome = Err(String::new());
    for (name, content) in [
        ("a.jsonl", &bytes),
        ("a.txt", &bytes),
        ("a.jsonl.gz", &bytes),
        ("b.jsonl.gz", &packed(&bytes)),
        ("b.txt.gz", &packed(&bytes)),
    ] {
        let path = path.with_file_name(name);
        fs::write(&path, content).unwrap();
        let read = read_documents(&path, 0).map_err(words);
        let first = read_documents(&path, 1).map_err(words);
        if let (Ok(all), Ok(first)) = (&read, &first) {
            assert_eq!((first.len(), &first[0]), (1, &all[0]), "the first document is another one");
        }
        outcome = outcome.or(read.map(drop));
    }
    outcome
}

/// Of every kind of model, and with most kinds of what goes around one.
pub(crate) fn tokenizers(_: &Path) -> Vec<Vec<u8>> {
    let texts = ["One day a cat sat under a tree. ".repeat(20)];
    let trained = Vocabulary::train(&texts, 280).unwrap().to_json().unwrap();
    let bpe = r#"{"type": "BPE", "dropout": null, "unk_token": "u", "continuing_subword_prefix": "", "end_of_word_suffix": "",
        "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
        "vocab": {"u": 0, "a": 1, "c": 2, "t": 3, "at": 4, "cat": 5, "<0x20>": 6}, "merges": ["a t", "c at"]}"#;
    let pieces = r###"{"type": "WordPiece", "unk_token": "u", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100, "vocab": {"u": 0, "c": 1, "##at": 2, "##a": 3, "##t": 4}}"###;
    let level = r#"{"type": "WordLevel", "vocab": {"u": 0, "cat": 1, "tree": 2}, "unk_token": "u"}"#;
    let unigram = r#"{"type": "Unigram", "unk_id": 0, "byte_fallback": false,
        "vocab": [["u", 0.0], ["c", -1.5], ["a", -1.0], ["t", -2.0], ["at", -1.25]]}"#;
    let around = [
        (
            r#"{"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}, {"type": "Prepend", "prepend": "a"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "at"}]}"#,
            r#"{"type": "Whitespace"}"#,
            r#"{"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "a"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}"#,
        ),
        (
            r#"{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true}"#,
            r#"{"type": "BertPreTokenizer"}"#,
            r###"{"type": "WordPiece", "prefix": "##", "cleanup": true}"###,
        ),
        (
            r#"{"type": "Strip", "strip_left": true, "strip_right": true}"#,
            r#"{"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "[a-c]+"}, "behavior": "Isolated", "invert": false},
            {"type": "Digits", "individual_digits": true}, {"type": "Punctuation", "behavior": "MergedWithNext"}]}"#,
            r#"{"type": "CTC", "pad_token": "a", "word_delimiter_token": "t", "cleanup": true}"#,
        ),
        (
            r#"{"type": "Nmt"}"#,
            r#"{"type": "Metaspace", "replacement": "_", "prepend_scheme": "always", "split": true}"#,
            r#"{"type": "Metaspace", "replacement": "_", "prepend_scheme": "always", "split": true}"#,
        ),
    ];
    let files = [bpe, pieces, level, unigram].into_iter().zip(around).map(|(model, (normalizer, pre, decoder))| {
        format!(
            r#"{{"version": "1.0", "truncation": {{"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 1}},
            "padding": {{"strategy": {{"Fixed": 9}}, "direction": "Left", "pad_to_multiple_of": null, "pad_id": 3, "pad_type_id": 0,
            "pad_token": "c"}}, "added_tokens": [{{"id": 9, "content": "day", "single_word": false, "lstrip": true, "rstrip": false,
            "normalized": true, "special": false}}], "normalizer": {normalizer}, "pre_tokenizer": {pre},
            "post_processor": {{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true}},
            "decoder": {decoder}, "model": {model}}}"#
        )
        .into_bytes()
    });
    files.chain([trained.into_bytes()]).collect()
}

/// What it is used for: a corpus is encoded, tokens are shown, texts are decoded.
pub(crate) fn read_tokenizer(path: &Path) -> Result<(), String> {
    let vocabulary = Vocabulary::read(path).map_err(words)?;
    let size = vocabulary.size();
    assert!((vocabulary.end() as usize) < size && size <= 1 << 16, "no room for a token");
    let texts = ["", "a cat sat", " One day ☂ naïve\u{0}\n\n<|endoftext|>  tttt", "##at _a <0x20> 12,3"]
        .map(str::to_owned);
    let documents = vocabulary.encode(&texts).map_err(words)?;
    for tokens in &documents {
        assert!(tokens.iter().all(|token| (*token as usize) < size), "a token above {size}");
        vocabulary.decode(tokens).map_err(words)?;
    }
    for token in 0..size.min(300) as u32 {
        vocabulary.word(token);
    }
    let every: Vec<u32> = (0..size.min(300) as u32).collect();
    vocabulary.decode(&every).map_err(words)?;
    assert!(vocabulary.single("␣tree").is_none_or(|token| (token as usize) < size));
    // as the cache keeps it
    let again = Vocabulary::from_bytes(vocabulary.to_json().map_err(words)?.as_bytes()).map_err(words)?;
    assert_eq!(again.encode(&texts).map_err(words)?, documents, "it reads back as another one");
    Ok(())
}

pub(crate) fn token_files(_: &Path) -> Vec<Vec<u8>> {
    let documents = vec![vec![1, 65535, 3], vec![], vec![9; 40], vec![256]];
    vec![TokenFile::encode(&documents, &[1, 0, 3, 0]).unwrap(), TokenFile::encode(&[], &[]).unwrap()]
}

/// As it is, and with the checksum made right, past which damage seldom gets.
pub(crate) fn read_tokens(path: &Path) -> Result<(), String> {
    let bytes = fs::read(path).unwrap();
    let mut sealed = bytes.clone();
    if sealed.len() >= 12 {
        let sum = crc32c(&sealed[12..]);
        sealed[8..12].copy_from_slice(&sum.to_le_bytes());
    }
    let read = |bytes: Vec<u8>| -> Result<(), String> {
        let file = TokenFile::held(bytes).map_err(words)?;
        let largest = file.largest();
        for index in 0..file.len() {
            assert!(file.document(index).into_iter().max() <= largest, "a token above the largest");
            file.concepts(index);
        }
        Ok(())
    };
    read(bytes).or(read(sealed))
}
