//! The manifest (SEAL.md §5): one entry a leaf, its text form, and the comparison of what was sealed with what is found
//! (§6.10).

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash as KeyHash;

use encodify::base64::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use thiserror::Error;

use crate::doubt::{Doubt, Doubts};
use crate::mime::{self, Kind, Leaf, MAX_LEAVES, decode::Decoder};

/// One leaf as a seal names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Text or attachment.
    pub kind: Kind,
    /// Subtypes of the multiparts around it, outermost first, joined by `.`.
    pub path: String,
    /// Octets hashed.
    pub size: u64,
    /// BLAKE3-256 of them.
    pub hash: blake3::Hash,
    /// Lower-case `type/subtype`.
    pub media_type: String,
    /// Decoded file name in NFC; empty if there is none.
    pub name: String,
}

/// What a seal says of a message's leaves, in document order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The entries, at most 1,000.
    pub entries: Vec<Entry>,
}

/// A manifest that is not of SEAL.md §5's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseManifestError {
    /// An entry does not have six parts.
    #[error("an entry without six parts")]
    Parts,
    /// Neither `a` nor `t`.
    #[error("an entry of no known kind")]
    Kind,
    /// A size that is no canonical decimal number.
    #[error("an entry with a bad size")]
    Size,
    /// A hash of the wrong length or spelling.
    #[error("an entry with a bad hash")]
    Hash,
    /// Path, type or name not in the only percent-encoding that is allowed.
    #[error("an entry with bad percent-encoding")]
    Encoding,
    /// More than 1,000 entries.
    #[error("too many entries")]
    TooMany,
}

/// All but `A-Z a-z 0-9 - . _ ~`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same, with `/` allowed.
const ENCODED_IN_TYPE: &AsciiSet = &ENCODED.remove(b'/');

impl Manifest {
    /// Reads the text form, without white space.
    pub fn parse(text: &str) -> Result<Self, ParseManifestError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let entries: Vec<Entry> =
            text.split(',').take(MAX_LEAVES + 1).map(parse_entry).collect::<Result<_, _>>()?;
        if entries.len() > MAX_LEAVES { Err(ParseManifestError::TooMany) } else { Ok(Self { entries }) }
    }

    /// The attachments among the entries.
    pub fn attachments(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.kind == Kind::Attachment)
    }
}

fn parse_entry(text: &str) -> Result<Entry, ParseManifestError> {
    let parts: Vec<&str> = text.split(':').collect();
    let [kind, path, size, hash, media_type, name] = parts[..] else { return Err(ParseManifestError::Parts) };
    Ok(Entry {
        kind: match kind {
            "a" => Kind::Attachment,
            "t" => Kind::Text,
            _ => return Err(ParseManifestError::Kind),
        },
        path: decode(path, ENCODED)?,
        size: size.parse().ok().filter(|n: &u64| n.to_string() == size).ok_or(ParseManifestError::Size)?,
        hash: decode_hash(hash).ok_or(ParseManifestError::Hash)?,
        media_type: decode(media_type, ENCODED_IN_TYPE)?,
        name: decode(name, ENCODED)?,
    })
}

fn decode(text: &str, set: &'static AsciiSet) -> Result<String, ParseManifestError> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| ParseManifestError::Encoding)?;
    // One spelling only: what encodes otherwise was not written by this rule.
    if utf8_percent_encode(&decoded, set).eq_pieces(text) {
        Ok(decoded.into_owned())
    } else {
        Err(ParseManifestError::Encoding)
    }
}

trait EqPieces {
    fn eq_pieces(self, text: &str) -> bool;
}

impl<'a, I: Iterator<Item = &'a str>> EqPieces for I {
    fn eq_pieces(self, text: &str) -> bool {
        let mut rest = text;
        for piece in self {
            match rest.strip_prefix(piece) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        rest.is_empty()
    }
}

/// A hash in its only spelling: base64url of 32 octets without padding.
pub(crate) fn decode_hash(text: &str) -> Option<blake3::Hash> {
    let octets: [u8; 32] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    Some(octets.into())
}

/// The hash in base64url without padding.
pub(crate) fn encode_hash(hash: &blake3::Hash) -> String {
    URL_SAFE_NO_PAD.encode(hash.as_bytes())
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Attachment => 'a',
            Kind::Text => 't',
        };
        let path = utf8_percent_encode(&self.path, ENCODED);
        let media_type = utf8_percent_encode(&self.media_type, ENCODED_IN_TYPE);
        let name = utf8_percent_encode(&self.name, ENCODED);
        write!(f, "{kind}:{path}:{}:{}:{media_type}:{name}", self.size, encode_hash(&self.hash))
    }
}

