//! A probe as it was sent and as it arrived: what changed, which program does that, and what to do about it.

use std::collections::BTreeMap;

use attachment_seal::domain::{DomainName, Selector};
use attachment_seal::manifest::{Outcome, Status, TextState};
use attachment_seal::message::header::HeaderSection;
use attachment_seal::mime::decode::Decoder;
use attachment_seal::mime::{self, Kind, Leaf};
use attachment_seal::seal::key::{KeyRecord, PublicKey};
use attachment_seal::seal::knowledge::{Answers, Knowledge, Pin, PinnedKey, Pins};
use attachment_seal::seal::message::Message;
use attachment_seal::seal::remembered::Memory;
use attachment_seal::verdict::report::summary;
use attachment_seal::verdict::verify::verify;
use attachment_seal::verdict::{Reason, State, Verdict, Verification};

use super::super::finding::Subject;

/// A sealing key on disk.
#[derive(Clone, Debug)]
pub(super) struct OwnKey {
    /// Its domain.
    pub(super) domain: DomainName,
    /// Its selector.
    pub(super) selector: Selector,
    /// Its public half.
    pub(super) key: PublicKey,
}

/// Longest piece of text that is shown.
const MAX_SHOWN: usize = 80;

/// Who must go where, in one sentence.
const BEFORE: &str = "whatever changes it must do so before the sealing gateway (deploy/README.md section 5)";

/// Compares. `unquoted` is what arrived less the quotes that an mbox file puts before `From `.
pub(super) fn compare(
    sent: &[u8],
    arrived: &[u8],
    unquoted: Option<&[u8]>,
    keys: &[OwnKey],
    now: u64,
    subject: &mut Subject<'_>,
) {
    let mut result = judge(arrived, keys, now);
    let mut arrived = arrived;
    if let Some(unquoted) = unquoted {
        let other = judge(unquoted, keys, now);
        let is_better = result.verdict() != Verdict::Pass
            || (other.text() == Some(TextState::Intact) && result.text() != Some(TextState::Intact));
        if other.verdict() == Verdict::Pass && is_better {
            (result, arrived) = (other, unquoted);
        }
    }
    if keys.is_empty() {
        subject
            .not_checked("whether the seal is valid: no sealing key can be read here; sudo waxseal doctor");
    } else {
        verdict(&result, arrived, subject);
    }
    fields(sent, arrived, subject);
    let (before, after) = (Parts::of(sent), Parts::of(arrived));
    attachments(result.attachments(), &before, &after, subject);
    texts(&before, &after, subject);
    encodings(&before, &after, subject);
}

/// As a site that has our keys pinned would judge it.
fn judge(arrived: &[u8], keys: &[OwnKey], now: u64) -> Verification {
    let mut pins = Pins::default();
    for own in keys {
        let record = KeyRecord { key: Some(own.key), trial: false };
        let key = PinnedKey { selector: Some(own.selector.clone()), record };
        pins.add(own.domain.clone(), Pin { keys: vec![key], subdomains: true, ..Pin::default() });
    }
    let knowledge = Knowledge { pins: &pins, answers: Answers::default(), memory: Memory::default() };
    verify(&Message::new(arrived), &knowledge, now)
}

fn verdict(result: &Verification, arrived: &[u8], subject: &mut Subject<'_>) {
    let said = format!("arrived `{}`: {}", result.verdict().as_str(), summary(result));
    match result.verdict() {
        Verdict::Pass if result.body() == Some(State::Intact) => {
            subject.ok("arrived sealed, its body octet for octet as it was sent");
        }
        Verdict::Pass => subject.ok(said),
        Verdict::Expired => {
            subject.warning(said, "send another probe: this one is older than its seal's lifetime");
        }
        Verdict::Missing | Verdict::None => subject.problem(
            "arrived without a seal: it was not sealed, or the seal was taken off on the way",
            "journalctl -u waxseal must have a line `sealed` for it. If it has, a relay after the gateway \
             removes the field Attachment-Seal (in Postfix: header_checks with IGNORE, \
             message_drop_headers)",
        ),
        Verdict::Fail(Reason::OtherMessage) => {
            subject.problem("arrived `fail`: From, Date or Message-ID is not as it was sealed", BEFORE);
        }
        Verdict::Fail(Reason::BadSignature) | Verdict::KeyChanged | Verdict::UnknownKey => subject.problem(
            format!("{said}; the seal is by {}", signer(arrived)),
            "the gateway seals with another key than the one on disk (systemctl reload waxseal), or a relay changes the \
             field Attachment-Seal",
        ),
        Verdict::Ambiguous => subject.problem(
            said,
            "a relay inserts fields or parts that mail programs read in different ways; docs/SPEC.md \
             section 12 explains each word",
        ),
        Verdict::Fail(_) | Verdict::Unaligned | Verdict::Temperror => subject.problem(said, BEFORE),
    }
}

