//! What a tokenizer file may hold. The tokenizers library trusts its files: some make it panic, some make a text grow
//! without limit, and some settings are for other uses than ours. They are found here, before the library sees them.

use std::collections::HashSet;

use serde_json::{Map, Value};
use tokenizers::{AddedToken, NormalizedString, Normalizer as _, Tokenizer};

/// Parts that change texts may make one this many times longer together. A space that becomes three bytes, and bytes
/// that become two, make it 8.
const MOST_GROWTH: usize = 4096;

/// A tokenizer in the JSON format of the `tokenizers` library, without what encodes at random, cuts and fills up texts
/// or stands around them.
///
/// # Errors
/// What is wrong with the file.
pub fn parse_tokenizer(bytes: &[u8]) -> Result<Tokenizer, String> {
    of_json(serde_json::from_slice(bytes).map_err(|error| error.to_string())?)
}

/// As [`parse_tokenizer`], of the file's content.
pub(crate) fn of_json(mut file: Map<String, Value>) -> Result<Tokenizer, String> {
    // padding and truncation are for batches of short texts, a post-processor for pairs and special tokens
    for key in ["padding", "truncation", "post_processor"] {
        file.insert(key.to_owned(), Value::Null);
    }
    if let Some(Value::Object(model)) = file.get_mut("model") {
        // it would encode the same text in another way each time
        model.remove("dropout");
        check_merges(model)?;
    }
    for key in ["normalizer", "pre_tokenizer", "decoder"] {
        let growth = growth(file.get(key).unwrap_or(&Value::Null))?;
        if growth > MOST_GROWTH {
            return Err(format!("its {key} can make a text more than {MOST_GROWTH} times as long"));
        }
    }
    let tokenizer = serde_json::from_value(Value::Object(file)).map_err(|error| error.to_string())?;
    check_added(&tokenizer)?;
    Ok(tokenizer)
}

/// Refuses added tokens that are nothing once normalized: the library would find them between the bytes of a letter.
fn check_added(tokenizer: &Tokenizer) -> Result<(), String> {
    let Some(normalizer) = tokenizer.get_normalizer() else { return Ok(()) };
    for AddedToken { content, normalized, .. } in tokenizer.get_added_tokens_decoder().values() {
        let mut text = NormalizedString::from(content.as_str());
        normalizer.normalize(&mut text).map_err(|error| error.to_string())?;
        if *normalized && text.get().is_empty() {
            return Err(format!("its added token {content:?} is nothing once normalized"));
        }
    }
    Ok(())
}

/// Refuses merges of a BPE that do not give one of its tokens: the library copies them into a buffer that is as long as
/// the longest token.
fn check_merges(model: &Map<String, Value>) -> Result<(), String> {
    let (Some(Value::Array(merges)), Some(Value::Object(vocabulary))) =
        (model.get("merges"), model.get("vocab"))
    else {
        return Ok(());
    };
    if model.get("continuing_subword_prefix").is_some_and(|prefix| !prefix.is_null() && prefix != "") {
        // it is cut off the second part, whether or not it is there
        return Err("its merges have a continuing_subword_prefix, which cannot be used".to_owned());
    }
    let known: HashSet<&str> = vocabulary.keys().map(String::as_str).collect();
    for merge in merges {
        let pair = match merge {
            Value::String(pair) => pair.split_once(' '),
            Value::Array(pair) => match pair.as_slice() {
                [Value::String(first), Value::String(second)] => Some((first.as_str(), second.as_str())),
                _ => None,
            },
            _ => None,
        };
        // what is no pair is the library's to refuse
        if let Some((first, second)) = pair
            && !known.contains(format!("{first}{second}").as_str())
        {
            return Err(format!("its merge of {first:?} and {second:?} gives no token of it"));
        }
    }
    Ok(())
}

