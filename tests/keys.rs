//! Keys that are pinned, remembered, approved and forgotten, while the gateway runs. DNS is a table that each test fills, and
//! all that is asked of the commands is asked of the real program.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod program;
#[cfg(feature = "console")]
#[path = "console_http/visit.rs"]
mod visit;

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use attachment_seal::domain::{DomainName, Selector};
use attachment_seal::seal::key::KeyRecord;
use attachment_seal::seal::knowledge::Answer;
use attachment_seal::seal::policy_record::PolicyRecord;
use program::smtp::{Client, Server};
use program::{Config, Ended, Gateway, PATIENCE, letter, wait_for, waxseal, waxseal_reading, word};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use waxseal::config::{self, ListenAddress};
use waxseal::dns::lookup::LookupKey;
use waxseal::gateway::setup::Setup;
use waxseal::service::{Reloader, Service};

const SENDER: &str = "office@example.org";
const RECIPIENT: &str = "desk@partner.example";

/// DNS as a test wants it.
#[derive(Clone, Default)]
struct Dns(Arc<Mutex<HashMap<String, Answer<KeyRecord>>>>);

impl Dns {
    fn publish(&self, selector: &str, record: &str, secure: bool) {
        let records = vec![KeyRecord::parse(record).unwrap()];
        self.0.lock().unwrap().insert(selector.to_owned(), Answer::Found { records, secure });
    }

    fn withdraw(&self, selector: &str) {
        self.0.lock().unwrap().remove(selector);
    }
}

impl LookupKey for Dns {
    async fn lookup(&self, domain: &DomainName, selector: &Selector) -> Answer<KeyRecord> {
        let is_ours = domain.as_str() == "example.org";
        let found = self.0.lock().unwrap().get(selector.as_str()).cloned();
        found.filter(|_| is_ours).unwrap_or(Answer::NotFound { secure: false })
    }

    async fn lookup_policy(&self, _domain: &DomainName) -> Answer<PolicyRecord> {
        Answer::NotFound { secure: false }
    }
}

/// A site that verifies, and a correspondent who seals.
struct Site {
    folder: TempDir,
    dns: Dns,
    next_hop: Server,
    config: PathBuf,
    console: Option<std::net::SocketAddr>,
    running: Option<(std::net::SocketAddr, Reloader, watch::Sender<bool>, thread::JoinHandle<()>)>,
}

impl Site {
    fn new(more: &str) -> Self {
        let folder = program::folder();
        let next_hop = Server::taking_all();
        let config = Config::new(folder.path(), "mx.partner.example")
            .listener("inbound", "verify", next_hop.address, "clients = [\"127.0.0.0/8\"]")
            .and(more)
            .write();
        let mut site = Self { folder, dns: Dns::default(), next_hop, config, console: None, running: None };
        site.start();
        site
    }

