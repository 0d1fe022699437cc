//! Measuring and wrapping text in the bundled font.

use std::sync::Once;

use plotters::style::{FontDesc, FontFamily, FontStyle, RGBAColor, TextStyle, register_font};

const FAMILY: FontFamily<'static> = FontFamily::Name("Inter");
static REGULAR: &[u8] = include_bytes!("../assets/Inter-Regular-subset.otf");
static SEMIBOLD: &[u8] = include_bytes!("../assets/Inter-SemiBold-subset.otf");

/// Height from the lowest to the highest point of Inter, in units of the font size.
const HEIGHT: f64 = (2728.0 + 680.0) / 2816.0;

/// Which point of a line of text is given.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Left,
    Centre,
    Right,
}

/// A font at a size in pixels.
#[derive(Clone, Copy)]
pub(crate) struct Font {
    pub size: f64,
    pub bold: bool,
}

impl Font {
    pub(crate) const fn regular(size: f64) -> Self {
        Self { size, bold: false }
    }

    pub(crate) const fn bold(size: f64) -> Self {
        Self { size, bold: true }
    }

    /// From the lowest to the highest point, in pixels.
    pub(crate) fn height(self) -> f64 {
        HEIGHT * self.size
    }

    /// From one baseline to the next, in pixels.
    pub(crate) fn line_height(self) -> f64 {
        (1.3 * self.size).round()
    }

    /// From the top of a line of text, with its leading, to its baseline.
    pub(crate) fn ascent(self) -> f64 {
        f64::midpoint(self.line_height(), 0.72 * self.size)
    }

    fn description(self, magnification: f64) -> FontDesc<'static> {
        static REGISTERED: Once = Once::new();
        REGISTERED.call_once(|| {
            // a test draws with both; the files are part of the program
            let _ = register_font("Inter", FontStyle::Normal, REGULAR);
            let _ = register_font("Inter", FontStyle::Bold, SEMIBOLD);
        });
        let style = if self.bold { FontStyle::Bold } else { FontStyle::Normal };
        FontDesc::new(FAMILY, self.height() * magnification, style)
    }

    pub(crate) fn style(self, magnification: f64, colour: &RGBAColor) -> TextStyle<'_> {
        TextStyle::from(self.description(magnification)).color(colour)
    }

    /// The width of a line of text in pixels.
    pub(crate) fn width(self, text: &str) -> f64 {
        // measured large, because the measure is a whole number
        self.description(8.0).box_size(text).map_or(0.0, |(width, _)| f64::from(width) / 8.0)
    }

    /// Breaks text into lines no wider than `width`: at spaces, or inside a word that is wider than a line,
    /// there after a hyphen, underscore or slash if it has one. Line breaks in the text stay; empty text has no lines.
    pub(crate) fn wrap(self, text: &str, width: f64) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for paragraph in text.lines() {
            let mut line = String::new();
            for word in paragraph.split_whitespace() {
                let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
                if self.width(&longer) <= width {
                    line = longer;
                    continue;
                }
                if !line.is_empty() {
                    lines.push(std::mem::take(&mut line));
                }
                for piece in pieces(word) {
                    if self.width(&format!("{line}{piece}")) <= width {
                        line.push_str(piece);
                        continue;
                    }
                    if !line.is_empty() {
                        lines.push(std::mem::take(&mut line));
                    }
                    for letter in piece.chars() {
                        line.push(letter);
                        if line.chars().count() > 1 && self.width(&line) > width {
                            line.pop();
                            lines.push(std::mem::replace(&mut line, letter.to_string()));
                        }
                    }
                }
            }
            lines.push(line);
        }
        lines
    }
}

/// Cuts a word after its hyphens, underscores and slashes, except in numbers such as 1e-4 and 1/2.
fn pieces(word: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for (at, sign) in word.match_indices(['-', '_', '/']) {
        let end = at + sign.len();
        if word[end..].starts_with(char::is_alphabetic) {
            pieces.push(&word[start..end]);
            start = end;
        }
    }
    pieces.push(&word[start..]);
    pieces
}

/// Wraps each text to its own width, all in the first of the `sizes` in which no piece of a word is wider than
/// its line; in the last size where there is none.
pub(crate) fn wrap_all(texts: &[(&str, f64)], sizes: &[f64]) -> (Font, Vec<Vec<String>>) {
    let fits = |font: &Font| {
        texts.iter().all(|(text, width)| {
            text.split_whitespace().flat_map(pieces).all(|piece| font.width(piece) <= *width)
        })
    };
    let fonts = || sizes.iter().copied().map(Font::regular);
    let font = fonts().find(fits).or_else(|| fonts().next_back()).unwrap_or(Font::regular(20.0));
    (font, texts.iter().map(|(text, width)| font.wrap(text, *width)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Image;
    use crate::canvas::{Canvas, DARK};

    fn drawn(text: &str, font: Font) -> Image {
        let mut canvas = Canvas::new(60.0, 60.0).unwrap();
        canvas.text(text, (15.0, 40.0), font, Anchor::Left, DARK);
        canvas.finish()
    }

    #[test]
    fn the_font_has_the_signs_of_the_papers() {
        for font in [Font::regular(30.0), Font::bold(30.0)] {
            let missing = drawn("\u{e000}", font);
            let nothing = drawn(" ", font);
            for sign in "Γ±–×→β≈−γλπ≤≥…⁻⁵²é%".chars() {
                let image = drawn(&sign.to_string(), font);
                assert!(image != missing && image != nothing, "no glyph for {sign}");
            }
        }
    }

    #[test]
    fn wrapped_lines_fit_and_lose_no_letter() {
        let font = Font::regular(20.0);
        let text = "some words and_a_word_that_is_far_too_long_for_one_line then\nmore";
        let lines = font.wrap(text, 120.0);
        assert!(lines.len() > 4);
        assert!(lines.iter().all(|line| font.width(line) <= 120.0), "{lines:?}");
        let letters = |text: &str| text.chars().filter(|letter| !letter.is_whitespace()).collect::<String>();
        assert_eq!(letters(&lines.concat()), letters(text));
        assert!(font.wrap("", 120.0).is_empty());
    }

    #[test]
    fn words_break_at_their_joints() {
        assert_eq!(Font::regular(20.0).wrap("one_two-three", 60.0), ["one_", "two-", "three"]);
        assert_eq!(pieces("steps/update_rate-1e-4"), ["steps/", "update_", "rate-1e-4"]);
    }

    #[test]
    fn texts_side_by_side_share_the_largest_size_that_breaks_no_word() {
        let font = |text, width| wrap_all(&[("a", 100.0), (text, width)], &[20.0, 15.0, 10.0]).0;
        assert!(font("wide", 100.0).size > 19.0);
        let enough = Font::regular(15.0).width("several") + 1.0;
        assert!((font("several wide", enough).size - 15.0).abs() < 1e-9);
        assert!((font("internationalisation", 30.0).size - 10.0).abs() < 1e-9);
        let (font, lines) = wrap_all(&[("internationalisation", 30.0)], &[20.0, 10.0]);
        assert_eq!(lines[0].concat(), "internationalisation");
        assert!(lines[0].iter().all(|line| font.width(line) <= 30.0));
    }
}
