//! The strict walk: a message's raw octets to its leaves (RFC 2046 §5.1), once from top to bottom, without recursion.
//! It never fails: where readers could disagree it notes the doubt and goes on with one reading.

use std::ops::Range;
use std::sync::Arc;

use memchr::{memchr, memmem};

use super::decode::has_bare_line_end;
use super::field::{self, Structured};
use super::leaf::{Encoding, Kind, Leaf};
use super::name::file_name;
use crate::doubt::{Doubt, Doubts};
use crate::message::header::{Field, HeaderSection, is_blank, reads_as_mime_field, trim_blanks_end};

/// Most leaves of a message (SPEC.md §11).
pub const MAX_LEAVES: usize = 1000;

/// Most multiparts around a leaf (SPEC.md §11).
pub const MAX_DEPTH: usize = 100;

/// What the walk found.
#[derive(Debug, Default)]
pub struct Structure {
    /// The leaves in document order, depth first.
    pub leaves: Vec<Leaf>,
    /// The doubts about the structure; `too-deep` and `too-many-parts` mean that the walk was cut short.
    pub doubts: Doubts,
}

/// Finds the leaves of a message whose header section has been split.
pub fn walk(message: &[u8], header: &HeaderSection<'_>) -> Structure {
    let mut walk = Walk {
        message,
        open: Vec::new(),
        live: Vec::new(),
        first_octets: [false; 256],
        named: Vec::new(),
        found: Structure::default(),
    };
    let top = Part::read(header, "text/plain");
    walk.found.doubts.extend(header.doubts());
    let mut next = walk.enter(top, header.body_start);
    while let Some(start) = next {
        next = walk.read_part(start);
    }
    walk.found
}

/// Boundaries to compare words in a preamble or epilogue with; where there are more, any words are doubted.
const MAX_NAMED: usize = 16;

/// A multipart that is being read.
struct Container {
    boundary: Vec<u8>,
    path: Arc<str>,
    /// Type of a child that names none: message/rfc822 in a digest (RFC 2046 §5.1.5).
    default_type: &'static str,
}

struct Walk<'a> {
    message: &'a [u8],
    /// The multiparts around the current place, outermost first.
    open: Vec<Container>,
    /// Indices into `open`, sorted by boundary, so that a line is compared with few of them.
    live: Vec<usize>,
    /// Which octets a live boundary begins with.
    first_octets: [bool; 256],
    /// The boundaries of all multiparts so far; no more than a few of them.
    named: Vec<Vec<u8>>,
    found: Structure,
}

/// A line that is a delimiter of an open multipart.
#[derive(Clone, Copy)]
struct Delimiter {
    /// Offset of its `--`.
    start: usize,
    /// Offset behind its line end.
    end: usize,
    /// Which multipart it delimits, as an index into `open`.
    owner: usize,
    closes: bool,
}

