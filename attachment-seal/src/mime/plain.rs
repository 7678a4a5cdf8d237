//! The plain grammar (SPEC.md §12): what list managers, relays and gateways really write. What was touched on the way must
//! be of this form, so that every reader sees the same; whatever else stands there is a flaw.

use super::field::Parameter;
use super::marks::{field, groups, is_named, plain_encoding};
use super::name::{extended_text, plain_text};
use crate::message::header::{holds_blank_line, is_blank, is_token, names_a_file_elsewhere};

/// What is not plain: where, and what about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// The field's name, or what else it is about.
    pub place: String,
    /// What is wrong with it.
    pub what: &'static str,
}

fn flaw<T>(place: &str, what: &'static str) -> Result<T, Flaw> {
    Err(Flaw { place: place.to_owned(), what })
}

/// A part's fields, read plainly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plain {
    /// The lower-case type; empty without the field.
    pub media_type: String,
    /// The boundary.
    pub boundary: Option<String>,
    /// The file name.
    pub name: String,
    /// Whether its Content-Disposition is `attachment`.
    pub is_attachment: bool,
    /// Whether it has a Content-Description, which some readers show where there is no name.
    pub has_description: bool,
    /// Whether it has any field.
    pub has_fields: bool,
}

/// Fields that relays and stores put into parts, or that senders wrote there, and that no reader takes for a name, a place
/// or a kind.
const HARMLESS: [&str; 14] = [
    "content-class",
    "content-duration",
    "content-features",
    "content-id",
    "content-language",
    "content-length",
    "content-md5",
    "date",
    "lines",
    "x-attachment-id",
    "x-content-preservation",
    "x-mime-autoconverted",
    "x-ms-has-attach",
    "x-original-content-type",
];

/// Which header section it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// The message's: what is none of its `Content-*` fields is not asked about.
    Message,
    /// A part's.
    Part,
}

/// Reads a touched header section, and says what is not plain about it.
pub(crate) fn header_section(section: &[u8], kind: Section) -> Result<Plain, Flaw> {
    let mut plain = Plain::default();
    let mut seen: Vec<String> = Vec::new();
    let (mut in_type, mut in_disposition) = (None, None);
    // Some programs add a field of their own to the sender's. All that read either find the same.
    let versions_agree = kind == Section::Message
        && groups(section)
            .filter(|group| is_named(group, b"mime-version"))
            .all(|group| field(group).is_some_and(|(_, value)| value == b" 1.0"));
    for group in groups(section) {
        plain.has_fields = true;
        let Some((name, value)) = field(group) else {
            if kind == Section::Message {
                continue;
            }
            return flaw("a header line", "neither starts nor continues a field");
        };
        let lower = String::from_utf8_lossy(name).to_ascii_lowercase();
        let is_mime = lower.starts_with("content-") || lower.starts_with("mime-version");
        if kind == Section::Message && !is_mime {
            continue;
        }
        if seen.contains(&lower) && !(lower == "mime-version" && versions_agree) {
            return flaw(&lower, "is given twice");
        }
        ascii_with_folds(&lower, value)?;
        if holds_blank_line(value) {
            return flaw(&lower, "is folded into a line of blanks");
        }
        match lower.as_str() {
            "content-type" => in_type = content_type(&mut plain, &lower, Cursor { rest: value, kind })?,
            "content-disposition" => {
                in_disposition = disposition(&mut plain, &lower, Cursor { rest: value, kind })?;
            }
            "content-transfer-encoding" => {
                plain_encoding(group)
                    .ok_or(Flaw { place: lower.clone(), what: "is not one of the five words, bare" })?;
            }
            "mime-version" => mime_version(&lower, value)?,
            "content-description" => plain.has_description = true,
            name if HARMLESS.contains(&name) => {
                if names_a_file_elsewhere(name.as_bytes(), value) {
                    return flaw(&lower, "has a name that some readers take for the file's");
                }
            }
            _ => return flaw(&lower, "is not a field that parts have"),
        }
        seen.push(lower);
    }
    plain.name = match (in_disposition, in_type) {
        (Some(filename), Some(name)) if filename != name => {
            return flaw("name", "is not the filename of Content-Disposition");
        }
        (filename, name) => filename.or(name).unwrap_or_default(),
    };
    Ok(plain)
}

