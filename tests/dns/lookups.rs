//! What becomes of each kind of record, by what DNSSEC decides.

use std::time::Duration;

use attachment_seal::seal::knowledge::{Answer, Failure};
use attachment_seal::seal::policy_record::Request;
use attachment_seal::verdict::Lookup;
use waxseal::dns::Dnssec;

use crate::zone::{Kind, Knot, Zone};
use crate::{asking, block_on, key, policy, record, seeds, waiting};
use Lookup::{Bogus, Failed, Insecure, Secure};

/// What there is of a signed zone, each name with the reason for which it is there.
fn records() -> String {
    let (one, two) = (record(1), record(2));
    let (front, back) = one.split_at(30);
    let long = |length: usize| {
        let text = format!("{one}; x={}", "y".repeat(length - one.len() - 4));
        let segments: Vec<String> =
            text.as_bytes().chunks(200).map(|c| format!("\"{}\"", std::str::from_utf8(c).unwrap())).collect();
        segments.join(" ")
    };
    format!(
        "\
gate1._attachment-seal TXT \"{one}\"
in-segments._attachment-seal TXT \"{front}\" \"{back}\"
in-company._attachment-seal TXT \"v=spf1 -all\"
in-company._attachment-seal TXT \"{one}\"
in-company._attachment-seal TXT \"v=SEAL1; k=rsa; p=AAAA\"
pair._attachment-seal TXT \"{one}\"
pair._attachment-seal TXT \"{two}\"
revoked._attachment-seal TXT \"v=SEAL1; k=ed25519; p=\"
trial._attachment-seal TXT \"{one}; t=y\"
no-key._attachment-seal TXT \"v=spf1 -all\"
over-udp._attachment-seal TXT {}
too-long._attachment-seal TXT {}
alias._attachment-seal CNAME gate1._attachment-seal
out._attachment-seal CNAME gate1._attachment-seal.unsigned.example.
loop._attachment-seal CNAME loop._attachment-seal
nowhere._attachment-seal CNAME nobody.signed.example.
dotted.selector._attachment-seal TXT \"{two}\"
_attachment-seal TXT \"v=SEAL1; p=reject; rua=mailto:seal@signed.example\"
_attachment-seal.soft TXT \"v=SEAL1; p=none\"
",
        long(3_900),
        long(4_200)
    )
}

fn unsigned_records() -> String {
    let one = record(1);
    format!(
        "gate1._attachment-seal TXT \"{one}\"\nin._attachment-seal CNAME gate1._attachment-seal.signed.example.\n\
         revoked._attachment-seal TXT \"v=SEAL1; p=\"\n_attachment-seal TXT \"v=SEAL1; p=quarantine\"\n"
    )
}

fn zones() -> Option<Knot> {
    let (signed, unsigned) = (records(), unsigned_records());
    Knot::start(&[
        Zone { name: "signed.example", kind: Kind::Signed, lines: &signed },
        Zone { name: "unsigned.example", kind: Kind::Unsigned, lines: &unsigned },
        Zone { name: "bogus.example", kind: Kind::Bogus, lines: &signed },
    ])
}

/// SPEC.md §9: TXT at `<s>._attachment-seal.<d>`; an empty `p` is a revoked key; `t=y` marks a trial; whether the answer
/// was DNSSEC-secure is part of the result.
#[test]
fn keys_are_found_where_section_7_puts_them() {
    let Some(knot) = zones() else { return };
    block_on(async {
        let dns = asking(knot.address, &knot, Dnssec::Prefer);
        for (domain, selector, found, lookup) in [
            ("signed.example", "gate1", "1", Secure),
            ("signed.example", "in-segments", "1", Secure),
            ("signed.example", "in-company", "1", Secure),
            ("signed.example", "pair", "1 2", Secure),
            ("signed.example", "revoked", "-", Secure),
            ("signed.example", "trial", "1t", Secure),
            ("signed.example", "no-key", "", Secure),
            ("signed.example", "over-udp", "1", Secure),
            ("signed.example", "too-long", "", Secure),
            ("signed.example", "alias", "1", Secure),
            ("signed.example", "dotted.selector", "2", Secure),
            ("signed.example", "missing", "", Secure),
            ("signed.example", "nowhere", "", Secure),
            // A chain is no better than its weakest link.
            ("signed.example", "out", "1", Insecure),
            ("unsigned.example", "in", "1", Insecure),
            ("unsigned.example", "gate1", "1", Insecure),
            ("unsigned.example", "revoked", "-", Insecure),
            ("unsigned.example", "missing", "", Insecure),
            ("sub.unsigned.example", "gate1", "", Insecure),
            ("bogus.example", "gate1", "", Bogus),
            ("bogus.example", "missing", "", Bogus),
            ("nobody.example", "gate1", "", Secure),
        ] {
            let answer = key(&dns, domain, selector).await;
            assert_eq!(
                (seeds(&answer).as_str(), answer.lookup()),
                (found, lookup),
                "{selector} {domain}: {answer:?}"
            );
        }
        // It ends, and with nothing to be believed.
        assert!(!matches!(key(&dns, "signed.example", "loop").await, Answer::Found { .. }));
    });
}

