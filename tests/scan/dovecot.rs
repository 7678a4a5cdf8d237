//! Stores that Dovecot itself wrote, in each of its formats and compressions. Nothing of it runs as a service: doveadm
//! writes as the user `nobody`, by a configuration of the test's own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use memchr::memmem;

use crate::program::desk::Desk;
use crate::program::run::Run;
use crate::program::{is_root, letter, skip, word};

/// Formats of a store, as Dovecot calls them.
const FORMATS: [&str; 3] = ["maildir", "sdbox", "mdbox"];

/// Compressions that Dovecot writes, and what each of their files begins with.
const COMPRESSIONS: [(&str, &[u8]); 4] =
    [("gz", b"\x1f\x8b\x08"), ("zstd", b"\x28\xb5\x2f\xfd"), ("bz2", b"BZh9"), ("lz4", b"Dovecot-LZ4\r")];

/// A mail store of Dovecot's.
struct Store<'a> {
    desk: &'a Desk,
    name: String,
    is_old: bool,
}

/// Dovecot's version, if it is installed.
fn version() -> Option<String> {
    let output = Command::new("dovecot").arg("--version").output().ok()?;
    String::from_utf8(output.stdout).ok()
}

/// Whether Dovecot is there, and root's right to become the user that it writes as.
fn is_there() -> bool {
    skip::are_there(&[("Dovecot", version().is_some()), ("root's rights", is_root())])
}

impl<'a> Store<'a> {
    /// An empty one; `more` are other settings, in the words of Dovecot 2.3 and in those of 2.4.
    fn new(desk: &'a Desk, format: &str, compression: Option<&str>, more: [&str; 2]) -> Self {
        let name = format!("{format}-{}", compression.unwrap_or("plain"));
        let is_old = version().is_some_and(|version| version.starts_with("2.3"));
        let store = Self { desk, name, is_old };
        fs::create_dir(store.folder()).unwrap();
        fs::set_permissions(store.folder(), Permissions::from_mode(0o777)).unwrap();
        let folder = store.folder();
        let place = word(&folder);
        let mut text = if is_old {
            let plugins =
                compression.map(|how| format!("mail_plugins = zlib\nplugin {{\n zlib_save = {how}\n}}\n"));
            format!("mail_location = {format}:{place}\n{}{}", plugins.unwrap_or_default(), more[0])
        } else {
            let plugins = compression
                .map(|how| format!("mail_plugins = mail_compress\nmail_compress_write_method = {how}\n"));
            format!(
                "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\nmail_driver = {format}\n\
                 mail_path = {place}\n{}{}",
                plugins.unwrap_or_default(),
                more[1]
            )
        };
        text += "mail_uid = nobody\nmail_gid = nogroup\nfirst_valid_uid = 1\nprotocols =\nssl = no\n";
        text += &format!("base_dir = {place}/run\n");
        desk.write(&format!("{}.conf", store.name), text.as_bytes());
        store
    }

    fn folder(&self) -> PathBuf {
        self.desk.path(&self.name)
    }

    fn try_doveadm(&self, arguments: &[&str]) -> Output {
        let config = self.desk.path(&format!("{}.conf", self.name));
        let (command, rest) = arguments.split_first().unwrap();
        let mut doveadm = Command::new("doveadm");
        doveadm.args(["-c", word(&config), command]);
        if !self.is_old {
            doveadm.arg("--no-userdb-lookup");
        }
        // A plain `doveadm` acts for the user that these two name.
        doveadm.args(rest).env("USER", "nobody").env("HOME", self.folder()).current_dir("/").run()
    }

    /// Runs doveadm on the store.
    fn doveadm(&self, arguments: &[&str]) {
        let output = self.try_doveadm(arguments);
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && complaints.is_empty(),
            "{} {arguments:?}: {complaints}",
            self.name
        );
    }

    /// Has Dovecot store a message in the inbox.
    fn save(&self, message: &str) {
        let file = self.desk.write("message", message.as_bytes());
        self.doveadm(&["save", "-m", "INBOX", word(&file)]);
    }

    /// Scans it. Gives the exit status, the last line, and all that was printed.
    fn scan(&self) -> (i32, String, String) {
        let ended = self.desk.run(&["scan", "--keys", "pins", &self.name]);
        let last = ended.text().lines().last().unwrap_or_default().to_owned();
        (ended.status, last, format!("{}: {}{}", self.name, ended.text(), ended.stderr))
    }
}

