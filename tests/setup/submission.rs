//! Users who log in at port 587, with Dovecot to ask who they are.

use std::fs;
use std::process::{Command, Output};

use crate::dovecot::Dovecot;
use crate::program::run::{Run, works};
use crate::program::{letter, waxseal, word};
use crate::site::{DESK, Site, stock};

const USER: &str = "dolma";
const PASSWORD: &str = "long and secret";

/// A site with users, and Dovecot, which must live as long.
fn site(main: &str) -> Option<(Site, Dovecot)> {
    let programs = [("swaks", works("swaks", &["--version"])), ("Dovecot", Dovecot::version().is_some())];
    if !crate::program::skip::are_there(&programs) {
        return None;
    }
    let dovecot = Dovecot::start(&[(USER, PASSWORD)], "plain login");
    // Dovecot's socket is outside of the queue's folder.
    let master =
        stock(true).replace("submission inet n       -       y", "submission inet n       -       n");
    let main = format!("smtpd_sasl_type = dovecot\nsmtpd_sasl_path = {}\n{main}", word(&dovecot.socket()));
    let site = Site::new(&master, &main)?;
    site.postfix.await_listening(site.at(587));
    Some((site, dovecot))
}

/// Sends a letter with two attachments by swaks.
fn submit(site: &Site, subject: &str, options: &[&str]) -> Output {
    let file = site.folder.path().join("letter.eml");
    fs::write(&file, letter::with_attachments(subject)).unwrap();
    Command::new("swaks")
        .args(["--server", &site.at(587).to_string(), "--ehlo", "laptop.example.org"])
        .args(["--from", "office@example.org", "--to", DESK, "--data", &format!("@{}", word(&file))])
        .args(options)
        .run()
}

const LOGIN: &[&str] = &["--auth", "PLAIN", "--auth-user", USER, "--auth-password", PASSWORD];

/// Asserts that a message as it arrived is sealed with the site's key, and unchanged since.
fn assert_sealed(site: &Site, arrived: &str) {
    let pins = site.folder.path().join("pins/example.org");
    fs::create_dir_all(&pins).unwrap();
    let key = site.folder.path().join("keys/example.org/gate1.pem");
    let record =
        waxseal(&["dns-record", "--key", word(&key), "--domain", "example.org", "--selector", "gate1"]);
    fs::write(pins.join("gate1.txt"), record.text()).unwrap();
    let file = site.folder.path().join("arrived.eml");
    fs::write(&file, arrived).unwrap();
    let verified = waxseal(&["verify", "--keys", word(pins.parent().unwrap()), "--no-dns", word(&file)]);
    assert_eq!(verified.status, 0, "{}\n{arrived}", verified.text());
}

#[test]
fn what_users_submit_is_sealed_before_the_queue() {
    let Some((site, _dovecot)) = site("") else { return };
    let before = site.master_text();
    let (ended, _gateway) = site.set_up(&["--domain", "example.org", "--selector", "gate1"]);
    assert!(!ended.text().contains("no submission service"), "{}", ended.text());
    // The services keep the chroot that they had, and the new one has that of the service that leads to it.
    let master = site.master_text();
    let chroot = |port: u16| {
        let name = format!("127.0.0.1:{port}");
        let entry = master.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        entry.filter(|entry| entry.first() == Some(&name.as_str())).map(|entry| entry[4]).collect::<Vec<_>>()
    };
    assert_eq!((chroot(site.port + 1), chroot(site.port + 2)), (vec!["n"], vec!["y"]), "{master}");

    let stranger = submit(&site, "not me", &[]);
    assert!(!stranger.status.success(), "{}", String::from_utf8_lossy(&stranger.stdout));
    let sent = submit(&site, "submitted", LOGIN);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stdout));
    assert_sealed(&site, &site.arrived("submitted"));
    assert!(site.postfix.is_idle() && !site.postfix.log().contains("fatal"), "{}", site.postfix.log());

    assert_eq!(site.run(&["--undo"]).status, 0);
    assert_eq!(site.master_text(), before);
}

#[test]
fn what_postfix_rewrites_is_rewritten_before_the_seal() {
    let checks = crate::program::folder();
    let table = checks.path().join("checks");
    fs::write(&table, "/^Subject: (.*) inside/ REPLACE Subject: $1 outside\n").unwrap();
    fs::set_permissions(&table, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let Some((site, _dovecot)) = site(&format!("header_checks = regexp:{}\n", word(&table))) else { return };
    let (ended, _gateway) =
        site.set_up(&["--mode", "seal", "--domain", "example.org", "--selector", "gate1"]);
    assert!(ended.text().contains("header_checks"), "{}", ended.text());
    let sent = submit(&site, "seen from inside", LOGIN);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stdout));
    assert_sealed(&site, &site.arrived("seen from outside"));
    assert!(site.postfix.is_idle());
}
