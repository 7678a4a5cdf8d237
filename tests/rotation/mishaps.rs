//! What goes wrong, or otherwise than usual.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::command::Rotate;
use crate::flow::Flow;
use crate::program::run::{Run, works};
use crate::program::skip::are_there;
use crate::program::smtp::Server;
use crate::program::tls::Authority;
use crate::program::{Ended, is_root, waxseal, word};
use crate::zone::Kind;
use crate::{DOMAIN, Ground, line};

/// A user with no rights but its own.
const NOBODY: u32 = 65_534;

/// A rotation as far as its record, which is then published.
fn published(ground: &mut Ground, more: &[&str]) -> Ended {
    let first = ground.rotate(&[&["--no-wait"], more].concat());
    let lines = line("gate1", &ground.record) + &line("gate2", &first.record("gate2"));
    let ended = first.ended();
    assert_eq!(ended.status, 3, "{ended:?}");
    ground.knot.change("example.org", &lines);
    ended
}

/// What a stolen key says is worth nothing, and its record is to be revoked at once; the gateway says so until it is.
#[test]
fn a_stolen_key_is_to_be_revoked() {
    let Some(mut ground) = Ground::new(Kind::Unsigned) else { return };
    let server = Server::taking_all();
    let gateway = ground.sealing(server.address, DOMAIN).start();
    // A key that was there for the thief is no better than the old one.
    assert_eq!(ground.rotate(&["--no-wait", "--selector", "gate0"]).ended().status, 3);
    let too_late = ground.rotate(&["--no-wait", "--compromised"]).ended();
    too_late.assert_failed("the new key gate0 of the rotation under way was on this machine as well");
    let given_up = waxseal(&["keys", "rotate", "--abandon", "--config", word(&ground.file("waxseal.toml"))]);
    assert_eq!(given_up.status, 0, "{given_up:?}");
    let begun = published(&mut ground, &["--compromised"]);
    let done = ground.rotate(&["--no-wait"]).ended();
    assert_eq!(done.status, 0, "{done:?}");
    for said in [&begun, &done] {
        let text = said.text();
        let held = "ALL your mail is held as `key-changed` by everybody who remembers gate1";
        assert!(text.contains(held) && text.contains("waxseal keys approve example.org"), "{said:?}");
        assert!(!text.contains("who pinned the old key itself"), "{said:?}");
    }
    let advice = "publish \"v=SEAL1; k=ed25519; p=\" at gate1._attachment-seal.example.org now";
    assert!(done.text().contains(advice), "{done:?}");
    let config = fs::read_to_string(ground.file("waxseal.toml")).unwrap();
    assert!(config.contains("\"gate2.pem\"") && !config.contains("succession"), "{config}");
    gateway.signal(Signal::HUP);
    gateway.await_log("and leave that there for good");

    // Merely taken away, those who remember the key would believe it on.
    ground.knot.change("example.org", "");
    let status = waxseal(&["keys", "rotate", "--status", "--config", word(&ground.file("waxseal.toml"))]);
    assert!(status.text().contains(advice), "{status:?}");
    ground.knot.change("example.org", &line("gate1", "v=SEAL1; k=ed25519; p="));
    gateway.signal(Signal::HUP);
    gateway.await_log("the old key is revoked");
}