/// The same names without DNSSEC: all is taken, and nothing counts as proved.
#[test]
fn without_dnssec_nothing_counts_as_proved() {
    let Some(knot) = zones() else { return };
    block_on(async {
        let dns = asking(knot.address, &knot, Dnssec::Off);
        for (domain, selector, found) in [
            ("signed.example", "gate1", "1"),
            ("signed.example", "over-udp", "1"),
            ("signed.example", "missing", ""),
            ("unsigned.example", "in", "1"),
            ("bogus.example", "gate1", "1"),
        ] {
            let answer = key(&dns, domain, selector).await;
            assert_eq!((seeds(&answer).as_str(), answer.lookup()), (found, Insecure), "{selector} {domain}");
        }
    });
}

/// With `dnssec = "require"` a record of an unsigned zone is as if it were not there, and the result says why.
#[test]
fn where_dnssec_is_required_only_proved_records_count() {
    let Some(knot) = zones() else { return };
    block_on(async {
        let dns = asking(knot.address, &knot, Dnssec::Require);
        for (domain, selector, found, lookup) in [
            ("signed.example", "gate1", "1", Secure),
            ("signed.example", "out", "", Insecure),
            ("unsigned.example", "gate1", "", Insecure),
            ("unsigned.example", "revoked", "", Insecure),
            ("bogus.example", "gate1", "", Bogus),
        ] {
            let answer = key(&dns, domain, selector).await;
            assert_eq!((seeds(&answer).as_str(), answer.lookup()), (found, lookup), "{selector} {domain}");
        }
        assert_eq!(policy(&dns, "unsigned.example").await, Answer::NotFound { secure: false });
    });
}

/// SPEC.md §10: TXT at `_attachment-seal.<d>`.
#[test]
fn policies_are_found_where_section_8_puts_them() {
    let Some(knot) = zones() else { return };
    block_on(async {
        let dns = asking(knot.address, &knot, Dnssec::Prefer);
        for (domain, request, lookup) in [
            ("signed.example", Some(Request::Reject), Secure),
            ("soft.signed.example", Some(Request::None), Secure),
            ("sub.signed.example", None, Secure),
            ("unsigned.example", Some(Request::Quarantine), Insecure),
            ("bogus.example", None, Bogus),
        ] {
            let answer = policy(&dns, domain).await;
            let found = match &answer {
                Answer::Found { records, .. } => Some(records[0].request),
                _ => None,
            };
            assert_eq!((found, answer.lookup()), (request, lookup), "{domain}: {answer:?}");
        }
    });
}

/// A rotated key is seen, and so is its revocation, once the old record's time is up: here at once, by asking anew.
#[test]
fn a_rotated_and_a_revoked_key_are_seen() {
    let Some(mut knot) = zones() else { return };
    for (lines, found) in [(record(2), "2"), ("v=SEAL1; k=ed25519; p=".to_owned(), "-")] {
        knot.change("signed.example", &format!("gate1._attachment-seal TXT \"{lines}\""));
        let answer = block_on(async {
            let dns = asking(knot.address, &knot, Dnssec::Prefer);
            key(&dns, "signed.example", "gate1").await
        });
        assert_eq!((seeds(&answer).as_str(), answer.lookup()), (found, Secure));
    }
}

/// Nobody answers: the lookup has failed, which is not the same as nothing being there.
#[test]
fn no_answer_is_a_failure() {
    let Some(knot) = zones() else { return };
    let nobody = crate::program::smtp::closed_port();
    block_on(async {
        for dnssec in [Dnssec::Off, Dnssec::Prefer, Dnssec::Require] {
            let dns = waiting(nobody, &knot, dnssec, Duration::from_millis(300));
            let answer = key(&dns, "signed.example", "gate1").await;
            assert_eq!(answer, Answer::Failed(Failure::Unanswered), "{dnssec:?}");
            assert_eq!(answer.lookup(), Failed);
        }
    });
}
