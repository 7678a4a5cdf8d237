//! The commands as people script them: arguments, exit statuses, what goes to stdout and what to stderr.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod program;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use program::desk::Desk;
use program::smtp::{Client, Server, closed_port};
use program::{Config, letter, run, waxseal, waxseal_in, waxseal_reading, word};
use serde_json::{Value, json};

#[test]
fn keygen_makes_a_private_key_and_says_what_to_publish() {
    let folder = program::folder();
    let key = folder.path().join("gate1.pem");
    let ended = waxseal_in(folder.path(), &["keygen", "--domain", "Example.ORG", "--selector", "gate1"]);
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
    assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&key).unwrap().starts_with("-----BEGIN PRIVATE KEY-----\n"));
    let lines: Vec<&str> = ended.text().lines().collect();
    assert!(lines.iter().any(|line| line.starts_with("; fingerprint: ")), "{lines:?}");
    let records: Vec<_> = lines.iter().filter(|line| !line.starts_with(';')).collect();
    assert_eq!(records.len(), 1);
    let start = "gate1._attachment-seal.example.org. IN TXT \"v=SEAL1; k=ed25519; p=";
    assert!(records[0].starts_with(start), "{}", records[0]);

    let domain = ["--domain", "example.org", "--selector", "gate1"];
    let record = waxseal_in(folder.path(), &[&["dns-record", "--key", "gate1.pem"][..], &domain].concat());
    assert_eq!(record.status, 0, "{record:?}");
    assert_eq!(record.text().lines().next(), Some(*records[0]));
}

#[test]
fn keygen_never_overwrites() {
    let desk = Desk::new();
    let before = fs::read(desk.path("gate1.pem")).unwrap();
    desk.run(&["keygen", "--domain", "example.org", "--selector", "gate1"]).assert_failed("exists already");
    assert_eq!(fs::read(desk.path("gate1.pem")).unwrap(), before);
}

#[test]
fn keygen_names_a_folder_that_is_not_there() {
    let desk = Desk::new();
    let out = ["keygen", "--domain", "example.org", "--selector", "gate2", "--out", "keys/gate2.pem"];
    desk.run(&out).assert_failed("keys/gate2.pem: there is no folder keys: make it first");
}

#[test]
fn bad_arguments_are_status_2() {
    for arguments in [
        &["keygen", "--domain", "not a domain", "--selector", "s"][..],
        &["keygen", "--domain", "example.org", "--selector", "a..b"],
        &["verify", "--no-such-option"],
        &["frobnicate"],
        &[],
    ] {
        let ended = waxseal(arguments);
        assert_eq!((ended.status, ended.stdout.len()), (2, 0), "{arguments:?}: {ended:?}");
        assert!(!ended.stderr.is_empty());
    }
    for arguments in [["--help"], ["--version"]] {
        assert_eq!(waxseal(&arguments).status, 0);
    }
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let desk = Desk::new();
    fs::set_permissions(desk.path("gate1.pem"), fs::Permissions::from_mode(0o640)).unwrap();
    let why = "others can read this private key (mode 0640): run chmod 600 on it";
    desk.seal(&letter::plain("office@example.org", "x")).assert_failed(why);
    let config = Config::new(desk.folder.path(), "mx.example.org")
        .listener("outbound", "seal", closed_port(), "")
        .sealing_with(Path::new("gate1.pem"))
        .write();
    let check = waxseal(&["check-config", "--config", word(&config)]);
    assert_eq!(check.status, 1);
    assert!(check.stderr.contains(".key: ") && check.stderr.contains(why), "{}", check.stderr);
}

#[test]
fn what_was_sealed_passes() {
    let desk = Desk::new();
    let original = String::from_utf8(letter::with_attachments("round trip")).unwrap();
    let sealed = desk.sealed("round trip");
    assert!(
        sealed.starts_with("Attachment-Seal: v=1; a=ed25519-blake3; d=example.org; s=gate1;"),
        "{sealed}"
    );
    assert!(sealed.ends_with(&original), "nothing but the seal is added");
    let ended = desk.verify(sealed.as_bytes());
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));

    let file = desk.write("x.eml", sealed.as_bytes());
    let table = desk.run(&["verify", "--keys", "pins", word(&file)]);
    assert_eq!(table.status, 0);
    for word in ["x.eml", "pass", "Agenda.pdf", "Budget.csv", "intact"] {
        assert!(table.text().contains(word), "{}", table.text());
    }
}

