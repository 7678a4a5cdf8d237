//! The strict walk: a message's raw octets to its parts (RFC 2046 §5.1), once from top to bottom, without recursion. It
//! never fails and judges nothing: it gives one reading, the same at both ends, and [`crate::manifest::judge`] asks where another
//! reader could see something else.

use std::ops::Range;
use std::sync::Arc;

use memchr::{memchr, memmem};

use super::field::{self, Structured};
use super::leaf::{Encoding, Kind, Leaf};
use super::name::file_name;
use crate::doubt::Doubt;
use crate::message::header::{Field, HeaderSection, is_blank};

/// Most leaves of a message, and most containers (SPEC.md §11).
pub const MAX_LEAVES: usize = 1000;

/// Most multiparts around a leaf (SPEC.md §11).
pub const MAX_DEPTH: usize = 100;

/// What the walk found.
#[derive(Debug, Default)]
pub struct Structure {
    /// The leaves in document order, depth first.
    pub leaves: Vec<Leaf>,
    /// All parts in document order, the message itself first, a container before what it holds.
    pub entities: Vec<Entity>,
    /// The limit at which the walk was cut short: `too-deep`, `too-many-parts` or `header-too-long`.
    pub limit: Option<Doubt>,
}

impl Structure {
    /// Most multiparts around one of its leaves.
    pub(crate) fn levels(&self) -> usize {
        self.leaves.iter().map(|leaf| levels(&leaf.path)).max().unwrap_or(0)
    }
}

/// How many multiparts are around the leaf at a path.
pub(crate) fn levels(path: &str) -> usize {
    if path.is_empty() { 0 } else { path.split('.').count() }
}

/// The message itself or a part of it: a header section and a body.
#[derive(Clone, Debug)]
pub struct Entity {
    /// Its header section with the empty line at the end; of the message, the whole header section.
    pub header: Range<usize>,
    /// Whether an empty line ends the header section.
    pub has_blank_line: bool,
    /// The body, without the CR LF that belongs to the delimiter behind it.
    pub body: Range<usize>,
    /// The container around it, as an index into the entities.
    pub parent: Option<usize>,
    /// The type that it has if its header section names none.
    pub default_type: &'static str,
    /// A container's shape; a leaf has none.
    pub container: Option<Container>,
}

/// The inside of a multipart.
#[derive(Clone, Debug)]
pub struct Container {
    /// The boundary.
    pub boundary: Vec<u8>,
    /// The lower-case subtype.
    pub subtype: String,
    /// Its own parts, as indices into the entities.
    pub parts: Vec<usize>,
    /// What stands around the parts, one more than there are: the preamble with the first delimiter, the delimiters with
    /// the CR LF before each, and the closing delimiter with the epilogue.
    pub gaps: Vec<Range<usize>>,
    /// Whether its closing delimiter was found.
    pub is_closed: bool,
}

/// Finds the parts of a message whose header section has been split.
pub fn walk(message: &[u8], header: &HeaderSection<'_>) -> Structure {
    let mut walk = Walk {
        message,
        open: Vec::new(),
        live: Vec::new(),
        first_octets: [false; 256],
        start: delimiter_start(&[]),
        found: Structure::default(),
    };
    let top = Part::read(header, "text/plain");
    let at = Place {
        header: 0..header.body_start,
        has_blank_line: header.has_blank_line,
        default_type: "text/plain",
    };
    let mut next = walk.enter(top, at);
    while let Some(start) = next {
        next = walk.read_part(start);
    }
    walk.end_all();
    mark_offered_html(&mut walk.found);
    walk.found
}

/// A multipart that is being read.
struct Open {
    /// Its index into the entities.
    entity: usize,
    boundary: Vec<u8>,
    path: Arc<str>,
    /// Type of a child that names none: message/rfc822 in a digest (RFC 2046 §5.1.5).
    default_type: &'static str,
    /// Where the gap began that the next delimiter ends.
    gap: usize,
}

/// Where a part's header section is.
struct Place {
    header: Range<usize>,
    has_blank_line: bool,
    default_type: &'static str,
}

