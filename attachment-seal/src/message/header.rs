//! The header section: split into fields, whether it is clean (SPEC.md §8 step 7), and the three header hashes (§4).
//! Lines end in CR LF only; what other programs might take for a line end is a fault, not a line end.

use memchr::{memchr, memchr_iter, memchr2};

use super::identity;
use crate::doubt::{Doubt, Doubts};

/// Longest header section that is read, in octets; what follows counts as body, under a doubt.
pub const MAX_HEADER: usize = 1 << 20;

/// The structural MIME fields: those that define what a part is.
const MIME_FIELDS: [&str; 4] =
    ["content-type", "content-transfer-encoding", "content-disposition", "mime-version"];

/// Further names that a look-alike could be meant for.
const OTHER_MIME_FIELDS: [&str; 3] = ["content-id", "content-description", "content-location"];

/// One header field (RFC 5322 §2.2), borrowed from the message.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// The name as written, without the white space that may follow it.
    pub name: &'a [u8],
    /// All after the colon up to the CR LF that ends the field, folds included.
    pub value: &'a [u8],
    /// Offset of the field's first octet in the message.
    pub start: usize,
    /// Offset just after the CR LF that ends the field.
    pub end: usize,
}

impl<'a> Field<'a> {
    /// Whether this is the field `name`, case aside.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value with the CR LFs of folding and the blanks at both ends removed.
    pub fn unfolded(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.value.len());
        for line in lines(self.value) {
            text.extend_from_slice(line);
        }
        trim_blanks(&text).to_vec()
    }

    /// The value in the form that structure is compared in (SPEC.md §4, `hs`): blanks and folds at its start
    /// gone, each fold outside a quoted string made one space. A fold inside one stays as it is, since two
    /// readers lose a boundary that is folded at a blank; so does everything after a parenthesis, where
    /// readers do not agree what is quoted, and a value with a line of blanks.
    pub fn refolded(&self) -> Vec<u8> {
        let value = self.value;
        // Some readers take a line of blanks for the end of the header section.
        if holds_blank_line(value) {
            return value.to_vec();
        }
        let mut text = Vec::with_capacity(value.len());
        let mut at = blanks_and_folds(value).0;
        let mut quoted = false;
        while at < value.len() {
            match value[at] {
                b'(' if !quoted => {
                    text.extend_from_slice(&value[at..]);
                    break;
                }
                b'\\' if quoted && at + 1 < value.len() => {
                    text.extend_from_slice(&value[at..at + 2]);
                    at += 2;
                    continue;
                }
                b'"' => quoted = !quoted,
                b' ' | b'\t' | b'\r' if !quoted => {
                    let (length, has_fold) = blanks_and_folds(&value[at..]);
                    if length > 0 {
                        text.extend_from_slice(if has_fold { b" " } else { &value[at..at + length] });
                        at += length;
                        continue;
                    }
                }
                _ => {}
            }
            text.push(value[at]);
            at += 1;
        }
        text
    }

    /// The value canonicalised as RFC 6376 §3.4.2 (relaxed): unfolded, runs of blanks made one space.
    fn relaxed(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.value.len());
        let mut blank = false;
        for &octet in lines(self.value).flatten() {
            if is_blank(octet) {
                blank = true;
                continue;
            }
            if blank && !text.is_empty() {
                text.push(b' ');
            }
            blank = false;
            text.push(octet);
        }
        text
    }
}

/// Looks for the end of the header section in a message that is still coming in.
#[derive(Clone, Debug, Default)]
pub struct EndSearch {
    searched: usize,
    line: LineSoFar,
}

#[derive(Clone, Copy, Debug, Default)]
enum LineSoFar {
    #[default]
    Empty,
    Cr,
    Text,
}

