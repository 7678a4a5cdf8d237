//! What goes wrong, or otherwise than usual.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::flow::Flow;
use crate::program::run::works;
use crate::program::skip::are_there;
use crate::program::smtp::{Client, Server};
use crate::program::{Gateway, folder, is_root, letter, wait_for, waxseal_with, word};
use crate::zone::Kind;
use crate::{Ground, line, sealing_in, verifying};

/// A user with no rights but its own.
const NOBODY: u32 = 65_534;

/// The reply to a letter of ours.
fn send(gateway: &Gateway, subject: &str) -> String {
    let letter = letter::with_attachments(subject);
    Client::hello(gateway.address("outbound")).deliver("office@example.org", "desk@partner.example", &letter)
}

/// What a stolen key states is worth nothing, and its record must be revoked at once; the gateway says so until it is.
#[test]
fn a_stolen_key_is_revoked() {
    let Some(mut ground) = Ground::new(Kind::Unsigned) else { return };
    let server = Server::taking_all();
    let gateway = ground.sealing(server.address, "").start();
    assert!(send(&gateway, "before").starts_with("250"));
    let record = ground.next_key("gate2", &[]);
    ground.publish("gate2", &record);
    ground.await_state("gate2", "sealing");
    assert!(send(&gateway, "vouched").starts_with("250"));
    let revoked = ground.waxseal(&["keys", "revoke", "gate1"]);
    assert_eq!(revoked.status, 0, "{revoked:?}");
    for said in [
        "example.org: gate1 is out of use; it seals nothing more, and vouches for no other key",
        "gate1._attachment-seal.example.org. IN TXT \"v=SEAL1; k=ed25519; p=\"",
        "gate2 seals\n",
        "ALL your mail is held as `key-changed` by everybody who remembers gate1",
        "waxseal keys approve example.org",
    ] {
        assert!(revoked.text().contains(said), "{said}: {revoked:?}");
    }
    // Nobody has to reload.
    gateway.await_log("gate1 is revoked here, and others believe it still");
    assert!(send(&gateway, "alone").starts_with("250"));
    let delegated = |subject: &str| {
        let message = server.await_message(subject).message;
        String::from_utf8_lossy(&message).replace([' ', '\r', '\n'], "").contains(";c=")
    };
    assert_eq!(["before", "vouched", "alone"].map(delegated), [false, true, false]);

    // Merely taken away, those who remember the key would believe it on.
    ground.knot.change("example.org", &line("gate2", &record));
    gateway.signal(Signal::HUP);
    assert_eq!(ground.await_state("gate1", "revoke")["by"], "you");
    ground.knot.change("example.org", &(line("gate2", &record) + &line("gate1", "v=SEAL1; k=ed25519; p=")));
    gateway.signal(Signal::HUP);
    ground.await_state("gate1", "done");
    let again = ground.waxseal(&["keys", "revoke", "gate1"]);
    assert!(again.text().contains("gate1 was out of use already"), "{again:?}");
}

/// Without another key nothing is sealed by a stolen one, and nothing goes out unsealed: mail waits at the client.
#[test]
fn the_only_key_may_be_revoked() {
    let Some(mut ground) = Ground::new(Kind::Unsigned) else { return };
    let server = Server::taking_all();
    let gateway = ground.sealing(server.address, "").start();
    let revoked = ground.waxseal(&["keys", "revoke", "gate1"]);
    assert!(
        revoked.text().contains("there is no other key, so mail of example.org is put off (451)"),
        "{revoked:?}"
    );
    gateway.await_log("no key may seal for example.org, so its mail is put off (451)");
    let reply = send(&gateway, "too early");
    assert!(reply.starts_with("451 4.3.0"), "{reply}");
    // Nor at a start.
    drop(gateway);
    let gateway = Gateway::at(&ground.file("waxseal.toml"));
    assert!(send(&gateway, "too early").starts_with("451 4.3.0"));
    let record = ground.next_key("gate2", &[]);
    assert!(send(&gateway, "too early").starts_with("451 4.3.0"));
    ground.knot.change("example.org", &line("gate2", &record));
    ground.await_state("gate2", "sealing");
    assert!(send(&gateway, "in time").starts_with("250"));
    assert_eq!(server.received().len(), 1);
}

