//! Forged answers: whoever can put any unsigned answer in our way gets no key believed that DNSSEC does not prove, and
//! nothing remembered beyond its time.

use attachment_seal::seal::knowledge::Answer;
use attachment_seal::verdict::Lookup;
use hickory_resolver::proto::op::{Message, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use waxseal::dns::Dnssec;

use crate::forger::{Forger, is_for, unsigned_txt};
use crate::zone::{Kind, Knot, Zone};
use crate::{asking, block_on, key, policy, record, seeds};

/// What the attacker goes for.
const KEY: &str = "gate1._attachment-seal.signed.example.";

/// The victim, a domain that is not signed, and one that the attacker has and signs well. The attacker's key is 9.
fn zones() -> Option<Knot> {
    let (ours, theirs) = (record(1), record(9));
    let victim = format!("gate1._attachment-seal TXT \"{ours}\"\n_attachment-seal TXT \"v=SEAL1; p=reject\"");
    let attacker = format!("gate1._attachment-seal TXT \"{theirs}\"");
    Knot::start(&[
        Zone { name: "signed.example", kind: Kind::Signed, lines: &victim },
        Zone { name: "unsigned.example", kind: Kind::Unsigned, lines: &victim },
        Zone { name: "attacker.example", kind: Kind::Signed, lines: &attacker },
    ])
}

/// A forged answer to the question for the victim's key.
type Forgery = fn(&Truth, Message) -> Message;

/// What the attacker can ask for himself.
struct Truth {
    /// The attacker's own key, well signed.
    key: Vec<Record>,
    /// The start of authority of a zone that is not signed.
    unsigned_soa: Vec<Record>,
    /// A denial of the attacker's own zone, well signed.
    denial: Vec<Record>,
}

impl Truth {
    fn of(knot: &Knot) -> Self {
        let answer = |name: &str, kind| crate::zone::ask(knot.address, name, kind).unwrap();
        Self {
            key: answer("gate1._attachment-seal.attacker.example.", RecordType::TXT).answers,
            unsigned_soa: answer("unsigned.example.", RecordType::SOA).answers,
            denial: answer("nothing.attacker.example.", RecordType::TXT).authorities,
        }
    }
}

fn emptied(mut answer: Message) -> Message {
    answer.answers.clear();
    answer.authorities.clear();
    answer
}

fn nxdomain(answer: Message) -> Message {
    let mut answer = emptied(answer);
    answer.metadata.response_code = ResponseCode::NXDomain;
    answer
}

const FORGERIES: [(&str, Forgery); 10] = [
    ("another key", |_, mut answer| {
        answer.answers = vec![unsigned_txt(KEY, &record(9))];
        answer
    }),
    ("another key under the true signature", |_, mut answer| {
        answer.answers.retain(|record| record.record_type() == RecordType::RRSIG);
        answer.answers.push(unsigned_txt(KEY, &record(9)));
        answer
    }),
    ("another key beside the true one", |_, mut answer| {
        answer.answers.push(unsigned_txt(KEY, &record(9)));
        answer
    }),
    ("the attacker's key, well signed, as it stands elsewhere", |truth, answer| {
        let mut answer = emptied(answer);
        answer.answers = truth.key.clone();
        answer
    }),
    ("an alias that nobody signed, to the attacker's key", |truth, answer| {
        let mut answer = emptied(answer);
        let target = Name::from_ascii("gate1._attachment-seal.attacker.example.").unwrap();
        let alias = RData::CNAME(CNAME(target));
        answer.answers.push(Record::from_rdata(Name::from_ascii(KEY).unwrap(), 300, alias));
        answer.answers.extend(truth.key.clone());
        answer
    }),
    ("another key with the attacker's authority", |truth, answer| {
        let mut answer = emptied(answer);
        answer.answers = vec![unsigned_txt(KEY, &record(9))];
        answer.authorities = truth.unsigned_soa.clone();
        answer
    }),
    ("no such name", |_, answer| nxdomain(answer)),
    ("no such name, as an unsigned zone says", |truth, answer| {
        let mut answer = nxdomain(answer);
        answer.authorities = truth.unsigned_soa.clone();
        answer
    }),
    ("no such name, as another signed zone says", |truth, answer| {
        let mut answer = nxdomain(answer);
        answer.authorities = truth.denial.clone();
        answer
    }),
    ("no such record", |_, answer| emptied(answer)),
];

/// A key or its absence is believed only with the proof that the root demands, and after a wrong proof no weaker answer is
/// taken.
#[test]
fn no_forgery_is_believed_of_a_signed_zone() {
    let Some(knot) = zones() else { return };
    for (what, forge) in FORGERIES {
        let truth = Truth::of(&knot);
        let lie = move |query: &Query, answer| {
            Some(if is_for(query, KEY) { forge(&truth, answer) } else { answer })
        };
        let forger = Forger::before(knot.address, lie);
        for dnssec in [Dnssec::Prefer, Dnssec::Require] {
            let answer = block_on(async {
                key(&asking(forger.address, &knot, dnssec), "signed.example", "gate1").await
            });
            assert_eq!(answer.lookup(), Lookup::Bogus, "{what}, {dnssec:?}: {answer:?}");
        }
    }
}

/// Whoever strips every signature on the way makes every lookup fail, and none weaker.
#[test]
fn stripped_signatures_make_no_zone_unsigned() {
    let Some(knot) = zones() else { return };
    let is_proof = |record: &Record| {
        use RecordType::{DNSKEY, DS, NSEC, NSEC3, RRSIG};
        matches!(record.record_type(), RRSIG | DNSKEY | DS | NSEC | NSEC3)
    };
    let lie = move |_: &Query, mut answer: Message| {
        answer.answers.retain(|record| !is_proof(record));
        answer.authorities.retain(|record| !is_proof(record));
        Some(answer)
    };
    let forger = Forger::before(knot.address, lie);
    block_on(async {
        for dnssec in [Dnssec::Prefer, Dnssec::Require] {
            let dns = asking(forger.address, &knot, dnssec);
            assert_eq!(key(&dns, "signed.example", "gate1").await.lookup(), Lookup::Bogus);
            assert_eq!(policy(&dns, "signed.example").await.lookup(), Lookup::Bogus);
            assert_eq!(key(&dns, "signed.example", "missing").await.lookup(), Lookup::Bogus);
        }
    });
}

/// A proof that cannot be had for now is no wrong one: mail waits either way, and nobody looks for an attacker.
#[test]
fn a_proof_that_cannot_be_fetched_is_no_forgery() {
    let Some(knot) = zones() else { return };
    for (record_type, zone) in [
        (RecordType::DNSKEY, "signed.example."),
        (RecordType::DS, "signed.example."),
        (RecordType::DNSKEY, "."),
    ] {
        let lie = move |query: &Query, mut answer: Message| {
            if query.query_type() == record_type && query.name().to_ascii() == zone {
                answer = emptied(answer);
                answer.metadata.response_code = ResponseCode::ServFail;
            }
            Some(answer)
        };
        let forger = Forger::before(knot.address, lie);
        block_on(async {
            let dns = asking(forger.address, &knot, Dnssec::Prefer);
            for answer in [
                key(&dns, "signed.example", "gate1").await.lookup(),
                key(&dns, "signed.example", "missing").await.lookup(),
                policy(&dns, "signed.example").await.lookup(),
            ] {
                assert_eq!(answer, Lookup::Failed, "{record_type} of {zone}");
            }
        });
    }
}

/// Of an unsigned zone anything can be forged: it is taken, where DNSSEC is not required, and never counts as proved, not
/// even where it leads to well-signed records.
#[test]
fn what_is_forged_of_an_unsigned_zone_never_counts_as_proved() {
    const NAME: &str = "gate1._attachment-seal.unsigned.example.";
    let Some(knot) = zones() else { return };
    let truth = Truth::of(&knot);
    let lie = move |query: &Query, answer| {
        if !is_for(query, NAME) {
            return Some(answer);
        }
        let mut answer = emptied(answer);
        let target = Name::from_ascii("gate1._attachment-seal.attacker.example.").unwrap();
        let alias = RData::CNAME(CNAME(target));
        answer.answers.push(Record::from_rdata(Name::from_ascii(NAME).unwrap(), 300, alias));
        answer.answers.extend(truth.key.clone());
        Some(answer)
    };
    let forger = Forger::before(knot.address, lie);
    block_on(async {
        let dns = asking(forger.address, &knot, Dnssec::Prefer);
        // Twice: what is remembered is no better than what was heard.
        for _ in 0..2 {
            let answer = key(&dns, "unsigned.example", "gate1").await;
            assert_eq!((seeds(&answer).as_str(), answer.lookup()), ("9", Lookup::Insecure));
            // The very record that the alias led to is proved where it stands.
            assert_eq!(key(&dns, "attacker.example", "gate1").await.lookup(), Lookup::Secure);
        }
        let dns = asking(forger.address, &knot, Dnssec::Require);
        assert!(!matches!(key(&dns, "unsigned.example", "gate1").await, Answer::Found { .. }));
    });
}

/// A record, and an absence, is asked for once while its time lasts (RFC 2308 §5), validating or not; a failure each time.
#[test]
fn what_was_heard_is_remembered_and_failures_are_not() {
    let Some(knot) = zones() else { return };
    let lie = |query: &Query, mut answer: Message| {
        if is_for(query, "broken._attachment-seal.signed.example.") {
            answer.metadata.response_code = ResponseCode::ServFail;
        }
        Some(answer)
    };
    let forger = Forger::before(knot.address, lie);
    let asked = |name: &str| forger.times_asked(name, RecordType::TXT);
    for dnssec in [Dnssec::Off, Dnssec::Prefer] {
        let before = ["gate1", "missing", "broken"]
            .map(|selector| asked(&format!("{selector}._attachment-seal.signed.example.")));
        block_on(async {
            let dns = asking(forger.address, &knot, dnssec);
            for _ in 0..3 {
                assert_eq!(seeds(&key(&dns, "signed.example", "gate1").await), "1");
                assert!(matches!(key(&dns, "signed.example", "missing").await, Answer::NotFound { .. }));
                assert!(matches!(key(&dns, "signed.example", "broken").await, Answer::Failed(_)));
            }
        });
        let after = ["gate1", "missing", "broken"]
            .map(|selector| asked(&format!("{selector}._attachment-seal.signed.example.")));
        assert_eq!((after[0] - before[0], after[1] - before[1]), (1, 1), "{dnssec:?}");
        assert!(after[2] - before[2] >= 3, "{dnssec:?}");
    }
}