    fn start(&mut self) {
        let (stop, stopped) = watch::channel(false);
        let (config, dns) = (self.config.clone(), self.dns.clone());
        let (tell, told) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let setup = config::load(&config).and_then(Setup::read).unwrap();
                let service = Service::bind(setup, Default::default(), dns).await.unwrap();
                let (_, ListenAddress::Tcp(address)) = service.addresses().remove(0) else { unreachable!() };
                let console = match service.console_addresses().as_slice() {
                    [ListenAddress::Tcp(console)] => Some(*console),
                    _ => None,
                };
                tell.send((address, service.reloader(), console)).unwrap();
                service.run(stopped).await;
            });
        });
        let (address, reloader, console) = told.recv_timeout(PATIENCE).unwrap();
        self.console = console;
        self.running = Some((address, reloader, stop, thread));
    }

    /// Ends the gateway in an orderly way, so that all is written.
    fn stop(&mut self) {
        let (_, _, stop, thread) = self.running.take().unwrap();
        stop.send_replace(true);
        wait_for(|| thread.is_finished().then_some(())).expect("the gateway ends");
        thread.join().unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a sealing key of example.org; its record.
    fn key(&self, name: &str) -> String {
        program::keygen(&self.path(name))
    }

    fn sealed(&self, key: &str, selector: &str, subject: &str) -> Vec<u8> {
        let file = self.path(key);
        let arguments = ["seal", "--key", word(&file), "--domain", "example.org", "--selector", selector];
        let sealed = waxseal_reading(&letter::with_attachments(subject), &arguments);
        assert_eq!(sealed.status, 0, "{sealed:?}");
        sealed.stdout
    }

    /// Has three messages delivered: they prove a habit.
    fn befriend(&self, key: &str, selector: &str) -> Value {
        for n in 1..=3 {
            assert_eq!(self.delivered(&self.sealed(key, selector, &format!("n {n}"))), "pass");
        }
        self.await_passes(3)
    }

    fn send(&self, message: &[u8]) -> String {
        let address = self.running.as_ref().unwrap().0;
        Client::hello(address).deliver(SENDER, RECIPIENT, message)
    }

    /// The verdict on a message that is delivered.
    fn delivered(&self, message: &[u8]) -> String {
        assert_eq!(self.send(message), "250 2.0.0 taken");
        let text = String::from_utf8(self.next_hop.received().pop().unwrap().message).unwrap();
        let (_, result) = text.split_once("x-attachment-seal=").unwrap();
        result.split([' ', '\r', ';']).next().unwrap().to_owned()
    }

    /// The verdict on a message that is held.
    fn held(&self, message: &[u8]) -> String {
        let reply = self.send(message);
        let id = reply.strip_prefix("250 2.0.0 accepted as ").unwrap_or_else(|| panic!("{reply}"));
        let shown = self.command(&["quarantine", "show", "--json", id]);
        shown.json()[0]["verdict"].as_str().unwrap().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Ended {
        waxseal(&[arguments, &["--config", word(&self.config)]].concat())
    }

    fn done(&self, arguments: &[&str]) -> Ended {
        let ended = self.command(arguments);
        assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "{arguments:?}");
        ended
    }

    /// Runs a command that needs no configuration.
    fn done_plainly(&self, arguments: &[&str]) -> Ended {
        let ended = waxseal(arguments);
        assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "{arguments:?}");
        ended
    }

    /// Runs a command line at a terminal, where somebody types this, and returns all that the terminal shows.
    fn at_terminal(&self, line: &str, typed: &str) -> String {
        let program = Path::new(env!("CARGO_BIN_EXE_waxseal"));
        let line = format!("{line} --config {}", word(&self.config));
        let mut script = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .env("PATH", [word(program.parent().unwrap()), "/usr/bin:/bin"].join(":"))
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        script.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        String::from_utf8(script.wait_with_output().unwrap().stdout).unwrap()
    }

    /// What is remembered of example.org, once `is_there` likes it: it is written a moment later than mail goes on.
    fn remembered(&self, is_there: impl Fn(&Value) -> bool) -> Value {
        let ask = || {
            let listed = self.done(&["keys", "list", "--json", "example.org"]).json();
            let memory = listed.first().map(|line| line["memory"].clone())?;
            (!memory.is_null() && is_there(&memory)).then_some(memory)
        };
        wait_for(ask).unwrap_or_else(|| panic!("{:?}", self.command(&["keys", "list"])))
    }

    /// Waits until so many messages of example.org passed.
    fn await_passes(&self, passes: u64) -> Value {
        self.remembered(|memory| memory["verdicts"]["pass"] == json!(passes))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some((_, _, stop, _)) = &self.running {
            stop.send_replace(true);
        }
    }
}

#[test]
fn a_domain_that_sealed_three_times_is_missed() {
    let admin = Server::taking_all();
    let alerts = format!("[alerts]\nto = \"postmaster@partner.example\"\nnext_hop = \"{}\"", admin.address);
    let mut site = Site::new(&alerts);
    site.dns.publish("gate1", &site.key("a.pem"), false);
    let unsealed = letter::plain(SENDER, "unsealed");
    assert_eq!(site.delivered(&unsealed), "none");
    let memory = site.befriend("a.pem", "gate1");
    assert_eq!(memory["seals"], json!(true));
    assert_eq!(memory["keys"][0]["state"], json!("accepted"));

    // Memory alone marks and alerts, and survives a restart.
    assert_eq!(site.delivered(&unsealed), "missing");
    admin.await_message("Subject: [waxseal] mail from example.org marked: missing");
    let text = String::from_utf8(site.next_hop.received().pop().unwrap().message).unwrap();
    assert!(text.contains("X-Attachment-Seal-Warning: missing;"), "{text}");
    site.stop();
    site.start();
    assert_eq!(site.delivered(&unsealed), "missing");

    site.done(&["keys", "unsealed", "example.org"]);
    assert_eq!(site.delivered(&unsealed), "none", "from the next message on");
    site.done(&["keys", "unsealed", "--undo", "example.org"]);
    assert_eq!(site.delivered(&unsealed), "missing");
    site.done(&["keys", "forget", "example.org"]);
    assert_eq!(site.delivered(&unsealed), "none");
}