struct Walk<'a> {
    message: &'a [u8],
    /// The multiparts around the current place, outermost first.
    open: Vec<Open>,
    /// Indices into `open`, sorted by boundary, so that a line is compared with few of them.
    live: Vec<usize>,
    /// Which octets a live boundary begins with.
    first_octets: [bool; 256],
    /// What all delimiters begin with, behind the line end before them.
    start: memmem::Finder<'static>,
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
        let default_type = self.open.last()?.default_type;
        let header =
            HeaderSection::parse_at(message, start, message.len(), |line| self.live_prefix(line).is_some());
        if header.doubts().contains(Doubt::HeaderTooLong) {
            return self.stop(Doubt::HeaderTooLong);
        }
        let place =
            Place { header: start..header.body_start, has_blank_line: header.has_blank_line, default_type };
        self.enter(Part::read(&header, default_type), place)
    }

    fn stop(&mut self, limit: Doubt) -> Option<usize> {
        self.found.limit = Some(limit);
        None
    }

    /// Takes a part, and returns where the next part starts.
    fn enter(&mut self, part: Part, place: Place) -> Option<usize> {
        if self.found.entities.len() == 2 * MAX_LEAVES {
            return self.stop(Doubt::TooManyParts);
        }
        let entity = self.found.entities.len();
        let body = place.header.end;
        let parent = self.open.last().map(|open| open.entity);
        if let Some(container) = parent.and_then(|parent| self.found.entities[parent].container.as_mut()) {
            container.parts.push(entity);
        }
        self.found.entities.push(Entity {
            header: place.header,
            has_blank_line: place.has_blank_line,
            body: body..self.message.len(),
            parent,
            default_type: place.default_type,
            container: None,
        });
        let path = self.open.last().map(|open| Arc::clone(&open.path)).unwrap_or_default();
        let Some(boundary) = part.boundary() else {
            return self.end_leaf(part, entity, &path);
        };
        if self.open.len() == MAX_DEPTH {
            return self.stop(Doubt::TooDeep);
        }
        let subtype = part.content_type.word.split_once('/').map_or("", |(_, subtype)| subtype).to_owned();
        let inner: Arc<str> =
            if path.is_empty() { subtype.as_str().into() } else { format!("{path}.{subtype}").into() };
        let default_type = if subtype == "digest" { "message/rfc822" } else { "text/plain" };
        self.push(Open { entity, boundary: boundary.clone(), path: inner, default_type, gap: body });
        match self.next_delimiter(body) {
            Some(first) if first.owner == self.open.len() - 1 => {
                self.found.entities[entity].container = Some(Container {
                    boundary,
                    subtype,
                    parts: Vec::new(),
                    gaps: Vec::new(),
                    is_closed: false,
                });
                self.pass(first)
            }
            // The boundary never occurs in the body: no container but a leaf.
            _ => {
                self.pop();
                self.end_leaf(part, entity, &path)
            }
        }
    }

    /// Notes the leaf, and returns where the next part starts.
    fn end_leaf(&mut self, part: Part, entity: usize, path: &Arc<str>) -> Option<usize> {
        let body = self.found.entities[entity].body.start;
        let delimiter = self.next_delimiter_behind(body, self.first_hyphen(body));
        let end = delimiter.map_or(self.message.len(), |delimiter| self.end_before(delimiter.start, body));
        if self.found.leaves.len() == MAX_LEAVES {
            return self.stop(Doubt::TooManyParts);
        }
        self.found.entities[entity].body.end = end;
        if let Some(open) = self.open.last_mut() {
            open.gap = end;
        }
        self.found.leaves.push(part.into_leaf(Arc::clone(path), body..end, entity));
        self.pass(delimiter?)
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
                self.end_container(delimiter.start, false);
            }
            if !delimiter.closes {
                let open = &mut self.open[delimiter.owner];
                let (entity, gap) = (open.entity, open.gap..delimiter.end);
                open.gap = delimiter.end;
                if let Some(container) = &mut self.found.entities[entity].container {
                    container.gaps.push(gap);
                }
                return Some(delimiter.end);
            }
            let own = self.open.pop()?;
            self.forget(self.open.len());
            let next = self.next_delimiter(delimiter.end);
            let end = next.map_or(self.message.len(), |next| self.end_before(next.start, delimiter.end));
            self.close(&own, end, true);
            delimiter = next?;
        }
    }

    /// Ends the innermost open multipart before the delimiter of another one, at `start`.
    fn end_container(&mut self, start: usize, is_closed: bool) {
        if let Some(own) = self.open.pop() {
            self.forget(self.open.len());
            let end = self.end_before(start, own.gap);
            self.close(&own, end, is_closed);
        }
    }

    /// Notes where a multipart ends that is no longer open.
    fn close(&mut self, own: &Open, end: usize, is_closed: bool) {
        let entity = &mut self.found.entities[own.entity];
        entity.body.end = end.max(own.gap);
        if let Some(container) = &mut entity.container {
            container.gaps.push(own.gap..entity.body.end);
            container.is_closed = is_closed;
        }
        if let Some(outer) = self.open.last_mut() {
            outer.gap = end.max(own.gap);
        }
    }

    /// The message ended inside the multiparts that are open still.
    fn end_all(&mut self) {
        while !self.open.is_empty() {
            self.end_container(self.message.len(), false);
        }
    }

    /// The next line at or behind `from` that is a delimiter of an open multipart.
    fn next_delimiter(&self, from: usize) -> Option<Delimiter> {
        self.next_delimiter_behind(from, from)
    }

    /// The same, where no hyphen stands between `from` and `hyphen`.
    fn next_delimiter_behind(&self, from: usize, hyphen: usize) -> Option<Delimiter> {
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
        while let Some(found) = find_start(&message[at..], &self.start) {
            let start = at + found + 1;
            if start >= from + 2
                && message[start - 2] == b'\r'
                && let Some(delimiter) = self.delimiter_at(start)
            {
                return Some(delimiter);
            }
            at = start;
        }
        None
    }

    /// Whether the line at `start`, which begins with `--`, is a delimiter.
    fn delimiter_at(&self, start: usize) -> Option<Delimiter> {
        let rest = &self.message[start..];
        let owner = self.live_prefix(rest)?;
        let after = &rest[2 + self.open[owner].boundary.len()..];
        let (closes, after) = after.strip_prefix(b"--").map_or((false, after), |after| (true, after));
        let padding = after.iter().take_while(|&&octet| is_blank(octet)).count();
        let line_end = &after[padding..];
        if !(line_end.starts_with(b"\r\n") || line_end.is_empty()) {
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

    fn push(&mut self, open: Open) {
        let at = self.live.partition_point(|&index| self.open[index].boundary <= open.boundary);
        self.live.insert(at, self.open.len());
        self.open.push(open);
        self.note_first_octets();
    }

    fn pop(&mut self) {
        self.open.pop();
        self.forget(self.open.len());
    }

    /// Forgets the boundary of a multipart that was just taken off `open`.
    fn forget(&mut self, depth: usize) {
        self.live.retain(|&index| index != depth);
        self.note_first_octets();
    }

    fn note_first_octets(&mut self) {
        self.first_octets = [false; 256];
        for octet in self.open.iter().filter_map(|open| open.boundary.first()) {
            self.first_octets[usize::from(*octet)] = true;
        }
        self.start = delimiter_start(&self.open);
    }

    /// RFC 2046 §5.1.1: the CR LF before a delimiter line belongs to the delimiter.
    fn end_before(&self, delimiter: usize, body: usize) -> usize {
        let line_start = delimiter.max(body);
        let before = &self.message[body..line_start];
        body + before.strip_suffix(b"\r\n").unwrap_or(before).len()
    }
}

/// HTML that is neither the first leaf nor in an alternative with it is offered as a file by Outlook and others: it is an
/// attachment (SPEC.md §6).
fn mark_offered_html(found: &mut Structure) {
    let Structure { leaves, entities, .. } = found;
    let around = |entity: usize| std::iter::successors(entities[entity].parent, |&at| entities[at].parent);
    let is_alternative = |at: &usize| {
        entities[*at].container.as_ref().is_some_and(|container| container.subtype == "alternative")
    };
    let Some(first) = leaves.first() else { return };
    let shared: Vec<usize> = around(first.entity).filter(is_alternative).collect();
    for leaf in leaves.iter_mut().skip(1) {
        let is_html = leaf.kind == Kind::Text && leaf.media_type == "text/html";
        if is_html && !around(leaf.entity).any(|at| shared.contains(&at)) {
            leaf.kind = Kind::Attachment;
            leaf.is_offered_html = true;
        }
    }
}

/// What the delimiters of these multiparts begin with: a line end, two hyphens, and what their boundaries have in common.
fn delimiter_start(open: &[Open]) -> memmem::Finder<'static> {
    const MAX_COMMON: usize = 8;
    let mut boundaries = open.iter().map(|open| open.boundary.as_slice());
    let first = boundaries.next().unwrap_or_default();
    let common = boundaries.fold(&first[..first.len().min(MAX_COMMON)], |common, boundary| {
        let length = common.iter().zip(boundary).take_while(|(one, other)| one == other).count();
        &common[..length]
    });
    memmem::Finder::new(&[b"\n--", common].concat()).into_owned()
}

