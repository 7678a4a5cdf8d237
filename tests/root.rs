//! A root key that never leaves its machine, and the short-lived keys that it vouches for.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod program;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use program::smtp::{Client, Server};
use program::{Config, Ended, Gateway, letter, waxseal, waxseal_in, word};
use rustix::process::Signal;
use tempfile::TempDir;

/// The offline machine, the sealing site and the folder in which a correspondent pinned nothing but the root.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { folder: program::folder() };
        let root = desk.run(&["root", "new", "--domain", "example.org"]);
        assert_eq!((root.status, root.stderr.as_str()), (0, ""));
        fs::create_dir_all(desk.path("pins/example.org")).unwrap();
        // What it prints is what a correspondent pins.
        fs::write(desk.path("pins/example.org/root.txt"), &root.stdout).unwrap();
        let key = desk.run(&["keygen", "--domain", "example.org", "--selector", "gate1"]);
        fs::write(desk.path("gate1.txt"), &key.stdout).unwrap();
        fs::create_dir(desk.path("delegations")).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        waxseal_in(self.folder.path(), arguments)
    }

    fn delegate(&self, days: &str, out: &str, more: &[&str]) -> Ended {
        let begin = ["root", "delegate", "--key", "example.org.root.pem", "--days", days, "--out", out];
        self.run(&[&begin[..], more, &["gate1.txt"]].concat())
    }

    fn gateway(&self, next_hop: &Server, delegation: &str) -> Gateway {
        Config::new(self.folder.path(), "mx.example.org")
            .listener("outbound", "seal", next_hop.address, "")
            .sealing_with(&self.path("gate1.pem"))
            .and(&format!("delegation = \"{delegation}\""))
            .start()
    }

    fn verdict(&self, message: &[u8]) -> (String, String) {
        fs::write(self.path("x.eml"), message).unwrap();
        let found = self.run(&["verify", "--keys", "pins", "--json", "x.eml"]).json().remove(0);
        let word = |member: &str| found[member].as_str().unwrap_or("null").to_owned();
        (word("verdict"), word("trust"))
    }
}

fn send(gateway: &Gateway, subject: &str) -> String {
    let message = letter::with_attachments(subject);
    Client::hello(gateway.address("outbound")).deliver("office@example.org", "desk@partner.example", &message)
}

#[test]
fn whoever_pinned_the_root_needs_no_dns() {
    let desk = Desk::new();
    assert_eq!(fs::metadata(desk.path("example.org.root.pem")).unwrap().mode() & 0o777, 0o600);
    let delegated = desk.delegate("30", "delegations/1.delegation", &[]);
    assert_eq!((delegated.status, delegated.stderr.as_str()), (0, ""));
    let next_hop = Server::taking_all();
    let gateway = desk.gateway(&next_hop, "delegations/1.delegation");
    assert_eq!(send(&gateway, "delegated"), "250 2.0.0 taken");
    let sealed = next_hop.await_message("Subject: delegated");
    assert_eq!(desk.verdict(&sealed.message), ("pass".to_owned(), "root".to_owned()));

    let fingerprints = desk.run(&["keys", "fingerprint", "delegations/1.delegation", "gate1.txt"]);
    assert_eq!(fingerprints.status, 0, "{fingerprints:?}");
    for line in delegated.text().lines().skip(1) {
        let digits = line.split_once(':').unwrap().1.trim();
        assert!(fingerprints.text().contains(digits), "{} {digits}", fingerprints.text());
    }
}