#[test]
fn another_key_is_held_until_it_is_approved() {
    let site = Site::new("");
    site.dns.publish("gate1", &site.key("a.pem"), false);
    site.befriend("a.pem", "gate1");

    // Under the same selector or another, or under one that has no record: each is a way in for a forger.
    let other = site.key("b.pem");
    site.dns.publish("gate1", &other, false);
    assert_eq!(site.held(&site.sealed("b.pem", "gate1", "same selector")), "key-changed");
    site.dns.publish("gate2", &other, false);
    assert_eq!(site.held(&site.sealed("b.pem", "gate2", "another selector")), "key-changed");
    assert_eq!(site.held(&site.sealed("b.pem", "gate3", "no record")), "key-changed");

    let memory = site.remembered(|memory| memory["keys"].as_array().unwrap().len() == 2);
    let fingerprint_of = |state: &str| {
        let keys = memory["keys"].as_array().unwrap();
        let key = keys.iter().find(|key| key["state"] == json!(state)).unwrap();
        key["fingerprint"].as_str().unwrap()
    };
    let (fingerprint, wrong) = (fingerprint_of("offered"), fingerprint_of("accepted"));
    site.command(&["keys", "approve", "example.org", "--fingerprint", wrong])
        .assert_failed("no key of example.org");
    let approved = site.done(&["keys", "approve", "example.org", "--fingerprint", fingerprint]);
    assert!(approved.text().contains(fingerprint), "{approved:?}");
    assert_eq!(site.delivered(&site.sealed("b.pem", "gate1", "approved")), "pass");
    site.command(&["keys", "approve", "example.org"]).assert_failed("no key of example.org waits");
}

/// At the console a key is approved only by whoever has its fingerprint, which is compared by the gateway.
#[cfg(feature = "console")]
#[test]
fn at_the_console_a_key_is_approved_by_its_fingerprint() {
    use visit::{CONSOLE, PASSWORD, Visitor};
    let site = Site::new(CONSOLE);
    site.dns.publish("gate1", &site.key("a.pem"), false);
    site.befriend("a.pem", "gate1");
    site.dns.publish("gate1", &site.key("b.pem"), false);
    assert_eq!(site.held(&site.sealed("b.pem", "gate1", "another key")), "key-changed");
    site.remembered(|memory| memory["keys"].as_array().unwrap().len() == 2);
    let config = ["--config", word(&site.config)];
    let add = ["console", "user", "add", "root", "--role", "admin"];
    let added = waxseal_reading(format!("{PASSWORD}\n").as_bytes(), &[&add[..], &config].concat());
    assert_eq!(added.status, 0, "{added:?}");

    let fingerprint = |key: &str| {
        let printed = site.done_plainly(&["keys", "fingerprint", word(&site.path(key))]);
        let lines: Vec<String> = printed.text().lines().map(|line| line.trim().to_owned()).collect();
        (lines[1].clone(), lines[2].clone())
    };
    let ((digits, words), (other_digits, other_words)) = (fingerprint("b.pem"), fingerprint("a.pem"));
    let key = || {
        let memory = site.remembered(|_| true);
        let keys = memory["keys"].as_array().unwrap().clone();
        let offered = keys.iter().find(|key| key["fingerprint"] == json!(digits)).unwrap();
        (offered["key"].as_str().unwrap().to_owned(), offered["state"].as_str().unwrap().to_owned())
    };
    let (offered, _) = key();
    let mut root = Visitor::logged_in(site.console.unwrap(), "root");
    let (page, path) = ("/correspondents/example.org", "/correspondents/example.org/approve");
    let all_but_one = words.rsplit_once(' ').unwrap().0;
    for told in ["", digits[..30].trim(), &other_digits] {
        root.send_form(page, path, &[("key", &offered), ("digits", told)]);
        assert_eq!(key().1, "offered", "{told}");
    }
    for told in [all_but_one, &other_words] {
        let ticked: Vec<(&str, &str)> = told.split(' ').map(|word| ("word", word)).collect();
        root.send_form(page, path, &[&[("key", offered.as_str())], &ticked[..]].concat());
        assert_eq!(key().1, "offered", "{told}");
    }
    let ticked: Vec<(&str, &str)> = words.split(' ').map(|word| ("word", word)).collect();
    root.send_form(page, path, &[&[("key", offered.as_str())], &ticked[..]].concat());
    assert_eq!(key().1, "accepted");
    assert_eq!(site.delivered(&site.sealed("b.pem", "gate1", "approved")), "pass");
    let report = site.done(&["report", "--json"]).json().remove(0);
    let deed = &report["deeds"][0];
    assert_eq!((&deed["who"], &deed["what"]), (&json!("root"), &json!("key-approved")), "{report}");
    assert!(deed["detail"].as_str().unwrap().contains(&digits), "{deed}");
}

