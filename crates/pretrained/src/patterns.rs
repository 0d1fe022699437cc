//! Patterns of a tokenizer file that may try again and again. The tokenizers library gives up on a text in the middle and
//! says nothing, so that what comes after it is cut in another way; or it is at work for hours. Here every text is tried
//! first, with a budget.

use std::time::{Duration, Instant};

use fancy_regex::Regex;
use serde_json::{Map, Value};

/// For all patterns and one text.
const MOST_TIME: Duration = Duration::from_secs(20);

/// The regular expressions of a tokenizer that can step back: those with lookaround or references. The others need time
/// in proportion to the text.
#[derive(Debug, Default)]
pub struct TokenizerPatterns(Vec<Regex>);

impl TokenizerPatterns {
    /// Those of a tokenizer file, of its parts that change or cut texts.
    ///
    /// # Errors
    /// Where the file is no JSON object, or one of them is no regular expression.
    pub fn of_file(bytes: &[u8]) -> Result<Self, String> {
        let file: Map<String, Value> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let mut patterns = Self::default();
        for part in ["normalizer", "pre_tokenizer"] {
            patterns.collect(file.get(part).unwrap_or(&Value::Null))?;
        }
        Ok(patterns)
    }

    fn collect(&mut self, part: &Value) -> Result<(), String> {
        match part {
            Value::Array(parts) => parts.iter().try_for_each(|part| self.collect(part)),
            Value::Object(fields) => {
                if let Some(Value::String(pattern)) = fields.get("Regex")
                    && regex::Regex::new(pattern).is_err()
                {
                    self.0.push(
                        Regex::new(pattern).map_err(|error| format!("its pattern {pattern:?}: {error}"))?,
                    );
                }
                fields.values().try_for_each(|part| self.collect(part))
            }
            _ => Ok(()),
        }
    }

    /// Whether none needs more than its budget for a text.
    ///
    /// # Errors
    /// Names the pattern that does, and the text.
    pub fn afford(&self, text: &str) -> Result<(), String> {
        self.afford_within(text, MOST_TIME)
    }

    fn afford_within(&self, text: &str, most: Duration) -> Result<(), String> {
        let begun = Instant::now();
        for pattern in &self.0 {
            for found in pattern.find_iter(text) {
                let fault = match found {
                    Err(_) => "steps back more than a million times".to_owned(),
                    Ok(_) if begun.elapsed() > most => format!("takes more than {} s", most.as_secs()),
                    Ok(_) => continue,
                };
                let beginning: String = text.chars().take(30).collect();
                return Err(format!(
                    "its pattern {:?} {fault} in the text that begins with {beginning:?}",
                    pattern.as_str()
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pattern_that_steps_back_without_end_is_named_and_others_are_not() {
        let split = |pattern: &str| {
            let part = json!({"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false}]});
            TokenizerPatterns::of_file(json!({ "pre_tokenizer": part }).to_string().as_bytes())
        };
        let text = format!("{}!", "a".repeat(40));
        let error = split(r"(?:a+)+$(?!b)").unwrap().afford(&text).unwrap_err();
        assert_eq!(
            error,
            r#"its pattern "(?:a+)+$(?!b)" steps back more than a million times in the text that begins with "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa""#
        );
        // what has no lookaround cannot step back, and GPT-2's pattern, which has it, does not
        assert!(split("(?:a+)+$").unwrap().0.is_empty());
        let of_gpt2 = split(r"'s|'t| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+").unwrap();
        assert_eq!((of_gpt2.0.len(), of_gpt2.afford(&text.repeat(1000))), (1, Ok(())));
        let error = of_gpt2.afford_within("a b", Duration::ZERO).unwrap_err();
        assert!(error.ends_with(r#"takes more than 0 s in the text that begins with "a b""#), "{error}");
        assert!(split("(?!").err().unwrap().starts_with(r#"its pattern "(?!": "#));
    }
}