impl Walk<'_> {
    /// Reads the part that starts at `start`, behind a delimiter; returns where the next one starts.
    fn read_part(&mut self, start: usize) -> Option<usize> {
        let message = self.message;
        let parent = self.open.last()?;
        let header =
            HeaderSection::parse_at(message, start, message.len(), |line| self.live_prefix(line).is_some());
        let part = Part::read(&header, parent.default_type);
        self.found.doubts.extend(header.doubts());
        self.found.doubts.insert_if(!header.has_blank_line, Doubt::DelimiterInHeader);
        if self.found.doubts.contains(Doubt::HeaderTooLong) {
            return None;
        }
        self.enter(part, header.body_start)
    }

    /// Takes a part whose body starts at `body`, and returns where the next part starts.
    fn enter(&mut self, part: Part, body: usize) -> Option<usize> {
        let doubts = part.doubts;
        self.found.doubts.extend(doubts);
        let parent = self.open.last().map(|parent| Arc::clone(&parent.path)).unwrap_or_default();
        let Some(boundary) = part.boundary() else {
            return self.end_leaf(part, body, &parent);
        };
        if self.open.len() == MAX_DEPTH {
            self.found.doubts.insert(Doubt::TooDeep);
            return None;
        }
        self.check_boundary(&boundary);
        let subtype = part.content_type.word.split_once('/').map_or("", |(_, subtype)| subtype);
        let path: Arc<str> =
            if parent.is_empty() { subtype.into() } else { format!("{parent}.{subtype}").into() };
        let default_type = if subtype == "digest" { "message/rfc822" } else { "text/plain" };
        self.push(Container { boundary, path, default_type });
        match self.next_delimiter(body) {
            Some(first) if first.owner == self.open.len() - 1 => {
                self.found.doubts.insert_if(part.encoding_hides_parts(), Doubt::EncodedContainer);
                self.check_outside(body..first.start);
                self.pass(first)
            }
            // The boundary never occurs in the body: no container but a leaf.
            _ => {
                self.pop();
                self.found.doubts.insert(Doubt::NoBoundary);
                self.end_leaf(part, body, &parent)
            }
        }
    }

    /// Notes the leaf whose body starts at `body`, and returns where the next part starts.
    fn end_leaf(&mut self, part: Part, body: usize, path: &Arc<str>) -> Option<usize> {
        let hyphen = self.first_hyphen(body);
        let delimiter = self.next_delimiter_behind(body, hyphen);
        let end = delimiter.map_or(self.message.len(), |delimiter| self.end_before(delimiter.start, body));
        if self.found.leaves.len() == MAX_LEAVES {
            self.found.doubts.insert(Doubt::TooManyParts);
            return None;
        }
        let content = &self.message[body..end];
        self.found.doubts.extend(part.leaf_doubts(content));
        // Elsewhere a bare CR is a doubt wherever it stands.
        let with_hyphens = content.get(hyphen.saturating_sub(body + 1)..).unwrap_or_default();
        let cr_before_delimiter = |at: usize| self.live_prefix(&with_hyphens[at + 1..]).is_some();
        if !self.open.is_empty() && memmem::find_iter(with_hyphens, b"\r--").any(cr_before_delimiter) {
            self.found.doubts.insert(Doubt::BareLineEnd);
        }
        self.found.leaves.push(part.into_leaf(Arc::clone(path), body..end));
        match delimiter {
            Some(delimiter) => self.pass(delimiter),
            None => {
                self.found.doubts.insert_if(!self.open.is_empty(), Doubt::Unclosed);
                None
            }
        }
    }

    /// Before it no delimiter stands. Base64 has none, so most octets are looked at once.
    fn first_hyphen(&self, from: usize) -> usize {
        if self.open.is_empty() {
            return from;
        }
        memchr(b'-', &self.message[from..]).map_or(self.message.len(), |at| from + at)
    }

    /// Goes on behind a delimiter: closes what it closes, and returns where the next part starts.
    fn pass(&mut self, mut delimiter: Delimiter) -> Option<usize> {
        loop {
            // Multiparts inside the delimiter's own were not closed before it.
            while self.open.len() - 1 > delimiter.owner {
                self.found.doubts.insert(Doubt::Unclosed);
                self.pop();
            }
            if !delimiter.closes {
                return Some(delimiter.end);
            }
            self.pop();
            let epilogue = delimiter.end;
            match self.next_delimiter(epilogue) {
                Some(next) => {
                    self.check_outside(epilogue..next.start);
                    delimiter = next;
                }
                None => {
                    self.check_outside(epilogue..self.message.len());
                    self.found.doubts.insert_if(!self.open.is_empty(), Doubt::Unclosed);
                    return None;
                }
            }
        }
    }

    /// The next line at or behind `from` that is a delimiter of an open multipart.
    fn next_delimiter(&mut self, from: usize) -> Option<Delimiter> {
        self.next_delimiter_behind(from, from)
    }

    /// The same, where no hyphen stands between `from` and `hyphen`.
    fn next_delimiter_behind(&mut self, from: usize, hyphen: usize) -> Option<Delimiter> {
        if self.open.is_empty() {
            return None;
        }
        let message = self.message;
        if message[from..].starts_with(b"--")
            && let Some(delimiter) = self.delimiter_at(from)
        {
            return Some(delimiter);
        }
        let mut at = hyphen.saturating_sub(1).max(from);
        while let Some(found) = find_dashes(&message[at..]) {
            let start = at + found + 1;
            let ends_line = start >= from + 2 && message[start - 2] == b'\r';
            if ends_line {
                if let Some(delimiter) = self.delimiter_at(start) {
                    return Some(delimiter);
                }
            } else if self.live_prefix(&message[start..]).is_some() {
                self.found.doubts.insert(Doubt::BareLineEnd);
            }
            at = start;
        }
        None
    }

    /// Whether the line at `start`, which begins with `--`, is a delimiter.
    fn delimiter_at(&mut self, start: usize) -> Option<Delimiter> {
        let rest = &self.message[start..];
        let owner = self.live_prefix(rest)?;
        let after = &rest[2 + self.open[owner].boundary.len()..];
        let (closes, after) = after.strip_prefix(b"--").map_or((false, after), |after| (true, after));
        let padding = after.iter().take_while(|&&octet| is_blank(octet)).count();
        let line_end = &after[padding..];
        if !(line_end.starts_with(b"\r\n") || line_end.is_empty()) {
            self.found.doubts.insert(Doubt::JunkDelimiter);
            return None;
        }
        let end = self.message.len() - line_end.len() + line_end.len().min(2);
        Some(Delimiter { start, end, owner, closes })
    }

    /// The open multipart whose boundary a line that begins with `--` goes on with.
    fn live_prefix(&self, line: &[u8]) -> Option<usize> {
        let text = line.strip_prefix(b"--")?;
        // Most lines that begin so are rules of dashes or signatures: one look at the next octet tells.
        if !text.first().is_some_and(|octet| self.first_octets[usize::from(*octet)]) {
            return None;
        }
        let behind = self.live.partition_point(|&index| self.open[index].boundary.as_slice() <= text);
        let index = self.live[behind.checked_sub(1)?];
        text.starts_with(&self.open[index].boundary).then_some(index)
    }

    fn push(&mut self, container: Container) {
        let at = self.live.partition_point(|&index| self.open[index].boundary <= container.boundary);
        self.live.insert(at, self.open.len());
        if self.named.len() <= MAX_NAMED {
            self.named.push(container.boundary.clone());
        }
        self.open.push(container);
        self.note_first_octets();
    }

    fn pop(&mut self) {
        self.open.pop();
        let depth = self.open.len();
        self.live.retain(|&index| index != depth);
        self.note_first_octets();
    }

    fn note_first_octets(&mut self) {
        self.first_octets = [false; 256];
        for octet in self.open.iter().filter_map(|container| container.boundary.first()) {
            self.first_octets[usize::from(*octet)] = true;
        }
    }

    fn check_boundary(&mut self, boundary: &[u8]) {
        let nested =
            |open: &Container| open.boundary.starts_with(boundary) || boundary.starts_with(&open.boundary);
        if self.open.iter().any(nested) {
            self.found.doubts.insert(Doubt::BoundaryPrefix);
        }
    }

    /// RFC 2046 §5.1.1: the CR LF before a delimiter line belongs to the delimiter.
    fn end_before(&self, delimiter: usize, body: usize) -> usize {
        let line_start = delimiter.max(body);
        let before = &self.message[body..line_start];
        body + before.strip_suffix(b"\r\n").unwrap_or(before).len()
    }

    /// Checks a preamble or epilogue, which readers do not show unless they find a part in it.
    fn check_outside(&mut self, range: Range<usize>) {
        let text = &self.message[range];
        self.found.doubts.insert_if(has_bare_line_end(text), Doubt::BareLineEnd);
        let hides = text.split(|&octet| octet == b'\n').any(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            self.looks_like_delimiter(line)
                || !line.first().copied().is_some_and(is_blank) && reads_as_mime_field(line)
        });
        self.found.doubts.insert_if(hides, Doubt::HiddenPart);
    }

    /// Whether a line could be a delimiter of some boundary: `--` and more than a rule of dashes or a signature mark.
    /// Several words, as in a footer between dashes, are one only if they begin with a boundary of this message.
    fn looks_like_delimiter(&self, line: &[u8]) -> bool {
        line.strip_prefix(b"--").map(trim_blanks_end).is_some_and(|rest| {
            let is_named = || {
                self.named.len() > MAX_NAMED || self.named.iter().any(|boundary| rest.starts_with(boundary))
            };
            rest.first().is_some_and(|&octet| !is_blank(octet))
                && rest.iter().any(|&octet| octet != b'-' && !is_blank(octet))
                && (!rest.iter().copied().any(is_blank) || is_named())
        })
    }
}