/// A message sealed with a key of its own, selector gate2, for which the key in this file vouches.
fn sealed_by_delegate(site: &Site, voucher: &str) -> Vec<u8> {
    let sender = program::folder();
    let path = |name: &str| sender.path().join(name);
    let key = ["keygen", "--domain", "example.org", "--selector", "gate2", "--out"];
    let made = waxseal(&[&key[..], &[word(&path("gate2.pem"))]].concat());
    std::fs::write(path("gate2.txt"), &made.stdout).unwrap();
    let (old, new, delegation) = (site.path(voucher), path("gate2.txt"), path("gate2.delegation"));
    let begin = ["root", "delegate", "--key", word(&old), "--days", "30"];
    let delegated = waxseal(&[&begin[..], &["--out", word(&delegation), word(&new)]].concat());
    assert_eq!(delegated.status, 0, "{delegated:?}");
    let relay = Server::taking_all();
    let gateway = Config::new(sender.path(), "mx.example.org")
        .listener("outbound", "seal", relay.address, "")
        .and(&format!(
            "[[domain]]\nname = \"example.org\"\nselector = \"gate2\"\nkey = \"gate2.pem\"\ndelegation = \"{}\"",
            delegation.display()
        ))
        .start();
    Client::hello(gateway.address("outbound")).deliver(
        SENDER,
        RECIPIENT,
        &letter::with_attachments("second"),
    );
    relay.await_message("Subject: second").message
}

#[test]
fn an_earlier_key_vouches_for_the_next() {
    let site = Site::new("");
    site.dns.publish("gate1", &site.key("a.pem"), false);
    site.delivered(&site.sealed("a.pem", "gate1", "first"));
    site.await_passes(1);

    // The correspondent's gateway has the next key, and the earlier key's word for it.
    let sealed = sealed_by_delegate(&site, "a.pem");
    let text = |site: &Site| String::from_utf8(site.next_hop.received().pop().unwrap().message).unwrap();
    assert_eq!(site.delivered(&sealed), "pass", "{}", text(&site));
    assert_eq!(site.await_passes(2)["keys"].as_array().unwrap().len(), 2);
}

#[test]
fn dnssec_proves_a_further_key() {
    let site = Site::new("");
    site.dns.publish("gate1", &site.key("a.pem"), false);
    site.delivered(&site.sealed("a.pem", "gate1", "first"));
    site.await_passes(1);
    site.dns.publish("gate2", &site.key("b.pem"), true);
    assert_eq!(site.delivered(&site.sealed("b.pem", "gate2", "second")), "pass");
    let memory = site.await_passes(2);
    assert_eq!(memory["keys"].as_array().unwrap().len(), 2);
}

/// Who examines stored mail with the gateway's configuration gets the gateway's verdict: by pins made by command and by what
/// it remembers. Looking changes nothing of that.
#[test]
fn stored_mail_is_judged_by_what_the_gateway_knows() {
    let mut site = Site::new("");
    site.dns.publish("gate1", &site.key("a.pem"), false);
    site.befriend("a.pem", "gate1");
    site.key("b.pem");
    let genuine = site.sealed("a.pem", "gate1", "genuine");
    let altered = letter::swapped(&String::from_utf8(genuine.clone()).unwrap());
    let unsealed = letter::plain(SENDER, "unsealed");
    let forged = site.sealed("b.pem", "gate1", "forged");
    let examine = |message: &[u8], more: &[&str]| {
        let ended = waxseal_reading(message, &[&["verify", "--json"], more].concat());
        let found = ended.json().pop().unwrap_or_else(|| panic!("{ended:?}"));
        ["verdict", "trust", "known"].map(|member| found[member].as_str().unwrap_or("null").to_owned())
    };
    let file = site.config.clone();
    let config = ["--config", word(&file)];
    let offline = ["--no-dns", "--config", word(&file)];
    let before = site.remembered(|_| true);
    for how in [&config[..], &offline] {
        assert_eq!(examine(&unsealed, how), ["missing", "null", "memory"]);
        // No DNS is asked here, as if the record were withdrawn: the key was the domain's in its time.
        assert_eq!(examine(&genuine, how), ["pass", "remembered", "memory"]);
        assert_eq!(examine(altered.as_bytes(), how), ["fail", "remembered", "memory"]);
        assert_eq!(examine(&forged, how), ["key-changed", "null", "memory"]);
    }
    // Without the configuration the verdict depends on nothing but the arguments.
    assert_eq!(examine(&unsealed, &["--no-dns"]), ["none", "null", "null"]);
    assert_eq!(examine(&genuine, &["--no-dns"]), ["unknown-key", "null", "null"]);

    std::fs::create_dir(site.path("mail")).unwrap();
    std::fs::write(site.path("mail/forged.eml"), &forged).unwrap();
    std::fs::write(site.path("mail/genuine.eml"), &genuine).unwrap();
    let scanned = site.command(&["scan", word(&site.path("mail"))]);
    assert_eq!(scanned.status, 1, "{scanned:?}");
    assert!(scanned.text().contains("2 messages: 1 key-changed, 1 pass"), "{}", scanned.text());
    assert_eq!(site.remembered(|_| true), before);

    let text = waxseal_reading(&unsealed, &[&["verify"], &config[..]].concat());
    assert!(text.text().contains("known to seal by memory"), "{}", text.text());
    site.done(&["keys", "unsealed", "example.org"]);
    assert_eq!(examine(&unsealed, &config), ["none", "null", "null"]);
    site.done(&["keys", "pin", "example.org", "--key", &site.key("c.pem")]);
    assert_eq!(examine(&genuine, &config), ["key-changed", "null", "pinned"]);

    // The gateway need not run; and what cannot be read is no reason to judge by less.
    site.stop();
    site.done(&["keys", "forget", "--pin", "example.org"]);
    assert_eq!(examine(&genuine, &config), ["pass", "remembered", "null"]);
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(site.path(&format!("state/memory.sqlite{suffix}")));
    }
    std::fs::write(site.path("state/memory.sqlite"), "no database, whatever else it may be").unwrap();
    let failed = waxseal_reading(&genuine, &[&["verify", "--json"], &config[..]].concat());
    failed.assert_failed("the database cannot be used");
    std::fs::write(site.path("state/pins.json"), "{").unwrap();
    waxseal_reading(&genuine, &[&["verify"], &config[..]].concat()).assert_failed("pins.json");
}

