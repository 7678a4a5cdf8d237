//! What people want to know of a held message: what its header section has, and what the check found. Strangers wrote most of it, so
//! all of it is bounded.

use std::collections::BTreeSet;

use attachment_seal::doubt::Doubt;
use attachment_seal::manifest::{Entry, LinkChanges, Manifest, Outcome, Status, digests};
use attachment_seal::message::author::Author;
use attachment_seal::message::header::{Field, HeaderSection};
use attachment_seal::mime::{plain_text, walk};
use attachment_seal::seal::format::FIELD;
use attachment_seal::seal::key::PublicKey;
use attachment_seal::seal::knowledge::{Answers, Knowledge, Pins};
use attachment_seal::seal::message::Message;
use attachment_seal::seal::remembered::Memory;
use attachment_seal::verdict::links::{added_word, defanged, removed_name, removed_word};
use attachment_seal::verdict::verify::verify;
use attachment_seal::verdict::{State, Verification};
use serde::Serialize;

use crate::advice::{self, Case};
use crate::policy::Action;
use crate::store::{
    Details, Findings, HeaderField, Held, HeldAttachment, HeldDoubt, HeldFile, HeldLink, MAX_TEXT, OfferedKey,
};

/// As much of a field as is read, in octets.
const MAX_FIELD: usize = 4_000;
/// Attachments, and links of each kind.
const MAX_ATTACHMENTS: usize = 50;
const MAX_LINKS: usize = 20;
/// Received fields.
const MAX_PATH: usize = 20;
/// Octets of all fields that are kept as text, and of one of them.
const MAX_FIELDS: usize = 16 << 10;
const MAX_TEXT_FIELD: usize = 2_000;
/// Octets that are kept of what was found in one message.
const MAX_FINDINGS: usize = 48 << 10;

/// Fields that tell whose a message is and how it came, as they are written. What the path has is not repeated.
const FIELDS: [&str; 26] = [
    "From",
    "Sender",
    "Reply-To",
    "Return-Path",
    "To",
    "Cc",
    "Date",
    "Subject",
    "Message-ID",
    "In-Reply-To",
    "References",
    "List-Id",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "User-Agent",
    "X-Mailer",
    "X-Originating-IP",
    "Resent-From",
    "Authentication-Results",
    "ARC-Authentication-Results",
    "Received-SPF",
    "DKIM-Signature",
    "Delivered-To",
    FIELD,
];

/// What the header section of a verified message has, as far as people are told of it.
#[derive(Clone, Debug)]
pub(super) struct Written {
    /// The author's address, or only its domain where the field is hard to read; nothing where the author is unclear.
    pub(super) address: Option<String>,
    pub(super) subject: Option<String>,
    /// The queue id that the server before us gave it.
    pub(super) arrived_as: Option<String>,
}

impl Written {
    pub(super) fn of(header: &HeaderSection<'_>, author: &Author) -> Self {
        let address = match author {
            Author::One(domain) => {
                let from = text(header, "From").unwrap_or_default();
                Some(address(&from, domain.as_str()).unwrap_or_else(|| domain.to_string()))
            }
            Author::Unclear(_) => None,
        };
        let received = header.all("Received").next().map(Field::unfolded);
        Self { address, subject: text(header, "Subject"), arrived_as: received.as_deref().and_then(queue_id) }
    }
}

/// A field's text as people read it, as much of it as is kept.
fn text(header: &HeaderSection<'_>, name: &str) -> Option<String> {
    let field = header.all(name).next()?;
    let octets = &field.value[..field.value.len().min(MAX_FIELD)];
    Some(start(&plain_text(&Field { value: octets, ..*field }.unfolded())))
}

/// The queue id that a Received field names (RFC 5321 §4.4, `ID`).
fn queue_id(received: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(received.rsplit(|&octet| octet == b';').next_back()?).into_owned();
    let mut words = text.split_ascii_whitespace().skip_while(|word| !word.eq_ignore_ascii_case("id"));
    let id = words.nth(1)?.trim_matches(|c| matches!(c, '<' | '>'));
    let is_fit = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    ((1..=64).contains(&id.len()) && id.chars().all(is_fit)).then(|| id.to_owned())
}

