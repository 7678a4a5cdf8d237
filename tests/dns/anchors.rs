//! Trust anchors for a zone below the root, as Knot's own `keymgr` prints them.

use std::fs;
use std::time::Duration;

use attachment_seal::verdict::Lookup;
use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::RecordType;
use waxseal::dns::{Dns, Dnssec, Settings};

use crate::forger::Forger;
use crate::zone::{Kind, Knot, Zone};
use crate::{block_on, key, record, seeds};
use Lookup::{Bogus, Insecure, Secure};

fn zones() -> Option<Knot> {
    let lines = format!(
        "gate1._attachment-seal TXT \"{}\"\nout._attachment-seal CNAME gate1._attachment-seal.signed.example.\n\
         in._attachment-seal.below TXT \"{}\"\n",
        record(1),
        record(2)
    );
    let zone = |name, kind| Zone { name, kind, lines: &lines };
    Knot::start(&[zone("island.example", Kind::Island), zone("signed.example", Kind::Signed)])
}

fn asking(server: std::net::SocketAddr, anchors: &str) -> Dns {
    let (servers, timeout) = (Some(vec![server]), Duration::from_secs(15));
    let trust_anchors = Some(anchors.to_owned());
    Dns::new(Settings { servers, dnssec: Dnssec::Prefer, timeout, trust_anchors, ..Settings::default() })
}

/// The zone has a key for its keys and another for the rest, and the root says that it is not signed.
#[test]
fn a_zone_below_the_root_is_proved_by_its_own_anchor() {
    let Some(knot) = zones() else { return };
    let root = fs::read_to_string(knot.anchors()).unwrap();
    let assert_found = |anchors: &str, expected: &[(&str, &str, &str, Lookup)]| {
        block_on(async {
            let dns = asking(knot.address, anchors);
            for (domain, selector, found, lookup) in expected {
                let answer = key(&dns, domain, selector).await;
                let heard = (seeds(&answer), answer.lookup());
                assert_eq!(heard, ((*found).to_owned(), *lookup), "{anchors}{selector} {domain}: {answer:?}");
            }
        });
    };
    let island = [
        ("island.example", "gate1", "1", Secure),
        ("island.example", "missing", "", Secure),
        ("below.island.example", "in", "2", Secure),
    ];
    for what in ["ds", "dnskey"] {
        let own = knot.keymgr("island.example", what);
        assert_found(&own, &island);
        // The built-in keys of the Internet's root have not signed this one.
        assert_found(&own, &[("signed.example", "gate1", "", Bogus)]);
        let both = root.clone() + &own;
        assert_found(&both, &island);
        assert_found(
            &both,
            &[("signed.example", "gate1", "1", Secure), ("island.example", "out", "1", Secure)],
        );
        let other = knot.keymgr("signed.example", what).replace("signed.example.", "island.example.");
        assert_found(&other, &[("island.example", "gate1", "", Bogus)]);
    }
    // Without an anchor of its own it counts as what the root says.
    assert_found(&root, &[("island.example", "gate1", "1", Insecure)]);
    // The root's own digest is an anchor, too.
    assert_found(&knot.keymgr(".", "ds"), &[("signed.example", "gate1", "1", Secure)]);
}

/// Where a zone has an anchor, nobody can make an unsigned zone of it.
#[test]
fn signatures_cannot_be_stripped_where_there_is_an_anchor() {
    let Some(knot) = zones() else { return };
    let stripping = Forger::before(knot.address, |query, mut answer: Message| {
        if query.query_type() == RecordType::TXT {
            answer.answers.retain(|record| record.record_type() != RecordType::RRSIG);
        }
        Some(answer)
    });
    let dns = asking(stripping.address, &knot.keymgr("island.example", "ds"));
    let answer = block_on(key(&dns, "island.example", "gate1"));
    assert_eq!(answer.lookup(), Bogus, "{answer:?}");
}
