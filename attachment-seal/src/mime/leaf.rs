//! A leaf: one part that is not a container (SPEC.md §6), as the walk found it. Its bytes stay in the message.

use std::ops::Range;
use std::sync::Arc;

use memchr::memmem;

use crate::message::line_ends;

/// Text or attachment (SPEC.md §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// text/plain or text/html, not `attachment`, without a file name.
    Text,
    /// Every other leaf.
    Attachment,
}

/// How a leaf's body is encoded (RFC 2045 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Lines of ASCII; also what a part without the field has.
    SevenBit,
    /// Lines of any octets.
    EightBit,
    /// Any octets.
    Binary,
    /// Quoted-printable.
    QuotedPrintable,
    /// Base64.
    Base64,
    /// None of these: taken as it is.
    Unknown,
}

impl Encoding {
    /// Reads the lower-case word of Content-Transfer-Encoding.
    pub fn from_word(word: &str) -> Self {
        match word {
            "7bit" => Self::SevenBit,
            "8bit" => Self::EightBit,
            "binary" => Self::Binary,
            "quoted-printable" => Self::QuotedPrintable,
            "base64" => Self::Base64,
            _ => Self::Unknown,
        }
    }

    /// Whether the body is the content, octet for octet.
    pub fn is_identity(self) -> bool {
        !matches!(self, Self::QuotedPrintable | Self::Base64)
    }
}

/// One leaf part of a message.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Text or attachment.
    pub kind: Kind,
    /// The subtypes of the multiparts around it, outermost first, joined by `.`; empty at top level.
    pub path: Arc<str>,
    /// The lower-case `type/subtype`.
    pub media_type: String,
    /// The decoded file name in NFC, empty if there is none.
    pub name: String,
    /// The charset parameter, as written.
    pub charset: Option<String>,
    /// Of a text type, the parameters that decide what readers make of it, as the manifest has them: `;charset=utf-8`.
    pub parameters: String,
    /// Whether it is HTML without a name in a place where readers offer it as a file.
    pub is_offered_html: bool,
    /// Whether it is inline or has no disposition: what an added text must be.
    pub is_inline: bool,
    /// How the body is encoded.
    pub encoding: Encoding,
    /// The body's octets in the message, without the CR LF that belongs to the boundary.
    pub body: Range<usize>,
    /// Its index among all parts.
    pub entity: usize,
}

impl Leaf {
    /// Whether it is the whole message rather than a part of a container.
    pub fn is_top_level(&self) -> bool {
        self.path.is_empty()
    }

    /// Whether it is an attached message, one sealed object as it is.
    pub fn is_message(&self) -> bool {
        self.media_type.starts_with("message/")
    }

    /// Whether it is of any text type, attachment or not.
    pub fn is_text_type(&self) -> bool {
        self.media_type.starts_with("text/")
    }
}

/// Whether an attached message that is declared plain reads as one in base64 or quoted-printable. A seal without a list of
/// parts does not cover its encoding, so that a relay could have changed it to show the encoded text in the message's place.
pub(crate) fn reads_as_encoded(body: &[u8]) -> bool {
    let text = line_ends::trim_start(body);
    let first = text.split(|&octet| octet == b'\n').next().unwrap_or_default();
    let first = first.strip_suffix(b"\r").unwrap_or(first);
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