fn signer(arrived: &[u8]) -> String {
    let wanted = Message::new(arrived).wanted_keys();
    wanted.first().map_or_else(|| "nobody".to_owned(), |(domain, selector)| format!("{domain} ({selector})"))
}

/// Every field that was sent, by its name: values unfolded, runs of blanks made one.
fn fields(sent: &[u8], arrived: &[u8], subject: &mut Subject<'_>) {
    let (before, after) = (named(sent), named(arrived));
    for (name, values) in &before {
        let found = after.get(name).cloned().unwrap_or_default();
        if *values == found {
            continue;
        }
        let shown = found.iter().map(|value| short(value)).collect::<Vec<_>>().join("; ");
        let change = match (found.len(), values.len()) {
            (0, _) => format!("field {name} is gone"),
            (found, sent) if found > sent => format!("field {name} is there {found} times: {shown}"),
            _ => format!("field {name} arrived as: {shown}"),
        };
        match name.as_str() {
            "from" => subject.problem(
                change,
                "in Postfix: canonical_maps, masquerade_domains or smtp_generic_maps after the gateway; \
                 otherwise a mailing list or provider that rewrites authors, which must run before it",
            ),
            "date" | "message-id" => subject.problem(
                change,
                "a bulk-mail service or cloud relay inserts its own: it must run before the sealing gateway",
            ),
            "subject" | "to" | "cc" | "reply-to" | "sender" => subject.warning(
                change,
                "this changes no verdict, it is reported as \"headers changed\"; a list, spam filter or \
                 rewriting map does it",
            ),
            // The verdict decides whether that matters.
            _ => subject.ok(change),
        }
    }
}

fn named(message: &[u8]) -> BTreeMap<String, Vec<String>> {
    let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for field in HeaderSection::parse(message).fields {
        let value =
            String::from_utf8_lossy(&field.unfolded()).split_whitespace().collect::<Vec<_>>().join(" ");
        named.entry(String::from_utf8_lossy(field.name).to_ascii_lowercase()).or_default().push(value);
    }
    named
}

fn short(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

/// The leaves of a message, decoded.
struct Parts(Vec<(Leaf, Vec<u8>)>);

impl Parts {
    fn of(message: &[u8]) -> Self {
        let structure = mime::walk(message, &HeaderSection::parse(message));
        let decoded = |leaf: Leaf| {
            let mut octets = Vec::new();
            let body = message.get(leaf.body.clone()).unwrap_or_default();
            Decoder::default().decode(body, leaf.encoding, &mut |piece| octets.extend_from_slice(piece));
            (leaf, octets)
        };
        Self(structure.leaves.into_iter().map(decoded).collect())
    }

    fn named(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(leaf, _)| leaf.name == name).map(|(_, octets)| octets.as_slice())
    }

    fn text(&self, media_type: &str) -> Option<String> {
        let is_it = |(leaf, _): &&(Leaf, Vec<u8>)| leaf.kind == Kind::Text && leaf.media_type == media_type;
        self.0.iter().find(is_it).map(|(_, octets)| normal(&String::from_utf8_lossy(octets)))
    }
}

