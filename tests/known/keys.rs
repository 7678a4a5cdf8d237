//! Keys: SEAL.md §7 and §6.4, docs/SPEC.md §9.

use waxseal::seal::key::KeyRecord;
use waxseal::seal::knowledge::{Answer, Failure};
use waxseal::seal::policy_record::Request;
use waxseal::verdict::{Ground, Lookup, Reason, Trust, Verdict};

use crate::world::*;

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
