//! A site: its folder, its key, and the server that its gateway stands before.

use std::path::PathBuf;

use tempfile::TempDir;

use super::smtp::Server;
use super::{Config, folder, keygen, letter, waxseal_reading, word};

/// A sender whom gateways seal for.
pub(crate) const SENDER: &str = "office@example.org";
/// A recipient behind the verifying gateway.
pub(crate) const RECIPIENT: &str = "desk@partner.example";

/// A site with a key of its own, and a server behind its gateway.
pub(crate) struct Site {
    /// Its files.
    pub(crate) folder: TempDir,
    /// The key that it seals with.
    pub(crate) key: PathBuf,
    /// That key's record.
    pub(crate) record: String,
    /// The server behind it.
    pub(crate) next_hop: Server,
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = folder();
        let key = folder.path().join("gate1.pem");
        let record = keygen(&key);
        Self { folder, key, record, next_hop: Server::taking_all() }
    }

    /// A gateway that verifies mail from example.org; `more` is for the listener's other keys.
    pub(crate) fn verifying(&self, more: &str) -> Config {
        self.config().listener("inbound", "verify", self.next_hop.address, more).pinning(&self.record)
    }

    /// The same for one of several gateways that share a PostgreSQL database.
    pub(crate) fn sharing(&self, url: &str, name: &str) -> Config {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let text = format!("state = \"{url}\"\nfolder = \"folder\"\nlabel = \"{name}\"\n");
        Config::of(&folder, "mx.partner.example", &text)
            .listener("inbound", "verify", self.next_hop.address, "")
            .pinning(&self.record)
    }

    pub(crate) fn config(&self) -> Config {
        Config::new(self.folder.path(), "mx.partner.example")
    }

    /// Sealed, and its attachment swapped on the way.
    pub(crate) fn swapped(&self, subject: &str) -> Vec<u8> {
        self.changed(&letter::with_attachments(subject), letter::swapped)
    }

    /// Sealed, and then changed.
    pub(crate) fn changed(&self, message: &[u8], change: impl Fn(&str) -> String) -> Vec<u8> {
        let key = ["--key", word(&self.key), "--domain", "example.org", "--selector", "gate1"];
        let sealed = waxseal_reading(message, &[&["seal"], &key[..]].concat());
        assert_eq!(sealed.status, 0, "{sealed:?}");
        change(sealed.text()).into_bytes()
    }
}

/// A message from a domain that seals nothing.
pub(crate) fn plain(subject: &str) -> Vec<u8> {
    letter::plain("someone@example.net", subject)
}
