//! Held mail: what is known of a message, its name, what became of attempts to release it, and why that can fail.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::error::{DatabaseError, Fault};
use super::filling::Filling;
use super::location::{Label, MAX_LABEL, is_fit};

/// What is known of a held message: its envelope, and why it is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The listener it came in by, which knows the next hop to release it to.
    pub listener: String,
    /// When it was received.
    pub received: Timestamp,
    /// The client it came from.
    pub client: IpAddr,
    /// The reverse-path without its brackets; empty for the null reverse-path.
    pub reverse_path: String,
    /// MAIL's parameters as they were given, such as `SMTPUTF8`.
    #[serde(default)]
    pub mail_parameters: Vec<String>,
    /// The forward-paths without their brackets.
    pub recipients: Vec<String>,
    /// RCPT's parameters as they were given, for each of the recipients; messages held by an early version have none.
    #[serde(default)]
    pub recipient_parameters: Vec<Vec<String>>,
    /// Whether a verified seal of a pinned correspondent is the reason; else anybody can have had it held.
    #[serde(default)]
    pub verified: bool,
    /// SPEC.md's word, such as `fail`.
    pub verdict: String,
    /// SPEC.md's reason, where the verdict has one.
    pub reason: Option<String>,
    /// One line for people.
    pub summary: String,
    /// The Message-ID field's value, if there is one.
    pub message_id: Option<String>,
    /// The Authentication-Results field that says so, with its CR LF, for when the message is released.
    #[serde(default)]
    pub result: Option<String>,
    /// Octets of the message; [`Quarantine::hold`](super::Quarantine::hold) sets it to what was written.
    pub size: u64,
}

/// The name of a held message: when it was received (UTC) and six random hex digits, `20261123T061112-7f3a9c`, with the label of
/// the gateway between them where several share a database, `20261123T061112-mx1-7f3a9c`. Names sort by time and are safe in paths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeldId(String);

impl HeldId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The label is that of the gateway which holds the message, where several have their mail in one place.
    pub(super) fn new(received: Timestamp, label: Option<&Label>) -> Result<Self, StoreError> {
        let mut random = [0; 3];
        getrandom::fill(&mut random).map_err(|_| StoreError::NoRandomness)?;
        let [a, b, c] = random;
        let time = received.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%S");
        let label = label.map(|label| format!("-{label}")).unwrap_or_default();
        Ok(Self(format!("{time}{label}-{a:02x}{b:02x}{c:02x}")))
    }
}

impl FromStr for HeldId {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_time = |text: &str| {
            let is_fit =
                |(at, octet): (usize, u8)| if at == 8 { octet == b'T' } else { octet.is_ascii_digit() };
            text.len() == 15 && text.bytes().enumerate().all(is_fit)
        };
        let is_chance = |text: &str| {
            text.len() == 6 && text.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_label = |text: &str| (1..=MAX_LABEL).contains(&text.len()) && text.bytes().all(is_fit);
        let fits = match *text.split('-').collect::<Vec<_>>() {
            [time, chance] => is_time(time) && is_chance(chance),
            [time, label, chance] => is_time(time) && is_label(label) && is_chance(chance),
            _ => false,
        };
        if fits { Ok(Self(text.to_owned())) } else { Err(StoreError::BadId(text.chars().take(80).collect())) }
    }
}