/// Whoever repeats the command hears of the newest rotation, whatever is left to do about an older one.
#[test]
fn the_newest_rotation_is_told_of() {
    let Some(mut ground) = Ground::new(Kind::Unsigned) else { return };
    let server = Server::taking_all();
    let gateway = ground.sealing(server.address, DOMAIN).start();
    published(&mut ground, &[]);
    let first = ground.rotate(&[]).ended();
    assert_eq!(first.status, 0, "{first:?}");
    let lines = line("gate2", "v=SEAL1; k=ed25519; p=") + &line("gate1", &ground.record);
    let begun = ground.rotate(&["--no-wait", "--compromised"]);
    let lines = lines + &line("gate3", &begun.record("gate3"));
    assert_eq!(begun.ended().status, 3);
    ground.knot.change("example.org", &lines);
    let second = ground.rotate(&["--no-wait"]).ended();
    assert!(second.status == 0 && second.text().contains("the new key gate3 seals since 20"), "{second:?}");
    gateway.signal(Signal::HUP);
    gateway.await_log("the old key is revoked");
    let again = ground.rotate(&[]).ended();
    assert_eq!(again.status, 0, "{again:?}");
    let [seals, rest, another] = again.text().lines().collect::<Vec<_>>()[..] else { panic!("{again:?}") };
    assert!(seals.starts_with("example.org: the new key gate3 seals since 20"), "{again:?}");
    assert!(seals.ends_with('Z') && !seals.contains("00."), "{again:?}");
    assert_eq!(rest, "nothing is left to do about the old one");
    assert!(another.contains("name the new --selector"), "{again:?}");
}

/// What the gateway refuses is undone, and said; once it is mended, the rotation goes on.
#[test]
fn what_the_gateway_refuses_is_undone() {
    let Some(mut ground) = Ground::new(Kind::Unsigned) else { return };
    let server = Server::taking_all();
    let identity = Authority::new("ca").issue(&["mail.example.org"]);
    identity.write(ground.folder.path());
    // Nobody but the gateway knows of these.
    let (certificate, key) = (ground.file("tls.pem"), ground.file("tls.key"));
    let environment = [("WAXSEAL_TLS__CERTIFICATE", word(&certificate)), ("WAXSEAL_TLS__KEY", word(&key))];
    let gateway = ground.sealing(server.address, DOMAIN).start_with(&environment);
    let config = fs::read_to_string(ground.file("waxseal.toml")).unwrap();
    let flow = Flow::start(gateway.address("outbound"), server);
    published(&mut ground, &[]);
    fs::remove_file(&certificate).unwrap();
    let refused = ground.rotate(&[]).ended();
    assert_eq!((refused.status, refused.stderr.contains("the gateway refuses")), (2, true), "{refused:?}");
    assert_eq!(fs::read_to_string(ground.file("waxseal.toml")).unwrap(), config);
    // Nor is it claimed that what somebody else has changed is as before.
    let by_hand = config.replace("\"gate1\"", "\"gate2\"").replace("gate1.pem", "gate2.pem");
    fs::write(ground.file("waxseal.toml"), &by_hand).unwrap();
    let refused = ground.rotate(&[]).ended();
    let why = "waxseal.toml as it is now, and its log says why";
    assert_eq!((refused.status, refused.stderr.contains(why)), (2, true), "{refused:?}");
    assert_eq!(fs::read_to_string(ground.file("waxseal.toml")).unwrap(), by_hand);
    fs::write(ground.file("waxseal.toml"), config).unwrap();
    flow.await_more(3);
    assert!(flow.sealed().iter().all(|selector| selector == "gate1"));

    identity.write(ground.folder.path());
    let done = ground.rotate(&[]).ended();
    assert_eq!(done.status, 0, "{done:?}");
    flow.await_more(3);
    assert_eq!(flow.sealed().last().map(String::as_str), Some("gate2"));
}

/// The command line of `waxseal` as a user with no rights but its own.
fn with_dropped_rights(ground: &Ground) -> Option<String> {
    if !are_there(&[("root's rights", is_root()), ("setpriv", works("setpriv", &["--version"]))]) {
        return None;
    }
    // Where the program was built, another user may not look.
    let program = ground.file("waxseal");
    fs::copy(env!("CARGO_BIN_EXE_waxseal"), &program).unwrap();
    Some(format!("setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups {}", program.display()))
}

