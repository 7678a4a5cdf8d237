//! The manifest (SPEC.md §6): one entry a leaf, its text form, and the comparison of what was sealed with what is found
//! (§8 step 10), part by part.

mod compare;
pub mod judge;
mod links;
mod parts;

use std::fmt;

use encodify::base64::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use thiserror::Error;

pub use self::compare::{Comparison, Outcome, Status, TextState};
pub use self::links::{LinkChanges, ParseLinksError, RemovedLink, SealedLinks, links};
pub use self::parts::{ParsePartsError, Part, Parts};
use crate::mime::{self, Digest, Kind, Leaf, MAX_LEAVES, decode::Decoder};

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
    /// Of a text type, the parameters that decide what readers make of it, in lower case: `;charset=utf-8;format=flowed`.
    pub parameters: String,
    /// Decoded file name in NFC; empty if there is none.
    pub name: String,
}

/// What a seal says of a message's leaves, in document order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The entries, at most 1,000.
    pub entries: Vec<Entry>,
}

/// A manifest that is not of SPEC.md §6's form.
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
    let (media_type, parameters) = {
        let text = decode(media_type, ENCODED_IN_TYPE)?;
        let at = text.find(';').unwrap_or(text.len());
        (text[..at].to_owned(), text[at..].to_owned())
    };
    Ok(Entry {
        kind: match kind {
            "a" => Kind::Attachment,
            "t" => Kind::Text,
            _ => return Err(ParseManifestError::Kind),
        },
        path: decode(path, ENCODED)?,
        size: size.parse().ok().filter(|n: &u64| n.to_string() == size).ok_or(ParseManifestError::Size)?,
        hash: decode_hash(hash).ok_or(ParseManifestError::Hash)?,
        media_type,
        parameters,
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
        let parameters = utf8_percent_encode(&self.parameters, ENCODED_IN_TYPE);
        let name = utf8_percent_encode(&self.name, ENCODED);
        write!(f, "{kind}:{path}:{}:{}:{media_type}{parameters}:{name}", self.size, encode_hash(&self.hash))
    }
}

impl Entry {
    /// The entry of a leaf with this digest.
    pub fn of(leaf: &Leaf, digest: &Digest) -> Self {
        Self {
            kind: leaf.kind,
            path: leaf.path.to_string(),
            size: digest.size,
            hash: digest.hash,
            media_type: leaf.media_type.clone(),
            parameters: leaf.parameters.clone(),
            name: leaf.name.clone(),
        }
    }
}

/// Hashes the leaves of a message.
pub fn digests(message: &[u8], leaves: &[Leaf]) -> Vec<Digest> {
    let mut decoder = Decoder::default();
    leaves.iter().map(|leaf| mime::digest(message, leaf, &mut decoder)).collect()
}

impl Manifest {
    /// The manifest that a seal made now would hold.
    pub fn of(leaves: &[Leaf], digests: &[Digest]) -> Self {
        Self { entries: leaves.iter().zip(digests).map(|(leaf, digest)| Entry::of(leaf, digest)).collect() }
    }
}
