//! Who is known to seal by pins and policies, and what policies ask: SPEC.md §10.

use attachment_seal::seal::knowledge::{Answer, Failure};
use attachment_seal::seal::policy_record::{PolicyRecord, Request};
use attachment_seal::verdict::{Ground, Lookup, Verdict};

use crate::world::*;

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
            assert_eq!((found.verdict(), found.known()), (verdict, known), "{from}");
        }
    }
    // Not above it: nobody speaks for a public suffix.
    let world = World::default().policy("co.uk", Request::Reject, true).policy("org", Request::Reject, true);
    for from in ["a@example.co.uk", "a@example.org"] {
        assert_eq!(world.judge(&letter(from)).verdict(), Verdict::None, "{from}");
    }
    // A subdomain's own policy lets it not out of its parent's statement.
    let world =
        World::default().policy(DOMAIN, Request::Reject, true).policy("x.example.org", Request::None, true);
    assert_eq!(world.judge(&letter("a@x.example.org")).verdict(), Verdict::Missing);
}

/// §8: the result names on what ground; `subdomains = false` limits a pin to the domain itself.
#[test]
fn a_pin_covers_what_it_says() {
    let world = World::default().pin(DOMAIN, 1, false);
    assert_eq!(world.judge(&letter("a@example.org")).known(), Some(Ground::Pinned));
    assert_eq!(world.judge(&letter("a@x.example.org")).verdict(), Verdict::None);
    let world = World::default().pin(DOMAIN, 1, true).policy("x.example.org", Request::Reject, true);
    assert_eq!(world.judge(&letter("a@x.example.org")).known(), Some(Ground::Pinned));
}

/// §6.4: of a domain known to seal an unknown key is `key-changed`, else changing `s` would be a way out.
#[test]
fn another_selector_is_no_way_out() {
    let world = World::default()
        .policy(DOMAIN, Request::Quarantine, false)
        .key_answer(DOMAIN, Answer::NotFound { secure: false });
    assert_eq!(world.judge(&sealed(9)).verdict(), Verdict::KeyChanged);
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
        assert_eq!((found.verdict(), found.policy_lookup()), (Verdict::None, Some(lookup)));
        let found = world.pin(DOMAIN, 1, true).judge(&letter("a@x.example.org"));
        assert_eq!((found.verdict(), found.known()), (Verdict::Missing, Some(Ground::Pinned)));
    }
}

/// §8: `published` is what the sealing domain's `p` asks: the nearest policy's, the strictest of several records'.
#[test]
fn the_nearest_policy_asks() {
    let world = World::default()
        .policy(DOMAIN, Request::Reject, true)
        .policy("x.example.org", Request::Quarantine, true)
        .keys(DOMAIN, &[record(1)], true);
    let asked = |message: &str| world.judge(message).published();
    assert_eq!(asked(&letter("a@x.example.org")), Some(Request::Quarantine));
    assert_eq!(asked(&letter("a@y.example.org")), Some(Request::Reject));
    // It is the sealing domain that is asked, and this one seals for its subdomain.
    let by_parent = sealed_by(DOMAIN, 9, None, &letter("a@x.example.org"));
    assert_eq!(asked(&by_parent), Some(Request::Reject));

    let two = [Request::None, Request::Quarantine]
        .map(|request| PolicyRecord { request, ..PolicyRecord::default() });
    let world = World::default().policy_answer(DOMAIN, Answer::Found { records: two.to_vec(), secure: true });
    assert_eq!(world.judge(&letter("a@example.org")).published(), Some(Request::Quarantine));
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
        assert_eq!((found.verdict(), found.published()), (Verdict::Missing, asked), "{request:?} {secure}");
    }
    let world =
        World::default().policy(DOMAIN, Request::Reject, true).policy("x.example.org", Request::None, false);
    assert_eq!(world.judge(&letter("a@x.example.org")).published(), Some(Request::Reject));
}

/// §8: a policy lookup that fails for now: what memory says stands.
#[test]
fn what_memory_says_stands_without_a_policy() {
    let world = World::default().policy_answer(DOMAIN, Answer::Failed(Failure::Bogus));
    let found = world.remembering(DOMAIN, 1).judge(&letter("a@example.org"));
    assert_eq!((found.verdict(), found.known()), (Verdict::Missing, Some(Ground::Memory)));
}