/// Whom a correspondent pinned is believed and nobody else; another key of theirs is held as one that has changed.
#[test]
fn who_pinned_the_old_key_holds_the_new_ones_mail() {
    let Some(mut ground) = Ground::new(Kind::Signed) else { return };
    let (server, other) = (Server::taking_all(), folder());
    let pin = format!("[[correspondent]]\ndomain = \"example.org\"\nkeys = [\"{}\"]\n", ground.record);
    let verifying = verifying(&ground, other.path(), &server, &pin);
    let sealing = ground.sealing(verifying.address("inbound"), "").start();
    assert!(send(&sealing, "by the old key").starts_with("250"));
    server.await_message("by the old key");
    // They are told first, and until then the old key seals.
    let later = ground.next_key("gate3", &["--not-before", "2199-01-01"]);
    let record = ground.next_key("gate2", &[]);
    let both = line("gate1", &ground.record) + &line("gate2", &record);
    ground.knot.change("example.org", &(both + &line("gate3", &later)));
    ground.await_state("gate2", "sealing");
    let waiting = ground.await_state("gate3", "waiting");
    assert_eq!(waiting["not_before"], "2199-01-01T00:00:00Z");
    assert!(send(&sealing, "by the new key").starts_with("250"));
    let held = wait_for(|| verifying.held().into_iter().next()).unwrap();
    assert_eq!((&held["verdict"], &held["reason"]), (&"key-changed".into(), &Value::Null), "{held}");
}

/// A key that may not seal yet waits, published as it is.
#[test]
fn a_key_waits_for_its_day() {
    let Some(mut ground) = Ground::new(Kind::Unsigned) else { return };
    let server = Server::taking_all();
    let _gateway = ground.sealing(server.address, "").start();
    let record = ground.next_key("gate2", &["--not-before", "2199-01-01"]);
    ground.publish("gate2", &record);
    let waiting = ground.await_state("gate2", "waiting");
    assert_eq!(waiting["until"], "2199-01-01T00:00:00Z");
    assert_eq!(ground.status("gate1")["state"], "sealing");
    let table = ground.waxseal(&["keys", "status", "example.org"]);
    assert!(table.text().contains("gate2        waiting until 2199-01-01"), "{table:?}");
    // Whoever heard once more that there is no record may remember that.
    ground.knot.change("example.org", &line("gate1", &ground.record));
    ground.await_state("gate2", "publish");
}