#[test]
fn json_has_every_member_and_no_other() {
    let desk = Desk::new();
    let sealed = desk.sealed("members");
    desk.write("x.eml", letter::swapped(&sealed).as_bytes());
    let ended = desk.run(&["verify", "--keys", "pins", "--json", "x.eml"]);
    assert_eq!(ended.status, 1);
    let [found] = ended.json().try_into().unwrap();
    let agenda = blake3::hash(&letter::agenda()).to_hex().to_string();
    let budget = blake3::hash(letter::BUDGET.as_bytes()).to_hex().to_string();
    let budget = json!({"size": letter::BUDGET.len(), "blake3": budget});
    let infected = b"%PDF-1.4\nan infected document";
    let infected = json!({"size": infected.len(), "blake3": blake3::hash(infected).to_hex().to_string()});
    let sealed_at = found["sealed_at"].clone();
    assert!(sealed_at.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{sealed_at}");
    let expected = json!({
        "file": "x.eml", "verdict": "fail", "reason": "attachments", "domain": "example.org", "selector": "gate1",
        "trust": "pinned", "sealed_at": sealed_at, "body": "changed", "text": "intact", "headers": "intact",
        "attachments": [
            {"status": "altered", "name": "Agenda.pdf", "type": "application/pdf",
             "sealed": {"size": letter::agenda().len(), "blake3": agenda}, "found": infected},
            {"status": "intact", "name": "Budget.csv", "type": "text/csv", "sealed": budget, "found": budget},
        ],
        "doubts": [], "known": "pinned",
    });
    assert_eq!(found, expected);

    let renamed = desk.verify(letter::renamed(&sealed).as_bytes()).json();
    let agenda = &renamed[0]["attachments"][0];
    assert_eq!((&agenda["status"], &agenda["name"]), (&json!("renamed"), &json!("Agenda.pdf")));
    assert_eq!(
        (&agenda["found_name"], &agenda["found_type"]),
        (&json!("Agenda.exe"), &json!("application/pdf"))
    );
}

#[test]
fn absent_members_are_null() {
    let ended = waxseal_reading(&letter::plain("a@example.net", "x"), &["verify", "--json", "--no-dns"]);
    assert_eq!(ended.status, 1);
    let expected = json!({
        "file": "-", "verdict": "none", "reason": null, "domain": null, "selector": null, "trust": null,
        "sealed_at": null, "body": null, "text": null, "headers": null, "attachments": [], "doubts": [],
        "known": null,
    });
    assert_eq!(ended.json(), [expected]);
}

#[test]
fn lf_files_stay_lf() {
    let desk = Desk::new();
    let stored = String::from_utf8(letter::with_attachments("maildir")).unwrap().replace("\r\n", "\n");
    let sealed = desk.seal(stored.as_bytes());
    assert_eq!(sealed.status, 0);
    assert!(!sealed.stdout.contains(&b'\r'), "the line ends that it read");
    assert!(sealed.text().ends_with(&stored));
    assert_eq!(desk.verdict(&sealed.stdout), "pass");
    // Sealed with LF or not, on the wire it is the same message.
    assert_eq!(desk.verdict(sealed.text().replace('\n', "\r\n").as_bytes()), "pass");
}

#[test]
fn a_leading_from_line_is_skipped() {
    let desk = Desk::new();
    for sealed in [desk.sealed("mbox"), desk.sealed("mbox").replace("\r\n", "\n")] {
        let stored = format!("From office@example.org Mon Nov 23 09:00:00 2026\n{sealed}");
        assert_eq!(desk.verdict(stored.as_bytes()), "pass");
    }
}

/// Correspondents send what `keygen` printed; it need not be cut down to what stands between the quotes.
#[test]
fn a_pinned_key_may_be_as_keygen_printed_it() {
    let desk = Desk::new();
    let sealed = desk.sealed("as printed");
    let printed = |selector: &str| {
        format!("; fingerprint: 1 2 3\n{selector}._attachment-seal.example.org. IN TXT \"{}\"\n", desk.record)
    };
    desk.write("pins/example.org/gate1.txt", printed("gate1").as_bytes());
    assert_eq!(desk.verdict(sealed.as_bytes()), "pass");
    desk.write("pins/example.org/gate1.txt", printed("gate2").as_bytes());
    desk.verify(sealed.as_bytes()).assert_failed("gate1.txt");
}

/// `waxseal … | head -1`: whoever has heard enough is no reason to panic.
#[test]
fn nobody_need_hear_a_command_out() {
    let desk = Desk::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let arguments = ["dns-record", "--key", "gate1.pem", "--domain", "example.org", "--selector", "gate1"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_waxseal"));
    command.args(arguments).current_dir(desk.folder.path()).stdout(writer).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    run::ended(&mut child).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(2), ""));
}