impl EndSearch {
    /// Takes the next octets; once the blank line is among them, returns where in the message the body
    /// starts.
    pub fn find(&mut self, octets: &[u8]) -> Option<usize> {
        let mut rest = octets;
        let start = self.searched;
        self.searched += octets.len();
        while let Some(line_feed) = memchr(b'\n', rest) {
            let (line, behind) = rest.split_at(line_feed + 1);
            rest = behind;
            match (std::mem::take(&mut self.line), line) {
                (LineSoFar::Empty, b"\r\n") | (LineSoFar::Cr, b"\n") => {
                    return Some(start + octets.len() - rest.len());
                }
                _ => {}
            }
        }
        self.line = match (self.line, rest) {
            (line, []) => line,
            (LineSoFar::Empty, b"\r") => LineSoFar::Cr,
            _ => LineSoFar::Text,
        };
        None
    }

    /// Octets that have been taken.
    pub fn searched(&self) -> usize {
        self.searched
    }
}

/// A line that makes a header section unclean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its number in the section, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub doubt: Doubt,
}

/// A message's or part's header section.
#[derive(Clone, Debug)]
pub struct HeaderSection<'a> {
    /// The fields in message order.
    pub fields: Vec<Field<'a>>,
    /// What is unclean about the section, by line; at most 16 are kept, and that it is too long.
    pub faults: Vec<Fault>,
    /// Values of lines that are no From field, and that some reader takes for one; at most 16.
    pub disguised_froms: Vec<&'a [u8]>,
    /// Offset of the body: just after the blank line, or where the section was cut off.
    pub body_start: usize,
    /// Whether a blank line ended the section.
    pub has_blank_line: bool,
}

/// Faults that are kept; one is enough to decide.
const MAX_FAULTS: usize = 16;

impl<'a> HeaderSection<'a> {
    /// Splits the header section at the top of `message`.
    pub fn parse(message: &'a [u8]) -> Self {
        Self::parse_at(message, 0, message.len(), |_| false)
    }

    /// Splits the section of `message` that begins at `start` and ends at a blank line, at a line of which
    /// `is_delimiter` is true, or at `end`.
    pub fn parse_at(
        message: &'a [u8],
        start: usize,
        end: usize,
        is_delimiter: impl Fn(&[u8]) -> bool,
    ) -> Self {
        let mut section = Self {
            fields: Vec::new(),
            faults: Vec::new(),
            disguised_froms: Vec::new(),
            body_start: end,
            has_blank_line: false,
        };
        let mut at = start;
        let mut number = 0;
        while at < end {
            let line = first_line(&message[at..end]);
            let next = at + line.len();
            number += 1;
            if next - start > MAX_HEADER {
                section.fault(number, Doubt::HeaderTooLong);
                section.body_start = at;
                return section;
            }
            if line == b"\r\n" {
                section.has_blank_line = true;
                section.body_start = next;
                return section;
            }
            if line.starts_with(b"--") && is_delimiter(line) {
                section.body_start = at;
                return section;
            }
            section.take_line(message, at, next, number);
            at = next;
        }
        section
    }

    fn take_line(&mut self, message: &'a [u8], start: usize, end: usize, number: usize) {
        let line = message[start..end].strip_suffix(b"\r\n").unwrap_or(&message[start..end]);
        if memchr2(b'\r', b'\n', line).is_some() {
            self.fault(number, Doubt::BareLineEnd);
            // Some readers end a line there, so that another field begins.
            line.split(|octet| matches!(octet, b'\r' | b'\n')).skip(1).for_each(|line| self.unmask(line));
        }
        if memchr(0, line).is_some() {
            self.fault(number, Doubt::Nul);
        }
        if line.first().copied().is_some_and(is_blank) {
            self.continue_field(message, line, start, end, number);
        } else {
            self.start_field(line, start, end, number);
        }
    }

    fn continue_field(&mut self, message: &'a [u8], line: &[u8], start: usize, end: usize, number: usize) {
        if reads_as_mime_field(line) {
            self.fault(number, Doubt::LookalikeField);
        }
        // A blank line to some readers, and the section's end.
        if trim_blanks(line).is_empty() {
            self.fault(number, Doubt::JunkHeaderLine);
        }
        match self.fields.last_mut() {
            // What continues a junk line is no part of the field before that.
            Some(field) if field.end != start => {}
            Some(field) => {
                let value_start = field.start + field.value_offset(message);
                field.end = end;
                field.value = strip_line_end(&message[value_start..end]);
            }
            None => self.fault(number, Doubt::JunkHeaderLine),
        }
    }

