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
        /// What stands between the comments.
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
    /// Reads the text of a page. Comments within code are text.
    ///
    /// # Errors
    /// What is wrong, with the number of the line, where a block has no end, or begins within another.
    pub fn parse(text: &'a str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut begun = 0;
        let mut open: Option<(&str, usize)> = None;
        let line_of = |at: usize| 1 + text[..at].matches('\n').count();
        for (at, mark) in marks(text) {
            match (mark, open) {
                (Mark::Begin(name), None) => {
                    let after = at + BEGIN.len() + name.len() + CLOSE.len();
                    pieces.push(Piece::Text(&text[begun..after]));
                    (open, begun) = (Some((name, at)), after);
                }
                (Mark::Begin(name), Some((other, _))) => {
                    let line = line_of(at);
                    return Err(format!(
                        "line {line}: the block {other} has no `{END}` before {name} begins"
                    ));
                }
                (Mark::End, Some((name, _))) => {
                    pieces.push(Piece::Block { name, content: &text[begun..at] });
                    (open, begun) = (None, at);
                }
                (Mark::End, None) => {
                    return Err(format!("line {}: `{END}` where no block has begun", line_of(at)));
                }
            }
        }
        if let Some((name, at)) = open {
            return Err(format!("line {}: the block {name} has no `{END}`", line_of(at)));
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

/// A comment that bounds a block.
#[derive(Clone, Copy)]
enum Mark<'a> {
    Begin(&'a str),
    End,
}

/// The comments of a text, with their places, in their order. Those in a fence of code or right after a backtick are
/// none.
fn marks(text: &str) -> Vec<(usize, Mark<'_>)> {
    let (mut found, mut fenced, mut line_at) = (Vec::new(), false, 0);
    for line in text.split_inclusive('\n') {
        fenced ^= line.trim_start().starts_with("```");
        for (at, _) in line.match_indices("<!-- ").filter(|_| !fenced) {
            let rest = &line[at..];
            let begin = rest.strip_prefix(BEGIN).and_then(|rest| rest.split_once(CLOSE));
            let mark = match begin {
                Some((name, _)) if is_name(name) => Some(Mark::Begin(name)),
                _ => rest.starts_with(END).then_some(Mark::End),
            };
            found.extend(mark.filter(|_| !line[..at].ends_with('`')).map(|mark| (line_at + at, mark)));
        }
        line_at += line.len();
    }
    found
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
        assert_eq!(page.blocks().collect::<Vec<_>>(), [("a_1", "\n\n| x |\n\n"), ("b", "\n")]);
        let contents: std::collections::BTreeMap<&str, &str> = page.blocks().collect();
        assert_eq!(page.with(|name| contents[name].to_owned()), TEXT);
        let other = page.with(|name| format!("\n{name}!\n"));
        let wanted =
            "one\n<!-- results: a_1 -->\na_1!\n<!-- end -->\ntwo\n<!-- results: b -->\nb!\n<!-- end -->\n";
        assert_eq!(other, wanted);
        assert_eq!(Page::parse("").unwrap().blocks().count(), 0);
    }

    #[test]
    fn a_number_stands_in_the_middle_of_a_sentence() {
        let text = "It is <!-- results: a -->0.1<!-- end --> and <!-- results: b --><!-- end -->.";
        let page = Page::parse(text).unwrap();
        assert_eq!(page.blocks().collect::<Vec<_>>(), [("a", "0.1"), ("b", "")]);
        let wanted = "It is <!-- results: a -->7<!-- end --> and <!-- results: b -->7<!-- end -->.";
        assert_eq!(page.with(|_| "7".to_owned()), wanted);
    }

    #[test]
    fn comments_in_code_are_text() {
        for text in
            ["```html\n<!-- results: a -->\n```\n", "between `<!-- results: a -->` and `<!-- end -->`\n"]
        {
            assert_eq!(Page::parse(text).unwrap().with(|_| unreachable!()), text);
        }
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
        ] {
            assert_eq!(Page::parse(text), Err(wanted.to_owned()), "{text}");
        }
    }
}