/// Whether a file below `folder` has these octets.
fn has_octets(folder: &Path, octets: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            has_octets(&path, octets)
        } else {
            memmem::find(&fs::read(&path).unwrap(), octets).is_some()
        }
    })
}

#[test]
fn finds_what_was_altered_in_every_format_and_compression() {
    if !is_there() {
        return;
    }
    let desk = Desk::new();
    let (intact, swapped) = (desk.sealed("intact"), letter::swapped(&desk.sealed("swapped")));
    for format in FORMATS {
        for compression in COMPRESSIONS.map(Some).into_iter().chain([None]) {
            let store = Store::new(&desk, format, compression.map(|(name, _)| name), ["", ""]);
            store.save(&intact);
            let (status, last, all) = store.scan();
            assert_eq!((status, last.as_str()), (0, "1 message: 1 pass"), "{all}");
            store.save(&swapped);
            let (status, last, all) = store.scan();
            assert_eq!((status, last.as_str()), (1, "2 messages: 1 fail, 1 pass"), "{all}");
            for wanted in ["altered", "Agenda.pdf", "<swapped@example.org>"] {
                assert!(all.contains(wanted), "{all}");
            }
            let is_compressed = compression.is_none_or(|(_, mark)| has_octets(&store.folder(), mark));
            assert!(is_compressed, "{}: Dovecot did not compress", store.name);
        }
    }
}

/// Dovecot's mbox files have fields of its own in each message.
#[test]
fn finds_what_was_altered_in_an_mbox_file() {
    if !is_there() {
        return;
    }
    let desk = Desk::new();
    let inbox = desk.path("mbox-plain/inbox");
    let old = format!("mail_location = mbox:{}:INBOX={}\n", word(&desk.path("mbox-plain")), word(&inbox));
    let store = Store::new(&desk, "mbox", None, [&old, &format!("mail_inbox_path = {}\n", word(&inbox))]);
    store.save(&desk.sealed("1"));
    store.save(&letter::swapped(&desk.sealed("2")));
    store.save(&desk.sealed("3"));
    let (status, last, all) = store.scan();
    assert_eq!((status, last.as_str()), (1, "3 messages: 1 fail, 2 pass"), "{all}");
}

/// What a user deleted stays in an mdbox file, and is scanned, until Dovecot purges the store.
#[test]
fn reads_what_an_mdbox_holds_until_it_is_purged() {
    if !is_there() {
        return;
    }
    let desk = Desk::new();
    let store = Store::new(&desk, "mdbox", Some("gz"), ["", ""]);
    store.save(&desk.sealed("kept"));
    store.save(&letter::swapped(&desk.sealed("deleted")));
    store.doveadm(&["expunge", "mailbox", "INBOX", "subject", "deleted"]);
    let (status, last, all) = store.scan();
    assert_eq!((status, last.as_str()), (1, "2 messages: 1 fail, 1 pass"), "{all}");
    store.doveadm(&["purge"]);
    let (status, last, all) = store.scan();
    assert_eq!((status, last.as_str()), (0, "1 message: 1 pass"), "{all}");
}

/// A message without its attachments would be judged by what is not there.
#[test]
fn names_messages_whose_attachments_are_stored_apart() {
    if !is_there() {
        return;
    }
    let desk = Desk::new();
    let apart = word(&desk.path("sdbox-plain/apart")).to_owned();
    let settings = [
        format!("mail_attachment_dir = {apart}\nmail_attachment_fs = posix\nmail_attachment_min_size = 1k\n"),
        format!(
            "mail_ext_attachment_path = {apart}\nmail_ext_attachment_min_size = 1k\n\
             mail_ext_attachment {{\n fs posix {{\n }}\n}}\n"
        ),
    ];
    let store = Store::new(&desk, "sdbox", None, settings.each_ref().map(String::as_str));
    store.save(&desk.sealed("apart"));
    let (status, last, all) = store.scan();
    assert_eq!((status, last.as_str()), (2, "no message was checked; 1 could not be read"), "{all}");
    assert!(all.contains("stored apart from it"), "{all}");
}
