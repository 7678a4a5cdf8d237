//! Keys: SPEC.md §9.

use attachment_seal::seal::format::Seal;
use attachment_seal::seal::key::KeyRecord;
use attachment_seal::seal::knowledge::{Answer, Failure, Pin, PinnedKey};
use attachment_seal::seal::policy_record::Request;
use attachment_seal::verdict::{Ground, Lookup, Reason, Trust, Verdict};

use crate::world::*;

/// §7: whether the answer was DNSSEC-secure is part of the result; §8: a domain's first key is accepted from DNS.
#[test]
fn a_key_from_dns_is_accepted_with_its_proof() {
    for (secure, trust, lookup) in
        [(true, Trust::Dnssec, Lookup::Secure), (false, Trust::Dns, Lookup::Insecure)]
    {
        let found = World::default().keys(DOMAIN, &[record(1)], secure).judge(&sealed(1));
        assert_eq!((found.verdict(), found.trust()), (Verdict::Pass, Some(trust)));
        assert_eq!(found.key_lookup(), Some(lookup));
    }
    // Of several keys at one selector any may have sealed.
    let found = World::default().keys(DOMAIN, &[record(2), record(1)], true).judge(&sealed(1));
    assert_eq!(found.verdict(), Verdict::Pass);
}

/// §7: an empty `p` is a revoked key; among several records it speaks for the selector.
#[test]
fn a_revoked_key_fails() {
    for records in [&[REVOKED][..], &[record(1), REVOKED]] {
        let found = World::default().keys(DOMAIN, records, true).judge(&sealed(1));
        assert_eq!(found.verdict(), Verdict::Fail(Reason::RevokedKey));
    }
}

/// §7: `t=y` marks a trial, of good seals and bad ones.
#[test]
fn a_trial_is_told_of() {
    let trial = KeyRecord { trial: true, ..record(1) };
    for (seed, verdict) in [(1, Verdict::Pass), (9, Verdict::Fail(Reason::BadSignature))] {
        let found = World::default().keys(DOMAIN, &[trial], true).judge(&sealed(seed));
        assert_eq!((found.verdict(), found.trial()), (verdict, true));
    }
}

