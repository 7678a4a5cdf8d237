//! What is believed of a domain and its keys, line by line of SEAL.md §7 and §8, and whose seal counts (§6.2), with canned
//! DNS answers. How such answers come about is tested against real zones in `tests/dns`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use waxseal::domain::DomainName;
use waxseal::seal::delegation::{Delegation, Delegations};
use waxseal::seal::key::{KeyRecord, SealingKey};
use waxseal::seal::knowledge::{Answer, Answers, Failure, Knowledge, Pin, PinnedKey, Pins};
use waxseal::seal::message::Message;
use waxseal::seal::policy_record::{PolicyRecord, Request};
use waxseal::seal::remembered::{Memory, Remembered, RememberedKey};
use waxseal::seal::sign::{Moment, Sealer, seal};
use waxseal::seal::verify::verify;
use waxseal::verdict::{Ground, Lookup, Reason, Trust, Verdict, Verification};

const NOW: u64 = 1_795_392_000;
const DAY: u64 = 86_400;
const DOMAIN: &str = "example.org";

fn domain(name: &str) -> DomainName {
    name.parse().unwrap()
}

fn key(seed: u8) -> SealingKey {
    SealingKey::from_seed(&[seed; 32])
}

fn record(seed: u8) -> KeyRecord {
    KeyRecord { key: Some(key(seed).public()), trial: false }
}

const REVOKED: KeyRecord = KeyRecord { key: None, trial: false };

fn letter(from: &str) -> String {
    format!(
        "From: {from}\r\nDate: Mon, 23 Nov 2026 00:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\
         Subject: Agenda\r\n\r\nIt follows.\r\n"
    )
}

/// Sealed by a domain under the selector `s`, for a day.
fn sealed_by(name: &str, seed: u8, delegation: Option<Delegation>, message: &str) -> String {
    let sealer = Sealer {
        domain: domain(name),
        selector: "s".parse().unwrap(),
        key: key(seed),
        lifetime: DAY,
        delegations: Delegations::new(delegation.into_iter().collect()),
    };
    let moment = Moment { now: NOW, random: [0; 16] };
    let edits = seal(&Message::new(message.as_bytes()), &sealer, moment).unwrap();
    String::from_utf8(edits.apply(message.as_bytes())).unwrap()
}

/// Sealed by example.org, from example.org.
fn sealed(seed: u8) -> String {
    sealed_by(DOMAIN, seed, None, &letter("a@example.org"))
}

/// A root's statement that a key may seal for example.org under a selector, for a month.
fn delegation(root: u8, seed: u8, selector: &str) -> Delegation {
    let span = (NOW - DAY, NOW + 30 * DAY);
    Delegation::new(&key(root), &domain(DOMAIN), &selector.parse().unwrap(), key(seed).public(), span)
        .unwrap()
}

/// What is known, put together piece by piece.
#[derive(Default)]
struct World {
    pins: Pins,
    answers: Answers,
    memory: Memory,
}

impl World {
    fn key_answer(mut self, name: &str, answer: Answer<KeyRecord>) -> Self {
        self.answers.keys.insert((domain(name), "s".parse().unwrap()), answer);
        self
    }

    fn keys(self, name: &str, records: &[KeyRecord], secure: bool) -> Self {
        self.key_answer(name, Answer::Found { records: records.to_vec(), secure })
    }

    fn policy_answer(mut self, name: &str, answer: Answer<PolicyRecord>) -> Self {
        self.answers.policies.insert(domain(name), answer);
        self
    }

    fn policy(self, name: &str, request: Request, secure: bool) -> Self {
        let record = PolicyRecord { request, ..PolicyRecord::default() };
        self.policy_answer(name, Answer::Found { records: vec![record], secure })
    }

    fn root(self, name: &str, seed: u8, secure: bool) -> Self {
        let record = PolicyRecord { roots: vec![key(seed).public()], ..PolicyRecord::default() };
        self.policy_answer(name, Answer::Found { records: vec![record], secure })
    }

