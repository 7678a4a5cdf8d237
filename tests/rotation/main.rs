//! Keys that follow each other, with real zones, a sealing and a verifying gateway, and mail that flows all the while. Needs Knot
//! DNS; without it the tests are skipped, unless `WAXSEAL_REQUIRE_LIVE` is set.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod flow;
mod mishaps;
#[path = "../program/mod.rs"]
mod program;
#[path = "../dns/zone.rs"]
#[allow(dead_code, reason = "that test uses all of it")]
mod zone;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use flow::Flow;
use program::smtp::{Server, free_port};
use program::{Config, Ended, Gateway, folder, keygen, run, wait_for, waxseal, waxseal_in, word};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use zone::{Kind, Knot, Place, Zone, addresses};

/// Seconds for which an absence may be remembered, so that the tests see that it is waited for.
const NEGATIVE_TTL: u32 = 2;

/// A sealing site with its zone. The first key, gate1, is published.
struct Ground {
    folder: TempDir,
    record: String,
    knot: Knot,
    dnssec: &'static str,
}

impl Ground {
    fn new(kind: Kind) -> Option<Self> {
        let folder = folder();
        fs::create_dir(folder.path().join("keys")).unwrap();
        let record = keygen(&folder.path().join("keys/gate1.pem"));
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

    /// A gateway that seals before `next_hop`; `more` is for the domain.
    fn sealing(&self, next_hop: SocketAddr, more: &str) -> Config {
        self.sealing_at("127.0.0.1:0", next_hop, more)
    }

    fn sealing_at(&self, address: &str, next_hop: SocketAddr, more: &str) -> Config {
        sealing_in(
            self.folder.path(),
            address,
            next_hop,
            &format!("name_servers = [\"{}\"]\n{more}", self.knot.address),
        )
        .and(&self.dns())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `waxseal` with this site's configuration.
    fn waxseal(&self, arguments: &[&str]) -> Ended {
        waxseal(&[arguments, &["--config", word(&self.file("waxseal.toml"))]].concat())
    }

    /// Makes the next key; its record.
    fn next_key(&self, selector: &str, more: &[&str]) -> String {
        let own = ["keygen", "--domain", "example.org", "--selector", selector];
        record_of(&self.waxseal(&[&own, more].concat()), selector)
    }

    /// Publishes gate1's record, and this one.
    fn publish(&mut self, selector: &str, record: &str) {
        let lines = line("gate1", &self.record) + &line(selector, record);
        self.knot.change("example.org", &lines);
    }

    /// What `keys status --json` says of a key; null where it says nothing.
    fn status(&self, selector: &str) -> Value {
        status_in(self.folder.path(), selector)
    }

    /// Waits until a key is in this state.
    fn await_state(&self, selector: &str, state: &str) -> Value {
        await_state_in(self.folder.path(), selector, state)
    }
}

/// A gateway in `folder` that seals before `next_hop` with the keys in its folder `keys`.
fn sealing_in(folder: &Path, address: &str, next_hop: SocketAddr, more: &str) -> Config {
    Config::new(folder, "mail.example.org")
        .listener_at("outbound", "seal", address, next_hop, "")
        .and(&format!("[[domain]]\nname = \"example.org\"\nkeys = \"keys\"\n{more}"))
}

fn status_in(folder: &Path, selector: &str) -> Value {
    let ended = waxseal(&["keys", "status", "--json", "--config", word(&folder.join("waxseal.toml"))]);
    assert_eq!(ended.status, 0, "{ended:?}");
    ended.json().into_iter().find(|line| line["selector"] == selector).unwrap_or(Value::Null)
}

fn await_state_in(folder: &Path, selector: &str, state: &str) -> Value {
    let found = wait_for(|| Some(status_in(folder, selector)).filter(|line| line["state"] == state));
    found.unwrap_or_else(|| panic!("{selector} is not `{state}`: {:#}", status_in(folder, selector)))
}

/// The record that `keygen` printed.
fn record_of(ended: &Ended, selector: &str) -> String {
    assert_eq!(ended.status, 0, "{ended:?}");
    let name = format!("{selector}._attachment-seal.example.org. IN TXT ");
    let line = ended.text().lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("{ended:?}")).trim_matches('"').to_owned()
}

/// A line of the zone.
fn line(selector: &str, record: &str) -> String {
    format!("{selector}._attachment-seal TXT \"{record}\"\n")
}

/// A gateway that verifies before `server`.
fn verifying(ground: &Ground, folder: &Path, server: &Server, more: &str) -> Gateway {
    Config::new(folder, "mx.partner.example")
        .listener("inbound", "verify", server.address, "")
        .and(more)
        .and(&ground.dns())
        .start()
}

/// The whole way, with mail all the while, and with commands and gateways that are killed at any moment: not one message is lost
/// or gets another verdict than `pass`, none names the new key before it is published, and in the end the new key seals.
fn rotates(kind: Kind) -> Option<(Ground, Gateway, Vec<flow::Arrived>)> {
    let mut ground = Ground::new(kind)?;
    let (server, other_folder) = (Server::taking_all(), folder());
    let verifying = verifying(&ground, other_folder.path(), &server, "");
    let address = free_port();
    let site = ground.sealing_at(&address.to_string(), verifying.address("inbound"), "");
    let mut sealing = site.start();
    let config = fs::read_to_string(ground.file("waxseal.toml")).unwrap();
    let flow = Flow::start(address, server);
    flow.await_more(5);

    // Killed at any moment, it leaves a whole key or none, which the gateway takes either way.
    for pause in [0, 2, 5, 10, 20, 40] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waxseal"));
        command.args([
            "keygen",
            "--domain",
            "example.org",
            "--selector",
            &format!("torn{pause}"),
            "--config",
        ]);
        let mut child = command.arg(ground.file("waxseal.toml")).stdout(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(pause));
        run::signal(&child, Signal::KILL);
        run::ended(&mut child).unwrap();
    }
    assert_eq!(ground.waxseal(&["check-config"]).status, 0);
    for name in fs::read_dir(ground.file("keys")).unwrap().map(|entry| entry.unwrap().path()) {
        if name != ground.file("keys/gate1.pem") {
            fs::remove_file(name).unwrap();
        }
    }

