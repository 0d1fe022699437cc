//! A page as pieces: text, and blocks that are made of results.

/// How a block begins, before its name.
const BEGIN: &str = "<!-- results: ";
/// How that comment ends.
const CLOSE: &str = " -->";
/// How a block ends.
const END: &str = "<!-- end -->";

/// A piece of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// What somebody wrote.
    Text(&'a str),
    /// What is made of results.
    Block {
        /// Its name.
        name: &'a str,
        /// What stands between the comments, line ends included.
        content: &'a str,
    },
}

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<'a> {
    /// Its pieces in their order.
    pub pieces: Vec<Piece<'a>>,
}

impl<'a> Page<'a> {
    /// Reads the text of a page. Comments within a fence of code are text.
    ///
    /// # Errors
    /// What is wrong, with the number of the line, where a block has no end, or begins within another.
    pub fn parse(text: &'a str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let (mut begun, mut open, mut fenced, mut at) = (0, None, false, 0);
        for (number, line) in text.split_inclusive('\n').enumerate() {
            let (start, number) = (at, number + 1);
            at += line.len();
            let line = line.trim();
            fenced ^= line.starts_with("```");
            if fenced {
                continue;
            }
            if let Some(rest) = line.strip_prefix(BEGIN) {
                let name = rest.strip_suffix(CLOSE).filter(|name| is_name(name));
                let name =
                    name.ok_or_else(|| format!("line {number}: a block begins `{BEGIN}NAME{CLOSE}`"))?;
                if let Some((other, _)) = open {
                    return Err(format!(
                        "line {number}: the block {other} has no `{END}` before {name} begins"
                    ));
                }
                pieces.push(Piece::Text(&text[begun..at]));
                (open, begun) = (Some((name, number)), at);
            } else if line == END {
                let Some((name, _)) = open.take() else {
                    return Err(format!("line {number}: `{END}` where no block has begun"));
                };
                pieces.push(Piece::Block { name, content: &text[begun..start] });
                begun = start;
            } else if line.contains(BEGIN) || line.contains(END) {
                return Err(format!("line {number}: the comments of a block stand on lines of their own"));
            }
        }
        if let Some((name, number)) = open {
            return Err(format!("line {number}: the block {name} has no `{END}`"));
        }
        pieces.push(Piece::Text(&text[begun..]));
        Ok(Self { pieces })
    }

    /// The names of its blocks.
    pub fn blocks(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Block { name, content } => Some((*name, *content)),
        })
    }

    /// The page with the content that `of` has for the name of each block.
    pub fn with(&self, of: impl Fn(&str) -> String) -> String {
        let text = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => (*text).to_owned(),
            Piece::Block { name, .. } => of(name),
        });
        text.collect()
    }
}

/// A name is also that of a file.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "one\n<!-- results: a_1 -->\n\n| x |\n\n<!-- end -->\ntwo\n<!-- results: b -->\n<!-- end -->\n";

    #[test]
    fn a_page_is_the_sum_of_its_pieces() {
        let page = Page::parse(TEXT).unwrap();
        assert_eq!(page.blocks().collect::<Vec<_>>(), [("a_1", "\n| x |\n\n"), ("b", "")]);
        let contents: std::collections::BTreeMap<&str, &str> = page.blocks().collect();
        assert_eq!(page.with(|name| contents[name].to_owned()), TEXT);
        let other = page.with(|name| format!("{name}!\n"));
        let wanted =
            "one\n<!-- results: a_1 -->\na_1!\n<!-- end -->\ntwo\n<!-- results: b -->\nb!\n<!-- end -->\n";
        assert_eq!(other, wanted);
        assert_eq!(Page::parse("").unwrap().blocks().count(), 0);
    }

    #[test]
    fn comments_in_code_are_text() {
        let text = "```html\n<!-- results: a -->\n```\n";
        assert_eq!(Page::parse(text).unwrap().with(|_| unreachable!()), text);
    }

    #[test]
    fn what_is_no_block_is_refused_by_its_line() {
        for (text, wanted) in [
            ("\n<!-- results: a -->\n", "line 2: the block a has no `<!-- end -->`"),
            ("<!-- end -->\n", "line 1: `<!-- end -->` where no block has begun"),
            (
                "<!-- results: a -->\n<!-- results: b -->\n",
                "line 2: the block a has no `<!-- end -->` before b begins",
            ),
            ("<!-- results: A b -->\n", "line 1: a block begins `<!-- results: NAME -->`"),
            ("word <!-- results: a -->\n", "line 1: the comments of a block stand on lines of their own"),
        ] {
            assert_eq!(Page::parse(text), Err(wanted.to_owned()), "{text}");
        }
    }
}
