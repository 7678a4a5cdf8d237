//! What is done about a verdict: the verifying site's decision (SEAL.md §6 has the defaults).

use std::str::FromStr;

use thiserror::Error;

use crate::verdict::{Ground, Verdict, Verification};

/// What is done with a message, by its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Passed on as it is.
    Deliver,
    /// Passed on with a warning field, and the subject prefix if one is set.
    Mark,
    /// Accepted and held for the administrator.
    Quarantine,
    /// Answered with 550.
    Reject,
    /// Answered with 451: the client tries again later.
    Defer,
}

/// An action for each verdict, `[policy]` in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Sealed, every attachment as sent. Default deliver.
    pub pass: Action,
    /// No seal, none expected. Default deliver.
    pub none: Action,
    /// No seal, though one was expected. Default quarantine.
    pub missing: Action,
    /// No seal, and only memory says that one was to be expected (SEAL.md §8): `missing` where the file
    /// sets it, else mark.
    pub missing_by_memory: Action,
    /// Proof of change, or a wrong seal. Default quarantine.
    pub fail: Action,
    /// Changed, and readers could disagree on what it holds. Default quarantine.
    pub ambiguous: Action,
    /// The valid seal of a domain that is not the author's. Default mark.
    pub unaligned: Action,
    /// As sent, but not fresh. Default quarantine.
    pub expired: Action,
    /// No key to check with. Default mark.
    pub unknown_key: Action,
    /// A key that contradicts what is known. Default quarantine.
    pub key_changed: Action,
    /// The key could not be looked up for now. Default defer.
    pub temperror: Action,
    /// Put before the subject of marked mail: printable ASCII, at most 64 octets. Default: nothing.
    pub subject_prefix: Option<String>,
}

impl Policy {
    /// What is done with a message. On trial (`t=y` in the key's record) verdicts are reported, and no action is taken.
    pub fn action(&self, verification: &Verification) -> Action {
        if verification.trial {
            return Action::Deliver;
        }
        match verification.verdict {
            Verdict::Pass => self.pass,
            Verdict::None => self.none,
            Verdict::Missing if verification.known == Some(Ground::Memory) => self.missing_by_memory,
            Verdict::Missing => self.missing,
            Verdict::Fail(_) => self.fail,
            Verdict::Ambiguous => self.ambiguous,
            Verdict::Unaligned => self.unaligned,
            Verdict::Expired => self.expired,
            Verdict::UnknownKey => self.unknown_key,
            Verdict::KeyChanged => self.key_changed,
            Verdict::Temperror => self.temperror,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            pass: Action::Deliver,
            none: Action::Deliver,
            missing: Action::Quarantine,
            missing_by_memory: Action::Mark,
            fail: Action::Quarantine,
            ambiguous: Action::Quarantine,
            unaligned: Action::Mark,
            expired: Action::Quarantine,
            unknown_key: Action::Mark,
            key_changed: Action::Quarantine,
            temperror: Action::Defer,
            subject_prefix: None,
        }
    }
}

/// A word that is no action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseActionError {
    /// Known, but not to this version.
    #[error("not available in this version; use deliver, mark, quarantine, reject or defer")]
    Later,
    /// Not known at all.
    #[error("not an action; use deliver, mark, quarantine, reject or defer")]
    Unknown,
}

impl Action {
    /// The word that configuration and logs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deliver => "deliver",
            Self::Mark => "mark",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
            Self::Defer => "defer",
        }
    }
}

impl FromStr for Action {
    type Err = ParseActionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "deliver" => Ok(Self::Deliver),
            "mark" => Ok(Self::Mark),
            "quarantine" => Ok(Self::Quarantine),
            "reject" => Ok(Self::Reject),
            "defer" => Ok(Self::Defer),
            "published" => Err(ParseActionError::Later),
            _ => Err(ParseActionError::Unknown),
        }
    }
}