/// What is known of a message that was verified.
fn details(message: &Message<'_>, verification: &Verification, lists_arrived: bool) -> Details {
    let mut attachments: Vec<&Outcome> = verification.attachments().iter().collect();
    attachments.sort_by_key(|outcome| outcome.status == Status::Intact);
    let links: Vec<HeldLink> = verification.links().map(links).unwrap_or_default();
    let more_links = verification.links().map_or(0, |links| {
        links.added.len().saturating_sub(MAX_LINKS)
            + links.removed.len().saturating_sub(MAX_LINKS)
            + links.more_added
    });
    let compared_none = attachments.is_empty() && verification.body() != Some(State::Intact);
    let arrived = if lists_arrived && compared_none { arrived(message) } else { Vec::new() };
    Details {
        sealing_domain: verification.domain().map(ToString::to_string),
        key: key(verification),
        trust: verification.trust().map(|trust| trust.as_str().to_owned()),
        more_attachments: attachments.len().saturating_sub(MAX_ATTACHMENTS) as u64,
        attachments: attachments.into_iter().take(MAX_ATTACHMENTS).map(attachment).collect(),
        more_arrived: arrived.len().saturating_sub(MAX_ATTACHMENTS) as u64,
        arrived: arrived.iter().take(MAX_ATTACHMENTS).map(file).collect(),
        doubts: doubts(verification),
        links,
        more_links: more_links as u64,
        ..written(message.header(), message.author())
    }
}

/// The attachments of a message, as they are. Of a large one that is not at hand, none.
fn arrived(message: &Message<'_>) -> Vec<Entry> {
    let leaves = walk(message.raw(), message.header()).leaves;
    let manifest = Manifest::of(&leaves, &digests(message.raw(), &leaves));
    manifest.attachments().cloned().collect()
}

/// What is kept of a message, by what the policy asks for. Of one that is simply delivered there is nothing without a seal, and no
/// header field with one.
pub(super) fn findings(
    message: &Message<'_>,
    verification: &Verification,
    asked: Action,
) -> Option<Findings> {
    let is_simple = asked == Action::Deliver;
    if is_simple && verification.domain().is_none() {
        return None;
    }
    // To list what arrived, all of it is hashed: not for what goes on.
    let lists_arrived = matches!(asked, Action::Quarantine | Action::Reject | Action::Defer);
    let details = details(message, verification, lists_arrived);
    let (fields, more_fields) = if is_simple { (Vec::new(), 0) } else { fields(message.header()) };
    Some(Findings { details, fields, more_fields })
}

/// What is kept of it for those who ask later: as much as is read, however much a stranger wrote.
pub(super) fn bounded(mut findings: Findings) -> Findings {
    while findings.octets() > MAX_FINDINGS {
        let details = &mut findings.details;
        if details.attachments.pop().is_some() {
            details.more_attachments += 1;
        } else if details.arrived.pop().is_some() {
            details.more_arrived += 1;
        } else {
            break;
        }
    }
    findings
}

/// The fields that matter, as text, in their order, and how many of them are left out.
pub fn fields(header: &HeaderSection<'_>) -> (Vec<HeaderField>, u64) {
    let (mut kept, mut more, mut octets) = (Vec::new(), 0, 0);
    let matters = |field: &&Field<'_>| FIELDS.iter().any(|name| field.is(name));
    for field in header.fields.iter().filter(matters) {
        let value = Field { value: &field.value[..field.value.len().min(MAX_TEXT_FIELD)], ..*field };
        let name = String::from_utf8_lossy(field.name).into_owned();
        let value = String::from_utf8_lossy(&value.unfolded()).into_owned();
        octets += name.len() + value.len();
        if octets <= MAX_FIELDS {
            kept.push(HeaderField { name, value });
        } else {
            more += 1;
        }
    }
    (kept, more)
}

/// A doubt with what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedDoubt {
    /// SPEC.md's code.
    pub code: String,
    /// What it means, in a sentence.
    pub meaning: &'static str,
    /// What to do about it, likewise.
    pub advice: &'static str,
}

