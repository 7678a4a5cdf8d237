//! What is known, put together piece by piece, and messages to be judged by it.

use attachment_seal::domain::DomainName;
use attachment_seal::seal::delegation::{Delegation, Delegations};
use attachment_seal::seal::key::{KeyRecord, SealingKey};
use attachment_seal::seal::knowledge::{Answer, Answers, Knowledge, Pin, PinnedKey, Pins};
use attachment_seal::seal::message::Message;
use attachment_seal::seal::policy_record::{PolicyRecord, Request};
use attachment_seal::seal::remembered::{Memory, Remembered, RememberedKey};
use attachment_seal::seal::sign::{Moment, Sealer, seal};
use attachment_seal::verdict::Verification;
use attachment_seal::verdict::verify::verify;

pub(crate) const NOW: u64 = 1_795_392_000;
pub(crate) const DAY: u64 = 86_400;
pub(crate) const DOMAIN: &str = "example.org";

pub(crate) fn domain(name: &str) -> DomainName {
    name.parse().unwrap()
}

pub(crate) fn key(seed: u8) -> SealingKey {
    SealingKey::from_seed(&[seed; 32])
}

pub(crate) fn record(seed: u8) -> KeyRecord {
    KeyRecord { key: Some(key(seed).public()), trial: false }
}

pub(crate) const REVOKED: KeyRecord = KeyRecord { key: None, trial: false };

pub(crate) fn letter(from: &str) -> String {
    format!(
        "From: {from}\r\nDate: Mon, 23 Nov 2026 00:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\
         Subject: Agenda\r\n\r\nIt follows.\r\n"
    )
}

/// Sealed by a domain under the selector `s`, for a day.
pub(crate) fn sealed_by(name: &str, seed: u8, delegation: Option<Delegation>, message: &str) -> String {
    sealed_at(NOW, name, seed, delegation, message)
}

/// The same at another time.
pub(crate) fn sealed_at(
    now: u64,
    name: &str,
    seed: u8,
    delegation: Option<Delegation>,
    message: &str,
) -> String {
    let sealer = Sealer {
        domain: domain(name),
        selector: "s".parse().unwrap(),
        key: key(seed),
        lifetime: DAY,
        delegations: Delegations::new(delegation.into_iter().collect()),
    };
    let moment = Moment { now, random: [0; 16] };
    let edits = seal(&Message::new(message.as_bytes()), &sealer, moment).unwrap();
    String::from_utf8(edits.apply(message.as_bytes())).unwrap()
}

/// Sealed by example.org, from example.org.
pub(crate) fn sealed(seed: u8) -> String {
    sealed_by(DOMAIN, seed, None, &letter("a@example.org"))
}

/// A root's statement that a key may seal for example.org under a selector, for a month.
pub(crate) fn delegation(root: u8, seed: u8, selector: &str) -> Delegation {
    delegation_for(root, seed, selector, (NOW - DAY, NOW + 30 * DAY))
}

/// The same for another time.
pub(crate) fn delegation_for(root: u8, seed: u8, selector: &str, span: (u64, u64)) -> Delegation {
    Delegation::new(&key(root), &domain(DOMAIN), &selector.parse().unwrap(), key(seed).public(), span)
        .unwrap()
}

/// What is known, put together piece by piece.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) pins: Pins,
    pub(crate) answers: Answers,
    pub(crate) memory: Memory,
}

impl World {
    pub(crate) fn key_answer(mut self, name: &str, answer: Answer<KeyRecord>) -> Self {
        self.answers.keys.insert((domain(name), "s".parse().unwrap()), answer);
        self
    }

    pub(crate) fn keys(self, name: &str, records: &[KeyRecord], secure: bool) -> Self {
        self.key_answer(name, Answer::Found { records: records.to_vec(), secure })
    }

    pub(crate) fn policy_answer(mut self, name: &str, answer: Answer<PolicyRecord>) -> Self {
        self.answers.policies.insert(domain(name), answer);
        self
    }

    pub(crate) fn policy(self, name: &str, request: Request, secure: bool) -> Self {
        let record = PolicyRecord { request, ..PolicyRecord::default() };
        self.policy_answer(name, Answer::Found { records: vec![record], secure })
    }

    pub(crate) fn root(self, name: &str, seed: u8, secure: bool) -> Self {
        let record = PolicyRecord { roots: vec![key(seed).public()], ..PolicyRecord::default() };
        self.policy_answer(name, Answer::Found { records: vec![record], secure })
    }

    pub(crate) fn pin(mut self, name: &str, seed: u8, subdomains: bool) -> Self {
        let keys = vec![PinnedKey { selector: None, record: record(seed) }];
        self.pins.add(domain(name), Pin { keys, subdomains, ..Pin::default() });
        self
    }

    /// A key that sealed three messages yesterday.
    pub(crate) fn remembering(mut self, name: &str, seed: u8) -> Self {
        let at = NOW - DAY;
        let key = RememberedKey {
            key: key(seed).public(),
            is_root: false,
            last_seen: at,
            delegated: false,
            revoked: false,
        };
        let remembered = Remembered { keys: vec![key], passes: vec![at; 3] };
        let domains = [(domain(name), remembered)].into();
        self.memory = Memory { now: NOW, domains, ..Memory::default() };
        self
    }

    pub(crate) fn knowledge(&self) -> Knowledge<'_> {
        Knowledge { pins: &self.pins, answers: self.answers.clone(), memory: self.memory.clone() }
    }

    pub(crate) fn judge(&self, message: &str) -> Verification {
        verify(&Message::new(message.as_bytes()), &self.knowledge(), NOW + 600)
    }
}

/// The value of the seal on top of a message, and what is below it.
pub(crate) fn split_seal(message: &str) -> (&str, &str) {
    let end = message.match_indices("\r\n").find(|(at, _)| !message[at + 2..].starts_with([' ', '\t']));
    let (field, rest) = message.split_at(end.unwrap().0 + 2);
    (field.trim_end().strip_prefix("Attachment-Seal:").unwrap(), rest)
}
