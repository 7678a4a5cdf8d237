//! What a check found: verdict, reason, trust (SPEC.md §8 to §10), and the whole result that reports are written from.

pub mod authres;
pub mod lesson;
pub mod links;
pub mod report;
mod verification;
pub mod verify;

pub use crate::seal::trust::{Ground, Lookup, Trust};
pub use verification::{Verification, VerifiedSignature};

/// The verdict on a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Sealed, every attachment as sent.
    Pass,
    /// No seal, none expected.
    None,
    /// No seal, though the author's domain is known to seal.
    Missing,
    /// Proof of change, or a seal that is wrong.
    Fail(Reason),
    /// Changed, and readers could disagree on what it holds.
    Ambiguous,
    /// A valid seal of a domain that is not the author's.
    Unaligned,
    /// Everything as sent, but the seal is too old to be fresh mail.
    Expired,
    /// No key to check it with.
    UnknownKey,
    /// A key that contradicts what is known of the domain.
    KeyChanged,
    /// For now it cannot be told: the key lookup failed, or our clock is in doubt.
    Temperror,
}

/// Why a message failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// More than 8 seals.
    TooManySeals,
    /// A seal that is not of its form.
    MalformedSeal,
    /// The key's record says that it is revoked.
    RevokedKey,
    /// The signature is not the key's.
    BadSignature,
    /// Sealed more than a day ahead of the clock.
    FutureSeal,
    /// The seal was made for another message.
    OtherMessage,
    /// An attachment was altered, added, removed or renamed.
    Attachments,
}

impl Verdict {
    /// One for each word; of `fail` with one of its reasons.
    pub const EACH: [Self; 10] = [
        Self::Pass,
        Self::None,
        Self::Missing,
        Self::Fail(Reason::Attachments),
        Self::Ambiguous,
        Self::Unaligned,
        Self::Expired,
        Self::UnknownKey,
        Self::KeyChanged,
        Self::Temperror,
    ];

    /// The word that results use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::None => "none",
            Self::Missing => "missing",
            Self::Fail(_) => "fail",
            Self::Ambiguous => "ambiguous",
            Self::Unaligned => "unaligned",
            Self::Expired => "expired",
            Self::UnknownKey => "unknown-key",
            Self::KeyChanged => "key-changed",
            Self::Temperror => "temperror",
        }
    }

    /// Why, where the verdict is `fail`.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::Fail(reason) => Some(reason),
            _ => None,
        }
    }
}

impl Reason {
    /// The word that results use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooManySeals => "too-many-seals",
            Self::MalformedSeal => "malformed-seal",
            Self::RevokedKey => "revoked-key",
            Self::BadSignature => "bad-signature",
            Self::FutureSeal => "future-seal",
            Self::OtherMessage => "other-message",
            Self::Attachments => "attachments",
        }
    }
}

/// Whether something is as it was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As sealed.
    Intact,
    /// Changed on the way.
    Changed,
}

impl State {
    /// `Intact` if so.
    pub fn of(is_intact: bool) -> Self {
        if is_intact { Self::Intact } else { Self::Changed }
    }

    /// The word that results use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intact => "intact",
            Self::Changed => "changed",
        }
    }
}
