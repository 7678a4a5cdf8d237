//! What was judged: for each day how many messages got which verdict, and each message: those that the policy simply delivered
//! apart from all others, so that a flood of them pushes out none of the others. No content, and within limits.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::held::Details;

/// Messages that are kept of those that the policy would not simply have delivered.
pub(super) const MAX_KEPT: u64 = 1_000_000;
/// Messages that are kept of those that it simply delivered.
pub(super) const MAX_DELIVERED: u64 = 1_000_000;
/// Octets of findings that are kept of messages of the first kind, and of sealed ones of the second; the oldest go first.
pub(super) const MAX_FINDINGS: u64 = 512 << 20;
pub(super) const MAX_DELIVERED_FINDINGS: u64 = 128 << 20;
/// Recipients of one message that are kept, and by which it is found.
pub const MAX_RECIPIENTS: usize = 32;
/// Most messages of a page.
pub const MAX_PAGE: usize = 500;
/// Messages that one answer names; of more, the newest.
pub(super) const MAX_NAMED: u64 = 20_000;
/// For how long they are kept, in seconds: 60 days.
pub(super) const KEPT: u64 = 60 * 86_400;
/// For how many days counts are kept.
pub(super) const DAYS: u64 = 400;
/// Seconds of a day.
pub(super) const DAY: u64 = 86_400;
/// Characters that are kept of a text that a stranger chose.
pub const MAX_TEXT: usize = 250;
/// What delivers a message as it is.
const DELIVER: &str = "deliver";
/// What was done with a message that was passed on, where the next hop put it off: the client comes again with it.
pub const DEFERRED_BY_NEXT_HOP: &str = "deferred-by-next-hop";
/// The same where the next hop refused it for good.
pub const REFUSED_BY_NEXT_HOP: &str = "refused-by-next-hop";

/// One message as it was judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// When, in Unix seconds.
    pub at: u64,
    /// The session's id in the log.
    pub session: String,
    /// SPEC.md's word.
    pub verdict: String,
    /// SPEC.md's reason, where the verdict has one.
    pub reason: Option<String>,
    /// On what ground the author's domain is known to seal.
    pub known: Option<String>,
    /// How the key was proved.
    pub trust: Option<String>,
    /// What the policy asked for: SPEC.md's word, such as `quarantine`.
    pub asked: String,
    /// What was done.
    pub done: String,
    /// The author's domain, where it is clear.
    pub from_domain: Option<String>,
    /// The sealing domain, where a seal counted.
    pub domain: Option<String>,
    /// The reverse-path without its brackets.
    pub reverse_path: String,
    /// How many recipients there were.
    pub recipients: usize,
    /// The Message-ID field's value.
    pub message_id: Option<String>,
    /// What happened to each attachment that is not intact: `altered Agenda.pdf`.
    pub attachments: Vec<String>,
    /// One line for people.
    pub summary: String,
    /// Its id in the quarantine, where it was held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// The queue id that the next hop gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_id: Option<String>,
    /// The queue id that the server before us gave it, by the topmost Received field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrived_as: Option<String>,
}

/// What is written down of a message besides: what it is found by, and what people tell it from others by. Strangers chose most
/// of it; each text has at most 250 characters. Of a message that an early version judged, there is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Particulars {
    /// The author's address, or only its domain where the field is hard to read; nothing where the author is unclear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The forward-paths without their brackets, the first [`MAX_RECIPIENTS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// The Subject field, its encoded words decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Octets of the message.
    pub size: u64,
    /// The listener's name.
    pub listener: String,
    /// The client's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// The client's host name, where the server before us announced it, or else what it called itself in EHLO.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
}

/// What was found in a message: as for held mail, and fields of its header section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Findings {
    /// As for held mail.
    #[serde(flatten)]
    pub details: Details,
    /// The fields that matter, as text, in their order; 16 KiB at most.
    pub fields: Vec<HeaderField>,
    /// How many fields that matter are left out.
    pub more_fields: u64,
}

impl Findings {
    /// What they take in memory, about.
    pub fn octets(&self) -> usize {
        /// What a text takes besides its octets.
        const TEXT: usize = size_of::<String>();
        let Details { from, to, subject, date, path, attachments, arrived, doubts, links, .. } =
            &self.details;
        let texts = [from, to, subject, date].into_iter().flatten().chain(path).map(String::len);
        let fields = self.fields.iter().map(|field| field.name.len() + field.value.len() + TEXT);
        let files = attachments.iter().flat_map(|one| one.sealed.iter().chain(&one.found)).chain(arrived);
        let files = files.map(|file| file.name.len() + file.media_type.len() + file.hash.len() + 3 * TEXT);
        let doubts = doubts.iter().map(|doubt| doubt.code.len() + doubt.place.len() + doubt.what.len());
        let links = links.iter().map(|link| link.status.len() + link.target.len());
        let all = texts.chain(fields).chain(files).chain(doubts).chain(links);
        size_of::<Self>() + all.map(|octets| octets + TEXT).sum::<usize>()
    }
}

/// A field of a header section, as text on one line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeaderField {
    /// Its name, as it is written.
    pub name: String,
    /// Its value; the start of it where it is long.
    pub value: String,
}

