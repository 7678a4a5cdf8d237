//! What to do about a verdict, as `[policy]` words it.

use std::str::FromStr;

use thiserror::Error;

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