    fn start_field(&mut self, line: &'a [u8], start: usize, end: usize, number: usize) {
        let Some(colon) = memchr(b':', line) else {
            return self.fault(number, Doubt::JunkHeaderLine);
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let trimmed = trim_blanks_end(name);
        let is_mime = is_mime_name(trimmed);
        if is_mime && trimmed.len() != name.len() {
            self.fault(number, Doubt::SpaceBeforeColon);
        }
        if is_mime && value.first() == Some(&b':') {
            self.fault(number, Doubt::JunkHeaderLine);
        }
        if looks_like_mime_name(trimmed) {
            self.fault(number, Doubt::LookalikeField);
        } else if trimmed.is_empty() || !trimmed.iter().all(|octet| matches!(octet, 33..=126)) {
            self.unmask(line);
            return self.fault(number, Doubt::JunkHeaderLine);
        }
        self.fields.push(Field { name: trimmed, value, start, end });
    }

    fn fault(&mut self, line: usize, doubt: Doubt) {
        if self.faults.len() < MAX_FAULTS || doubt == Doubt::HeaderTooLong {
            self.faults.push(Fault { line, doubt });
        }
    }

    /// Notes a line that is a From field to readers who drop what does not belong in a field's name.
    fn unmask(&mut self, line: &'a [u8]) {
        let Some(colon) = memchr(b':', line) else { return };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let printable = name.iter().copied().filter(|octet| matches!(octet, 33..=126));
        let is_from = printable.map(|octet| octet.to_ascii_lowercase()).eq(*b"from");
        if is_from && self.disguised_froms.len() < MAX_FAULTS {
            self.disguised_froms.push(value);
        }
    }

    /// The fields of one name, in message order.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Field<'a>> {
        self.fields.iter().filter(move |field| field.is(name))
    }

    /// What is unclean about the section, as doubts.
    pub fn doubts(&self) -> Doubts {
        self.faults.iter().fold(Doubts::NONE, |mut doubts, fault| {
            doubts.insert(fault.doubt);
            doubts
        })
    }

    /// The identity hash `hi`: From, Date and Message-ID (SPEC.md §4).
    pub fn identity_hash(&self) -> blake3::Hash {
        self.hash(
            |name| matches!(name, b"from" | b"date" | b"message-id"),
            |field| match field.is("From") {
                true => identity::canonical(field.relaxed()),
                false => field.relaxed(),
            },
        )
    }

    /// The addressing hash `ha`: Sender, To, Cc, Reply-To and Subject (SPEC.md §4).
    pub fn addressing_hash(&self) -> blake3::Hash {
        self.hash(|name| matches!(name, b"sender" | b"to" | b"cc" | b"reply-to" | b"subject"), Field::relaxed)
    }

    /// The structure hash `hs`: MIME-Version and all `Content-*` but Content-Length (SPEC.md §4).
    pub fn structure_hash(&self) -> blake3::Hash {
        let structural = |name: &[u8]| {
            name == b"mime-version" || name.starts_with(b"content-") && name != b"content-length"
        };
        self.hash(structural, Field::refolded)
    }

    /// The hash of the fields that define what a message's body is, in the form that a mark has (SPEC.md
    /// §6.1): all `Content-*` but Content-Length and Content-Transfer-Encoding.
    pub fn content_hash(&self) -> blake3::Hash {
        let counts = |name: &[u8]| {
            name.starts_with(b"content-") && !matches!(name, b"content-length" | b"content-transfer-encoding")
        };
        self.hash(counts, Field::refolded)
    }

