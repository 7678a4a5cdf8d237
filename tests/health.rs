//! `waxseal health`: the question of a container engine, which has no other program in the image to ask with.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod program;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::path::Path;
use std::thread;

use program::site::{RECIPIENT, SENDER, Site, plain};
use program::smtp::{Client, closed_port, free_port};
use program::{Ended, Gateway, wait_for, waxseal, word};
use rustix::process::Signal;

/// Asks about the gateway of a configuration.
fn health(config: &Path, arguments: &[&str]) -> Ended {
    waxseal(&[&["health", "--config", word(config)], arguments].concat())
}

fn assert_well(config: &Path, arguments: &[&str], word: &str) {
    let ended = health(config, arguments);
    assert_eq!((ended.status, ended.text(), ended.stderr.as_str()), (0, word, ""), "{arguments:?}");
}

fn assert_unwell(ended: &Ended, status: i32, why: &str) {
    assert_eq!((ended.status, ended.text()), (status, ""), "{ended:?}");
    assert!(ended.stderr.starts_with(&format!("waxseal: {why}")), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
}

fn started(site: &Site, listen: &str) -> Gateway {
    site.verifying("").and(&format!("[admin]\nlisten = [{listen}]")).start()
}

#[test]
fn a_gateway_is_alive_and_ready() {
    let site = Site::new();
    let gateway = started(&site, &format!("\"{}\"", free_port()));
    assert_well(&gateway.config, &[], "alive\n");
    assert_well(&gateway.config, &["--ready"], "ready\n");
    assert_well(&gateway.config, &["--ready", "--listener", "inbound"], "ready\n");
    let elsewhere = health(&gateway.config, &["--ready", "--listener", "elsewhere"]);
    assert_unwell(&elsewhere, 2, "the gateway has no listener `elsewhere`");
}

/// What restarts a gateway that is not alive would only end its sessions here.
#[test]
fn a_gateway_that_cannot_hold_mail_or_drains_is_alive() {
    let site = Site::new();
    let mut gateway = started(&site, &format!("\"{}\"", free_port()));
    let config = gateway.config.clone();
    let tmp = site.folder.path().join("state/quarantine/tmp");
    fs::remove_dir(&tmp).unwrap();
    let is_said = || (health(&config, &["--ready"]).status == 1).then_some(());
    assert!(wait_for(is_said).is_some());
    let not_ready = health(&config, &["--ready"]);
    assert_unwell(&not_ready, 1, "not ready: inbound: the quarantine cannot be used: ");
    assert_well(&config, &[], "alive\n");
    fs::create_dir(&tmp).unwrap();

    let mut busy = Client::hello(gateway.address("inbound"));
    assert!(busy.open(SENDER, RECIPIENT).starts_with("354"));
    gateway.signal(Signal::TERM);
    let drains = || health(&config, &["--ready"]).stderr.contains("not ready: draining").then_some(());
    assert!(wait_for(drains).is_some());
    assert_well(&config, &[], "alive\n");
    assert_eq!(busy.finish(&plain("under way")), "250 2.0.0 taken");
    assert_eq!(gateway.wait().code(), Some(0));
    assert_unwell(&health(&config, &[]), 1, "no answer at [admin] 127.0.0.1:");
}

/// The gateway goes on with the configuration before. A restart would end that.
#[test]
fn mistakes_elsewhere_in_the_configuration_do_not_make_it_ill() {
    let site = Site::new();
    let gateway = started(&site, &format!("\"{}\"", free_port()));
    let mistaken = fs::read_to_string(&gateway.config).unwrap() + "\n[policy]\nfail = \"shred\"\n[limits\n";
    fs::write(&gateway.config, mistaken).unwrap();
    assert_eq!(waxseal(&["check-config", "--config", word(&gateway.config)]).status, 1);
    assert_well(&gateway.config, &[], "alive\n");
}

#[test]
fn a_unix_socket_beside_the_configuration_and_a_second_address_will_do() {
    let site = Site::new();
    let gateway = started(&site, "\"unix:admin.sock\"");
    assert_well(&gateway.config, &["--ready"], "ready\n");
    let silent_first = format!("\n[admin]\nlisten = [\"{}\", \"unix:admin.sock\"]\n", closed_port());
    fs::write(&gateway.config, silent_first).unwrap();
    assert_well(&gateway.config, &[], "alive\n");
}

#[test]
fn without_an_address_it_tells_what_to_add() {
    let site = Site::new();
    for admin in ["", "[admin]\nlisten = []", "[admin]\nlisten = [\"127.0.0.1:0\"]"] {
        let config = site.verifying("").and(admin).write();
        let ended = health(&config, &[]);
        assert_unwell(&ended, 2, word(&config));
        assert!(ended.stderr.contains("add: [admin] listen = [\"127.0.0.1:9825\"]"), "{ended:?}");
    }
    let nowhere = health(&site.folder.path().join("nowhere.toml"), &[]);
    assert_eq!(nowhere.status, 2);
    assert!(nowhere.stderr.contains("nowhere.toml: cannot be read"), "{nowhere:?}");
    assert_eq!(health(&site.folder.path().join("nowhere.toml"), &["--listener", "inbound"]).status, 2);
}

#[test]
fn another_program_is_no_gateway() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    thread::spawn(move || {
        for client in other.incoming() {
            let mut client = client.unwrap();
            let _ = client.write_all(b"220 mail.example.org ESMTP\r\n");
            // A connection that is closed with octets unread is reset, and the greeting may be lost with it.
            let _ = client.shutdown(Shutdown::Write);
            let _ = client.read_to_end(&mut Vec::new());
        }
    });
    let site = Site::new();
    let config = site.verifying("").and(&format!("[admin]\nlisten = [\"{address}\"]")).write();
    assert_unwell(&health(&config, &[]), 1, "another program answers at [admin] ");
}
