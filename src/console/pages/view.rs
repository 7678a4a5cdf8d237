//! What each page shows, as plain data: whoever serves a page fills these in, and `pages` writes them down. Nothing here is read
//! from anywhere, and nothing is HTML. Texts that strangers wrote are as they wrote them; the pages mark what is odd in them.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::doctor::Finding;
pub use crate::store::Role;
use crate::store::{Deed, Details, HeldState};

/// What is around each page.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Whose page it is; nobody's before the login.
    pub viewer: Option<Viewer>,
    /// A language that there are texts in: `en`, `zh-Hant`.
    pub language: String,
    /// The zone of all dates and times.
    pub zone: TimeZone,
    /// The path of the page, with its question: `/messages?verdict=fail`.
    pub path: String,
    /// This gateway's name.
    pub site: String,
    /// When the page is made.
    pub now: Timestamp,
    /// The form that logs out.
    pub log_out: Option<Offer>,
}

/// Who looks at a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// The account's name.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// What a form does. The fields of each form, besides `token`, are in the comments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// `name`, `password`, `next` (a path).
    LogIn,
    /// Nothing.
    LogOut,
    /// `language`, `zone`.
    SetPreferences,
    /// `reason`; `to`, once for each recipient that was ticked, for all of them where none was; `again`, where some recipients are
    /// in doubt: `yes` sends to those, too.
    Release,
    /// `reason`; `sure`: `yes`.
    Delete,
    /// `reason`.
    Keep,
    /// `reason`.
    KeepNoLonger,
    /// A GET: the message as a file.
    Download,
    /// `key` (base64url); `word`, once for each word that was ticked, or `digits`, as they were typed.
    Approve,
    /// `key` (a fingerprint in digits or words, or a key record); `selector`, perhaps empty; `root`: `yes` where the key is a root.
    Pin,
    /// `sure`: `yes`. What is remembered of the correspondent, and what was pinned by command.
    Forget,
    /// `unsealed`: `yes` or `no`.
    AlsoUnsealed,
}

/// A form that somebody may send. What they may not do is not offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What it does.
    pub action: Action,
    /// Where it goes.
    pub path: String,
    /// The token that is good for this session, action and path; empty where the form is a GET.
    pub token: String,
}

/// `/`: what waits, what happened, and what needs a hand.
#[derive(Clone, Debug, Default)]
pub struct Now {
    /// Held messages that wait for somebody, the most urgent first; a handful.
    pub waiting: Vec<Row>,
    /// How many are held in all.
    pub held: u64,
    /// Messages by day and verdict, the oldest first, with the days on which there was none.
    pub days: Vec<Day>,
    /// What needs a hand, the worst first, and what could not be checked.
    pub findings: Vec<Finding>,
    /// When that was checked; nothing where it is not yet.
    pub checked: Option<Timestamp>,
}

/// Messages of one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Day {
    /// The day, in UTC.
    pub day: Date,
    /// How many had which verdict, in SPEC.md's words.
    pub verdicts: Vec<(String, u64)>,
}

/// One message in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The last part of its address, `/messages/ID`.
    pub id: String,
    /// When it was judged.
    pub at: Timestamp,
    /// SPEC.md's word.
    pub verdict: String,
    /// SPEC.md's reason, where the verdict has one.
    pub reason: Option<String>,
    /// What was done at first, such as `quarantine`.
    pub done: String,
    /// How it is with it, while it is held.
    pub state: Option<HeldState>,
    /// The author's address, or their domain.
    pub from: Option<String>,
    /// Forward-paths, as many as are known.
    pub recipients: Vec<String>,
    /// How many recipients there are in all.
    pub recipient_count: u64,
    /// The Subject field, where it is known.
    pub subject: Option<String>,
    /// One English line for people.
    pub summary: String,
}

/// What a search asks for, as it was typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// `message_id`.
    pub message_id: String,
    /// `queue_id`: a queue id before or behind us, a session's id, or an id in the quarantine.
    pub queue_id: String,
    /// `from`: text in the sender's address.
    pub from: String,
    /// `to`: text in a recipient's address.
    pub to: String,
    /// `domain`.
    pub domain: String,
    /// `verdict`: SPEC.md's word, or nothing.
    pub verdict: String,
    /// `day`: `2026-11-23`, or nothing.
    pub day: String,
    /// `held`: `yes`, or nothing.
    pub held: String,
}