    let record = ground.next_key("gate2", &[]);
    assert_eq!(fs::metadata(ground.file("keys/gate2.pem")).unwrap().mode() & 0o777, 0o600);
    let waiting = ground.await_state("gate2", "publish");
    let server = ground.knot.address;
    assert!(waiting["next"].as_str().unwrap().contains(&record), "{waiting}");
    wait_for(|| {
        let answers = ground.status("gate2")["answers"].clone();
        (answers == serde_json::json!([format!("{server}: nothing")])).then_some(())
    })
    .unwrap_or_else(|| panic!("{}", ground.status("gate2")));
    flow.await_more(5);
    assert!(flow.arrived().iter().all(|message| message.selector == "gate1"));
    ground.publish("gate2", &record);
    for pause in [0, 20, 100, 400, 1000, 1500, 2500] {
        sealing.signal(Signal::KILL);
        sealing.wait();
        sealing = site.start();
        thread::sleep(Duration::from_millis(pause));
    }
    wait_for(|| flow.arrived().iter().any(|message| message.selector == "gate2").then_some(())).unwrap();
    for pause in [0, 300] {
        sealing.signal(Signal::KILL);
        sealing.wait();
        sealing = site.start();
        thread::sleep(Duration::from_millis(pause));
    }
    flow.await_more(5);
    let arrived = flow.stop();
    for message in &arrived {
        assert!(message.result.contains("x-attachment-seal=pass"), "{message:?}");
    }
    let switched = arrived.iter().position(|message| message.selector == "gate2").unwrap();
    assert!(arrived[switched..].iter().all(|message| message.selector == "gate2"));
    assert_eq!(fs::read_to_string(ground.file("waxseal.toml")).unwrap(), config);
    Some((ground, sealing, arrived))
}

