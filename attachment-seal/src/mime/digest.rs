//! A leaf's hash and size as SPEC.md §6 defines them, and what its content makes doubtful.

use std::borrow::Cow;

use super::decode::Decoder;
use super::leaf::{Encoding, Kind, Leaf};
use super::text::{CharsetScan, EmbeddedScan, TextHasher};
use crate::doubt::{Doubt, Doubts};
use crate::message::body;

/// What a leaf holds.
#[derive(Clone, Debug)]
pub struct Digest {
    /// BLAKE3 of the decoded bytes, or of the canonical text.
    pub hash: blake3::Hash,
    /// Octets hashed.
    pub size: u64,
    /// Doubts about the content.
    pub doubts: Doubts,
    /// Whether a text smuggles a file: a doubt where the text is not as sealed.
    pub embeds_file: bool,
}

/// Hashes a leaf of `message`, a window at a time.
pub fn digest(message: &[u8], leaf: &Leaf, decoder: &mut Decoder) -> Digest {
    let body = &message[leaf.body.clone()];
    match leaf.kind {
        Kind::Text => text(body, leaf, decoder),
        Kind::Attachment => attachment(body, leaf, decoder),
    }
}

fn text(body: &[u8], leaf: &Leaf, decoder: &mut Decoder) -> Digest {
    let mut hasher = TextHasher::default();
    let mut charset = CharsetScan::new(leaf.charset.as_deref());
    let mut embedded = EmbeddedScan::default();
    let mut doubts = decoder.decode(body, leaf.encoding, &mut |window| {
        hasher.update(window);
        charset.update(window);
        embedded.update(window);
    });
    doubts.insert_if(charset.is_doubtful(), Doubt::TextCharset);
    let (hash, size) = hasher.finish();
    Digest { hash, size, doubts, embeds_file: embedded.found() }
}

fn attachment(body: &[u8], leaf: &Leaf, decoder: &mut Decoder) -> Digest {
    let body = if leaf.is_top_level() && leaf.encoding != Encoding::Base64 {
        body::canonical(body)
    } else {
        Cow::Borrowed(body)
    };
    if leaf.is_message() {
        let size = body.len() as u64;
        return Digest { hash: blake3::hash(&body), size, doubts: Doubts::NONE, embeds_file: false };
    }
    let mut hasher = blake3::Hasher::new();
    let mut charset = leaf.is_text_type().then(|| CharsetScan::new(leaf.charset.as_deref()));
    let mut doubts = decoder.decode(&body, leaf.encoding, &mut |window| {
        hasher.update(window);
        if let Some(charset) = &mut charset {
            charset.update(window);
        }
    });
    doubts.insert_if(charset.is_some_and(|charset| charset.is_doubtful()), Doubt::TextCharset);
    doubts.insert_if(has_blanks_that_decoders_keep(&body, leaf.encoding), Doubt::BadQp);
    Digest { hash: hasher.finalize(), size: hasher.count(), doubts, embeds_file: false }
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