/// What each doubt means, each once.
pub fn explained(details: &Details) -> Vec<ExplainedDoubt> {
    let codes: BTreeSet<&str> = details.doubts.iter().map(|doubt| doubt.code.as_str()).collect();
    let known = codes.into_iter().filter_map(|code| code.parse::<Doubt>().ok());
    let explained = |doubt: Doubt| ExplainedDoubt {
        code: doubt.code().to_owned(),
        meaning: doubt.sentence(),
        advice: advice::about(doubt),
    };
    known.map(explained).collect()
}

/// What to do about a message next, in order.
pub fn steps(verdict: &str, reason: Option<&str>, details: &Details) -> Vec<String> {
    let author = details.from.as_deref().and_then(|from| from.rsplit_once('@')).map(|(_, domain)| domain);
    let domain = details.sealing_domain.as_deref().or(author);
    advice::steps(Case { verdict, reason, domain })
}

/// What the header section has.
fn written(header: &HeaderSection<'_>, author: &Author) -> Details {
    let from = text(header, "From").map(|from| match author {
        // The name beside an address is whatever its author likes.
        Author::One(domain) => address(&from, domain.as_str()).unwrap_or(from),
        Author::Unclear(_) => from,
    });
    let path = header.all("Received").take(MAX_PATH).map(Field::unfolded);
    Details {
        from,
        to: text(header, "To"),
        subject: text(header, "Subject"),
        date: text(header, "Date"),
        path: path.map(|value| start(&words(&String::from_utf8_lossy(&value)))).collect(),
        ..Details::default()
    }
}

/// The address in a From field, by its domain; `None` where it is written in an unusual way.
fn address(from: &str, domain: &str) -> Option<String> {
    let is_part = |c: char| !c.is_whitespace() && !matches!(c, '<' | '>' | '"' | ',' | '(' | ')');
    let mut words = from.split(|c| !is_part(c)).rev();
    let is_it = |word: &&str| {
        word.rsplit_once('@').is_some_and(|(local, of)| !local.is_empty() && of.eq_ignore_ascii_case(domain))
    };
    words.find(is_it).map(str::to_owned)
}

/// The key of the seal: proved or not, only where it is known.
fn key(verification: &Verification) -> Option<OfferedKey> {
    let selector = verification.selector()?.to_string();
    let known = verification.signature().map(|signature| signature.key());
    let key: Option<PublicKey> = known.or_else(|| verification.contradicting_key());
    let fingerprint = key.map(|key| key.fingerprint());
    Some(OfferedKey {
        selector,
        key: key.map(PublicKey::to_base64url),
        words: fingerprint.map(|fingerprint| fingerprint.words()),
        digits: fingerprint.map(|fingerprint| fingerprint.digits()),
    })
}

fn attachment(outcome: &Outcome) -> HeldAttachment {
    HeldAttachment {
        status: outcome.status.as_str().to_owned(),
        sealed: outcome.sealed.as_ref().map(file),
        found: outcome.found.as_ref().map(file),
    }
}

fn file(entry: &Entry) -> HeldFile {
    HeldFile {
        name: start(&entry.name),
        media_type: start(&entry.media_type),
        size: entry.size,
        hash: entry.hash.to_hex().to_string(),
    }
}

/// Every doubt, and the places that are known.
fn doubts(verification: &Verification) -> Vec<HeldDoubt> {
    let told = verification.remarks().iter().map(|remark| HeldDoubt {
        code: remark.doubt.code().to_owned(),
        place: start(&remark.place),
        what: remark.what.to_owned(),
    });
    let mut doubts: Vec<HeldDoubt> = told.collect();
    for doubt in verification.doubts().iter() {
        if !doubts.iter().any(|told| told.code == doubt.code()) {
            doubts.push(HeldDoubt { code: doubt.code().to_owned(), ..HeldDoubt::default() });
        }
    }
    doubts
}

fn links(changes: &LinkChanges) -> Vec<HeldLink> {
    let link = |status: &str, target| HeldLink { status: status.to_owned(), target };
    let added = changes.added.iter().take(MAX_LINKS);
    let added = added.map(|target| link(added_word(changes), defanged(target, MAX_TEXT)));
    let removed = changes.removed.iter().take(MAX_LINKS);
    let removed = removed.map(|gone| link(removed_word(changes), removed_name(gone, MAX_TEXT)));
    added.chain(removed).collect()
}

