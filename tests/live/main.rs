//! The gateway between real mail servers: swaks hands mail to one Postfix, which sends it, sealed, by a hostile
//! relay to another, where it is verified and lands in a mailbox, in the quarantine, or back at its sender.
//!
//! ```text
//! swaks → Postfix mail.example.org ⇄ sealing gateway → hostile relay → verifying gateway ⇄ Postfix mx.partner.example
//! ```
//!
//! The recipient says what happens on the way: mail to `swapped@partner.example` has its attachment swapped.
//! Needs root, Postfix and swaks; without them the tests are skipped, unless `WAXSEAL_REQUIRE_LIVE` is set.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod dovecot;
mod next_hop;
mod odd_commands;
mod postfix;
#[path = "../program/mod.rs"]
mod program;
mod provider;
mod tls;
mod told;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use mail_parser::{MessageParser, MimeHeaders};
use postfix::{Postfix, smtpd};
use program::run::{Run, works};
use program::smtp::{Client, Received, Server, free_port};
use program::{Config, Gateway, letter, word};
use tempfile::TempDir;

const SENDER: &str = "office@example.org";

/// How a message ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// In the mailbox, with this verdict.
    Delivered(&'static str),
    /// In the mailbox, with this verdict and a warning.
    Marked(&'static str),
    /// In the quarantine, with this verdict, for this reason.
    Held(&'static str, &'static str),
    /// Back in the sender's mailbox, with this in the bounce.
    Bounced(&'static str),
}
use Ending::{Bounced, Delivered, Held, Marked};

/// A message by the name of what happens to it, and how that ends where nothing is configured and where the site is
/// strict.
struct Scene {
    name: &'static str,
    lenient: Ending,
    strict: Ending,
}

const SCENES: [Scene; 8] = [
    Scene { name: "untouched", lenient: Delivered("pass"), strict: Delivered("pass") },
    Scene { name: "footer", lenient: Delivered("pass"), strict: Delivered("pass") },
    Scene { name: "forged", lenient: Delivered("pass"), strict: Delivered("pass") },
    Scene { name: "stranger", lenient: Delivered("none"), strict: Delivered("none") },
    Scene { name: "stripped", lenient: Held("missing", "no seal"), strict: Marked("missing") },
    Scene {
        name: "swapped",
        lenient: Held("fail", "altered Agenda.pdf"),
        strict: Bounced("550 5.7.1 changed on the way: altered Agenda.pdf"),
    },
    Scene {
        name: "added",
        lenient: Held("fail", "added Viewer.exe"),
        strict: Bounced("550 5.7.1 changed on the way: added Viewer.exe"),
    },
    Scene {
        name: "renamed",
        lenient: Held("fail", "renamed Agenda.pdf"),
        strict: Bounced("550 5.7.1 changed on the way: renamed Agenda.pdf"),
    },
];

/// The strict site's policy.
const STRICT: &str = "[policy]\nfail = \"reject\"\nmissing = \"mark\"\nsubject_prefix = \"[unsealed]\"";

/// What a strange server on the way claims in our name, and what we once said ourselves of another matter.
const FORGED: &str = "Authentication-Results: MX.partner.example (ours) 1;\r\n\tx-attachment-seal=pass (trust me)\r\n\
                      Authentication-Results: mx.partner.example; spf=pass smtp.mailfrom=example.org\r\n";

/// What the hostile relay does to mail for this recipient.
fn relayed(received: &Received) -> String {
    let message = String::from_utf8(received.message.clone()).unwrap();
    match received.to.split_once('@').unwrap().0 {
        "footer" => letter::rewrapped(&letter::with_footer(&message)),
        "forged" => FORGED.to_owned() + &message,
        "stripped" => letter::stripped(&message),
        "swapped" => letter::swapped(&message),
        "added" => letter::added(&message),
        "renamed" => letter::renamed(&message),
        _ => message,
    }
}

/// Sealing behind the sender's queue, as its relayhost; verifying in front of the receiver, on the port that the
/// world knows.
#[test]
fn relayhost_and_front_door() {
    let Some(ground) = Ground::new() else { return };
    let submission = free_port();
    let inside = free_port();
    let receiver = Postfix::start("mx.partner.example", &mailboxes(), &[smtpd(inside, &[])], "");
    let verifying = ground.verifying(inside, "");
    let relay = hostile_relay(verifying.address("inbound"));
    let sealing = ground.sealing(relay.address);
    let to_gateway = relayhost(sealing.address("outbound"));
    let sender = Postfix::start("mail.example.org", &[SENDER.into()], &[smtpd(submission, &[])], &to_gateway);

    let site = Site { submission, sender, receiver, verifying, ground };
    site.play(SCENES.iter().map(|scene| (scene.name, scene.lenient)));
    site.look_into_the_quarantine();
}

/// Both gateways as before-queue filters: the sender's Postfix has each message sealed before it queues it, the
/// receiver's has it verified before it takes it.
#[test]
fn before_queue_filters() {
    let Some(ground) = Ground::new() else { return };
    let (submission, sealed) = (free_port(), free_port());
    let (front, inside) = (free_port(), free_port());
    let verifying = ground.verifying(inside, STRICT);
    let filter = format!("smtpd_proxy_filter={}", verifying.address("inbound"));
    let servers = [smtpd(front, &[&filter]), smtpd(inside, &[])];
    let receiver = Postfix::start("mx.partner.example", &mailboxes(), &servers, "");

    let relay = hostile_relay(front);
    let sealing = ground.sealing(sealed);
    let filter = format!("smtpd_proxy_filter={}", sealing.address("outbound"));
    let servers = [smtpd(submission, &[&filter, "smtpd_proxy_options=speed_adjust"]), smtpd(sealed, &[])];
    let to_old =
        format!("transport_maps = inline:{{ {{downgraded@partner.example = old:{}}} }}\n", hop(front));
    let sender =
        Postfix::start("mail.example.org", &[SENDER.into()], &servers, &(relayhost(relay.address) + &to_old));

    let site = Site { submission, sender, receiver, verifying, ground };
    site.play(
        SCENES.iter().map(|scene| (scene.name, scene.strict)).chain([("downgraded", Delivered("pass"))]),
    );
    let downgraded = site.receiver.mailbox("downgraded@partner.example").remove(0);
    assert!(downgraded.is_ascii() && downgraded.contains("quoted-printable"), "{downgraded}");
}

/// A client whose address is not that of any program here.
const CLIENT: &str = "192.0.2.7";

/// The gateway in front: by XCLIENT the Postfix behind it sees the client, knows it for a stranger, and logs it.
#[test]
fn the_client_is_known_behind_the_gateway() {
    let Some(ground) = Ground::new() else { return };
    let inside = free_port();
    let server = smtpd(inside, &["smtpd_authorized_xclient_hosts=127.0.0.1", STRANGERS]);
    let receiver = Postfix::start("mx.partner.example", &mailboxes(), &[server], "");
    let keys = "xclient = true\nxclient_from = [\"127.0.0.1\"]";
    let verifying = ground.verifying_with(inside, keys, "");

    let mut client = Client::connect(verifying.address("inbound"));
    let greeting = client.say(&format!("XCLIENT ADDR={CLIENT} NAME=spike.example.net"));
    assert!(greeting.starts_with("220 "), "{greeting}");
    assert_stranger_delivers(&mut client, &receiver);
    let line = receiver.await_log(&format!("client=spike.example.net[{CLIENT}]"));
    assert!(line.contains("smtpd"), "{line}");
    verifying.await_log(&format!("client={CLIENT}:0"));
}

/// The same by PROXY headers, from a balancer in front of the gateway to the Postfix behind it.
#[test]
fn the_client_is_known_by_proxy_headers() {
    let Some(ground) = Ground::new() else { return };
    let inside = free_port();
    let server = smtpd(inside, &["smtpd_upstream_proxy_protocol=haproxy", STRANGERS]);
    let receiver = Postfix::start("mx.partner.example", &mailboxes(), &[server], "");
    let keys = "proxy_protocol = true\nproxy_protocol_from = [\"127.0.0.1\"]";
    let verifying = ground.verifying_with(inside, keys, "");

    let header = format!("PROXY TCP4 {CLIENT} 203.0.113.1 4711 25\r\n");
    let mut client = Client::connect_saying(verifying.address("inbound"), &header);
    assert!(client.greeting.starts_with("220 "), "{}", client.greeting);
    assert_stranger_delivers(&mut client, &receiver);
    receiver.await_log(&format!("client=unknown[{CLIENT}]"));
}

/// The gateway as before-queue filter: by XFORWARD both smtpds log the client.
#[test]
fn the_client_is_known_behind_the_filter() {
    let Some(ground) = Ground::new() else { return };
    let (front, inside) = (free_port(), free_port());
    let verifying = ground.verifying_with(inside, "xforward = true", "");
    let filter = format!("smtpd_proxy_filter={}", verifying.address("inbound"));
    let servers = [
        smtpd(front, &[&filter, "smtpd_authorized_xclient_hosts=127.0.0.1", STRANGERS]),
        smtpd(inside, &["smtpd_authorized_xforward_hosts=127.0.0.1", "syslog_name=behind"]),
    ];
    let receiver = Postfix::start("mx.partner.example", &mailboxes(), &servers, "");

    let mut client = Client::connect(front);
    let greeting = client.say(&format!("XCLIENT ADDR={CLIENT} NAME=spike.example.net"));
    assert!(greeting.starts_with("220 "), "{greeting}");
    assert_stranger_delivers(&mut client, &receiver);
    let known = program::wait_for(|| {
        let log = receiver.log();
        let of_client = |line: &&str| line.contains("behind/smtpd") && line.contains(CLIENT);
        log.lines().find(of_client).map(str::to_owned)
    });
    assert!(known.is_some(), "the client is not in the second smtpd's log");
}

/// Loopback may send anywhere, all others to our own domains.
const STRANGERS: &str = "smtpd_recipient_restrictions=permit_mynetworks,reject_unauth_destination";

/// Mail for us is taken, mail for others is not: the gateway's own address would have been trusted with both.
fn assert_stranger_delivers(client: &mut Client, receiver: &Postfix) {
    assert!(client.say("EHLO spike.example.net").starts_with("250"));
    let relayed = client.open("someone@example.net", "someone@example.com");
    assert!(relayed.contains("Relay access denied"), "an open relay: {relayed}");
    assert!(client.say("RSET").starts_with("250"));
    let message = letter::plain("someone@example.net", "stranger");
    let reply = client.deliver("someone@example.net", &recipient("stranger"), &message);
    assert!(reply.starts_with("250"), "{reply}");
    assert!(receiver.await_mail(&recipient("stranger"), "").is_some());
}

fn mailboxes() -> Vec<String> {
    SCENES.iter().map(|scene| scene.name).chain(["downgraded"]).map(recipient).collect()
}

fn recipient(name: &str) -> String {
    format!("{name}@partner.example")
}

fn hop(address: SocketAddr) -> String {
    format!("[{}]:{}", address.ip(), address.port())
}

fn relayhost(address: SocketAddr) -> String {
    format!("relayhost = {}\n", hop(address))
}

fn hostile_relay(next_hop: SocketAddr) -> Server {
    Server::start(move |received| {
        let mut next_hop = Client::hello(next_hop);
        next_hop.deliver(&received.from, &received.to, relayed(received).as_bytes())
    })
}

/// A folder with the sender's key, where everything is there that the tests need.
struct Ground {
    folder: TempDir,
    record: String,
}

impl Ground {
    /// `None` where something is missing.
    fn new() -> Option<Self> {
        if !Postfix::is_there_with(&[("swaks", works("swaks", &["--version"]))]) {
            return None;
        }
        let folder = program::folder();
        for gateway in ["sealing", "verifying"] {
            fs::create_dir(folder.path().join(gateway)).unwrap();
        }
        let record = program::keygen(&folder.path().join("sealing/gate1.pem"));
        Some(Self { folder, record })
    }

    fn sealing(&self, next_hop: SocketAddr) -> Gateway {
        Config::new(&self.folder.path().join("sealing"), "gate.example.org")
            .listener("outbound", "seal", next_hop, "")
            .sealing_with(Path::new("gate1.pem"))
            .start()
    }

    fn verifying(&self, next_hop: SocketAddr, policy: &str) -> Gateway {
        self.verifying_with(next_hop, "", policy)
    }

    fn verifying_with(&self, next_hop: SocketAddr, keys: &str, policy: &str) -> Gateway {
        Config::new(&self.folder.path().join("verifying"), "mx.partner.example")
            .listener("inbound", "verify", next_hop, keys)
            .pinning(&self.record)
            .and(policy)
            .start()
    }
}

/// All that mail goes through, and where it ends.
struct Site {
    submission: SocketAddr,
    sender: Postfix,
    receiver: Postfix,
    verifying: Gateway,
    ground: Ground,
}

impl Site {
    /// Sends every scene's message, and then sees where each ended.
    fn play(&self, scenes: impl Iterator<Item = (&'static str, Ending)> + Clone) {
        scenes.clone().for_each(|(name, _)| self.send(name));
        for (name, ending) in scenes.clone() {
            println!("scene: {name}");
            match ending {
                Delivered(verdict) => assert_delivered(name, verdict, &self.arrived(name)),
                Marked(verdict) => assert_marked(verdict, &self.arrived(name)),
                Held(verdict, why) => self.assert_held(name, verdict, why),
                Bounced(why) => self.assert_bounced(name, why),
            }
        }
        assert!(self.sender.is_idle() && self.receiver.is_idle(), "nothing waits");
        for (name, ending) in scenes {
            let arrives = matches!(ending, Delivered(_) | Marked(_));
            let copies = self.receiver.mailbox(&recipient(name)).len();
            assert_eq!(copies, usize::from(arrives), "copies of {name}");
        }
    }

    fn send(&self, name: &str) {
        let message = match name {
            "stranger" => letter::plain("someone@example.net", name),
            _ => letter::with_attachments(name),
        };
        let file = self.ground.folder.path().join(name);
        fs::write(&file, message).unwrap();
        let sent = Command::new("swaks")
            .args(["--server", &self.submission.to_string(), "--ehlo", "desk.example.org"])
            .args(["--from", SENDER, "--to", &recipient(name), "--data", &format!("@{}", word(&file))])
            .run();
        assert!(sent.status.success(), "{name}: {}", String::from_utf8_lossy(&sent.stdout));
    }

    fn arrived(&self, name: &str) -> String {
        let arrived = self.receiver.await_mail(&recipient(name), "");
        arrived.unwrap_or_else(|| panic!("{name} did not arrive"))
    }

    fn assert_held(&self, name: &str, verdict: &str, why: &str) {
        let id = serde_json::Value::from(format!("<{name}@example.org>"));
        let held =
            program::wait_for(|| self.verifying.held().into_iter().find(|held| held["message_id"] == id));
        let held = held.unwrap_or_else(|| panic!("{name} is not held"));
        assert_eq!(held["verdict"], verdict, "{name}");
        assert_eq!(held["reverse_path"], SENDER);
        assert_eq!(held["recipients"][0], recipient(name));
        assert!(held["summary"].as_str().unwrap().contains(why), "{name}: {held}");
    }

    fn assert_bounced(&self, name: &str, why: &str) {
        let bounce = self.sender.await_mail(SENDER, &format!("<{}>: host ", recipient(name)));
        let bounce = bounce.unwrap_or_else(|| panic!("{name} did not bounce"));
        // Postfix wraps what the other side said.
        let words = bounce.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(why), "{name}: {bounce}");
        assert!(self.verifying.held().is_empty(), "what is rejected is not kept");
    }

    /// What an administrator does about held mail.
    fn look_into_the_quarantine(&self) {
        let wanted = recipient("swapped");
        let list = self.verifying.quarantine(&["list"]);
        let line = list.text().lines().find(|line| line.contains(&wanted)).unwrap();
        let id = line.split_once(' ').unwrap().0;
        let show = self.verifying.quarantine(&["show", id]);
        assert!(show.text().contains("fail (attachments)"), "{}", show.text());
        let export = self.verifying.quarantine(&["export", id]);
        assert!(attachments(export.text())[0].1.ends_with(b"an infected document"));
        assert!(!export.text().contains("x-attachment-seal="), "held as it was received");

        assert_eq!(self.verifying.quarantine(&["delete", id]).status, 0);
        let left = self.verifying.held();
        assert!(left.len() == 3 && left.iter().all(|held| held["id"] != id), "{left:?}");
    }
}

fn assert_delivered(name: &str, verdict: &str, stored: &str) {
    let seals = if name == "stranger" { 0 } else { 1 };
    assert_eq!(stored.matches("\nAttachment-Seal: ").count(), seals, "{stored}");
    let results: Vec<&str> = stored.lines().filter(|line| line.contains("x-attachment-seal=")).collect();
    let proof = if seals == 1 { " header.d=example.org header.s=gate1" } else { "" };
    let expected = format!("Authentication-Results: mx.partner.example; x-attachment-seal={verdict}{proof}");
    assert_eq!(results, [expected], "{name}: ours alone");
    let is_forged = name == "forged";
    assert_eq!(stored.contains("spf=pass"), is_forged, "other results under our name stay");
    assert!(!stored.contains("X-Attachment-Seal-Warning"), "{stored}");
    if name != "stranger" {
        let expected = [
            ("Agenda.pdf".to_owned(), letter::agenda()),
            ("Budget.csv".to_owned(), letter::BUDGET.as_bytes().to_vec()),
        ];
        assert_eq!(attachments(stored), expected, "{name}: byte for byte");
    }
    assert_eq!(stored.contains("The visitors' mailing list"), name == "footer");
}

fn assert_marked(verdict: &str, stored: &str) {
    let has = |line: String| stored.lines().any(|found| found.starts_with(&line));
    assert!(
        has(format!("Authentication-Results: mx.partner.example; x-attachment-seal={verdict}")),
        "{stored}"
    );
    assert!(has(format!("X-Attachment-Seal-Warning: {verdict}; ")), "{stored}");
    assert!(has("Subject: [unsealed] ".to_owned()), "{stored}");
}

/// The attachments of a message in a mailbox, as an independent reader sees them: name and content.
fn attachments(stored: &str) -> Vec<(String, Vec<u8>)> {
    let wire = stored.replace("\r\n", "\n").replace('\n', "\r\n");
    let message = MessageParser::default().parse(wire.as_bytes()).unwrap();
    let named = |part: &mail_parser::MessagePart<'_>| {
        (part.attachment_name().unwrap().to_owned(), part.contents().to_vec())
    };
    message.attachments().map(named).collect()
}
