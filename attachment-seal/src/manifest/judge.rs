//! What of a changed message is untouched, and whether the rest is plain (SPEC.md §8 steps 9 to 11 and §12): untouched is
//! untouched, however oddly it was written; whatever was touched must be of a form that every reader sees alike.

use std::collections::HashMap;
use std::ops::Range;

use memchr::memmem;

use super::compare::{Comparison, Found, Growth, TextState};
use super::{Entry, Kind, LinkChanges, Manifest, Parts, SealedLinks, digests, links};
use crate::doubt::{Doubt, Remark, Remarks};
use crate::message::header::{HeaderSection, is_blank, reads_as_mime_field};
use crate::message::line_ends;
use crate::mime::decode::{Decoder, EIGHT_BIT, has_bare_line_end};
use crate::mime::levels;
use crate::mime::marks::{self, Mark, encoding, groups, is_named, plain_encoding};
use crate::mime::octets;
use crate::mime::plain::{self, Flaw, Plain, Section};
use crate::mime::scan::{Links, Scanned, TextScan, holds_file};
use crate::mime::text::Canonical;
use crate::mime::{
    self, Digest, Encoding, Entity, Leaf, READERS_DEPTH, READERS_PARTS, Structure, second_view,
};

/// What became of a body that was changed on the way.
#[derive(Debug)]
pub struct Findings {
    /// What became of its leaves.
    pub comparison: Comparison,
    /// What became of its links, where its texts are not intact and the seal lists links.
    pub links: Option<LinkChanges>,
    /// Why readers could disagree about it.
    pub remarks: Remarks,
}

/// What a seal says of a message's body.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'a> {
    /// The leaves.
    pub manifest: &'a Manifest,
    /// All parts; `None` of a seal that does not list them.
    pub parts: Option<&'a Parts>,
    /// The links of its texts; `None` of a seal that does not list them.
    pub links: Option<&'a SealedLinks>,
    /// Whether the fields that say what the body is are as sealed, MIME-Version included.
    pub has_structure: bool,
}

/// Judges a message by what was sealed.
pub fn judge(message: &[u8], header: &HeaderSection<'_>, sealed: Sealed<'_>) -> Findings {
    let Sealed { manifest, parts, has_structure, .. } = sealed;
    let structure = mime::walk(message, header);
    if let Some(limit) = structure.limit {
        let remarks = Remarks::from(Remark::new(limit, "the message", "goes beyond what a seal can cover"));
        return Findings { comparison: Comparison::none(), links: None, remarks };
    }
    let digests = digests(message, &structure.leaves);
    let marks = marks::marks(message, header, &structure, &digests);
    let untouched = Untouched::find(message, &structure, &marks, parts);
    let found = found_leaves(message, &structure, &digests, &untouched, parts);
    let comparison = Comparison::of(manifest, &found, |at, sealed| {
        grown(message, &structure.leaves[at], digests[at].size, sealed)
    });
    let mut judge = Judge {
        message,
        structure: &structure,
        digests: &digests,
        marks: &marks,
        sealed: manifest,
        parts,
        has_structure,
        untouched,
        comparison: &comparison,
        remarks: Remarks::default(),
        scanned: vec![None; structure.leaves.len()],
    };
    judge.run();
    let Judge { remarks, mut scanned, .. } = judge;
    let links = sealed.links.filter(|_| comparison.text != TextState::Intact).map(|sealed| {
        // HTML that is offered as a file here may have been sealed as a text.
        let is_text = |at: usize, leaf: &Leaf| leaf.kind == Kind::Text || comparison.growth[at].is_some();
        let mut decoder = Decoder::default();
        let mut found = Links::default();
        for (at, (leaf, digest)) in structure.leaves.iter().zip(&digests).enumerate() {
            if is_text(at, leaf) {
                let known = scanned[at].take();
                let scanned = known.unwrap_or_else(|| links::scan(message, leaf, &mut decoder));
                links::take(&mut found, scanned, digest);
            }
        }
        LinkChanges::of(sealed, &found)
    });
    Findings { comparison, links, remarks }
}

/// What about a message is not plain, as it stands, whether it was sealed or not.
pub fn plainness(message: &[u8], header: &HeaderSection<'_>) -> Remarks {
    let structure = mime::walk(message, header);
    let manifest = Manifest::of(&structure.leaves, &digests(message, &structure.leaves));
    judge(message, header, Sealed { manifest: &manifest, parts: None, links: None, has_structure: false })
        .remarks
}

/// Which parts are as they were sealed.
struct Untouched {
    /// For each part the sealed one that it is, if it is untouched; not set for what an untouched container holds.
    partner: Vec<Option<usize>>,
    /// Whether a part is, or is inside, one that is untouched.
    covered: Vec<bool>,
    /// Sealed parts that are found again.
    used: Vec<bool>,
}

impl Untouched {
    /// Goes through the parts in document order, the outermost first, and uses each sealed part once.
    fn find(message: &[u8], structure: &Structure, marks: &[Mark], parts: Option<&Parts>) -> Self {
        let entities = &structure.entities;
        let sealed = parts.map(Parts::as_slice).unwrap_or_default();
        let mut found = Self {
            partner: vec![None; entities.len()],
            covered: vec![false; entities.len()],
            used: vec![false; sealed.len()],
        };
        let mut by_body: HashMap<[u8; 12], Vec<usize>> = HashMap::new();
        for (at, part) in sealed.iter().enumerate().rev() {
            by_body.entry(part.body).or_default().push(at);
        }
        for (at, entity) in entities.iter().enumerate() {
            if entity.parent.is_some_and(|parent| found.covered[parent]) {
                found.covered[at] = true;
                continue;
            }
            let (Some(parts), mark) = (parts, &marks[at]) else { continue };
            let key: [u8; 12] = mark.body.as_bytes()[..12].try_into().expect("a hash is longer");
            let candidates = by_body.get(&key).map(Vec::as_slice).unwrap_or_default();
            // The sealed message has marks of its own form, and may be wrapped.
            let is_same = |&&candidate: &&usize| {
                let is_message = candidate == 0 && at > 0;
                !found.used[candidate]
                    && !is_message
                    && sealed[candidate].has_fields(mark)
                    && (candidate > 0) == (at > 0)
            };
            let partner = candidates.iter().rev().find(is_same).copied().or_else(|| {
                let is_wrapped = at > 0 && !found.used.first().copied().unwrap_or(true);
                (is_wrapped && is_sealed_message(message, structure, at, marks, &sealed[0])).then_some(0)
            });
            if let Some(partner) = partner {
                found.partner[at] = Some(partner);
                found.covered[at] = true;
                let extent = parts.extent(partner);
                found.used[partner..partner + extent].fill(true);
            }
        }
        found
    }
}