/// `/messages`: what was judged.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    /// What is asked for.
    pub question: Question,
    /// What was found, the newest first.
    pub rows: Vec<Row>,
    /// Where the page of newer messages is.
    pub newer: Option<String>,
    /// Where the page of older messages is.
    pub older: Option<String>,
    /// Which field of the question makes no sense, and why (English).
    pub wrong: Option<String>,
}

/// `/messages/ID`: all that is known of one message.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// As in a list.
    pub row: Row,
    /// What the policy asked for, such as `quarantine`.
    pub asked: String,
    /// On what ground the author's domain is known to seal: `pinned`, `policy`, `memory`.
    pub known: Option<String>,
    /// The reverse-path without its brackets.
    pub reverse_path: String,
    /// The listener it came in by.
    pub listener: Option<String>,
    /// The client it came from.
    pub client: Option<String>,
    /// Octets.
    pub size: Option<u64>,
    /// The Message-ID field's value.
    pub message_id: Option<String>,
    /// The session's id in the log.
    pub session: Option<String>,
    /// The queue id of the server before us.
    pub arrived_as: Option<String>,
    /// The queue id of the next hop.
    pub queue_id: Option<String>,
    /// What is known besides: the same as `quarantine show` prints.
    pub details: Details,
    /// Where the details are from.
    pub source: Source,
    /// Each doubt once.
    pub doubts: Vec<Doubt>,
    /// What to do next, in order (English).
    pub advice: Vec<String>,
    /// Header fields as they are written, without their line ends.
    pub fields: Vec<Field>,
    /// How many more there are.
    pub more_fields: u64,
    /// What was done, in order.
    pub deeds: Vec<Deed>,
    /// While it is held.
    pub held: Option<Held>,
    /// What this viewer may do with it.
    pub offers: Vec<Offer>,
    /// How many people a release takes.
    pub release_needs: u64,
}

/// Where the details of a message are from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The check by which it was judged.
    #[default]
    Check,
    /// A second check of the same octets that came to the same verdict.
    SecondCheck,
    /// The header section alone.
    HeaderSection,
    /// Nothing was kept but one line.
    Nothing,
}

/// A held message, besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Whether it is not removed by age.
    pub keep: bool,
    /// When it is removed by age, where that is known.
    pub expires: Option<Timestamp>,
    /// Recipients who have it.
    pub delivered: Vec<String>,
    /// Recipients who may have it or not.
    pub in_doubt: Vec<String>,
    /// Who asked for the release, and waits for a second person.
    pub request: Option<Request>,
}

/// That somebody asked for a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: String,
    /// Why.
    pub reason: Option<String>,
    /// Whether it was this viewer.
    pub is_own: bool,
}

/// A doubt, what it means, where it was met, and what to do about it (English).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubt {
    /// SPEC.md's code.
    pub code: String,
    /// What it means.
    pub meaning: String,
    /// What to do.
    pub advice: String,
    /// Where it was met, and what is wrong there.
    pub places: Vec<String>,
}

/// A header field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value; folded lines as they are.
    pub value: String,
}

/// `/correspondents`: everybody of whom something is known.
#[derive(Clone, Debug, Default)]
pub struct Correspondents {
    /// `domain`: text in the domain, as it was typed.
    pub wanted: String,
    /// In the order of their domains.
    pub rows: Vec<CorrespondentRow>,
    /// Where the page before is.
    pub before: Option<String>,
    /// Where the page after is.
    pub after: Option<String>,
}

/// A correspondent in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CorrespondentRow {
    /// The domain.
    pub domain: String,
    /// Whether something is pinned.
    pub is_pinned: bool,
    /// Whether a seal is expected.
    pub expected: Expected,
    /// Keys that wait to be approved.
    pub offered: u64,
    /// When it was last seen.
    pub last_seen: Option<Timestamp>,
    /// Messages by verdict.
    pub verdicts: Vec<(String, u64)>,
}

/// Whether a seal is expected of a correspondent, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// Yes: it is pinned.
    Pinned,
    /// Yes: by its earlier mail.
    Memory,
    /// Only if its DNS policy asks for one: it is noted that it sends unsealed mail, too.
    Noted,
    /// Only if its DNS policy asks for one: its earlier mail does not.
    #[default]
    Policy,
}

