//! The state folder: one gateway at a time has it, strangers' files in it are let be, and root's commands follow nothing that
//! the gateway's user has put there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::program::site::{RECIPIENT, SENDER, Site};
use crate::program::smtp::{Client, free_port};
use crate::program::{Gateway, waxseal, word};

fn hold(site: &Site, gateway: &Gateway, subject: &str) -> String {
    let mut client = Client::hello(gateway.address("inbound"));
    let reply = client.deliver(SENDER, RECIPIENT, &site.swapped(subject));
    reply.strip_prefix("250 2.0.0 accepted as ").unwrap_or_else(|| panic!("{reply}")).to_owned()
}

#[test]
fn a_second_gateway_on_the_same_state_folder_does_not_start() {
    let site = Site::new();
    let first = site.verifying("").start();
    let held = hold(&site, &first, "held");
    // Half of a message on its way into the quarantine.
    let unfinished = site.folder.path().join("state/quarantine/tmp/20261123T061112-7f3a9c");
    fs::create_dir(&unfinished).unwrap();

    let other = tempfile::tempdir().unwrap();
    let state = site.folder.path().join("state");
    for mode in ["verify", "seal"] {
        let domain = format!(
            "[[domain]]\nname = \"example.org\"\nselector = \"gate1\"\nkey = \"{}\"\n",
            word(&site.key)
        );
        let text = format!(
            "hostname = \"mx.partner.example\"\nstate = \"{}\"\n[[listener]]\nname = \"a\"\nmode = \"{mode}\"\n\
             listen = [\"{}\"]\nnext_hop = \"{}\"\n{domain}[dns]\nservers = []\n",
            state.display(),
            free_port(),
            site.next_hop.address
        );
        let config = other.path().join("waxseal.toml");
        fs::write(&config, text).unwrap();
        let second = waxseal(&["run", "--config", word(&config)]);
        assert_eq!(second.status, 2, "{second:?}");
        assert!(second.stderr.contains("another gateway runs with the state folder"), "{second:?}");
    }
    assert!(unfinished.exists(), "the second one has emptied tmp/");
    // Commands go on.
    assert_eq!(first.held().len(), 1);
    for command in [&["keys", "unsealed", "example.com"][..], &["keys", "forget", "example.com"]] {
        let ended = waxseal(&[command, &["--config", word(&first.config)]].concat());
        assert!(!ended.stderr.contains("another gateway"), "{ended:?}");
    }
    assert_eq!(first.quarantine(&["delete", &held]).status, 0);

    // The right to the folder dies with the process, however that ends.
    first.signal(rustix::process::Signal::KILL);
    let next = site.verifying("").start();
    assert!(!unfinished.exists());
    hold(&site, &next, "held by the next");
}

#[test]
fn strange_files_are_no_reason_not_to_start() {
    let site = Site::new();
    let tmp = site.folder.path().join("state/quarantine/tmp");
    fs::create_dir_all(tmp.join("lost+found")).unwrap();
    for file in [".nfs0001", "20261123T061112-7f3a9c", "\u{feff}note"] {
        fs::write(tmp.join(file), "strange").unwrap();
    }
    fs::write(tmp.with_file_name("README"), "strange").unwrap();
    symlink("/nonexistent", site.folder.path().join("state/link")).unwrap();
    let gateway = site.verifying("").start();
    gateway.await_log("something was left in the quarantine's folder tmp");
    hold(&site, &gateway, "held");
    assert!(tmp.join(".nfs0001").exists() && tmp.join("lost+found").exists());
}

#[test]
fn the_state_folder_is_ours_alone_whatever_the_umask() {
    for (umask, mode) in [("000", "verify"), ("000", "seal"), ("022", "seal"), ("027", "verify")] {
        let site = Site::new();
        let config =
            site.config().listener("inbound", mode, site.next_hop.address, "").sealing_with(&site.key);
        let gateway = config.start_from_shell(&format!("umask {umask}"), Stdio::null());
        let state = site.folder.path().join("state");
        let mut folders = vec![state.clone()];
        if mode == "verify" {
            folders.extend(["quarantine", "quarantine/tmp"].map(|name| state.join(name)));
        }
        for folder in folders {
            let found = fs::metadata(&folder).unwrap().permissions().mode() & 0o777;
            assert_eq!(found, 0o700, "{} with umask {umask}", folder.display());
        }
        drop(gateway);
    }
}

