//! The gateway as a service: signals, limits, peers that are not there, a disk that is full.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod program;

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use attachment_seal::seal::delegation::Delegations;
use attachment_seal::seal::key::SealingKey;
use attachment_seal::seal::message::Message;
use attachment_seal::seal::sign::{DEFAULT_LIFETIME, Moment, Sealer, seal};
use program::run::Run;
use program::site::{RECIPIENT, SENDER, Site, plain};
use program::skip::skipped;
use program::smtp::{Client, Server, closed_port};
use program::{Gateway, letter};
use rustix::process::Signal;

#[test]
fn sigterm_ends_idle_sessions_and_finishes_messages() {
    let site = Site::new();
    let mut gateway = site.verifying("").start();
    let inbound = gateway.address("inbound");
    let (mut idle, mut busy) = (Client::hello(inbound), Client::hello(inbound));
    assert!(busy.open(SENDER, RECIPIENT).starts_with("354"));
    let message = plain("under way");
    let (first, second) = message.split_at(message.len() / 2);
    busy.send(first);

    gateway.signal(Signal::TERM);
    let farewell = idle.reply();
    assert!(farewell.starts_with("421 4.3.2 "), "{farewell}");
    assert!(idle.is_closed());
    let refuses = || TcpStream::connect(inbound).err();
    assert!(program::wait_for(refuses).is_some(), "no new connections");

    assert_eq!(busy.finish(second), "250 2.0.0 taken");
    let farewell = busy.reply();
    assert!(farewell.starts_with("421 4.3.2 "), "{farewell}");
    assert_eq!(gateway.wait().code(), Some(0));
    assert_eq!(site.next_hop.received().len(), 1);
    gateway.await_log("stopped");
}

/// Alerts and memory end when nobody holds them any more, which nobody may do for longer than there is mail.
#[test]
fn what_is_written_last_waits_for_nothing_but_the_disk() {
    let site = Site::new();
    let alerts =
        format!("[alerts]\nto = \"postmaster@partner.example\"\nnext_hop = \"{}\"", site.next_hop.address);
    let mut gateway = site.verifying("").and(&alerts).start();
    let mut client = Client::hello(gateway.address("inbound"));
    assert_eq!(client.deliver(SENDER, RECIPIENT, &plain("remembered")), "250 2.0.0 taken");
    drop(client);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().code(), Some(0));
    gateway.await_log("stopped");
    let late: Vec<String> = gateway.log().into_iter().filter(|line| line.contains("still")).collect();
    assert!(late.is_empty(), "{late:?}");
}

#[test]
fn sigint_is_as_good_as_sigterm() {
    let site = Site::new();
    let mut gateway = site.verifying("").start();
    gateway.signal(Signal::INT);
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    let site = Site::new();
    for (first, second) in
        [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::TERM), (Signal::TERM, Signal::INT)]
    {
        let mut gateway = site.verifying("").start();
        let mut busy = Client::hello(gateway.address("inbound"));
        assert!(busy.open(SENDER, RECIPIENT).starts_with("354"));
        busy.send(b"Subject: under way\r\n");
        gateway.signal(first);
        gateway.await_log("messages under way are finished first");
        // While it stops there is nothing to read again.
        gateway.signal(Signal::HUP);
        gateway.signal(second);
        assert_eq!(gateway.wait().code(), Some(1));
        gateway.await_log("stopped at once");
        assert!(busy.hears_nothing_more(), "the client must not think that it was delivered");
    }
    assert!(site.next_hop.received().is_empty());
}

#[test]
fn sighup_puts_a_new_policy_in_force() {
    let site = Site::new();
    let gateway = site.verifying("").start();
    let mut client = Client::hello(gateway.address("inbound"));
    let mut deliver = |subject| client.deliver(SENDER, RECIPIENT, &site.swapped(subject));
    assert!(deliver("before").starts_with("250 2.0.0 accepted as "));

    site.verifying("").and("[policy]\nfail = \"reject\"").write();
    gateway.signal(Signal::HUP);
    gateway.await_log("configuration reloaded");
    assert_eq!(deliver("after"), "550 5.7.1 changed on the way: altered Agenda.pdf");
    assert_eq!(gateway.held().len(), 1);
}