    fn hash(
        &self,
        wanted: impl Fn(&[u8]) -> bool,
        canonical: impl Fn(&Field<'a>) -> Vec<u8>,
    ) -> blake3::Hash {
        let mut chosen: Vec<(Vec<u8>, &Field<'a>)> = self
            .fields
            .iter()
            .map(|field| (field.name.to_ascii_lowercase(), field))
            .filter(|(name, _)| wanted(name))
            .collect();
        // Stable, so that those of one name stay in message order.
        chosen.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut hasher = blake3::Hasher::new();
        for (name, field) in chosen {
            hasher.update(&name).update(b":").update(&canonical(field)).update(b"\r\n");
        }
        hasher.finalize()
    }
}

impl Field<'_> {
    /// Where the value begins, counted from the field's first octet.
    fn value_offset(&self, message: &[u8]) -> usize {
        memchr(b':', &message[self.start..]).map_or(0, |colon| colon + 1)
    }
}

/// Whether one of the folded lines of a value holds nothing but blanks.
pub(crate) fn holds_blank_line(value: &[u8]) -> bool {
    value.split(|&octet| octet == b'\n').skip(1).any(|line| line.trim_ascii().is_empty() && !line.is_empty())
}

/// How many octets at the start of `text` are blanks and folds, and whether a fold is among them.
fn blanks_and_folds(text: &[u8]) -> (usize, bool) {
    let (mut at, mut has_fold) = (0, false);
    loop {
        match &text[at..] {
            [b' ' | b'\t', ..] => at += 1,
            [b'\r', b'\n', b' ' | b'\t', ..] => {
                at += 3;
                has_fold = true;
            }
            _ => return (at, has_fold),
        }
    }
}

/// The first line of `text`, its CR LF included; all of it where none ends.
pub(crate) fn first_line(text: &[u8]) -> &[u8] {
    let mut line_feeds = memchr_iter(b'\n', text);
    line_feeds.find(|&at| text[..at].ends_with(b"\r")).map_or(text, |at| &text[..=at])
}

/// The lines of `text` without their CR LF.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let line = first_line(text);
        rest = Some(&text[line.len()..]).filter(|rest| !rest.is_empty());
        Some(strip_line_end(line))
    })
}

fn strip_line_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r\n").unwrap_or(line)
}

/// RFC 5322 WSP: space or tab.
pub(crate) fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

/// `text` without the blanks at its end.
pub(crate) fn trim_blanks_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|&octet| !is_blank(octet)).map_or(0, |last| last + 1);
    &text[..end]
}

/// `text` without the blanks at both ends.
pub(crate) fn trim_blanks(text: &[u8]) -> &[u8] {
    let text = trim_blanks_end(text);
    let start = text.iter().position(|&octet| !is_blank(octet)).unwrap_or(text.len());
    &text[start..]
}

fn is_mime_name(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"mime-version")
        || name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-"))
}

/// Whether a name is one character away from a MIME field's, or is one with a comment inside.
pub(crate) fn looks_like_mime_name(name: &[u8]) -> bool {
    let known = || MIME_FIELDS.iter().chain(&OTHER_MIME_FIELDS).map(|name| name.as_bytes());
    if name.len() > 64 || known().any(|known| name.eq_ignore_ascii_case(known)) {
        return false;
    }
    let bare: Vec<u8> = match memchr(b'(', name) {
        Some(_) => without_comments(name).into_iter().filter(|&octet| !is_blank(octet)).collect(),
        None => name.to_vec(),
    }
    .to_ascii_lowercase();
    known().any(|known| bare == known || is_one_edit_away(&bare, known))
}

fn without_comments(name: &[u8]) -> Vec<u8> {
    let mut depth = 0_usize;
    let mut kept = Vec::with_capacity(name.len());
    for &octet in name {
        match octet {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => kept.push(octet),
            _ => {}
        }
    }
    kept
}

/// Whether one insertion, removal or exchange of an octet makes the two equal. Equal texts are not.
pub(crate) fn is_one_edit_away(one: &[u8], other: &[u8]) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    if long.len() - short.len() > 1 {
        return false;
    }
    let same = short.iter().zip(long).take_while(|(a, b)| a == b).count();
    if short.len() == long.len() {
        same < short.len() && short[same + 1..] == long[same + 1..]
    } else {
        short[same..] == long[same + 1..]
    }
}

/// Octets of a line that tell whether it reads as a field.
const MAX_FIELD_START: usize = 1024;

