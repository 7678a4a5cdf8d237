//! Text that strangers wrote, on its way into a page: the only way. What is invisible, turns the direction of text or ends lines is
//! written as its number and marked, what is too long is cut, and the whole is isolated from the text around it (UAX #9).

use attachment_seal::verdict::report::is_plain;
use maud::{Markup, Render, html};

/// Characters of a text in a list.
pub(super) const SHORT: usize = 120;
/// Characters of a text where there is room.
pub(super) const LONG: usize = 1_000;

/// A stranger's text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Foreign<'a> {
    text: &'a str,
    max: usize,
    keeps_folds: bool,
    /// How it is told in the reader's language that something was left out.
    more: &'a str,
}

impl<'a> Foreign<'a> {
    /// At most `max` characters of it. The number of what is left out is put into `more` for a `#`.
    pub(super) fn new(text: &'a str, max: usize, more: &'a str) -> Self {
        Self { text, max, keeps_folds: false, more }
    }

    /// Folded lines of a header field (RFC 5322 §2.2.3) stay lines.
    pub(super) fn with_folds(self) -> Self {
        Self { keeps_folds: true, ..self }
    }
}

/// A stretch of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'a> {
    Plain(&'a str),
    Odd(char),
    Fold,
}

fn pieces(text: &str, keeps_folds: bool) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if keeps_folds
            && let Some(next) = rest.strip_prefix("\r\n").filter(|next| next.starts_with([' ', '\t']))
        {
            pieces.push(Piece::Fold);
            rest = &next[1..];
            continue;
        }
        let end = rest.find(|c| !is_harmless(c)).unwrap_or(rest.len());
        let (piece, length) = match end {
            0 => (Piece::Odd(first), first.len_utf8()),
            _ => (Piece::Plain(&rest[..end]), end),
        };
        pieces.push(piece);
        rest = &rest[length..];
    }
    pieces
}

/// Whether a character may be shown as it is. Blanks that pass for nothing and letters without a shape may not.
fn is_harmless(c: char) -> bool {
    let is_blank = matches!(c,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2000}'..='\u{200a}' | '\u{202f}'
        | '\u{205f}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffd}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{10ffff}');
    let is_no_character = u32::from(c) & 0xfffe == 0xfffe || matches!(c, '\u{fdd0}'..='\u{fdef}');
    is_plain(c) && !is_blank && !is_no_character
}

/// How a character is called in whose place its number is shown.
fn kind(c: char) -> &'static str {
    match c {
        '\0' => "NUL",
        '\t' => "TAB",
        '\n' => "LINE FEED",
        '\r' => "CARRIAGE RETURN",
        '\u{1b}' => "ESCAPE",
        c if c.is_control() => "CONTROL CHARACTER",
        '\u{ad}' => "SOFT HYPHEN",
        '\u{200b}' => "ZERO WIDTH SPACE",
        '\u{200c}' => "ZERO WIDTH NON-JOINER",
        '\u{200d}' => "ZERO WIDTH JOINER",
        '\u{200e}' => "LEFT-TO-RIGHT MARK",
        '\u{200f}' => "RIGHT-TO-LEFT MARK",
        '\u{61c}' => "ARABIC LETTER MARK",
        '\u{2028}' => "LINE SEPARATOR",
        '\u{2029}' => "PARAGRAPH SEPARATOR",
        '\u{202a}' => "LEFT-TO-RIGHT EMBEDDING",
        '\u{202b}' => "RIGHT-TO-LEFT EMBEDDING",
        '\u{202c}' => "POP DIRECTIONAL FORMATTING",
        '\u{202d}' => "LEFT-TO-RIGHT OVERRIDE",
        '\u{202e}' => "RIGHT-TO-LEFT OVERRIDE",
        '\u{2066}' => "LEFT-TO-RIGHT ISOLATE",
        '\u{2067}' => "RIGHT-TO-LEFT ISOLATE",
        '\u{2068}' => "FIRST STRONG ISOLATE",
        '\u{2069}' => "POP DIRECTIONAL ISOLATE",
        '\u{feff}' => "BYTE ORDER MARK",
        '\u{fffd}' => "REPLACEMENT CHARACTER",
        '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}' => "PRIVATE USE",
        '\u{e0000}'..='\u{e007f}' => "TAG CHARACTER",
        _ => "INVISIBLE CHARACTER",
    }
}

/// At most `max` characters, and how many are left out.
fn cut(text: &str, max: usize) -> (&str, usize) {
    match text.char_indices().nth(max) {
        Some((at, _)) => (&text[..at], text[at..].chars().count()),
        None => (text, 0),
    }
}

impl Render for Foreign<'_> {
    fn render(&self) -> Markup {
        let (shown, left) = cut(self.text, self.max);
        html! {
            bdi.foreign {
                @for piece in pieces(shown, self.keeps_folds) {
                    @match piece {
                        Piece::Plain(text) => { (text) }
                        Piece::Odd(c) => { span.odd title=(kind(c)) { "U+" (format!("{:04X}", u32::from(c))) } }
                        Piece::Fold => { "\n " }
                    }
                }
            }
            @if left > 0 { " " span.cut { (self.more.replace('#', &left.to_string())) } }
        }
    }
}