/// §6.4 and §7: no key is `unknown-key`, a lookup that failed is `temperror`, and the two ways of failing are told apart.
#[test]
fn no_key_and_no_answer_are_two_things() {
    let judge = |answer| World::default().key_answer(DOMAIN, answer).judge(&sealed(1));
    let found = judge(Answer::NotFound { secure: true });
    assert_eq!((found.verdict(), found.key_lookup()), (Verdict::UnknownKey, Some(Lookup::Secure)));
    for (failure, lookup) in [(Failure::Bogus, Lookup::Bogus), (Failure::Unanswered, Lookup::Failed)] {
        let found = judge(Answer::Failed(failure));
        assert_eq!((found.verdict(), found.key_lookup()), (Verdict::Temperror, Some(lookup)));
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
    assert_eq!((found.verdict(), found.trust()), (Verdict::Pass, Some(Trust::Pinned)));
    let forged = world.judge(&sealed(9));
    assert_eq!((forged.verdict(), forged.published()), (Verdict::KeyChanged, None));
    // Nor does DNS take a seal's key away, or the duty to seal.
    let world = World::default().pin(DOMAIN, 1, true).keys(DOMAIN, &[REVOKED], true);
    assert_eq!(world.judge(&sealed(1)).verdict(), Verdict::Pass);
    let bare = world.policy(DOMAIN, Request::None, true).judge(&letter("a@example.org"));
    assert_eq!((bare.verdict(), bare.known()), (Verdict::Missing, Some(Ground::Pinned)));
}

/// §7: the delegating key is the domain's root, here as its policy names it. A key is proved no better than the policy.
#[test]
fn a_root_of_the_policy_delegates() {
    let message =
        |root, selector| sealed_by(DOMAIN, 1, Some(delegation(root, 1, selector)), &letter("a@example.org"));
    for (secure, trust) in [(true, Trust::Dnssec), (false, Trust::Dns)] {
        let found = World::default().root(DOMAIN, 5, secure).judge(&message(5, "s"));
        assert_eq!((found.verdict(), found.trust()), (Verdict::Pass, Some(trust)));
    }
    let world = World::default().root(DOMAIN, 5, true);
    // By another root, and for another selector: one that does not hold is as if it were not there.
    for (root, selector) in [(6, "s"), (5, "other")] {
        assert_eq!(world.judge(&message(root, selector)).verdict(), Verdict::UnknownKey);
    }
    // A revoked record beats a delegation, and one that could not be had might say so.
    let revoked = World::default().root(DOMAIN, 5, true).keys(DOMAIN, &[REVOKED], false);
    assert_eq!(revoked.judge(&message(5, "s")).verdict(), Verdict::Fail(Reason::RevokedKey));
    let failed = world.key_answer(DOMAIN, Answer::Failed(Failure::Unanswered));
    assert_eq!(failed.judge(&message(5, "s")).verdict(), Verdict::Temperror);
}

/// §8: any further key of a remembered domain is accepted if it is DNSSEC-secure; an unsigned answer, a key's or a root's,
/// makes no bad mail pass.
#[test]
fn an_unsigned_answer_changes_no_remembered_key() {
    let forged = sealed_by(DOMAIN, 9, Some(delegation(5, 9, "s")), &letter("a@example.org"));
    for (secure, verdict) in [(true, Verdict::Pass), (false, Verdict::KeyChanged)] {
        let by_key = World::default().keys(DOMAIN, &[record(9)], secure);
        for world in [by_key, World::default().root(DOMAIN, 5, secure)] {
            assert_eq!(world.remembering(DOMAIN, 1).judge(&forged).verdict(), verdict, "{secure}");
        }
    }
    // Nor is the root learnt that an unsigned policy names beside the key that is known.
    let world = World::default().root(DOMAIN, 5, false).keys(DOMAIN, &[record(1)], false);
    let vouched = sealed_by(DOMAIN, 1, Some(delegation(5, 1, "s")), &letter("a@example.org"));
    let found = world.remembering(DOMAIN, 1).judge(&vouched);
    assert_eq!(
        (found.verdict(), found.trust(), found.signature().unwrap().root()),
        (Verdict::Pass, Some(Trust::Remembered), None)
    );
}

/// §7: `nb` ≤ `t` < `x` ≤ `na`: the seal's whole life lies within the delegation's, however the seal is dated.
#[test]
fn a_delegation_covers_the_whole_life_of_a_seal() {
    let world = World::default().root(DOMAIN, 5, true);
    let (made, expires) = (NOW, NOW + DAY);
    for (span, verdict) in [
        ((made, expires), Verdict::Pass),
        ((made - 1, expires + 1), Verdict::Pass),
        ((made + 1, expires), Verdict::UnknownKey),
        ((made, expires - 1), Verdict::UnknownKey),
        ((made - DAY, made), Verdict::UnknownKey),
        ((expires, made), Verdict::UnknownKey),
    ] {
        let whole = delegation_for(5, 1, "s", (NOW - DAY, NOW + 30 * DAY));
        let message = sealed_by(DOMAIN, 1, Some(whole), &letter("a@example.org"));
        let message = with_delegation(&message, delegation_for(5, 1, "s", span).as_str());
        assert_eq!(world.judge(&message).verdict(), verdict, "{span:?}");
    }
}

/// The message sealed anew by key 1, with this text as `c`.
fn with_delegation(message: &str, text: &str) -> String {
    let (field, rest) = split_seal(message);
    let mut seal = Seal::parse(field.as_bytes()).unwrap();
    seal.statement.delegation = Some(text.to_owned());
    let signature = key(1).sign(&seal.statement.signed()).unwrap();
    String::from_utf8(seal.statement.to_field(&signature)).unwrap() + rest
}

/// §7: a delegation that does not hold, or is not of this form, is as if it were not there.
#[test]
fn a_bad_delegation_is_as_if_it_were_not_there() {
    let good = delegation(5, 1, "s");
    let parts: Vec<&str> = good.as_str().split('.').collect();
    let message = sealed_by(DOMAIN, 1, Some(good.clone()), &letter("a@example.org"));
    let with = |at: usize, text: &str| {
        let mut parts = parts.clone();
        parts[at] = text;
        parts.join(".")
    };
    let other = key(9).public().to_base64url();
    for bad in [
        String::new(),
        "x".to_owned(),
        format!("{}.x", good.as_str()),
        with(0, &other),
        with(1, "0"),
        with(2, "1999999999"),
        with(2, "1234567890123"),
        with(3, &other),
        with(4, "AAAA"),
        delegation(5, 1, "t").as_str().to_owned(),
        delegation(6, 1, "s").as_str().to_owned(),
    ] {
        let changed = with_delegation(&message, &bad);
        let by_root = World::default().root(DOMAIN, 5, true);
        assert_eq!(by_root.judge(&changed).verdict(), Verdict::UnknownKey, "{bad}");
        // And the key by itself is as good as ever.
        let named = World::default().root(DOMAIN, 5, true).keys(DOMAIN, &[record(1)], true);
        assert_eq!(named.judge(&changed).verdict(), Verdict::Pass, "{bad}");
    }
}

/// §7: a pinned key without a selector is meant for any, one with a selector for that alone; a pinned key is tried before a
/// delegation, and a revoked record beats one.
#[test]
fn pinned_keys_and_roots_work_together() {
    let pinned = |selector: Option<&str>, record: Option<KeyRecord>, root: Option<u8>| {
        let selector = selector.map(|text| text.parse().unwrap());
        let keys = record.map(|record| PinnedKey { selector, record }).into_iter().collect();
        let roots = root.map(|seed| key(seed).public()).into_iter().collect();
        let mut world = World::default();
        world.pins.add(domain(DOMAIN), Pin { keys, roots, subdomains: true, ..Pin::default() });
        world
    };
    let vouched = sealed_by(DOMAIN, 1, Some(delegation(5, 1, "s")), &letter("a@example.org"));
    let fail = Verdict::Fail;
    for (selector, record, root, verdict, trust) in [
        (None, Some(record(1)), None, Verdict::Pass, Some(Trust::Pinned)),
        (Some("s"), Some(record(1)), None, Verdict::Pass, Some(Trust::Pinned)),
        (Some("t"), Some(record(1)), None, Verdict::KeyChanged, None),
        (None, Some(record(1)), Some(5), Verdict::Pass, Some(Trust::Pinned)),
        (None, Some(record(9)), Some(5), Verdict::Pass, Some(Trust::Root)),
        (None, None, Some(5), Verdict::Pass, Some(Trust::Root)),
        (None, None, Some(6), Verdict::KeyChanged, None),
        // By a key that the correspondent may have made since; a pin with a selector says that this is none.
        (None, Some(record(9)), Some(6), Verdict::KeyChanged, None),
        (None, Some(record(9)), None, Verdict::KeyChanged, None),
        (Some("s"), Some(record(9)), None, fail(Reason::BadSignature), None),
        (Some("s"), Some(REVOKED), Some(5), fail(Reason::RevokedKey), None),
        (Some("t"), Some(REVOKED), Some(5), Verdict::Pass, Some(Trust::Root)),
    ] {
        let found = pinned(selector, record, root).judge(&vouched);
        assert_eq!((found.verdict(), found.trust()), (verdict, trust), "{selector:?} {record:?} {root:?}");
        assert_eq!(found.known(), Some(Ground::Pinned));
    }
}

/// §9.2: a key that is pinned whole and one that is pinned by its fingerprint may both have sealed; any other is another key.
#[test]
fn another_key_of_a_pinned_domain_is_a_changed_one() {
    let told = |seed: u8| key(seed).public().fingerprint().digits().to_string().parse().unwrap();
    let keys = vec![PinnedKey { selector: None, record: record(1) }];
    let pin = Pin { keys, fingerprints: vec![told(2)], subdomains: true, ..Pin::default() };
    for (seed, verdict) in [(1, Verdict::Pass), (2, Verdict::Pass), (3, Verdict::KeyChanged)] {
        let mut world = World::default().keys(DOMAIN, &[record(2), record(3)], true);
        world.pins.add(domain(DOMAIN), pin.clone());
        assert_eq!(world.judge(&sealed(seed)).verdict(), verdict, "{seed}");
    }
}

/// §8: strength of the key's proof, strongest first, is part of every result: `pinned`, `root`, `dnssec`, `remembered`, `dns`.
#[test]
fn the_strongest_proof_is_named() {
    assert!(Trust::Pinned > Trust::Root && Trust::Root > Trust::Dnssec);
    assert!(Trust::Dnssec > Trust::Remembered && Trust::Remembered > Trust::Dns);
    let vouched = sealed_by(DOMAIN, 1, Some(delegation(5, 1, "s")), &letter("a@example.org"));
    for (key_secure, root_secure, remembered, trust) in [
        (false, false, false, Trust::Dns),
        (false, false, true, Trust::Remembered),
        (true, false, true, Trust::Dnssec),
        (false, true, true, Trust::Dnssec),
        (true, false, false, Trust::Dnssec),
    ] {
        let world = World::default().keys(DOMAIN, &[record(1)], key_secure).root(DOMAIN, 5, root_secure);
        let world = if remembered { world.remembering(DOMAIN, 1) } else { world };
        assert_eq!(world.judge(&vouched).trust(), Some(trust), "{key_secure} {root_secure} {remembered}");
    }
    // In results that are no pass as well.
    let swapped = sealed(1).replace("<1@example.org>", "<2@example.org>");
    let found = World::default().keys(DOMAIN, &[record(1)], true).judge(&swapped);
    assert_eq!((found.verdict(), found.trust()), (Verdict::Fail(Reason::OtherMessage), Some(Trust::Dnssec)));
}

/// docs/SPEC.md §9.4: `t=y` of a domain known to seal counts only for seals by that key: naming the selector of a trial must
/// not have a bad seal, or none, treated better.
#[test]
fn the_selector_of_a_trial_is_no_way_out() {
    let trial = KeyRecord { trial: true, ..record(1) };
    let revoked = KeyRecord { trial: true, ..REVOKED };
    let known = || World::default().policy(DOMAIN, Request::Reject, true);
    for (records, seed, verdict, on_trial) in [
        (trial, 1, Verdict::Pass, true),
        (trial, 9, Verdict::Fail(Reason::BadSignature), false),
        (revoked, 9, Verdict::Fail(Reason::RevokedKey), false),
    ] {
        let found = known().keys(DOMAIN, &[records], true).judge(&sealed(seed));
        assert_eq!((found.verdict(), found.trial()), (verdict, on_trial));
    }
}