fn attachments(outcomes: &[Outcome], before: &Parts, after: &Parts, subject: &mut Subject<'_>) {
    for outcome in outcomes.iter().filter(|outcome| outcome.status != Status::Intact) {
        let entry = outcome.sealed.as_ref().or(outcome.found.as_ref());
        let name = entry.map(|entry| entry.name.as_str()).unwrap_or_default();
        let change = format!("attachment `{name}` is {}", outcome.status.as_str());
        match outcome.status {
            Status::Altered => {
                let (how, remedy) = match (before.named(name), after.named(name)) {
                    (Some(sent), Some(found)) => alteration(sent, found),
                    _ => ("its octets are different", BEFORE),
                };
                subject.problem(format!("{change}: {how}"), remedy);
            }
            Status::Removed => subject.problem(
                change,
                "a filter removes attachments; make it refuse such mail instead, or run it before the \
                 sealing gateway",
            ),
            Status::Added => subject.problem(
                change,
                "a disclaimer, banner, or TNEF (winmail.dat) is added after the seal: add it before the seal",
            ),
            Status::Renamed => {
                let found =
                    outcome.found.as_ref().map(|found| format!("{} [{}]", found.name, found.media_type));
                subject.problem(
                    format!("{change} to {}", found.unwrap_or_default()),
                    "a relay rewrites file names or types (Exchange, virus filters): it must run before the \
                     gateway",
                );
            }
            Status::Intact => {}
        }
    }
}

/// What was done to an attachment, as far as that shows.
fn alteration(sent: &[u8], found: &[u8]) -> (&'static str, &'static str) {
    let (sent_text, found_text) = (String::from_utf8_lossy(sent), String::from_utf8_lossy(found));
    let trimmed = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    let joined = |text: &str| text.split_whitespace().collect::<String>();
    let is_text = std::str::from_utf8(sent).is_ok();
    if found_text.replace("\n>From ", "\nFrom ") == *sent_text {
        return (
            "lines that begin with `From ` are quoted",
            "most often the mailbox does that, not the way there: fetch the message by IMAP or \"show original\" instead",
        );
    }
    if is_text && trimmed(&found_text).trim_end() == trimmed(&sent_text).trim_end() {
        return (
            "blanks at line ends, or the last line's end, are gone",
            "a relay cleans text up; have your mail programs send such files as base64, or replace the relay",
        );
    }
    if is_text && joined(&found_text) == joined(&sent_text) {
        return (
            "its lines are broken anew",
            "in Postfix: postconf -e smtp_line_length_limit=998; otherwise another relay does so: send such \
             files as base64",
        );
    }
    if found.starts_with(sent) {
        return ("something is added after it", "a disclaimer or footer: have it added before the seal");
    }
    if is_text && found_text.is_ascii() && !sent_text.is_ascii() {
        return (
            "its characters are different",
            "a relay that is not 8-bit clean, or changes the charset: find out which one does not support \
             8BITMIME",
        );
    }
    (
        "its octets are different",
        "a virus filter or \"safe attachments\" service rewrites documents: it must run before the \
         gateway",
    )
}

fn texts(before: &Parts, after: &Parts, subject: &mut Subject<'_>) {
    for media_type in ["text/plain", "text/html"] {
        match (before.text(media_type), after.text(media_type)) {
            (Some(sent), Some(found)) if sent == found => {}
            (Some(sent), Some(found)) => {
                let how = match found.strip_prefix(sent.trim_end()) {
                    Some(more) => format!("this is added after it: {}", short(more.trim())),
                    None => "it is different".to_owned(),
                };
                subject.warning(
                    format!("the text ({media_type}) changed: {how}"),
                    "this changes no verdict, it is reported as \"text changed\"; a disclaimer belongs \
                     before the seal",
                );
            }
            (Some(_), None) => subject.warning(
                format!("the text ({media_type}) is gone"),
                "a relay converts HTML to plain text, or reassembles the parts; it must run before the \
                 gateway",
            ),
            (None, _) => {}
        }
    }
}

/// Blanks as SPEC.md §6 counts them in texts.
fn normal(text: &str) -> String {
    let line =
        |line: &str| line.split([' ', '\t']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// What a seal is made to survive, reported so that nobody wonders.
fn encodings(before: &Parts, after: &Parts, subject: &mut Subject<'_>) {
    let changed = before.0.iter().filter(|(leaf, _)| {
        after.0.iter().any(|(other, _)| {
            (&other.media_type, &other.name) == (&leaf.media_type, &leaf.name)
                && other.encoding != leaf.encoding
        })
    });
    let count = changed.count();
    if count > 0 {
        subject.ok(format!("{count} parts arrived in another transfer encoding, which a seal survives"));
    }
}
