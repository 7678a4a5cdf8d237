//! The author, and whose seal counts: SPEC.md §8 step 2.

use attachment_seal::doubt::Doubt;
use attachment_seal::manifest::TextState;
use attachment_seal::seal::knowledge::Answer;
use attachment_seal::seal::policy_record::Request;
use attachment_seal::verdict::{Reason, State, Verdict};

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
        assert_eq!((found.verdict(), found.domain()), (verdict, Some(&domain(by))), "{from} by {by}");
    }
}

/// Seals put on top of each other, the last one uppermost.
fn piled(seals: &[(&str, u8)], message: &str) -> String {
    let field = |(name, seed): &(&str, u8)| {
        let sealed = sealed_by(name, *seed, None, message);
        format!("Attachment-Seal:{}\r\n", split_seal(&sealed).0)
    };
    seals.iter().rev().map(field).collect::<String>() + message
}

/// §6.2: aligned seals are tried nearest domain first, in message order within a domain; the first whose signature verifies
/// counts, and if none does, the first one's result.
#[test]
fn aligned_seals_are_tried_nearest_first() {
    let (near, far) = ("x.example.org", "example.org");
    let bad = |name: &str| (Verdict::Fail(Reason::BadSignature), name.to_owned());
    let good = |name: &str| (Verdict::Pass, name.to_owned());
    // Key 1 is right for both, key 9 for neither.
    let named = || World::default().keys(near, &[record(1)], true).keys(far, &[record(1)], true);
    for (seals, expected) in [
        (&[(far, 1), (near, 1)][..], good(near)),
        (&[(near, 1), (far, 1)], good(near)),
        (&[(near, 9), (far, 1)], good(far)),
        (&[(near, 9), (near, 1)], good(near)),
        (&[(near, 1), (near, 9)], good(near)),
        (&[(near, 9), (far, 9)], bad(near)),
        (&[(far, 9), (near, 9)], bad(near)),
        (&[("other.example", 1), (far, 1)], good(far)),
        (&[(far, 1), ("other.example", 1)], good(far)),
        (&[("y.example.org", 1), ("a.x.example.org", 1), (far, 9)], bad(far)),
    ] {
        let found = named().judge(&piled(seals, &letter("a@x.example.org")));
        let domain = found.domain().unwrap().to_string();
        assert_eq!((found.verdict(), domain), expected, "{seals:?}");
    }
    // Within a domain the uppermost decides what is said where none is good.
    let world = named().key_answer(near, Answer::NotFound { secure: true });
    let found = world.judge(&piled(&[(far, 9), (near, 9)], &letter("a@x.example.org")));
    assert_eq!(found.verdict(), Verdict::UnknownKey);
    // Eight are tried, nine are too many.
    let strangers = [("s.example", 1); 8];
    let eight = piled(&[&strangers[..7], &[(far, 1)]].concat(), &letter("a@example.org"));
    assert_eq!(named().judge(&eight).verdict(), Verdict::Pass);
    let nine = piled(&[&strangers[..], &[(far, 1)]].concat(), &letter("a@example.org"));
    assert_eq!(named().judge(&nine).verdict(), Verdict::Fail(Reason::TooManySeals));
}

/// §6.2, with no aligned seal: a seal whose `d` can't be read is `fail`; a known sealer's message is `missing`; another
/// domain's seal with a valid signature and dates is `unaligned`; else as no seal.
#[test]
fn without_an_aligned_seal() {
    let world = || World::default().keys("list.example", &[record(1)], true);
    let from_list = |at| sealed_at(at, "list.example", 1, None, &letter("a@example.org"));
    let unreadable = |message: &str| message.replace("d=list.example;", "d=LIST.example;");
    for (message, verdict) in [
        (from_list(NOW), Verdict::Unaligned),
        (from_list(NOW - 2 * DAY), Verdict::None),
        (from_list(NOW + DAY), Verdict::None),
        (sealed_by("list.example", 9, None, &letter("a@example.org")), Verdict::None),
        (unreadable(&from_list(NOW)), Verdict::Fail(Reason::MalformedSeal)),
        (unreadable(&from_list(NOW)) + "more", Verdict::Fail(Reason::MalformedSeal)),
    ] {
        assert_eq!(world().judge(&message).verdict(), verdict, "{message}");
        let known = world().policy(DOMAIN, Request::Reject, true).judge(&message);
        let expected = if verdict.reason().is_some() { verdict } else { Verdict::Missing };
        assert_eq!(known.verdict(), expected, "{message}");
    }
    // Lists rewrite From, so `hi` is not compared; what became of the body is reported, and decides nothing.
    let rewritten =
        from_list(NOW).replace("From: a@example.org", "From: b@example.org").replace("It", "That");
    let found = world().judge(&rewritten);
    assert_eq!(
        (found.verdict(), found.body(), found.text()),
        (Verdict::Unaligned, Some(State::Changed), Some(TextState::Changed))
    );
    // A malformed seal of the author's own domain is aligned, and fails as such.
    let broken = sealed(1).replace("; s=s;", "; s=S;");
    let found = World::default().keys(DOMAIN, &[record(1)], true).judge(&broken);
    assert_eq!(
        (found.verdict(), found.domain()),
        (Verdict::Fail(Reason::MalformedSeal), Some(&domain(DOMAIN)))
    );
}