#[test]
fn an_unreadable_file_does_not_hide_the_others() {
    let desk = Desk::new();
    desk.write("good.eml", desk.sealed("good").as_bytes());
    let ended = desk.run(&["verify", "--keys", "pins", "--json", "nowhere.eml", "good.eml"]);
    assert_eq!((ended.status, ended.stderr.lines().count()), (2, 1), "{ended:?}");
    assert!(ended.stderr.contains("nowhere.eml"));
    assert_eq!(ended.json()[0]["file"], "good.eml");
    desk.run(&["verify", "--keys", "nowhere", "good.eml"]).assert_failed("nowhere");
}

#[test]
fn sealing_tells_of_more_than_readers_show() {
    let desk = Desk::new();
    let letter = String::from_utf8(letter::plain("office@example.org", "x")).unwrap();
    let notes: String = (0..301).map(|n| format!("X-Note: {n}\r\n")).collect();
    let parts: String = (0..301).map(|n| format!("--b\r\n\r\npart {n}\r\n")).collect();
    let opening: String = (0..9)
        .map(|n| format!("Content-Type: multipart/mixed; boundary=level{n}x\r\n\r\n--level{n}x\r\n"))
        .collect();
    let closing: String = (0..9).rev().map(|n| format!("--level{n}x--\r\n")).collect();
    let head = letter.split("\r\n\r\n").next().unwrap();
    let head: String = head
        .split("\r\n")
        .filter(|line| !line.starts_with("Content-"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    for (message, why) in [
        (format!("{notes}{letter}"), "fields, and some mail programs read no more than 300"),
        (
            format!("{head}Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n"),
            "it has 301 parts",
        ),
        (format!("{head}{opening}\r\ntext\r\n{closing}"), "it has 9 levels of parts"),
    ] {
        let ended = desk.seal(message.as_bytes());
        assert_eq!(ended.status, 0, "{}", ended.stderr);
        assert!(ended.stderr.contains(why), "{}", ended.stderr);
        assert!(ended.text().contains("Attachment-Seal:"));
    }
}

#[test]
fn what_cannot_be_sealed_is_not_written() {
    let desk = Desk::new();
    let plain = |author| String::from_utf8(letter::plain(author, "x")).unwrap();
    let other = plain("a@example.net");
    let unclean = plain("office@example.org").replace("Subject: x", "Subject: x\r\nno field at all");
    let two = plain("office@example.org").replace("Subject: x", "From: b@example.org");
    for (message, why) in [
        (other, "example.net"),
        (unclean, "standard input: "),
        (two, "From is not one field with one address"),
        (String::new(), "From"),
    ] {
        desk.seal(message.as_bytes()).assert_failed(why);
    }
    desk.run(&[
        "seal",
        "--key",
        "gate1.pem",
        "--domain",
        "example.org",
        "--selector",
        "gate1",
        "nowhere.eml",
    ])
    .assert_failed("nowhere.eml");
    desk.run(&["seal", "--key", "nowhere.pem", "--domain", "example.org", "--selector", "gate1"])
        .assert_failed("nowhere.pem");
}

/// Whatever today's date: every verdict that no date decides, and what is said of the attachments in any case.
#[test]
fn shared_vectors_get_their_verdicts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("attachment-seal/tests/vectors");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    cases.sort();
    let (mut played, mut failures) = (0, Vec::new());
    for case in &cases {
        let facts: Value = serde_json::from_slice(&fs::read(case).unwrap()).unwrap();
        let mut expected = facts["expect"].clone();
        // Only a seal that is in date can be from the future, or unaligned.
        if expected["reason"] == "future-seal" || expected["verdict"] == "unaligned" {
            continue;
        }
        played += 1;
        let folder = program::folder();
        let pins = pins(folder.path(), &facts["keys"]);
        let message = case.with_extension("eml");
        let ended = waxseal(&["verify", "--json", "--no-dns", "--keys", word(&pins), word(&message)]);
        let found = ended.json().remove(0);
        if found["verdict"] == "expired" && expected["verdict"] == "pass" {
            expected["verdict"] = json!("expired");
        }
        let status = i32::from(found["verdict"] != "pass");
        if !holds(&expected, &found) || ended.status != status || found["file"] != word(&message) {
            failures.push(format!(
                "{}: {}\n  expected {expected}\n  found {found}",
                case.display(),
                facts["why"]
            ));
        }
    }
    assert!(played >= 50, "only {played} cases");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn pins(folder: &Path, keys: &Value) -> PathBuf {
    let pins = folder.join("pins");
    fs::create_dir(&pins).unwrap();
    for (name, key) in keys.as_object().unwrap() {
        let (domain, file) = match name.strip_prefix("root:") {
            Some(domain) => (domain, "root"),
            None => name.split_once('/').unwrap(),
        };
        fs::create_dir_all(pins.join(domain)).unwrap();
        fs::write(pins.join(domain).join(format!("{file}.txt")), key.as_str().unwrap()).unwrap();
    }
    pins
}

/// Whether `found` has all that `expected` names.
fn holds(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Object(expected), _) => {
            expected.iter().all(|(name, value)| holds(value, &found[name.as_str()]))
        }
        (Value::Array(expected), Value::Array(found)) => {
            expected.len() == found.len() && expected.iter().zip(found).all(|(one, other)| holds(one, other))
        }
        _ => expected == found,
    }
}

