//! A zone's own name servers: which they are, and what each of them says.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use hickory_resolver::proto::op::Message;
use waxseal::dns::{self, Dns, Dnssec, Said, Settings, ZoneAnswer, ZoneError, ZoneFailure};

use crate::forger::Forger;
use crate::zone::{Kind, Knot, Zone, addresses};
use crate::{asking, block_on, record};

fn dns() -> Dns {
    Dns::new(Settings { servers: Some(Vec::new()), timeout: Duration::from_secs(5), ..Settings::default() })
}

fn ask(server: SocketAddr, name: &str) -> Said {
    block_on(dns().ask_servers(&[server], &format!("{name}.example.org"))).unwrap().remove(0)
}

/// Each kind of answer is told from the others; one that is too long for UDP comes by TCP.
#[test]
fn a_server_is_asked_directly() {
    let (one, two) = (record(1), record(2));
    let (front, back) = one.split_at(30);
    let long = format!("{two}; x={}", "y".repeat(3_000));
    let segments: Vec<String> =
        long.as_bytes().chunks(200).map(|part| format!("\"{}\"", str::from_utf8(part).unwrap())).collect();
    let lines = format!(
        "pair TXT \"{front}\" \"{back}\"\npair TXT \"{two}\"\nlong TXT {}\nempty A 192.0.2.1\n\
         alias CNAME keys.Example.net.\n",
        segments.join(" ")
    );
    let Some(knot) = Knot::start(&[Zone { name: "example.org", kind: Kind::Unsigned, lines: &lines }]) else {
        return;
    };
    let pair = ask(knot.address, "pair");
    let ZoneAnswer::Found(mut texts) = pair.answer else { panic!("{pair:?}") };
    texts.sort();
    let mut wanted = [one, two];
    wanted.sort();
    assert_eq!((texts.as_slice(), pair.negative_ttl), (&wanted[..], Some(60)));
    assert_eq!(ask(knot.address, "long").answer, ZoneAnswer::Found(vec![long]));
    for name in ["missing", "empty"] {
        let said = ask(knot.address, name);
        assert_eq!((said.answer, said.negative_ttl), (ZoneAnswer::Absent, Some(60)), "{name}");
    }
    assert_eq!(ask(knot.address, "alias").answer, ZoneAnswer::Alias("keys.example.net".to_owned()));

    // A cache repeats what it heard; that is not what the zone says now.
    let repeating = Forger::before(knot.address, |_, mut answer: Message| {
        answer.metadata.authoritative = false;
        Some(answer)
    });
    let failed = |address| match ask(address, "pair").answer {
        ZoneAnswer::Failed(failure) => failure,
        answer => panic!("{answer:?}"),
    };
    assert_eq!(failed(repeating.address), ZoneFailure::NotAuthoritative);
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(failed(silent.local_addr().unwrap()), ZoneFailure::Silent);
}

/// The zone's servers are found from the record's name upwards, each is asked, and an alias leads to those of another zone.
#[test]
fn every_server_of_the_zone_is_asked() {
    let Some([one, two, three]) = addresses() else { return };
    let (old, new) = (record(1), record(2));
    let others = [("ns2", two.ip()), ("ns3", three.ip())];
    let zone = |text: &str| {
        format!(
            "@ NS ns2.\ngate1._attachment-seal.mail TXT \"{text}\"\n\
             gate2._attachment-seal.mail CNAME gate2.keys.example.\n"
        )
    };
    let lines = zone(&new);
    let zones = [
        Zone { name: "example.org", kind: Kind::Signed, lines: &lines },
        Zone { name: "keys.example", kind: Kind::Unsigned, lines: "@ NS ns3." },
        Zone { name: "lost.example", kind: Kind::Unsigned, lines: "@ NS nowhere." },
    ];
    let Some(primary) = Knot::start_at(one, &others, &zones) else {
        return;
    };
    let lagging = zone(&old);
    let _lagging =
        Knot::start_at(two, &[], &[Zone { name: "example.org", kind: Kind::Unsigned, lines: &lagging }]);
    let keys = format!("gate2 TXT \"{new}\"\n");
    let _other =
        Knot::start_at(three, &[], &[Zone { name: "keys.example", kind: Kind::Unsigned, lines: &keys }]);

    let dns = asking(one, &primary, Dnssec::Prefer);
    let name = |selector: &str| {
        dns::key_record_name(&"mail.example.org".parse().unwrap(), &selector.parse().unwrap())
    };
    let heard = |selector: &str| {
        let mut said = block_on(dns.ask_zone(&name(selector))).unwrap();
        said.sort_by_key(|said| said.server.clone());
        said.into_iter().map(|said| (said.to_string(), said.answer)).collect::<Vec<_>>()
    };
    let found = |text: &str| ZoneAnswer::Found(vec![text.to_owned()]);
    let (ns, ns2, ns3) = (format!("ns ({one})"), format!("ns2 ({two})"), format!("ns3 ({three})"));
    assert_eq!(heard("gate1"), [(ns.clone(), found(&new)), (ns2.clone(), found(&old))]);
    assert_eq!(heard("missing"), [(ns.clone(), ZoneAnswer::Absent), (ns2.clone(), ZoneAnswer::Absent)]);
    let alias = || ZoneAnswer::Alias("gate2.keys.example".to_owned());
    assert_eq!(
        heard("gate2"),
        [
            (ns.clone(), alias()),
            // The other zone is served by both, and one of them knows nothing of the key.
            (ns.clone(), ZoneAnswer::Absent),
            (ns2, alias()),
            (ns3, found(&new)),
        ]
    );
    let lost = block_on(dns.ask_zone("gate1._attachment-seal.lost.example")).unwrap();
    let unheard: Vec<_> = lost.iter().filter(|said| said.address.is_none()).collect();
    assert_eq!(unheard.len(), 1, "{lost:?}");
    assert_eq!(unheard[0].answer, ZoneAnswer::Failed(ZoneFailure::NoAddress));
    let nobody = block_on(dns.ask_zone("gate1._attachment-seal.nobody"));
    assert_eq!(nobody, Err(ZoneError::NotFound("gate1._attachment-seal.nobody".to_owned())));
}