/// Whether a part is the sealed message itself, which somebody wrapped: its `Content-*` fields and body, and no other
/// field that any reader minds.
fn is_sealed_message(
    message: &[u8],
    structure: &Structure,
    at: usize,
    marks: &[Mark],
    sealed: &super::Part,
) -> bool {
    let entity = &structure.entities[at];
    let section = &message[entity.header.clone()];
    let own = Mark { fields: HeaderSection::parse(section).content_hash(), ..marks[at] };
    // Before the body is hashed once more: most parts are no messages that somebody wrapped.
    if !sealed.has_fields(&own) {
        return false;
    }
    let own = Mark { body: top_level_body(message, structure, at, marks), ..own };
    let is_minded = |group: &[u8]| {
        let name = marks::field(group).map(|(name, _)| name.to_ascii_lowercase());
        name.is_none_or(|name| !name.starts_with(b"content-"))
    };
    let others: Vec<u8> = groups(section)
        .filter(|group| is_minded(group))
        .flat_map(|group| [group, b"\r\n"].concat())
        .collect();
    entity.default_type == "text/plain"
        && entity.has_blank_line
        && sealed.has_body(&own)
        && plain::header_section(&others, Section::Part).is_ok()
}

/// The body's mark as it would be if the part were a message: of a leaf, without the empty lines at its end.
fn top_level_body(message: &[u8], structure: &Structure, at: usize, marks: &[Mark]) -> blake3::Hash {
    let entity = &structure.entities[at];
    let Some(leaf) = structure.leaves.iter().find(|leaf| leaf.entity == at) else { return marks[at].body };
    let alone = Leaf { path: "".into(), ..leaf.clone() };
    let digest = mime::digest(message, &alone, &mut Decoder::default());
    marks::body(&message[entity.header.clone()], &digest.form)
}

/// The leaves of the message at hand, with what is known of each.
fn found_leaves(
    message: &[u8],
    structure: &Structure,
    digests: &[Digest],
    untouched: &Untouched,
    parts: Option<&Parts>,
) -> Vec<Found> {
    let mut decoder = Decoder::default();
    let sealed = parts.map(Parts::as_slice).unwrap_or_default();
    let leaves = structure.leaves.iter().zip(digests);
    leaves
        .map(|(leaf, digest)| {
            let as_text = leaf.is_offered_html.then(|| {
                let text = Leaf { kind: Kind::Text, ..leaf.clone() };
                Entry::of(&text, &mime::digest(message, &text, &mut decoder))
            });
            let mut found = Found {
                entry: Entry::of(leaf, digest),
                is_inline: leaf.is_inline,
                as_text,
                untouched: sealed_part(structure, untouched, leaf.entity).and_then(|at| sealed[at].leaf),
                is_ascii: leaf.kind == Kind::Attachment && is_ascii_text(message, leaf),
            };
            if parts.is_none() {
                // Such a seal names no parameters.
                found.entry.parameters.clear();
                found.as_text.iter_mut().for_each(|entry| entry.parameters.clear());
            }
            found
        })
        .collect()
}

/// Whether a text is printable ASCII that no reader takes for a shift to other characters, of a type that names no charset
/// in its octets.
fn is_ascii_text(message: &[u8], leaf: &Leaf) -> bool {
    let names_charset = ["html", "xml", "xsl", "css"].iter().any(|word| leaf.media_type.contains(word));
    if !leaf.is_text_type() || names_charset {
        return false;
    }
    let (mut is_ascii, mut last, mut first) = (true, 0, None);
    Decoder::default().decode(&message[leaf.body.clone()], leaf.encoding, &mut |window| {
        // HZ shifts to Chinese with `~{`.
        let shifts = last == b'~' && window.first() == Some(&b'{') || memmem::find(window, b"~{").is_some();
        is_ascii &=
            !shifts && window.iter().all(|octet| matches!(octet, b'\t' | b'\r' | b'\n' | b' '..=b'~'));
        first = first.or_else(|| window.iter().copied().find(u8::is_ascii_graphic));
        last = window.last().copied().unwrap_or(last);
    });
    // XML under a name of its own, such as WML.
    is_ascii && first != Some(b'<')
}

/// The sealed part that an untouched part is: the one that its outermost untouched container is, and so many further.
fn sealed_part(structure: &Structure, untouched: &Untouched, at: usize) -> Option<usize> {
    let mut outer = at;
    while untouched.partner[outer].is_none() {
        outer = structure.entities[outer].parent.filter(|&parent| untouched.covered[parent])?;
    }
    untouched.partner[outer].map(|partner| partner + (at - outer))
}

