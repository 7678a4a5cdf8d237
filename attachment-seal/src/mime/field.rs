//! Content-Type, Content-Transfer-Encoding and Content-Disposition (RFC 2045 §5 and §6, RFC 2183), read by their grammar.
//! What is outside it is a doubt, and still read as most programs would.

use crate::doubt::{Doubt, Doubts};
use crate::message::header::{is_blank, is_one_edit_away, is_token, looks_like_mime_name, trim_blanks};

/// One `attribute=value` of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The attribute in lower case, `*` and section numbers included.
    pub attribute: String,
    /// The value as written, without its quotes and quoting backslashes.
    pub value: Vec<u8>,
    /// Whether it stood in quotes.
    pub quoted: bool,
    /// Whether a backslash in the quotes stood before something that needs none, where many readers keep it.
    pub oddly_escaped: bool,
}

/// A field value of the form `word *(; attribute=value)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Structured {
    /// What stands before the first semicolon, in lower case.
    pub word: String,
    /// The parameters in order.
    pub parameters: Vec<Parameter>,
    /// Doubts met; of the grammar's own, the code that the caller named.
    pub doubts: Doubts,
}

impl Structured {
    /// The first value given for an attribute.
    pub fn parameter(&self, attribute: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.attribute == attribute)
    }
}

/// Parameters of one field that are read; more is outside any honest use.
const MAX_PARAMETERS: usize = 256;

/// Longest `type/subtype` (RFC 6838 §4.2: 127 octets each).
const MAX_TYPE: usize = 255;

/// Reads a Content-Type. The word is `type/subtype`; a value that has none keeps an empty word.
pub fn content_type(value: &[u8]) -> Structured {
    let mut parsed = structured(value, Doubt::BadType);
    let halves = parsed.word.split_once('/').filter(|_| parsed.word.len() <= MAX_TYPE);
    if !halves.is_some_and(|(top, sub)| is_word(top) && is_word(sub)) {
        parsed.doubts.insert(Doubt::BadType);
        parsed.word.clear();
    } else if halves.is_some_and(|(top, _)| is_near_multipart(top)) {
        parsed.doubts.insert(Doubt::BadType);
    }
    check_unique(&mut parsed, &["boundary", "charset", "name"]);
    let encoded = |p: &Parameter| {
        p.attribute.starts_with("boundary*") || p.attribute == "boundary" && is_encoded_word(&p.value)
    };
    if parsed.parameters.iter().any(encoded) {
        parsed.doubts.insert(Doubt::EncodedStructure);
    }
    parsed
}

/// Whether a boundary is one that readers could take differently (RFC 2046 §5.1.1). A colon is allowed there, as Alpine
/// and others write it, unless it makes delimiter lines that read as header fields. `raw` is the field's value with its
/// folds.
pub fn is_bad_boundary(boundary: &Parameter, raw: &[u8]) -> bool {
    let value = boundary.value.as_slice();
    let allowed = |&octet: &u8| octet.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&octet);
    value.is_empty()
        || value.len() > 70
        || value.ends_with(b" ")
        || boundary.oddly_escaped
        || !value.iter().all(allowed)
        || reads_as_field_name(value)
        || !boundary.quoted && !value.iter().all(|&octet| is_token(octet))
        || is_folded_inside_quotes(raw)
}