/// docs/SPEC.md §9.4: a revocation that DNSSEC proves lasts; one that anybody may have forged is obeyed while it is heard.
#[test]
fn a_proved_revocation_lasts_and_a_forged_one_does_not() {
    let site = Site::new("");
    let record = site.key("a.pem");
    site.dns.publish("gate1", &record, false);
    site.delivered(&site.sealed("a.pem", "gate1", "first"));
    site.await_passes(1);
    site.dns.publish("gate1", "v=SEAL1; p=; t=y", false);
    assert_eq!(site.held(&site.sealed("a.pem", "gate1", "forged")), "fail");
    site.dns.publish("gate1", &record, false);
    assert_eq!(site.delivered(&site.sealed("a.pem", "gate1", "no longer")), "pass");

    site.dns.publish("gate1", "v=SEAL1; p=; t=y", true);
    assert_eq!(site.held(&site.sealed("a.pem", "gate1", "revoked")), "fail");
    site.remembered(|memory| memory["keys"][0]["state"] == json!("revoked"));
    site.dns.publish("gate1", &record, false);
    assert_eq!(site.held(&site.sealed("a.pem", "gate1", "back again")), "key-changed");
    let refused = site.at_terminal("waxseal keys approve example.org", "n\n");
    assert!(refused.contains("Did the correspondent read") && refused.contains("not accepted"), "{refused}");
    assert_eq!(site.held(&site.sealed("a.pem", "gate1", "not approved")), "key-changed");
    let approved = site.at_terminal("waxseal keys approve example.org", "y\n");
    assert!(approved.contains("accepted the key of gate1"), "{approved}");
    assert_eq!(site.delivered(&site.sealed("a.pem", "gate1", "approved")), "pass");
}

#[test]
fn a_pin_counts_at_once_and_for_good() {
    let mut site = Site::new("");
    let record = site.key("a.pem");
    site.dns.publish("gate1", &record, false);
    let unsealed = letter::plain(SENDER, "unsealed");
    assert_eq!(site.delivered(&unsealed), "none");
    let pinned = site.done(&["keys", "pin", "example.org", "--key", &record]);
    assert_eq!(site.held(&unsealed), "missing");
    assert_eq!(site.delivered(&site.sealed("a.pem", "gate1", "pinned")), "pass");
    let digits = pinned.text().lines().nth(1).unwrap().trim().to_owned();
    let listed = site.done(&["keys", "list", "example.org"]);
    for line in [&format!("pinned by command: key: {digits}"), "a seal is expected: yes, it is pinned"] {
        assert!(listed.text().contains(line), "{}", listed.text());
    }

    // What DNS says, DNSSEC or not, is not believed.
    site.dns.publish("gate2", &site.key("b.pem"), true);
    assert_eq!(site.held(&site.sealed("b.pem", "gate2", "from DNS")), "key-changed");
    // A reload and a restart change nothing.
    site.running.as_ref().unwrap().1.reload(config::load(&site.config).and_then(Setup::read).unwrap());
    assert_eq!(site.held(&unsealed), "missing");
    site.stop();
    site.start();
    assert_eq!(site.held(&unsealed), "missing");

    site.done(&["keys", "forget", "--pin", "example.org"]);
    assert_ne!(site.delivered(&site.sealed("a.pem", "gate1", "unpinned")), "missing");
    site.command(&["keys", "forget", "--pin", "example.org"]).assert_failed("example.org is not pinned");
}