/// Of which of the sealed texts a changed one came, whose canonical form has `size` octets, and whether that is its beginning
/// or its end.
fn grown(message: &[u8], leaf: &Leaf, size: u64, sealed: &[&Entry]) -> Option<(usize, Growth)> {
    let shorter = sealed.iter().enumerate().filter(|(_, entry)| entry.size < size);
    let mut ends: Vec<(usize, &Entry, Ends)> =
        shorter.map(|(number, entry)| (number, *entry, Ends::default())).collect();
    if ends.is_empty() || plain::is_wide(leaf.charset.as_deref().unwrap_or_default().as_bytes()) {
        return None;
    }
    let mut at = 0;
    each_canonical_piece(message, leaf, &mut |piece| {
        ends.iter_mut().for_each(|(_, entry, ends)| ends.take(piece, at, entry.size..size - entry.size));
        at += piece.len() as u64;
    });
    ends.iter().find_map(|(number, entry, ends)| {
        let (state, at) = if ends.start.finalize() == entry.hash {
            (TextState::Appended, entry.size)
        } else if ends.end.finalize() == entry.hash {
            (TextState::Prepended, size - entry.size)
        } else {
            return None;
        };
        Some((*number, Growth { state, at }))
    })
}

/// The beginning and the end of a text, each as long as a sealed one.
#[derive(Default)]
struct Ends {
    start: blake3::Hasher,
    end: blake3::Hasher,
}

impl Ends {
    /// Takes the piece at `at`; the beginning ends where `ends` says first, and the end begins where it says then.
    fn take(&mut self, piece: &[u8], at: u64, ends: Range<u64>) {
        let within =
            |offset: u64| usize::try_from(offset.saturating_sub(at)).unwrap_or(usize::MAX).min(piece.len());
        self.start.update(&piece[..within(ends.start)]);
        self.end.update(&piece[within(ends.end)..]);
    }
}

fn each_canonical_piece(message: &[u8], leaf: &Leaf, out: &mut impl FnMut(&[u8])) {
    let mut canonical = Canonical::default();
    Decoder::default()
        .decode(&message[leaf.body.clone()], leaf.encoding, &mut |window| canonical.update(window, out));
    canonical.finish(out);
}

struct Judge<'a> {
    message: &'a [u8],
    structure: &'a Structure,
    digests: &'a [Digest],
    marks: &'a [Mark],
    sealed: &'a Manifest,
    parts: Option<&'a Parts>,
    has_structure: bool,
    untouched: Untouched,
    comparison: &'a Comparison,
    remarks: Remarks,
    /// What the texts hold that were looked through as they are.
    scanned: Vec<Option<Scanned>>,
}

/// A container that was touched, and how.
struct Touched {
    entity: usize,
    /// Whether its fields are as sealed, and only what it holds has changed.
    as_sealed: bool,
    is_plain: bool,
}