#[test]
fn sighup_reads_keys_again() {
    let site = Site::new();
    let pins = site.folder.path().join("pins/example.org");
    fs::create_dir_all(&pins).unwrap();
    fs::write(pins.join("gate1.txt"), &site.record).unwrap();
    let by_folder = "[[correspondent]]\ndomain = \"example.org\"\nkeys_dir = \"pins\"";
    let gateway =
        site.config().listener("inbound", "verify", site.next_hop.address, "").and(by_folder).start();
    let mut client = Client::hello(gateway.address("inbound"));
    let message = site.changed(&letter::with_attachments("keys"), str::to_owned);
    assert!(client.deliver(SENDER, RECIPIENT, &message).starts_with("250"));
    site.next_hop.await_message("; x-attachment-seal=pass ");

    // Revoked: an empty p.
    fs::write(pins.join("gate1.txt"), "v=SEAL1; k=ed25519; p=").unwrap();
    gateway.signal(Signal::HUP);
    gateway.await_log("configuration reloaded");
    assert!(client.deliver(SENDER, RECIPIENT, &message).starts_with("250"));
    assert_eq!(gateway.held()[0]["reason"], "revoked-key");
}

#[test]
fn sighup_with_a_wrong_configuration_changes_nothing() {
    let site = Site::new();
    let gateway = site.verifying("").and("[policy]\nfail = \"reject\"").start();
    let mut client = Client::hello(gateway.address("inbound"));
    site.verifying("").and("[policy]\nfail = \"shred\"").write();
    gateway.signal(Signal::HUP);
    let line = gateway.await_log("policy.fail: ");
    assert!(line.contains("ERROR") && line.contains("waxseal.toml:"), "{line}");
    assert!(gateway.await_log("the old one stays in force").contains("ERROR"));
    assert!(client.deliver(SENDER, RECIPIENT, &site.swapped("as before")).starts_with("550 5.7.1 "));
    assert!(Client::connect(gateway.address("inbound")).greeting.starts_with("220 "));
}

#[test]
fn a_next_hop_that_is_down_is_said_at_once() {
    let site = Site::new();
    let gateway = site.config().listener("inbound", "verify", closed_port(), "").start();
    let mut client = Client::connect(gateway.address("inbound"));
    assert_eq!(client.greeting, "421 4.3.0 mail server not available, try again later");
    assert!(client.is_closed());
}

#[test]
fn the_next_hop_has_the_last_word() {
    let site = Site::new();
    let refusing = Server::start(|_| "552 5.2.2 mailbox full".to_owned());
    let gateway = site.config().listener("inbound", "verify", refusing.address, "").start();
    let mut client = Client::hello(gateway.address("inbound"));
    assert_eq!(client.deliver(SENDER, RECIPIENT, &plain("full")), "552 5.2.2 mailbox full");
}

#[test]
fn a_full_disk_is_no_loss() {
    let site = Site::new();
    let state = site.folder.path().join("state");
    fs::create_dir(&state).unwrap();
    let Some(_disk) = SmallDisk::mount(&state) else {
        skipped("mounting a file system is not allowed here");
        return;
    };
    no_room_for_a_large_message(&site, &site.verifying("").start());
}

#[test]
fn a_file_limit_is_no_loss() {
    let site = Site::new();
    no_room_for_a_large_message(&site, &site.verifying("").start_with_file_limit(600));
}

