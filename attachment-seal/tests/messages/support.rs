//! What the tests of messages share: one sealer, one moment, and results in the words of a report.
#![allow(dead_code, reason = "each test crate uses a part of it")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use attachment_seal::doubt::Doubt;
use attachment_seal::manifest::{self, Manifest};
use attachment_seal::message::body;
use attachment_seal::message::header::HeaderSection;
use attachment_seal::mime::{self, Kind};
use attachment_seal::seal::format::Statement;
use attachment_seal::seal::key::{KeyRecord, SealingKey};
use attachment_seal::seal::knowledge::{Knowledge, Pin, PinnedKey, Pins};
use attachment_seal::seal::message::Message;
use attachment_seal::seal::sign::{Moment, SealError, Sealer, seal};
use attachment_seal::verdict::verify::verify;
use attachment_seal::verdict::{Verdict, Verification};

pub(crate) const NOW: u64 = 1_795_392_000;

pub(crate) fn sealer() -> Sealer {
    Sealer {
        domain: "example.org".parse().unwrap(),
        selector: "gate1".parse().unwrap(),
        key: SealingKey::from_seed(&[1; 32]),
        lifetime: 14 * 24 * 3600,
        delegations: Default::default(),
    }
}

pub(crate) fn moment() -> Moment {
    Moment { now: NOW, random: [0xab; 16] }
}

pub(crate) fn try_seal(message: &[u8]) -> Result<Vec<u8>, SealError> {
    seal(&Message::new(message), &sealer(), moment()).map(|edits| edits.apply(message))
}

pub(crate) fn sealed(message: &[u8]) -> Vec<u8> {
    try_seal(message).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(message)))
}

/// `arrives` under a seal of another body and other fields, its leaves those of `sent`: all of it was touched, so that
/// what is found wrong with it is wrong with its own form, not with what became of its leaves.
pub(crate) fn under_seal_of(sent: &[u8], arrives: &[u8]) -> Vec<u8> {
    let (original, header) = (HeaderSection::parse(sent), HeaderSection::parse(arrives));
    let leaves = mime::walk(sent, &original).leaves;
    let sealer = sealer();
    let statement = Statement {
        domain: sealer.domain,
        selector: sealer.selector,
        sealed_at: NOW,
        expires_at: NOW + sealer.lifetime,
        identity: header.identity_hash(),
        addressing: header.addressing_hash(),
        structure: body::hash(b"other fields"),
        body: body::hash(b"another body"),
        manifest: Manifest::of(&leaves, &manifest::digests(sent, &leaves)),
        parts: None,
        links: None,
        delegation: None,
    };
    [statement.to_field(&sealer.key.sign(&statement.signed()).unwrap()).as_slice(), arrives].concat()
}

/// Checks a message with the sealer's key pinned.
pub(crate) fn check(message: &[u8]) -> Verification {
    let sealer = sealer();
    let record = KeyRecord { key: Some(sealer.key.public()), trial: false };
    let mut pins = Pins::default();
    let keys = vec![PinnedKey { selector: Some(sealer.selector), record }];
    pins.add(sealer.domain, Pin { keys, subdomains: true, ..Pin::default() });
    verify(&Message::new(message), &Knowledge::pinned(&pins), NOW + 600)
}

pub(crate) fn passes(message: &[u8]) -> bool {
    check(message).verdict() == Verdict::Pass
}

pub(crate) fn codes(result: &Verification) -> Vec<&'static str> {
    result.doubts().iter().map(Doubt::code).collect()
}

/// Verdict, reason or doubts, and what happened to the attachments, in one line.
pub(crate) fn describe(result: &Verification) -> String {
    let mut words = vec![result.verdict().as_str().to_owned()];
    words.extend(result.verdict().reason().map(|reason| reason.as_str().to_owned()));
    words.extend(codes(result).into_iter().map(str::to_owned));
    words.extend(result.attachments().iter().map(|outcome| outcome.status.as_str().to_owned()));
    words.join(" ")
}

/// A message's leaves as `kind:path:type:name`.
pub(crate) fn leaves(message: &[u8]) -> Vec<String> {
    let kind = |kind| if kind == Kind::Text { 't' } else { 'a' };
    mime::walk(message, &HeaderSection::parse(message))
        .leaves
        .iter()
        .map(|leaf| format!("{}:{}:{}:{}", kind(leaf.kind), leaf.path, leaf.media_type, leaf.name))
        .collect()
}

/// Text with line feeds as a message has it, with CR LF. A control picture stands for its character: `␍` and `␊` for a bare
/// CR and LF, `␀` for NUL, `␠` for a blank.
pub(crate) fn crlf(text: &str) -> String {
    let character = |c| match c {
        '␀'..='␠' => char::from_u32(u32::from(c) - u32::from('␀')).unwrap_or(c),
        _ => c,
    };
    text.replace('\n', "\r\n").chars().map(character).collect()
}