impl Judge<'_> {
    fn run(&mut self) {
        if let Some(what) = self.comparison.container_changed {
            self.remarks.add(Remark::new(Doubt::ContainerChanged, "an attachment", what));
        }
        self.check_limits();
        if !self.has_structure {
            self.check_version();
        }
        let mut touched = Vec::new();
        let mut leaf = 0;
        for (at, entity) in self.structure.entities.iter().enumerate() {
            let own_leaf = entity.container.is_none().then_some(leaf);
            leaf += usize::from(entity.container.is_none());
            if self.untouched.covered[at] {
                continue;
            }
            let read = self.check_fields(at, own_leaf);
            match own_leaf {
                Some(own) => self.check_leaf(at, own),
                None => {
                    let as_sealed = read.is_none();
                    let is_plain = !as_sealed || self.has_plain_boundary(at);
                    touched.push(Touched { entity: at, as_sealed, is_plain });
                    self.check_container(at);
                }
            }
        }
        self.check_lines(&touched);
        if self.remarks.is_empty() && touched.iter().all(|container| container.is_plain) {
            let covered = |leaf: &Leaf| self.untouched.covered[leaf.entity];
            if !second_view::agrees(self.message, &self.structure.leaves, covered) {
                self.remarks.add(Remark::new(
                    Doubt::ViewsDiffer,
                    "the message",
                    "is read differently by a second parser",
                ));
            }
        }
    }

    fn add(&mut self, doubt: Doubt, at: usize, what: &'static str) {
        self.remarks.add(Remark::new(doubt, &self.name(at), what));
    }

    fn note(&mut self, at: usize, flaw: &Flaw) {
        let place = format!("{}: {}", self.name(at), flaw.place);
        self.remarks.add(Remark::new(Doubt::NotPlain, &place, flaw.what));
    }

    /// What people call a part.
    fn name(&self, at: usize) -> String {
        let leaf = self.structure.leaves.iter().find(|leaf| leaf.entity == at);
        match (at, leaf) {
            (0, _) => "the message".to_owned(),
            (_, Some(leaf)) if !leaf.name.is_empty() => format!("part {at} ({})", leaf.name),
            (_, Some(leaf)) => format!("part {at} ({})", leaf.media_type),
            _ => format!("part {at}"),
        }
    }

    fn section(&self, at: usize) -> Result<Plain, Flaw> {
        let entity = &self.structure.entities[at];
        let kind = if at == 0 { Section::Message } else { Section::Part };
        plain::header_section(&self.message[entity.header.clone()], kind)
    }

    fn has_plain_boundary(&self, at: usize) -> bool {
        let kind = if at == 0 { Section::Message } else { Section::Part };
        plain::has_plain_boundary(&self.message[self.structure.entities[at].header.clone()], kind)
    }

    fn check_limits(&mut self) {
        let sealed_levels = self.sealed.entries.iter().map(|entry| levels(&entry.path)).max().unwrap_or(0);
        if self.structure.levels() > READERS_DEPTH.max(sealed_levels) {
            self.remarks.add(Remark::new(
                Doubt::TooDeep,
                "the message",
                "is nested deeper than readers follow",
            ));
        }
        if self.structure.leaves.len() > READERS_PARTS.max(self.sealed.entries.len()) {
            self.remarks.add(Remark::new(
                Doubt::TooManyParts,
                "the message",
                "has more parts than readers show",
            ));
        }
    }

    /// The sealed part whose fields a touched part has, if any: of an attachment only the one that it is or was.
    fn has_sealed_fields(&self, at: usize, leaf: Option<usize>) -> bool {
        self.are_sealed_fields(&self.marks[at], at, leaf)
    }

    /// The same of the fields that a mark covers.
    fn are_sealed_fields(&self, mark: &Mark, at: usize, leaf: Option<usize>) -> bool {
        let Some(parts) = self.parts else { return false };
        let is_own = |part: &super::Part| match leaf {
            None => part.parts.is_some(),
            Some(leaf) => {
                let found = &self.structure.leaves[leaf];
                match self.comparison.sealed_for[leaf] {
                    Some(sealed) => part.leaf == Some(sealed),
                    None => found.kind == Kind::Text && part.leaf.is_some(),
                }
            }
        };
        parts.as_slice().iter().enumerate().any(|(number, part)| {
            (number == 0) == (at == 0)
                && !self.untouched.used[number]
                && is_own(part)
                && part.has_fields(mark)
        })
    }

    /// Whether an attachment's fields are the sealed ones, its description with them, but for a charset at the end of its
    /// Content-Type and for the place of that field among them.
    fn has_sealed_description(&self, at: usize, leaf: usize) -> bool {
        let entity = &self.structure.entities[at];
        let (types, others): (Vec<&[u8]>, Vec<&[u8]>) =
            groups(&self.message[entity.header.clone()]).partition(|group| is_named(group, b"content-type"));
        let [media_type] = types[..] else { return false };
        let media_type = plain::without_charset_at_end(media_type);
        (0..=others.len()).any(|place| {
            let mut fields = others.clone();
            fields.insert(place, media_type);
            let section = [fields.join(&b"\r\n"[..]).as_slice(), b"\r\n\r\n"].concat();
            let mark = Mark { fields: marks::part_fields(&section, entity), ..self.marks[at] };
            self.are_sealed_fields(&mark, at, Some(leaf))
        })
    }

    /// Checks the fields of a touched part; gives what they say, or nothing where they are as sealed.
    fn check_fields(&mut self, at: usize, leaf: Option<usize>) -> Option<Plain> {
        let entity = &self.structure.entities[at];
        if self.has_sealed_fields(at, leaf) || at == 0 && self.has_structure {
            return None;
        }
        if leaf.is_some_and(|leaf| self.structure.leaves[leaf].media_type.starts_with("multipart/")) {
            self.add(Doubt::NoBoundary, at, "is a multipart whose boundary never occurs");
            return Some(Plain { has_fields: true, ..Plain::default() });
        }
        if !entity.has_blank_line && at > 0 {
            self.add(Doubt::NotPlain, at, "has no empty line after its header section");
        }
        match self.section(at) {
            Ok(plain) => {
                self.check_reading(at, leaf, &plain);
                Some(plain)
            }
            // A multipart of the sender's own kind stays one.
            Err(flaw) if flaw.what == plain::UNKNOWN_MULTIPART && self.is_sealed_multipart(at) => {
                Some(Plain::default())
            }
            Err(flaw) => {
                self.note(at, &flaw);
                Some(Plain { has_fields: true, ..Plain::default() })
            }
        }
    }

    /// Whether a container's subtype was sealed around some leaf.
    fn is_sealed_multipart(&self, at: usize) -> bool {
        let container = self.structure.entities[at].container.as_ref();
        container.is_some_and(|container| {
            let is_around = |entry: &Entry| entry.path.split('.').any(|subtype| subtype == container.subtype);
            self.sealed.entries.iter().any(is_around)
        })
    }

    /// MIME-Version is no part of a mark, since relays add it: it must be plain.
    fn check_version(&mut self) {
        let section = &self.message[self.structure.entities[0].header.clone()];
        let is_version = |group: &&[u8]| is_named(group, b"mime-version");
        let version: Vec<u8> =
            groups(section).filter(is_version).flat_map(|group| [group, b"\r\n"].concat()).collect();
        if let Err(flaw) = plain::header_section(&version, Section::Message) {
            self.note(0, &flaw);
        }
    }

    /// Whether a plain reading of the fields is the walk's.
    fn check_reading(&mut self, at: usize, leaf: Option<usize>, plain: &Plain) {
        let entity = &self.structure.entities[at];
        let sealed = leaf.and_then(|leaf| self.comparison.sealed_for[leaf]);
        let was_file = sealed.is_some_and(|sealed| self.sealed.entries[sealed].kind == Kind::Attachment);
        let Some((number, leaf)) = leaf.map(|number| (number, &self.structure.leaves[number])) else {
            let boundary = entity.container.as_ref().map(|container| container.boundary.as_slice());
            if plain.boundary.as_ref().map(|boundary| boundary.as_bytes()) != boundary {
                self.add(Doubt::NotPlain, at, "has a boundary that can be read in two ways");
            }
            if !plain.name.is_empty() || plain.is_attachment {
                self.add(
                    Doubt::NotPlain,
                    at,
                    "is a multipart with a name or to be saved, which some readers offer as a file",
                );
            }
            return;
        };
        let is_read =
            plain.name == leaf.name && (plain.media_type == leaf.media_type || plain.media_type.is_empty());
        if !is_read {
            self.add(Doubt::NotPlain, at, "has a type or name that can be read in two ways");
        }
        let is_shown = matches!(leaf.media_type.as_str(), "text/plain" | "text/html");
        if is_shown && was_file && !plain.is_attachment {
            self.add(Doubt::NotPlain, at, "is a file that some readers show as a text");
        }
        if plain.has_description
            && leaf.kind == Kind::Attachment
            && leaf.name.is_empty()
            && !self.has_sealed_description(at, number)
        {
            self.add(Doubt::NotPlain, at, "has a description that readers show as its name");
        }
    }

    fn check_leaf(&mut self, at: usize, number: usize) {
        let (leaf, digest) = (&self.structure.leaves[number], &self.digests[number]);
        let body = &self.message[leaf.body.clone()];
        let sealed = self.comparison.sealed_for[number];
        let growth = self.comparison.growth.get(number).copied().flatten();
        let part =
            sealed.and_then(|sealed| self.parts?.as_slice().iter().find(|part| part.leaf == Some(sealed)));
        let body_is_sealed = part.is_some_and(|part| part.has_body(&self.marks[at]));
        if !body_is_sealed {
            self.check_encoding(at, number, sealed, part);
        }
        // A headerless part: who overlooks the empty line above it reads its first lines as its fields.
        let is_minded = |group: &[u8]| {
            at > 0
                || marks::field(group)
                    .is_some_and(|(name, _)| name.to_ascii_lowercase().starts_with(b"content-"))
        };
        let has_fields = groups(&self.message[self.structure.entities[at].header.clone()]).any(is_minded);
        // The message has a header section at any rate, so that only its MIME fields are missed.
        if !has_fields && !body_is_sealed && begins_with_field(body, at == 0) {
            self.add(Doubt::FieldInBody, at, "begins with what reads as a header field");
        }
        let is_text = leaf.kind == Kind::Text || growth.is_some();
        let is_known = growth.is_some_and(|growth| growth.state == TextState::Intact);
        let section = &self.message[self.structure.entities[at].header.clone()];
        if is_text && !body_is_sealed && !is_known && !plain::has_whole_type(section) {
            self.add(Doubt::NotPlain, at, "is a changed text that some readers show as a file, by its type");
        }
        if is_text && !body_is_sealed {
            self.check_text(at, number, digest.damage.what().is_some(), growth);
        }
    }

    /// A body that is not as it was sealed, octet for octet, must be encoded plainly.
    fn check_encoding(
        &mut self,
        at: usize,
        number: usize,
        sealed: Option<usize>,
        part: Option<&super::Part>,
    ) {
        let (leaf, digest) = (&self.structure.leaves[number], &self.digests[number]);
        let section = &self.message[self.structure.entities[at].header.clone()];
        let fields: Vec<&[u8]> =
            groups(section).filter(|group| is_named(group, b"content-transfer-encoding")).collect();
        if fields.len() > 1 || fields.first().is_some_and(|only| plain_encoding(only).is_none()) {
            self.add(
                Doubt::NotPlain,
                at,
                "has a Content-Transfer-Encoding that is not one of the five words, bare",
            );
        }
        let is_sealed = sealed.is_some_and(|sealed| self.sealed.entries[sealed].hash == digest.hash);
        if leaf.is_message() {
            // Its octets are sealed as they stand, its encoding is not: it must have had none all along.
            let stood_plain = |word: &str| {
                part.is_some_and(|part| {
                    part.has_body(&Mark { body: marks::body_encoded(word, &digest.form), ..self.marks[at] })
                })
            };
            let was_plain = ["", "8bit", "binary"].into_iter().any(stood_plain)
                || self.parts.is_none() && !mime::reads_as_encoded(&self.message[leaf.body.clone()]);
            if !leaf.encoding.is_identity() || is_sealed && !was_plain {
                self.add(
                    Doubt::NotPlain,
                    at,
                    "is an attached message in another encoding than it was sealed in",
                );
            }
            return;
        }
        let body = &self.message[leaf.body.clone()];
        let is_text = leaf.kind == Kind::Text;
        match digest.damage.what() {
            // A damaged text is reported as changed, and searched in both readings.
            Some(_) if is_text => {}
            Some(EIGHT_BIT) if is_sealed => {}
            Some(what) => self.add(Doubt::NotPlain, at, what),
            None => {}
        }
        let is_lines = || body.is_ascii() && memchr::memchr(0, body).is_none();
        match leaf.encoding {
            Encoding::QuotedPrintable if !leaf.is_text_type() && has_hard_line_end(body) => {
                self.add(
                    Doubt::NotPlain,
                    at,
                    "is no text, and has line ends that quoted-printable leaves to the reader",
                );
            }
            Encoding::SevenBit | Encoding::EightBit if !leaf.is_text_type() && !is_lines() => {
                self.add(Doubt::NotPlain, at, "is no text, and declared to be one");
            }
            Encoding::Binary if !leaf.is_text_type() && has_bare_line_end(body) => {
                self.add(Doubt::NotPlain, at, "is binary, with bare line ends");
            }
            // Nothing more is asked of lines of one length.
            Encoding::Base64 if digest.columns.is_some_and(|columns| columns < MAX_LINE) => {}
            Encoding::Base64 if !is_text && !is_regular_base64(body) => {
                self.add(Doubt::NotPlain, at, "is base64 in lines of many lengths");
            }
            // ripMIME overlooks what follows such a line, the next delimiter included.
            Encoding::Base64 if is_text && has_long_line(body) => {
                self.add(Doubt::NotPlain, at, "is base64 in lines too long for mail");
            }
            Encoding::Unknown => self.add(Doubt::NotPlain, at, "is in an unknown encoding"),
            _ => {}
        }
    }

    /// Looks for files and hidden text in what is new of a text.
    fn check_text(&mut self, at: usize, number: usize, is_damaged: bool, growth: Option<Growth>) {
        let leaf = &self.structure.leaves[number];
        let body = &self.message[leaf.body.clone()];
        let is_as_it_is = growth.is_none_or(|growth| growth.state == TextState::Intact);
        let scanned = if is_as_it_is {
            links::scan(self.message, leaf, &mut Decoder::default())
        } else {
            let mut scan = TextScan::new(&leaf.media_type, leaf.charset.as_deref());
            each_canonical_piece(self.message, leaf, &mut |piece| scan.update(piece));
            scan.finish()
        };
        let is_in = |range: &Range<u64>| match growth {
            None => true,
            Some(Growth { state: TextState::Appended, at }) => range.end > at,
            Some(Growth { state: TextState::Prepended, at }) => range.start < at,
            Some(_) => false,
        };
        let met = [&scanned.first, &scanned.last].into_iter().flatten();
        // In these blanks mean something, and a sealed text is only known but for its blanks.
        let minds_blanks = |kind: &str| matches!(kind, "uuencode" | "yenc" | "binhex");
        if let Some(embedded) =
            met.into_iter().find(|embedded| is_in(&embedded.range) || minds_blanks(embedded.kind))
        {
            self.add(Doubt::EmbeddedFile, at, embedded.kind);
        }
        let is_known = growth.is_some_and(|growth| growth.state == TextState::Intact);
        if scanned.hides_text && !is_known {
            self.add(Doubt::TextCharset, at, "is in a charset that can hide other text");
        }
        if is_damaged && let Some(kind) = holds_file(body) {
            self.add(Doubt::EmbeddedFile, at, kind);
        }
        self.scanned[number] = is_as_it_is.then_some(scanned);
    }

    /// A touched container: its encoding, its delimiters, and what stands before the first and behind the last.
    fn check_container(&mut self, at: usize) {
        let message = self.message;
        let entity = &self.structure.entities[at];
        let Some(container) = &entity.container else { return };
        let encoding = encoding(&message[entity.header.clone()]);
        if !matches!(encoding.as_slice(), b"" | b"8bit" | b"binary") {
            self.add(Doubt::NotPlain, at, "is a multipart in a transfer encoding");
        }
        if !container.is_closed {
            self.add(Doubt::NotPlain, at, "is a multipart without its closing delimiter");
        }
        let line = [b"--", container.boundary.as_slice()].concat();
        let last = container.gaps.len() - 1;
        for (number, gap) in container.gaps.iter().enumerate() {
            let gap = &message[gap.clone()];
            let found = find_delimiter(gap, &line);
            let Some((start, behind)) = found else {
                if container.is_closed || number < last {
                    self.add(Doubt::NotPlain, at, "has a delimiter that is not at the start of a line");
                }
                continue;
            };
            let (before, mut after) = (&gap[..start], &gap[behind..]);
            if number == last && container.is_closed {
                after = after.strip_prefix(b"--").unwrap_or(b" ");
            }
            let is_exact = after.is_empty() && number == last || after.starts_with(b"\r\n");
            if !is_exact || number < last && after.len() > 2 {
                self.add(Doubt::NotPlain, at, "has a delimiter with something after it");
            }
            let is_first = number == 0;
            if !(is_first || before == b"\r\n" || before.is_empty()) {
                self.add(Doubt::NotPlain, at, "has something before a delimiter");
            }
            let (preamble, epilogue) =
                (if is_first { before } else { b"" }, if number == last { after } else { b"" });
            self.check_outside(at, preamble);
            self.check_outside(at, epilogue);
        }
    }

    /// A preamble or epilogue, which readers do not show unless they find a part in it.
    fn check_outside(&mut self, at: usize, text: &[u8]) {
        let is_bare = has_bare_line_end(text);
        if !is_bare && line_ends::leading(text) == text.len() {
            return;
        }
        if is_bare || memchr::memchr(0, text).is_some() {
            self.add(Doubt::NotPlain, at, "has a bare line end or a NUL outside its parts");
        }
        let reads_as_part = text.split(|&octet| matches!(octet, b'\r' | b'\n')).any(|line| {
            let rest = line.strip_prefix(b"--").unwrap_or_default();
            let is_word = rest.iter().any(|&octet| octet != b'-' && !is_blank(octet))
                && !rest.first().copied().is_some_and(is_blank)
                && !rest.trim_ascii_end().iter().copied().any(is_blank);
            is_word || !line.first().copied().is_some_and(is_blank) && reads_as_mime_field(line)
        });
        if reads_as_part {
            self.add(Doubt::HiddenPart, at, "has outside its parts what some reader takes for one");
        }
        if let Some(kind) = holds_file(text) {
            self.add(Doubt::EmbeddedFile, at, kind);
        }
    }

    /// Looks for lines that some reader takes for a delimiter of a touched container, and for boundaries that are alike.
    fn check_lines(&mut self, touched: &[Touched]) {
        if touched.is_empty() {
            return;
        }
        let entities = &self.structure.entities;
        let boundary = |at: usize| entities[at].container.as_ref().map(|container| core(&container.boundary));
        let cores: Vec<(Vec<u8>, &Touched)> =
            touched.iter().filter_map(|container| Some((boundary(container.entity)?, container))).collect();
        let is_wrapped = self.untouched.partner.iter().skip(1).any(|&partner| partner == Some(0));
        for at in 0..entities.len() {
            let Some(own) = boundary(at) else { continue };
            // Of two of the sender's own, of which the inner one is untouched, nobody reads anything new. A container around
            // the whole sealed message is not the sender's.
            let is_senders = self.untouched.covered[at] && !is_wrapped;
            let clash = cores.iter().any(|(other, container)| {
                container.entity != at && !(is_senders && container.as_sealed) && are_alike(&own, other)
            });
            if clash {
                return self.add(Doubt::BoundaryPrefix, at, "has a boundary like another one's");
            }
        }
        let delimiters = self.delimiters();
        let is_odd = touched.iter().any(|container| !container.is_plain);
        let alike = FirstOctets::of(cores.iter().map(|(own, _)| own.as_slice()));
        let body = entities[0].body.start;
        let mut at = body;
        for dashes in runs_of_hyphens(&self.message[body..]).map(|run| body + run) {
            if dashes < at {
                continue;
            }
            let hyphens = self.message[dashes..].iter().take_while(|&&octet| octet == b'-').count();
            at = dashes + hyphens;
            if delimiters.binary_search(&dashes).is_ok() {
                at += memchr::memchr2(b'\r', b'\n', &self.message[at..]).unwrap_or(0);
                continue;
            }
            let before = self.message[..dashes].iter().rposition(|&octet| !is_blank(octet));
            let starts_line = before.is_none_or(|before| matches!(self.message[before], b'\r' | b'\n'));
            let near = &self.message[at..self.message.len().min(at + 256)];
            if !is_odd && !alike.may_begin(near, starts_line) {
                continue;
            }
            let is_alike = if starts_line {
                let line =
                    core(near.split(|octet| matches!(octet, b'\r' | b'\n')).next().unwrap_or_default());
                if line.is_empty() {
                    continue;
                }
                cores.iter().any(|(own, _)| are_alike(own, &line))
            } else {
                // mshow takes a delimiter for one wherever it is in a line.
                let rest = near.trim_ascii_start();
                cores.iter().any(|(own, _)| !own.is_empty() && starts_with(rest, own))
            };
            if !is_alike && !(is_odd && starts_line) {
                continue;
            }
            let part = self.innermost(dashes).unwrap_or(0);
            // A header section declares boundaries.
            let is_declared = !starts_line && entities[part].header.contains(&dashes);
            if is_alike && !is_declared || is_odd && starts_line && !self.untouched.covered[part] {
                return self.add(
                    Doubt::BoundaryPrefix,
                    part,
                    "has a line that some reader takes for a delimiter",
                );
            }
        }
    }

    /// Where delimiters stand, as the walk read them.
    fn delimiters(&self) -> Vec<usize> {
        let containers = self.structure.entities.iter().filter_map(|entity| entity.container.as_ref());
        let mut places: Vec<usize> = containers
            .flat_map(|container| {
                let line = [b"--", container.boundary.as_slice()].concat();
                container.gaps.iter().filter_map(move |gap| {
                    find_delimiter(&self.message[gap.clone()], &line)
                        .map(|(start, _)| gap.start + start)
                        .map(|at| if self.message[at..].starts_with(b"\r\n") { at + 2 } else { at })
                })
            })
            .collect();
        places.sort_unstable();
        places
    }

    /// The innermost part around an offset.
    fn innermost(&self, offset: usize) -> Option<usize> {
        let entities = &self.structure.entities;
        let behind = entities.partition_point(|entity| entity.header.start <= offset);
        let is_around = |entity: &Entity| offset < entity.body.end;
        (0..behind).rev().find(|&at| is_around(&entities[at]))
    }
}