/// Where a line that begins with two hyphens follows. In a run of such lines the fast search's start would cost the most,
/// so the next few octets are looked at one by one.
fn find_dashes(text: &[u8]) -> Option<usize> {
    const NEAR: usize = 32;
    let near = &text[..text.len().min(NEAR)];
    let in_near = near.windows(3).position(|octets| octets == b"\n--");
    let behind = near.len().saturating_sub(2);
    in_near.or_else(|| memmem::find(&text[behind..], b"\n--").map(|at| behind + at))
}

/// What a part's header section says of it.
struct Part {
    content_type: Structured,
    disposition: Option<Structured>,
    encoding: Encoding,
    encoding_has_comment: bool,
    name: String,
    doubts: Doubts,
}

impl Part {
    fn read(header: &HeaderSection<'_>, default_type: &str) -> Self {
        let mut doubts = Doubts::NONE;
        let mut only = |name: &str| {
            let mut fields = header.all(name);
            let first = fields.next();
            doubts.insert_if(fields.next().is_some(), Doubt::DuplicateField);
            first.map(Field::unfolded)
        };
        let version = only("MIME-Version");
        let declared = only("Content-Type");
        let disposition = only("Content-Disposition");
        let encoding = only("Content-Transfer-Encoding");

        doubts.extend(version.map_or(Doubts::NONE, |version| field::mime_version(&version)));
        let named = declared.as_deref().map(field::content_type);
        let disposition = disposition.as_deref().map(field::content_disposition);
        let (name, name_doubts) = file_name(disposition.as_ref(), named.as_ref());
        doubts.extend(name_doubts);
        doubts.extend(disposition.as_ref().map_or(Doubts::NONE, |disposition| disposition.doubts));
        let mut content_type = named.unwrap_or_default();
        doubts.extend(content_type.doubts);
        if content_type.word.is_empty() {
            // RFC 2045 §5.2: what cannot be read is plain text, and a doubt besides.
            content_type.word = if declared.is_some() { "text/plain" } else { default_type }.to_owned();
        }
        let encoding_has_comment = encoding.as_ref().is_some_and(|value| value.contains(&b'('));
        let encoding = encoding.map_or(Encoding::SevenBit, |value| {
            let (word, met) = field::transfer_encoding(&value);
            doubts.extend(met);
            let encoding = Encoding::from_word(&word);
            doubts.insert_if(encoding == Encoding::Unknown, Doubt::BadEncoding);
            encoding
        });
        if let (true, Some(boundary)) = (is_multipart(&content_type.word), content_type.parameter("boundary"))
        {
            let raw = header.all("Content-Type").next().map_or(&b""[..], |field| field.value);
            doubts.insert_if(field::is_bad_boundary(boundary, raw), Doubt::BadBoundary);
        }
        Self { content_type, disposition, encoding, encoding_has_comment, name, doubts }
    }

