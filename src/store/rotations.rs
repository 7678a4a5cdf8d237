//! Rotations of sealing keys (`waxseal keys rotate`) that are under way, and old keys whose records are to be taken out of
//! DNS: `<state>/rotations.json`. The command writes down what it will do before it does it, so that whoever interrupts it
//! can have it go on; the gateway reads it to remind.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::json_file::{JsonFile, StateFileError};

const NAME: &str = "rotations";

/// Why a rotation cannot be worked on.
#[derive(Debug, Error)]
pub enum RotationFileError {
    /// The file cannot be read or written, or is not of its form.
    #[error(transparent)]
    File(#[from] StateFileError),
    /// One at a time.
    #[error("another `waxseal keys rotate` is at work here")]
    Busy,
}

/// All that is under way, and what is left to do of earlier rotations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotations {
    /// At most one for each domain.
    #[serde(default)]
    pub under_way: Vec<UnderWay>,
    /// Keys that seal no more, and whose records are in DNS still.
    #[serde(default)]
    pub retired: Vec<Retired>,
    /// The last rotation that came to its end, of each domain.
    #[serde(default)]
    pub newest: Vec<Newest>,
}

/// A rotation that has begun and not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnderWay {
    /// The sealing domain.
    pub domain: String,
    /// The selector that seals now.
    pub from: String,
    /// The one that is to seal.
    pub to: String,
    /// The new key, as `key` of the configuration will name it.
    pub key: PathBuf,
    /// The file that the new key is written to, unless it was there before.
    pub file: Option<PathBuf>,
    /// The new public key in base64url, once there is one.
    pub public: Option<String>,
    /// The old public key in base64url.
    pub old_public: String,
    /// Whether the old key is known to others: then nothing that it says is worth anything.
    #[serde(default)]
    pub compromised: bool,
    /// When it began.
    pub began: Timestamp,
    /// When every server was first found to answer with the new key.
    pub published: Option<Timestamp>,
    /// From when on no resolver can remember that there was no such record.
    pub settled: Option<Timestamp>,
    /// The file with the old key's word for the new one, where one is made.
    pub succession: Option<PathBuf>,
}

/// An old key's record, to be taken away or, where others have the key, revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retired {
    /// The sealing domain.
    pub domain: String,
    /// The selector of the record.
    pub selector: String,
    /// The key in base64url.
    pub public: String,
    /// Since when another key seals.
    pub since: Timestamp,
    /// From when on no mail under way needs the record.
    pub remove_after: Timestamp,
    /// Whether the record is to say that the key is revoked, and at once.
    #[serde(default)]
    pub compromised: bool,
}

/// Which selector seals since the last rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Newest {
    /// The sealing domain.
    pub domain: String,
    /// The selector that seals.
    pub selector: String,
    /// Since when.
    pub since: Timestamp,
}

/// The file.
#[derive(Clone, Debug)]
pub struct RotationFile(JsonFile);

/// The right to work on rotations; it ends with this value, or with the process.
#[derive(Debug)]
pub struct AtWork {
    _lock: File,
}

impl RotationFile {
    /// The file in a state folder; it need not be there.
    pub fn new(state: &Path) -> Self {
        Self(JsonFile::new(state, NAME))
    }

    /// Its place.
    pub fn path(&self) -> PathBuf {
        self.0.path()
    }

    /// What is under way, and what is left to do.
    pub fn read(&self) -> Result<Rotations, RotationFileError> {
        Ok(self.0.read()?)
    }

    /// Changes it; of two who do so at once, one waits. When this returns `Ok`, it is on disk to stay.
    pub fn change<T>(&self, change: impl FnOnce(&mut Rotations) -> T) -> Result<T, RotationFileError> {
        Ok(self.0.change(change)?)
    }

    /// For as long as one command works on rotations, no other does.
    pub fn begin(&self) -> Result<AtWork, RotationFileError> {
        let lock = self.0.open_lock("command")?;
        match lock.try_lock() {
            Ok(()) => Ok(AtWork { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(RotationFileError::Busy),
            Err(TryLockError::Error(source)) => Err(StateFileError::Io { path: self.path(), source }.into()),
        }
    }
}

impl Rotations {
    /// The rotation of a domain's key.
    pub fn of(&self, domain: &str) -> Option<&UnderWay> {
        self.under_way.iter().find(|rotation| rotation.domain == domain)
    }

    /// Writes a rotation down, in the place of an earlier note of it.
    pub fn note(&mut self, rotation: UnderWay) {
        self.under_way.retain(|known| known.domain != rotation.domain);
        self.under_way.push(rotation);
    }

    /// The domain's rotation has ended, or is given up.
    pub fn end(&mut self, domain: &str) {
        self.under_way.retain(|known| known.domain != domain);
    }

    /// Writes down that a key has been retired, and which selector seals in its place.
    pub fn retire(&mut self, retired: Retired, successor: &str) {
        self.forget(&retired.domain, &retired.selector);
        self.newest.retain(|known| known.domain != retired.domain);
        let (domain, selector) = (retired.domain.clone(), successor.to_owned());
        self.newest.push(Newest { domain, selector, since: retired.since });
        self.retired.push(retired);
    }

    /// Nothing is left to do about an old key. Whether there was.
    pub fn forget(&mut self, domain: &str, selector: &str) -> bool {
        let before = self.retired.len();
        self.retired.retain(|old| (old.domain.as_str(), old.selector.as_str()) != (domain, selector));
        self.retired.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retired(selector: &str) -> Retired {
        Retired {
            domain: "example.org".to_owned(),
            selector: selector.to_owned(),
            public: String::new(),
            since: Timestamp::UNIX_EPOCH,
            remove_after: Timestamp::UNIX_EPOCH,
            compromised: false,
        }
    }

    #[test]
    fn what_was_written_is_found_again_and_one_command_works_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = RotationFile::new(folder.path());
        assert_eq!(file.read().unwrap(), Rotations::default());
        let at_work = file.begin().unwrap();
        assert!(matches!(file.begin(), Err(RotationFileError::Busy)));
        drop(at_work);
        let _at_work = file.begin().unwrap();
        for selector in ["gate1", "gate2", "gate1"] {
            file.change(|rotations| rotations.retire(retired(selector), "gate3")).unwrap();
        }
        assert_eq!(file.read().unwrap().retired, [retired("gate2"), retired("gate1")]);
        assert!(file.change(|rotations| rotations.forget("example.org", "gate2")).unwrap());
        assert!(!file.change(|rotations| rotations.forget("example.net", "gate1")).unwrap());
        assert_eq!(file.read().unwrap().retired, [retired("gate1")]);
    }
}
