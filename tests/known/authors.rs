//! The author, and whose seal counts: SEAL.md §6.2, docs/SPEC.md §8 step 2.

use waxseal::doubt::Doubt;
use waxseal::seal::policy_record::Request;
use waxseal::verdict::Verdict;

use crate::world::*;

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

/// docs/SPEC.md §8 step 1: without a seal the author's domain is every domain that follows an `@` in any From field, in
/// whatever way a reader gets at it: neither a disguise nor a crowd silences `missing`.
#[test]
fn no_disguise_silences_missing() {
    let decoys = |count: usize| (0..count).map(|n| format!("b@d{n}.example, ")).collect::<String>();
    let pinned = World::default().pin(DOMAIN, 1, true);
    let by_policy = World::default().policy(DOMAIN, Request::Reject, true);
    let remembered = World::default().remembering(DOMAIN, 1);
    for world in [&pinned, &by_policy, &remembered] {
        for from in [
            "a@EXAMPLE.org.",
            "a@(x)example.org",
            "a @ example.org",
            "a@example.org..",
            "a@\"example.org\"",
            "=?utf-8?q?a=40example.org?=",
            "b@d.example (a@example.org), c@d.example",
            "b@d.example\r\nFrom: a@example.org",
            "a@sales.example.org, b@d.example",
            &(decoys(15) + "a@example.org"),
        ] {
            assert_eq!(world.judge(&letter(from)).verdict, Verdict::Missing, "{from}");
        }
        let crowd = world.judge(&letter(&(decoys(40) + "a@example.org")));
        assert_eq!(crowd.verdict, Verdict::Ambiguous);
        assert!(crowd.doubts.contains(Doubt::BadFrom), "a crowd");
    }
    // One address is what its angle brackets hold, whatever name it goes by.
    let found = pinned.judge(&letter("\"a@example.org\" <b@other.example>"));
    assert_eq!(found.verdict, Verdict::None);
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