#[test]
fn nothing_is_sealed_that_nobody_could_check() {
    let desk = Desk::new();
    assert_eq!(desk.delegate("1", "delegations/old.delegation", &["--from", "2020-01-01"]).status, 0);
    let next_hop = Server::taking_all();
    let gateway = desk.gateway(&next_hop, "delegations");
    gateway.await_log("no delegation of gate1 for example.org is valid now");
    assert!(send(&gateway, "too late").starts_with("451 4.3.0 "));
    assert!(next_hop.received().is_empty());

    // The newest that holds is found at the next reload, the old one lying where it was.
    assert_eq!(desk.delegate("30", "delegations/new.delegation", &[]).status, 0);
    gateway.signal(Signal::HUP);
    gateway.await_log("configuration reloaded");
    assert_eq!(send(&gateway, "in time"), "250 2.0.0 taken");
    let sealed = next_hop.await_message("Subject: in time");
    assert_eq!(desk.verdict(&sealed.message), ("pass".to_owned(), "root".to_owned()));
}

#[test]
fn a_seal_never_outlives_its_delegation() {
    let desk = Desk::new();
    assert_eq!(desk.delegate("1", "delegations/short.delegation", &[]).status, 0);
    let next_hop = Server::taking_all();
    // The default lifetime of a seal is 14 days.
    assert_eq!(send(&desk.gateway(&next_hop, "delegations"), "short"), "250 2.0.0 taken");
    let sealed = next_hop.await_message("Subject: short");
    assert_eq!(desk.verdict(&sealed.message).0, "pass");
}

#[test]
fn an_end_in_sight_is_said() {
    let desk = Desk::new();
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let start = today.checked_sub(jiff::ToSpan::days(20)).unwrap().to_string();
    assert_eq!(desk.delegate("25", "delegations/x.delegation", &["--from", &start]).status, 0);
    let (next_hop, admin) = (Server::taking_all(), Server::taking_all());
    let alerts = format!(
        "delegation = \"delegations\"\n[alerts]\nto = \"a@example.org\"\nnext_hop = \"{}\"",
        admin.address
    );
    let gateway = Config::new(desk.folder.path(), "mx.example.org")
        .listener("outbound", "seal", next_hop.address, "")
        .sealing_with(&desk.path("gate1.pem"))
        .and(&alerts)
        .start();
    gateway.await_log("the delegation of gate1 for example.org ends");
    admin.await_message("Subject: [waxseal] the delegation of example.org (gate1) ends soon");
}

#[test]
fn what_cannot_be_right_is_refused() {
    let desk = Desk::new();
    desk.delegate("0", "x", &[]).status.checked_sub(2).unwrap();
    desk.delegate("30", "x", &["--domain", "example.net"]).assert_failed("it is for example.org");
    assert_eq!(desk.delegate("30", "x.delegation", &[]).status, 0);
    desk.delegate("30", "x.delegation", &[]).assert_failed("exists");
    desk.run(&["root", "new", "--domain", "example.org"]).assert_failed("exists already");

    // A statement for another key, and one that was changed.
    let other = desk.run(&["keygen", "--domain", "example.org", "--selector", "gate1", "--out", "other.pem"]);
    fs::write(desk.path("gate1.txt"), &other.stdout).unwrap();
    assert_eq!(desk.delegate("30", "other.delegation", &[]).status, 0);
    let text = fs::read_to_string(desk.path("x.delegation")).unwrap();
    let statement = text.lines().last().unwrap();
    let parts: Vec<&str> = statement.split('.').collect();
    let longer = [parts[0], parts[1], "2000000000", parts[3], parts[4]].join(".");
    fs::write(desk.path("longer.delegation"), longer).unwrap();
    for (file, why) in [
        ("other.delegation", "the delegation is for another key"),
        ("longer.delegation", "the signature is not for example.org and gate1, or is damaged"),
        ("delegations", "holds no delegation"),
    ] {
        let config = Config::new(desk.folder.path(), "mx.example.org")
            .listener("outbound", "seal", program::smtp::closed_port(), "")
            .sealing_with(&desk.path("gate1.pem"))
            .and(&format!("delegation = \"{file}\""))
            .write();
        let check = waxseal(&["check-config", "--config", word(&config)]);
        assert_eq!(check.status, 1);
        assert!(check.stderr.contains(why), "{}", check.stderr);
    }
}
