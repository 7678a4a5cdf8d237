//! A result in words: as JSON for programs (one object a message, its members fixed, absent things null), and as one
//! line of printable ASCII for replies, header fields and alerts.

use serde::Serialize;

use super::{Reason, State, Verdict, Verification, links};
use crate::manifest::{Entry, LinkChanges, Outcome, Status, TextState};
use crate::seal::trust::Lookup;

/// One line of `verify --json`.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    file: Option<&'a str>,
    verdict: &'static str,
    reason: Option<&'static str>,
    domain: Option<&'a str>,
    selector: Option<&'a str>,
    trust: Option<&'static str>,
    sealed_at: Option<String>,
    body: Option<&'static str>,
    text: Option<&'static str>,
    headers: Option<&'static str>,
    attachments: Vec<Attachment<'a>>,
    doubts: Vec<&'static str>,
    /// Where the doubts were met, and what about; left out where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<String>,
    /// What became of the links of a text that is not intact; left out where none was added or removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<Links>,
    known: Option<&'static str>,
}

/// Links of each kind that a report names.
const MAX_LINKS: usize = 20;

/// Characters of a link's target in a report.
const MAX_TARGET: usize = 500;

#[derive(Debug, Serialize)]
struct Links {
    added: Vec<String>,
    more_added: usize,
    removed: Vec<Removed>,
    more_removed: usize,
    /// If not, those added may have been sealed.
    sealed_all: bool,
    /// If not, there may be more that were added.
    found_all: bool,
}

#[derive(Debug, Serialize)]
struct Removed {
    blake3: String,
    target: Option<String>,
}

#[derive(Debug, Serialize)]
struct Attachment<'a> {
    status: &'static str,
    name: &'a str,
    #[serde(rename = "type")]
    media_type: &'a str,
    sealed: Option<Bytes>,
    found: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found_type: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Bytes {
    size: u64,
    blake3: String,
}

impl<'a> Report<'a> {
    /// The report on one message; `file` names it where it is one of several.
    pub fn new(file: Option<&'a str>, verification: &'a Verification) -> Self {
        Self {
            file,
            verdict: verification.verdict.as_str(),
            reason: reason(verification),
            domain: verification.domain.as_ref().map(|domain| domain.as_str()),
            selector: verification.selector.as_ref().map(|selector| selector.as_str()),
            trust: verification.trust().map(|trust| trust.as_str()),
            sealed_at: verification.sealed_at.and_then(rfc3339),
            body: verification.body.map(State::as_str),
            text: verification.text.map(TextState::as_str),
            headers: verification.headers.map(State::as_str),
            attachments: verification.attachments.iter().filter_map(Attachment::of).collect(),
            doubts: verification.doubts.iter().map(|doubt| doubt.code()).collect(),
            details: verification.remarks.iter().map(ToString::to_string).collect(),
            links: verification.links.as_ref().map(Links::of),
            known: verification.known.map(|ground| ground.as_str()),
        }
    }

    /// The report as one line of JSON.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("a report holds only strings and numbers")
    }
}

impl<'a> Attachment<'a> {
    fn of(outcome: &'a Outcome) -> Option<Self> {
        let named = outcome.sealed.as_ref().or(outcome.found.as_ref())?;
        let found = outcome.found.as_ref().filter(|_| outcome.status == Status::Renamed);
        Some(Self {
            status: outcome.status.as_str(),
            name: &named.name,
            media_type: &named.media_type,
            sealed: outcome.sealed.as_ref().map(Bytes::of),
            found: outcome.found.as_ref().map(Bytes::of),
            found_name: found.map(|entry| entry.name.as_str()),
            found_type: found.map(|entry| entry.media_type.as_str()),
        })
    }
}

impl Links {
    fn of(changes: &LinkChanges) -> Self {
        let cut = |target: &String| target.chars().take(MAX_TARGET).collect();
        let removed = changes.removed.iter().take(MAX_LINKS);
        Self {
            added: changes.added.iter().take(MAX_LINKS).map(cut).collect(),
            more_added: changes.added.len().saturating_sub(MAX_LINKS) + changes.more_added,
            removed: removed
                .map(|link| Removed { blake3: links::hex(link), target: link.target.as_ref().map(cut) })
                .collect(),
            more_removed: changes.removed.len().saturating_sub(MAX_LINKS),
            sealed_all: changes.sealed_all,
            found_all: changes.found_all,
        }
    }
}

impl Bytes {
    fn of(entry: &Entry) -> Self {
        Self { size: entry.size, blake3: entry.hash.to_hex().to_string() }
    }
}

fn rfc3339(seconds: u64) -> Option<String> {
    let time = jiff::Timestamp::from_second(i64::try_from(seconds).ok()?).ok()?;
    Some(time.to_string())
}