#[test]
fn check_config_says_every_mistake() {
    let desk = Desk::new();
    let good = Config::new(desk.folder.path(), "mx.example.org")
        .listener("outbound", "seal", closed_port(), "")
        .sealing_with(Path::new("gate1.pem"))
        .pinning(&desk.record);
    let config = good.write();
    let ended = waxseal(&["check-config", "--config", word(&config)]);
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
    assert!(ended.text().contains("seals for example.org (gate1)"), "{}", ended.text());

    let config = good.and("[policy]\nfail = \"shred\"\n[limits]\nmemry = 1\n").write();
    let ended = waxseal(&["check-config", "--config", word(&config)]);
    assert_eq!((ended.status, ended.stdout.len()), (1, 0), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 2, "{}", ended.stderr);
    for reason in ["policy.fail: ", "limits.memry: "] {
        let line = ended.stderr.lines().find(|line| line.contains(reason)).unwrap();
        assert!(line.starts_with(&format!("{}:", config.display())), "{line}");
    }
    assert_eq!(waxseal(&["check-config", "--config", "nowhere.toml"]).status, 1);
}

#[test]
fn check_config_warns_of_what_is_only_dangerous() {
    let folder = program::folder();
    let config = Config::new(folder.path(), "mx.example.org");
    let config = config.listener("inbound", "verify", closed_port(), "").write();
    let ended = waxseal(&["check-config", "--config", word(&config)]);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(ended.text().contains(": good"), "{}", ended.text());
    let warning = format!("warning: {}:7: listener[inbound].next_hop: ", config.display());
    assert!(ended.stderr.starts_with(&warning), "{}", ended.stderr);
    assert!(ended.stderr.contains("set xclient = true here, or have it trust nobody"), "{}", ended.stderr);
}

#[test]
fn run_does_not_listen_with_an_open_relay() {
    let folder = program::folder();
    let key = folder.path().join("gate1.pem");
    program::keygen(&key);
    let config = Config::new(folder.path(), "mx.example.org")
        .listener("outbound", "seal", closed_port(), "clients = [\"0.0.0.0/0\"]")
        .sealing_with(&key);
    for command in ["run", "check-config"] {
        let ended = waxseal(&[command, "--config", word(&config.write())]);
        assert_eq!(ended.status, 1, "{ended:?}");
        assert!(ended.stderr.contains("listener[outbound].clients: `0.0.0.0/0` lets strangers"), "{ended:?}");
    }
}

