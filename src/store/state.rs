//! What the gateways of a site share beyond a restart, in the words of the domain: docs/STATE.md is the other half of this page.
//! An adapter implements these traits with its own SQL. Every call blocks until the state has answered.

use std::fmt::Debug;
use std::io::{self, Read};
use std::sync::Arc;

use attachment_seal::domain::DomainName;
use attachment_seal::seal::key::PublicKey;
use attachment_seal::seal::knowledge::Pins;
use attachment_seal::seal::remembered::Memory;
use jiff::Timestamp;
use thiserror::Error;

use super::accounts::Accounts;
use super::audit::{By, Deed};
use super::error::DatabaseError;
use super::held::{
    Filter, Held, HeldId, HoldError, Incomplete, Kept, Listed, Listing, Release, Releases, Removal,
    StoreError, Usage,
};
use super::json_file::Stamp;
use super::judged::{DayCount, Judged, JudgedId, Page, Period, Position, Question, Shown};
use super::location::Location;
use super::memories::{DomainRecord, KeyRecord};
use super::outbox::{Due, Letter, LetterId, Waiting};
use super::pins::{PinsError, Said};
#[cfg(feature = "postgres")]
use super::postgres;
use super::quota::Quotas;
use super::recorder::Entry;
use super::sqlite;

/// Most probes that are kept; the oldest go first.
pub(super) const MAX_PROBES: usize = 50;

/// Why the gateway cannot have its state.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The quarantine cannot be used.
    #[error(transparent)]
    Quarantine(StoreError),
    /// The database cannot be used, and trying again would not help.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// The parts of the state. A caller takes those that it needs.
#[derive(Clone, Debug)]
pub struct State {
    /// What is remembered of correspondents.
    pub memories: Arc<dyn Memories>,
    /// What was judged.
    pub judgements: Arc<dyn Judgements>,
    /// Judged messages, for those who look for one.
    pub messages: Arc<dyn Messages>,
    /// Held mail.
    pub quarantine: Arc<dyn Quarantine>,
    /// What is to be sent.
    pub outbox: Arc<dyn Outbox>,
    /// What was done to held mail.
    pub audit: Arc<dyn AuditTrail>,
    /// Who may use the console.
    pub accounts: Arc<dyn Accounts>,
    /// What the administrator said of correspondents by command.
    pub pins: Arc<dyn SaidPins>,
    /// The probes that `doctor` sent.
    pub probes: Arc<dyn Probes>,
}

impl State {
    /// For the gateway: what is missing is made, and what an earlier run left unfinished is removed. A database that cannot be
    /// opened is tried again with every batch, but for one that a later version has made.
    pub fn open_to_serve(place: &Location) -> Result<Self, OpenError> {
        match &place.server {
            None => sqlite::open_to_serve(&place.folder),
            #[cfg(feature = "postgres")]
            Some(server) => Ok(postgres::open_to_serve(server, place)?),
            #[cfg(not(feature = "postgres"))]
            Some(server) => match *server {},
        }
    }

    /// For commands: nothing is made, so nothing can belong to the wrong user. What is not there is found when it is used.
    pub fn open(place: &Location) -> Self {
        match &place.server {
            None => sqlite::open(&place.folder),
            #[cfg(feature = "postgres")]
            Some(server) => postgres::open(server, place),
            #[cfg(not(feature = "postgres"))]
            Some(server) => match *server {},
        }
    }

    /// For those who only look: nothing is changed either.
    pub fn open_to_look(place: &Location) -> Self {
        match &place.server {
            None => sqlite::open_to_look(&place.folder),
            #[cfg(feature = "postgres")]
            Some(server) => postgres::open_to_look(server, place),
            #[cfg(not(feature = "postgres"))]
            Some(server) => match *server {},
        }
    }
}

/// What is remembered of correspondents: a forged DNS answer must not replace a key that was seen before. What was judged is
/// written with it, in one transaction.
pub trait Memories: Debug + Send + Sync {
    /// What is remembered of these domains, for judging a message.
    fn recall(&self, domains: &[DomainName], now: u64) -> Result<Memory, DatabaseError>;

    /// Writes messages down: what each taught, and how it was judged. After a crash all of them are there or none is. Tells how
    /// many taught of a domain for which there is no room.
    fn record(&self, entries: &[Box<Entry>]) -> Result<u64, DatabaseError>;

    /// Forgets what nobody has seen for long, unless the clock may be wrong. Tells how many domains are forgotten.
    fn forget_old(&self, now: u64) -> Result<u64, DatabaseError>;

    /// Whether what is judged can be written down.
    fn is_open(&self) -> bool;

    /// What became of a database that was damaged, for people, if that was found since this was asked last.
    fn mended(&self) -> Option<String>;

