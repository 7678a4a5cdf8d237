//! What somebody has before them who works with keys and messages by hand.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::{Ended, folder, keygen, letter, waxseal_in, waxseal_reading, word};

/// A folder with a sealing key, `gate1.pem`, and its record pinned in `pins/`.
pub(crate) struct Desk {
    /// The folder.
    pub(crate) folder: TempDir,
    /// The key record.
    pub(crate) record: String,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let folder = folder();
        let record = keygen(&folder.path().join("gate1.pem"));
        let pins = folder.path().join("pins/example.org");
        fs::create_dir_all(&pins).unwrap();
        fs::write(pins.join("gate1.txt"), format!("{record}\n")).unwrap();
        Self { folder, record }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        waxseal_in(self.folder.path(), arguments)
    }

    pub(crate) fn seal(&self, message: &[u8]) -> Ended {
        let key = self.path("gate1.pem");
        waxseal_reading(
            message,
            &["seal", "--key", word(&key), "--domain", "example.org", "--selector", "gate1"],
        )
    }

    /// A sealed letter with attachments, as text.
    pub(crate) fn sealed(&self, subject: &str) -> String {
        let ended = self.seal(&letter::with_attachments(subject));
        assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
        ended.text().to_owned()
    }

    pub(crate) fn verify(&self, message: &[u8]) -> Ended {
        waxseal_reading(message, &["verify", "--keys", word(&self.path("pins")), "--json"])
    }

    /// The verdict's word for one message.
    pub(crate) fn verdict(&self, message: &[u8]) -> String {
        self.verify(message).json()[0]["verdict"].as_str().unwrap().to_owned()
    }
}