    fn pin(mut self, name: &str, seed: u8, subdomains: bool) -> Self {
        let keys = vec![PinnedKey { selector: None, record: record(seed) }];
        self.pins.add(domain(name), Pin { keys, subdomains, ..Pin::default() });
        self
    }

    /// A key that sealed three messages yesterday.
    fn remembering(mut self, name: &str, seed: u8) -> Self {
        let at = NOW - DAY;
        let key = RememberedKey { key: key(seed).public(), is_root: false, last_seen: at, revoked: false };
        let remembered = Remembered { keys: vec![key], passes: vec![at; 3] };
        self.memory = Memory { now: NOW, domains: [(domain(name), remembered)].into() };
        self
    }

    fn knowledge(&self) -> Knowledge<'_> {
        Knowledge { pins: &self.pins, answers: self.answers.clone(), memory: self.memory.clone() }
    }

    fn judge(&self, message: &str) -> Verification {
        verify(&Message::new(message.as_bytes()), &self.knowledge(), NOW + 600)
    }
}

/// §7: whether the answer was DNSSEC-secure is part of the result; §8: a domain's first key is accepted from DNS.
#[test]
fn a_key_from_dns_is_accepted_with_its_proof() {
    for (secure, trust, lookup) in
        [(true, Trust::Dnssec, Lookup::Secure), (false, Trust::Dns, Lookup::Insecure)]
    {
        let found = World::default().keys(DOMAIN, &[record(1)], secure).judge(&sealed(1));
        assert_eq!((found.verdict, found.trust), (Verdict::Pass, Some(trust)));
        assert_eq!(found.key_lookup, Some(lookup));
    }
    // Of several keys at one selector any may have sealed.
    let found = World::default().keys(DOMAIN, &[record(2), record(1)], true).judge(&sealed(1));
    assert_eq!(found.verdict, Verdict::Pass);
}

/// §7: an empty `p` is a revoked key; among several records it speaks for the selector.
#[test]
fn a_revoked_key_fails() {
    for records in [&[REVOKED][..], &[record(1), REVOKED]] {
        let found = World::default().keys(DOMAIN, records, true).judge(&sealed(1));
        assert_eq!(found.verdict, Verdict::Fail(Reason::RevokedKey));
    }
}

/// §7: `t=y` marks a trial, of good seals and bad ones.
#[test]
fn a_trial_is_told_of() {
    let trial = KeyRecord { trial: true, ..record(1) };
    for (seed, verdict) in [(1, Verdict::Pass), (9, Verdict::Fail(Reason::BadSignature))] {
        let found = World::default().keys(DOMAIN, &[trial], true).judge(&sealed(seed));
        assert_eq!((found.verdict, found.trial), (verdict, true));
    }
}

/// §6.4 and §7: no key is `unknown-key`, a lookup that failed is `temperror`, and the two ways of failing are told apart.
#[test]
fn no_key_and_no_answer_are_two_things() {
    let judge = |answer| World::default().key_answer(DOMAIN, answer).judge(&sealed(1));
    let found = judge(Answer::NotFound { secure: true });
    assert_eq!((found.verdict, found.key_lookup), (Verdict::UnknownKey, Some(Lookup::Secure)));
    for (failure, lookup) in [(Failure::Bogus, Lookup::Bogus), (Failure::Unanswered, Lookup::Failed)] {
        let found = judge(Answer::Failed(failure));
        assert_eq!((found.verdict, found.key_lookup), (Verdict::Temperror, Some(lookup)));
    }
}

/// §7: for a pinned domain nothing else is believed, whatever DNS says and however well it is proved.
#[test]
fn nothing_but_the_pin_is_believed_of_a_pinned_domain() {
    let world = World::default().pin(DOMAIN, 1, true).keys(DOMAIN, &[record(9)], true).policy(
        DOMAIN,
        Request::None,
        true,
    );
    let found = world.judge(&sealed(1));
    assert_eq!((found.verdict, found.trust), (Verdict::Pass, Some(Trust::Pinned)));
    let forged = world.judge(&sealed(9));
    assert_eq!((forged.verdict, forged.published), (Verdict::Fail(Reason::BadSignature), None));
    // Nor does DNS take a seal's key away, or the duty to seal.
    let world = World::default().pin(DOMAIN, 1, true).keys(DOMAIN, &[REVOKED], true);
    assert_eq!(world.judge(&sealed(1)).verdict, Verdict::Pass);
    let bare = world.policy(DOMAIN, Request::None, true).judge(&letter("a@example.org"));
    assert_eq!((bare.verdict, bare.known), (Verdict::Missing, Some(Ground::Pinned)));
}

