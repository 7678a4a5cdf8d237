//! Probes: sent by the sealing gateway, and what arrives compared with what was sent.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::program::smtp::{Received, Server, free_port};
use crate::program::{Config, Gateway, folder, keygen, waxseal, word};
use crate::{Findings, run};

/// A sealing gateway, and where its mail ends up.
struct Site {
    folder: TempDir,
    gateway: Gateway,
    outside: Server,
}

impl Site {
    fn new() -> Self {
        let folder = folder();
        fs::create_dir(folder.path().join("state")).unwrap();
        keygen(&folder.path().join("gate1.pem"));
        let outside = Server::taking_all();
        let port = free_port().to_string();
        let gateway = Config::new(folder.path(), "gate.example.org")
            .listener_at("outbound", "seal", &port, outside.address, "")
            .sealing_with(&folder.path().join("gate1.pem"))
            .start();
        Self { folder, gateway, outside }
    }

    fn probe(&self) -> Received {
        let sent = run(&self.gateway.config, &["--probe", "admin@example.net"]);
        sent.assert("probe", "admin@example.net", "ok", "outbound took it from postmaster@example.org");
        sent.assert("probe", "admin@example.net", "not-checked", "what becomes of it");
        self.outside.await_message("waxseal probe")
    }

    fn arrived(&self, message: &[u8]) -> Findings {
        let file = self.file(message);
        run(&self.gateway.config, &["--arrived", word(&file)])
    }

    fn file(&self, message: &[u8]) -> PathBuf {
        let file = self.folder.path().join("arrived.eml");
        fs::write(&file, message).unwrap();
        file
    }
}

#[test]
fn a_probe_shows_who_changes_what() {
    let site = Site::new();
    let received = site.probe();
    assert_eq!(
        (received.from.as_str(), received.to.as_str()),
        ("postmaster@example.org", "admin@example.net")
    );
    let message = String::from_utf8(received.message).unwrap();

    let intact = site.arrived(message.as_bytes());
    intact.assert("probe", "", "ok", "octet for octet");
    assert!(intact.all.iter().all(|finding| finding["state"] == "ok"), "{}", intact.shown());
    // As a Maildir holds it, and an mbox.
    let stored = message.replace("\r\n", "\n");
    site.arrived(stored.as_bytes()).assert("probe", "", "ok", "octet for octet");
    let quoted = format!("From x Mon Nov 23 09:00:00 2026\n{}", stored.replace("\nFrom ", "\n>From "));
    let from_mbox = site.arrived(quoted.as_bytes());
    assert_eq!(from_mbox.status, 0, "{}", from_mbox.shown());

    let without_seal = {
        let end = message.find("From:\r\n").unwrap();
        message[end..].to_owned()
    };
    let long = message.find("lang;").unwrap();
    let broken = format!("{}\r\n {}", &message[..long + 500], &message[long + 500..]);
    let document = message.find("JVBER").unwrap();
    let swapped = format!("{}AAAA{}", &message[..document + 400], &message[document + 404..]);
    let calendar = message.find("Content-Type: text/calendar").unwrap();
    for (what, arrived, status, says) in [
        ("stripped", without_seal, 1, "without a seal"),
        (
            "another author",
            message.replace("<postmaster@example.org>", "<list@example.net>"),
            1,
            "field from arrived as",
        ),
        (
            "another date",
            message.replace("\r\nDate: ", "\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nX-Old: "),
            1,
            "field date",
        ),
        (
            "a subject tag",
            message.replace("Subject: waxseal", "Subject: [spam] waxseal"),
            0,
            "field subject arrived as",
        ),
        (
            "a footer",
            message.replace("\r\n-- \r\nwaxseal\r\n", "\r\n-- \r\nwaxseal\r\nour disclaimer\r\n"),
            0,
            "added after it: our disclaimer",
        ),
        ("blanks cut", message.replace("800 €  \r\n", "800 €\r\n"), 1, "blanks at line ends"),
        ("lines broken", broken, 1, "broken anew"),
        ("a quoted line", message.replace("\r\nFrom Zürich", "\r\n>From Zürich"), 0, "octet for octet"),
        ("another document", swapped, 1, "virus filter"),
        ("renamed", message.replace("\"narrow.bin\"", "\"narrow.exe\""), 1, "`narrow.bin` is renamed"),
        (
            "added",
            format!(
                "{}Content-Type: application/x-msdownload\r\nContent-Disposition: attachment; filename=\"x.exe\"\r\n\r\nMZ\r\n--{}",
                &message[..calendar],
                {
                    let boundary = message.find("boundary=\"=_m_").unwrap() + 10;
                    let end = boundary + message[boundary..].find('"').unwrap();
                    format!("{}\r\n{}", &message[boundary..end], &message[calendar..])
                }
            ),
            1,
            "`x.exe` is added",
        ),
        ("a forged seal", message.replacen("; hi=", "; x-y=1; hi=", 1), 1, "bad"),
    ] {
        let findings = site.arrived(arrived.as_bytes());
        let shown = findings.shown();
        if what != "a forged seal" {
            assert!(shown.contains(says), "{what}: {shown}");
        }
        assert_eq!(findings.status, status, "{what}: {shown}");
        let is_said = findings.all.iter().filter(|finding| finding["state"] == "problem");
        assert!(is_said.clone().all(|finding| finding["remedy"].is_string()), "{what}: {shown}");
    }
}