/// `/correspondents/DOMAIN`.
#[derive(Clone, Debug, Default)]
pub struct Correspondent {
    /// The domain.
    pub domain: String,
    /// Whether a seal is expected.
    pub expected: Expected,
    /// Whether it is noted that it sends unsealed mail, too.
    pub also_unsealed: bool,
    /// What is pinned.
    pub pins: Vec<Pin>,
    /// When it was first seen.
    pub first_seen: Option<Timestamp>,
    /// When it was last seen.
    pub last_seen: Option<Timestamp>,
    /// Messages by verdict.
    pub verdicts: Vec<(String, u64)>,
    /// Keys that are remembered, those to be approved first.
    pub keys: Vec<Key>,
    /// Its latest messages; a handful.
    pub messages: Vec<Row>,
    /// What this viewer may do; those of a key are with the key.
    pub offers: Vec<Offer>,
    /// Why what was sent last was not done (English), such as a fingerprint that does not fit.
    pub wrong: Option<String>,
}

/// Something that is pinned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pin {
    /// `key`, `root` or `fingerprint`.
    pub kind: String,
    /// `configuration` or `command`.
    pub by: String,
    /// For which selector; for all where there is none.
    pub selector: Option<String>,
    /// The fingerprint in digits; nothing where the key is revoked, or where it was told in words.
    pub digits: Option<String>,
    /// The fingerprint in words.
    pub words: Option<String>,
    /// Whether it says that the key is revoked.
    pub is_revoked: bool,
}

/// A key that is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key in base64url.
    pub key: String,
    /// Whether it is a root.
    pub is_root: bool,
    /// The selector.
    pub selector: String,
    /// `accepted`, `delegated`, `offered`, `revoked`.
    pub state: String,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// When it was last seen.
    pub last_seen: Timestamp,
    /// The fingerprint in digits.
    pub digits: String,
    /// The fingerprint in words.
    pub words: String,
    /// The form that approves it.
    pub approve: Option<Offer>,
}

/// `/preferences`.
#[derive(Clone, Debug)]
pub struct Preferences {
    /// The language that was chosen; empty where the browser's counts.
    pub language: String,
    /// The zone that was chosen, as it was typed; empty where the gateway's counts.
    pub zone: String,
    /// The zone that counts where none is chosen.
    pub default_zone: String,
    /// Names of zones.
    pub zones: Vec<String>,
    /// Whether it was just saved.
    pub is_saved: bool,
    /// Why it was not (English).
    pub wrong: Option<String>,
    /// The form; none for a name that another program vouches for and that has no account.
    pub offer: Option<Offer>,
}

/// `/login`.
#[derive(Clone, Debug)]
pub struct Login {
    /// The name as it was typed.
    pub name: String,
    /// Where to go then, a path.
    pub next: String,
    /// Why it did not work.
    pub failed: Option<LoginFailure>,
    /// The form.
    pub offer: Offer,
}

/// Why a login did not work. It does not tell which of name and password is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginFailure {
    /// The name or the password is wrong.
    Wrong,
    /// Too many attempts; again in so many seconds.
    TooMany(u64),
    /// The form was too old.
    Stale,
}

/// A page that says why there is no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// What it is.
    pub kind: ProblemKind,
    /// More of it (English).
    pub detail: Option<String>,
}

/// Why there is no other page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// It takes this role.
    Forbidden(Role),
    /// No such page, message or correspondent.
    NotFound,
    /// The form was too old, sent twice or is not ours.
    Stale,
    /// The request makes no sense.
    BadRequest,
    /// Too many requests.
    TooMany,
    /// The state cannot be read, or the like.
    Unavailable,
}

/// What an action came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What was done, or was not.
    pub outcome: Outcome,
    /// More of it (English), such as what the next hop said, and to whom.
    pub lines: Vec<String>,
    /// Where to go from here, a path.
    pub back: String,
}

/// What an action came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The next hop took the message for everybody.
    Released,
    /// It took it for some, or it may have.
    PartlyReleased,
    /// Nobody got it.
    NotReleased,
    /// The release waits for a second person.
    Requested,
    /// The same person asked before: another one is needed.
    StillRequested,
    /// The message is deleted.
    Deleted,
    /// It is kept.
    Kept,
    /// It is kept no longer.
    KeptNoLonger,
    /// The key is approved.
    Approved,
    /// The fingerprint does not fit the key.
    NotApproved,
    /// The key is pinned.
    Pinned,
    /// It is not: the lines have why.
    NotPinned,
    /// The correspondent is forgotten.
    Forgotten,
    /// It is noted that the correspondent sends unsealed mail, too.
    Noted,
    /// It is noted no longer.
    NotedNoLonger,
    /// Somebody else is at the message, or it is gone.
    NotDone,
}
