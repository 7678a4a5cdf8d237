//! Structural doubts: what two mail readers could see differently in a message that was changed on the way
//! (SPEC.md §12). The codes are stable words of the results; `docs/SPEC.md` explains each.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

macro_rules! doubts {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $sentence:literal;)*) => {
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

            /// What it means, in a sentence for people.
            pub fn sentence(self) -> &'static str {
                match self { $(Doubt::$name => $sentence,)* }
            }
        }
    };
}

doubts! {
    /// A bare CR or LF where it could end a line or precede a delimiter.
    BareLineEnd = "bare-line-end",
        "A bare CR or LF is where it could end a line, so two mail programs could split the message differently.";
    /// A NUL octet in a header section, or in a 7bit, quoted-printable or base64 body.
    Nul = "nul",
        "The message holds a NUL octet, where some mail programs stop reading.";
    /// A header line that neither starts nor continues a field.
    JunkHeaderLine = "junk-header-line",
        "A line of the header section is no header field, and some mail programs end the header section there.";
    /// A field that some readers would take for a MIME field.
    LookalikeField = "lookalike-field",
        "A header field's name is close to that of a MIME field, and some mail programs take it for one.";
    /// White space between a MIME field's name and its colon.
    SpaceBeforeColon = "space-before-colon",
        "A blank is before the colon of a MIME field, and some mail programs ignore such a field.";
    /// A From that is not one field with one address: no author to align a seal with.
    BadFrom = "bad-from",
        "From is not one field with one address, so mail programs could show different authors.";
    /// A header section over 1 MiB, or of more fields than readers take.
    HeaderTooLong = "header-too-long",
        "The header section is longer than some mail programs read.";
    /// Something that was touched on the way and is not of the plain grammar.
    NotPlain = "not-plain",
        "What was changed on the way is not written in the plain form that all mail programs read alike.";
    /// A multipart without a boundary, or whose boundary never occurs.
    NoBoundary = "no-boundary",
        "A multipart has no boundary, or its boundary never occurs, so mail programs must guess its parts.";
    /// A boundary like another one's, or a line that some reader takes for a delimiter.
    BoundaryPrefix = "boundary-prefix",
        "Some mail programs take a line for a boundary and others do not, so they find different parts.";
    /// A preamble or epilogue that some readers would find a part in.
    HiddenPart = "hidden-part",
        "Text outside all parts looks like a part, and some mail programs show it as one.";
    /// A leaf whose body begins with what looks like a header field.
    FieldInBody = "field-in-body",
        "A part's body begins with what looks like a header field, and some mail programs take it for one.";
    /// An attachment under other multiparts than it was sealed under.
    ContainerChanged = "container-changed",
        "An attachment is in another multipart than it was sealed in, where mail programs may show it differently or not at all.";
    /// More levels of nesting than readers follow.
    TooDeep = "too-deep",
        "Parts are nested deeper than some mail programs follow.";
    /// More parts than readers show.
    TooManyParts = "too-many-parts",
        "The message has more parts than some mail programs show.";
    /// A text in a charset whose bytes can hide other text.
    TextCharset = "text-charset",
        "A text is in a character set that can hide other text.";
    /// A file smuggled in the text.
    EmbeddedFile = "embedded-file",
        "A file is hidden in the text, where no attachment is listed.";
    /// Our walk and mail-parser disagree on the leaves.
    ViewsDiffer = "views-differ",
        "Two independent readers of mail find different parts in the message.";
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// The doubt of a code that is stored somewhere.
impl FromStr for Doubt {
    type Err = UnknownDoubt;

    fn from_str(code: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|doubt| doubt.code() == code).ok_or(UnknownDoubt)
    }
}

/// A code that no doubt of this version has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no doubt has this code")]
pub struct UnknownDoubt;

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
    fn each_has_a_code_and_a_sentence() {
        for doubt in Doubt::ALL {
            assert_eq!(doubt.code().parse(), Ok(*doubt));
            assert!(doubt.sentence().ends_with('.') && doubt.sentence().len() < 130, "{doubt}");
        }
        assert_eq!("of-tomorrow".parse::<Doubt>(), Err(UnknownDoubt));
    }

    #[test]
    fn fits_the_set() {
        assert!(Doubt::ALL.len() <= 64);
    }
}