/// What cannot be sent or compared ends with 2 and one line.
#[test]
fn what_is_no_probe_is_not_compared() {
    let site = Site::new();
    let doctor =
        |more: &[&str]| waxseal(&[&["doctor", "--config", word(&site.gateway.config)], more].concat());
    doctor(&["--probe", "nobody"]).assert_failed("no mail address");
    doctor(&["--probe", "a@example.net", "--from", "a@example.net"])
        .assert_failed("no address of a sealing domain");
    doctor(&["--probe", "a@example.net>\r\nRCPT TO:<b@example.net"]).assert_failed("no mail address");
    doctor(&["--probe", "a@example.net", "--listener", "other"]).assert_failed("no listener `other`");
    assert!(site.outside.received().is_empty());
    doctor(&["--arrived", "/nonexistent"]).assert_failed("No such file");
    doctor(&["--arrived", word(&site.file(b"Subject: x\r\n\r\nhello\r\n"))])
        .assert_failed("no `waxseal-probe-");
    let unknown = b"Subject: waxseal probe 20261123T000000-000000\r\n\r\nhello\r\n";
    doctor(&["--arrived", word(&site.file(unknown))]).assert_failed("was not sent from here");
    // Where the way begins, the id leads to no other file.
    let outside = b"Subject: waxseal probe ../../../../etc/passwd1\r\n\r\nhello\r\n";
    doctor(&["--arrived", word(&site.file(outside))]).assert_failed("no `waxseal-probe-");
}

/// The gateway's next hop says no, and so does the doctor; without a gateway there is no probe.
#[test]
fn a_probe_that_is_refused_is_a_problem() {
    let folder = folder();
    fs::create_dir(folder.path().join("state")).unwrap();
    keygen(&folder.path().join("gate1.pem"));
    let outside = Server::start(|_| "554 5.7.1 not today".to_owned());
    let port = free_port().to_string();
    let config = Config::new(folder.path(), "gate.example.org")
        .listener_at("outbound", "seal", &port, outside.address, "")
        .sealing_with(&folder.path().join("gate1.pem"));
    let gateway = config.start();
    run(&gateway.config, &["--probe", "a@example.net"]).assert("probe", "", "problem", "not today");
    let path = gateway.config.clone();
    drop(gateway);
    waxseal(&["doctor", "--config", word(&path), "--probe", "a@example.net"])
        .assert_failed("does not answer");
}