/// A stranger's text for an attribute, such as what was typed into a field before.
pub(super) fn for_attribute(text: &str) -> String {
    let (shown, _) = cut(text, LONG);
    let shown = pieces(shown, false).into_iter().map(|piece| match piece {
        Piece::Plain(text) => text.to_owned(),
        Piece::Odd(c) => format!("U+{:04X}", u32::from(c)),
        Piece::Fold => String::new(),
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        Foreign::new(text, LONG, "+#").render().into_string()
    }

    #[test]
    fn marks_what_is_odd() {
        for (text, markup) in [
            ("Agenda.pdf", "<bdi class=\"foreign\">Agenda.pdf</bdi>"),
            ("<script>", "<bdi class=\"foreign\">&lt;script&gt;</bdi>"),
            (
                "a\u{202e}fdp.exe",
                "<bdi class=\"foreign\">a<span class=\"odd\" title=\"RIGHT-TO-LEFT OVERRIDE\">U+202E</span>fdp.exe</bdi>",
            ),
            (
                "\0\u{1b}[2J",
                "<bdi class=\"foreign\"><span class=\"odd\" title=\"NUL\">U+0000</span>\
                 <span class=\"odd\" title=\"ESCAPE\">U+001B</span>[2J</bdi>",
            ),
            ("日程 Жизнь ﺎﻠﻋ བོད་", "<bdi class=\"foreign\">日程 Жизнь ﺎﻠﻋ བོད་</bdi>"),
        ] {
            assert_eq!(shown(text), markup);
        }
    }

    #[test]
    fn says_how_much_is_left_out() {
        let long = "ü".repeat(1 << 20);
        let markup = shown(&long);
        assert!(markup.ends_with("</bdi> <span class=\"cut\">+1047576</span>"));
        assert_eq!(markup.matches('ü').count(), LONG);
    }

    #[test]
    fn only_folds_stay_lines() {
        let markup = Foreign::new("a\r\n\tb\r\nc\n d", LONG, "").with_folds().render().into_string();
        assert!(markup.contains("a\n b<span"), "{markup}");
        assert_eq!(markup.matches('\n').count(), 1, "{markup}");
        assert!(!shown("a\r\n b").contains('\n'));
    }

    /// What a browser makes of the markup, but for what we put around it.
    fn read_back(markup: &str) -> String {
        let mut text = String::new();
        let mut rest = markup;
        while let Some(at) = rest.find(['<', '&']) {
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(tag) = rest.strip_prefix('<') {
                let (tag, after) = tag.split_once('>').expect("a tag ends");
                let is_ours = ["bdi class=\"foreign\"", "/bdi", "span class=\"cut\"", "/span"].contains(&tag)
                    || tag.strip_prefix("span class=\"odd\" title=\"").is_some_and(|title| {
                        title.strip_suffix('"').is_some_and(|title| {
                            title.chars().all(|c| c.is_ascii_uppercase() || matches!(c, ' ' | '-'))
                        })
                    });
                assert!(is_ours, "{tag}");
                rest = after;
            } else {
                let entity =
                    ["&lt;", "&gt;", "&amp;", "&quot;"].iter().find(|entity| rest.starts_with(**entity));
                let entity = entity.unwrap_or_else(|| panic!("{rest}"));
                text.push_str(match *entity {
                    "&lt;" => "<",
                    "&gt;" => ">",
                    "&amp;" => "&",
                    _ => "\"",
                });
                rest = &rest[entity.len()..];
            }
        }
        text + rest
    }

    proptest! {
        #[test]
        fn nothing_odd_and_no_markup_gets_through(text in r#"(?s)(.|[<>&"'\x00-\x20\u{200b}-\u{200f}\u{202a}-\u{202e}\u{2066}-\u{2069}]){0,200}"#) {
            for folds in [false, true] {
                let foreign = Foreign::new(&text, LONG, "+#");
                let markup = if folds { foreign.with_folds() } else { foreign }.render().into_string();
                prop_assert!(markup.chars().all(|c| is_harmless(c) || folds && c == '\n'), "{markup:?}");
                let read = read_back(&markup);
                let plain: String = text.chars().filter(|c| is_harmless(*c)).collect();
                // All that is harmless is there, in its order.
                let mut rest = read.chars();
                prop_assert!(folds || plain.chars().all(|c| rest.any(|other| other == c)), "{read:?}");
            }
        }

        #[test]
        fn an_attribute_has_nothing_odd(text in "(?s).{0,200}") {
            prop_assert!(for_attribute(&text).chars().all(is_harmless));
            let value = for_attribute(&text);
            let markup = html! { input value=(value); }.into_string();
            let inside = markup.strip_prefix("<input value=\"").unwrap().strip_suffix("\">").unwrap();
            prop_assert!(!inside.contains(['"', '<', '>']), "{inside}");
        }

        #[test]
        fn it_stays_short(text in "(?s).{0,400}", max in 0_usize..100) {
            let markup = Foreign::new(&text, max, "#").render().into_string();
            // The longest character is `<span class="odd" title="POP DIRECTIONAL FORMATTING">U+10FFFF</span>`.
            prop_assert!(markup.len() <= max * 80 + 80);
        }
    }
}
