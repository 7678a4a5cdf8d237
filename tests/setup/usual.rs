//! Debian's Postfix as it is installed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::program::smtp::Client;
use crate::program::{letter, wait_for};
use crate::site::{DESK, SERVICE, Site, stock};

const DOMAIN: &[&str] = &["--mode", "both", "--domain", "example.org", "--selector", "gate1"];

/// Sends a message to port 25, and gives the answer to its end.
fn send(site: &Site, message: &[u8]) -> String {
    Client::hello(site.at(25)).deliver("someone@example.net", DESK, message)
}

#[test]
fn a_stock_postfix_seals_and_checks_and_is_put_back() {
    let Some(site) = Site::to_the_letter() else { return };
    let before = site.master_text();
    let (ended, _gateway) = site.set_up(DOMAIN);
    let text = ended.text();
    for said in [
        "gate1._attachment-seal.example.org. IN TXT \"v=SEAL1; k=ed25519; p=",
        "Fingerprint of its key:",
        "keys pin example.org --fingerprint",
        "no submission service",
        "problems: ",
        "ok: probe",
        "The gateway's verdict: unknown-key (",
        "setup --undo",
    ] {
        assert!(text.contains(said), "no `{said}`: {text}\n{}", ended.stderr);
    }
    let key = site.folder.path().join("keys/example.org/gate1.pem");
    // The service's user can read both, and nobody else.
    let rights = |path: &Path| {
        let found = fs::metadata(path).unwrap();
        (found.uid(), found.gid(), found.mode() & 0o777)
    };
    assert_eq!(rights(&key), (SERVICE, SERVICE, 0o600));
    assert_eq!(rights(key.parent().unwrap()), (SERVICE, SERVICE, 0o700));
    assert_eq!(rights(&site.folder.path().join("keys")).2, 0o755);
    assert_eq!(rights(&site.config()), (0, SERVICE, 0o640));

    // What arrives is checked.
    assert!(send(&site, &letter::plain("someone@example.net", "from outside")).starts_with("250"));
    let arrived = site.arrived("from outside");
    assert!(
        arrived.contains("Authentication-Results: mail.example.org; x-attachment-seal=none"),
        "{arrived}"
    );
    // What programs send is sealed.
    site.sendmail(&letter::with_attachments("from here"));
    let arrived = site.arrived("from here");
    assert_eq!(arrived.matches("\nAttachment-Seal: ").count(), 1, "{arrived}");
    assert!(arrived.contains("d=example.org"), "{arrived}");

    // A second time there is nothing to do.
    let after = site.master_text();
    let config = fs::read(site.config()).unwrap();
    let again = site.run(&["--yes"]);
    assert_eq!(again.status, 0, "{again:?}");
    assert!(again.text().contains("nothing to change"), "{}", again.text());
    assert_eq!((site.master_text(), fs::read(site.config()).unwrap()), (after, config));

    let undone = site.run(&["--undo"]);
    assert_eq!(undone.status, 0, "{undone:?}");
    assert!(undone.text().contains("Keys stay in "), "{}", undone.text());
    assert_eq!(site.master_text(), before);
    assert!(!site.config().exists());
    assert!(key.exists());
    let unchecked = || {
        assert!(send(&site, &letter::plain("someone@example.net", "afterwards")).starts_with("250"));
        let arrived = site.postfix.mailbox(DESK);
        arrived
            .iter()
            .any(|mail| mail.contains("Subject: afterwards") && !mail.contains("x-attachment-seal"))
            .then_some(())
    };
    assert!(wait_for(unchecked).is_some(), "mail still passes the gateway");
    let undone = site.run(&["--undo"]);
    assert!(undone.text().contains("nothing to undo"), "{undone:?}");

    // And all over again, with the key that is there.
    let pem = fs::read(&key).unwrap();
    let (_, _gateway) = {
        drop(_gateway);
        site.set_up(DOMAIN)
    };
    assert_eq!(fs::read(&key).unwrap(), pem);
    assert_eq!(fs::read_dir(key.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn port_25_refuses_nothing_meanwhile() {
    let Some(site) = Site::new(&stock(false), "") else { return };
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) || count < 5 {
                let answer = send(&site, &letter::plain("someone@example.net", &format!("number {count}")));
                assert!(answer.starts_with("250"), "message {count}: {answer}");
                count += 1;
            }
            count
        });
        let (_, _gateway) = site.set_up(DOMAIN);
        is_over.store(true, Ordering::Relaxed);
        let count = sender.join().unwrap();
        for number in 0..count {
            site.arrived(&format!("number {number}"));
        }
    });
}

#[test]
fn a_dry_run_shows_each_change_and_makes_none() {
    let Some(site) = Site::new(&stock(false), "") else { return };
    let before = site.master_text();
    let shown = site.run_yes(&["--dry-run"]);
    assert_eq!(shown.status, 0, "{shown:?}");
    let text = shown.text();
    for said in [
        "\n+++ ",
        "+mode = \"verify\"",
        "+    -o smtpd_proxy_filter=127.0.0.1:",
        "+    -o content_filter=waxseal:[127.0.0.1]:",
        "a new sealing key: ",
        "Nothing was changed",
    ] {
        assert!(text.contains(said), "no `{said}`: {text}");
    }
    // No line goes or moves.
    let master = &text[text.find("/config/master.cf").unwrap()..];
    assert!(!master.contains("\n-"), "{master}");
    assert_eq!(site.master_text(), before);
    let mut left: Vec<_> =
        fs::read_dir(site.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["state"], "nothing was made");
}

#[test]
fn checking_alone_comes_first_and_sealing_later() {
    let Some(site) = Site::new(&stock(true), "") else { return };
    let before = site.master_text();
    let (_, gateway) = site.set_up(&["--mode", "verify"]);
    assert!(!site.folder.path().join("keys").exists());
    assert!(!site.master_text().contains("postfix/sealed"));
    drop(gateway);
    let (ended, _gateway) = thread::scope(|scope| {
        let setup = scope.spawn(|| site.run_yes(DOMAIN));
        let seals = || fs::read_to_string(site.config()).unwrap().contains("mode = \"seal\"").then_some(());
        assert!(wait_for(seals).is_some());
        let gateway = site.gateway();
        (setup.join().unwrap(), gateway)
    });
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(site.master_text().contains("postfix/sealed"));
    assert!(send(&site, &letter::plain("someone@example.net", "checked")).starts_with("250"));
    assert!(site.arrived("checked").contains("x-attachment-seal=none"));
    // One undo is for both.
    assert_eq!(site.run(&["--undo"]).status, 0);
    assert_eq!(site.master_text(), before);
    assert!(!site.config().exists());
}
