//! Content-Type, Content-Transfer-Encoding and Content-Disposition (RFC 2045 §5 and §6, RFC 2183), read as most programs
//! would, whatever is wrong with them. What other programs could read differently is asked in [`super::plain`].

use crate::message::header::{is_token, trim_blanks};

/// One `attribute=value` of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    /// The attribute in lower case, `*` and section numbers included.
    pub attribute: String,
    /// The value as written, without its quotes and quoting backslashes.
    pub value: Vec<u8>,
}

/// A field value of the form `word *(; attribute=value)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Structured {
    /// What stands before the first semicolon, in lower case.
    pub word: String,
    /// The parameters in order.
    pub parameters: Vec<Parameter>,
}

impl Structured {
    /// The first value given for an attribute.
    pub(super) fn parameter(&self, attribute: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.attribute == attribute)
    }
}

/// Parameters of one field that are read; more is outside any honest use.
const MAX_PARAMETERS: usize = 256;

/// Longest `type/subtype` (RFC 6838 §4.2: 127 octets each).
const MAX_TYPE: usize = 255;

/// Reads a Content-Type. The word is `type/subtype`; a value that has none keeps an empty word.
pub(super) fn content_type(value: &[u8]) -> Structured {
    let mut parsed = structured(value);
    let halves = parsed.word.split_once('/').filter(|_| parsed.word.len() <= MAX_TYPE);
    if !halves.is_some_and(|(top, sub)| is_word(top) && is_word(sub)) {
        parsed.word.clear();
    }
    parsed
}

/// Reads a Content-Disposition. The word is `inline`, `attachment` or another token.
pub(super) fn content_disposition(value: &[u8]) -> Structured {
    structured(value)
}

/// Reads a Content-Transfer-Encoding: the lower-case word.
pub(super) fn transfer_encoding(value: &[u8]) -> String {
    String::from_utf8_lossy(trim_blanks(&without_comments(value, false))).to_ascii_lowercase()
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token)
}

/// Reads `word *(; attribute=value)`.
fn structured(value: &[u8]) -> Structured {
    let text = without_comments(value, true);
    let mut pieces = Pieces { rest: &text };
    let word = String::from_utf8_lossy(trim_blanks(pieces.next_piece())).to_ascii_lowercase();
    let mut parameters = Vec::new();
    while !pieces.rest.is_empty() && parameters.len() < MAX_PARAMETERS {
        let piece = trim_blanks(pieces.next_piece());
        if !piece.is_empty() {
            parameters.push(parameter(piece));
        }
    }
    Structured { word, parameters }
}

/// Cuts a value at semicolons outside quoted strings.
struct Pieces<'a> {
    rest: &'a [u8],
}

impl<'a> Pieces<'a> {
    fn next_piece(&mut self) -> &'a [u8] {
        let mut at = 0;
        let mut quoted = false;
        while at < self.rest.len() {
            match self.rest[at] {
                b'\\' if quoted => at += 1,
                b'"' => quoted = !quoted,
                b';' if !quoted => break,
                _ => {}
            }
            at += 1;
        }
        let end = at.min(self.rest.len());
        let piece = &self.rest[..end];
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        piece
    }
}

fn parameter(piece: &[u8]) -> Parameter {
    let (attribute, value) = match memchr::memchr(b'=', piece) {
        Some(equals) => (trim_blanks(&piece[..equals]), trim_blanks(&piece[equals + 1..])),
        None => (piece, &b""[..]),
    };
    let attribute = String::from_utf8_lossy(attribute).to_ascii_lowercase();
    let value = value.strip_prefix(b"\"").map_or_else(|| value.to_vec(), unquote);
    Parameter { attribute, value }
}

/// The content of a quoted string whose opening quote is gone.
fn unquote(inner: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(inner.len());
    let mut octets = inner.iter().copied();
    while let Some(octet) = octets.next() {
        match octet {
            b'\\' => value.push(octets.next().unwrap_or(b'\\')),
            b'"' => break,
            octet => value.push(octet),
        }
    }
    value
}

/// The value without comments. With `quotes`, parentheses in quoted strings are text.
fn without_comments(value: &[u8], quotes: bool) -> Vec<u8> {
    let mut kept = Vec::with_capacity(value.len());
    let (mut depth, mut quoted, mut at) = (0_usize, false, 0);
    while at < value.len() {
        let octet = value[at];
        match octet {
            b'\\' if quoted || depth > 0 => {
                let pair = &value[at..value.len().min(at + 2)];
                kept.extend_from_slice(if quoted { pair } else { &[] });
                at += pair.len();
                continue;
            }
            b'"' if quotes && depth == 0 => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if depth > 0 => {
                depth -= 1;
                at += 1;
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            kept.push(octet);
        }
        at += 1;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_types_whatever_is_wrong_with_them() {
        for (value, word, attribute, expected) in [
            ("Text/HTML; Charset=\"a\\\"b\"; name=x", "text/html", "charset", "a\"b"),
            ("multipart/mixed; boundary=\"=_x (y); z\"", "multipart/mixed", "boundary", "=_x (y); z"),
            ("text/plain (a; name=x); name = y", "text/plain", "name", "y"),
            ("text/plain;;name=x y;", "text/plain", "name", "x y"),
            ("text", "", "name", ""),
            ("text/plain, text/html", "", "name", ""),
        ] {
            let parsed = content_type(value.as_bytes());
            let found = parsed.parameter(attribute).map(|p| p.value.as_slice()).unwrap_or_default();
            assert_eq!((parsed.word.as_str(), found), (word, expected.as_bytes()), "{value}");
        }
        assert_eq!(transfer_encoding(b" Base64 (comment)"), "base64");
    }
}
