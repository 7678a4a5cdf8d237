//! What is published, through which name servers, and how far it can be believed.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use attachment_seal::seal::key::{KeyRecord, SealingKey};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{Record, RecordType};
use tempfile::TempDir;

use crate::forger::Forger;
use crate::program::smtp::closed_port;
use crate::program::{Config, folder, keygen, waxseal, word};
use crate::zone::{Kind, Knot, Zone, addresses};
use crate::{Findings, examine};

/// A sealing site with its key.
struct Site {
    folder: TempDir,
    record: String,
}

impl Site {
    fn new() -> Self {
        let folder = folder();
        fs::create_dir(folder.path().join("state")).unwrap();
        let record = keygen(&folder.path().join("gate1.pem"));
        Self { folder, record }
    }

    /// Seals for example.org, and asks this name server.
    fn config(&self, server: SocketAddr, dnssec: &str, knot: Option<&Knot>) -> PathBuf {
        let anchors = match knot {
            Some(knot) if dnssec != "off" => {
                format!("trust_anchors = \"{}\"\n", word(&knot.anchors()))
            }
            _ => String::new(),
        };
        Config::new(self.folder.path(), "gate.example.org")
            .listener("outbound", "seal", closed_port(), "")
            .sealing_with(&self.folder.path().join("gate1.pem"))
            .and(&format!("[dns]\nservers = [\"{server}\"]\ndnssec = \"{dnssec}\"\ntimeout = 3\n{anchors}"))
            .write()
    }

    fn examine(&self, knot: &Knot, dnssec: &str) -> Findings {
        examine(&self.config(knot.address, dnssec, Some(knot)))
    }
}

const KEY: &str = "gate1._attachment-seal.example.org.";
const POLICY: &str = "_attachment-seal.example.org.";

fn other_record() -> String {
    KeyRecord { key: Some(SealingKey::from_seed(&[9; 32]).public()), trial: false }.to_string()
}

/// Published, signed and equal to the key on disk; and every way in which it is not.
#[test]
fn a_key_record_is_compared_with_the_key_on_disk() {
    let site = Site::new();
    let policy = "_attachment-seal TXT \"v=SEAL1; p=reject\"\n";
    let lines = format!("gate1._attachment-seal TXT \"{}\"\n{policy}", site.record);
    let zones = [Zone { name: "example.org", kind: Kind::Signed, lines: &lines }];
    let Some(mut knot) = Knot::start(&zones) else { return };
    let findings = site.examine(&knot, "require");
    findings.assert("key-record", KEY, "ok", "the key on disk");
    findings.assert("dnssec", KEY, "ok", "proved");
    findings.assert("policy-record", POLICY, "ok", "p=reject");
    findings.assert("dnssec", POLICY, "ok", "proved");
    findings.assert_well("resolvers", "name server");

    let revoked = "v=SEAL1; k=ed25519; p=";
    let other = other_record();
    for (records, state, says) in [
        (vec![], "problem", "not published"),
        (vec![other.as_str()], "problem", "another key"),
        (vec![revoked], "problem", "revoked"),
        (vec!["v=SEAL1; p=junk"], "problem", "not an Ed25519"),
        (vec![&site.record, &other], "warning", "contradict"),
        (vec![&format!("{}; t=y", site.record)], "warning", "on trial"),
    ] {
        let records: String =
            records.iter().map(|text| format!("gate1._attachment-seal TXT \"{text}\"\n")).collect();
        knot.change("example.org", &records);
        let findings = site.examine(&knot, "require");
        findings.assert("key-record", KEY, state, says);
        findings.assert_not_well("key-record", KEY);
        findings.assert("policy-record", POLICY, "warning", "none published");
    }
    // The remedy is the record itself.
    let findings = site.examine(&knot, "require");
    let remedy = findings.assert("key-record", KEY, "warning", "")["remedy"].as_str().unwrap();
    assert!(remedy.contains(&format!("{KEY} IN TXT \"{}\"", site.record)), "{remedy}");
}