/// Where a line that begins so follows. In a run of such lines the fast search's start would cost the most, so the next few
/// octets are looked at one by one.
fn find_start(text: &[u8], start: &memmem::Finder<'_>) -> Option<usize> {
    const NEAR: usize = 32;
    let needle = start.needle();
    let near = &text[..text.len().min(NEAR)];
    let in_near = near.windows(needle.len()).position(|octets| octets == needle);
    let behind = (near.len() + 1).saturating_sub(needle.len());
    in_near.or_else(|| start.find(&text[behind..]).map(|at| behind + at))
}

/// What a part's header section says of it.
struct Part {
    content_type: Structured,
    disposition: Option<Structured>,
    encoding: Encoding,
    name: String,
}

impl Part {
    fn read(header: &HeaderSection<'_>, default_type: &str) -> Self {
        let first = |name: &str| header.all(name).next().map(Field::unfolded);
        let declared = first("Content-Type");
        let disposition = first("Content-Disposition").as_deref().map(field::content_disposition);
        let named = declared.as_deref().map(field::content_type);
        let name = file_name(disposition.as_ref(), named.as_ref());
        let mut content_type = named.unwrap_or_default();
        if content_type.word.is_empty() {
            // RFC 2045 §5.2: what cannot be read is plain text.
            content_type.word = if declared.is_some() { "text/plain" } else { default_type }.to_owned();
        }
        let encoding = first("Content-Transfer-Encoding")
            .map_or(Encoding::SevenBit, |value| Encoding::from_word(&field::transfer_encoding(&value)));
        Self { content_type, disposition, encoding, name }
    }