/// §7: the delegating key is the domain's root, here as its policy names it. A key is proved no better than the policy.
#[test]
fn a_root_of_the_policy_delegates() {
    let message =
        |root, selector| sealed_by(DOMAIN, 1, Some(delegation(root, 1, selector)), &letter("a@example.org"));
    for (secure, trust) in [(true, Trust::Dnssec), (false, Trust::Dns)] {
        let found = World::default().root(DOMAIN, 5, secure).judge(&message(5, "s"));
        assert_eq!((found.verdict, found.trust), (Verdict::Pass, Some(trust)));
    }
    let world = World::default().root(DOMAIN, 5, true);
    // By another root, and for another selector: one that does not hold is as if it were not there.
    for (root, selector) in [(6, "s"), (5, "other")] {
        assert_eq!(world.judge(&message(root, selector)).verdict, Verdict::UnknownKey);
    }
    // A revoked record beats a delegation, and one that could not be had might say so.
    let revoked = World::default().root(DOMAIN, 5, true).keys(DOMAIN, &[REVOKED], false);
    assert_eq!(revoked.judge(&message(5, "s")).verdict, Verdict::Fail(Reason::RevokedKey));
    let failed = world.key_answer(DOMAIN, Answer::Failed(Failure::Unanswered));
    assert_eq!(failed.judge(&message(5, "s")).verdict, Verdict::Temperror);
}

/// §8: any further key of a remembered domain is accepted if it is DNSSEC-secure; an unsigned answer, a key's or a root's,
/// makes no bad mail pass.
#[test]
fn an_unsigned_answer_changes_no_remembered_key() {
    let forged = sealed_by(DOMAIN, 9, Some(delegation(5, 9, "s")), &letter("a@example.org"));
    for (secure, verdict) in [(true, Verdict::Pass), (false, Verdict::KeyChanged)] {
        let by_key = World::default().keys(DOMAIN, &[record(9)], secure);
        for world in [by_key, World::default().root(DOMAIN, 5, secure)] {
            assert_eq!(world.remembering(DOMAIN, 1).judge(&forged).verdict, verdict, "{secure}");
        }
    }
    // Nor is the root learnt that an unsigned policy names beside the key that is known.
    let world = World::default().root(DOMAIN, 5, false).keys(DOMAIN, &[record(1)], false);
    let vouched = sealed_by(DOMAIN, 1, Some(delegation(5, 1, "s")), &letter("a@example.org"));
    let found = world.remembering(DOMAIN, 1).judge(&vouched);
    assert_eq!((found.verdict, found.trust, found.root), (Verdict::Pass, Some(Trust::Remembered), None));
}

/// §8: a domain is known to seal when it, or a parent of it not above the organisational domain, has a policy that says so.
#[test]
fn a_policy_makes_a_domain_and_those_below_known_to_seal() {
    for (request, known) in [
        (Request::None, None),
        (Request::Quarantine, Some(Ground::Policy)),
        (Request::Reject, Some(Ground::Policy)),
    ] {
        let world = World::default().policy(DOMAIN, request, false);
        for from in ["a@example.org", "a@x.y.example.org"] {
            let found = world.judge(&letter(from));
            let verdict = if known.is_some() { Verdict::Missing } else { Verdict::None };
            assert_eq!((found.verdict, found.known), (verdict, known), "{from}");
        }
    }
    // Not above it: nobody speaks for a public suffix.
    let world = World::default().policy("co.uk", Request::Reject, true).policy("org", Request::Reject, true);
    for from in ["a@example.co.uk", "a@example.org"] {
        assert_eq!(world.judge(&letter(from)).verdict, Verdict::None, "{from}");
    }
    // A subdomain's own policy lets it not out of its parent's statement.
    let world =
        World::default().policy(DOMAIN, Request::Reject, true).policy("x.example.org", Request::None, true);
    assert_eq!(world.judge(&letter("a@x.example.org")).verdict, Verdict::Missing);
}

