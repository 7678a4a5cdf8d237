//! Keys in a PKCS#11 token, SoftHSM's: made there, used from there, missed and found again. Needs SoftHSM and OpenSC's
//! `pkcs11-tool`; without them the tests are skipped, unless `WAXSEAL_REQUIRE_LIVE` is set.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod program;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use program::run::{Run, works};
use program::site::{RECIPIENT, SENDER, Site};
use program::skip::are_there;
use program::smtp::{Client, Server};
use program::{Config, Ended, Gateway, folder, letter, wait_for, waxseal_with, word};
use rustix::process::Signal;
use tempfile::TempDir;

const PIN: &str = "123456";
const KEY: [&str; 4] = ["--domain", "example.org", "--selector", "gate1"];
const CANNOT: &str = "451 4.3.0 cannot seal now, try again later";

/// A folder with a token called waxseal in it.
struct Hsm {
    folder: TempDir,
    module: &'static str,
}

impl Hsm {
    /// With an empty token, or nothing where there is no SoftHSM.
    fn new() -> Option<Self> {
        let places = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so"];
        let module = places.into_iter().find(|module| Path::new(module).exists());
        let has_tool = works("sh", &["-c", "command -v pkcs11-tool"]);
        if !are_there(&[("SoftHSM", module.is_some()), ("pkcs11-tool", has_tool)]) {
            return None;
        }
        let hsm = Self { folder: folder(), module: module? };
        fs::create_dir(hsm.path("tokens")).unwrap();
        let config = format!("directories.tokendir = {}\nlog.level = ERROR\n", word(&hsm.path("tokens")));
        fs::write(hsm.path("softhsm2.conf"), config).unwrap();
        hsm.write_pin(PIN);
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", "waxseal", "--so-pin", "87654321", "--pin", PIN])
            .env("SOFTHSM2_CONF", hsm.path("softhsm2.conf"))
            .run();
        assert!(made.status.success(), "{made:?}");
        Some(hsm)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_pin(&self, pin: &str) {
        let file = self.path("pin");
        fs::write(&file, format!("{pin}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// The key of this label, its PIN in a file.
    fn uri(&self, label: &str) -> String {
        let pin = self.path("pin");
        format!(
            "pkcs11:token=waxseal;object={label}?module-path={}&pin-source=file:{}",
            self.module,
            pin.display()
        )
    }

    fn environment(&self) -> [(&'static str, String); 1] {
        [("SOFTHSM2_CONF", word(&self.path("softhsm2.conf")).to_owned())]
    }

    fn waxseal(&self, arguments: &[&str]) -> Ended {
        waxseal_with(&[("SOFTHSM2_CONF", word(&self.path("softhsm2.conf")))], arguments)
    }

    /// The same, which must succeed; what it wrote.
    fn done(&self, arguments: &[&str]) -> String {
        let ended = self.waxseal(arguments);
        assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "{arguments:?}");
        ended.text().to_owned()
    }

    /// Makes a sealing key for example.org, selector gate1, and gives its record.
    fn keygen(&self, label: &str) -> String {
        let printed = self.done(&[&["keygen", "--out", &self.uri(label)], &KEY[..]].concat());
        record(&printed)
    }

    fn pkcs11_tool(&self, arguments: &[&str]) -> String {
        let ended = Command::new("pkcs11-tool")
            .args(["--module", self.module, "--token-label", "waxseal", "--login", "--pin", PIN])
            .args(arguments)
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf"))
            .run();
        assert!(ended.status.success(), "{ended:?}");
        String::from_utf8(ended.stdout).unwrap()
    }

    /// A site whose sealing gateway has the key of this label.
    fn sealing(&self, label: &str, next_hop: &Server) -> Config {
        Config::new(self.folder.path(), "mx.example.org")
            .listener("outbound", "seal", next_hop.address, "")
            .sealing_with(Path::new(&self.uri(label)))
    }

    fn start(&self, config: &Config) -> Gateway {
        let [(name, value)] = self.environment();
        config.start_with(&[(name, &value)])
    }

    fn take_out(&self) {
        fs::rename(self.path("tokens"), self.path("away")).unwrap();
        fs::create_dir(self.path("tokens")).unwrap();
    }

    fn put_back(&self) {
        fs::remove_dir(self.path("tokens")).unwrap();
        fs::rename(self.path("away"), self.path("tokens")).unwrap();
    }

    /// `check-config` with these lines as `key`; its complaint.
    fn complaint(&self, key: &str) -> String {
        let config = self.sealing("gate1", &Server::taking_all()).write();
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, text.replace(&self.uri("gate1"), key)).unwrap();
        let ended = self.waxseal(&["check-config", "--config", word(&config)]);
        assert_eq!(ended.status, 1, "{ended:?}");
        let place = "domain[example.org].key: ";
        let said = format!("{}{}", ended.text(), ended.stderr);
        said.split_once(place).unwrap_or_else(|| panic!("{said}")).1.trim_end().to_owned()
    }
}

fn record(printed: &str) -> String {
    let line =
        printed.lines().find_map(|line| line.strip_prefix("gate1._attachment-seal.example.org. IN TXT "));
    line.unwrap().trim_matches('"').to_owned()
}

fn send(client: &mut Client, subject: &str) -> String {
    client.deliver(SENDER, RECIPIENT, &letter::with_attachments(subject))
}

#[test]
fn a_key_is_made_in_the_token_and_stays_there() {
    let Some(hsm) = Hsm::new() else { return };
    let record = hsm.keygen("gate1");
    let objects = hsm.pkcs11_tool(&["--list-objects", "--type", "privkey"]);
    assert!(objects.contains("sensitive, always sensitive, never extractable, local"), "{objects}");

    let again = hsm.waxseal(&[&["keygen", "--out", &hsm.uri("gate1")], &KEY[..]].concat());
    again.assert_failed("exists already, and a key is never overwritten");
    let printed = hsm.done(&[&["dns-record", "--key", &hsm.uri("gate1")], &KEY[..]].concat());
    assert_eq!(self::record(&printed), record);
    let fingerprint = hsm.done(&["keys", "fingerprint", &hsm.uri("gate1")]);
    assert!(fingerprint.starts_with("pkcs11:token=waxseal;object=gate1: public half\n"), "{fingerprint}");
}

#[test]
fn what_the_token_signs_is_what_everybody_verifies() {
    let Some(hsm) = Hsm::new() else { return };
    let record = hsm.keygen("gate1");
    let (outgoing, site) = (Server::taking_all(), Site { record, ..Site::new() });
    let gateway = hsm.start(&hsm.sealing("gate1", &outgoing));
    let outbound = gateway.address("outbound");
    // Several at once.
    let senders: Vec<_> = (0..8)
        .map(|n| thread::spawn(move || send(&mut Client::hello(outbound), &format!("letter {n}"))))
        .collect();
    for sender in senders {
        assert!(sender.join().unwrap().starts_with("250"));
    }
    let verifying = site.verifying("").start();
    let mut client = Client::hello(verifying.address("inbound"));
    let sealed = outgoing.received();
    assert_eq!(sealed.len(), 8);
    for letter in sealed {
        assert!(client.deliver(SENDER, RECIPIENT, &letter.message).starts_with("250"));
    }
    for letter in site.next_hop.received() {
        let text = String::from_utf8_lossy(&letter.message).into_owned();
        assert!(text.contains("; x-attachment-seal=pass header.d=example.org header.s=gate1"), "{text}");
    }

    let file = hsm.path("letter.eml");
    fs::write(&file, letter::with_attachments("by command")).unwrap();
    let sealed = hsm.done(&[&["seal", "--key", &hsm.uri("gate1")], &KEY[..], &[word(&file)]].concat());
    fs::write(&file, sealed).unwrap();
    let pins = hsm.path("pins/example.org");
    fs::create_dir_all(&pins).unwrap();
    fs::write(pins.join("gate1.txt"), &site.record).unwrap();
    hsm.done(&["verify", "--no-dns", "--keys", word(&hsm.path("pins")), word(&file)]);
}

/// A folder holds the names of keys in tokens; the newest seals, and has the other vouch.
#[test]
fn keys_in_a_token_follow_each_other() {
    let Some(hsm) = Hsm::new() else { return };
    let server = Server::taking_all();
    let config = Config::new(hsm.folder.path(), "mx.example.org")
        .listener("outbound", "seal", server.address, "")
        .and("[[domain]]\nname = \"example.org\"\nkeys = \"keys\"\n");
    let path = config.write();
    fs::create_dir(hsm.path("keys")).unwrap();
    let keygen = |selector: &str, out: &str| {
        let domain = ["keygen", "--config", word(&path), "--domain", "example.org"];
        hsm.waxseal(&[&domain[..], &["--selector", selector, "--out", out]].concat())
    };
    let told = hsm.uri("gate1").replace("pin-source=file:", "pin-value=");
    keygen("gate1", &told).assert_failed("put the PIN into a file of its own");
    for selector in ["gate1", "gate2"] {
        let made = keygen(selector, &hsm.uri(selector));
        assert_eq!(made.status, 0, "{made:?}");
        assert!(hsm.path("keys").join(format!("{selector}.pkcs11")).exists());
    }
    keygen("gate1", &hsm.uri("other")).assert_failed("exists already");
    let gateway = hsm.start(&config);
    // Nobody is asked for records here, so that each seals as soon as it is seen.
    gateway.await_log("gate2 seals");
    let letter = letter::with_attachments("by gate2");
    let mut client = Client::hello(gateway.address("outbound"));
    assert!(client.deliver("office@example.org", "desk@partner.example", &letter).starts_with("250"));
    let sealed = server.await_message("by gate2").message;
    let seal = String::from_utf8_lossy(&sealed).replace([' ', '\r', '\n'], "");
    assert!(seal.contains(";s=gate2;") && seal.contains(";c="), "{seal}");
}

#[test]
fn a_root_key_in_a_token_vouches() {
    let Some(hsm) = Hsm::new() else { return };
    let record = hsm.keygen("gate1");
    let root = hsm.done(&["root", "new", "--domain", "example.org", "--out", &hsm.uri("root")]);
    assert!(
        root.contains("pkcs11:token=waxseal;object=root (in its token, which never gives it out)"),
        "{root}"
    );
    let (file, delegation) = (hsm.path("gate1.txt"), hsm.path("gate1.delegation"));
    fs::write(&file, record).unwrap();
    let arguments = ["--days", "30", "--out", word(&delegation), word(&file)];
    hsm.done(&[&["root", "delegate", "--key", &hsm.uri("root")], &KEY[..], &arguments].concat());
    // Whether it is signed is checked when the configuration is read.
    let config = hsm.sealing("gate1", &Server::taking_all()).and("delegation = \"gate1.delegation\"").write();
    hsm.done(&["check-config", "--config", word(&config)]);
}

#[test]
fn each_mistake_is_named_with_its_remedy() {
    let Some(hsm) = Hsm::new() else { return };
    hsm.keygen("gate1");
    hsm.pkcs11_tool(&["--keypairgen", "--key-type", "rsa:1024", "--label", "rsa"]);
    let good = hsm.uri("gate1");
    for (key, says) in [
        (
            good.replace(hsm.module, "/nowhere/pkcs11.so"),
            "/nowhere/pkcs11.so: cannot load the PKCS#11 module: ",
        ),
        (good.replace("token=waxseal", "token=other"), "no such token; the module has `waxseal`"),
        (
            good.replace("object=gate1", "object=gate9"),
            "no such private key in the token; it has `gate1`, `rsa`",
        ),
        (good.replace("object=gate1", "object=rsa"), "not an Ed25519 key; make one with waxseal keygen"),
        (good.split_once('&').unwrap().0.to_owned(), "the token wants a PIN; add pin-source="),
        (good.replace("/pin", "/no-pin"), "No such file"),
        (good.replace("object", "objekt"), "`objekt` is not understood"),
        (good.replace(";object=gate1", ""), "add object=…, the key's label, or id=…"),
        (good.replace("waxseal", "wax seal"), "are written %20"),
    ] {
        let said = hsm.complaint(&key);
        assert!(said.contains(says), "{key}: {said}");
    }
    let pin = fs::Permissions::from_mode(0o644);
    fs::set_permissions(hsm.path("pin"), pin).unwrap();
    let said = hsm.complaint(&good);
    assert!(said.contains("(mode 0644): chmod 600 it"), "{said}");
}

#[test]
fn a_wrong_pin_is_tried_once() {
    let Some(hsm) = Hsm::new() else { return };
    hsm.keygen("gate1");
    hsm.write_pin("999999");
    // Two domains with the same token: one try for both.
    let second = format!(
        "[[domain]]\nname = \"example.net\"\nselector = \"gate1\"\nkey = \"{}\"\n",
        hsm.uri("gate1").replace("waxseal;", "waxseal;type=private;")
    );
    let config = hsm.sealing("gate1", &Server::taking_all()).and(&second).write();
    let check = || hsm.waxseal(&["check-config", "--config", word(&config)]);
    let said = format!("{:?}", check());
    assert_eq!(said.matches("It is not tried again").count(), 2, "{said}");
    // A service that is started again and again would lock the token.
    let said = format!("{:?}", check());
    assert_eq!(said.matches("the PIN is not tried, since the token says").count(), 2, "{said}");
    hsm.write_pin(PIN);
    assert_eq!(check().status, 1);
    hsm.done(&["keys", "fingerprint", &hsm.uri("gate1")]);
    assert_eq!(check().status, 0);
}

#[test]
fn a_pin_in_the_configuration_works_and_is_warned_about() {
    let Some(hsm) = Hsm::new() else { return };
    hsm.keygen("gate1");
    let key = hsm.uri("gate1").split_once('&').unwrap().0.to_owned() + "&pin-value=" + PIN;
    let config = hsm.sealing("gate1", &Server::taking_all()).write();
    let text = fs::read_to_string(&config).unwrap().replace(&hsm.uri("gate1"), &key);
    fs::write(&config, text).unwrap();
    let ended = hsm.waxseal(&["check-config", "--config", word(&config)]);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(format!("{ended:?}").contains("pin-value is as secret as this file"), "{ended:?}");
    assert!(!format!("{ended:?}").contains(PIN), "{ended:?}");
}

#[test]
fn a_credential_can_hold_the_pin() {
    let Some(hsm) = Hsm::new() else { return };
    hsm.keygen("gate1");
    let file = format!("file:{}", word(&hsm.path("pin")));
    let uri = hsm.uri("gate1").replace(&file, "credential:pin");
    let [(name, value)] = hsm.environment();
    let variables = [(name, value.as_str()), ("CREDENTIALS_DIRECTORY", word(hsm.folder.path()))];
    let ended = waxseal_with(&variables, &["keys", "fingerprint", &uri]);
    assert_eq!(ended.status, 0, "{ended:?}");
}

#[test]
fn a_token_that_is_taken_out_defers_mail_until_it_is_back() {
    let Some(hsm) = Hsm::new() else { return };
    hsm.keygen("gate1");
    let outgoing = Server::taking_all();
    let gateway = hsm.start(&hsm.sealing("gate1", &outgoing));
    let mut client = Client::hello(gateway.address("outbound"));
    assert!(send(&mut client, "before").starts_with("250"));

    hsm.take_out();
    let gone = wait_for(|| Some(send(&mut client, "without")).filter(|reply| !reply.starts_with("250")));
    assert_eq!(gone.as_deref(), Some(CANNOT));
    gateway.await_log("no such token");

    hsm.put_back();
    let back = wait_for(|| Some(send(&mut client, "after")).filter(|reply| !reply.starts_with("451")));
    assert!(back.unwrap().starts_with("250"));
    for letter in outgoing.received() {
        assert!(letter.message.starts_with(b"Attachment-Seal: "), "{letter:?}");
    }
}

#[test]
fn a_token_that_hangs_holds_up_neither_mail_nor_others() {
    let Some(hsm) = Hsm::new() else { return };
    hsm.keygen("gate1");
    let outgoing = Server::taking_all();
    let gateway = hsm.start(&hsm.sealing("gate1", &outgoing));
    let mut client = Client::hello(gateway.address("outbound"));
    // Logging in again will hang: nobody writes into the PIN's pipe.
    let pin = hsm.path("pin");
    fs::remove_file(&pin).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &pin, mode).unwrap();
    hsm.take_out();
    assert!(wait_for(|| send(&mut client, "without").starts_with("451").then_some(())).is_some());
    hsm.put_back();
    let late = wait_for(|| {
        assert_eq!(send(&mut client, "late"), CANNOT);
        gateway.log().iter().any(|line| line.contains("gave no answer within 10 seconds")).then_some(())
    });
    assert!(late.is_some(), "{:#?}", gateway.log());
    assert_eq!(send(&mut client, "not even tried"), CANNOT);
    gateway.await_log("silent for long, and is not asked again until it answers");
    let others = letter::plain("someone@example.net", "of no concern to the token");
    assert!(client.deliver(SENDER, RECIPIENT, &others).starts_with("250"));

    fs::write(&pin, PIN).unwrap();
    assert!(wait_for(|| send(&mut client, "after").starts_with("250").then_some(())).is_some());
}

#[test]
fn another_key_of_the_same_name_seals_nothing_until_it_is_configured() {
    let Some(hsm) = Hsm::new() else { return };
    hsm.keygen("gate1");
    let outgoing = Server::taking_all();
    let gateway = hsm.start(&hsm.sealing("gate1", &outgoing));
    let mut client = Client::hello(gateway.address("outbound"));
    assert!(send(&mut client, "old key").starts_with("250"));
    for kind in ["privkey", "pubkey"] {
        hsm.pkcs11_tool(&["--delete-object", "--type", kind, "--label", "gate1"]);
    }
    hsm.keygen("gate1");
    assert_eq!(send(&mut client, "new key"), CANNOT);
    gateway.await_log("the token's signature is not by the key that it was to sign with");
    gateway.signal(Signal::HUP);
    gateway.await_log("configuration reloaded");
    assert!(send(&mut client, "new key").starts_with("250"));
}

#[test]
fn a_pin_that_is_wrong_at_the_next_login_is_tried_once() {
    let Some(hsm) = Hsm::new() else { return };
    hsm.keygen("gate1");
    let outgoing = Server::taking_all();
    let gateway = hsm.start(&hsm.sealing("gate1", &outgoing));
    let mut client = Client::hello(gateway.address("outbound"));
    hsm.write_pin("999999");
    hsm.take_out();
    assert!(wait_for(|| send(&mut client, "without").starts_with("451").then_some(())).is_some());
    hsm.put_back();
    let refused = |text: &str| gateway.log().iter().filter(|line| line.contains(text)).count();
    assert!(
        wait_for(|| {
            assert_eq!(send(&mut client, "wrong"), CANNOT);
            (refused("the token refuses the PIN. It is not tried again") > 1).then_some(())
        })
        .is_some()
    );
    // A token that was told a wrong PIN says so, and then no other is tried either, right or not.
    hsm.write_pin(PIN);
    assert_eq!(send(&mut client, "right"), CANNOT);
    gateway.await_log("the PIN is not tried, since the token says that the last one was wrong");
    hsm.done(&["keys", "fingerprint", &hsm.uri("gate1")]);
    assert!(wait_for(|| send(&mut client, "after").starts_with("250").then_some(())).is_some());
}