#[test]
fn run_does_not_listen_with_a_wrong_configuration() {
    let folder = program::folder();
    // Whoever connects to the port would be served by us, not by the gateway.
    let taken = Server::taking_all();
    let config = Config::new(folder.path(), "mx.example.org").listener_at(
        "inbound",
        "verify",
        &taken.address.to_string(),
        closed_port(),
        "",
    );
    let ended = waxseal(&["run", "--config", word(&config.write())]);
    assert_ne!(ended.status, 0);
    assert!(ended.stderr.contains("listener `inbound`: cannot listen on"), "{}", ended.stderr);

    let ended = waxseal(&["run", "--config", word(&config.and("[policy]\npas = \"deliver\"").write())]);
    assert_ne!(ended.status, 0);
    assert!(ended.stderr.contains("did you mean `pass`?"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("listen on"), "it must not have come that far: {}", ended.stderr);
    assert!(!folder.path().join("state").exists());
}

#[test]
fn quarantine_commands_work_while_the_gateway_runs() {
    let desk = Desk::new();
    let next_hop = Server::taking_all();
    let gateway = Config::new(desk.folder.path(), "mx.partner.example")
        .listener("inbound", "verify", next_hop.address, "")
        .pinning(&desk.record)
        .start();
    assert_eq!(gateway.quarantine(&["list"]).text(), "");

    let long = format!("{}@partner.example", "x".repeat(60));
    let mut client = Client::hello(gateway.address("inbound"));
    let message = letter::swapped(&desk.sealed("held"));
    let reply = client.deliver("office@example.org", &long, message.as_bytes());
    assert!(reply.starts_with("250 2.0.0 "), "{reply}");

    let list = gateway.quarantine(&["list"]);
    assert_eq!((list.status, list.text().lines().count()), (0, 1));
    let (id, rest) = list.text().split_once(' ').unwrap();
    assert!(reply.contains(id), "{reply}");
    assert!(rest.contains(&long) && rest.contains("fail") && rest.contains("altered Agenda.pdf"), "{rest}");

    let listed = &gateway.held()[0];
    for (member, value) in [
        ("id", json!(id)),
        ("listener", json!("inbound")),
        ("client", json!("127.0.0.1")),
        ("reverse_path", json!("office@example.org")),
        ("recipients", json!([long])),
        ("verdict", json!("fail")),
        ("reason", json!("attachments")),
        ("message_id", json!("<held@example.org>")),
        ("size", json!(message.len())),
    ] {
        assert_eq!(listed[member], value, "{member}");
    }
    let mut shown = gateway.quarantine(&["show", id, "--json"]).json().remove(0);
    for more in ["doubts_explained", "advice", "deeds"] {
        assert!(shown.as_object_mut().unwrap().remove(more).unwrap().is_array(), "{more}");
    }
    assert_eq!(&shown, listed);
    let show = gateway.quarantine(&["show", id]);
    let received = show.text().lines().find(|line| line.starts_with("received")).unwrap_or_default();
    assert!(received.ends_with('Z') && !received.contains('.'), "{received}");
    assert!(show.text().contains("<held@example.org>"), "{}", show.text());

    let export = gateway.quarantine(&["export", id]);
    assert_eq!((export.status, export.stdout), (0, message.into_bytes()), "octet for octet");

    assert_eq!(gateway.quarantine(&["delete", id]).status, 0);
    assert!(gateway.held().is_empty());
    for command in ["show", "export", "delete"] {
        gateway.quarantine(&[command, id]).assert_failed("no message");
        gateway.quarantine(&[command, "../../etc"]).assert_failed("is not an id");
    }
    assert!(next_hop.received().is_empty());
}

#[test]
fn the_demonstration_succeeds() {
    let ended = waxseal(&["demo"]);
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "{}", ended.text());
    for verdict in ["pass", "fail", "missing"] {
        assert!(ended.text().contains(verdict));
    }
}