/// A zone that is not signed, and one with a wrong proof, whatever the configuration believes.
#[test]
fn the_state_of_dnssec_is_said() {
    for (kind, state, says) in
        [(Kind::Unsigned, "warning", "not signed"), (Kind::Bogus, "problem", "proof is wrong")]
    {
        let site = Site::new();
        let lines = format!("gate1._attachment-seal TXT \"{}\"\n", site.record);
        let Some(knot) = Knot::start(&[Zone { name: "example.org", kind, lines: &lines }]) else { return };
        for dnssec in ["prefer", "require"] {
            let findings = site.examine(&knot, dnssec);
            findings.assert("dnssec", KEY, state, says);
            findings.assert("key-record", KEY, "ok", "the key on disk");
            findings.assert_well("resolvers", "name server");
        }
    }
}

/// A forwarder that strips signatures is the fault, not the zone; one that is silent leaves everything open.
#[test]
fn a_bad_resolver_is_not_taken_for_a_bad_zone() {
    let site = Site::new();
    let lines = format!("gate1._attachment-seal TXT \"{}\"\n", site.record);
    let zones = [Zone { name: "example.org", kind: Kind::Signed, lines: &lines }];
    let Some(knot) = Knot::start(&zones) else { return };
    let is_proof = |record: &Record| {
        use RecordType::{DNSKEY, DS, NSEC, NSEC3, RRSIG};
        matches!(record.record_type(), RRSIG | DNSKEY | DS | NSEC | NSEC3)
    };
    let stripping = Forger::before(knot.address, move |_, mut answer: Message| {
        answer.answers.retain(|record| !is_proof(record));
        answer.authorities.retain(|record| !is_proof(record));
        Some(answer)
    });
    for (dnssec, state) in [("prefer", "problem"), ("require", "problem"), ("off", "warning")] {
        let findings = examine(&site.config(stripping.address, dnssec, Some(&knot)));
        findings.assert("resolvers", "name server", state, "DNSSEC");
        findings.assert("dnssec", KEY, "not-checked", "nothing can be proved");
        findings.assert("key-record", KEY, "ok", "the key on disk");
    }
    let findings = examine(&site.config(closed_port(), "off", None));
    findings.assert("resolvers", "name server", "problem", "no answer");
    findings.assert("key-record", KEY, "not-checked", "no name server");
    findings.assert("policy-record", POLICY, "not-checked", "no name server");
}

/// A server on the way that gives no DNSKEY is no forger, and the record stands all the same.
#[test]
fn a_proof_that_cannot_be_had_is_said() {
    let site = Site::new();
    let lines = format!("gate1._attachment-seal TXT \"{}\"\n", site.record);
    let zones = [Zone { name: "example.org", kind: Kind::Signed, lines: &lines }];
    let Some(knot) = Knot::start(&zones) else { return };
    let failing = Forger::before(knot.address, |query, mut answer: Message| {
        if query.query_type() == RecordType::DNSKEY && query.name().to_ascii() == "example.org." {
            answer = emptied(answer);
            answer.metadata.response_code = ResponseCode::ServFail;
        }
        Some(answer)
    });
    let findings = examine(&site.config(failing.address, "prefer", Some(&knot)));
    findings.assert_well("resolvers", "name server");
    findings.assert("dnssec", KEY, "problem", "cannot be had");
    findings.assert("key-record", KEY, "ok", "the key on disk");
}

/// A resolver that cannot look anything up, and one that cannot look one name up, and in which word it says so.
#[test]
fn a_servfail_is_called_so() {
    let site = Site::new();
    let lines = format!("gate1._attachment-seal TXT \"{}\"\n", site.record);
    let zones = [Zone { name: "example.org", kind: Kind::Unsigned, lines: &lines }];
    let Some(knot) = Knot::start(&zones) else { return };
    let failing = |about: Option<&'static str>| {
        Forger::before(knot.address, move |query, mut answer: Message| {
            if about.is_none_or(|name| query.name().to_ascii() == name) {
                answer = emptied(answer);
                answer.metadata.response_code = ResponseCode::ServFail;
            }
            Some(answer)
        })
    };
    let findings = examine(&site.config(failing(None).address, "off", None));
    findings.assert("resolvers", "name server", "problem", "answers, but with SERVFAIL");
    let findings = examine(&site.config(failing(Some(KEY)).address, "off", None));
    findings.assert("key-record", KEY, "problem", "answer SERVFAIL about it");
    findings.assert("policy-record", POLICY, "warning", "none published");
}

fn emptied(mut answer: Message) -> Message {
    answer.answers.clear();
    answer.authorities.clear();
    answer
}

