//! `waxseal keys rotate` with real zones, a sealing and a verifying gateway, and mail that flows all the while. Needs Knot DNS;
//! without it the tests are skipped, unless `WAXSEAL_REQUIRE_LIVE` is set.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod command;
mod flow;
mod mishaps;
#[path = "../program/mod.rs"]
mod program;
#[path = "../dns/zone.rs"]
#[allow(dead_code, reason = "that test uses all of it")]
mod zone;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use command::Rotate;
use flow::Flow;
use program::smtp::Server;
use program::{Config, Gateway, folder, keygen, wait_for, waxseal, waxseal_in, word};
use rustix::process::Signal;
use tempfile::TempDir;
use zone::{Kind, Knot, Place, Zone, addresses};

/// What the sealing site has written about its key, which a rotation leaves alone.
const DOMAIN: &str = "\
# The office's mail.
[[domain]]
name = \"example.org\"  # as in From
selector = \"gate1\"  # see the key book
# Made by Ada.
key = \"gate1.pem\"

# Whom we ask.
";

/// Seconds for which an absence may be remembered, so that the tests see that it is waited for.
const NEGATIVE_TTL: u32 = 2;

/// A sealing site with its zone.
struct Ground {
    folder: TempDir,
    record: String,
    knot: Knot,
    dnssec: &'static str,
}

impl Ground {
    fn new(kind: Kind) -> Option<Self> {
        let folder = folder();
        let record = keygen(&folder.path().join("gate1.pem"));
        let place = Place { negative_ttl: NEGATIVE_TTL, ..Place::default() };
        let lines = line("gate1", &record);
        let knot = Knot::start_as(&place, &[Zone { name: "example.org", kind, lines: &lines }])?;
        let dnssec = if kind == Kind::Signed { "prefer" } else { "off" };
        Some(Self { folder, record, knot, dnssec })
    }

    fn dns(&self) -> String {
        let anchors = match self.dnssec {
            "off" => String::new(),
            _ => format!("trust_anchors = \"{}\"\n", self.knot.anchors().display()),
        };
        format!(
            "[dns]\nservers = [\"{}\"]\ndnssec = \"{}\"\ntimeout = \"20s\"\n{anchors}",
            self.knot.address, self.dnssec
        )
    }

    fn sealing(&self, next_hop: std::net::SocketAddr, domain: &str) -> Config {
        Config::new(self.folder.path(), "mail.example.org")
            .listener("outbound", "seal", next_hop, "")
            .and(&format!("{domain}{}", self.dns()))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `waxseal keys rotate` for this site.
    fn rotate(&self, more: &[&str]) -> Rotate {
        self.rotate_with(&[], more)
    }

    fn rotate_with(&self, variables: &[(&str, &str)], more: &[&str]) -> Rotate {
        let (config, server) = (self.file("waxseal.toml"), self.knot.address.to_string());
        let own = ["--config", word(&config), "--every", "1", "--name-server", &server, "example.org"];
        Rotate::start_with(variables, &[&own, more].concat())
    }
}

/// A line of the zone.
fn line(selector: &str, record: &str) -> String {
    format!("{selector}._attachment-seal TXT \"{record}\"\n")
}

/// A gateway that verifies before `server`.
fn verifying(ground: &Ground, folder: &Path, server: &Server) -> Gateway {
    Config::new(folder, "mx.partner.example")
        .listener("inbound", "verify", server.address, "")
        .and(&ground.dns())
        .start()
}

/// The whole way, with mail all the while: not one message is lost or gets another verdict than `pass`, none names the new key
/// before it is published, and in the end the new key seals.
fn rotates(kind: Kind) -> Option<(Ground, Gateway, Vec<flow::Arrived>)> {
    let mut ground = Ground::new(kind)?;
    let (server, other_folder) = (Server::taking_all(), folder());
    let verifying = verifying(&ground, other_folder.path(), &server);
    let sealing = ground.sealing(verifying.address("inbound"), DOMAIN).start();
    let config = fs::read_to_string(ground.file("waxseal.toml")).unwrap();
    let flow = Flow::start(sealing.address("outbound"), server);
    flow.await_more(5);

    // Interrupted in whatever way, it goes on with the same key.
    let first = ground.rotate(&[]);
    let record = first.record("gate2");
    first.await_line("nothing yet");
    first.kill(Signal::KILL);
    let second = ground.rotate(&[]);
    assert_eq!(second.record("gate2"), record);
    second.await_line("nothing yet");
    second.kill(Signal::INT);
    let pending = ground.rotate(&["--no-wait"]).ended();
    assert_eq!(pending.status, 3, "{pending:?}");
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(ground.file("gate2.pem")).unwrap());
    assert_eq!(mode & 0o777, 0o600);