/// docs/SPEC.md §2: the organisational domain by the whole list: wildcard and exception rules, the private section, names
/// that no rule is for. A public suffix has no parent.
#[test]
fn nobody_seals_above_the_organisational_domain() {
    for (from, by, is_aligned) in [
        ("a@x.b.example.co.uk", "example.co.uk", true),
        ("a@b.example.ck", "b.example.ck", true),
        ("a@b.example.ck", "example.ck", false),
        ("a@x.www.ck", "www.ck", true),
        ("a@x.www.ck", "ck", false),
        ("a@x.one.github.io", "one.github.io", true),
        ("a@x.one.github.io", "github.io", false),
        ("a@github.io", "github.io", true),
        ("a@host.corp", "host.corp", true),
        ("a@x.host.corp", "host.corp", true),
        ("a@host.corp", "corp", false),
        ("a@localhost", "localhost", true),
        ("a@x.xn--55qx5d.cn", "xn--55qx5d.cn", false),
        ("a@Sub.EXAMPLE.org.", "example.org", true),
        ("a@\u{fc}.b\u{fc}cher.example", "xn--bcher-kva.example", true),
    ] {
        let found =
            World::default().keys(by, &[record(1)], true).judge(&sealed_by(by, 1, None, &letter(from)));
        let expected = if is_aligned { Verdict::Pass } else { Verdict::Unaligned };
        assert_eq!(found.verdict(), expected, "{from} by {by}");
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
    assert_eq!((found.verdict(), found.published()), (Verdict::Unaligned, None));
    let world = world.policy(DOMAIN, Request::Reject, false);
    let found = world.judge(&message);
    assert_eq!(
        (found.verdict(), found.domain(), found.published()),
        (Verdict::Missing, None, Some(Request::Reject))
    );
    // Beside a good seal of the author's own it changes nothing.
    let both = sealed_by("attacker.example", 9, None, &sealed(1));
    let found = world.keys(DOMAIN, &[record(1)], true).judge(&both);
    assert_eq!((found.verdict(), found.domain()), (Verdict::Pass, Some(&domain(DOMAIN))));
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
            "b@d.example\r\nFr\0om: a@example.org",
            "b@d.example\r\n\u{feff}From: a@example.org",
            "b@d.example\r\nX: y\nFrom: a@example.org",
            &(decoys(15) + "a@example.org"),
        ] {
            assert_eq!(world.judge(&letter(from)).verdict(), Verdict::Missing, "{from}");
        }
        let crowd = world.judge(&letter(&(decoys(40) + "a@example.org")));
        assert_eq!(crowd.verdict(), Verdict::Ambiguous);
        assert!(crowd.doubts().contains(Doubt::BadFrom), "a crowd");
    }
    // What stands below a header section of 1 MiB is not read.
    let long = "X: y\r\n".repeat(1 << 18) + &letter("a@example.org");
    let found = pinned.judge(&long);
    assert_eq!(found.verdict(), Verdict::Ambiguous);
    assert!(found.doubts().contains(Doubt::HeaderTooLong));
    // One address is what its angle brackets hold, whatever name it goes by.
    let found = pinned.judge(&letter("\"a@example.org\" <b@other.example>"));
    assert_eq!(found.verdict(), Verdict::None);
}

/// §6.2: exactly one From field with one address is needed, else `ambiguous`; without a seal any of the candidates may be
/// known to seal.
#[test]
fn an_unclear_author_gets_no_pass() {
    let world = World::default().keys(DOMAIN, &[record(1)], true).policy(DOMAIN, Request::Reject, true);
    for from in [
        "a@example.org, b@attacker.example",
        "b@attacker.example, a@example.org",
        "a@example.org\r\nFrom: b@attacker.example",
        "a@attacker.example <a@example.org>",
        "<@relay.example:a@example.org>",
    ] {
        let found = world.judge(&sealed_by(DOMAIN, 1, None, &letter(from)));
        assert_eq!((found.verdict(), found.domain()), (Verdict::Ambiguous, None), "{from}");
        assert_eq!(world.judge(&letter(from)).verdict(), Verdict::Missing, "{from}");
    }
    // One address in one domain is an author, however it is written.
    for from in ["Team: a@example.org;", "Office <a@example.org", "Amari, Inc. < a@example.org >;"] {
        assert_eq!(
            world.judge(&sealed_by(DOMAIN, 1, None, &letter(from))).verdict(),
            Verdict::Pass,
            "{from}"
        );
    }
}