    fn is_multipart(&self) -> bool {
        is_multipart(&self.content_type.word)
    }

    /// The boundary, where the part is a multipart that names one; doubts about it are noted.
    fn boundary(&self) -> Option<Vec<u8>> {
        let boundary = self.is_multipart().then(|| self.content_type.parameter("boundary")).flatten()?;
        Some(boundary.value.clone()).filter(|value| !value.is_empty())
    }

    /// RFC 2045 §6.4: a multipart or message has no encoding but 7bit, 8bit or binary.
    fn encoding_hides_parts(&self) -> bool {
        !self.encoding.is_identity()
    }

    /// The doubts about a leaf that its type and the start of its body raise.
    fn leaf_doubts(&self, body: &[u8]) -> Doubts {
        let word = self.content_type.word.as_str();
        let is_message = word.starts_with("message/");
        let mut doubts = Doubts::NONE;
        doubts.insert_if(self.is_multipart(), Doubt::NoBoundary);
        let is_encoded = || self.encoding_hides_parts() || reads_as_encoded(body);
        doubts.insert_if(is_message && is_encoded(), Doubt::EncodedContainer);
        doubts.insert_if(matches!(word, "message/partial" | "message/external-body"), Doubt::PartialMessage);
        let holds_fields = is_message || word == "text/rfc822-headers";
        doubts.insert_if(!holds_fields && begins_with_field(body), Doubt::FieldInBody);
        doubts.insert_if(!self.is_multipart() && self.names_boundary_in(body), Doubt::BadType);
        doubts
    }

