//! What a check found: verdict, reason, trust (SPEC.md §8 to §10), and the whole result that reports are written from.

pub mod authres;
pub mod lesson;
pub mod links;
pub mod report;
pub mod verify;

use crate::domain::{DomainName, Selector};
use crate::doubt::{Doubt, Doubts, Remarks};
use crate::manifest::{LinkChanges, Outcome, TextState};
use crate::seal::key::PublicKey;
use crate::seal::policy_record::Request;
pub use crate::seal::trust::{Ground, Lookup, Trust};

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

/// All that checking a message found out. What was not reached is `None` or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// The verdict.
    pub verdict: Verdict,
    /// The sealing domain of the seal that counts.
    pub domain: Option<DomainName>,
    /// Its selector.
    pub selector: Option<Selector>,
    /// How its key was proved.
    pub trust: Option<Trust>,
    /// Its key: the one that it was checked with, or that contradicts what is known. Not part of reports.
    pub key: Option<PublicKey>,
    /// The root that vouched for the key, where that was the proof. Not part of reports.
    pub root: Option<PublicKey>,
    /// When it was made, in Unix seconds.
    pub sealed_at: Option<u64>,
    /// Whether the body is octet for octet as sealed.
    pub body: Option<State>,
    /// Whether the texts are, or what was added to them.
    pub text: Option<TextState>,
    /// What became of the links of texts that are not intact; `None` where none was added or removed, or the seal lists none.
    pub links: Option<LinkChanges>,
    /// Whether addresses and subject are.
    pub headers: Option<State>,
    /// What happened to each attachment.
    pub attachments: Vec<Outcome>,
    /// Why readers could disagree.
    pub doubts: Doubts,
    /// Where the doubts were met, and what about.
    pub remarks: Remarks,
    /// How the author's domain is known to seal.
    pub known: Option<Ground>,
    /// The key is on trial (`t=y`): report, don't act.
    pub trial: bool,
    /// The seal is dated ahead of our clock, by no more than a day: one of the two clocks is wrong.
    pub clock_doubt: bool,
    /// What looking the key up came to, of the seal that counts; `None` where DNS was not asked.
    pub key_lookup: Option<Lookup>,
    /// What looking the author's domain's policy up came to; `None` where DNS was not asked.
    pub policy_lookup: Option<Lookup>,
    /// What the policy asks of the domain that the verdict is about (SPEC.md §10), for the action `published`.
    pub published: Option<Request>,
}

impl Verification {
    /// A result that stopped at `verdict`.
    pub fn new(verdict: Verdict, known: Option<Ground>) -> Self {
        Self {
            verdict,
            domain: None,
            selector: None,
            trust: None,
            key: None,
            root: None,
            sealed_at: None,
            body: None,
            text: None,
            links: None,
            headers: None,
            attachments: Vec::new(),
            doubts: Doubts::NONE,
            remarks: Remarks::default(),
            known,
            trial: false,
            clock_doubt: false,
            key_lookup: None,
            policy_lookup: None,
            published: None,
        }
    }

    /// The result as `ambiguous` for one doubt.
    pub fn doubtful(doubt: Doubt, known: Option<Ground>) -> Self {
        Self { doubts: doubt.into(), ..Self::new(Verdict::Ambiguous, known) }
    }
}
