//! Structural doubts: what two mail readers could see differently in a message that was changed on the way
//! (SPEC.md §12). The codes are stable words of the results; `docs/SPEC.md` explains each.

use std::fmt;

macro_rules! doubts {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// One reason why two mail readers could disagree about a message's parts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Doubt { $($(#[$doc])* $name,)* }

        impl Doubt {
            /// Every doubt there is, in the order of the specification.
            pub const ALL: &[Doubt] = &[$(Doubt::$name,)*];

            /// The stable code that results, logs and metrics use.
            pub fn code(self) -> &'static str {
                match self { $(Doubt::$name => $code,)* }
            }
        }
    };
}

doubts! {
    /// A bare CR or LF where it could end a line or precede a delimiter.
    BareLineEnd = "bare-line-end",
    /// A NUL octet in a header section, or in a 7bit, quoted-printable or base64 body.
    Nul = "nul",
    /// A header line that neither starts nor continues a field.
    JunkHeaderLine = "junk-header-line",
    /// A field that some readers would take for a MIME field.
    LookalikeField = "lookalike-field",
    /// White space between a MIME field's name and its colon.
    SpaceBeforeColon = "space-before-colon",
    /// A MIME field twice in one part.
    DuplicateField = "duplicate-field",
    /// A MIME-Version other than 1.0.
    MimeVersion = "mime-version",
    /// A Content-Type outside RFC 2045's grammar.
    BadType = "bad-type",
    /// A Content-Transfer-Encoding that is none of the five.
    BadEncoding = "bad-encoding",
    /// A Content-Disposition outside RFC 2183's grammar.
    BadDisposition = "bad-disposition",
    /// An encoded-word or RFC 2231 form where type, encoding or boundary stands.
    EncodedStructure = "encoded-structure",
    /// A comment inside a MIME field, other than one at its end.
    CommentInStructure = "comment-in-structure",
    /// A parameter given twice, or in forms that disagree.
    DuplicateParameter = "duplicate-parameter",
    /// Content-Type `name` and Content-Disposition `filename` that differ.
    NameConflict = "name-conflict",
    /// A file name that does not decode, or holds control characters.
    BadName = "bad-name",
    /// A From that is not one field with one address: no author to align a seal with.
    BadFrom = "bad-from",
    /// A boundary that readers would parse differently.
    BadBoundary = "bad-boundary",
    /// A multipart without a boundary, or whose boundary never occurs.
    NoBoundary = "no-boundary",
    /// A boundary equal to, or a prefix of, an enclosing one, or the reverse.
    BoundaryPrefix = "boundary-prefix",
    /// A multipart without its closing delimiter.
    Unclosed = "unclosed",
    /// A line that begins with a live delimiter and goes on with more than padding.
    JunkDelimiter = "junk-delimiter",
    /// A live delimiter inside a header section, or no blank line at its end.
    DelimiterInHeader = "delimiter-in-header",
    /// A preamble or epilogue that some readers would find a part in.
    HiddenPart = "hidden-part",
    /// A leaf whose body begins with what looks like MIME fields.
    FieldInBody = "field-in-body",
    /// A multipart or message/* in a transfer encoding.
    EncodedContainer = "encoded-container",
    /// message/partial or message/external-body.
    PartialMessage = "partial-message",
    /// An attachment under other multiparts than it was sealed under.
    ContainerChanged = "container-changed",
    /// More than 100 levels of nesting.
    TooDeep = "too-deep",
    /// More than 1,000 leaves.
    TooManyParts = "too-many-parts",
    /// A header section over 1 MiB.
    HeaderTooLong = "header-too-long",
    /// Base64 that decoders would read differently.
    BadBase64 = "bad-base64",
    /// Quoted-printable that decoders would read differently.
    BadQp = "bad-qp",
    /// An octet over 127 in a part declared 7bit.
    EightBit = "eight-bit",
    /// A text in a charset whose bytes can hide other text.
    TextCharset = "text-charset",
    /// A file smuggled in the text.
    EmbeddedFile = "embedded-file",
    /// Our walk and mail-parser disagree on the leaves.
    ViewsDiffer = "views-differ",
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A set of doubts, iterated in the order of the specification.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Doubts(u64);

impl Doubts {
    /// No doubt.
    pub const NONE: Doubts = Doubts(0);

    /// Adds one.
    pub fn insert(&mut self, doubt: Doubt) {
        self.0 |= 1 << doubt as u32;
    }

    /// Adds one if `found`.
    pub fn insert_if(&mut self, found: bool, doubt: Doubt) {
        self.0 |= u64::from(found) << doubt as u32;
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: Doubts) {
        self.0 |= other.0;
    }

    /// Whether `doubt` is among them.
    pub fn contains(self, doubt: Doubt) -> bool {
        self.0 & 1 << doubt as u32 != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The doubts, one by one.
    pub fn iter(self) -> impl Iterator<Item = Doubt> {
        Doubt::ALL.iter().copied().filter(move |&doubt| self.contains(doubt))
    }
}

impl From<Doubt> for Doubts {
    fn from(doubt: Doubt) -> Self {
        Self(1 << doubt as u32)
    }
}

impl fmt::Debug for Doubts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Doubt::code)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_set_in_the_order_of_the_specification() {
        let mut doubts = Doubts::from(Doubt::ViewsDiffer);
        doubts.insert(Doubt::Nul);
        doubts.insert_if(false, Doubt::BadQp);
        doubts.insert_if(true, Doubt::Nul);
        assert_eq!(doubts.iter().map(Doubt::code).collect::<Vec<_>>(), ["nul", "views-differ"]);
        assert!(doubts.contains(Doubt::Nul) && !doubts.contains(Doubt::BadQp));
    }

    #[test]
    fn fits_the_set() {
        assert!(Doubt::ALL.len() <= 64);
    }
}