/// Runs a command that must not hang.
fn run(arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new("timeout");
    command.args(["20", env!("CARGO_BIN_EXE_waxseal")]).args(arguments).stdin(Stdio::null());
    let ended = command.output().unwrap();
    let status = ended.status.code().unwrap();
    assert_ne!(status, 124, "{arguments:?} hangs");
    (status, String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr))
}

struct Trap {
    site: Site,
    config: PathBuf,
    state: PathBuf,
    held: String,
    /// Root's own folder, with a held message, a database and a secret in it.
    elsewhere: tempfile::TempDir,
}

impl Trap {
    /// A state folder as a gateway left it, and a copy of it that is none of ours.
    fn new() -> Self {
        let site = Site::new();
        let gateway = site.verifying("").start();
        let held = hold(&site, &gateway, "held");
        let config = gateway.config.clone();
        drop(gateway);
        let (state, elsewhere) = (site.folder.path().join("state"), tempfile::tempdir().unwrap());
        let copied = Command::new("cp").arg("-a").arg(&state).arg(elsewhere.path()).status().unwrap();
        assert!(copied.success());
        fs::write(elsewhere.path().join("secret"), "\"root's own\"").unwrap();
        Self { site, config, state, held, elsewhere }
    }

    /// Everything elsewhere, with its content.
    fn elsewhere(&self) -> Vec<(PathBuf, Vec<u8>)> {
        fn walk(folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, found);
                } else {
                    found.push((path.clone(), fs::read(&path).unwrap()));
                }
            }
        }
        let mut found = Vec::new();
        walk(self.elsewhere.path(), &mut found);
        found.sort();
        found
    }

    /// Every command that root may run here.
    fn run_all(&self) -> Vec<(Vec<String>, i32, String)> {
        let config = word(&self.config);
        let key = self.site.record.clone();
        let commands: [&[&str]; 12] = [
            &["quarantine", "list"],
            &["quarantine", "show", &self.held],
            &["quarantine", "export", &self.held],
            &["quarantine", "release", &self.held],
            &["quarantine", "delete", &self.held],
            &["keys", "list"],
            &["keys", "pin", "example.com", "--key", &key],
            &["keys", "unsealed", "example.com"],
            &["keys", "forget", "example.org"],
            &["keys", "status"],
            &["report"],
            &["doctor"],
        ];
        let mut results = Vec::new();
        for command in commands {
            let (status, text) = run(&[command, &["--config", config]].concat());
            results.push((command.iter().map(ToString::to_string).collect(), status, text));
        }
        results
    }
}

#[test]
fn commands_follow_no_link_and_wait_for_no_fifo() {
    const ENTRIES: [&str; 12] = [
        "quarantine",
        "quarantine/tmp",
        "quarantine/HELD",
        "quarantine/HELD/meta.json",
        "quarantine/HELD/message.eml",
        "quarantine/HELD/release.jsonl",
        "pins.json",
        "pins.lock",
        "keys.json",
        "gateway.json",
        "gateway.lock",
        "memory.sqlite",
    ];
    for entry in ENTRIES {
        for is_link in [true, false] {
            let trap = Trap::new();
            let name = entry.replace("HELD", &trap.held);
            let (place, copy) = (trap.state.join(&name), trap.elsewhere.path().join("state").join(&name));
            if place.is_dir() {
                fs::remove_dir_all(&place).unwrap();
            } else if place.exists() {
                fs::remove_file(&place).unwrap();
            }
            if is_link {
                let target = if copy.exists() { copy } else { trap.elsewhere.path().join("secret") };
                symlink(target, &place).unwrap();
            } else {
                assert!(Command::new("mkfifo").arg(&place).status().unwrap().success());
            }
            let before = trap.elsewhere();
            let results = trap.run_all();
            assert_eq!(trap.elsewhere(), before, "{entry}: {results:#?}");
            assert!(!results.iter().any(|(.., text)| text.contains("root's own")), "{entry}: {results:#?}");
        }
    }
}

/// The administrator may have made the state folder itself a link, as systemd does with DynamicUser=.
#[test]
fn the_state_folder_may_be_a_link() {
    let site = Site::new();
    fs::create_dir(site.folder.path().join("private")).unwrap();
    symlink("private", site.folder.path().join("state")).unwrap();
    let gateway = site.verifying("").start();
    let held = hold(&site, &gateway, "held");
    let (status, text) = run(&["keys", "list", "--config", word(&gateway.config)]);
    assert!(status == 0 && !text.contains("cannot"), "{status}: {text}");
    assert_eq!(gateway.quarantine(&["release", &held]).status, 0);
    site.next_hop.await_message("held");
}