/// Whether a line (a continuation, a line of a body) reads as a structural MIME field with a value of that field's form.
/// Lists of field names, as in DKIM signatures, do not.
pub(crate) fn reads_as_mime_field(line: &[u8]) -> bool {
    // Its start tells; a line may be as long as a message.
    let line = trim_blanks(&line[..line.len().min(MAX_FIELD_START)]);
    let Some(colon) = memchr(b':', line) else { return false };
    let name = trim_blanks_end(&line[..colon]).to_ascii_lowercase();
    let value = trim_blanks(&line[colon + 1..]).to_ascii_lowercase();
    let first_word =
        value.split(|octet| matches!(octet, b';' | b' ' | b'\t' | b'(')).next().unwrap_or_default();
    match name.as_slice() {
        b"content-type" => {
            let mut halves = first_word.splitn(2, |&octet| octet == b'/');
            let is_token = |half: Option<&[u8]>| {
                half.is_some_and(|half| !half.is_empty() && half.iter().all(|&o| is_token(o)))
            };
            is_token(halves.next()) && is_token(halves.next())
        }
        b"content-transfer-encoding" => {
            matches!(first_word, b"7bit" | b"8bit" | b"binary" | b"quoted-printable" | b"base64")
        }
        b"content-disposition" => matches!(first_word, b"inline" | b"attachment" | b"form-data"),
        b"mime-version" => {
            first_word.contains(&b'.') && first_word.iter().all(|o| matches!(o, b'0'..=b'9' | b'.'))
        }
        _ => false,
    }
}

