//! What is remembered of a domain, and within which limits.
//!
//! Mail makes this grow only where it carries a valid, aligned seal, and then within limits: for one organisational domain,
//! and in all, where those seen for days never give way to newcomers.

use attachment_seal::domain::{DomainName, Selector};
use attachment_seal::seal::key::PublicKey;

/// Keys that are remembered of one domain.
pub(super) const MAX_KEYS: u64 = 32;
/// Keys that are kept for an administrator to approve, for one domain.
pub(super) const MAX_OFFERED: u64 = 4;
/// Domains that give way at a time.
pub(super) const EVICTED: u64 = 1_000;
/// A domain that was never pinned and not seen for so many seconds is forgotten: 400 days.
pub(super) const FORGOTTEN: u64 = 400 * 86_400;
/// Nothing is forgotten before there was mail on so many of the last 30 days: a clock that is ahead for a while must not
/// take what is remembered away, which would make everybody a stranger again.
pub(super) const DAYS_OF_WORK: u64 = 7;

pub(super) const ACCEPTED: &str = "accepted";
pub(super) const DELEGATED: &str = "delegated";
pub(super) const OFFERED: &str = "offered";
pub(super) const REVOKED: &str = "revoked";

/// Limits of what is remembered; smaller in tests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Domains in all.
    pub(super) domains: u64,
    /// Domains of one organisational domain.
    pub(super) of_organisation: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { domains: 100_000, of_organisation: 100 }
    }
}

/// A key that a message showed, as it is to be remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting<'a> {
    pub(super) domain: &'a DomainName,
    pub(super) selector: &'a Selector,
    pub(super) key: &'a PublicKey,
    pub(super) is_root: bool,
    pub(super) at: u64,
    /// [`ACCEPTED`] or one of its neighbours.
    pub(super) state: &'static str,
}

/// What became of a lesson.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Learned {
    /// It was taken in.
    Taken,
    /// The domain is new, and there is no room for it.
    NoRoom,
}

/// The name by which the limits of an organisation count.
pub(super) fn organisation(domain: &DomainName) -> DomainName {
    domain.organisational().unwrap_or_else(|| domain.clone())
}

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It was proved, and counts.
    Accepted,
    /// A root vouched for it, for as long as its statement says.
    Delegated,
    /// It contradicts what is known, and waits for an administrator.
    Offered,
    /// It was revoked.
    Revoked,
}

impl KeyState {
    /// The word that the database and lists use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => ACCEPTED,
            Self::Delegated => DELEGATED,
            Self::Offered => OFFERED,
            Self::Revoked => REVOKED,
        }
    }

    /// What the database's word means.
    pub(super) fn of(word: &str) -> Self {
        match word {
            DELEGATED => Self::Delegated,
            OFFERED => Self::Offered,
            REVOKED => Self::Revoked,
            _ => Self::Accepted,
        }
    }
}

/// A key as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key: one that seals, or a root.
    pub key: PublicKey,
    /// The selector of the seal that it was last seen with.
    pub selector: String,
    /// Whether it is a root.
    pub is_root: bool,
    /// What became of it.
    pub state: KeyState,
    /// When it was first seen, in Unix seconds.
    pub first_seen: u64,
    /// When it was last seen, in Unix seconds.
    pub last_seen: u64,
}

/// A domain as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainRecord {
    /// The sealing domain.
    pub name: DomainName,
    /// When it was first seen, in Unix seconds.
    pub first_seen: u64,
    /// When it was last seen, in Unix seconds.
    pub last_seen: u64,
    /// Whether it passed often enough to be known to seal.
    pub seals: bool,
    /// Its keys, the newest first.
    pub keys: Vec<KeyRecord>,
    /// How many messages got each verdict.
    pub counts: Vec<(String, u64)>,
}