/// §8: the result names on what ground; `subdomains = false` limits a pin to the domain itself.
#[test]
fn a_pin_covers_what_it_says() {
    let world = World::default().pin(DOMAIN, 1, false);
    assert_eq!(world.judge(&letter("a@example.org")).known, Some(Ground::Pinned));
    assert_eq!(world.judge(&letter("a@x.example.org")).verdict, Verdict::None);
    let world = World::default().pin(DOMAIN, 1, true).policy("x.example.org", Request::Reject, true);
    assert_eq!(world.judge(&letter("a@x.example.org")).known, Some(Ground::Pinned));
}

/// §6.4: of a domain known to seal an unknown key is `key-changed`, else changing `s` would be a way out.
#[test]
fn another_selector_is_no_way_out() {
    let world = World::default()
        .policy(DOMAIN, Request::Quarantine, false)
        .key_answer(DOMAIN, Answer::NotFound { secure: false });
    assert_eq!(world.judge(&sealed(9)).verdict, Verdict::KeyChanged);
}

/// §8: a policy lookup that fails for now: what pins say stands; with nothing else, `none`, and the result says that the
/// policy could not be had.
#[test]
fn a_policy_that_cannot_be_had_is_told_of() {
    for (failure, lookup) in [(Failure::Bogus, Lookup::Bogus), (Failure::Unanswered, Lookup::Failed)] {
        let world = World::default()
            .policy_answer("x.example.org", Answer::NotFound { secure: true })
            .policy_answer(DOMAIN, Answer::Failed(failure));
        let found = world.judge(&letter("a@x.example.org"));
        assert_eq!((found.verdict, found.policy_lookup), (Verdict::None, Some(lookup)));
        let found = world.pin(DOMAIN, 1, true).judge(&letter("a@x.example.org"));
        assert_eq!((found.verdict, found.known), (Verdict::Missing, Some(Ground::Pinned)));
    }
}

/// §8: `published` is what the sealing domain's `p` asks: the nearest policy's, the strictest of several records'.
#[test]
fn the_nearest_policy_asks() {
    let world = World::default()
        .policy(DOMAIN, Request::Reject, true)
        .policy("x.example.org", Request::Quarantine, true)
        .keys(DOMAIN, &[record(1)], true);
    let asked = |message: &str| world.judge(message).published;
    assert_eq!(asked(&letter("a@x.example.org")), Some(Request::Quarantine));
    assert_eq!(asked(&letter("a@y.example.org")), Some(Request::Reject));
    // It is the sealing domain that is asked, and this one seals for its subdomain.
    let by_parent = sealed_by(DOMAIN, 9, None, &letter("a@x.example.org"));
    assert_eq!(asked(&by_parent), Some(Request::Reject));

    let two = [Request::None, Request::Quarantine]
        .map(|request| PolicyRecord { request, ..PolicyRecord::default() });
    let world = World::default().policy_answer(DOMAIN, Answer::Found { records: two.to_vec(), secure: true });
    assert_eq!(world.judge(&letter("a@example.org")).published, Some(Request::Quarantine));
}

/// An unproved policy may ask for more of a domain that is known to seal, but is not heard where it asks for nothing.
#[test]
fn a_forged_policy_does_not_weaken_what_is_known() {
    for (request, secure, asked) in [
        (Request::None, false, None),
        (Request::None, true, Some(Request::None)),
        (Request::Reject, false, Some(Request::Reject)),
    ] {
        let world = World::default().policy(DOMAIN, request, secure).remembering(DOMAIN, 1);
        let found = world.judge(&letter("a@example.org"));
        assert_eq!((found.verdict, found.published), (Verdict::Missing, asked), "{request:?} {secure}");
    }
    let world =
        World::default().policy(DOMAIN, Request::Reject, true).policy("x.example.org", Request::None, false);
    assert_eq!(world.judge(&letter("a@x.example.org")).published, Some(Request::Reject));
}