/// A leaf of the message at hand, as an entry, with what only the message tells.
#[derive(Clone, Debug)]
pub struct Found {
    /// The entry that a seal made now would hold.
    pub entry: Entry,
    /// Whether it is inline or has no disposition.
    pub is_inline: bool,
    /// Doubts about its content.
    pub doubts: Doubts,
    /// Whether it is a text with a file in it.
    pub embeds_file: bool,
}

impl Found {
    /// Hashes the leaves of a message.
    pub fn of(message: &[u8], leaves: &[Leaf]) -> Vec<Found> {
        let mut decoder = Decoder::default();
        leaves
            .iter()
            .map(|leaf| {
                let digest = mime::digest(message, leaf, &mut decoder);
                Found {
                    entry: Entry {
                        kind: leaf.kind,
                        path: leaf.path.to_string(),
                        size: digest.size,
                        hash: digest.hash,
                        media_type: leaf.media_type.clone(),
                        name: leaf.name.clone(),
                    },
                    is_inline: leaf.is_inline,
                    doubts: digest.doubts,
                    embeds_file: digest.embeds_file,
                }
            })
            .collect()
    }
}

/// What happened to one attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Byte for byte as sealed, under its name and type.
    Intact,
    /// Other bytes under a sealed name.
    Altered,
    /// Not sealed.
    Added,
    /// Sealed, and gone.
    Removed,
    /// The sealed bytes under another name or type.
    Renamed,
}

impl Status {
    /// The word that results use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intact => "intact",
            Self::Altered => "altered",
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Renamed => "renamed",
        }
    }
}

/// One attachment, sealed, found or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What happened to it.
    pub status: Status,
    /// What the seal says of it.
    pub sealed: Option<Entry>,
    /// What the message holds.
    pub found: Option<Entry>,
}

/// What became of the sealed leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Every attachment: the sealed ones in their order, then the added ones in theirs.
    pub attachments: Vec<Outcome>,
    /// Whether every text is as sealed.
    pub text_is_intact: bool,
    /// Doubts that only the comparison raises.
    pub doubts: Doubts,
}

impl Comparison {
    /// Every attachment of an untouched message, found as sealed.
    pub fn intact(sealed: &Manifest) -> Self {
        let outcome = |entry: &Entry| Outcome {
            status: Status::Intact,
            sealed: Some(entry.clone()),
            found: Some(entry.clone()),
        };
        Self {
            attachments: sealed.attachments().map(outcome).collect(),
            text_is_intact: true,
            doubts: Doubts::NONE,
        }
    }

    /// Compares what was sealed with what is found (SEAL.md §6.10).
    pub fn of(sealed: &Manifest, found: &[Found]) -> Self {
        let texts = Texts::of(sealed, found);
        let (sealed_leaves, found_leaves) = (&sealed.entries, found);
        let pairs = pair_attachments(sealed_leaves, found_leaves, &texts);
        let mut attachments: Vec<Outcome> = Vec::new();
        for (at, entry) in
            sealed_leaves.iter().enumerate().filter(|(_, entry)| entry.kind == Kind::Attachment)
        {
            let partner = pairs.found_for[at].map(|at| found_leaves[at].entry.clone());
            attachments.push(Outcome {
                status: status(entry, partner.as_ref()),
                sealed: Some(entry.clone()),
                found: partner,
            });
        }
        for (at, leaf) in found_leaves.iter().enumerate() {
            if texts.counts_as_attachment(at, leaf) && pairs.sealed_for[at].is_none() {
                attachments.push(Outcome {
                    status: Status::Added,
                    sealed: None,
                    found: Some(leaf.entry.clone()),
                });
            }
        }
        Self {
            attachments,
            text_is_intact: texts.are_intact,
            doubts: doubts(sealed_leaves, found_leaves, &pairs, &texts),
        }
    }

    /// Whether every attachment is as it was sealed.
    pub fn is_intact(&self) -> bool {
        self.attachments.iter().all(|outcome| outcome.status == Status::Intact)
    }
}