/// RFC 2045 §5.1 token: printable ASCII but space and tspecials.
pub(crate) fn is_token(octet: u8) -> bool {
    matches!(octet, 33..=126) && !b"()<>@,;:\\\"/[]?=".contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubts_of(section: &str) -> Vec<&'static str> {
        let text = format!("{section}\r\n");
        HeaderSection::parse(text.as_bytes()).doubts().iter().map(Doubt::code).collect()
    }

    #[test]
    fn splits_fields_and_body() {
        let message = b"From: a@b\r\nSubject:  one\r\n\ttwo \r\n\r\nbody\r\n";
        let header = HeaderSection::parse(message);
        assert_eq!(&message[header.body_start..], b"body\r\n");
        assert_eq!(header.fields.len(), 2);
        assert_eq!(header.fields[1].value, b"  one\r\n\ttwo ");
        assert_eq!(header.fields[1].relaxed(), b"one two");
        assert_eq!(header.fields[1].unfolded(), b"one\ttwo");
        assert_eq!(&message[header.fields[1].start..header.fields[1].end], b"Subject:  one\r\n\ttwo \r\n");
        assert!(header.faults.is_empty());
    }

    #[test]
    fn a_message_may_lack_a_body_or_everything() {
        for message in [&b""[..], b"From: a@b\r\n", b"From: a@b", b"\r\n"] {
            let header = HeaderSection::parse(message);
            assert_eq!(header.body_start, message.len());
            assert!(header.faults.is_empty());
        }
    }

    #[test]
    fn clean_sections_raise_no_doubt() {
        for section in [
            "From : a@b\r\n",
            "Subject::-)\r\n",
            "X-Long: a\r\n b\r\n",
            "Content-Class: urn:content-classes:message\r\n",
            "Received-SPF: pass\r\n",
            "DKIM-Signature: v=1; h=from:to:\r\n content-type:mime-version:\r\n Content-Disposition:From;\r\n\tContent-Transfer-Encoding:subject; b=x\r\n",
            "X-Note: see\r\n content-types: many\r\n",
        ] {
            assert_eq!(doubts_of(section), [""; 0], "{section:?}");
        }
    }

    #[test]
    fn unclean_sections_name_their_doubt() {
        for (section, code) in [
            ("X: a\nb\r\n", "bare-line-end"),
            ("X: a\rb\r\n", "bare-line-end"),
            ("X: a\0\r\n", "nul"),
            ("no colon\r\n", "junk-header-line"),
            ("From me Mon 12:00\r\n", "junk-header-line"),
            ("X: a\r\n \r\n", "junk-header-line"),
            (" continues nothing\r\n", "junk-header-line"),
            (": empty\r\n", "junk-header-line"),
            ("Content-Type:: text/plain\r\n", "junk-header-line"),
            ("Content_Type: text/plain\r\n", "lookalike-field"),
            ("Content Type: text/plain\r\n", "lookalike-field"),
            ("Contnt-Type: text/plain\r\n", "lookalike-field"),
            ("Content-(x)Type: text/plain\r\n", "lookalike-field"),
            ("Content-Type (x): text/plain\r\n", "lookalike-field"),
            ("X: a\r\n Content-Type: text/html\r\n", "lookalike-field"),
            ("X: a\r\n\tcontent-disposition: attachment; filename=x\r\n", "lookalike-field"),
            ("X: a\r\n MIME-Version: 1.0\r\n", "lookalike-field"),
            ("Content-Type : text/plain\r\n", "space-before-colon"),
        ] {
            assert_eq!(doubts_of(section), [code], "{section:?}");
        }
    }

    #[test]
    fn what_continues_junk_is_junk() {
        let header = HeaderSection::parse(b"A: b\r\njunk\r\n more\r\nC: d\r\n\r\n");
        assert_eq!(header.fields.iter().map(|field| field.value).collect::<Vec<_>>(), [b" b", b" d"]);
    }

    #[test]
    fn finds_disguised_from_fields() {
        for (section, found) in [
            ("From: a\r\n", 0),
            ("From : a\r\n", 0),
            ("X-From: a\r\nFromage: b\r\n\u{e9}: x\r\n", 0),
            ("From someone Mon Nov 23 09:00:00\r\n", 0),
            ("Fr\0om: a\r\n", 1),
            ("\0From: a\r\n", 1),
            ("\u{feff}From: a\r\n", 1),
            ("From\u{a0}: a\r\n", 1),
            ("From\x0b: a\r\n", 1),
            ("X: b\nFrom: a\r\n", 1),
            ("X: b\rFROM: a\nFrom: c\r\n", 2),
        ] {
            let text = format!("{section}\r\n");
            let header = HeaderSection::parse(text.as_bytes());
            assert_eq!(header.disguised_froms.len(), found, "{section:?}");
            assert!(found == 0 || !header.doubts().is_empty(), "{section:?}");
        }
    }

    #[test]
    fn names_the_line() {
        let header = HeaderSection::parse(b"A: b\r\nB: c\r\n d\r\njunk\r\n\r\n");
        assert_eq!(header.faults, [Fault { line: 4, doubt: Doubt::JunkHeaderLine }]);
    }

    #[test]
    fn a_section_too_long_is_cut_off() {
        let message = b"A: b\r\n".repeat(MAX_HEADER / 6 + 10);
        let header = HeaderSection::parse(&message);
        assert!(header.doubts().contains(Doubt::HeaderTooLong));
        assert!(header.body_start <= MAX_HEADER);
    }

    #[test]
    fn hashes_ignore_case_folding_and_the_order_of_names() {
        let one = b"From: a@b\r\nDate: today\r\nMessage-ID: <x>\r\nContent-Type: a/b;\r\n c=d\r\n\r\n";
        let other = b"message-id:<x>\r\nFROM:  a@b \r\nContent-type: a/b; c=d\r\nContent-Length: 3\r\nDate: today\r\n\r\n";
        let (one, other) = (HeaderSection::parse(one), HeaderSection::parse(other));
        assert_eq!(one.identity_hash(), other.identity_hash());
        assert_eq!(one.structure_hash(), other.structure_hash());
        let squeezed = HeaderSection::parse(b"Content-Type: a/b;c=d\r\n\r\n");
        assert_ne!(one.structure_hash(), squeezed.structure_hash());
    }

    #[test]
    fn tells_one_edit_from_more() {
        for (one, other, near) in [
            ("abc", "abd", true),
            ("abc", "ab", true),
            ("abc", "xabc", true),
            ("abc", "abc", false),
            ("abc", "ba", false),
        ] {
            assert_eq!(is_one_edit_away(one.as_bytes(), other.as_bytes()), near, "{one} {other}");
        }
    }
}