/// The name of a judged message: the day when it was judged (UTC), and the start of a hash of what is written down of it,
/// `20261123-0f3a9c2b1d4e`. So it stays when a state is moved or restored, and can be mailed to somebody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JudgedId(String);

impl JudgedId {
    /// Of what is written down.
    pub(super) fn of(at: u64, record: &str) -> Self {
        let day = Timestamp::from_second(i64::try_from(at).unwrap_or(i64::MAX)).unwrap_or_default();
        let day = day.to_zoned(TimeZone::UTC).strftime("%Y%m%d");
        let hash = blake3::hash(record.as_bytes()).to_hex();
        Self(format!("{day}-{}", &hash[..HASH]))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Hexadecimal digits of a [`JudgedId`].
const HASH: usize = 12;

impl fmt::Display for JudgedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Text that is no id of a judged message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not the id of a judged message; ids look like 20261123-0f3a9c2b1d4e")]
pub struct ParseJudgedIdError;

impl FromStr for JudgedId {
    type Err = ParseJudgedIdError;

    fn from_str(text: &str) -> Result<Self, ParseJudgedIdError> {
        let is_hex = |octet: u8| matches!(octet, b'0'..=b'9' | b'a'..=b'f');
        let fits = text.split_once('-').is_some_and(|(day, hash)| {
            day.len() == 8
                && day.bytes().all(|octet| octet.is_ascii_digit())
                && hash.len() == HASH
                && hash.bytes().all(is_hex)
        });
        if fits { Ok(Self(text.to_owned())) } else { Err(ParseJudgedIdError) }
    }
}

/// A judged message that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub id: JudgedId,
    /// The label of the gateway that judged it.
    pub gateway: String,
    /// How it was judged.
    pub judged: Judged,
    /// What it is known by.
    pub particulars: Particulars,
}

/// A judged message with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// How it was judged, and what it is known by.
    pub found: Found,
    /// What was found in it; `None` where that is not kept, or no longer. Of a held message, the quarantine has it, too.
    pub findings: Option<Findings>,
}

/// A page of judged messages, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// At most as many as were asked for. There may be fewer, though there are more: a search that takes long stops there.
    pub messages: Vec<Found>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Position>,
}

/// Where a page of judged messages begins. As text, `17-4711`, it can be in an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Below this row of those that were not simply delivered.
    pub(super) named: i64,
    /// Below this row of those that were.
    pub(super) delivered: i64,
}

impl Position {
    /// Of the newest message.
    pub(super) const NEWEST: Self = Self { named: i64::MAX, delivered: i64::MAX };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.named, self.delivered)
    }
}

/// Text that is no place of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not the beginning of a page")]
pub struct ParsePositionError;

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, ParsePositionError> {
        let number = |text: &str| {
            let is_plain = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
            text.parse::<i64>().ok().filter(|_| is_plain).ok_or(ParsePositionError)
        };
        let (named, delivered) = text.split_once('-').ok_or(ParsePositionError)?;
        Ok(Self { named: number(named)?, delivered: number(delivered)? })
    }
}

/// How many messages of a day were alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayCount {
    /// The first second of the day (UTC), in Unix seconds.
    pub day: u64,
    /// How many, and in what they were alike.
    pub count: Count,
}

/// Which judged messages are wanted: those that fit all that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Judged then or later, in Unix seconds.
    pub from: u64,
    /// Judged before then, if that is given.
    pub until: Option<u64>,
    /// The Message-ID, with its angle brackets or without.
    pub message_id: Option<String>,
    /// The session's id, a queue id before or behind us, or the id in the quarantine.
    pub queue_id: Option<String>,
    /// The author's domain or the sealing domain, or a parent of it.
    pub domain: Option<String>,
    /// The author's address or the reverse-path; without `@`, its domain or a parent of that. Case does not matter.
    pub sender: Option<String>,
    /// A forward-path, likewise.
    pub recipient: Option<String>,
    /// SPEC.md's word.
    pub verdict: Option<String>,
    /// What was done.
    pub done: Option<String>,
    /// Also those that the policy simply delivered.
    pub delivered: bool,
}

/// How many messages of a period were alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// SPEC.md's word.
    pub verdict: String,
    /// What the policy asked for.
    pub asked: String,
    /// What was done.
    pub done: String,
    /// How many.
    pub count: u64,
}

impl Count {
    /// Whether these came again, or will: they are attempts at messages, and no messages of their own.
    pub fn is_of_attempts(&self) -> bool {
        self.done == DEFERRED_BY_NEXT_HOP
    }

    /// Whether each of these was kept as a message of its own.
    pub fn is_named(&self) -> bool {
        is_named(&self.asked, &self.done)
    }
}

/// What the policy simply delivers has nothing to be looked into, and what the next hop puts off comes again: a flood of neither
/// may push out what was held.
pub(super) fn is_named(asked: &str, done: &str) -> bool {
    asked != DELIVER && done != DEFERRED_BY_NEXT_HOP
}

/// Whether the policy simply delivered a message, if only the next hop took it.
pub(super) fn is_delivered(asked: &str, done: &str) -> bool {
    asked == DELIVER && done != DEFERRED_BY_NEXT_HOP
}

/// What was judged in a period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// Every message, counted.
    pub counts: Vec<Count>,
    /// Those that the policy would not simply have delivered, the oldest first; of more than 20,000, the newest.
    pub messages: Vec<Judged>,
}