fn status(sealed: &Entry, found: Option<&Entry>) -> Status {
    match found {
        None => Status::Removed,
        Some(found) if found.hash != sealed.hash => Status::Altered,
        Some(found) if found.name != sealed.name || found.media_type != sealed.media_type => Status::Renamed,
        Some(_) => Status::Intact,
    }
}

/// The text leaves: which are as sealed, and which are none that a relay may add.
struct Texts {
    are_intact: bool,
    /// Found texts that are sealed ones.
    known: Vec<bool>,
    /// Found texts that count as added attachments.
    as_attachments: Vec<bool>,
}

impl Texts {
    fn of(sealed: &Manifest, found: &[Found]) -> Self {
        let is_text = |entry: &Entry| entry.kind == Kind::Text;
        let content = |entry: &Entry| (entry.hash, entry.media_type.clone());
        let sealed_texts: Vec<_> =
            sealed.entries.iter().filter(|entry| is_text(entry)).map(content).collect();
        let found_texts = found.iter().map(|leaf| &leaf.entry).filter(|entry| is_text(entry)).map(content);
        let are_intact = found_texts.eq(sealed_texts.iter().cloned());
        // A sealed text is known as often as it was sealed; one copy more was added.
        let mut left = sealed_texts.clone();
        let mut take = |leaf: &Found| {
            let at = left.iter().position(|text| is_text(&leaf.entry) && *text == content(&leaf.entry));
            at.map(|at| left.swap_remove(at)).is_some()
        };
        let known: Vec<bool> = found.iter().map(&mut take).collect();
        let mut texts = Self { are_intact, as_attachments: vec![false; found.len()], known };
        texts.find_added(&sealed_texts, found);
        texts
    }

    /// A relay may add plain text that is shown in line; more HTML than was sealed is offered as a file.
    fn find_added(&mut self, sealed: &[(blake3::Hash, String)], found: &[Found]) {
        let is_html = |leaf: &Found| leaf.entry.kind == Kind::Text && leaf.entry.media_type == "text/html";
        let sealed_html = sealed.iter().filter(|(_, media_type)| media_type == "text/html").count();
        let mut surplus = found.iter().filter(|leaf| is_html(leaf)).count().saturating_sub(sealed_html);
        for (at, leaf) in found.iter().enumerate().rev() {
            if is_html(leaf) && surplus > 0 && !self.known[at] {
                self.as_attachments[at] = true;
                surplus -= 1;
            }
            if leaf.entry.kind == Kind::Text && !leaf.is_inline && !self.known[at] {
                self.as_attachments[at] = true;
            }
        }
    }

    fn counts_as_attachment(&self, at: usize, leaf: &Found) -> bool {
        leaf.entry.kind == Kind::Attachment || self.as_attachments[at]
    }
}

/// Which sealed attachment became which found one, by index into all leaves.
struct Pairs {
    found_for: Vec<Option<usize>>,
    sealed_for: Vec<Option<usize>>,
}

/// Matches attachments where hash, type and name are equal, then by hash, then by name (nameless ones by type).
fn pair_attachments(sealed: &[Entry], found: &[Found], texts: &Texts) -> Pairs {
    let mut pairs = Pairs { found_for: vec![None; sealed.len()], sealed_for: vec![None; found.len()] };
    pairs.match_by(sealed, found, texts, |entry| (entry.hash, entry.media_type.clone(), entry.name.clone()));
    pairs.match_by(sealed, found, texts, |entry| entry.hash);
    pairs.match_by(sealed, found, texts, |entry| {
        if entry.name.is_empty() { (true, entry.media_type.clone()) } else { (false, entry.name.clone()) }
    });
    pairs
}

impl Pairs {
    fn match_by<K: KeyHash + Eq>(
        &mut self,
        sealed: &[Entry],
        found: &[Found],
        texts: &Texts,
        key: impl Fn(&Entry) -> K,
    ) {
        let mut free: HashMap<K, VecDeque<usize>> = HashMap::new();
        for (at, leaf) in found.iter().enumerate() {
            let is_text_made_attachment = texts.as_attachments[at];
            if leaf.entry.kind == Kind::Attachment
                && !is_text_made_attachment
                && self.sealed_for[at].is_none()
            {
                free.entry(key(&leaf.entry)).or_default().push_back(at);
            }
        }
        for (at, entry) in sealed.iter().enumerate() {
            if entry.kind == Kind::Attachment
                && self.found_for[at].is_none()
                && let Some(partner) = free.get_mut(&key(entry)).and_then(VecDeque::pop_front)
            {
                self.found_for[at] = Some(partner);
                self.sealed_for[partner] = Some(at);
            }
        }
    }
}