    /// A boundary parameter on a leaf whose body holds that boundary.
    fn names_boundary_in(&self, body: &[u8]) -> bool {
        self.content_type.parameter("boundary").filter(|p| !p.value.is_empty()).is_some_and(|boundary| {
            let line = [b"--", boundary.value.as_slice()].concat();
            memmem::find_iter(body, &line).any(|at| at == 0 || body[at - 1] == b'\n')
        })
    }

    fn into_leaf(self, path: Arc<str>, body: Range<usize>) -> Leaf {
        let disposition = self.disposition.as_ref().map(|disposition| disposition.word.as_str());
        let media_type = self.content_type.word;
        let is_text = matches!(media_type.as_str(), "text/plain" | "text/html")
            && disposition != Some("attachment")
            && self.name.is_empty();
        let charset = self
            .content_type
            .parameters
            .iter()
            .find(|p| p.attribute == "charset" || p.attribute.starts_with("charset*"));
        Leaf {
            kind: if is_text { Kind::Text } else { Kind::Attachment },
            path,
            // RFC 2231 §4: `charset'language'` may stand before the value.
            charset: charset
                .and_then(|charset| charset.value.rsplit(|&octet| octet == b'\'').next())
                .map(lossy),
            is_inline: disposition.is_none_or(|disposition| disposition == "inline"),
            encoding: self.encoding,
            encoding_has_comment: self.encoding_has_comment,
            name: self.name,
            media_type,
            body,
        }
    }
}

fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn is_multipart(media_type: &str) -> bool {
    media_type.starts_with("multipart/")
}

/// Whether an attached message that is declared plain reads as one in base64 or quoted-printable. Its encoding is not
/// sealed, so that a relay could have changed it to show the encoded text in the message's place.
fn reads_as_encoded(body: &[u8]) -> bool {
    let first = first_line_with_text(body);
    let is_symbol = |octet: &u8| octet.is_ascii_alphanumeric() || b"+/=".contains(octet);
    let in_base64 = !first.is_empty() && first.len().is_multiple_of(4) && first.iter().all(is_symbol);
    let header_end = memmem::find(body, b"\r\n\r\n").unwrap_or(body.len());
    let has_escape = |at: usize| {
        let ends_in = |attribute: &[u8]| {
            at.checked_sub(attribute.len())
                .is_some_and(|start| body[start..at].eq_ignore_ascii_case(attribute))
        };
        ends_in(b"charset") || ends_in(b"boundary")
    };
    in_base64 || memmem::find_iter(&body[..header_end], b"=3D").any(has_escape)
}

/// The first line of a body, empty ones aside.
fn first_line_with_text(body: &[u8]) -> &[u8] {
    let text = &body[body.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).count()..];
    let line = text.split(|&octet| octet == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether the first line of a body, empty ones aside, reads as a MIME field.
fn begins_with_field(body: &[u8]) -> bool {
    let line = first_line_with_text(body);
    !line.first().copied().is_some_and(is_blank) && reads_as_mime_field(line)
}