    /// The form of the tables, and the form that this version works with.
    fn form(&self) -> Result<(i64, i64), DatabaseError>;

    /// What is wrong with the database, by its own check; `None` if it is sound.
    fn damage(&self) -> Result<Option<String>, DatabaseError>;

    /// Everything, in the order of names; or one domain.
    fn list(&self, only: Option<&DomainName>, now: u64) -> Result<Vec<DomainRecord>, DatabaseError>;

    /// The keys of a domain, the newest first.
    fn keys(&self, domain: &DomainName) -> Result<Vec<KeyRecord>, DatabaseError>;

    /// Accepts a key that was offered or revoked. Tells whether there was such a key.
    fn approve(&self, domain: &DomainName, key: &PublicKey, now: u64) -> Result<bool, DatabaseError>;

    /// Forgets a domain, keys and all. Tells whether it was remembered.
    fn forget(&self, domain: &DomainName) -> Result<bool, DatabaseError>;
}

/// What was judged, for an administrator who asks later.
pub trait Judgements: Debug + Send + Sync {
    /// What was judged from the day (UTC) that holds `from` on, in Unix seconds.
    fn since(&self, from: u64) -> Result<Period, DatabaseError>;

    /// The messages that are named and that fit a question, the oldest first; of more than 20,000, the newest.
    fn ask(&self, question: &Question) -> Result<Vec<Judged>, DatabaseError>;
}

/// Judged messages as people look for them: every one, also those that the policy simply delivered.
pub trait Messages: Debug + Send + Sync {
    /// A page of the messages that fit a question, the newest first: at most `limit` of them, after the place where the page
    /// before ended.
    fn search(
        &self,
        question: &Question,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<Page, DatabaseError>;

    /// One message, with what was found in it.
    fn show(&self, id: &JudgedId) -> Result<Option<Shown>, DatabaseError>;

    /// How many messages were alike on each day (UTC) from the one that holds `from` to the one that holds `to`, in Unix seconds;
    /// days on which there was none are left out.
    fn daily(&self, from: u64, to: u64) -> Result<Vec<DayCount>, DatabaseError>;
}

/// Held mail. The gateway answered 250 for it, so nobody else has it.
pub trait Quarantine: Debug + Send + Sync {
    /// Holds the message that `message` reads, of which `held` tells the size, within these quotas. The letters are put into the
    /// outbox with it, in one transaction; one about nothing is about this message. When this returns `Ok`, all of it is on disk
    /// to stay.
    fn hold(
        &self,
        quotas: &Quotas,
        held: &Held,
        letters: &[Letter],
        message: &mut dyn Read,
    ) -> Result<Kept, HoldError>;

    /// A page of what is held, oldest first: at most `limit` messages that the filter wants, from the one after `after` on.
    fn list(&self, filter: &Filter, after: Option<&HeldId>, limit: usize) -> Result<Listing, StoreError>;

    /// Messages of which a part is missing.
    fn incomplete(&self) -> Result<Vec<Incomplete>, StoreError>;

    /// How much is held.
    fn usage(&self) -> Result<Usage, StoreError>;

    /// Whether a small message could be written now; nothing stays behind.
    fn check_writable(&self) -> Result<(), StoreError>;

    /// What is known of one message.
    fn show(&self, id: &HeldId) -> Result<Listed, StoreError>;

    /// One message, octet for octet.
    fn open_message(&self, id: &HeldId) -> Result<Box<dyn Read + Send>, StoreError>;

    /// What is known of attempts to release a message.
    fn releases(&self, id: &HeldId) -> Result<Releases, StoreError>;

    /// Claims a message, to release or delete it. Of several who do so, one gets it.
    fn claim(&self, id: &HeldId, by: &By) -> Result<Box<dyn Claim>, StoreError>;

    /// Notes that a digest has said when these messages are removed by age.
    fn announce(&self, ids: &[HeldId], expires: Timestamp) -> Result<(), StoreError>;

    /// The messages that were found since this was asked last, and of which the database had no row.
    fn adopted(&self) -> Vec<HeldId>;

    /// Has a message removed by age no more, or again.
    fn keep(&self, id: &HeldId, keep: bool, by: &By) -> Result<(), StoreError> {
        self.claim(id, by)?.note(Release::Keep { at: Timestamp::now(), keep })
    }

    /// Deletes one message for good. Of two who delete it at once, one is told that there is none.
    fn delete(&self, id: &HeldId, by: &By) -> Result<(), StoreError> {
        self.claim(id, by)?.delete(Removal::Deleted)
    }
}

/// The right to release or delete one held message; it ends with this value, or with the process. Each step of a release is
/// written down before the next is taken, so that whoever comes after a crash knows who has the message. The deed is written
/// into the audit trail in the same transaction.
pub trait Claim: Debug + Send {
    /// What is known of earlier attempts, and of this one.
    fn releases(&self) -> &Releases;

