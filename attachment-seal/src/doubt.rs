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
    /// A From that is not one field with one address: no author to align a seal with.
    BadFrom = "bad-from",
    /// A header section over 1 MiB, or of more fields than readers take.
    HeaderTooLong = "header-too-long",
    /// Something that was touched on the way and is not of the plain grammar.
    NotPlain = "not-plain",
    /// A multipart without a boundary, or whose boundary never occurs.
    NoBoundary = "no-boundary",
    /// A boundary like another one's, or a line that some reader takes for a delimiter.
    BoundaryPrefix = "boundary-prefix",
    /// A preamble or epilogue that some readers would find a part in.
    HiddenPart = "hidden-part",
    /// A leaf whose body begins with what looks like a header field.
    FieldInBody = "field-in-body",
    /// An attachment under other multiparts than it was sealed under.
    ContainerChanged = "container-changed",
    /// More levels of nesting than readers follow.
    TooDeep = "too-deep",
    /// More parts than readers show.
    TooManyParts = "too-many-parts",
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

/// One doubt, with where it was met and what about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The doubt.
    pub doubt: Doubt,
    /// Which part, and which field of it.
    pub place: String,
    /// What is wrong there; goes on after the place as a sentence does.
    pub what: &'static str,
}

impl Remark {
    /// A doubt about `place`, which `what`.
    pub fn new(doubt: Doubt, place: &str, what: &'static str) -> Self {
        Self { doubt, place: place.to_owned(), what }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.doubt, self.place, self.what)
    }
}

/// All doubts about a message; of those met in many places the first few are told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    told: Vec<Remark>,
    all: Doubts,
}

/// Remarks that are kept.
const MAX_TOLD: usize = 16;

impl Remarks {
    /// Adds one.
    pub fn add(&mut self, remark: Remark) {
        self.all.insert(remark.doubt);
        if self.told.len() < MAX_TOLD {
            self.told.push(remark);
        }
    }

    /// The doubts, without where they were met.
    pub fn doubts(&self) -> Doubts {
        self.all
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Those that are told of, at most 16.
    pub fn iter(&self) -> impl Iterator<Item = &Remark> {
        self.told.iter()
    }
}

impl From<Remark> for Remarks {
    fn from(remark: Remark) -> Self {
        Self { all: remark.doubt.into(), told: vec![remark] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_set_in_the_order_of_the_specification() {
        let mut doubts = Doubts::from(Doubt::ViewsDiffer);
        doubts.insert(Doubt::Nul);
        doubts.insert_if(false, Doubt::TooDeep);
        doubts.insert_if(true, Doubt::Nul);
        assert_eq!(doubts.iter().map(Doubt::code).collect::<Vec<_>>(), ["nul", "views-differ"]);
        assert!(doubts.contains(Doubt::Nul) && !doubts.contains(Doubt::TooDeep));
    }

    #[test]
    fn fits_the_set() {
        assert!(Doubt::ALL.len() <= 64);
    }
}