/// The octets that something which is like a boundary begins with. Most lines of hyphens need no closer look.
struct FirstOctets([bool; 256]);

impl FirstOctets {
    /// Of boundaries as [`core`] has them.
    fn of<'a>(cores: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut begins = Self([false; 256]);
        for own in cores {
            match own.first() {
                Some(first) => {
                    begins.0[usize::from(*first)] = true;
                    begins.0[usize::from(first.to_ascii_uppercase())] = true;
                }
                // Everything begins like an empty one.
                None => begins = Self([true; 256]),
            }
        }
        begins
    }

    /// Whether what follows hyphens may be like a boundary: the rest of their line where they begin one, and else the next
    /// word.
    fn may_begin(&self, behind: &[u8], starts_line: bool) -> bool {
        let is_passed = |octet: &&u8| match starts_line {
            true => matches!(octet, b'-' | b' ' | b'\t'),
            false => octet.is_ascii_whitespace(),
        };
        let first = behind.iter().find(|octet| !is_passed(octet));
        first.is_some_and(|&first| {
            !(starts_line && matches!(first, b'\r' | b'\n')) && self.0[usize::from(first)]
        })
    }
}

/// Where two or more hyphens begin in a body, those aside that are all of a line.
fn runs_of_hyphens(body: &[u8]) -> impl Iterator<Item = usize> {
    let ends_line = |octet: u8| (octet == b'\r') | (octet == b'\n');
    let within = octets::find(body, move |[before, one, other, behind]| {
        (one == b'-') & (other == b'-') & (before != b'-') & !(ends_line(before) & ends_line(behind))
    });
    // What has nothing before it or nothing behind it.
    let first = body.starts_with(b"--").then_some(0);
    let last = body.len().checked_sub(2).filter(|&at| at > 0 && &body[at..] == b"--" && body[at - 1] != b'-');
    first.into_iter().chain(within.map(|at| at + 1)).chain(last)
}