/// Printable ASCII behind a blank, folded at most where lines end in CR LF.
fn ascii_with_folds(place: &str, value: &[u8]) -> Result<(), Flaw> {
    if !value.first().copied().is_some_and(is_blank) && !value.starts_with(b"\r\n") {
        return flaw(place, "has no blank after its colon");
    }
    let mut rest = value;
    while let Some((&octet, after)) = rest.split_first() {
        rest = match (octet, after) {
            (b'\r', [b'\n', b' ' | b'\t', ..]) => &after[2..],
            (b'\t' | b' '..=b'~', _) => after,
            _ => return flaw(place, "holds an octet that is not printable ASCII"),
        };
    }
    let has_text = |line: &[u8]| line.iter().any(|octet| octet.is_ascii_graphic());
    if value.split(|&octet| octet == b'\n').skip(1).any(|line| !has_text(line)) {
        return flaw(place, "has a line of nothing but blanks");
    }
    Ok(())
}

/// A Content-Type without the charset that ends it.
pub(crate) fn without_charset_at_end(group: &[u8]) -> &[u8] {
    let Some(at) = memchr::memrchr(b';', group) else { return group };
    let last = group[at + 1..].trim_ascii_start();
    let is_charset = last.len() > 8
        && last[..8].eq_ignore_ascii_case(b"charset=")
        && last[8..].iter().all(|&octet| is_safe(octet));
    if is_charset { &group[..at] } else { group }
}

/// RFC 2045 §4, with the one comment that Apple Mail puts there.
fn mime_version(place: &str, value: &[u8]) -> Result<(), Flaw> {
    let value = value.trim_ascii();
    let comment = value.strip_prefix(b"1.0").map(<[u8]>::trim_ascii);
    let is_plain = |comment: &[u8]| {
        let inner = comment.strip_prefix(b"(").and_then(|rest| rest.strip_suffix(b")"));
        let allowed = |&octet: &u8| octet.is_ascii_alphanumeric() || b" .-_'\\()".contains(&octet);
        comment.is_empty() || inner.is_some_and(|inner| inner.iter().all(allowed))
    };
    if comment.is_some_and(is_plain) { Ok(()) } else { flaw(place, "is not 1.0") }
}

/// Parameters of Content-Type that are known, besides `name`.
const OF_TYPE: [&str; 20] = [
    "boundary",
    "charset",
    "component",
    "delsp",
    "format",
    "header",
    "markup",
    "method",
    "micalg",
    "profile",
    "protocol",
    "reply-type",
    "report-type",
    "smime-type",
    "start",
    "start-info",
    "type",
    "variant",
    "version",
    "x-unix-mode",
];

/// Parameters of Content-Disposition that are known, besides `filename`.
const OF_DISPOSITION: [&str; 4] = ["size", "creation-date", "modification-date", "read-date"];

/// What is wrong with a multipart of a kind that no relay writes. It says nothing against the boundary.
pub(crate) const UNKNOWN_MULTIPART: &str = "is a multipart that no relay writes";

/// Whether a container's boundary is read alike by everybody, whatever else its fields are.
pub(crate) fn has_plain_boundary(section: &[u8], kind: Section) -> bool {
    match header_section(section, kind) {
        Ok(_) => true,
        Err(flaw) => flaw.what == UNKNOWN_MULTIPART,
    }
}

/// Types of multiparts that relays write.
const MULTIPARTS: [&str; 7] = ["mixed", "alternative", "related", "signed", "encrypted", "report", "digest"];