    /// Writes a step down, to stay.
    fn note(&mut self, step: Release) -> Result<(), StoreError>;

    /// Notes that the end of the message goes out to these recipients now.
    fn sending(&mut self, recipients: &[usize]) -> Result<(), StoreError> {
        self.note(Release::Sending { at: Timestamp::now(), recipients: recipients.to_vec() })
    }

    /// Notes what the next hop answered, in the step and in its own words.
    fn answered(
        &mut self,
        delivered: &[usize],
        refused: &[usize],
        said: Option<&str>,
    ) -> Result<(), StoreError> {
        let (delivered, refused) = (delivered.to_vec(), refused.to_vec());
        let said = said.map(str::to_owned);
        self.note(Release::Answered { at: Timestamp::now(), delivered, refused, said })
    }

    /// Removes the message for good.
    fn delete(self: Box<Self>, why: Removal) -> Result<(), StoreError>;
}

/// What is to be sent. A letter stays until the mail server has taken it. Whoever takes one has it for 60 seconds; without news of
/// it, it is due again then. So each letter is sent at least once, and twice only where the server's reply was lost. At most 10,000
/// letters and 16 MiB wait; of what does not fit, the number is kept.
pub trait Outbox: Debug + Send + Sync {
    /// Puts letters there, to stay. Tells how many did not fit.
    fn put(&self, letters: &[Letter]) -> Result<u64, DatabaseError>;

    /// Takes letters that are due, the oldest first, also those that have expired: they have a last attempt.
    fn take(&self, now: Timestamp, limit: usize) -> Result<Vec<Due>, DatabaseError>;

    /// The mail server took these.
    fn sent(&self, letters: &[LetterId]) -> Result<(), DatabaseError>;

    /// These are to be tried again then, not before. Of one that somebody else has taken meanwhile, nothing changes.
    fn postpone(&self, letters: &[LetterId], until: Timestamp) -> Result<(), DatabaseError>;

    /// These are not sent, for this reason. Of one that somebody else has taken meanwhile, nothing changes.
    fn give_up(&self, letters: &[LetterId], why: &str) -> Result<(), DatabaseError>;

    /// What waits.
    fn waiting(&self) -> Result<Waiting, DatabaseError>;

    /// A mail told of so many letters that did not fit.
    fn told_more(&self, count: u64) -> Result<(), DatabaseError>;
}

/// What was done to held mail, by whom and why. It outlives the message by 400 days. What the quarantine and the outbox do
/// themselves is written there by themselves.
pub trait AuditTrail: Debug + Send + Sync {
    /// Writes a deed down, to stay.
    fn note(&self, deed: &Deed) -> Result<(), DatabaseError>;

    /// What was done to one message, in the order in which it was done.
    fn of(&self, id: &HeldId) -> Result<Vec<Deed>, DatabaseError>;

    /// What was done to messages with this Message-ID, which has its brackets or not; likewise.
    fn of_message_id(&self, message_id: &str) -> Result<Vec<Deed>, DatabaseError>;

    /// What was done since then, likewise; of more than 100,000 deeds, the newest.
    fn since(&self, from: Timestamp) -> Result<Vec<Deed>, DatabaseError>;
}

/// What the administrator said of correspondents by command. It counts from the next message on.
pub trait SaidPins: Debug + Send + Sync {
    /// Where it is kept, for people.
    fn place(&self) -> String;

    /// What tells one content from the next. It is asked for before each message, so it waits for nothing: what others change may be
    /// seen a second later.
    fn stamp(&self) -> Result<Stamp, PinsError>;

    /// What was said, as it is written.
    fn read(&self) -> Result<Said, PinsError>;

    /// Changes what was said; of two who do so at once, one waits. When this returns `Ok`, it is on disk to stay.
    fn change(&self, change: &mut dyn FnMut(&mut Said)) -> Result<(), PinsError>;

    /// Adds what was said to other pins.
    fn add_to(&self, pins: &mut Pins) -> Result<(), PinsError> {
        let added = self.read()?.add_to(pins);
        added.map_err(|(domain, reason)| PinsError::Content { place: self.place(), domain, reason })
    }
}

/// The probes that `doctor` sent, to be compared with what arrives.
pub trait Probes: Debug + Send + Sync {
    /// Keeps a probe; the oldest give way. Its id must be fit for a file's name. Tells where it is, for people.
    fn keep(&self, id: &str, message: &[u8]) -> io::Result<String>;

    /// A probe that was kept.
    fn read(&self, id: &str) -> io::Result<Vec<u8>>;
}
