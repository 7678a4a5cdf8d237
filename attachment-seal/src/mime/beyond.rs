//! How much of a message common readers show (SPEC.md §12, limits).

use std::fmt;

use super::Structure;

/// Most multiparts around a leaf that common readers follow.
pub(crate) const READERS_DEPTH: usize = 8;

/// Most leaves that common readers show.
pub(crate) const READERS_PARTS: usize = 300;

/// Most fields that common readers take in a header section.
pub(crate) const READERS_FIELDS: usize = 300;

/// What a message has more of than common readers show. It can be sealed, and its seal is right; its recipients may not see
/// all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// So many multiparts are around one of its leaves.
    Levels(usize),
    /// So many leaves it has.
    Parts(usize),
    /// So many fields its header section has. The receiving side calls such a message `ambiguous`.
    Fields(usize),
}

impl Beyond {
    /// The first limit that a message goes beyond, if any.
    pub(crate) fn of(fields: usize, structure: &Structure) -> Option<Self> {
        let levels = structure.levels();
        let parts = structure.leaves.len();
        if fields > READERS_FIELDS {
            Some(Self::Fields(fields))
        } else if parts > READERS_PARTS {
            Some(Self::Parts(parts))
        } else if levels > READERS_DEPTH {
            Some(Self::Levels(levels))
        } else {
            None
        }
    }
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Levels(levels) => {
                write!(
                    f,
                    "it has {levels} levels of parts, and some mail programs show no more than {READERS_DEPTH}"
                )
            }
            Self::Parts(parts) => {
                write!(f, "it has {parts} parts, and some mail programs show no more than {READERS_PARTS}")
            }
            Self::Fields(fields) => write!(
                f,
                "its header section has {fields} fields, and some mail programs read no more than {READERS_FIELDS}, \
                 so the receiving side will call it ambiguous"
            ),
        }
    }
}
