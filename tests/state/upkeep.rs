//! `waxseal state`, and a database that is damaged under a gateway: what commands, log, readiness, metrics and alerts tell of it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use waxseal::store::State;

use crate::contract::hold;
use crate::program::site::{RECIPIENT, SENDER, Site};
use crate::program::smtp::{Client, Server};
use crate::program::{Config, Ended, Gateway, wait_for, waxseal, word};

fn state(config: &Path, arguments: &[&str]) -> Ended {
    waxseal(&[&["state"], arguments, &["--config", word(config)]].concat())
}

fn hold_at(site: &Site, gateway: &Gateway, subject: &str) -> String {
    let reply = Client::hello(gateway.address("inbound")).deliver(SENDER, RECIPIENT, &site.swapped(subject));
    reply.strip_prefix("250 2.0.0 accepted as ").unwrap_or_else(|| panic!("{reply}")).to_owned()
}

/// What an address of `[admin]` answers.
fn ask(admin: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The finding of one check.
fn finding(ended: &Ended, check: &str) -> (String, String) {
    let findings = ended.json();
    let found = findings.iter().find(|finding| finding["check"] == check);
    let found = found.unwrap_or_else(|| panic!("no {check}: {findings:?}"));
    (found["state"].as_str().unwrap().to_owned(), found["detail"].as_str().unwrap().to_owned())
}

#[test]
fn a_site_is_backed_up_and_restored_by_command() {
    let site = Site::new();
    let gateway = site.verifying("").start();
    let config = gateway.config.clone();
    let held = hold_at(&site, &gateway, "held");
    let file = site.folder.path().join("backup.tar");
    let checked = state(&config, &["check", "--json"]);
    assert_eq!(checked.status, 0, "{checked:?}");
    for (check, detail) in [
        ("memory", "sound"),
        ("quarantine", "1 message held"),
        ("outbox", "letters to be sent"),
        ("pins", "no pins"),
    ] {
        let (state, found) = finding(&checked, check);
        assert!(state == "ok" && found.contains(detail), "{check}: {state}: {found}");
    }
    let written = state(&config, &["backup", word(&file)]);
    assert_eq!(written.status, 0, "{written:?}");
    assert!(written.text().contains("1 message held"), "{written:?}");
    state(&config, &["backup", word(&file)]).assert_failed("File exists");
    state(&config, &["restore", word(&file)]).assert_failed("a gateway uses");
    drop(gateway);
    state(&config, &["restore", word(&file)]).assert_failed("is not empty");

    let other = site.folder.path().join("other");
    fs::create_dir(&other).unwrap();
    let next = Config::new(&other, "mx.partner.example")
        .listener("inbound", "verify", site.next_hop.address, "")
        .pinning(&site.record);
    let restored = next.write();
    let ended = state(&restored, &["restore", word(&file)]);
    assert_eq!(ended.status, 0, "{ended:?}");
    let next = next.start();
    assert_eq!(next.held()[0]["id"], held.as_str());
    drop(next);

    // On to another place.
    let third = site.folder.path().join("third");
    fs::create_dir(&third).unwrap();
    let third = Config::new(&third, "mx.partner.example")
        .listener("inbound", "verify", site.next_hop.address, "")
        .pinning(&site.record);
    let to = third.write();
    let moved = state(&restored, &["move", "--to", word(&to)]);
    assert_eq!(moved.status, 0, "{moved:?}");
    assert_eq!(third.start().held()[0]["id"], held.as_str());
    let refused = waxseal(&["run", "--config", word(&restored)]);
    assert!(refused.status == 2 && refused.stderr.contains("the state was moved to"), "{refused:?}");
}

#[test]
fn what_is_wrong_with_a_state_is_found() {
    let site = Site::new();
    let gateway = site.verifying("").start();
    let config = gateway.config.clone();
    let folder = site.folder.path().join("state");
    let held = hold_at(&site, &gateway, "held");
    fs::remove_file(folder.join("quarantine").join(&held).join("message.eml")).unwrap();
    let (found, detail) = finding(&state(&config, &["check", "--json"]), "quarantine");
    assert!(found == "warning" && detail.contains("the octets of"), "{found}: {detail}");
    fs::remove_dir_all(folder.join("quarantine").join(&held)).unwrap();
    let other = tempfile::tempdir().unwrap();
    let stray = hold(&State::open_to_serve(&other.path().into()).unwrap(), "2026-11-23T06:11:12Z", b"x");
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(other.path().join("quarantine").join(stray.as_str()))
        .arg(folder.join("quarantine"))
        .status();
    assert!(copied.unwrap().success());
    drop(gateway);
    // The gateway brings both together.
    let gateway = site.verifying("").start();
    gateway.await_log("the folder of a held message is gone");
    gateway.await_log("a held message was unknown to the database");
    let checked = state(&config, &["check"]);
    assert_eq!(checked.status, 0, "{checked:?}");
    assert_eq!(gateway.held()[0]["id"], stray.as_str());
    drop(gateway);
    fs::write(folder.join("memory.sqlite"), "no database, whatever its name").unwrap();
    let checked = state(&config, &["check", "--json"]);
    assert_eq!(checked.status, 1, "{checked:?}");
    assert_eq!(finding(&checked, "memory").0, "problem");
}

/// A page of the database is overwritten while a gateway runs.
#[test]
fn damage_is_told_within_seconds() {
    let (site, office) = (Site::new(), Server::taking_all());
    let gateway = site
        .verifying("")
        .and("[admin]\nlisten = [\"127.0.0.1:0\"]\n")
        .and(&format!("[alerts]\nto = \"postmaster@partner.example\"\nnext_hop = \"{}\"", office.address))
        .start();
    let held = hold_at(&site, &gateway, "held");
    crate::rows::damage(&site.folder.path().join("state"));
    gateway.await_log("the database was damaged and put aside");
    let told = || {
        let mails =
            office.received().into_iter().map(|mail| String::from_utf8_lossy(&mail.message).into_owned());
        mails.filter(|mail| mail.contains("the database was damaged")).last()
    };
    assert!(wait_for(told).is_some(), "no alert");
    let admin = gateway.await_log(" metrics and health address=").rsplit_once('=').unwrap().1.to_owned();
    assert!(ask(&admin, "/metrics").contains("\nwaxseal_database_repairs_total 1\n"));
    assert!(ask(&admin, "/ready").starts_with("HTTP/1.1 200"));
    assert_eq!(gateway.held()[0]["id"], held.as_str());
    hold_at(&site, &gateway, "held after");
}