/// The gateway's user rotates as far as it may; the rest is told to whoever may do more.
#[test]
fn the_gateways_user_leaves_the_rest_to_root() {
    let Some(mut ground) = Ground::new(Kind::Unsigned) else { return };
    let Some(waxseal) = with_dropped_rights(&ground) else { return };
    let server = Server::taking_all();
    for folder in ["state", "own"] {
        fs::create_dir(ground.file(folder)).unwrap();
    }
    for file in ["state", "own", "gate1.pem"] {
        chown(ground.file(file), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let script = format!("exec {waxseal} \"$@\"");
    let gateway = ground.sealing(server.address, DOMAIN).start_from_shell(&script, Stdio::null());
    let (config, knot) = (ground.file("waxseal.toml"), ground.knot.address.to_string());
    let rotate = |more: &[&str]| {
        let own = ["keys", "rotate", "--config", word(&config), "--every", "1", "--name-server", &knot];
        let words: Vec<_> = waxseal.split(' ').chain(own).chain(more.iter().copied()).collect();
        let output = Command::new(words[0]).args(&words[1..]).env_remove("WAXSEAL_CONFIG").run();
        let text = |octets| String::from_utf8(octets).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let (status, _, stderr) = rotate(&["--no-wait"]);
    assert!(status == 2 && stderr.contains("run this as root; or name a folder of yours"), "{stderr}");

    let new = ground.file("own/gate2.pem");
    let (status, begun, stderr) = rotate(&["--no-wait", "--out", word(&new)]);
    assert_eq!(status, 3, "{begun} {stderr}");
    let record = begun.split('"').nth(1).unwrap();
    let lines = line("gate1", &ground.record) + &line("gate2", record);
    ground.knot.change("example.org", &lines);
    let (status, by_hand, stderr) = rotate(&[]);
    assert_eq!(status, 3, "{by_hand} {stderr}");
    let indented: Vec<_> = by_hand.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    let changed = |name: &str| indented.iter().find(|line| line.starts_with(name)).unwrap().to_string();
    let succession =
        indented.split(|line| line.starts_with("# gate1 vouches")).nth(1).unwrap().first().unwrap();
    fs::write(ground.file("gate2.succession"), succession).unwrap();
    let text = fs::read_to_string(&config).unwrap();
    let lines = changed("key = ") + "\n" + &changed("succession = ");
    let text = text.replace("\"gate1\"", "\"gate2\"").replace("key = \"gate1.pem\"", &lines);
    fs::write(&config, text).unwrap();
    let (status, done, stderr) = rotate(&[]);
    assert!(status == 0 && !done.contains("WARNING"), "{done} {stderr}");
    gateway.await_log("configuration reloaded");

    chown(ground.file("state"), Some(0), Some(0)).unwrap();
    let (status, _, stderr) = rotate(&["--selector", "gate7"]);
    assert!(status == 2 && stderr.contains("run this as root, or as the gateway's user"), "{stderr}");
}

/// Root does what the gateway's user could not, and leaves nothing behind that this user cannot read.
#[test]
fn root_leaves_all_to_the_gateways_user() {
    let Some(mut ground) = Ground::new(Kind::Unsigned) else { return };
    let Some(waxseal) = with_dropped_rights(&ground) else { return };
    let server = Server::taking_all();
    fs::create_dir(ground.file("state")).unwrap();
    for file in ["state", "gate1.pem"] {
        chown(ground.file(file), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let script = format!("exec {waxseal} \"$@\"");
    let _gateway = ground.sealing(server.address, DOMAIN).start_from_shell(&script, Stdio::null());
    published(&mut ground, &[]);
    let done = ground.rotate(&[]).ended();
    assert_eq!(done.status, 0, "{done:?}");
    let about = |file: &str| {
        let about = fs::metadata(ground.file(file)).unwrap();
        (about.uid(), about.mode() & 0o777)
    };
    assert_eq!(about("gate2.pem"), (NOBODY, 0o600));
    assert_eq!(about("state/rotations.json"), (NOBODY, 0o600));
    assert_eq!((about("waxseal.toml").0, about("gate2.succession")), (0, (0, 0o644)));
}

/// Root loads no token's module for what the gateway's user could have written.
#[test]
fn no_module_is_loaded_that_nobody_named() {
    let Some(mut ground) = Ground::new(Kind::Unsigned) else { return };
    let server = Server::taking_all();
    ground.sealing(server.address, DOMAIN).write();
    fs::create_dir(ground.file("state")).unwrap();
    published(&mut ground, &[]);
    let state = ground.file("state/rotations.json");
    let text = fs::read_to_string(&state).unwrap();
    let token = "pkcs11:token=t;object=gate2?module-path=/nowhere/module.so";
    let field = |name: &str, value: &str| format!("\"{name}\": \"{value}\"");
    let own = ground.file("gate2.pem");
    for name in ["key", "file"] {
        let other = text.replace(&field(name, word(&own)), &field(name, token));
        assert_ne!(other, text);
        fs::write(&state, other).unwrap();
        let refused = ground.rotate(&["--no-wait"]).ended();
        let why = "the new key is pkcs11:token=t;object=gate2: name it once more";
        assert_eq!((refused.status, refused.stderr.contains(why)), (2, true), "{refused:?}");
    }
}

/// Who heard once more that there is no record may remember that: it is waited for anew, by another run as well.
#[test]
fn a_record_that_goes_again_is_waited_for_anew() {
    let Some(mut ground) = Ground::new(Kind::Unsigned) else { return };
    let server = Server::taking_all();
    ground.sealing(server.address, DOMAIN).write();
    fs::create_dir(ground.file("state")).unwrap();
    published(&mut ground, &[]);
    let is_published = |ground: &Ground| {
        let text = fs::read_to_string(ground.file("state/rotations.json")).unwrap();
        !text.contains("\"published\": null")
    };
    assert_eq!(ground.rotate(&["--no-wait"]).ended().status, 3);
    assert!(is_published(&ground));
    ground.knot.change("example.org", &line("gate1", &ground.record));
    assert_eq!(ground.rotate(&["--no-wait"]).ended().status, 3);
    assert!(!is_published(&ground));
}

/// Nothing is claimed of a gateway that does not run; its next start is believed.
#[test]
fn a_gateway_that_does_not_run_is_waited_for() {
    let Some(mut ground) = Ground::new(Kind::Unsigned) else { return };
    let server = Server::taking_all();
    let config = ground.sealing(server.address, DOMAIN);
    config.write();
    fs::create_dir(ground.file("state")).unwrap();
    published(&mut ground, &[]);
    let pending = ground.rotate(&[]).ended();
    assert_eq!(
        (pending.status, pending.text().contains("no gateway that seals runs")),
        (3, true),
        "{pending:?}"
    );
    let changed = fs::read_to_string(ground.file("waxseal.toml")).unwrap();
    assert!(changed.contains("\"gate2.pem\""), "{changed}");
    let _gateway = crate::program::Gateway::at(&ground.file("waxseal.toml"));
    let done = ground.rotate(&["--no-wait"]).ended();
    assert_eq!(done.status, 0, "{done:?}");
}

/// A key that systemd hands over: the new one goes where it is told, and the lines to change are printed.
#[test]
fn a_credential_is_left_to_the_administrator() {
    let Some(mut ground) = Ground::new(Kind::Unsigned) else { return };
    let server = Server::taking_all();
    let domain = DOMAIN.replace("key = \"gate1.pem\"", "key = \"credential:gate1\"");
    let folder = ground.file("credentials");
    fs::create_dir(&folder).unwrap();
    fs::copy(ground.file("gate1.pem"), folder.join("gate1")).unwrap();
    let _gateway =
        ground.sealing(server.address, &domain).start_with(&[("CREDENTIALS_DIRECTORY", word(&folder))]);
    let new = ground.file("gate2.pem");
    published(&mut ground, &["--out", word(&new)]);
    // The same command again goes on, too; another place is another rotation.
    assert_eq!(ground.rotate(&["--no-wait", "--out", word(&new)]).ended().status, 3);
    let elsewhere = ground.rotate(&["--no-wait", "--out", word(&ground.file("other.pem"))]).ended();
    elsewhere.assert_failed("a rotation to gate2 is under way: say the same of --selector, --out and --key");
    let by_hand = ground.rotate(&[]).ended();
    assert_eq!(by_hand.status, 3, "{by_hand:?}");
    let unit = format!("LoadCredential=gate2:{}", new.display());
    let with = "systemd-run --pty -p LoadCredential=gate1:FILE waxseal keys rotate example.org";
    let restart = "restart the gateway (systemctl daemon-reload && systemctl restart waxseal)";
    let lines =
        ["the old key cannot be used here", "  key = \"credential:gate2\"", unit.as_str(), with, restart];
    for line in lines {
        assert!(by_hand.text().contains(line), "{line}: {by_hand:?}");
    }
    // Inside the service the old key can vouch.
    let vouched = ground.rotate_with(&[("CREDENTIALS_DIRECTORY", word(&folder))], &[]).ended();
    let succession = format!("succession = \"{}\"", ground.file("gate2.succession").display());
    assert!(vouched.status == 3 && vouched.text().contains(&succession), "{vouched:?}");
    let config = ground.file("waxseal.toml");
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace("\"gate1\"", "\"gate2\"").replace("credential:gate1", "credential:gate2");
    fs::write(&config, text).unwrap();
    let refused = ground.rotate(&[]).ended();
    let hint = "a reload hands over no new credential: systemctl daemon-reload";
    assert!(refused.status == 2 && refused.stderr.contains(hint), "{refused:?}");
    // As a restart would have it; but the word of the old key was left out.
    fs::copy(&new, folder.join("gate2")).unwrap();
    let done = ground.rotate(&[]).ended();
    assert_eq!(done.status, 0, "{done:?}");
    for line in
        [&succession, "WARNING: the configuration has no `succession` for gate2, so ALL your mail is held"]
    {
        assert!(done.text().contains(line), "{line}: {done:?}");
    }
}

/// What cannot be is said before anything is made.
#[test]
fn what_cannot_be_is_said_first() {
    let Some(ground) = Ground::new(Kind::Unsigned) else { return };
    let server = Server::taking_all();
    let domain = DOMAIN.replace(
        "[[domain]]",
        "[[domain]]\nname = \"example.net\"\nselector = \"gate1\"\nkey = \"credential:gate1\"\n\n[[domain]]",
    );
    ground.sealing(server.address, &domain).write();
    fs::create_dir(ground.file("state")).unwrap();
    let config = ground.file("waxseal.toml");
    let rotate = |arguments: &[&str]| {
        let server = ground.knot.address.to_string();
        let own = ["--config", word(&config), "--no-wait", "--name-server", &server];
        Rotate::start(&[&own, arguments].concat()).ended()
    };
    rotate(&[]).assert_failed("say whose key is to be rotated");
    rotate(&["example.com"]).assert_failed("no [[domain]] of the configuration is for example.com");
    rotate(&["example.net"]).assert_failed("say where the new one goes with --out");
    rotate(&["example.org", "--selector", "gate1"]).assert_failed("the selector gate1 is or was in use");
    fs::write(ground.file("gate2.pem"), "kept").unwrap();
    rotate(&["example.org"]).assert_failed("gate2.pem: exists already, and a key is never overwritten");
    assert_eq!(fs::read_to_string(ground.file("gate2.pem")).unwrap(), "kept");
    rotate(&["example.org", "--abandon"]).assert_failed("no rotation of example.org is under way");
    assert!(!ground.file("state/rotations.json").exists());
}