/// §8: a policy lookup that fails for now: what memory says stands.
#[test]
fn what_memory_says_stands_without_a_policy() {
    let world = World::default().policy_answer(DOMAIN, Answer::Failed(Failure::Bogus));
    let found = world.remembering(DOMAIN, 1).judge(&letter("a@example.org"));
    assert_eq!((found.verdict, found.known), (Verdict::Missing, Some(Ground::Memory)));
}

/// §6.2: a seal is aligned if its `d` is the From domain or a parent of it, not above the organisational domain. A verdict
/// is never attributed to a domain that did not make it.
#[test]
fn only_the_authors_own_domain_and_its_parents_are_aligned() {
    for (from, by, verdict) in [
        ("a@example.org", "example.org", Verdict::Pass),
        ("a@x.y.example.org", "example.org", Verdict::Pass),
        ("a@x.y.example.org", "y.example.org", Verdict::Pass),
        ("a@example.org", "x.example.org", Verdict::Unaligned),
        ("a@badexample.org", "example.org", Verdict::Unaligned),
        ("a@other.example", "example.org", Verdict::Unaligned),
        ("a@example.co.uk", "co.uk", Verdict::Unaligned),
        // Two registrants below one public suffix of the list's private part.
        ("a@one.github.io", "two.github.io", Verdict::Unaligned),
        ("a@one.github.io", "github.io", Verdict::Unaligned),
        ("ü@bücher.example", "xn--bcher-kva.example", Verdict::Pass),
        ("a@BÜCHER.example", "xn--bcher-kva.example", Verdict::Pass),
    ] {
        let world = World::default().keys(by, &[record(1)], true);
        let found = world.judge(&sealed_by(by, 1, None, &letter(from)));
        assert_eq!((found.verdict, found.domain), (verdict, Some(domain(by))), "{from} by {by}");
    }
}

/// §6.2: a stranger's seal neither speaks for the author nor lets a known sealer off, and asks for nothing.
#[test]
fn a_strangers_seal_says_nothing_about_the_author() {
    let message = sealed_by("attacker.example", 9, None, &letter("a@example.org"));
    let world = World::default().keys("attacker.example", &[record(9)], true).policy(
        "attacker.example",
        Request::None,
        true,
    );
    let found = world.judge(&message);
    assert_eq!((found.verdict, found.published), (Verdict::Unaligned, None));
    let world = world.policy(DOMAIN, Request::Reject, false);
    let found = world.judge(&message);
    assert_eq!(
        (found.verdict, &found.domain, found.published),
        (Verdict::Missing, &None, Some(Request::Reject))
    );
    // Beside a good seal of the author's own it changes nothing.
    let both = sealed_by("attacker.example", 9, None, &sealed(1));
    let found = world.keys(DOMAIN, &[record(1)], true).judge(&both);
    assert_eq!((found.verdict, found.domain), (Verdict::Pass, Some(domain(DOMAIN))));
}

/// §6.2: exactly one From field with one address is needed, else `ambiguous`; without a seal any of the candidates may be
/// known to seal.
#[test]
fn an_unclear_author_gets_no_pass() {
    let world = World::default().keys(DOMAIN, &[record(1)], true).policy(DOMAIN, Request::Reject, true);
    for from in [
        "a@example.org, b@attacker.example",
        "b@attacker.example, a@example.org",
        "Team: a@example.org;",
        "a@example.org\r\nFrom: b@attacker.example",
        "a@attacker.example <a@example.org>",
        "Office <a@example.org",
        "<@relay.example:a@example.org>",
    ] {
        let found = world.judge(&sealed_by(DOMAIN, 1, None, &letter(from)));
        assert_eq!((found.verdict, found.domain), (Verdict::Ambiguous, None), "{from}");
        assert_eq!(world.judge(&letter(from)).verdict, Verdict::Missing, "{from}");
    }
}
