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
    /// What people want to know of it besides.
    #[serde(flatten)]
    pub details: Details,
}

/// What people want to know of a held message, to find out whose it is and what happened to it. All of it is written by strangers
/// and bounded in count and length; a message that an early version held has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    /// The author's address, as the From field has it.
    pub from: Option<String>,
    /// The To field, its encoded words decoded.
    pub to: Option<String>,
    /// The Subject field, likewise.
    pub subject: Option<String>,
    /// The Date field.
    pub date: Option<String>,
    /// The Received fields, the newest first.
    pub path: Vec<String>,
    /// The sealing domain.
    pub sealing_domain: Option<String>,
    /// The key that made the seal, or claims to.
    pub key: Option<OfferedKey>,
    /// How the key was proved.
    pub trust: Option<String>,
    /// What became of each attachment.
    pub attachments: Vec<HeldAttachment>,
    /// How many attachments more there are.
    pub more_attachments: u64,
    /// The attachments that arrived, where none was compared with a seal: there was none, or it counts for nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arrived: Vec<HeldFile>,
    /// How many more arrived.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_arrived: u64,
    /// Why mail programs could disagree about the message.
    pub doubts: Vec<HeldDoubt>,
    /// What became of links in its text.
    pub links: Vec<HeldLink>,
    /// How many links more there are.
    pub more_links: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The key of a seal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OfferedKey {
    /// Its selector.
    pub selector: String,
    /// The key in base64url, where it is known.
    pub key: Option<String>,
    /// Its fingerprint in words.
    pub words: Option<String>,
    /// Its fingerprint in digits.
    pub digits: Option<String>,
}

/// An attachment, as it was sealed and as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeldAttachment {
    /// What became of it: `intact`, `altered`, `added`, `removed`, `renamed`.
    pub status: String,
    /// As it was sealed.
    pub sealed: Option<HeldFile>,
    /// As it was found.
    pub found: Option<HeldFile>,
}

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeldFile {
    /// Its name; empty where it has none.
    pub name: String,
    /// `type/subtype`.
    pub media_type: String,
    /// Octets.
    pub size: u64,
    /// BLAKE3 of them, in hex.
    pub hash: String,
}

/// A doubt, and where it was met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeldDoubt {
    /// SPEC.md's code.
    pub code: String,
    /// Which part of the message, and which field of it; empty where that is not known.
    pub place: String,
    /// What is wrong there.
    pub what: String,
}

/// A link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeldLink {
    /// What became of it.
    pub status: String,
    /// Where it leads, written so that no program makes a link of it.
    pub target: String,
}

/// The name of a held message: when it was received (UTC) and six random hex digits, `20261123T061112-7f3a9c`, with the label of
/// the gateway between them where several share a database, `20261123T061112-mx1-7f3a9c`. Names sort by time and are safe in paths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
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

impl From<HeldId> for String {
    fn from(id: HeldId) -> Self {
        id.0
    }
}

impl TryFrom<String> for HeldId {
    type Error = StoreError;

    fn try_from(text: String) -> Result<Self, StoreError> {
        text.parse()
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

/// A page of what is held.
#[derive(Debug, Default)]
pub struct Listing {
    /// Held messages, oldest first.
    pub held: Vec<Listed>,
    /// What could not be listed, and why.
    pub damaged: Vec<StoreError>,
    /// After which message the next page begins; `None` on the last page.
    pub next: Option<HeldId>,
}

/// A held message in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub id: HeldId,
    /// What is known of it.
    pub held: Held,
    /// How it is with it.
    pub state: HeldState,
    /// Whether it is not to be removed by age.
    pub keep: bool,
    /// When it is removed by age, once a digest has said so; kept to the second.
    pub expires: Option<Timestamp>,
}

/// How it is with a held message. Of several that are true, the first of this order is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldState {
    /// A release was cut short: some recipients may have it or not.
    InDoubt,
    /// Some recipients have it.
    Partly,
    /// One person asks for its release, and another one is needed.
    Requested,
    /// It is not to be removed by age.
    Kept,
    /// None of these.
    Held,
}

impl HeldState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::InDoubt, Self::Partly, Self::Requested, Self::Kept, Self::Held];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InDoubt => "in-doubt",
            Self::Partly => "partly",
            Self::Requested => "requested",
            Self::Kept => "kept",
            Self::Held => "held",
        }
    }
}

impl FromStr for HeldState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = || Self::ALL.map(Self::as_str).join(", ");
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| format!("choose one of {}", words()))
    }
}

/// Which held messages are wanted: those that fit all that is given. The default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Text in the author's address or the reverse-path; case does not matter.
    pub from: Option<String>,
    /// Text in a forward-path; case does not matter.
    pub to: Option<String>,
    /// The domain of the author's address, of the reverse-path or of the seal, or a parent of it.
    pub domain: Option<String>,
    /// SPEC.md's word, such as `fail`.
    pub verdict: Option<String>,
    /// Received then or later.
    pub since: Option<Timestamp>,
    /// Received before.
    pub until: Option<Timestamp>,
    /// The Message-ID, with its brackets or without.
    pub message_id: Option<String>,
    /// Its state; a message can be in several at once.
    pub state: Option<HeldState>,
    /// To be removed by age at that time or before.
    pub expires: Option<Timestamp>,
}

/// A message of which a part is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incomplete {
    /// Its name.
    pub id: HeldId,
    /// What is missing.
    pub what: Missing,
}

/// What is missing of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The database does not know it.
    Row,
    /// Its octets are gone.
    Octets,
    /// It has another size than the database says.
    Size,
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
        /// What the next hop said.
        #[serde(default)]
        said: Option<String>,
    },
    /// Somebody asks for the release, which takes another person.
    Requested {
        /// When.
        at: Timestamp,
        /// Who.
        who: String,
        /// Why.
        reason: Option<String>,
    },
    /// Somebody wants it removed by age no more, or again.
    Keep {
        /// When.
        at: Timestamp,
        /// Whether it is not to be removed.
        keep: bool,
    },
}

/// That somebody asked for a release, which takes another person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: String,
    /// Why.
    pub reason: Option<String>,
}

/// Why a held message is no longer needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Every recipient has it.
    Released,
    /// Somebody deletes it.
    Deleted,
    /// It is too old.
    Expired,
}

/// What is known of earlier attempts to release a message, by the recipients' places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Releases {
    /// Those to whom it was delivered.
    pub delivered: BTreeSet<usize>,
    /// Those to whom it may have been delivered or not, and when that was.
    pub in_doubt: BTreeMap<usize, Timestamp>,
    /// The last request that no release has followed.
    pub request: Option<Request>,
    /// Whether it is not to be removed by age.
    pub keep: bool,
}

impl Releases {
    pub(super) fn take(&mut self, event: Release) {
        match event {
            Release::Sending { at, recipients } => {
                self.request = None;
                self.in_doubt.extend(recipients.into_iter().map(|recipient| (recipient, at)));
            }
            Release::Answered { delivered, refused, .. } => {
                for recipient in delivered.iter().chain(&refused) {
                    self.in_doubt.remove(recipient);
                }
                self.delivered.extend(delivered);
            }
            Release::Requested { at, who, reason } => self.request = Some(Request { at, who, reason }),
            Release::Keep { keep, .. } => self.keep = keep,
        }
    }
}