/// By which factor a normalizer, pre-tokenizer or decoder and all those in it lengthen a text at most.
fn growth(part: &Value) -> Result<usize, String> {
    let parts = match part {
        Value::Object(fields) => fields,
        Value::Array(parts) => {
            return parts.iter().try_fold(1_usize, |all, part| Ok(all.saturating_mul(growth(part)?)));
        }
        _ => return Ok(1),
    };
    let number = |key: &str| parts.get(key).and_then(Value::as_u64);
    // files without the types are read as well: what tells the parts apart are their fields
    let kind = parts.get("type").and_then(Value::as_str);
    if kind == Some("Precompiled") || parts.contains_key("precompiled_charsmap") {
        return Err("its normalizer has a precompiled_charsmap, which cannot be used".to_owned());
    }
    if parts.contains_key("start") && number("stop") != Some(0) {
        return Err(
            "its decoder strips the ends of tokens, which cannot be used: only `stop` 0 can".to_owned()
        );
    }
    if number("length") == Some(0) {
        return Err("its pre-tokenizer cuts texts into pieces of no length".to_owned());
    }
    let own = match parts.get("content").and_then(Value::as_str) {
        // once for each byte, where the pattern is empty
        Some(content) if parts.contains_key("pattern") => 1 + content.len(),
        _ => match kind {
            Some("Metaspace") => 4,
            // of a text with a single letter
            _ if parts.contains_key("prepend") => {
                1 + parts.get("prepend").and_then(Value::as_str).map_or(0, str::len)
            }
            Some("ByteLevel" | "BertNormalizer" | "CTC") => 2,
            _ => 1,
        },
    };
    parts.values().try_fold(own, |all, part| Ok(all.saturating_mul(growth(part)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(parts: &str) -> String {
        let model = r#""model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}"#;
        let with_model = if parts.contains("\"model\"") { String::new() } else { format!(", {model}") };
        let file = format!(r#"{{"version": "1.0", "added_tokens": [], {parts}{with_model}}}"#);
        parse_tokenizer(file.as_bytes()).err().unwrap_or_default()
    }

    fn bpe(fields: &str) -> String {
        refused(&format!(r#""model": {{"type": "BPE", "vocab": {{"a": 0, "b": 1, "ab": 2}}, {fields}}}"#))
    }

    #[test]
    fn what_makes_the_library_panic_is_refused_before() {
        assert_eq!(bpe(r#""merges": ["a b"]"#), "");
        assert_eq!(bpe(r#""merges": [["a", "b"]], "continuing_subword_prefix": """#), "");
        let gives_none = r#"its merge of "ab" and "ab" gives no token of it"#;
        assert_eq!(bpe(r#""merges": ["ab ab"]"#), gives_none);
        assert_eq!(bpe(r#""merges": [["ab", "ab"]]"#), gives_none);
        let prefix = bpe(r###""merges": ["a b"], "continuing_subword_prefix": "##""###);
        assert_eq!(prefix, "its merges have a continuing_subword_prefix, which cannot be used");
        for (parts, words) in [
            (r#""decoder": {"type": "Strip", "content": " ", "start": 1, "stop": 0}"#, ""),
            (r#""decoder": {"type": "Strip", "content": " ", "start": 1, "stop": 2}"#, "only `stop` 0 can"),
            (r#""pre_tokenizer": {"type": "FixedLength", "length": 0}"#, "pieces of no length"),
            (
                r#""normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}"#,
                "precompiled_charsmap",
            ),
            (r#""normalizer": {"precompiled_charsmap": "AAAA"}"#, "precompiled_charsmap"),
            (r#""normalizer": {"type": "Precompiled"}"#, "precompiled_charsmap"),
            (r#""decoder": {"#, "at line 1 column 52"),
            (
                r#""normalizer": {"type": "Strip", "strip_left": true, "strip_right": true},
                "added_tokens": [{"id": 1, "content": " ", "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": true, "special": false}]"#,
                r#"its added token " " is nothing once normalized"#,
            ),
        ] {
            let error = refused(parts);
            assert_eq!(error.is_empty(), words.is_empty(), "{parts}: {error}");
            assert!(error.contains(words), "{parts}: {error}");
        }
    }

    #[test]
    fn a_text_cannot_be_made_to_fill_the_memory() {
        let replaces = |count: usize, content: &str| {
            let one =
                format!(r#"{{"type": "Replace", "pattern": {{"String": "a"}}, "content": "{content}"}}"#);
            let all = vec![one; count].join(", ");
            refused(&format!(r#""normalizer": {{"type": "Sequence", "normalizers": [{all}]}}"#))
        };
        assert_eq!(replaces(6, "aaa"), "");
        assert_eq!(replaces(7, "aaa"), "its normalizer can make a text more than 4096 times as long");
        assert!(!replaces(200, "aa").is_empty());
        assert!(!replaces(1, &"a".repeat(5000)).is_empty());
        assert_eq!(replaces(50, ""), "");
        let prepends = |length: usize, kind: &str| {
            refused(&format!(r#""normalizer": {{{kind}"prepend": "{}"}}"#, "_".repeat(length)))
        };
        for kind in [r#""type": "Prepend", "#, ""] {
            assert_eq!(prepends(4095, kind), "");
            assert_eq!(prepends(4096, kind), "its normalizer can make a text more than 4096 times as long");
        }
    }
}
