//! The log of the running program: a line of JSON for each event where that is asked for, and nothing that is nobody's
//! business, at no level.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod program;

use program::smtp::{Client, Server};
use program::{Config, Gateway, letter};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

const SENDER: &str = "office@example.org";
const RECIPIENT: &str = "desk@partner.example";

struct Site {
    folder: TempDir,
    next_hop: Server,
}

impl Site {
    fn new() -> Self {
        Self { folder: program::folder(), next_hop: Server::taking_all() }
    }

    /// A gateway that seals and one that verifies, in one.
    fn start(&self, log: &str) -> Gateway {
        let key = self.folder.path().join("gate1.pem");
        let record = program::keygen(&key);
        Config::new(self.folder.path(), "mx.example.org")
            .listener("inbound", "verify", self.next_hop.address, "")
            .listener("outbound", "seal", self.next_hop.address, "")
            .sealing_with(&key)
            .pinning(&record)
            .and(&format!("[log]\n{log}"))
            .start()
    }
}

#[test]
fn json_is_json_line_by_line() {
    let site = Site::new();
    let mut gateway = site.start("format = \"json\"\nlevel = \"trace\"");
    let address = |name: &str| {
        let log = gateway.log();
        let lines = log.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut listening = lines.filter(|line| line["message"] == "listening" && line["listener"] == name);
        listening.next().unwrap()["address"].as_str().unwrap().parse().unwrap()
    };
    // With line ends and quotes of a stranger's in it, an event is one line all the same.
    let mut client = Client::connect(address("inbound"));
    assert!(client.say("EHLO \"a\u{7f}b\\").starts_with('2'));
    assert!(client.deliver(SENDER, RECIPIENT, &letter::plain(SENDER, "missing")).starts_with("250"));
    let mut client = Client::hello(address("outbound"));
    assert!(client.deliver(SENDER, RECIPIENT, &letter::with_attachments("sealed")).starts_with("250"));
    gateway.signal(Signal::HUP);
    gateway.await_log("configuration reloaded");
    std::fs::write(&gateway.config, "host\tname = \"\n").unwrap();
    gateway.signal(Signal::HUP);
    gateway.await_log("the old one stays in force");
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().code(), Some(0));
    gateway.await_log("\"stopped\"");

    let events: Vec<Value> = gateway
        .log()
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for event in &events {
        for key in ["timestamp", "level", "target", "message"] {
            assert!(event[key].is_string(), "{key}: {event}");
        }
    }
    let verdict = events.iter().find(|event| event["verdict"] == "missing").unwrap();
    assert_eq!(verdict["action"], "quarantine");
    assert!(verdict["own_ms"].is_u64() && verdict["next_hop_ms"].is_u64(), "{verdict}");
    let start = &events[0];
    assert_eq!(
        (&start["message"], &start["version"]),
        (&"starting".into(), &env!("CARGO_PKG_VERSION").into())
    );
}

#[test]
fn credentials_and_messages_are_not_logged_at_any_level() {
    let site = Site::new();
    let gateway = site.start("level = \"trace\"");
    // What AUTH PLAIN sends for the user `dolma` with the password `yak-butter-tea`, and its secret parts.
    let (plain, password) = ("AGRvbG1hAHlhay1idXR0ZXItdGVh", "yak-butter-tea");
    let marker = "the monastery moves at dawn";
    let attachment = "QVRUQUNITUVOVC1NQVJLRVI=";
    for listener in ["outbound", "inbound"] {
        let at_once = format!("AUTH PLAIN {plain}");
        for auth in [&[at_once.as_str()][..], &["AUTH PLAIN", plain]] {
            let mut client = Client::hello(gateway.address(listener));
            let replies: Vec<_> = auth.iter().map(|line| client.say(line)).collect();
            assert_eq!(replies.last().unwrap(), "235 2.7.0 welcome");
            let letter = String::from_utf8(letter::with_attachments("marked")).unwrap();
            let message =
                letter.replace("is attached.", &format!("is attached, and {marker}.\r\n{attachment}"));
            assert!(message.contains(marker));
            assert!(client.deliver(SENDER, RECIPIENT, message.as_bytes()).starts_with("250"));
            // Refused, so that it is told why.
            assert!(client.open(SENDER, RECIPIENT).starts_with("354"));
            let bare = format!("Subject: bare\r\n\r\n{marker}\n\r\n");
            assert!(client.finish(bare.as_bytes()).starts_with("550 5.5.2 "));
            client.say("QUIT");
        }
        // Where nobody expects it.
        let mut client = Client::connect(gateway.address(listener));
        for line in
            [plain, password, marker, &format!("AUTH {plain}"), &format!("AUTH PLAIN {plain} {password}")]
        {
            client.say(line);
        }
    }
    gateway.await_log("sealed");
    gateway.await_log("verdict=");
    let log = gateway.log().join("\n");
    for secret in [plain, password, marker, attachment] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
    // The level is in force, or this proves nothing.
    assert!(log.contains("DEBUG"), "{log}");
}