/// Where DNSSEC proves the new key; and what becomes of the old record.
#[test]
fn mail_flows_while_a_key_is_rotated() {
    let Some((mut ground, mut sealing, _)) = rotates(Kind::Signed) else { return };
    let old = ground.await_state("gate1", "old");
    assert!(
        old["next"].as_str().unwrap().contains("leave gate1._attachment-seal.example.org. in DNS until 20"),
        "{old}"
    );
    let table = ground.waxseal(&["keys", "status"]);
    assert!(table.text().contains("gate1        old: leave its record until 20"), "{table:?}");
    assert!(table.text().contains("gate2        sealing\n"), "{table:?}");

    // Until then nothing is said of it; after that the gateway says so until it is gone.
    let reminder = "remove gate1._attachment-seal.example.org. from DNS";
    assert!(!sealing.log().iter().any(|line| line.contains(reminder)));
    sealing.signal(Signal::TERM);
    sealing.wait();
    let file = ground.file("state/keys.json");
    let mut known: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    known["example.org"]["keys"][0]["replaced"] = 1_767_225_600.into();
    fs::write(&file, known.to_string()).unwrap();
    let sealing = Gateway::at(&ground.file("waxseal.toml"));
    sealing.await_log(reminder);
    ground.await_state("gate1", "remove");
    ground.knot.change("example.org", "");
    sealing.signal(Signal::HUP);
    sealing.await_log("the record of gate1 is gone");
    ground.await_state("gate1", "done");
}

/// Without DNSSEC, where correspondents know no more than what they remember: the old key vouches for the new one.
#[test]
fn those_who_remember_the_old_key_believe_the_new_one() {
    let Some((_, _, arrived)) = rotates(Kind::Unsigned) else { return };
    for message in arrived {
        assert_eq!(message.is_delegated, message.selector == "gate2", "{message:?}");
    }
}

/// A name server that lags behind is waited for, and resolvers are not asked before; each of several gateways decides for itself.
#[test]
fn the_last_name_server_is_waited_for() {
    let Some([one, two]) = addresses() else { return };
    let (site, other) = (folder(), folder());
    for folder in [&site, &other] {
        fs::create_dir(folder.path().join("keys")).unwrap();
    }
    let record = keygen(&site.path().join("keys/gate1.pem"));
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
    let dns = format!("[dns]\nservers = [\"{one}\"]\n");
    let start = |folder: &Path| sealing_in(folder, "127.0.0.1:0", server.address, &dns).start();
    let _gateway = start(site.path());
    let config = site.path().join("waxseal.toml");
    let made =
        waxseal(&["keygen", "--domain", "example.org", "--selector", "gate2", "--config", word(&config)]);
    let new = zone(&line("gate2", &record_of(&made, "gate2")));
    let answer = |who: &str, what: &str| {
        let wanted = format!("{who}: {what}");
        let found = wait_for(|| {
            let answers = status_in(site.path(), "gate2")["answers"].clone();
            answers.as_array()?.iter().any(|answer| answer.as_str() == Some(&wanted)).then_some(answers)
        });
        found.unwrap_or_else(|| panic!("not `{wanted}`: {}", status_in(site.path(), "gate2")))
    };
    answer(&format!("ns2 ({two})"), "nothing");
    primary.change("example.org", &new);
    let answers = answer(&format!("ns ({one})"), "this key");
    assert!(!answers.to_string().contains("resolver"), "{answers}");
    assert_eq!(status_in(site.path(), "gate2")["state"], "publish");
    secondary.change("example.org", &new);
    answer(&format!("resolver {one}"), "this key");
    await_state_in(site.path(), "gate2", "sealing");

    for key in ["gate1.pem", "gate2.pem"] {
        fs::copy(site.path().join("keys").join(key), other.path().join("keys").join(key)).unwrap();
    }
    let _other = start(other.path());
    await_state_in(other.path(), "gate2", "sealing");
    assert_eq!(status_in(other.path(), "gate1")["state"], "old");
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
    let gateway = ground.sealing(server.address, "delegation = \"vouched\"\n").start();
    let flow = Flow::start(gateway.address("outbound"), server);
    let record = ground.next_key("gate2", &[]);
    ground.publish("gate2", &record);
    let waiting = ground.await_state("gate2", "delegate");
    assert!(waiting["next"].as_str().unwrap().contains("have the domain's root vouch"), "{waiting}");
    assert_eq!(waiting["by"], "the root's holder");
    flow.await_more(3);
    assert_eq!(ground.status("gate1")["state"], "sealing");
    // Nobody has to reload.
    vouch(ground.folder.path(), "gate2", &record);
    let known = fs::metadata(ground.file("keys")).unwrap().modified().unwrap();
    fs::File::open(ground.file("keys")).unwrap().set_modified(known + Duration::from_secs(1)).unwrap();
    ground.await_state("gate2", "sealing");
    flow.await_more(3);
    let arrived = flow.stop();
    assert!(arrived.iter().all(|message| message.is_delegated), "{arrived:?}");
    assert_eq!(arrived.last().unwrap().selector, "gate2");
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