    /// The boundary, where the part is a multipart that names one.
    fn boundary(&self) -> Option<Vec<u8>> {
        let is_multipart = self.content_type.word.starts_with("multipart/");
        let boundary = is_multipart.then(|| self.content_type.parameter("boundary")).flatten()?;
        Some(boundary.value.clone()).filter(|value| !value.is_empty())
    }

    fn into_leaf(self, path: Arc<str>, body: Range<usize>, entity: usize) -> Leaf {
        let disposition = self.disposition.as_ref().map(|disposition| disposition.word.as_str());
        let parameters = self.decisive_parameters();
        let charset = self.charset();
        let media_type = self.content_type.word;
        let is_text = matches!(media_type.as_str(), "text/plain" | "text/html")
            && disposition != Some("attachment")
            && self.name.is_empty();
        Leaf {
            kind: if is_text { Kind::Text } else { Kind::Attachment },
            path,
            charset,
            parameters,
            is_inline: disposition.is_none_or(|disposition| disposition == "inline"),
            is_offered_html: false,
            encoding: self.encoding,
            name: self.name,
            media_type,
            body,
            entity,
        }
    }

    fn charset(&self) -> Option<String> {
        let mut parameters = self.content_type.parameters.iter();
        let charset = parameters.find(|p| p.attribute == "charset" || p.attribute.starts_with("charset*"))?;
        // RFC 2231 §4: `charset'language'` may stand before the value.
        charset.value.rsplit(|&octet| octet == b'\'').next().map(lossy)
    }

    /// The parameters that decide what readers make of the octets of a text, in the form that a manifest has them in
    /// (SPEC.md §6): a charset other than ASCII, a text that flows, what is asked about an appointment.
    fn decisive_parameters(&self) -> String {
        if !self.content_type.word.starts_with("text/") {
            return String::new();
        }
        let mut text = String::new();
        for attribute in ["charset", "delsp", "format", "method"] {
            let value = match attribute {
                "charset" => self.charset(),
                _ => self.content_type.parameter(attribute).map(|parameter| lossy(&parameter.value)),
            };
            let value = value.unwrap_or_default().trim().to_ascii_lowercase();
            let is_default = matches!(
                (attribute, value.as_str()),
                (_, "") | ("charset", "us-ascii" | "ascii") | ("delsp", "no") | ("format", "fixed")
            );
            if !is_default && (attribute != "method" || self.content_type.word == "text/calendar") {
                text.push_str(&format!(";{attribute}={value}"));
            }
        }
        text
    }
}

fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