/// Each of the zone's own name servers is asked.
#[test]
fn a_name_server_that_lags_is_found() {
    let site = Site::new();
    let Some([one, two]) = addresses() else { return };
    let zone = |text: &str| format!("@ NS ns2.\ngate1._attachment-seal TXT \"{text}\"\n");
    let (new, old) = (zone(&site.record), zone(&other_record()));
    let zones = [Zone { name: "example.org", kind: Kind::Signed, lines: &new }];
    let Some(knot) = Knot::start_at(one, &[("ns2", two.ip())], &zones) else { return };
    {
        let lagging = [Zone { name: "example.org", kind: Kind::Unsigned, lines: &old }];
        let _lagging = Knot::start_at(two, &[], &lagging);
        let findings = site.examine(&knot, "prefer");
        findings.assert("key-record", KEY, "ok", "the key on disk");
        findings.assert("key-at-name-servers", KEY, "problem", "gives another key");
    }
    site.examine(&knot, "prefer").assert("key-at-name-servers", KEY, "warning", "does not answer");
    let abreast = [Zone { name: "example.org", kind: Kind::Unsigned, lines: &new }];
    let _abreast = Knot::start_at(two, &[], &abreast);
    site.examine(&knot, "prefer").assert_well("key-at-name-servers", KEY);
}

/// How long a delegation holds, and whether the policy record names its root.
#[test]
fn delegations_are_looked_at() {
    let site = Site::new();
    let path = |name: &str| site.folder.path().join(name);
    let root_key = path("root.pem");
    let new = waxseal(&["root", "new", "--domain", "example.org", "--out", word(&root_key)]);
    assert_eq!(new.status, 0, "{new:?}");
    let root = new.text().lines().find(|line| line.len() == 43 && !line.contains(' ')).unwrap().to_owned();
    let line = format!("{KEY} IN TXT \"{}\"\n", site.record);
    fs::write(path("gate1.txt"), line).unwrap();
    let delegate = |from: &str, days: &str| {
        let _ = fs::remove_file(path("delegation"));
        let ended = waxseal(&[
            "root",
            "delegate",
            "--key",
            word(&root_key),
            "--from",
            from,
            "--days",
            days,
            "--out",
            word(&path("delegation")),
            word(&path("gate1.txt")),
        ]);
        assert_eq!(ended.status, 0, "{ended:?}");
    };
    let lines = format!(
        "gate1._attachment-seal TXT \"{}\"\n_attachment-seal TXT \"v=SEAL1; p=none; root={root}\"\n",
        site.record
    );
    let zones = [Zone { name: "example.org", kind: Kind::Signed, lines: &lines }];
    let Some(mut knot) = Knot::start(&zones) else { return };
    let config = site.config(knot.address, "prefer", Some(&knot));
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace(
        "selector = \"gate1\"",
        &format!("selector = \"gate1\"\ndelegation = \"{}\"", word(&path("delegation"))),
    );
    fs::write(&config, text).unwrap();

    let days_ago = |days: i64| {
        let then = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days);
        then.strftime("%Y-%m-%d").to_string()
    };
    delegate(&days_ago(1), "30");
    let findings = examine(&config);
    findings.assert_well("delegation", "gate1 for example.org");
    findings.assert("policy-record", POLICY, "ok", "p=none");
    delegate(&days_ago(25), "30");
    examine(&config).assert("delegation", "gate1", "warning", "then mail is deferred");
    knot.change(
        "example.org",
        &format!(
            "gate1._attachment-seal TXT \"{}\"\n_attachment-seal TXT \"v=SEAL1; p=none\"\n",
            site.record
        ),
    );
    examine(&config).assert("policy-record", POLICY, "warning", "does not name the root");
    delegate(&days_ago(40), "30");
    examine(&config).assert("delegation", "gate1", "problem", "none is valid now");
}