impl fmt::Display for HeldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why the quarantine could not do its work. Nothing of a message that could not be held stays behind.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The disk or a quota is full.
    #[error("no room left to write {}", path.display())]
    NoSpace {
        /// What was being written.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A quota of `[quarantine]` is full.
    #[error("{} full ([quarantine])", if *unverified { "the quarantine's part for unverified mail is" } else { "the quarantine is" })]
    Full {
        /// Whether it is that of what unverified seals cause.
        unverified: bool,
    },
    /// We may not read or write there.
    #[error("no permission for {}", path.display())]
    Denied {
        /// What was touched.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Anything else that the system says.
    #[error("cannot read or write {}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The system gave no random numbers.
    #[error("the system gave no random numbers")]
    NoRandomness,
    /// Not of an id's form.
    #[error("`{0}` is not an id; ids look like 20261123T061112-7f3a9c")]
    BadId(String),
    /// The database says no.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// No such message, or no longer.
    #[error("no message {0} is held")]
    UnknownId(HeldId),
    /// Somebody else releases or deletes it at the moment.
    #[error("message {0} is being released or deleted by another process")]
    Claimed(HeldId),
    /// A message whose `meta.json` makes no sense.
    #[error("{id} is damaged: its meta.json cannot be read")]
    Damaged {
        /// The message.
        id: HeldId,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Something in the quarantine's folder that is no message.
    #[error("{} is not a held message", .0.display())]
    Foreign(PathBuf),
}

impl StoreError {
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::NoSpace { path, source }
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { path, source }
            }
            _ => Self::Io { path, source },
        }
    }

    /// As [`StoreError::at`], for a path inside the folder of `id`: if that is not there, there is no such message.
    pub(super) fn of(id: &HeldId, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let (id, path) = (id.clone(), path.to_owned());
        move |error| match error.kind() {
            io::ErrorKind::NotFound if !path.parent().is_some_and(Path::exists) => Self::UnknownId(id),
            _ => Self::at(&path)(error),
        }
    }

    /// Whether there is no room left.
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::NoSpace { .. } => true,
            Self::Database(error) => error.fault() == Some(Fault::Full),
            _ => false,
        }
    }
}

/// What the quarantine holds, and what else lies in its folder.
#[derive(Debug, Default)]
pub struct Listing {
    /// Every held message, oldest first.
    pub held: Vec<(HeldId, Held)>,
    /// What could not be listed, and why.
    pub damaged: Vec<StoreError>,
}

/// What the quarantine takes on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Messages that are held.
    pub messages: u64,
    /// Their octets.
    pub octets: u64,
    /// Those that no verified seal of a pinned correspondent is the reason for.
    pub unverified_messages: u64,
    /// Their octets.
    pub unverified_octets: u64,
}

/// A message that is held, and what its administrator should know besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub id: HeldId,
    /// Set where a quota is filling up and nobody was told yet.
    pub filling: Option<Filling>,
}

/// Why a message is not held, and what its administrator should know besides.
#[derive(Debug, Error)]
#[error("{error}")]
pub struct HoldError {
    /// Why.
    #[source]
    pub error: StoreError,
    /// Set where a quota is full and nobody was told yet.
    pub filling: Option<Filling>,
}

impl From<StoreError> for HoldError {
    fn from(error: StoreError) -> Self {
        Self { error, filling: None }
    }
}

/// A step of a release. Each is written down before the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Release {
    /// The end of the message goes out.
    Sending {
        /// When.
        at: Timestamp,
        /// To these recipients, by their places.
        recipients: Vec<usize>,
    },
    /// The next hop answered.
    Answered {
        /// When.
        at: Timestamp,
        /// Those to whom it was delivered, by their places.
        delivered: Vec<usize>,
        /// Those for whom it was refused, by their places.
        refused: Vec<usize>,
    },
}

/// What is known of earlier attempts to release a message, by the recipients' places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Releases {
    /// Those to whom it was delivered.
    pub delivered: BTreeSet<usize>,
    /// Those to whom it may have been delivered or not, and when that was.
    pub in_doubt: BTreeMap<usize, Timestamp>,
}

impl Releases {
    pub(super) fn take(&mut self, event: Release) {
        match event {
            Release::Sending { at, recipients } => {
                self.in_doubt.extend(recipients.into_iter().map(|recipient| (recipient, at)));
            }
            Release::Answered { delivered, refused, .. } => {
                for recipient in delivered.iter().chain(&refused) {
                    self.in_doubt.remove(recipient);
                }
                self.delivered.extend(delivered);
            }
        }
    }
}
