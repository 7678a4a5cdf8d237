//! A leaf's hash and size as SPEC.md §6 defines them, and the form of its body that a part's mark covers (§6.1).

use std::borrow::Cow;

use super::decode::{Damage, Decoder};
use super::leaf::{Encoding, Kind, Leaf};
use super::text::TextHasher;
use crate::message::body;

/// What a leaf holds.
#[derive(Clone, Debug)]
pub struct Digest {
    /// BLAKE3 of the decoded bytes, or of the canonical text.
    pub hash: blake3::Hash,
    /// Octets hashed.
    pub size: u64,
    /// What decoders would read differently.
    pub damage: Damage,
    /// The hash of the body as it stands, in the form that marks use.
    pub form: blake3::Hash,
    /// Of an attachment in base64 whose body follows from what it decodes to: how long its lines are.
    pub columns: Option<usize>,
}

/// Hashes a leaf of `message`, a window at a time.
pub fn digest(message: &[u8], leaf: &Leaf, decoder: &mut Decoder) -> Digest {
    let body = &message[leaf.body.clone()];
    match leaf.kind {
        Kind::Text => text(body, leaf, decoder),
        Kind::Attachment => attachment(body, leaf, decoder),
    }
}

/// The same for a leaf taken for a text.
pub(super) fn text(body: &[u8], leaf: &Leaf, decoder: &mut Decoder) -> Digest {
    let mut hasher = TextHasher::default();
    let damage = decoder.decode(body, leaf.encoding, &mut |window| hasher.update(window));
    let (hash, size) = hasher.finish();
    let body = if leaf.is_top_level() { body::canonical(body) } else { Cow::Borrowed(body) };
    Digest { hash, size, damage, form: as_it_stands(blake3::hash(&body)), columns: None }
}

fn attachment(body: &[u8], leaf: &Leaf, decoder: &mut Decoder) -> Digest {
    let canonical = if leaf.is_top_level() { body::canonical(body) } else { Cow::Borrowed(body) };
    let decoded = if leaf.encoding == Encoding::Base64 { body } else { &*canonical };
    if leaf.is_message() {
        let hash = blake3::hash(decoded);
        let stands = if leaf.encoding == Encoding::Base64 { blake3::hash(&canonical) } else { hash };
        let size = decoded.len() as u64;
        return Digest { hash, size, damage: Damage::default(), form: as_it_stands(stands), columns: None };
    }
    let mut hasher = blake3::Hasher::new();
    let mut damage = decoder.decode(decoded, leaf.encoding, &mut |window| {
        hasher.update(window);
    });
    let (hash, size) = (hasher.finalize(), hasher.count());
    damage.note_if(has_blanks_that_decoders_keep(decoded, leaf.encoding), "a blank that some decoders keep");
    // Such a body follows from what it decodes to, so that its octets need no second hash.
    let lines = (leaf.encoding == Encoding::Base64 && damage.what().is_none())
        .then(|| Lines::of(&canonical).filter(|lines| lines.size == Some(size)))
        .flatten();
    let form = match (&lines, leaf.encoding) {
        (Some(lines), _) => lines.form(&hash),
        (None, Encoding::Base64 | Encoding::QuotedPrintable) => as_it_stands(blake3::hash(&canonical)),
        (None, _) => as_it_stands(hash),
    };
    Digest { hash, size, damage, form, columns: lines.map(|lines| lines.columns) }
}

/// The form of a body of which nothing but its octets is known.
fn as_it_stands(hash: blake3::Hash) -> blake3::Hash {
    blake3::Hasher::new().update(b"octets\n").update(hash.as_bytes()).finalize()
}

/// Base64 as encoders write it: lines of one length, the last one shorter or as long.
struct Lines {
    columns: usize,
    ends_in_line_end: bool,
    /// Octets that it decodes to, if it holds nothing but symbols and padding.
    size: Option<u64>,
}

impl Lines {
    fn of(body: &[u8]) -> Option<Self> {
        let (text, ends_in_line_end) = match body.strip_suffix(b"\r\n") {
            Some(text) => (text, true),
            None => (body, false),
        };
        let columns = memchr::memchr(b'\r', text).unwrap_or(text.len());
        if columns == 0 {
            return None;
        }
        let mut lines = text.chunks(columns + 2).peekable();
        let mut symbols = 0;
        while let Some(line) = lines.next() {
            let line = if lines.peek().is_some() { line.strip_suffix(b"\r\n")? } else { line };
            if line.len() > columns {
                return None;
            }
            symbols += line.len();
        }
        let padding = text.iter().rev().take_while(|&&octet| octet == b'=').count();
        let size = (symbols.is_multiple_of(4) && padding < 3).then(|| (symbols / 4 * 3 - padding) as u64);
        Some(Self { columns, ends_in_line_end, size })
    }

    fn form(&self, decoded: &blake3::Hash) -> blake3::Hash {
        let end = if self.ends_in_line_end { "+" } else { "" };
        let head = format!("base64 {}{end}\n", self.columns);
        blake3::Hasher::new().update(head.as_bytes()).update(decoded.as_bytes()).finalize()
    }
}

/// White space at the end of a quoted-printable line, which RFC 2045 §6.7 rule 3 removes and some decoders keep.
/// Of a text's hash it is no part.
fn has_blanks_that_decoders_keep(body: &[u8], encoding: Encoding) -> bool {
    let ends_in_blank = |line: &[u8]| matches!(line.last(), Some(b' ' | b'\t'));
    encoding == Encoding::QuotedPrintable
        && (ends_in_blank(body)
            || memchr::memchr_iter(b'\n', body)
                .any(|at| ends_in_blank(body[..at].strip_suffix(b"\r").unwrap_or(&body[..at]))))
}