#[test]
fn a_fingerprint_told_by_telephone_is_enough() {
    for in_words in [false, true] {
        let site = Site::new("");
        site.dns.publish("gate1", &site.key("a.pem"), false);
        let printed = waxseal(&["keys", "fingerprint", word(&site.path("a.pem"))]);
        let told = printed.text().lines().nth(1 + usize::from(in_words)).unwrap().trim();
        site.done(&["keys", "pin", "example.org", "--fingerprint", told]);
        assert_eq!(site.delivered(&site.sealed("a.pem", "gate1", "told")), "pass");
        assert_eq!(site.held(&letter::plain(SENDER, "unsealed")), "missing");
        site.dns.publish("gate1", &site.key("b.pem"), true);
        assert_eq!(site.held(&site.sealed("b.pem", "gate1", "forged")), "key-changed");
        // Told of a key that was seen, its record is pinned besides, and DNS is not needed.
        site.done(&["keys", "pin", "example.org", "--fingerprint", told]);
        site.dns.withdraw("gate1");
        assert_eq!(site.delivered(&site.sealed("a.pem", "gate1", "no DNS")), "pass");
    }
}

#[test]
fn a_root_told_by_telephone_vouches_for_keys_that_no_dns_names() {
    let site = Site::new("");
    site.key("root.pem");
    let sealed = sealed_by_delegate(&site, "root.pem");
    assert_eq!(site.delivered(&sealed), "unknown-key");
    let printed = waxseal(&["keys", "fingerprint", word(&site.path("root.pem"))]);
    site.done(&[
        "keys",
        "pin",
        "example.org",
        "--fingerprint",
        printed.text().lines().nth(2).unwrap().trim(),
    ]);
    assert_eq!(site.delivered(&sealed), "pass");
    let text = String::from_utf8(site.next_hop.received().pop().unwrap().message).unwrap();
    assert!(text.contains("x-attachment-seal=pass"), "{text}");
    site.key("other.pem");
    assert_eq!(site.held(&sealed_by_delegate(&site, "other.pem")), "key-changed");
}

/// Of domains that are pinned there is memory as well; and what is written is there after a crash.
#[test]
fn memory_survives_a_kill() {
    let folder = program::folder();
    let record = program::keygen(&folder.path().join("a.pem"));
    let next_hop = Server::taking_all();
    let config = Config::new(folder.path(), "mx.partner.example")
        .listener("inbound", "verify", next_hop.address, "clients = [\"127.0.0.0/8\"]")
        .pinning(&record);
    let remembered = |gateway: &Gateway| {
        let listed = waxseal(&["keys", "list", "--json", "--config", word(&gateway.config)]).json();
        listed[0]["memory"]["verdicts"]["pass"].as_u64().unwrap_or_default()
    };
    for passed in 0..3 {
        let gateway = config.start();
        assert_eq!(remembered(&gateway), passed);
        let key = folder.path().join("a.pem");
        let seal = ["seal", "--key", word(&key), "--domain", "example.org", "--selector", "gate1"];
        let sealed = waxseal_reading(&letter::with_attachments("once more"), &seal).stdout;
        Client::hello(gateway.address("inbound")).deliver(SENDER, RECIPIENT, &sealed);
        assert!(wait_for(|| (remembered(&gateway) == passed + 1).then_some(())).is_some());
        // Killed as it is dropped.
    }
}

#[test]
fn mistakes_are_told() {
    let site = Site::new(
        "[[correspondent]]\ndomain = \"pinned.example\"\nkeys = [\"v=SEAL1; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"]",
    );
    let pin = |more: &[&str]| site.command(&[&["keys", "pin", "example.org"], more].concat());
    pin(&["--key", "v=SEAL1; p=AAAA"]).assert_failed("not an Ed25519 public key");
    pin(&["--key", "v=SEAL1; p="]).assert_failed("needs a selector");
    pin(&["--key", "no-such-file"]).assert_failed("no-such-file");
    let record = site.key("a.pem");
    std::fs::write(
        site.path("zone.txt"),
        format!("gate1._attachment-seal.example.net. IN TXT \"{record}\"\n"),
    )
    .unwrap();
    pin(&["--key", word(&site.path("zone.txt"))]).assert_failed("the record is example.net's");
    pin(&["--root", word(&site.path("zone.txt"))]).assert_failed("not only root keys");
    for wrong in [&["--fingerprint", "12345"][..], &[]] {
        let ended = pin(wrong);
        assert_eq!((ended.status, ended.stdout.len()), (2, 0), "{ended:?}");
    }
    site.command(&["keys", "forget", "example.org"]).assert_failed("nothing is remembered of example.org");
    site.command(&["keys", "forget", "--pin", "pinned.example"]).assert_failed("which stays");
    let listed = site.done(&["keys", "list", "--json"]).json();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(
        (&listed[0]["domain"], &listed[0]["pinned"][0]["by"]),
        (&json!("pinned.example"), &json!("configuration"))
    );
    assert_eq!(listed[0]["memory"], Value::Null);
}