fn doubts(sealed: &[Entry], found: &[Found], pairs: &Pairs, texts: &Texts) -> Doubts {
    let mut doubts = Doubts::NONE;
    for (at, leaf) in found.iter().enumerate() {
        let is_sealed =
            texts.known[at] || pairs.sealed_for[at].is_some_and(|at| sealed[at].hash == leaf.entry.hash);
        for doubt in leaf.doubts.iter() {
            // Undeclared 8-bit is a habit of honest programs; where the hash is a sealed one it did no harm.
            doubts.insert_if(doubt != Doubt::EightBit || !is_sealed, doubt);
        }
        doubts.insert_if(leaf.embeds_file && !texts.known[at], Doubt::EmbeddedFile);
    }
    let moved = |(at, entry): (usize, &Entry)| {
        pairs.found_for[at].is_some_and(|at| !is_wrapped(&entry.path, &found[at].entry.path))
    };
    let alternative_changed = || changed_alternative(sealed, found, pairs);
    doubts.insert_if(sealed.iter().enumerate().any(moved) || alternative_changed(), Doubt::ContainerChanged);
    doubts
}

/// Whether `found` is `sealed` with nothing but `mixed` levels around it, as lists put there.
fn is_wrapped(sealed: &str, found: &str) -> bool {
    unwrapped(found).any(|path| path == sealed)
}

/// `path`, and what is left of it as outer `mixed` levels are taken away.
fn unwrapped(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| match *path {
        "mixed" => Some(""),
        path => path.strip_prefix("mixed."),
    })
}

/// Whether, below an alternative that holds a sealed attachment, a leaf was added, removed or moved: a reader shows one
/// branch only.
fn changed_alternative(sealed: &[Entry], found: &[Found], pairs: &Pairs) -> bool {
    let prefixes: std::collections::BTreeSet<&str> = sealed
        .iter()
        .filter(|entry| entry.kind == Kind::Attachment)
        .filter_map(|entry| alternative_prefix(&entry.path))
        .collect();
    prefixes.into_iter().any(|prefix| {
        let below = |path: &str| {
            let rest = path.strip_prefix(prefix)?;
            (rest.is_empty() || rest.starts_with('.')).then(|| rest.to_owned())
        };
        // The `mixed` levels put around all are those put around one of its attachments.
        let anchor = sealed.iter().enumerate().find_map(|(at, entry)| {
            let is_below = entry.kind == Kind::Attachment && below(&entry.path).is_some();
            is_below.then(|| found[pairs.found_for[at]?].entry.path.strip_suffix(entry.path.as_str()))
        });
        let Some(Some(wrapper)) = anchor else { return true };
        let sealed_below = sealed.iter().enumerate().filter_map(|(at, entry)| {
            let who = if entry.kind == Kind::Attachment {
                Below::Attachment(Some(at))
            } else {
                Below::Text(&entry.media_type)
            };
            Some((below(&entry.path)?, who))
        });
        let found_below = found.iter().enumerate().filter_map(|(at, leaf)| {
            let who = match leaf.entry.kind {
                Kind::Attachment => Below::Attachment(pairs.sealed_for[at]),
                Kind::Text => Below::Text(&leaf.entry.media_type),
            };
            Some((below(leaf.entry.path.strip_prefix(wrapper)?)?, who))
        });
        !sealed_below.eq(found_below)
    })
}

/// A leaf below an alternative: a text by its type (its words may change), an attachment by which sealed one it is.
#[derive(PartialEq, Eq)]
enum Below<'a> {
    Text(&'a str),
    Attachment(Option<usize>),
}

/// The path down to and with its outermost alternative.
fn alternative_prefix(path: &str) -> Option<&str> {
    let mut end = 0;
    for subtype in path.split('.') {
        end += subtype.len();
        if subtype == "alternative" {
            return Some(&path[..end]);
        }
        end += 1;
    }
    None
}
