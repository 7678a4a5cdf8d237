//! What a reload takes in, what it refuses, and what it leaves to the next start; and what each configuration asks of
//! the process.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod program;

use std::fs;
use std::process::Stdio;

use program::site::{RECIPIENT, SENDER, Site};
use program::smtp::{Client, Server};
use program::{Gateway, letter};
use rustix::process::Signal;

#[test]
fn a_wrong_key_changes_nothing() {
    let site = Site::new();
    let pins = site.folder.path().join("pins/example.org");
    fs::create_dir_all(&pins).unwrap();
    fs::write(pins.join("gate1.txt"), &site.record).unwrap();
    let outgoing = Server::taking_all();
    let gateway = site
        .config()
        .listener("inbound", "verify", site.next_hop.address, "")
        .listener("outbound", "seal", outgoing.address, "")
        .sealing_with(&site.key)
        .and("[[correspondent]]\ndomain = \"example.org\"\nkeys_dir = \"pins\"")
        .start();
    let (good_key, record) = (fs::read(&site.key).unwrap(), pins.join("gate1.txt"));
    let mut refused = 0;
    let mut refuses = |why: &str| {
        gateway.signal(Signal::HUP);
        refused += 1;
        let says_so = || {
            let log = gateway.log();
            let lines = log.iter().filter(|line| line.contains("the old one stays in force")).count();
            (lines == refused).then(|| log.iter().any(|line| line.contains("ERROR") && line.contains(why)))
        };
        assert_eq!(program::wait_for(says_so), Some(true), "{why}: {:#?}", gateway.log());

        let mut client = Client::hello(gateway.address("outbound"));
        assert!(client.deliver(SENDER, RECIPIENT, &letter::with_attachments("key")).starts_with("250"));
        let sealed = outgoing.received().pop().unwrap().message;
        assert!(sealed.starts_with(b"Attachment-Seal: "), "{why}");
        let mut client = Client::hello(gateway.address("inbound"));
        assert!(client.deliver(SENDER, RECIPIENT, &sealed).starts_with("250"));
        let arrived = site.next_hop.received().pop().unwrap().message;
        assert!(String::from_utf8_lossy(&arrived).contains("x-attachment-seal=pass "), "{why}");
    };
    fs::write(&site.key, "no key").unwrap();
    refuses("domain[example.org].key: ");
    fs::remove_file(&site.key).unwrap();
    refuses("domain[example.org].key: ");
    fs::write(&site.key, good_key).unwrap();
    fs::write(&record, "v=SEAL1; k=ed25519; p=nonsense").unwrap();
    refuses("correspondent[example.org].keys_dir: ");
    fs::remove_dir_all(&pins).unwrap();
    refuses("correspondent[example.org].keys_dir: ");
    fs::remove_file(&gateway.config).unwrap();
    refuses("waxseal.toml: cannot be read");
}

#[test]
fn a_listener_that_may_be_an_open_relay_is_warned_of_at_start_and_at_reload() {
    let site = Site::new();
    let gateway = site.verifying("").start();
    let line = gateway.await_log("is an open relay if it trusts");
    assert!(line.contains("WARN") && line.contains("listener[inbound].next_hop"), "{line}");
    let warnings = || gateway.log().iter().filter(|line| line.contains("is an open relay if")).count();
    gateway.signal(Signal::HUP);
    gateway.await_log("configuration reloaded");
    assert_eq!(warnings(), 2);
}

#[test]
fn raises_its_limit_of_open_files_to_what_the_sessions_need() {
    let site = Site::new();
    let soft_limit = |gateway: &Gateway| {
        let limits = fs::read_to_string(format!("/proc/{}/limits", gateway.id())).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        line.split_whitespace().nth(3).unwrap().to_owned()
    };
    let config = |connections| site.verifying("").and(&format!("[limits]\nconnections = {connections}"));
    let start = |connections, soft, hard| {
        let script = format!("ulimit -Sn {soft}; ulimit -Hn {hard}");
        config(connections).start_from_shell(&script, Stdio::null())
    };
    // Two sockets and a file each, and some to spare.
    let gateway = start(100, 128, 512);
    assert_eq!(soft_limit(&gateway), "512");
    assert!(!gateway.log().iter().any(|line| line.contains("too few open files")), "{:#?}", gateway.log());
    config(1000).write();
    gateway.signal(Signal::HUP);
    assert!(gateway.await_log("too few open files").contains("connections=1000"));
    drop(gateway);

    assert_eq!(soft_limit(&start(10, 128, 512)), "128", "enough as it is");
    let gateway = start(200, 128, 512);
    let line = gateway.await_log("too few open files");
    assert!(line.contains("WARN") && line.contains("open_files=512 needed=664"), "{line}");
}

#[test]
fn what_takes_a_restart_is_said() {
    let site = Site::new();
    let gateway = site.verifying("").start();
    let other = site.config().and("[log]\nlevel = \"debug\"\n[alerts]\nto = \"postmaster@example.org\"");
    let other = other.listener("other", "verify", site.next_hop.address, "").pinning(&site.record);
    fs::write(
        other.write(),
        fs::read_to_string(other.write()).unwrap().replace("\"state\"", "\"elsewhere\""),
    )
    .unwrap();
    gateway.signal(Signal::HUP);
    gateway.await_log("configuration reloaded");
    for what in ["listeners", "state", "alerts", "log"] {
        let line = gateway.await_log(&format!("a change of {what} takes effect at the next restart"));
        assert!(line.contains("WARN"), "{line}");
    }
    // The listener that the file no longer has goes on, and its mail is held where it was.
    let mut client = Client::hello(gateway.address("inbound"));
    assert!(client.deliver(SENDER, RECIPIENT, &site.swapped("held")).starts_with("250 2.0.0 accepted as "));
    site.verifying("").write();
    assert_eq!(gateway.held().len(), 1);
}