/// A correspondent whose records say something else than the pin.
#[test]
fn a_pin_that_is_contradicted_is_a_warning() {
    let folder = folder();
    fs::create_dir(folder.path().join("state")).unwrap();
    let record = keygen(&folder.path().join("theirs.pem"));
    fs::create_dir_all(folder.path().join("pins/example.org")).unwrap();
    fs::write(folder.path().join("pins/example.org/gate1.txt"), &record).unwrap();
    let lines = |text: &str| format!("gate1._attachment-seal TXT \"{text}\"\n");
    let zones = [Zone { name: "example.org", kind: Kind::Unsigned, lines: &lines(&record) }];
    let Some(mut knot) = Knot::start(&zones) else { return };
    let config = Config::new(folder.path(), "mx.partner.example")
        .listener("inbound", "verify", closed_port(), "")
        .and("[[correspondent]]\ndomain = \"example.org\"\nkeys_dir = \"pins\"")
        .and(&format!("[dns]\nservers = [\"{}\"]\n", knot.address))
        .write();
    examine(&config).assert("correspondent", "example.org", "ok", "publish what is pinned");
    knot.change("example.org", &lines(&other_record()));
    let findings = examine(&config);
    let found = findings.assert("correspondent", "example.org", "warning", "another key");
    assert!(found["remedy"].as_str().unwrap().contains("telephone"), "{found}");
    knot.change("example.org", "");
    examine(&config).assert("correspondent", "example.org", "not-checked", "");
}

/// A stolen key is valid until its record says otherwise, and the record to publish is named; so is what is next for any other.
#[test]
fn an_old_key_that_others_have_is_a_problem_until_it_is_revoked() {
    let site = Site::new();
    fs::create_dir(site.folder.path().join("keys")).unwrap();
    fs::copy(site.folder.path().join("gate1.pem"), site.folder.path().join("keys/gate1.pem")).unwrap();
    let ours = format!("gate1._attachment-seal TXT \"{}\"\n", site.record);
    let old = |text: &str| format!("{ours}gate0._attachment-seal TXT \"{text}\"\n");
    let stands = old(&other_record());
    let zones = [Zone { name: "example.org", kind: Kind::Unsigned, lines: &stands }];
    let Some(mut knot) = Knot::start(&zones) else { return };
    let dns = format!("[dns]\nservers = [\"{}\"]\ntimeout = 3\n", knot.address);
    let config = Config::new(site.folder.path(), "gate.example.org")
        .listener("outbound", "seal", closed_port(), "")
        .and("[[domain]]\nname = \"example.org\"\nkeys = \"keys\"\n")
        .and(&format!("name_servers = [\"{}\"]\n{dns}", knot.address))
        .write();
    let public = |record: &str| KeyRecord::parse(record).unwrap().key.unwrap().to_base64url();
    let known = |revoked: bool, replaced: u64| {
        let keys = serde_json::json!([
            {"selector": "gate0", "public": public(&other_record()), "sealed": 1, "replaced": replaced, "revoked": revoked},
            {"selector": "gate1", "public": public(&site.record), "held": true, "delegated": true, "sealed": 2},
        ]);
        let text = serde_json::json!({"example.org": {"keys": keys}}).to_string();
        fs::write(site.folder.path().join("state/keys.json"), text).unwrap();
    };
    const OLD: &str = "gate0._attachment-seal.example.org.";
    known(true, 2);
    let findings = examine(&config);
    findings.assert("key-record", KEY, "ok", "the key on disk");
    let found = findings.assert("old-key", OLD, "problem", "not revoked");
    let record = format!("{OLD} IN TXT \"v=SEAL1; k=ed25519; p=\"");
    assert!(found["remedy"].as_str().unwrap().contains(&record), "{found}");
    known(false, 2);
    let findings = examine(&config);
    let found = findings.assert("old-key", OLD, "warning", "no mail needs it");
    assert!(found["remedy"].as_str().unwrap().contains(&format!("remove {OLD} from DNS")), "{found}");
    known(false, 7_226_582_400);
    examine(&config).assert("old-key", OLD, "ok", "until 2199-01-22");

    // Where the record is merely gone, those who remember the key believe it on.
    known(true, 2);
    knot.change("example.org", &ours);
    examine(&config).assert("old-key", OLD, "problem", "not revoked");
    knot.change("example.org", &old("v=SEAL1; k=ed25519; p="));
    examine(&config).assert("old-key", OLD, "ok", "is revoked");

    let made = ["keygen", "--domain", "example.org", "--selector", "gate2", "--config", word(&config)];
    assert_eq!(waxseal(&made).status, 0);
    let findings = examine(&config);
    let next = "gate2._attachment-seal.example.org.";
    let found = findings.assert("next-key", next, "warning", "not published everywhere");
    assert!(found["remedy"].as_str().unwrap().contains("publish the record of gate2"), "{found}");
    fs::write(site.folder.path().join("state/keys.json"), "{").unwrap();
    let findings = examine(&config);
    findings.assert("keys", "keys.json", "problem", "since when a key is published");
}
