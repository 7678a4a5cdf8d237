//! The gateway and `verify` with real zones: what DNS says and does not say shows in results, and decides what is done.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use hickory_resolver::proto::op::Query;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::forger::{Forger, is_for, unsigned_txt};
use crate::program::smtp::{Client, Server};
use crate::program::{Config, Gateway, folder, letter, waxseal, waxseal_reading, word};
use crate::zone::{Kind, Knot, Zone};

/// Zones whose keys are ours to seal with.
struct Ground {
    folder: TempDir,
    knot: Knot,
}

impl Ground {
    fn new() -> Option<Self> {
        let folder = folder();
        let record = keygen(&folder, "sealing.pem");
        keygen(&folder, "stolen.pem");
        let lines = |policy: &str| {
            format!(
                "gate1._attachment-seal TXT \"{record}\"\nrevoked._attachment-seal TXT \"v=SEAL1; p=\"\n\
                 trial._attachment-seal TXT \"{record}; t=y\"\n_attachment-seal TXT \"v=SEAL1; p={policy}\"\n"
            )
        };
        let (strict, mild, silent) = (lines("reject"), lines("quarantine"), lines("none"));
        let knot = Knot::start(&[
            Zone { name: "signed.example", kind: Kind::Signed, lines: &strict },
            Zone { name: "unsigned.example", kind: Kind::Unsigned, lines: &mild },
            Zone { name: "silent.example", kind: Kind::Signed, lines: &silent },
            Zone { name: "bogus.example", kind: Kind::Bogus, lines: &strict },
        ])?;
        Some(Self { folder, knot })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A letter from an author of this domain, with attachments and no seal.
    fn letter(author: &str, subject: &str) -> Vec<u8> {
        let letter = String::from_utf8(letter::with_attachments(subject)).unwrap();
        letter.replace("office@example.org", &format!("office@{author}")).into_bytes()
    }

    /// The same, sealed by its author's domain with a key of ours.
    fn sealed(&self, author: &str, selector: &str, key: &str, subject: &str) -> Vec<u8> {
        let key = self.file(key);
        let arguments = ["seal", "--key", word(&key), "--domain", author, "--selector", selector];
        let ended = waxseal_reading(&Self::letter(author, subject), &arguments);
        assert_eq!(ended.status, 0, "{ended:?}");
        ended.stdout
    }

    fn dns(&self, server: SocketAddr, dnssec: &str) -> String {
        let anchors = self.knot.anchors();
        format!(
            "[dns]\nservers = [\"{server}\"]\ndnssec = \"{dnssec}\"\ntimeout = \"20s\"\ntrust_anchors = \"{}\"\n",
            anchors.display()
        )
    }

    /// A verifying gateway before `server`.
    fn verifying(&self, server: &Server, more: &str) -> Gateway {
        Config::new(self.folder.path(), "mx.partner.example")
            .listener("inbound", "verify", server.address, "")
            .and(&self.dns(self.knot.address, "prefer"))
            .and(more)
            .start()
    }

    /// What `verify --json` says, by these further lines of a configuration.
    fn verdict(&self, message: &[u8], more: &str) -> Value {
        let config = self.file("verify.toml");
        let listener = "hostname = \"mx.partner.example\"\n[[listener]]\nname = \"inbound\"\nmode = \"verify\"\n\
                        listen = [\"127.0.0.1:10025\"]\nnext_hop = \"127.0.0.1:10026\"\n";
        fs::write(&config, format!("{listener}{more}")).unwrap();
        let ended = waxseal_reading(message, &["verify", "--json", "--config", word(&config)]);
        ended.json().pop().unwrap_or_else(|| panic!("{ended:?}"))
    }
}

/// A new key, and its record.
fn keygen(folder: &TempDir, name: &str) -> String {
    let file = folder.path().join(name);
    let ended =
        waxseal(&["keygen", "--domain", "signed.example", "--selector", "gate1", "--out", word(&file)]);
    let line = ended.text().lines().find(|line| line.starts_with("gate1._attachment-seal.")).unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

fn swapped(message: Vec<u8>) -> Vec<u8> {
    letter::swapped(&String::from_utf8(message).unwrap()).into_bytes()
}

/// SPEC.md §9 and §10: a failed key lookup is `temperror` and defers; whether the answer was DNSSEC-secure is part of the
/// result; a policy that could not be had is told of, and what pins say stands.
#[test]
fn what_dns_says_decides_and_is_told() {
    let Some(ground) = Ground::new() else { return };
    let server = Server::taking_all();
    let gateway = ground.verifying(&server, "");
    let key = "sealing.pem";
    for (subject, message, reply, facts) in [
        (
            "secure",
            ground.sealed("signed.example", "gate1", key, "secure"),
            "250",
            r#"verdict="pass" trust="dnssec" known="policy" key_lookup="secure" policy_lookup="secure""#,
        ),
        (
            "insecure",
            ground.sealed("unsigned.example", "gate1", key, "insecure"),
            "250",
            r#"verdict="pass" trust="dns" known="policy" key_lookup="insecure" policy_lookup="insecure""#,
        ),
        (
            "forged",
            ground.sealed("bogus.example", "gate1", key, "forged"),
            "451 4.7.0",
            r#"verdict="temperror" reason="key-lookup-bogus" key_lookup="bogus" policy_lookup="bogus""#,
        ),
        (
            "revoked",
            ground.sealed("silent.example", "revoked", key, "revoked"),
            "250 2.0.0 accepted as",
            r#"verdict="fail" reason="revoked-key" key_lookup="secure" policy_lookup="secure""#,
        ),
        (
            "unknown",
            ground.sealed("silent.example", "nobody", key, "unknown"),
            "250",
            r#"verdict="unknown-key" key_lookup="secure" policy_lookup="secure""#,
        ),
        // Else changing `s` would be a way out (SPEC.md §8 step 4).
        (
            "changed",
            ground.sealed("signed.example", "nobody", key, "changed"),
            "250 2.0.0 accepted as",
            r#"verdict="key-changed" known="policy" key_lookup="secure" policy_lookup="secure""#,
        ),
        (
            "stolen",
            ground.sealed("signed.example", "gate1", "stolen.pem", "stolen"),
            "250 2.0.0 accepted as",
            r#"verdict="fail" reason="bad-signature" known="policy" key_lookup="secure" policy_lookup="secure""#,
        ),
        (
            "bare",
            Ground::letter("mail.signed.example", "bare"),
            "250 2.0.0 accepted as",
            r#"verdict="missing" known="policy" policy_lookup="secure""#,
        ),
        (
            "unasked",
            Ground::letter("silent.example", "unasked"),
            "250",
            r#"verdict="none" policy_lookup="secure""#,
        ),
        (
            "no policy to be had",
            Ground::letter("bogus.example", "no policy to be had"),
            "250",
            r#"verdict="none" reason="policy-lookup-bogus" policy_lookup="bogus""#,
        ),
        (
            "trial",
            swapped(ground.sealed("silent.example", "trial", key, "trial")),
            "250",
            r#"verdict="fail" reason="attachments" trust="dnssec" key_lookup="secure" policy_lookup="secure" published="none" trial=true action="deliver" withheld="quarantine""#,
        ),
    ] {
        let said = Client::hello(gateway.address("inbound")).deliver(
            "a@b.example",
            "desk@partner.example",
            &message,
        );
        assert!(said.starts_with(reply), "{subject}: {said}");
        let line = gateway.await_log(&format!("message_id=\"<{}@example.org>\"", subject.replace(' ', ".")));
        let found: String = line.split_once("verdict=").map(|(_, rest)| format!("verdict={rest}")).unwrap();
        let found = if subject == "trial" { found } else { found.replace(r#" published="reject""#, "") };
        assert!(found.starts_with(facts), "{subject}: {line}");
    }
    let told = server.await_message("no policy to be had").message;
    let told = String::from_utf8(told).unwrap();
    assert!(
        told.starts_with(
            "Authentication-Results: mx.partner.example; x-attachment-seal=none reason=\"policy-lookup-bogus\"\r\n"
        ),
        "{told}"
    );
}

/// SPEC.md §10: `published` means what the sealing domain's `p` asks; a `[[policy.for]]` comes first, and an observer only
/// looks on.
#[test]
fn the_sealing_domain_is_asked_where_the_site_wants_that() {
    let Some(ground) = Ground::new() else { return };
    let server = Server::taking_all();
    let gateway = ground.verifying(
        &server,
        "[policy]\nfail = \"published\"\nmissing = \"published\"\n\
         [[policy.for]]\nrecipients = [\"lab.partner.example\"]\nmode = \"observe\"\n\
         [[policy.for]]\ncorrespondents = [\"unsigned.example\"]\nrecipients = [\"sales.partner.example\"]\n\
         fail = \"mark\"\n",
    );
    let message =
        |author: &str, subject: &str| swapped(ground.sealed(author, "gate1", "sealing.pem", subject));
    for (author, recipient, reply, log) in [
        ("signed.example", "desk@partner.example", "550 5.7.1", r#"published="reject" action="reject""#),
        ("unsigned.example", "desk@partner.example", "250 2.0.0 accepted as", r#"action="quarantine""#),
        ("silent.example", "desk@partner.example", "250", r#"published="none" action="deliver""#),
        ("signed.example", "a@lab.partner.example", "250", r#"action="deliver" withheld="reject""#),
        ("unsigned.example", "a@sales.partner.example", "250", r#"action="mark""#),
        ("signed.example", "a@sales.partner.example", "550 5.7.1", r#"action="reject""#),
    ] {
        let subject = format!("{author} to {recipient}");
        let said = Client::hello(gateway.address("inbound")).deliver(
            "a@b.example",
            recipient,
            &message(author, &subject.replace('@', ".")),
        );
        assert!(said.starts_with(reply), "{subject}: {said}");
        let id = format!("<{}@", subject.replace(['@', ' '], "."));
        assert!(gateway.await_log(&id).contains(log), "{subject}: {}", gateway.await_log(&id));
    }
    // The observed one was delivered as it came, with our result and no warning.
    let observed = server.await_message("<signed.example.to.a.lab.partner.example@").message;
    let observed = String::from_utf8(observed).unwrap();
    assert!(observed.contains("x-attachment-seal=fail") && !observed.contains("X-Attachment-Seal-Warning"));
}

/// `verify` asks as the configuration says, tells what it heard, and with `--no-dns` asks nobody.
#[test]
fn verify_asks_as_the_gateway_would() {
    let Some(ground) = Ground::new() else { return };
    let message = ground.sealed("signed.example", "gate1", "sealing.pem", "stored");
    let dns = ground.dns(ground.knot.address, "prefer");
    let found = ground.verdict(&message, &dns);
    for (key, value) in [("verdict", "pass"), ("trust", "dnssec"), ("known", "policy")] {
        assert_eq!(found[key], value, "{found}");
    }
    let config = ground.file("verify.toml");
    let ended = waxseal_reading(&message, &["verify", "--json", "--no-dns", "--config", word(&config)]);
    let found = ended.json().remove(0);
    assert_eq!((&found["verdict"], &found["known"]), (&Value::from("unknown-key"), &Value::Null));
    let silence = ground.sealed("bogus.example", "gate1", "sealing.pem", "stored");
    let found = ground.verdict(&silence, &dns);
    assert_eq!((&found["verdict"], &found["reason"]), (&"temperror".into(), &"key-lookup-bogus".into()));
    let found = ground.verdict(&Ground::letter("bogus.example", "stored"), &dns);
    assert_eq!((&found["verdict"], &found["reason"]), (&"none".into(), &"policy-lookup-bogus".into()));
    ground.verdict(&message, &dns);
    let ended = waxseal_reading(&message, &["verify", "--config", word(&ground.file("none.toml"))]);
    ended.assert_failed("none.toml");
}

/// The forged answer that names the attacker's key, unsigned, makes no bad mail pass: not of a pinned domain, and not where
/// DNSSEC is asked for or required.
#[test]
fn a_forged_answer_makes_no_bad_mail_pass() {
    let Some(ground) = Ground::new() else { return };
    let stolen = ground.file("stolen.pem");
    let arguments =
        ["dns-record", "--key", word(&stolen), "--domain", "signed.example", "--selector", "gate1"];
    let forged = waxseal(&arguments).text().split('"').nth(1).unwrap().to_owned();
    let lie = move |query: &Query, mut answer: hickory_resolver::proto::op::Message| {
        for domain in ["signed.example", "unsigned.example"] {
            let name = format!("gate1._attachment-seal.{domain}.");
            if is_for(query, &name) {
                answer.answers = vec![unsigned_txt(&name, &forged)];
            }
        }
        Some(answer)
    };
    let forger = Forger::before(ground.knot.address, lie);
    let pinned = |domain: &str| {
        let ended = waxseal(&[
            "dns-record",
            "--key",
            word(&ground.file("sealing.pem")),
            "--domain",
            domain,
            "--selector",
            "gate1",
        ]);
        let record = ended.text().split('"').nth(1).unwrap().to_owned();
        format!("[[correspondent]]\ndomain = \"{domain}\"\nkeys = [\"{record}\"]\n")
    };
    let off = format!("[dns]\nservers = [\"{}\"]\n", forger.address);
    for (domain, configuration, verdict) in [
        ("signed.example", off.clone() + &pinned("signed.example"), "key-changed"),
        ("unsigned.example", off.clone() + &pinned("unsigned.example"), "key-changed"),
        ("signed.example", ground.dns(forger.address, "prefer"), "temperror"),
        ("signed.example", ground.dns(forger.address, "require"), "temperror"),
        ("unsigned.example", ground.dns(forger.address, "require"), "unknown-key"),
        // What the forgery is good for where nobody asks for proof: the reason for all of the above.
        ("signed.example", off, "pass"),
    ] {
        let message = ground.sealed(domain, "gate1", "stolen.pem", "forged");
        assert_eq!(ground.verdict(&message, &configuration)["verdict"], verdict, "{domain} {configuration}");
    }
}

/// SPEC.md §9.4: once an honest key is remembered, nothing unsigned displaces it, calls a trial, or revokes it for
/// longer than the lie is told.
#[test]
fn a_forged_answer_displaces_nothing_that_is_remembered() {
    let Some(ground) = Ground::new() else { return };
    let record = |key: &str| {
        let key = ground.file(key);
        let arguments =
            ["dns-record", "--key", word(&key), "--domain", "unsigned.example", "--selector", "gate1"];
        waxseal(&arguments).text().split('"').nth(1).unwrap().to_owned()
    };
    let lies: Vec<(String, String)> = [
        ("other", record("stolen.pem")),
        ("trial", record("stolen.pem") + "; t=y"),
        ("gone", "v=SEAL1; p=; t=y".to_owned()),
    ]
    .map(|(selector, text)| (format!("{selector}._attachment-seal.unsigned.example."), text))
    .into();
    let policy = "_attachment-seal.unsigned.example.";
    let lie = move |query: &Query, mut answer: hickory_resolver::proto::op::Message| {
        if let Some((name, text)) = lies.iter().find(|(name, _)| is_for(query, name)) {
            answer.answers = vec![unsigned_txt(name, text)];
            answer.metadata.response_code = hickory_resolver::proto::op::ResponseCode::NoError;
        }
        if is_for(query, policy) {
            answer.answers = vec![unsigned_txt(policy, "v=SEAL1; p=none")];
        }
        Some(answer)
    };
    let forger = Forger::before(ground.knot.address, lie);
    let server = Server::taking_all();
    let gateway = Config::new(ground.folder.path(), "mx.partner.example")
        .listener("inbound", "verify", server.address, "")
        .and(&ground.dns(forger.address, "prefer"))
        .and("[policy]\nfail = \"published\"\nkey_changed = \"published\"\n")
        .start();
    let deliver = |selector: &str, key: &str, subject: &str| {
        let message = ground.sealed("unsigned.example", selector, key, subject);
        Client::hello(gateway.address("inbound")).deliver("a@b.example", "desk@partner.example", &message);
        gateway.await_log(&format!("message_id=\"<{subject}@example.org>\""))
    };
    let honest = deliver("gate1", "sealing.pem", "first");
    assert!(honest.contains(r#"verdict="pass" trust="dns""#), "{honest}");
    let list = ["keys", "list", "--config", word(&gateway.config)];
    let is_remembered = || waxseal(&list).text().contains("unsigned.example").then_some(());
    assert!(crate::program::wait_for(is_remembered).is_some());
    for (selector, key, subject, told) in [
        ("other", "stolen.pem", "other", r#"verdict="key-changed""#),
        ("trial", "stolen.pem", "trial", r#"verdict="key-changed""#),
        ("gone", "sealing.pem", "gone", r#"verdict="fail" reason="revoked-key""#),
    ] {
        let line = deliver(selector, key, subject);
        assert!(line.contains(told) && line.contains(r#"action="quarantine""#), "{line}");
    }
    let again = deliver("gate1", "sealing.pem", "again");
    assert!(again.contains(r#"verdict="pass" trust="remembered""#), "{again}");
}

/// SIGHUP puts other name servers in force.
#[test]
fn a_reload_asks_other_servers() {
    let Some(ground) = Ground::new() else { return };
    let server = Server::taking_all();
    let config = |dns: &str| {
        Config::new(ground.folder.path(), "mx.partner.example")
            .listener("inbound", "verify", server.address, "")
            .and(dns)
    };
    let gateway = config("[dns]\nservers = []").start();
    let deliver = |subject: &str| {
        let message = ground.sealed("silent.example", "gate1", "sealing.pem", subject);
        Client::hello(gateway.address("inbound")).deliver("a@b.example", "desk@partner.example", &message);
        String::from_utf8(server.await_message(subject).message).unwrap()
    };
    assert!(deliver("before").contains("x-attachment-seal=unknown-key"));
    config(&ground.dns(ground.knot.address, "require")).write();
    gateway.signal(Signal::HUP);
    gateway.await_log("configuration reloaded");
    assert!(deliver("after").contains("x-attachment-seal=pass"));
}