/// Refused for now, nothing of it left, and the next one that fits is held.
fn no_room_for_a_large_message(site: &Site, gateway: &Gateway) {
    let mut client = Client::hello(gateway.address("inbound"));
    let filling = "One more line of a long letter.\r\n".repeat(10_000);
    let long = |message: &str| {
        letter::swapped(message).replace("is attached.", &format!("is attached.\r\n{filling}"))
    };
    let message = site.changed(&letter::with_attachments("large"), long);
    let reply = client.deliver(SENDER, RECIPIENT, &message);
    assert!(reply.starts_with("451 4.3.1 "), "{reply}");
    assert!(gateway.held().is_empty());
    let quarantine = site.folder.path().join("state/quarantine");
    assert_eq!(names(&quarantine), ["tmp"]);
    assert!(names(&quarantine.join("tmp")).is_empty());
    assert!(gateway.await_log("no room to hold a message").contains("ERROR"));

    let reply = client.deliver(SENDER, RECIPIENT, &site.swapped("small"));
    assert!(reply.starts_with("250 2.0.0 accepted as "), "{reply}");
    assert_eq!(gateway.held()[0]["message_id"], "<small@example.org>");
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A file system with room for little, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path) -> Option<Self> {
        // The database of what is remembered takes some 200 KiB of it.
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=384k", "waxseal-test"]).arg(folder);
        mount.succeeds().then(|| Self(folder.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the gateway may still have its state open.
        Command::new("umount").arg("--lazy").arg(&self.0).run();
    }
}

#[test]
fn one_process_seals_and_verifies() {
    let site = Site::new();
    let outgoing = Server::taking_all();
    let gateway =
        site.verifying("").listener("outbound", "seal", outgoing.address, "").sealing_with(&site.key).start();
    let mut client = Client::hello(gateway.address("outbound"));
    assert!(client.greeting.starts_with("220 mx.partner.example "), "{}", client.greeting);
    assert!(client.deliver(SENDER, RECIPIENT, &letter::with_attachments("two")).starts_with("250"));
    let sealed = outgoing.received().remove(0);
    assert_eq!((sealed.from.as_str(), sealed.to.as_str()), (SENDER, RECIPIENT));
    assert!(sealed.message.starts_with(b"Attachment-Seal: "));

    let mut client = Client::hello(gateway.address("inbound"));
    assert!(client.deliver(SENDER, RECIPIENT, &sealed.message).starts_with("250"));
    let arrived = site.next_hop.received().remove(0).message;
    let result = b"Authentication-Results: mx.partner.example; x-attachment-seal=pass header.d=example.org header.s=gate1\r\n";
    assert!(arrived.starts_with(result), "{}", String::from_utf8_lossy(&arrived));
    assert!(arrived.ends_with(&sealed.message));
}

#[test]
fn mail_of_other_domains_is_not_touched_by_sealing() {
    let site = Site::new();
    let gateway =
        site.config().listener("outbound", "seal", site.next_hop.address, "").sealing_with(&site.key).start();
    let mut client = Client::hello(gateway.address("outbound"));
    assert!(client.deliver(SENDER, RECIPIENT, &plain("theirs")).starts_with("250"));
    assert_eq!(site.next_hop.received()[0].message, plain("theirs"));
}

#[test]
fn what_cannot_be_sealed_is_refused_or_passed_as_configured() {
    let site = Site::new();
    let unclean = String::from_utf8(letter::plain(SENDER, "unclean")).unwrap();
    let unclean = unclean.replace("Subject:", "no field at all\r\nSubject:").into_bytes();
    for (setting, reply) in
        [("", "550 5.6.0 message cannot be sealed: "), ("unclean_header = \"pass\"", "250 ")]
    {
        let config = site.config().listener("outbound", "seal", site.next_hop.address, setting);
        let gateway = config.sealing_with(&site.key).start();
        let mut client = Client::hello(gateway.address("outbound"));
        let found = client.deliver(SENDER, RECIPIENT, &unclean);
        assert!(found.starts_with(reply), "{found}");
    }
    assert_eq!(site.next_hop.received().remove(0).message, unclean);
}

/// Correspondents would miss the seal of such mail, and hold it.
#[test]
fn mail_of_ours_with_an_unclear_author_is_refused() {
    let site = Site::new();
    let config = site.config().listener("outbound", "seal", site.next_hop.address, "");
    let gateway = config.sealing_with(&site.key).start();
    let from = |from: &str| {
        let text = String::from_utf8(letter::plain(SENDER, "unclear")).unwrap();
        text.replace(&format!("From: Office <{SENDER}>\r\n"), from).into_bytes()
    };
    for (author, reply) in [
        ("From: a@example.org, b@example.org\r\n", "550 5.6.0 message cannot be sealed: From is not "),
        ("From: a@example.org <b@example.net>\r\n", "550 5.6.0 message cannot be sealed: From is not "),
        ("Sender: a@example.org\r\n", "550 5.6.0 message cannot be sealed: From is not "),
        ("From: Office, Inc. < a@example.org >;\r\n", "250 "),
        ("From: a@example.net, b@example.net\r\n", "250 "),
    ] {
        let mut client = Client::hello(gateway.address("outbound"));
        let found = client.deliver(SENDER, RECIPIENT, &from(author));
        assert!(found.starts_with(reply), "{author}: {found}");
    }
    let received = site.next_hop.received();
    let sealed: Vec<bool> =
        received.iter().map(|mail| mail.message.starts_with(b"Attachment-Seal:")).collect();
    assert_eq!(sealed, [true, false]);
}

/// A seal ahead of our clock: the mail waits for it, and the administrator is told.
#[test]
fn a_seal_from_the_future_puts_the_mail_off_with_an_alarm() {
    let site = Site::new();
    let gateway = site.verifying("").start();
    let sealer = Sealer {
        domain: "example.org".parse().unwrap(),
        selector: "gate1".parse().unwrap(),
        key: SealingKey::from_pem(&fs::read_to_string(&site.key).unwrap()).unwrap(),
        lifetime: DEFAULT_LIFETIME,
        delegations: Delegations::default(),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let message = letter::with_attachments("ahead");
    let sealed = |ahead: u64| {
        let moment = Moment { now: now + ahead, random: [0; 16] };
        seal(&Message::new(&message), &sealer, moment).unwrap().apply(&message)
    };
    let reply =
        |message: &[u8]| Client::hello(gateway.address("inbound")).deliver(SENDER, RECIPIENT, message);
    assert!(reply(&sealed(1_800)).starts_with("451 4.7.0 the seal of example.org is dated ahead"));
    let alarm = gateway.await_log("is dated ahead of this machine's clock");
    assert!(alarm.contains("ERROR") && alarm.contains("example.org"), "{alarm}");
    // Held all the same where more than the clock is wrong.
    let changed = letter::swapped(std::str::from_utf8(&sealed(1_800)).unwrap());
    assert!(reply(changed.as_bytes()).starts_with("250 2.0.0 accepted as "));
    assert!(site.next_hop.received().is_empty());
}

#[test]
fn clients_that_are_not_listed_are_turned_away() {
    let site = Site::new();
    let gateway = site.verifying("clients = [\"192.0.2.0/24\"]").start();
    let mut client = Client::connect(gateway.address("inbound"));
    assert!(client.greeting.starts_with("554 5.7.1 "), "{}", client.greeting);
    assert!(client.is_closed());
}

#[test]
fn too_many_connections_are_asked_to_come_back() {
    let site = Site::new();
    for limit in ["connections = 1", "connections_per_client = 1"] {
        let gateway = site.verifying("").and(&format!("[limits]\n{limit}")).start();
        let mut first = Client::hello(gateway.address("inbound"));
        let mut second = Client::connect(gateway.address("inbound"));
        assert!(second.greeting.starts_with("421 4.7.0 "), "{limit}: {}", second.greeting);
        assert!(second.is_closed());
        assert!(first.say("QUIT").starts_with("221"));
        assert!(first.is_closed());
        let is_let_in =
            || Client::connect(gateway.address("inbound")).greeting.starts_with("220").then_some(());
        assert!(program::wait_for(is_let_in).is_some(), "{limit}: the place is free again");
    }
}

#[test]
fn a_message_over_size_is_refused_and_the_session_goes_on() {
    let site = Site::new();
    let gateway = site.verifying("").and("[limits]\nmessage_size = \"10KiB\"").start();
    let mut client = Client::connect(gateway.address("inbound"));
    assert!(client.say("EHLO client.example.org").contains("SIZE 10240"));
    let reply = client.say(&format!("MAIL FROM:<{SENDER}> SIZE=10241"));
    assert!(reply.starts_with("552 5.3.4 "), "{reply}");
    let large = [plain("large"), b"One more line.\r\n".repeat(1000)].concat();
    let reply = client.deliver(SENDER, RECIPIENT, &large);
    assert!(reply.starts_with("552 5.3.4 "), "{reply}");
    assert_eq!(client.deliver(SENDER, RECIPIENT, &plain("small")), "250 2.0.0 taken");
    assert_eq!(site.next_hop.received().len(), 1);
}

#[test]
fn bare_line_feeds_are_refused_or_normalized_as_configured() {
    let site = Site::new();
    let bare = String::from_utf8(plain("bare")).unwrap().replace("tomorrow.\r\n", "tomorrow.\n");
    let message = [bare.as_bytes(), b"Regards\r\n"].concat();
    let gateway = site.verifying("").start();
    let mut client = Client::hello(gateway.address("inbound"));
    let reply = client.deliver(SENDER, RECIPIENT, &message);
    assert!(reply.starts_with("550 5.5.2 "), "{reply}");
    assert!(site.next_hop.received().is_empty());
    drop(gateway);

    let gateway = site.verifying("bare_line_ends = \"normalize\"").start();
    let mut client = Client::hello(gateway.address("inbound"));
    assert!(client.deliver(SENDER, RECIPIENT, &message).starts_with("250"));
    let arrived = site.next_hop.await_message("Subject: bare");
    assert!(arrived.message.ends_with(b"tomorrow.\r\nRegards\r\n"));
}

#[test]
fn the_administrator_is_told_of_held_mail() {
    let site = Site::new();
    let office = Server::taking_all();
    let alerts = format!("[alerts]\nto = \"postmaster@partner.example\"\nnext_hop = \"{}\"", office.address);
    let gateway = site.verifying("").and(&alerts).start();
    let mut client = Client::hello(gateway.address("inbound"));
    assert!(client.deliver(SENDER, RECIPIENT, &site.swapped("alert")).starts_with("250"));
    let alert = office.await_message("Subject: [waxseal] ");
    assert_eq!((alert.from.as_str(), alert.to.as_str()), ("", "postmaster@partner.example"));
    let text = String::from_utf8(alert.message).unwrap();
    let id = gateway.held()[0]["id"].as_str().unwrap().to_owned();
    for fact in ["<waxseal@mx.partner.example>", "example.org quarantined: fail", &id, "altered: Agenda.pdf"]
    {
        assert!(text.contains(fact), "{fact}: {text}");
    }
}

#[test]
fn the_log_says_what_became_of_a_message_and_why() {
    let site = Site::new();
    let gateway = site.verifying("").start();
    let mut client = Client::hello(gateway.address("inbound"));
    assert!(client.deliver(SENDER, RECIPIENT, &site.swapped("log")).starts_with("250"));
    let line = gateway.await_log("verdict=\"fail\"");
    for fact in ["action=\"quarantine\"", "author=\"example.org\"", "altered Agenda.pdf"] {
        assert!(line.contains(fact), "{line}");
    }
}

/// Anybody can send mail that must be held; it takes its own part of the quarantine, and what a verified seal proves to be
/// changed is held all the same.
#[test]
fn a_full_quarantine_puts_mail_off_and_says_so() {
    let site = Site::new();
    let alerts = Server::taking_all();
    let settings = format!(
        "[quarantine]\nmessages = 4\nunverified_messages = 2\n\n\
         [alerts]\nto = \"postmaster@partner.example\"\nnext_hop = \"{}\"",
        alerts.address
    );
    let gateway = site.verifying("").and(&settings).start();
    let mut client = Client::hello(gateway.address("inbound"));
    let forged = letter::plain(SENDER, "forged");
    let full = "452 4.3.1 the quarantine is full, try again later";
    for _ in 0..2 {
        let reply = client.deliver(SENDER, RECIPIENT, &forged);
        assert!(reply.starts_with("250 2.0.0 accepted as "), "{reply}");
    }
    assert_eq!(client.deliver(SENDER, RECIPIENT, &forged), full);
    let changed = site.swapped("changed");
    for _ in 0..2 {
        let reply = client.deliver(SENDER, RECIPIENT, &changed);
        assert!(reply.starts_with("250 2.0.0 accepted as "), "{reply}");
    }
    assert_eq!(client.deliver(SENDER, RECIPIENT, &changed), full);
    assert_eq!(client.deliver("a@example.net", RECIPIENT, &plain("honest")), "250 2.0.0 taken");
    gateway.await_log("the part of the quarantine for unverified mail is full: 2 of 2 messages");
    gateway.await_log("the quarantine is full: 4 of 4 messages");
    alerts.await_message("[waxseal] the quarantine is full");

    // There is room again once somebody has looked after it.
    let listed = gateway.quarantine(&["list", "--json"]).json();
    assert_eq!(listed.len(), 4);
    let is_unverified =
        |id: &&str| gateway.quarantine(&["show", "--json", id]).json()[0]["verified"] == false;
    let ids = listed.iter().map(|held| held["id"].as_str().unwrap());
    let unverified: Vec<&str> = ids.filter(is_unverified).collect();
    assert_eq!(unverified.len(), 2);
    assert_eq!(gateway.quarantine(&["delete", unverified[0]]).status, 0);
    let deliver = || {
        let reply = client.deliver(SENDER, RECIPIENT, &forged);
        reply.starts_with("250 ").then_some(())
    };
    assert!(program::wait_for(deliver).is_some(), "another one fits");
}