/// The delimiter line in a gap: where it begins, and where what is behind it does.
fn find_delimiter(gap: &[u8], line: &[u8]) -> Option<(usize, usize)> {
    let starts_line = |at: &usize| *at == 0 || gap[..*at].ends_with(b"\r\n");
    let at = memchr::memmem::find_iter(gap, line).find(starts_line)?;
    Some((at, at + line.len()))
}

/// What is left of a boundary, or of a line, for a reader who minds neither case nor hyphens nor blanks.
fn core(text: &[u8]) -> Vec<u8> {
    let start = text.iter().position(|octet| !matches!(octet, b'-' | b' ' | b'\t')).unwrap_or(text.len());
    let rest = &text[start..];
    let end = rest.iter().rposition(|octet| !matches!(octet, b'-' | b' ' | b'\t')).map_or(0, |last| last + 1);
    rest[..end].to_ascii_lowercase()
}

/// Whether a text starts with a lower-case word, in any case.
fn starts_with(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// Whether one is the beginning of the other.
fn are_alike(one: &[u8], other: &[u8]) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// RFC 5321 §4.5.3.1.6: the longest line that mail may have, its CR included.
const MAX_LINE: usize = 999;

fn has_hard_line_end(body: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', body).any(|at| !body[..at].ends_with(b"=\r"))
}

fn has_long_line(body: &[u8]) -> bool {
    let mut rest = body;
    while rest.len() > MAX_LINE {
        // The line's length decides, so that short ones need not be looked for one by one.
        match memchr::memrchr(b'\n', &rest[..=MAX_LINE]) {
            Some(end) => rest = &rest[end + 1..],
            None => return true,
        }
    }
    false
}

/// Whether base64 has lines of one length, up to 998 symbols, but for a shorter last one, and no blanks. Empty lines may end it.
fn is_regular_base64(body: &[u8]) -> bool {
    let text = &body[..body.len() - line_ends::trailing(body)];
    let columns = memchr::memchr(b'\r', text).unwrap_or(text.len());
    if columns >= MAX_LINE {
        return false;
    }
    let mut lines = text.chunks(columns + 2);
    let is_last = lines.next_back().is_none_or(|last| last.len() <= columns);
    let others = lines.len();
    // Neither a blank nor another line end is in any of them.
    is_last && lines.all(|line| line.ends_with(b"\r\n")) && count_of_blanks_and_line_ends(text) == 2 * others
}

fn count_of_blanks_and_line_ends(text: &[u8]) -> usize {
    let is_one = |octet: u8| (octet == b' ') | (octet == b'\t') | (octet == b'\r') | (octet == b'\n');
    // Small sums of octets are what the compiler turns into vector code.
    let count = |some: &[u8]| usize::from(some.iter().map(|&octet| u8::from(is_one(octet))).sum::<u8>());
    text.chunks(255).map(count).sum()
}

/// Whether a body begins with what reads as a header field, empty lines aside.
fn begins_with_field(body: &[u8], of_mime: bool) -> bool {
    let text = line_ends::trim_start(body);
    let line = text.split(|&octet| matches!(octet, b'\r' | b'\n')).next().unwrap_or_default();
    let line = &line[..line.len().min(1024)];
    let name = line.split(|&octet| octet == b':').next().unwrap_or_default();
    let is_minded = !of_mime || name.to_ascii_lowercase().starts_with(b"content-");
    name.len() < line.len() && !name.is_empty() && is_minded && name.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Where hyphens begin, looked for one octet after the other.
    fn runs_by_rule(body: &[u8]) -> Vec<usize> {
        let ends_line = |at: usize| matches!(body.get(at), Some(b'\r' | b'\n'));
        let begins = |at: usize| body[at..].starts_with(b"--") && (at == 0 || body[at - 1] != b'-');
        let is_whole_line = |at: usize| at > 0 && ends_line(at - 1) && ends_line(at + 2);
        (0..body.len()).filter(|&at| begins(at) && !is_whole_line(at)).collect()
    }

    fn is_regular_by_rule(body: &[u8]) -> bool {
        let mut text = body;
        while let Some(rest) = text.strip_suffix(b"\r\n") {
            text = rest;
        }
        let columns = text.iter().position(|&octet| octet == b'\r').unwrap_or(text.len());
        let is_line = |line: &[u8]| !line.iter().any(|octet| b" \t\r\n".contains(octet));
        let mut lines = text.chunks(columns + 2);
        let is_last = lines.next_back().is_none_or(|last| last.len() <= columns && is_line(last));
        columns < MAX_LINE && is_last && lines.all(|line| line.strip_suffix(b"\r\n").is_some_and(is_line))
    }

    proptest! {
        #[test]
        fn finds_hyphens_wherever_they_are(body in "(-{1,3}|\r\n--\r\n|\r|\n| |b){0,40}") {
            let body = body.as_bytes();
            prop_assert_eq!(runs_of_hyphens(body).collect::<Vec<_>>(), runs_by_rule(body));
        }

        /// What is passed over has nothing in common with a boundary.
        #[test]
        fn passes_over_no_line_that_is_like_a_boundary(
            own in "[bB-]{0,2}", behind in "[-bB \t\r\nx]{0,8}", starts_line in any::<bool>(),
        ) {
            let own = core(own.as_bytes());
            let behind = behind.as_bytes();
            let line = core(behind.split(|octet| matches!(octet, b'\r' | b'\n')).next().unwrap_or_default());
            let is_alike = match starts_line {
                true => !line.is_empty() && are_alike(&own, &line),
                false => !own.is_empty() && starts_with(behind.trim_ascii_start(), &own),
            };
            let may_begin = FirstOctets::of([own.as_slice()].into_iter()).may_begin(behind, starts_line);
            prop_assert!(may_begin || !is_alike);
        }

        #[test]
        fn knows_lines_of_one_length(body in "(AAAA|AAA|\r\n|\r\n|\r|\n| |=){0,12}") {
            prop_assert_eq!(is_regular_base64(body.as_bytes()), is_regular_by_rule(body.as_bytes()), "{:?}", body);
        }

        #[test]
        fn knows_lines_that_are_too_long(lengths in proptest::collection::vec(prop_oneof![0_usize..5, 997_usize..1003], 0..6)) {
            let body: Vec<u8> = lengths.iter().flat_map(|&length| [vec![b'A'; length], b"\n".to_vec()].concat()).collect();
            let is_long = body.split(|&octet| octet == b'\n').any(|line| line.len() > MAX_LINE);
            prop_assert_eq!(has_long_line(&body), is_long);
            let open = &body[..body.len().saturating_sub(1)];
            let is_long = open.split(|&octet| octet == b'\n').any(|line| line.len() > MAX_LINE);
            prop_assert_eq!(has_long_line(open), is_long);
        }
    }
}
