//! A leaf: one part that is not a container (SPEC.md §6), as the walk found it. Its bytes stay in the message.

use std::ops::Range;
use std::sync::Arc;

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
    /// None of these: taken as it stands, under the doubt `bad-encoding`.
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
    /// Whether it is inline or has no disposition: what an added text must be.
    pub is_inline: bool,
    /// How the body is encoded.
    pub encoding: Encoding,
    /// Whether the encoding carries a comment, which mail-parser does not read past.
    pub encoding_has_comment: bool,
    /// The body's octets in the message, without the CR LF that belongs to the boundary.
    pub body: Range<usize>,
}

impl Leaf {
    /// Whether it is the whole message rather than a part of a container.
    pub fn is_top_level(&self) -> bool {
        self.path.is_empty()
    }

    /// Whether it is an attached message, one sealed object as it stands.
    pub fn is_message(&self) -> bool {
        self.media_type.starts_with("message/")
    }

    /// Whether it is of any text type, attachment or not.
    pub fn is_text_type(&self) -> bool {
        self.media_type.starts_with("text/")
    }
}