    flow.await_more(5);
    assert!(flow.arrived().iter().all(|message| message.selector == "gate1"));
    let lines = line("gate1", &ground.record) + &line("gate2", &record);
    ground.knot.change("example.org", &lines);
    for pause in [0, 20, 100, 400, 1000, 2500] {
        let killed = ground.rotate(&[]);
        thread::sleep(Duration::from_millis(pause));
        killed.kill(Signal::KILL);
    }
    let last = ground.rotate(&[]).ended();
    // One of those that were killed may have taken the last step; that begins no other rotation.
    let is_done = last.text().contains("the new key gate2 seals since 20");
    assert!(is_done && last.status == 0 && !ground.file("gate3.pem").exists(), "{last:?}");
    wait_for(|| flow.arrived().iter().any(|message| message.selector == "gate2").then_some(())).unwrap();
    flow.await_more(5);
    let arrived = flow.stop();
    for message in &arrived {
        assert!(message.result.contains("x-attachment-seal=pass"), "{message:?}");
    }
    let switched = arrived.iter().position(|message| message.selector == "gate2").unwrap();
    assert!(arrived[switched..].iter().all(|message| message.selector == "gate2"));

    // All but the change is as it was.
    let now = fs::read_to_string(ground.file("waxseal.toml")).unwrap();
    let wanted = config.replace("\"gate1\"", "\"gate2\"").replace("\"gate1.pem\"", "\"gate2.pem\"");
    let wanted = match kind {
        _ if !ground.file("gate2.succession").exists() => panic!("no word of the old key"),
        _ => wanted.replace("\"gate2.pem\"\n", "\"gate2.pem\"\nsuccession = \"gate2.succession\"\n"),
    };
    assert_eq!(now, wanted);
    assert_eq!(fs::read_to_string(ground.file("waxseal.toml.before-gate2")).unwrap(), config);
    Some((ground, sealing, arrived))
}

/// Where DNSSEC proves the new key; and what becomes of the old record.
#[test]
fn mail_flows_while_a_key_is_rotated() {
    let Some((mut ground, sealing, _)) = rotates(Kind::Signed) else { return };
    let status = || {
        let config = ground.file("waxseal.toml");
        let ended = waxseal(&["keys", "rotate", "--status", "--config", word(&config)]);
        assert_eq!(ended.status, 0, "{ended:?}");
        ended.text().to_owned()
    };
    assert!(status().starts_with("leave gate1._attachment-seal.example.org in DNS until 20"), "{}", status());

    // Until then nothing is said of it; after that the gateway says so until it is gone.
    let reminder = "remove gate1._attachment-seal.example.org from DNS";
    assert!(!sealing.log().iter().any(|line| line.contains(reminder)));
    let file = ground.file("state/rotations.json");
    let mut rotations: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    rotations["retired"][0]["remove_after"] = "2026-01-01T00:00:00Z".into();
    fs::write(&file, rotations.to_string()).unwrap();
    sealing.signal(Signal::HUP);
    sealing.await_log(reminder);
    assert!(status().contains(reminder), "{}", status());

    // Another begins only where it is meant, and can be given up.
    let another = ground.rotate(&["--no-wait", "--selector", "gate1"]).ended();
    another.assert_failed("the selector gate1 is or was in use");
    assert_eq!(ground.rotate(&["--no-wait", "--selector", "gate3"]).ended().status, 3);
    let config = word(&ground.file("waxseal.toml")).to_owned();
    let given_up = waxseal(&["keys", "rotate", "--abandon", "--config", &config]);
    assert!(given_up.text().contains("the rotation to gate3 is given up"), "{given_up:?}");
    ground.knot.change("example.org", "");
    sealing.signal(Signal::HUP);
    sealing.await_log("the old key's record is gone");
    let status = waxseal(&["keys", "rotate", "--status", "--config", &config]);
    assert_eq!(status.text(), "no rotation is under way, and no old key is in DNS\n");
}

/// Without DNSSEC, where correspondents know no more than what they remember: the old key vouches for the new one.
#[test]
fn those_who_remember_the_old_key_believe_the_new_one() {
    let Some((_, _, arrived)) = rotates(Kind::Unsigned) else { return };
    for message in arrived {
        assert_eq!(message.is_delegated, message.selector == "gate2", "{message:?}");
    }
}

