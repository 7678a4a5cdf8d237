//! Why the database could not be used, whichever it is.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why the database could not be used. Only mail that needs it waits for it.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// The database says no.
    #[error("the database cannot be used: {source}")]
    Failed {
        /// In what way.
        fault: Fault,
        /// In its own words.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Its file cannot be made or moved.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A later version of waxseal made it.
    #[error(
        "a later version of waxseal made {database}: it has form {found}, and this version knows forms up to {known}; install \
         that version, or restore a copy that this one made"
    )]
    Later {
        /// Which database.
        database: String,
        /// The form that it has.
        found: i64,
        /// The last form that this version knows.
        known: i64,
    },
    /// The gateway has not made it yet; why that is clear.
    #[error("nothing is remembered yet: {0}")]
    None(String),
    /// What was in it was moved; to where.
    #[error(
        "the state was moved to {0}: name that in the configuration; what is here may be deleted, and is out of date"
    )]
    Moved(String),
    /// It can never be used as it is; why.
    #[error("the database cannot be used: {0}")]
    Unfit(String),
}

impl DatabaseError {
    /// The database says no.
    pub(super) fn failed(fault: Fault, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed { fault, source: source.into() }
    }

    /// In what way it fails, where it was asked.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Failed { fault, .. } => Some(*fault),
            _ => None,
        }
    }
}

/// In what way a database fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not answer.
    Away,
    /// It has no room left.
    Full,
    /// It may not be written.
    ReadOnly,
    /// What is in it is damaged.
    Damaged,
    /// Anything else.
    Other,
}
