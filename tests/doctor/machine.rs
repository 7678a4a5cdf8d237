//! Files, users, and what a verifying gateway keeps.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;

use crate::program::run::Run;
use crate::program::skip::are_there;
use crate::program::smtp::{Server, closed_port};
use crate::program::tls::Authority;
use crate::program::{Config, folder, is_root, keygen, word};
use crate::{Findings, examine, run};

/// A user whom nobody else needs.
const SERVICE: u32 = 29_805;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Run as root the doctor sees with the eyes of the service's user, whom the state folder belongs to.
#[test]
fn says_what_the_services_user_cannot_read() {
    if !are_there(&[("root's rights", is_root())]) {
        return;
    }
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let (state, key) = (path("state"), path("keys/gate1.pem"));
    fs::create_dir(&state).unwrap();
    fs::create_dir(path("keys")).unwrap();
    chmod(&state, 0o700);
    chown(&state, Some(SERVICE), Some(SERVICE)).unwrap();
    keygen(&key);
    Authority::new("an authority").issue(&["gate.example.org"]).write(folder.path());
    let config = Config::new(folder.path(), "gate.example.org")
        .listener("outbound", "seal", closed_port(), "")
        .sealing_with(&key)
        .and("[tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"")
        .write();
    chmod(&path("tls.key"), 0o600);
    let findings = examine(&config);
    let found = findings.assert("permissions", "gate1.pem", "problem", "cannot read it");
    assert_eq!(found["remedy"], format!("chown {SERVICE}: {}", word(&key)));
    findings.assert("permissions", "tls.key", "problem", "cannot read it");
    findings.assert("permissions", "tls.pem", "ok", "can read it");
    findings.assert("permissions", word(&state), "ok", "others cannot look");

    chown(&key, Some(SERVICE), Some(SERVICE)).unwrap();
    chown(path("tls.key"), Some(SERVICE), Some(SERVICE)).unwrap();
    let findings = examine(&config);
    findings.assert_well("permissions", "gate1.pem");
    findings.assert_well("permissions", "tls.key");

    chmod(&path("keys"), 0o700);
    let findings = examine(&config);
    let found = findings.assert("permissions", "gate1.pem", "problem", "because of");
    assert_eq!(found["remedy"], format!("chmod o+x {}", word(&path("keys"))));
    chmod(&path("keys"), 0o755);

    for mode in [0o644, 0o640] {
        chmod(&key, mode);
        let findings = examine(&config);
        findings.assert("permissions", "gate1.pem", "problem", "others than its owner may read");
        findings.assert_not_well("permissions", "gate1.pem");
        findings.assert("configuration", "key", "problem", "chmod 600");
    }
    chmod(&key, 0o600);

    fs::write(state.join("pins.json"), "{}").unwrap();
    chmod(&state, 0o755);
    let findings = examine(&config);
    findings.assert("permissions", word(&state), "warning", "others can look");
    let found = findings.assert("permissions", word(&state), "problem", "pins.json");
    assert_eq!(found["remedy"], format!("chown -R {SERVICE}: {}", word(&state)));

    fs::remove_dir_all(&state).unwrap();
    examine(&config).assert("permissions", word(&state), "problem", "not there");
}

/// Memory, pins and quarantine of a verifying gateway, whole and damaged.
#[test]
fn what_a_verifying_gateway_keeps_is_looked_at() {
    let folder = folder();
    let next_hop = Server::taking_all();
    let config =
        Config::new(folder.path(), "mx.partner.example").listener("inbound", "verify", next_hop.address, "");
    fs::create_dir(folder.path().join("state")).unwrap();
    let findings = examine(&config.write());
    findings.assert("memory", "memory.sqlite", "not-checked", "nothing is remembered");
    findings.assert("quarantine", "quarantine", "not-checked", "not there yet");

    let gateway = config.start();
    let findings = examine(&gateway.config);
    findings.assert_well("memory", "memory.sqlite");
    findings.assert_well("quarantine", "quarantine");
    findings.assert_well("pins", "pins.json");
    findings.assert_well("disk", "state");
    let state = folder.path().join("state");
    fs::write(state.join("pins.json"), "{").unwrap();
    fs::create_dir(state.join("quarantine/20261123T000000-000000")).unwrap();
    fs::write(state.join("quarantine/20261123T000000-000000/meta.json"), "{").unwrap();
    drop(gateway);
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(state.join(format!("memory.sqlite{suffix}")));
    }
    fs::write(state.join("memory.sqlite"), [b'x'; 8192]).unwrap();
    let findings = examine(&config.write());
    findings.assert("memory", "memory.sqlite", "problem", "not a database");
    findings.assert("pins", "pins.json", "problem", "does not start");
    findings.assert("quarantine", "quarantine", "warning", "cannot be read");
}

