//! What is to be sent: alerts, notices, digests. A letter is facts; its text is written when it is sent, so that several letters to
//! one address become one mail. It is in the state until the mail server has taken it, and a tombstone of it for as long as it
//! could be put there again.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Letters that may wait.
pub(super) const MAX_LETTERS: u64 = 10_000;
/// Octets of letters that may wait.
pub(super) const MAX_OCTETS: u64 = 16 << 20;
/// Letters that were sent or given up and are remembered, so that nobody is told twice.
pub(super) const MAX_DONE: u64 = 100_000;
/// For how long a letter that was taken is its taker's.
pub(super) const LEASE: Duration = Duration::from_secs(60);

/// What a letter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LetterKind {
    /// Tells administrators at once.
    Alert,
    /// Tells a recipient of a held message.
    Notice,
    /// Tells administrators of a day.
    Digest,
    /// Tells the sealing domain.
    Report,
}

impl LetterKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Alert, Self::Notice, Self::Digest, Self::Report];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Notice => "notice",
            Self::Digest => "digest",
            Self::Report => "report",
        }
    }
}

/// A word that is no kind of letter; a later version may have written it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a kind of letter")]
pub struct ParseLetterKindError;

impl FromStr for LetterKind {
    type Err = ParseLetterKindError;

    fn from_str(text: &str) -> Result<Self, ParseLetterKindError> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(ParseLetterKindError)
    }
}

/// What is to be told to one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// What it is.
    pub kind: LetterKind,
    /// The address.
    pub to: String,
    /// What it is about, such as the id of a held message. Of one kind, about one thing, an address gets one letter: a second one is
    /// not put there, even if the first was sent. A letter about nothing has no such bound. In
    /// [`Quarantine::hold`](super::Quarantine::hold), `None` becomes the id of the message that is held.
    pub about: Option<String>,
    /// The facts. Whoever sends the letter knows their form by `kind`.
    pub content: serde_json::Value,
    /// When there was something to tell; kept to the second.
    pub since: Timestamp,
    /// When it is no longer worth sending; kept to the second. Until then, nobody puts one about the same thing there again.
    pub expires: Timestamp,
}

impl Letter {
    /// What it takes in the outbox, in octets.
    pub(super) fn octets(&self) -> u64 {
        /// What a row takes besides its texts.
        const ROW: usize = 64;
        let about = self.about.as_ref().map_or(0, String::len);
        (ROW + self.to.len() + about + self.content.to_string().len()) as u64
    }
}

/// A letter that was taken from the outbox. It is the taker's for 60 seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LetterId {
    pub(super) number: i64,
    /// What tells this taking from another one.
    pub(super) lease: i64,
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

/// A letter that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// By which its end is told.
    pub id: LetterId,
    /// What is to be told; in `about` is what it is about.
    pub letter: Letter,
    /// How often it was put off before.
    pub attempts: u32,
}

/// What waits to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Letters.
    pub letters: u64,
    /// Their octets.
    pub octets: u64,
    /// Since when the oldest waits.
    pub oldest: Option<Timestamp>,
    /// Letters that did not fit, and of which nobody was told yet: [`Outbox::told_more`](super::Outbox::told_more).
    pub more: u64,
}