/// As much of a stranger's text as is kept.
fn start(text: &str) -> String {
    text.trim().chars().take(MAX_TEXT).collect()
}

/// A folded field on one line.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where the details of a held message are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The check by which it was held.
    Check,
    /// A second check of the same octets, by pins and memory as they are now, that came to the same verdict.
    SecondCheck,
    /// The header section. Nothing can be told of attachments without the check.
    HeaderSection,
}

/// The details of a message that an early version held, from its octets. What cannot be known any more is left out.
pub fn details_anew(message: &[u8], held: &Held, pins: &Pins, memory: Memory) -> (Details, Source) {
    let message = Message::new(message);
    let received = u64::try_from(held.received.as_second()).unwrap_or_default();
    let knowledge = Knowledge { pins, answers: Answers::default(), memory };
    let verification = verify(&message, &knowledge, received);
    let is_same = verification.verdict().as_str() == held.verdict
        && attachment_seal::verdict::report::reason(&verification).map(str::to_owned) == held.reason;
    if is_same {
        (details(&message, &verification, true), Source::SecondCheck)
    } else {
        (written(message.header(), message.author()), Source::HeaderSection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str) -> Details {
        let header = HeaderSection::parse(header.as_bytes());
        written(&header, &Author::of(&header))
    }

    #[test]
    fn has_what_a_telephone_call_needs() {
        let details = of(
            "Received: from mx (mx [192.0.2.1])\r\n by gw with ESMTP id 4XyZ;\r\n\tMon, 23 Nov 2026\r\nReceived: by mx\r\n\
             From: =?utf-8?q?B=C3=BCro?= <a@Example.org>\r\nTo: =?utf-8?q?J=C3=BCrgen?= <b@partner.example>\r\n\
             Subject: one\r\n two\r\nDate: Mon, 23 Nov 2026 09:00:00 +0100\r\n\r\n",
        );
        assert_eq!(details.from.as_deref(), Some("a@Example.org"));
        assert_eq!(details.to.as_deref(), Some("Jürgen <b@partner.example>"));
        assert_eq!(details.subject.as_deref(), Some("one two"));
        assert_eq!(details.date.as_deref(), Some("Mon, 23 Nov 2026 09:00:00 +0100"));
        assert_eq!(
            details.path,
            ["from mx (mx [192.0.2.1]) by gw with ESMTP id 4XyZ; Mon, 23 Nov 2026", "by mx"]
        );
    }

    #[test]
    fn reads_the_queue_id_of_a_received_field() {
        for (field, id) in [
            (
                " from a (a [192.0.2.1]) by mx with ESMTPS id 4XyZ12abcdz3 for <x@y>; Mon, 23 Nov 2026",
                Some("4XyZ12abcdz3"),
            ),
            ("by mx id 1tEXPl-000000003Jq-2Wk6", Some("1tEXPl-000000003Jq-2Wk6")),
            ("by mx; id x", None),
            ("from id by mx id", Some("by")),
            ("by mx with ESMTP id \u{1b}[2J", None),
            ("", None),
        ] {
            assert_eq!(queue_id(field.as_bytes()).as_deref(), id, "{field}");
        }
    }

    #[test]
    fn an_author_who_is_not_clear_is_shown_as_written() {
        for (from, shown) in [
            ("\"x@b.example\" <a@a.example>", "a@a.example"),
            ("a@a.example, b@b.example", "a@a.example, b@b.example"),
            ("\"a b\"@a.example", "\"a b\"@a.example"),
            ("nobody", "nobody"),
        ] {
            assert_eq!(of(&format!("From: {from}\r\n\r\n")).from.as_deref(), Some(shown));
        }
    }

    #[test]
    fn keeps_no_more_than_people_read() {
        let long = "x".repeat(10_000);
        let received = format!("Received: {long}\r\n").repeat(100);
        let details = of(&format!("{received}From: {long}@a.example\r\nSubject: {long}\r\n\r\n"));
        assert_eq!(details.path.len(), MAX_PATH);
        let octets = details.path.iter().chain(&details.from).chain(&details.subject).map(String::len);
        assert!(octets.sum::<usize>() <= (MAX_PATH + 2) * MAX_TEXT);
    }
}