/// Somebody else sees what anybody may see, and takes nothing for missing that is only hidden.
#[test]
fn what_is_hidden_from_us_is_not_taken_for_missing() {
    if !are_there(&[("root's rights", is_root())]) {
        return;
    }
    let folder = folder();
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    chmod(&state, 0o700);
    chown(&state, Some(SERVICE), Some(SERVICE)).unwrap();
    let key = folder.path().join("gate1.pem");
    keygen(&key);
    chown(&key, Some(SERVICE), Some(SERVICE)).unwrap();
    let config = Config::new(folder.path(), "gate.example.org")
        .listener("outbound", "seal", closed_port(), "")
        .listener("inbound", "verify", closed_port(), "")
        .sealing_with(&key)
        .write();
    // Where the program was built, another user may not look.
    let program = folder.path().join("waxseal");
    fs::copy(env!("CARGO_BIN_EXE_waxseal"), &program).unwrap();
    let output = Command::new(&program)
        .args(["doctor", "--json", "--config", word(&config)])
        .uid(SERVICE + 1)
        .gid(SERVICE + 1)
        .env_clear()
        .run();
    let all = String::from_utf8(output.stdout).unwrap();
    let findings = Findings {
        all: all.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        status: output.status.code().unwrap(),
    };
    findings.assert("configuration", "key", "not-checked", "ermission denied");
    findings.assert("permissions", word(&state), "not-checked", "this is another user");
    findings.assert("state", word(&state), "not-checked", "only the service's user");
    for check in ["memory", "pins", "quarantine", "disk"] {
        assert!(findings.of(check, "").is_empty(), "{}", findings.shown());
    }
}

/// What was never changed after it was copied from the samples is named by its line.
#[test]
fn sample_values_are_named_by_their_line() {
    let folder = folder();
    let sample = include_str!("../../deploy/postfix/proxy-filter/waxseal.toml");
    let path = folder.path().join("waxseal.toml");
    let examined = |text: &str| {
        fs::write(&path, format!("state = \"state\"\n{text}\n[dns]\nservers = []\n")).unwrap();
        examine(&path)
    };
    let findings = examined(sample);
    let line = |text: &str| 2 + sample.lines().position(|line| line.contains(text)).unwrap();
    findings.assert(
        "sample",
        &format!("waxseal.toml:{}", line("mx.partner.example")),
        "warning",
        "mx.partner.example",
    );
    findings.assert("sample", &format!("waxseal.toml:{}", line("\"example.org\"")), "warning", "example.org");
    findings.assert("sample", &format!("waxseal.toml:{}", line("v=SEAL1")), "warning", "iojj3XQJ8ZX9");
    assert_eq!(findings.of("sample", "").len(), 3, "{}", findings.shown());
    let own = sample.replace("mx.partner.example", "mx.savetibet.nl").replace("example.org", "tibet.net");
    assert_eq!(examined(&own).of("sample", "").len(), 1, "the key alone");
    let findings = examined(&own.replace("iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=", &public_key()));
    assert_eq!(findings.of("sample", "").len(), 0, "{}", findings.shown());
    findings.assert("pinned", "correspondents", "ok", "tibet.net (1 key)");
}

/// A key that nobody has pinned yet.
fn public_key() -> String {
    let folder = folder();
    keygen(&folder.path().join("key.pem")).split_once("p=").unwrap().1.to_owned()
}

/// Minutes make honest mail `future-seal`.
#[test]
fn a_clock_that_is_minutes_off_is_a_problem() {
    let folder = folder();
    fs::create_dir(folder.path().join("state")).unwrap();
    let config = Config::new(folder.path(), "mx.partner.example")
        .listener("inbound", "verify", closed_port(), "")
        .write();
    for (ahead, state, says) in [
        (0, "ok", "agrees with the time server"),
        (430, "problem", "7 minutes behind"),
        (-430, "problem", "7 minutes ahead of"),
    ] {
        let server = time_server(ahead);
        let findings = run(&config, &["--time-server", &server.to_string()]);
        findings.assert("clock", "system clock", state, says);
    }
    let nobody = run(&config, &["--time-server", &closed_port().to_string()]);
    nobody.assert("clock", "system clock", "not-checked", "whether it agrees with the time server");
}

/// A time server (RFC 4330) whose clock is so many seconds ahead of ours.
fn time_server(ahead: i64) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut packet = [0; 48];
        while let Ok((48, client)) = socket.recv_from(&mut packet) {
            let now = jiff::Timestamp::now().as_second() + 2_208_988_800 + ahead;
            let time = (u64::try_from(now).unwrap() << 32).to_be_bytes();
            let question = packet;
            packet = [0; 48];
            (packet[0], packet[1]) = (0x24, 2);
            packet[24..32].copy_from_slice(&question[40..]);
            packet[32..40].copy_from_slice(&time);
            packet[40..].copy_from_slice(&time);
            socket.send_to(&packet, client).unwrap();
        }
    });
    address
}