fn content_type(plain: &mut Plain, place: &str, mut text: Cursor<'_>) -> Result<Option<String>, Flaw> {
    let is_folded = text.rest.starts_with(b"\r\n");
    text.skip_blanks();
    let (top, slash, sub) = (text.word(), text.take(b'/'), text.word());
    if top.is_empty() || !slash || sub.is_empty() {
        return flaw(place, "does not begin with a type and a subtype");
    }
    plain.media_type = format!("{top}/{sub}").to_ascii_lowercase();
    let parameters = text.parameters(place, "name", &OF_TYPE)?;
    let boundary = parameters.iter().find(|parameter| parameter.attribute == "boundary");
    match (top.eq_ignore_ascii_case("multipart"), boundary) {
        (true, None) => return flaw(place, "is a multipart without a boundary"),
        (true, Some(boundary)) => {
            // No relay folds before so short a word, and flanker overlooks the boundary behind that fold.
            if is_folded {
                return flaw(place, "is a multipart's, and folded behind its colon");
            }
            if !MULTIPARTS.contains(&sub.to_ascii_lowercase().as_str()) {
                return flaw(place, UNKNOWN_MULTIPART);
            }
            plain.boundary = Some(plain_boundary(place, boundary)?);
        }
        (false, Some(_)) => return flaw(place, "has a boundary, and is no multipart"),
        (false, None) => {}
    }
    if matches!(plain.media_type.as_str(), "message/partial" | "message/external-body") {
        return flaw(place, "refers to a message that is elsewhere");
    }
    if let Some(charset) = parameters.iter().find(|parameter| parameter.attribute == "charset")
        && !charset.value.iter().all(|&octet| is_safe(octet) || octet == b':')
    {
        return flaw(place, "has a charset that is no plain word");
    }
    let is_text = top.eq_ignore_ascii_case("text") || top.eq_ignore_ascii_case("message");
    if !is_text
        && parameters.iter().any(|parameter| parameter.attribute == "charset" && is_wide(&parameter.value))
    {
        return flaw(place, "is no text, and has a charset in which some readers would write it anew");
    }
    plain_name(place, "name", &parameters)
}

/// Whether the octets of ASCII mean something else in a charset.
pub(crate) fn is_wide(charset: &[u8]) -> bool {
    let charset = charset.trim_ascii();
    ["utf-16", "utf16", "utf-32", "utf32", "ucs", "iso-10646", "csunicode", "utf-7", "utf7", "unicode"]
        .iter()
        .any(|label| {
            charset.get(..label.len()).is_some_and(|start| start.eq_ignore_ascii_case(label.as_bytes()))
        })
}

/// Whether nothing but a parameter or a comment follows the type, so that no reader takes a text for a file.
pub(crate) fn has_whole_type(section: &[u8]) -> bool {
    let types =
        groups(section).filter_map(field).filter(|(name, _)| name.eq_ignore_ascii_case(b"content-type"));
    types.map(|(_, value)| value).all(|value| {
        let mut text = Cursor { rest: value, kind: Section::Part };
        text.skip_blanks();
        let is_type = !text.word().is_empty() && text.take(b'/') && !text.word().is_empty();
        text.skip_blanks();
        is_type && matches!(text.rest.first(), None | Some(b';' | b'('))
    })
}

fn disposition(plain: &mut Plain, place: &str, mut text: Cursor<'_>) -> Result<Option<String>, Flaw> {
    text.skip_blanks();
    let word = text.word();
    plain.is_attachment = word.eq_ignore_ascii_case("attachment");
    if !plain.is_attachment && !word.eq_ignore_ascii_case("inline") {
        return flaw(place, "is neither inline nor attachment");
    }
    let parameters = text.parameters(place, "filename", &OF_DISPOSITION)?;
    plain_name(place, "filename", &parameters)
}

/// Octets that mean themselves to every reader, quoted or not.
fn is_safe(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-_.+".contains(&octet)
}

/// A boundary of safe characters, which no reader cuts, unfolds or takes for the start of a field.
fn plain_boundary(place: &str, parameter: &Parameter) -> Result<String, Flaw> {
    let value = parameter.value.as_slice();
    let allowed = |&octet: &u8| is_safe(octet) || b"',/:=?".contains(&octet);
    let colon = value.iter().position(|&octet| octet == b':');
    let reads_as_field = colon.is_some_and(|colon| {
        value[..colon].iter().all(|&octet| octet.is_ascii_alphanumeric() || octet == b'-')
    });
    if value.is_empty() || value.len() > 70 || !value.iter().all(allowed) {
        return flaw(place, "has a boundary that is not 1 to 70 safe characters");
    }
    if reads_as_field || value.ends_with(b"--") || value.iter().all(|&octet| octet == b'-') {
        return flaw(place, "has a boundary that makes delimiters of two meanings");
    }
    // ripMIME takes apostrophes around a value for quotes: of `'` nothing is left, and each line of two hyphens a delimiter.
    if value.starts_with(b"'") || value.ends_with(b"'") {
        return flaw(place, "has a boundary in apostrophes");
    }
    Ok(String::from_utf8_lossy(value).into_owned())
}