/// Whether `--` and the boundary begin as a header field does: nothing but letters, digits and hyphens before a colon,
/// or what could be taken for a MIME field's name.
fn reads_as_field_name(boundary: &[u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', boundary) else { return false };
    let hyphens = boundary.iter().take_while(|&&octet| octet == b'-').count();
    let name = &boundary[hyphens.min(colon)..colon];
    name.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-') || looks_like_mime_name(name)
}

fn is_folded_inside_quotes(raw: &[u8]) -> bool {
    let raw = raw.to_ascii_lowercase();
    memchr::memmem::find_iter(&raw, b"boundary=\"").any(|at| {
        let quoted = raw[at + 10..].split(|&octet| octet == b'"').next().unwrap_or_default();
        quoted.contains(&b'\n')
    })
}

/// Reads a Content-Disposition. The word is `inline`, `attachment` or another token.
pub fn content_disposition(value: &[u8]) -> Structured {
    let mut parsed = structured(value, Doubt::BadDisposition);
    if !is_word(&parsed.word) {
        parsed.doubts.insert(Doubt::BadDisposition);
    }
    check_unique(&mut parsed, &["filename"]);
    parsed
}

/// Reads a Content-Transfer-Encoding: the lower-case word, and the doubts about it.
pub fn transfer_encoding(value: &[u8]) -> (String, Doubts) {
    let (value, mut doubts) = strip_comments(value, false);
    let word = String::from_utf8_lossy(trim_blanks(&value)).to_ascii_lowercase();
    doubts.insert_if(word.contains("=?"), Doubt::EncodedStructure);
    (word, doubts)
}

/// The doubts about a MIME-Version (RFC 2045 §4): one comment is allowed behind it, another version is not.
pub fn mime_version(value: &[u8]) -> Doubts {
    let (value, mut doubts) = strip_comments(value, false);
    doubts.insert_if(trim_blanks(&value) != b"1.0", Doubt::MimeVersion);
    doubts
}

fn check_unique(parsed: &mut Structured, attributes: &[&str]) {
    let twice =
        |attribute: &&str| parsed.parameters.iter().filter(|p| p.attribute == **attribute).count() > 1;
    if attributes.iter().any(twice) {
        parsed.doubts.insert(Doubt::DuplicateParameter);
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token)
}

/// Whether a top-level type is not `multipart`, but some reader might take it for that.
fn is_near_multipart(top: &str) -> bool {
    let letters: String = top.chars().filter(char::is_ascii_alphabetic).collect();
    let swapped = letters.len() == 9 && {
        let mut sorted = letters.clone().into_bytes();
        sorted.sort_unstable();
        sorted == b"ailmprttu"
    };
    top != "multipart"
        && (letters == "multipart" || swapped || is_one_edit_away(letters.as_bytes(), b"multipart"))
}

/// Whether a value is a whole encoded-word (RFC 2047 §2).
fn is_encoded_word(value: &[u8]) -> bool {
    let Some(inner) = value.strip_prefix(b"=?").and_then(|rest| rest.strip_suffix(b"?=")) else {
        return false;
    };
    let mut parts = inner.splitn(3, |&octet| octet == b'?');
    let (charset, encoding, text) = (parts.next(), parts.next(), parts.next());
    charset.is_some_and(|charset| !charset.is_empty())
        && matches!(encoding, Some(b"B" | b"b" | b"Q" | b"q"))
        && text.is_some()
}

/// Reads `word *(; attribute=value)`; what breaks the grammar raises `grammar`.
fn structured(value: &[u8], grammar: Doubt) -> Structured {
    let (text, doubts) = strip_comments(value, true);
    let mut parsed = Structured { doubts, ..Structured::default() };
    let mut pieces = Pieces { rest: &text };
    let word = trim_blanks(pieces.next_piece());
    parsed.word = String::from_utf8_lossy(word).to_ascii_lowercase();
    parsed.doubts.insert_if(parsed.word.contains("=?"), Doubt::EncodedStructure);
    while !pieces.rest.is_empty() {
        let left = pieces.rest.len();
        let piece = pieces.next_piece();
        let ends_in_semicolon = piece.len() < left;
        let piece = trim_blanks(piece);
        if piece.is_empty() {
            // A final semicolon is a habit of many honest programs; two are not.
            parsed.doubts.insert_if(ends_in_semicolon, grammar);
            continue;
        }
        if parsed.parameters.len() == MAX_PARAMETERS {
            parsed.doubts.insert(grammar);
            break;
        }
        let (parameter, form) = parameter(piece);
        // A bare boundary's value has a doubt of its own, raised where it is used.
        let bare_boundary = parameter.attribute == "boundary" && !parameter.quoted;
        let good = form == Form::Good || form == Form::BadValue && bare_boundary;
        parsed.doubts.insert_if(!good, grammar);
        parsed.parameters.push(parameter);
    }
    parsed
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

/// One parameter, and its form.
fn parameter(piece: &[u8]) -> (Parameter, Form) {
    let Some(equals) = memchr::memchr(b'=', piece) else {
        let attribute = String::from_utf8_lossy(piece).to_ascii_lowercase();
        let bare = Parameter { attribute, value: Vec::new(), quoted: false, oddly_escaped: false };
        return (bare, Form::BadAttribute);
    };
    let (attribute, value) = (&piece[..equals], &piece[equals + 1..]);
    let blank_before = attribute.last().copied().is_some_and(is_blank);
    let blank_behind = value.first().copied().is_some_and(is_blank);
    let attribute = String::from_utf8_lossy(trim_blanks(attribute)).to_ascii_lowercase();
    let value = trim_blanks(value);
    // Exchange folds its fields between `name=` and the quotes.
    let folded_name = matches!(attribute.as_str(), "name" | "filename") && value.starts_with(b"\"");
    let well_named = is_word(&attribute) && !blank_before && (!blank_behind || folded_name);
    match value.strip_prefix(b"\"") {
        Some(inner) => {
            let Unquoted { value, closed, oddly_escaped } = unquote(inner);
            (Parameter { attribute, value, quoted: true, oddly_escaped }, Form::of(well_named, closed))
        }
        None => {
            // `type=text/html` and `protocol=…/…` are written without quotes by several mail libraries.
            let slash =
                !matches!(attribute.split('*').next(), Some("boundary" | "charset" | "name" | "filename"));
            let is_plain =
                !value.is_empty() && value.iter().all(|&octet| is_token(octet) || slash && octet == b'/');
            let value = value.to_vec();
            let form = Form::of(well_named, is_plain);
            (Parameter { attribute, value, quoted: false, oddly_escaped: false }, form)
        }
    }
}

/// Whether a parameter is of the grammar's form.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Good,
    /// No attribute, a bad one, or white space around the `=`.
    BadAttribute,
    /// A value that is neither a token nor a whole quoted string.
    BadValue,
}

impl Form {
    fn of(well_named: bool, well_valued: bool) -> Self {
        match (well_named, well_valued) {
            (true, true) => Self::Good,
            (true, false) => Self::BadValue,
            (false, _) => Self::BadAttribute,
        }
    }
}

/// The content of a quoted string.
#[derive(Default)]
struct Unquoted {
    value: Vec<u8>,
    /// Whether the string's end is the value's end.
    closed: bool,
    oddly_escaped: bool,
}

/// Reads a quoted string whose opening quote is gone.
fn unquote(inner: &[u8]) -> Unquoted {
    let mut found = Unquoted::default();
    let mut at = 0;
    while at < inner.len() {
        match inner[at] {
            b'\\' if at + 1 < inner.len() => {
                at += 1;
                found.oddly_escaped |= !matches!(inner[at], b'"' | b'\\');
                found.value.push(inner[at]);
            }
            b'"' => {
                found.closed = at + 1 == inner.len();
                break;
            }
            octet => found.value.push(octet),
        }
        at += 1;
    }
    found
}

/// The value without comments. One comment is no doubt where it is the last thing, balanced, and has white space
/// before it. With `quotes`, parentheses in quoted strings are text.
fn strip_comments(value: &[u8], quotes: bool) -> (Vec<u8>, Doubts) {
    let mut kept = Vec::with_capacity(value.len());
    let (mut depth, mut quoted, mut at) = (0_usize, false, 0);
    let mut doubtful = false;
    let mut comments = 0;
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
            b'(' if !quoted => {
                if depth == 0 {
                    comments += 1;
                    doubtful |= comments > 1 || !kept.last().copied().is_some_and(is_blank);
                }
                depth += 1;
            }
            b')' if depth > 0 => {
                depth -= 1;
                at += 1;
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            doubtful |= comments > 0 && !is_blank(octet);
            kept.push(octet);
        }
        at += 1;
    }
    let mut doubts = Doubts::NONE;
    doubts.insert_if(doubtful || depth > 0, Doubt::CommentInStructure);
    (kept, doubts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(doubts: Doubts) -> Vec<&'static str> {
        doubts.iter().map(Doubt::code).collect()
    }

    #[test]
    fn reads_types_as_programs_write_them() {
        for value in [
            "text/plain",
            "Text/Plain; charset=utf-8",
            "text/plain; charset=utf-8;",
            "text/plain; charset=utf-8; ",
            "multipart/mixed; boundary=\"=_x (y); z\"",
            "application/vnd.ms-excel.sheet.macroEnabled.12; name=\"a;b.xlsm\"",
            "multipart/signed; micalg=pgp-sha256; protocol=\"application/pgp-signature\"; boundary=\"b\"",
            "text/plain; charset=us-ascii (plain text)",
            "multipart/related; type=text/html; boundary=b",
            "application/pdf; name*0*=utf-8''a; name*1=b",
            "application/pdf; name=\t\"a\"",
        ] {
            assert_eq!(codes(content_type(value.as_bytes()).doubts), [""; 0], "{value}");
        }
        let parsed = content_type(b"Text/HTML; Charset=\"a\\\"b\"; name=x");
        assert_eq!(parsed.word, "text/html");
        assert_eq!(parsed.parameter("charset").unwrap().value, b"a\"b");
    }

    #[test]
    fn names_what_is_wrong_with_a_type() {
        for (value, code) in [
            ("", "bad-type"),
            ("text", "bad-type"),
            ("text/plain/x", "bad-type"),
            ("text/plain, text/html", "bad-type"),
            ("text /plain", "bad-type"),
            ("text/plain charset=utf-8", "bad-type"),
            ("text/plain; charset", "bad-type"),
            ("text/plain; charset=", "bad-type"),
            ("text/plain; charset = utf-8", "bad-type"),
            ("text/plain; charset= \"utf-8\"", "bad-type"),
            ("text/plain; name= a", "bad-type"),
            ("text/plain; name =\"a\"", "bad-type"),
            ("multipart/mixed; boundary= \"b\"", "bad-type"),
            ("text/plain; name=a b", "bad-type"),
            ("text/plain; name=a/b", "bad-type"),
            ("text/plain; name=\"a", "bad-type"),
            ("text/plain; name=\"a\"b", "bad-type"),
            ("text/plain;; charset=utf-8", "bad-type"),
            ("text/plain; charset=utf-8;;", "bad-type"),
            ("multipart/mixed; boundary =b", "bad-type"),
            ("multipart/mixed; boundary= b", "bad-type"),
            ("multi-part/mixed; boundary=b", "bad-type"),
            ("mutlipart/mixed; boundary=b", "bad-type"),
            ("multiparts/mixed; boundary=b", "bad-type"),
            ("multipart/mixed; boundary*=us-ascii''b", "encoded-structure"),
            ("multipart/mixed; boundary*0=a", "encoded-structure"),
            ("multipart/mixed; boundary=\"=?utf-8?Q?b?=\"", "encoded-structure"),
            ("multipart/mixed; boundary=a; boundary=b", "duplicate-parameter"),
            ("text/plain; charset=a; CHARSET=a", "duplicate-parameter"),
            ("text/plain (c); charset=utf-8", "comment-in-structure"),
            ("text/(c)plain", "comment-in-structure"),
            ("text/plain(c)", "comment-in-structure"),
            ("text/plain (c", "comment-in-structure"),
            ("text/plain (c) (d)", "comment-in-structure"),
        ] {
            assert!(codes(content_type(value.as_bytes()).doubts).contains(&code), "{value}");
        }
    }

    #[test]
    fn a_boundary_that_looks_like_an_encoded_word_is_none() {
        // Several clients write boundaries that begin with `=?` or `=_?`.
        for value in ["multipart/mixed; boundary=\"=?_x?=\"", "multipart/mixed; boundary=\"=_?Q?b\""] {
            assert_eq!(codes(content_type(value.as_bytes()).doubts), [""; 0], "{value}");
        }
    }

    #[test]
    fn knows_bad_boundaries() {
        let is_bad = |value: &str| {
            let unfolded = value.replace("\r\n", "");
            let parsed = content_type(format!("multipart/mixed; {unfolded}").as_bytes());
            is_bad_boundary(parsed.parameter("boundary").unwrap(), value.as_bytes())
        };
        for good in [
            "boundary=b1",
            "boundary=\"----=_Part_0\"",
            "boundary=\"a b'()+_,-./=?c\"",
            "boundary=\"8323329-1046374851-1795392000=:4711\"",
            "boundary=\"Multipart_Mon_Nov_23_12:00:00_2026-1\"",
            "\r\n boundary=\"b\"",
        ] {
            assert!(!is_bad(good), "{good}");
        }
        let long = format!("boundary={}", "b".repeat(71));
        for bad in [
            "boundary=\"\"",
            "boundary=----=_Part_0",
            "boundary=\"b \"",
            "boundary=\"a:b\"",
            "boundary=\":b\"",
            "boundary=\"--Content-Type: text/html\"",
            "boundary=\"Content_Type:b\"",
            "boundary=\"a\\b\"",
            "boundary=\"a*b\"",
            "boundary=\"a\r\n b\"",
            long.as_str(),
        ] {
            assert!(is_bad(bad), "{bad}");
        }
    }

    #[test]
    fn reads_encodings_and_versions() {
        assert_eq!(transfer_encoding(b" Base64 "), ("base64".into(), Doubts::NONE));
        assert_eq!(transfer_encoding(b"base64 (x)"), ("base64".into(), Doubts::NONE));
        assert_eq!(codes(transfer_encoding(b"(x) base64").1), ["comment-in-structure"]);
        assert_eq!(codes(mime_version(b"1.0 (Apple Message framework v1283)")), [""; 0]);
        assert_eq!(codes(mime_version(b"1.1")), ["mime-version"]);
        assert_eq!(codes(mime_version(b"1.(x)0")), ["comment-in-structure"]);
    }

    #[test]
    fn reads_dispositions() {
        assert_eq!(codes(content_disposition(b"attachment; filename=\"a b.pdf\"; size=3").doubts), [""; 0]);
        for value in ["", "attachment filename=x", "attachment; filename=a b", "in line"] {
            assert_eq!(codes(content_disposition(value.as_bytes()).doubts), ["bad-disposition"], "{value}");
        }
        assert_eq!(
            codes(content_disposition(b"inline; filename=a; filename=b").doubts),
            ["duplicate-parameter"]
        );
    }
}