/// Where memory cannot be opened when the gateway starts, it is as where it cannot be read: a forger's key may be the first that
/// comes. The administrator is told, and it mends itself.
#[test]
fn a_memory_that_cannot_be_opened_lets_no_forged_key_in() {
    let office = Server::taking_all();
    let alerts = format!("[alerts]\nto = \"postmaster@partner.example\"\nnext_hop = \"{}\"", office.address);
    let mut site = Site::new(&alerts);
    site.stop();
    let database = site.path("state/memory.sqlite");
    std::fs::remove_file(&database).unwrap();
    std::fs::create_dir(&database).unwrap();
    site.start();
    site.dns.publish("gate1", &site.key("a.pem"), false);
    let sealed = site.sealed("a.pem", "gate1", "first");
    let reply = site.send(&sealed);
    assert_eq!(reply, "451 4.7.0 the memory of example.org cannot be read now");
    assert_eq!(site.delivered(&letter::plain(SENDER, "unsealed")), "none");
    assert_eq!(site.command(&["keys", "list"]).status, 2);
    let told = || {
        office
            .received()
            .into_iter()
            .find(|mail| String::from_utf8_lossy(&mail.message).contains("memory cannot be used"))
    };
    assert!(wait_for(told).is_some());

    std::fs::remove_dir(&database).unwrap();
    let is_mended = || site.send(&sealed).starts_with("250").then_some(());
    assert!(wait_for(is_mended).is_some());
}

/// Where memory cannot be read while the gateway runs, a key that only an unsigned answer names may be a forger's: such mail is
/// put off. All other mail goes on.
#[test]
fn a_memory_that_cannot_be_read_lets_no_forged_key_in() {
    let site = Site::new("");
    site.dns.publish("gate1", &site.key("a.pem"), false);
    site.befriend("a.pem", "gate1");
    let database = rusqlite::Connection::open(site.path("state/memory.sqlite")).unwrap();
    database.execute_batch("ALTER TABLE key RENAME TO lost").unwrap();
    site.dns.publish("gate2", &site.key("b.pem"), false);
    for (key, selector) in [("b.pem", "gate2"), ("a.pem", "gate1"), ("b.pem", "gate3")] {
        let reply = site.send(&site.sealed(key, selector, "unsure"));
        assert_eq!(reply, "451 4.7.0 the memory of example.org cannot be read now");
    }
    assert_eq!(site.delivered(&letter::plain(SENDER, "unsealed")), "none");
    site.dns.publish("gate2", &site.key("c.pem"), true);
    assert_eq!(site.delivered(&site.sealed("c.pem", "gate2", "proved")), "pass");

    database.execute_batch("ALTER TABLE lost RENAME TO key").unwrap();
    assert_eq!(site.delivered(&site.sealed("a.pem", "gate1", "mended")), "pass");
}

/// A disk that is full for the memory is none for mail: nothing waits for what cannot be written.
#[test]
fn a_memory_that_cannot_grow_holds_no_mail_up() {
    let folder = program::folder();
    let key = folder.path().join("a.pem");
    let record = program::keygen(&key);
    let next_hop = Server::taking_all();
    let config = Config::new(folder.path(), "mx.partner.example")
        .listener("inbound", "verify", next_hop.address, "clients = [\"127.0.0.0/8\"]")
        .pinning(&record);
    drop(config.start());
    // Room for the database as it is, and for a few messages more.
    let gateway = config.start_with_file_limit(200);
    let arguments = ["seal", "--key", word(&key), "--domain", "example.org", "--selector", "gate1"];
    let sealed = waxseal_reading(&letter::plain(SENDER, "full"), &arguments).stdout;
    let is_full = || gateway.log().iter().any(|line| line.contains("memory cannot be written; mail goes on"));
    let deliver = || {
        let reply = Client::hello(gateway.address("inbound")).deliver(SENDER, RECIPIENT, &sealed);
        assert_eq!(reply, "250 2.0.0 taken");
        is_full().then_some(())
    };
    assert!(wait_for(deliver).is_some(), "{:#?}", gateway.log());
    assert!(deliver().is_some());
    let last = String::from_utf8(next_hop.received().pop().unwrap().message).unwrap();
    assert!(last.contains("x-attachment-seal=pass"), "{last}");
    assert!(!gateway.log().iter().any(|line| line.contains("memory cannot be read")), "{:#?}", gateway.log());
}

/// Another program that holds the database, be it for writing, keeps no mail waiting.
#[test]
fn a_locked_memory_holds_no_mail_up() {
    let mut site = Site::new("");
    site.dns.publish("gate1", &site.key("a.pem"), false);
    site.befriend("a.pem", "gate1");
    let database = rusqlite::Connection::open(site.path("state/memory.sqlite")).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(site.delivered(&site.sealed("a.pem", "gate1", "locked")), "pass");
    assert_eq!(site.delivered(&letter::plain(SENDER, "unsealed")), "missing");
    database.execute_batch("ROLLBACK").unwrap();
    site.stop();
    assert_eq!(site.await_passes(4)["verdicts"]["missing"], json!(1), "and is written down after all");
}