/// A file name in one of the forms that every reader decodes alike.
fn plain_name(place: &str, attribute: &str, parameters: &[Parameter]) -> Result<Option<String>, Flaw> {
    let is_extended = |p: &&Parameter| {
        p.attribute.starts_with(attribute) && p.attribute[attribute.len()..].starts_with('*')
    };
    let extended: Vec<&Parameter> = parameters.iter().filter(is_extended).collect();
    let plain = parameters.iter().find(|parameter| parameter.attribute == attribute);
    if let Some(plain) = plain
        && let Some(what) = flaw_of_plain_name(&plain.value)
    {
        return flaw(place, what);
    }
    if let Some(what) = flaw_of_extended_name(&extended, attribute) {
        return flaw(place, what);
    }
    let plain = plain.map(|plain| plain_text(&plain.value));
    let extended = extended_text(parameters, attribute);
    if matches!((&plain, &extended), (Some(plain), Some(extended)) if plain != extended) {
        return flaw(place, "gives the name in two forms that disagree");
    }
    let name = extended.or(plain);
    if name.as_ref().is_some_and(|name| name.trim().is_empty()) {
        return flaw(place, "has a name that decodes to nothing");
    }
    let is_odd = |c: char| c.is_control() || c == '\u{fffd}';
    if name.as_ref().is_some_and(|name| name.contains(is_odd)) {
        return flaw(place, "has a name with characters that are none");
    }
    Ok(name)
}

/// A quoted or bare value: text without `=?`, or whole encoded-words in UTF-8 or ISO-8859-1, a blank between two.
fn flaw_of_plain_name(value: &[u8]) -> Option<&'static str> {
    memchr::memmem::find(value, b"=?")?;
    let words = value.split(|&octet| octet == b' ' || octet == b'\t').filter(|word| !word.is_empty());
    let is_plain = |word: &[u8]| {
        let inner = word.strip_prefix(b"=?").and_then(|rest| rest.strip_suffix(b"?="));
        let mut halves = inner.unwrap_or_default().split(|&octet| octet == b'?');
        let (charset, encoding, text) = (halves.next(), halves.next(), halves.next());
        let is_known = charset.is_some_and(|charset| {
            charset.eq_ignore_ascii_case(b"utf-8") || charset.eq_ignore_ascii_case(b"iso-8859-1")
        });
        is_known
            && matches!(encoding, Some(b"B" | b"b" | b"Q" | b"q"))
            && text.is_some_and(|text| !text.is_empty())
            && halves.next().is_none()
    };
    if words.clone().all(is_plain) {
        None
    } else {
        Some("has a name with more or less than whole encoded-words")
    }
}

fn flaw_of_extended_name(sections: &[&Parameter], attribute: &str) -> Option<&'static str> {
    let encoded_octet = |&octet: &u8| is_safe(octet) || b"%!#$&^`{}|~".contains(&octet);
    let mut is_encoded = None;
    for (number, section) in sections.iter().enumerate() {
        let suffix = &section.attribute[attribute.len() + 1..];
        let encoded = suffix.is_empty() || suffix.ends_with('*');
        let expected = if encoded { format!("{number}*") } else { number.to_string() };
        let is_whole = suffix.is_empty() && sections.len() == 1;
        if !is_whole && suffix != expected || is_encoded.is_some_and(|earlier| earlier != encoded) {
            return Some("gives the name in sections that are out of order or of two kinds");
        }
        is_encoded = Some(encoded);
        let mut text = section.value.as_slice();
        if encoded && number == 0 {
            let mut parts = text.splitn(3, |&octet| octet == b'\'');
            let (charset, language, rest) = (parts.next(), parts.next(), parts.next());
            let is_utf_8 = charset.is_some_and(|charset| {
                charset.eq_ignore_ascii_case(b"utf-8") || charset.eq_ignore_ascii_case(b"us-ascii")
            });
            let is_language =
                language.is_some_and(|text| text.iter().all(|&o| o.is_ascii_alphanumeric() || o == b'-'));
            match rest {
                Some(rest) if is_utf_8 && is_language => text = rest,
                _ => return Some("gives the name in another charset than UTF-8"),
            }
        }
        let is_hex =
            |at: usize| text.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        if encoded && !(text.iter().all(encoded_octet) && memchr::memchr_iter(b'%', text).all(is_hex)) {
            return Some("gives the name in percent-encoding with other characters");
        }
    }
    None
}