/// The result as one line for people, without the verdict's own word, with what became of the links. Names are as the message
/// has them.
pub fn summary(verification: &Verification) -> String {
    let sentence = sentence(verification);
    match links::in_words(verification) {
        Some(links) => format!("{sentence}; in its text {links}"),
        None => sentence,
    }
}

/// The same without the links.
pub fn sentence(verification: &Verification) -> String {
    let domain = verification.domain.as_ref().map_or("its domain", |domain| domain.as_str());
    match verification.verdict {
        Verdict::Pass => "every attachment is as it was sent".to_owned(),
        Verdict::None => "no seal, and none expected".to_owned(),
        Verdict::Missing => "no seal, though the author's domain is known to seal its mail".to_owned(),
        Verdict::Fail(Reason::Attachments) => {
            let changes: Vec<String> = not_intact(verification).collect();
            format!("changed on the way: {}", changes.join(", "))
        }
        Verdict::Fail(Reason::TooManySeals) => "more seals than any honest message has".to_owned(),
        Verdict::Fail(Reason::MalformedSeal) => "the seal is malformed".to_owned(),
        Verdict::Fail(Reason::RevokedKey) => format!("the key that sealed it was revoked by {domain}"),
        Verdict::Fail(Reason::BadSignature) => format!("the seal was not signed by {domain}"),
        Verdict::Fail(Reason::FutureSeal) => "the seal is dated in the future".to_owned(),
        Verdict::Fail(Reason::OtherMessage) => "the seal belongs to another message".to_owned(),
        Verdict::Ambiguous => {
            let doubts: Vec<&str> = verification.doubts.iter().map(|doubt| doubt.code()).collect();
            format!("mail programs could disagree about what it holds: {}", doubts.join(", "))
        }
        Verdict::Unaligned => format!("sealed by {domain}, which is not the author's domain"),
        Verdict::Expired => "everything is as it was sent, but long ago".to_owned(),
        Verdict::UnknownKey => format!("no key of {domain} to check the seal with"),
        Verdict::KeyChanged => format!("sealed with a key that is not known to be {domain}'s"),
        Verdict::Temperror if verification.clock_doubt => {
            format!("the seal of {domain} is dated ahead of this gateway's clock")
        }
        Verdict::Temperror if verification.key_lookup == Some(Lookup::Bogus) => {
            format!("the key cannot be looked up: the DNSSEC proof of the answer for {domain} is wrong")
        }
        Verdict::Temperror if matches!(verification.key_lookup, Some(Lookup::Insecure | Lookup::Secure)) => {
            format!("the memory of {domain} cannot be read now")
        }
        Verdict::Temperror => "the key cannot be looked up now".to_owned(),
    }
}

/// Why the verdict is what it is, in the words of results: the verdict's own reason, or else which lookup left it open.
pub fn reason(verification: &Verification) -> Option<&'static str> {
    // A policy that could not be had might have made it `missing` or `key-changed` (SPEC.md §10).
    let policy_matters = verification.known.is_none()
        && matches!(verification.verdict, Verdict::None | Verdict::Unaligned | Verdict::UnknownKey);
    match (verification.verdict, verification.key_lookup, verification.policy_lookup) {
        (Verdict::Fail(reason), ..) => Some(reason.as_str()),
        (Verdict::Temperror, ..) if verification.clock_doubt => Some(Reason::FutureSeal.as_str()),
        (Verdict::Temperror, Some(Lookup::Bogus), _) => Some("key-lookup-bogus"),
        (Verdict::Temperror, Some(Lookup::Insecure | Lookup::Secure), _) => Some("memory-unreadable"),
        (Verdict::Temperror, ..) => Some("key-lookup-failed"),
        (_, _, Some(Lookup::Bogus)) if policy_matters => Some("policy-lookup-bogus"),
        (_, _, Some(Lookup::Failed)) if policy_matters => Some("policy-lookup-failed"),
        _ => None,
    }
}

/// What happened to each attachment that is not as sealed: `altered Agenda.pdf`. The altered ones come first.
pub fn not_intact(verification: &Verification) -> impl Iterator<Item = String> {
    let mut changed: Vec<&Outcome> =
        verification.attachments.iter().filter(|outcome| outcome.status != Status::Intact).collect();
    changed.sort_by_key(|outcome| outcome.status != Status::Altered);
    changed.into_iter().filter_map(|outcome| {
        let entry = outcome.sealed.as_ref().or(outcome.found.as_ref())?;
        let name = if entry.name.is_empty() { &entry.media_type } else { &entry.name };
        Some(format!("{} {name}", outcome.status.as_str()))
    })
}

/// `text` as printable ASCII of at most `max` octets; every other character becomes `?`.
pub fn printable(text: &str, max: usize) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).take(max).collect()
}

/// Whether a character of a stranger's text may be shown to people: it is neither invisible nor turns the direction of
/// text, and moves no cursor over our own words.
pub fn is_plain(c: char) -> bool {
    let is_deceptive = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !c.is_control() && !is_deceptive
}