/// `mode = "observe"`: nothing is acted on, and the report says what would have been held, and why.
#[test]
fn a_report_says_what_would_have_been_held() {
    let mut site = Site::new("[policy]\nmode = \"observe\"\nmissing = \"reject\"\nunknown_key = \"defer\"\n");
    site.dns.publish("gate1", &site.key("a.pem"), false);
    assert_eq!(site.delivered(&site.sealed("a.pem", "gate9", "unknown")), "unknown-key");
    site.befriend("a.pem", "gate1");
    let swapped = letter::swapped(&String::from_utf8(site.sealed("a.pem", "gate1", "swapped")).unwrap());
    site.dns.publish("gate2", &site.key("b.pem"), false);
    for (message, verdict) in [
        (swapped.into_bytes(), "fail"),
        (site.sealed("b.pem", "gate2", "another key"), "key-changed"),
        (letter::plain(SENDER, "unsealed"), "missing"),
    ] {
        assert_eq!(site.delivered(&message), verdict);
        let text = String::from_utf8(site.next_hop.received().pop().unwrap().message).unwrap();
        assert!(!text.contains("X-Attachment-Seal-Warning"), "{text}");
    }
    site.stop();
    let report = site.done(&["report", "--json"]).json().remove(0);
    let messages = report["messages"].as_array().unwrap();
    let found: Vec<_> = messages
        .iter()
        .map(|message| ["verdict", "asked", "done"].map(|member| message[member].as_str().unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            ["unknown-key", "defer", "deliver"],
            ["fail", "quarantine", "deliver"],
            ["key-changed", "quarantine", "deliver"],
            ["missing", "reject", "deliver"],
        ]
    );
    let text = site.done(&["report"]);
    let title = "Would have been kept from their readers, had the policy been enforced: 4";
    assert!(text.text().contains(title) && text.text().contains("known by memory"), "{}", text.text());
    assert!(!text.text().contains("Kept from their readers"), "{}", text.text());
}

#[test]
fn a_report_says_what_was_held_and_why() {
    let mut site = Site::new("");
    let record = site.key("a.pem");
    site.done(&["keys", "pin", "example.org", "--key", &record]);
    let swapped = letter::swapped(&String::from_utf8(site.sealed("a.pem", "gate1", "swapped")).unwrap());
    assert_eq!(site.held(swapped.as_bytes()), "fail");
    assert_eq!(site.delivered(&site.sealed("a.pem", "gate1", "intact")), "pass");
    site.stop();
    let report = site.done(&["report", "--json"]).json().remove(0);
    let counts: Vec<_> = report["counts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|count| (&count["verdict"], &count["count"]))
        .collect();
    assert_eq!(counts, [(&json!("fail"), &json!(1)), (&json!("pass"), &json!(1))]);
    let message = &report["messages"][0];
    assert_eq!(report["messages"].as_array().unwrap().len(), 1);
    for (member, value) in [
        ("verdict", json!("fail")),
        ("reason", json!("attachments")),
        ("known", json!("pinned")),
        ("asked", json!("quarantine")),
        ("done", json!("quarantine")),
        ("from_domain", json!("example.org")),
        ("reverse_path", json!(SENDER)),
        ("recipients", json!(1)),
        ("message_id", json!("<swapped@example.org>")),
        ("attachments", json!(["altered Agenda.pdf"])),
    ] {
        assert_eq!(message[member], value, "{member}");
    }
    let text = site.done(&["report", "--days", "1"]);
    for words in ["2 messages were judged", "Kept from their readers: 1", "attachment altered Agenda.pdf"] {
        assert!(text.text().contains(words), "{}", text.text());
    }
}

#[test]
fn two_people_compare_one_message() {
    let site = Site::new("");
    site.key("a.pem");
    let sealed = String::from_utf8(site.sealed("a.pem", "gate1", "compared")).unwrap();
    let print = |name: &str, message: &str| {
        std::fs::write(site.path(name), message).unwrap();
        let ended = waxseal(&["keys", "fingerprint", "--message", word(&site.path(name))]);
        assert_eq!(ended.status, 0, "{ended:?}");
        let lines: Vec<String> = ended.text().lines().map(str::to_owned).collect();
        let at = lines.iter().position(|line| line.contains("2 attachments")).unwrap();
        (lines[at + 1].clone(), lines[at + 4].clone())
    };
    let sent = print("sent.eml", &letter::stripped(&sealed));
    assert_eq!(print("received.eml", &sealed), sent);
    assert_eq!(print("rewrapped.eml", &letter::rewrapped(&sealed)), sent);
    let listed = print("listed.eml", &letter::with_footer(&sealed));
    assert_eq!((listed.0 == sent.0, listed.1 == sent.1), (true, false));
    assert_ne!(print("swapped.eml", &letter::swapped(&sealed)).0, sent.0);
    assert_ne!(print("renamed.eml", &letter::renamed(&sealed)).0, sent.0);
}