/// A file that cannot be used takes no key away from the gateway that runs; a reload says it, and a start.
#[test]
fn a_bad_file_stops_nothing() {
    let Some(ground) = Ground::new(Kind::Unsigned) else { return };
    let server = Server::taking_all();
    let gateway = ground.sealing(server.address, "").start();
    fs::set_permissions(ground.file("keys/gate1.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(ground.file("keys/gate2.pem"), "junk").unwrap();
    fs::set_permissions(ground.file("keys/gate2.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    gateway.await_log("others can read this private key (mode 0644)");
    assert!(send(&gateway, "goes on").starts_with("250"));
    gateway.signal(Signal::HUP);
    gateway.await_log("the configuration is wrong; the old one stays in force");
    assert!(send(&gateway, "goes on").starts_with("250"));
    let checked = ground.waxseal(&["check-config"]);
    assert_eq!(checked.status, 1, "{checked:?}");
    for said in ["gate1.pem: others can read", "gate2.pem: not an Ed25519 private key"] {
        assert!(checked.stderr.contains(said), "{said}: {checked:?}");
    }
}

/// What was known may be lost with the state: the key that all find goes on, and the newest follows.
#[test]
fn a_lost_state_costs_time_alone() {
    let Some(mut ground) = Ground::new(Kind::Unsigned) else { return };
    let server = Server::taking_all();
    let gateway = ground.sealing(server.address, "").start();
    let record = ground.next_key("gate2", &[]);
    ground.publish("gate2", &record);
    ground.await_state("gate2", "sealing");
    drop(gateway);
    for lost in ["{", "\"\""] {
        fs::write(ground.file("state/keys.json"), lost).unwrap();
        let gateway = Gateway::at(&ground.file("waxseal.toml"));
        gateway.await_log("what was known of our keys is lost");
        ground.await_state("gate2", "sealing");
        assert!(send(&gateway, "goes on").starts_with("250"));
    }
}

/// What root makes for the gateway's user, that user can read; and root follows no link of that user's.
#[test]
fn root_leaves_all_to_the_gateways_user() {
    let Some(mut ground) = Ground::new(Kind::Unsigned) else { return };
    if !are_there(&[("root's rights", is_root()), ("setpriv", works("setpriv", &["--version"]))]) {
        return;
    }
    // Where the program was built, another user may not look.
    let program = ground.file("waxseal");
    fs::copy(env!("CARGO_BIN_EXE_waxseal"), &program).unwrap();
    let waxseal = format!("setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups {}", program.display());
    let server = Server::taking_all();
    fs::create_dir(ground.file("state")).unwrap();
    for file in ["state", "keys", "keys/gate1.pem"] {
        chown(ground.file(file), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let script = format!("exec {waxseal} \"$@\"");
    let gateway = ground.sealing(server.address, "").start_from_shell(&script, Stdio::null());
    let flow = Flow::start(gateway.address("outbound"), server);
    let record = ground.next_key("gate2", &[]);
    ground.publish("gate2", &record);
    ground.await_state("gate2", "sealing");
    let about = |file: &str| {
        let about = fs::metadata(ground.file(file)).unwrap();
        (about.uid(), about.mode() & 0o777)
    };
    assert_eq!((about("keys/gate2.pem"), about("state/keys.json")), ((NOBODY, 0o600), (NOBODY, 0o600)));
    assert_eq!(ground.waxseal(&["keys", "revoke", "gate1"]).status, 0);
    assert_eq!((about("keys/revoked"), about("keys/revoked/gate1.pem")), ((NOBODY, 0o700), (NOBODY, 0o600)));
    ground.await_state("gate1", "revoke");
    flow.await_more(3);
    assert_eq!(flow.sealed().last().map(String::as_str), Some("gate2"));

    // Root loads no token's module for what the gateway's user could have written.
    let token = ground.file("keys/gate3.pkcs11");
    fs::write(&token, "pkcs11:token=t;object=gate3?module-path=/nowhere/module.so\n").unwrap();
    chown(&token, Some(NOBODY), Some(NOBODY)).unwrap();
    let checked = ground.waxseal(&["check-config"]);
    assert!(checked.stderr.contains("it names a token's module, so it must belong to root"), "{checked:?}");
    fs::remove_file(&token).unwrap();
    let elsewhere = folder();
    fs::remove_dir_all(ground.file("keys/revoked")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), ground.file("keys/revoked")).unwrap();
    let refused = ground.waxseal(&["keys", "revoke", "gate2"]);
    refused.assert_failed("`revoked` is a link, or no folder");
    assert!(ground.file("keys/gate2.pem").exists());
}

/// Nothing is claimed of a gateway that does not run; its next start goes on.
#[test]
fn a_gateway_that_does_not_run_is_told_of() {
    let Some(mut ground) = Ground::new(Kind::Unsigned) else { return };
    let server = Server::taking_all();
    let config = ground.sealing(server.address, "");
    config.write();
    let record = ground.next_key("gate2", &[]);
    ground.publish("gate2", &record);
    let status = ground.waxseal(&["keys", "status"]);
    assert!(status.stderr.contains("no gateway runs with this state folder"), "{status:?}");
    assert!(status.text().contains("gate2        publish this record"), "{status:?}");
    let _gateway = config.start();
    ground.await_state("gate2", "sealing");
}

/// Keys that systemd hands over: another is seen at the next start.
#[test]
fn credentials_follow_each_other() {
    let Some(mut ground) = Ground::new(Kind::Unsigned) else { return };
    let server = Server::taking_all();
    let credentials = ground.file("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::copy(ground.file("keys/gate1.pem"), credentials.join("ours_gate1.pem")).unwrap();
    let more = format!("name_servers = [\"{}\"]\n{}", ground.knot.address, ground.dns());
    let config = sealing_in(ground.folder.path(), "127.0.0.1:0", server.address, &more);
    let path = config.write();
    let text = fs::read_to_string(&path).unwrap().replace("keys = \"keys\"", "keys = \"credential:ours\"");
    fs::write(&path, text).unwrap();
    let start = || Gateway::at_with(&path, &[("CREDENTIALS_DIRECTORY", word(&credentials))]);
    let gateway = start();
    assert!(send(&gateway, "by gate1").starts_with("250"));
    let refused = ground.waxseal(&["keygen", "--domain", "example.org", "--selector", "gate2"]);
    refused.assert_failed("systemd hands these keys over: name the file with --out");
    let out = credentials.join("ours_gate2.pem");
    let record = ground.next_key("gate2", &["--out", word(&out)]);
    ground.publish("gate2", &record);
    drop(gateway);
    let gateway = start();
    gateway.await_log("gate2 seals");
    assert!(send(&gateway, "by gate2").starts_with("250"));
    let status = ["keys", "status", "--json", "--config", word(&path)];
    let status = waxseal_with(&[("CREDENTIALS_DIRECTORY", word(&credentials))], &status).json();
    let states: Vec<_> = status.iter().map(|line| line["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["old", "sealing"], "{status:?}");
    ground
        .waxseal(&["keys", "revoke", "gate1", "--domain", "example.org"])
        .assert_failed("take the file away");
}

/// What cannot be is said before anything is made.
#[test]
fn what_cannot_be_is_said_first() {
    let Some(ground) = Ground::new(Kind::Unsigned) else { return };
    let server = Server::taking_all();
    ground
        .sealing(server.address, "")
        .and("[[domain]]\nname = \"example.net\"\nselector = \"gate1\"\nkey = \"keys/gate1.pem\"\n")
        .and("[[domain]]\nname = \"example.com\"\nkeys = \"others\"\n")
        .write();
    let keygen = |arguments: &[&str]| ground.waxseal(&[&["keygen"], arguments].concat());
    keygen(&["--domain", "example.info"])
        .assert_failed("names no folder of keys for example.info: it takes --selector");
    keygen(&["--domain", "example.net"]).assert_failed("names no folder of keys for example.net");
    keygen(&["--domain", "example.org", "--selector", "gate1"])
        .assert_failed("gate1.pem: exists already, and a key is never overwritten");
    ground
        .waxseal(&["keys", "revoke", "gate7"])
        .assert_failed("no folder of keys that the configuration names holds gate7");
    ground
        .waxseal(&["keys", "status", "example.info"])
        .assert_failed("no [[domain]] of the configuration is for example.info");
    ground.waxseal(&["keys", "rotate", "example.org", "--no-wait"]).assert_failed("keys rotate is no more");

    // A selector of the day's date, in a folder that is made.
    let made = keygen(&["--domain", "example.com"]);
    assert_eq!(made.status, 0, "{made:?}");
    let again = keygen(&["--domain", "example.com"]);
    let names: Vec<_> =
        fs::read_dir(ground.file("others")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!((names.len(), again.status), (2, 0), "{again:?}");
    let day = names.iter().map(|name| name.to_str().unwrap()).min_by_key(|name| name.len()).unwrap();
    assert!(day.starts_with("20") && day.len() == "20261128.pem".len(), "{day}");
    let revoke = |more: &[&str]| ground.waxseal(&[&["keys", "revoke", "gate1"], more].concat());
    keygen(&["--domain", "example.com", "--selector", "gate1"]);
    revoke(&[]).assert_failed("the configuration names this key of example.net");
    assert_eq!(revoke(&["--domain", "example.com"]).status, 0);
    // The old forms go on working.
    let out = ground.file("alone.pem");
    let alone = keygen(&["--domain", "example.org", "--selector", "gate9", "--out", word(&out)]);
    assert!(alone.status == 0 && out.exists() && !ground.file("keys/gate9.pem").exists(), "{alone:?}");
}