/// Reads a field's value that is printable ASCII with folds.
struct Cursor<'a> {
    rest: &'a [u8],
    kind: Section,
}

impl<'a> Cursor<'a> {
    fn skip_blanks(&mut self) {
        while let [b' ' | b'\t' | b'\r' | b'\n', after @ ..] = self.rest {
            self.rest = after;
        }
    }

    fn take(&mut self, octet: u8) -> bool {
        match self.rest.strip_prefix(&[octet]) {
            Some(after) => {
                self.rest = after;
                true
            }
            None => false,
        }
    }

    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|&octet| !belongs(octet)).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        text
    }

    fn word(&mut self) -> String {
        String::from_utf8_lossy(self.take_while(is_safe)).into_owned()
    }

    /// `*( ";" parameter )` up to the end: each known, and once; the one of the name in RFC 2231's forms, too.
    fn parameters(&mut self, place: &str, name: &str, known: &[&str]) -> Result<Vec<Parameter>, Flaw> {
        let mut parameters: Vec<Parameter> = Vec::new();
        while !self.rest.is_empty() {
            if !self.take(b';') {
                return flaw(place, "goes on after its value");
            }
            self.skip_blanks();
            let attribute = self.take_while(|octet| is_safe(octet) || octet == b'*');
            let attribute = String::from_utf8_lossy(attribute).to_ascii_lowercase();
            let of_name =
                attribute.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('*'));
            if attribute.is_empty() || !self.take(b'=') {
                return flaw(place, "has a parameter that is not name=value");
            }
            if !of_name && !known.contains(&attribute.as_str()) {
                return flaw(place, "has an unknown parameter");
            }
            if parameters.iter().any(|earlier| earlier.attribute == attribute) {
                return flaw(place, "has a parameter twice");
            }
            let value = if self.take(b'"') {
                self.quoted(place, of_name)?
            } else {
                // `type=text/html` and names of algorithms are written without quotes by several libraries.
                let strict = of_name && !attribute.contains('*')
                    || matches!(attribute.as_str(), "boundary" | "charset");
                let value =
                    self.take_while(|octet| is_safe(octet) || !strict && (is_token(octet) || octet == b'/'));
                if value.is_empty() {
                    return flaw(place, "has a parameter without a value");
                }
                value.to_vec()
            };
            let is_decoded = of_name && !attribute.contains('*');
            if !is_decoded && memchr::memmem::find(&value, b"=?").is_some() {
                return flaw(place, "has an encoded-word where none belongs");
            }
            parameters.push(Parameter { attribute, value });
        }
        Ok(parameters)
    }

    /// The rest of a quoted string: printable ASCII without a backslash. Only the name of a part may be folded in it, as
    /// relays fold long lines, and not so that its beginning reads as a whole name.
    fn quoted(&mut self, place: &str, may_fold: bool) -> Result<Vec<u8>, Flaw> {
        let text = self.take_while(|octet| !matches!(octet, b'"' | b'\\'));
        if !self.take(b'"') {
            return flaw(place, "has a quoted string with a backslash, or without an end");
        }
        let mut value = Vec::with_capacity(text.len());
        let mut lines = text.split(|&octet| octet == b'\n').peekable();
        while let Some(line) = lines.next() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            value.extend_from_slice(line);
            let may_fold = may_fold && self.kind == Section::Part && text.len() >= LONG_NAME;
            if lines.peek().is_some() && (!may_fold || ends_in_extension(line)) {
                return flaw(place, "is folded inside a quoted string");
            }
        }
        Ok(value)
    }
}

/// A name shorter than this makes no line that must be folded.
const LONG_NAME: usize = 30;

/// Whether a name ends in a dot and a few letters or digits, as whole file names do.
fn ends_in_extension(name: &[u8]) -> bool {
    let extension = name.iter().rev().take_while(|octet| octet.is_ascii_alphanumeric()).count();
    (1..=5).contains(&extension) && name.len() > extension && name[name.len() - extension - 1] == b'.'
}