/// A name server that lags behind is waited for, and a configuration that others look after is left to them.
#[test]
fn the_last_name_server_and_other_hands_are_waited_for() {
    let Some([one, two]) = addresses() else { return };
    let site = folder();
    let record = keygen(&site.path().join("gate1.pem"));
    let zone = |more: &str| "@ NS ns2.\n".to_owned() + &line("gate1", &record) + more;
    let lines = zone("");
    let zones = [Zone { name: "example.org", kind: Kind::Unsigned, lines: &lines }];
    let others = [("ns2", two.ip())];
    let at = |address| Place { address: Some(address), others: &others, negative_ttl: 1 };
    let (Some(mut primary), Some(mut secondary)) =
        (Knot::start_as(&at(one), &zones), Knot::start_as(&at(two), &zones))
    else {
        return;
    };
    let server = Server::taking_all();
    let gateway = Config::new(site.path(), "mail.example.org")
        .listener("outbound", "seal", server.address, "")
        .and(&format!("{DOMAIN}[dns]\nservers = [\"{one}\"]\n"))
        .start();
    let config = site.path().join("waxseal.toml");
    let rotate =
        |more: &[&str]| Rotate::start(&[&["--config", word(&config), "--every", "1"], more].concat());
    let waiting = rotate(&["--no-edit"]);
    let new = zone(&line("gate2", &waiting.record("gate2")));
    waiting.await_line(&format!("ns2 ({two}): nothing yet"));
    primary.change("example.org", &new);
    waiting.await_line(&format!("ns ({one}): the new key"));
    let not_yet = rotate(&["--no-wait"]).ended();
    // One at a time.
    assert_eq!(
        (not_yet.status, not_yet.stderr.contains("another `waxseal keys rotate`")),
        (2, true),
        "{not_yet:?}"
    );
    waiting.kill(Signal::INT);
    let not_yet = rotate(&["--no-wait"]).ended();
    assert_eq!(not_yet.status, 3, "{not_yet:?}");
    assert!(not_yet.text().contains("publish the record on every name server"), "{not_yet:?}");
    assert!(!not_yet.text().contains("resolver"), "{not_yet:?}");

    secondary.change("example.org", &new);
    let by_hand = rotate(&["--no-edit"]).ended();
    assert_eq!(by_hand.status, 3, "{by_hand:?}");
    let before = fs::read_to_string(&config).unwrap();
    assert!(before.contains(DOMAIN));
    let lines: Vec<&str> =
        by_hand.text().lines().filter(|line| line.starts_with("  ") && line.contains(" = ")).collect();
    let [selector, key, succession] = lines[..] else { panic!("{by_hand:?}") };
    assert_eq!(selector, "  selector = \"gate2\"");
    // Whoever changes it in a way that is wrong finds the gateway as it was.
    let mine = before
        .replace("selector = \"gate1\"", selector)
        .replace("key = \"gate1.pem\"", &format!("{key}\n{succession}"));
    fs::write(&config, &mine).unwrap();
    let done = rotate(&[]).ended();
    assert_eq!(done.status, 0, "{done:?}");
    gateway.await_log("configuration reloaded");
    assert_eq!(fs::read_to_string(&config).unwrap(), mine);
}

/// With a root the new key seals only once the root vouches for it; the old key's word is not needed.
#[test]
fn the_roots_word_is_waited_for() {
    let Some(mut ground) = Ground::new(Kind::Unsigned) else { return };
    let root = ["root", "new", "--domain", "example.org", "--out", "root.pem"];
    assert_eq!(waxseal_in(ground.folder.path(), &root).status, 0);
    fs::create_dir(ground.file("vouched")).unwrap();
    vouch(ground.folder.path(), "gate1", &ground.record);
    let server = Server::taking_all();
    let domain = DOMAIN.replace("key = \"gate1.pem\"\n", "key = \"gate1.pem\"\ndelegation = \"vouched\"\n");
    let gateway = ground.sealing(server.address, &domain).start();
    let first = ground.rotate(&["--no-wait"]);
    let record = first.record("gate2");
    assert_eq!(first.ended().status, 3);
    let lines = line("gate1", &ground.record) + &line("gate2", &record);
    ground.knot.change("example.org", &lines);
    let waiting = ground.rotate(&[]);
    waiting.await_line("waiting for the root's delegation");
    waiting.kill(Signal::INT);
    let pending = ground.rotate(&["--no-wait"]).ended();
    assert_eq!(pending.status, 3, "{pending:?}");
    assert!(pending.text().contains("have the domain's root vouch"), "{pending:?}");
    vouch(ground.folder.path(), "gate2", &record);
    let done = ground.rotate(&[]).ended();
    assert_eq!(done.status, 0, "{done:?}");
    gateway.await_log("configuration reloaded");
    let config = fs::read_to_string(ground.file("waxseal.toml")).unwrap();
    assert!(config.contains("delegation = \"vouched\"") && !config.contains("succession"), "{config}");
}

/// The root in `folder` signs a delegation of a key, into the folder `vouched`.
fn vouch(folder: &Path, selector: &str, record: &str) {
    let name = format!("{selector}.txt");
    let line = format!("{selector}._attachment-seal.example.org. IN TXT \"{record}\"\n");
    fs::write(folder.join(&name), line).unwrap();
    let out = format!("vouched/{selector}.delegation");
    let arguments = ["root", "delegate", "--key", "root.pem", "--days", "30", "--out", &out, &name];
    let ended = waxseal_in(folder, &arguments);
    assert_eq!(ended.status, 0, "{ended:?}");
}
