//! What was done to held mail, by whom and why, which outlives the message; and what was said of correspondents' keys.

use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::held::{Held, HeldId, Release, Removal};

/// For how long deeds are kept, in seconds: 400 days.
pub(super) const KEPT: u64 = 400 * 86_400;

/// Deeds that are read at once; of more, the newest.
pub(super) const MAX_READ: u64 = 100_000;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What was done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum What { $($(#[$doc])* #[serde(rename = $word)] $name,)* }

        impl What {
            /// The word for it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }

        impl FromStr for What {
            type Err = ParseWhatError;

            fn from_str(text: &str) -> Result<Self, ParseWhatError> {
                match text { $($word => Ok(Self::$name),)* _ => Err(ParseWhatError) }
            }
        }
    };
}

words! {
    /// The gateway held a message.
    Held = "held",
    /// One person asks for its release, and another one is needed.
    ReleaseRequested = "release-requested",
    /// The end of the message went out to the next hop.
    Sending = "sending",
    /// The next hop took it.
    Released = "released",
    /// The next hop refused it.
    Refused = "refused",
    /// It was deleted.
    Deleted = "deleted",
    /// It is not to be removed by age.
    Kept = "kept",
    /// It may be removed by age again.
    KeptNoLonger = "kept-no-longer",
    /// It was removed by age.
    Expired = "expired",
    /// Its folder was there and the database did not know it.
    Adopted = "adopted",
    /// The database knew it, and its folder was gone.
    Lost = "lost",
    /// Somebody was told of it.
    Told = "told",
    /// Somebody could not be told of it.
    NotTold = "not-told",
    /// A correspondent's key that waited was accepted.
    KeyApproved = "key-approved",
    /// A correspondent's key, root or fingerprint was pinned by command.
    Pinned = "pinned",
    /// What was pinned by command was undone.
    Unpinned = "unpinned",
    /// What was remembered of a correspondent was forgotten.
    Forgotten = "forgotten",
    /// It was noted that a correspondent sends unsealed mail, too.
    UnsealedNoted = "unsealed-noted",
    /// That note was taken back.
    UnsealedNotedNoLonger = "unsealed-noted-no-longer",
}

impl What {
    /// Whether the gateway does it by itself for each message.
    pub fn is_routine(self) -> bool {
        matches!(self, Self::Held | Self::Sending | Self::Told)
    }

    /// Whether a person decides on it.
    pub fn is_personal(self) -> bool {
        matches!(
            self,
            Self::ReleaseRequested
                | Self::Released
                | Self::Refused
                | Self::Deleted
                | Self::Kept
                | Self::KeptNoLonger
        )
    }
}

/// A word for nothing that is done; a later version may have written it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a deed")]
pub struct ParseWhatError;

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// When; kept to the second.
    pub at: Timestamp,
    /// By whom: a user's name, or `gateway` and its label.
    pub who: String,
    /// What.
    pub what: What,
    /// To which held message.
    pub id: Option<HeldId>,
    /// The Message-ID field of that message.
    pub message_id: Option<String>,
    /// For or to whom: forward-paths, or the address that was told.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// Why.
    pub reason: Option<String>,
    /// What came of it, such as what the next hop said.
    pub detail: Option<String>,
}

/// Who does something to a held message, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct By {
    /// A user's name, or `gateway` and its label.
    pub who: String,
    /// Why, if there is a reason to write down.
    pub reason: Option<String>,
}

impl By {
    /// Somebody who gives no reason.
    pub fn user(who: impl Into<String>) -> Self {
        Self { who: who.into(), reason: None }
    }
}

impl Deed {
    /// That something was done to a message, with nothing to add.
    pub(super) fn to_held(id: &HeldId, message_id: Option<&str>, what: What, by: &By, at: Timestamp) -> Self {
        Self {
            at,
            who: by.who.clone(),
            what,
            id: Some(id.clone()),
            message_id: message_id.map(str::to_owned),
            recipients: Vec::new(),
            reason: by.reason.clone(),
            detail: None,
        }
    }

    /// That a gateway holds a message.
    pub(super) fn holding(id: &HeldId, held: &Held, who: &str) -> Self {
        let by = By { who: who.to_owned(), reason: held.reason.clone() };
        let mut deed = Self::to_held(id, held.message_id.as_deref(), What::Held, &by, held.received);
        deed.recipients.clone_from(&held.recipients);
        deed.detail = Some(format!("{}: {}", held.verdict, held.summary));
        deed
    }

    /// That a message is no longer held; nothing where the deed of its release is there already.
    pub(super) fn removing(id: &HeldId, held: &Held, why: Removal, by: &By) -> Option<Self> {
        let what = match why {
            Removal::Released => return None,
            Removal::Deleted => What::Deleted,
            Removal::Expired => What::Expired,
        };
        Some(Self::to_held(id, held.message_id.as_deref(), what, by, Timestamp::now()))
    }

    /// What a step of a release means.
    pub(super) fn of_step(step: &Release, id: &HeldId, held: &Held, by: &By) -> Vec<Self> {
        let deed = |what, at: &Timestamp| Self::to_held(id, held.message_id.as_deref(), what, by, *at);
        let paths = |places: &[usize]| -> Vec<String> {
            places.iter().filter_map(|place| held.recipients.get(*place).cloned()).collect()
        };
        match step {
            Release::Sending { at, recipients } => {
                vec![Self { recipients: paths(recipients), ..deed(What::Sending, at) }]
            }
            Release::Answered { at, delivered, refused, said } => {
                [(What::Released, delivered), (What::Refused, refused)]
                    .into_iter()
                    .filter(|(_, places)| !places.is_empty())
                    .map(|(what, places)| Self {
                        recipients: paths(places),
                        detail: said.clone(),
                        ..deed(what, at)
                    })
                    .collect()
            }
            Release::Requested { at, who, reason } => {
                vec![Self { who: who.clone(), reason: reason.clone(), ..deed(What::ReleaseRequested, at) }]
            }
            Release::Keep { at, keep } => {
                vec![deed(if *keep { What::Kept } else { What::KeptNoLonger }, at)]
            }
        }
    }
}
