//! What the administrator says of correspondents by command: `<state>/pins.json`. It is replaced whole, so whoever reads it
//! finds all of it; the gateway looks at it before each message, so a new pin counts from the next message on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::own_like;

use crate::domain::DomainName;
use crate::seal::fingerprint::Told;
use crate::seal::key::{KeyRecord, PublicKey};
use crate::seal::knowledge::{Pin, PinnedKey, Pins};

const FILE: &str = "pins.json";
const LOCK: &str = "pins.lock";

/// Why the file could not be read or changed.
#[derive(Debug, Error)]
pub enum PinFileError {
    /// The disk says no.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not of its form.
    #[error("{}: {source}", path.display())]
    Form {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A domain, key, root or fingerprint in it is none.
    #[error("{}: {domain}: {reason}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// The pin's domain.
        domain: String,
        /// What is wrong.
        reason: String,
    },
}

/// All that was said by command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// Pinned correspondents, in the order of their domains.
    #[serde(default)]
    pub pins: Vec<SaidPin>,
    /// Domains that send unsealed mail, too.
    #[serde(default)]
    pub also_unsealed: Vec<String>,
}

/// One pinned correspondent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaidPin {
    /// Its domain.
    pub domain: String,
    /// Key records.
    #[serde(default)]
    pub keys: Vec<SaidKey>,
    /// Root keys in base64url.
    #[serde(default)]
    pub roots: Vec<String>,
    /// Fingerprints, as digits or words.
    #[serde(default)]
    pub fingerprints: Vec<String>,
    /// Whether the domains below are pinned with it.
    pub subdomains: bool,
}

/// One pinned key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaidKey {
    /// The selector that it is for; any if there is none.
    pub selector: Option<String>,
    /// The record, `v=SEAL1; …`.
    pub record: String,
}

/// What tells one state of the file from the next; `None` where there is no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(Option<(u64, i64, i64, u64)>);

impl Stamp {
    /// That of a file which is not there.
    pub const NONE: Self = Self(None);
}

/// The file.
#[derive(Clone, Debug)]
pub struct PinFile {
    folder: PathBuf,
}

impl PinFile {
    /// The file in a state folder; it need not be there.
    pub fn new(state: &Path) -> Self {
        Self { folder: state.to_owned() }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// Which state the file is in.
    pub fn stamp(&self) -> Result<Stamp, PinFileError> {
        match fs::metadata(self.path()) {
            Ok(file) => Ok(Stamp(Some((file.ino(), file.mtime(), file.mtime_nsec(), file.len())))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Stamp::NONE),
            Err(source) => Err(PinFileError::Io { path: self.path(), source }),
        }
    }

    /// What was said, as it is written.
    pub fn read(&self) -> Result<Said, PinFileError> {
        let path = self.path();
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|source| PinFileError::Form { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Said::default()),
            Err(source) => Err(PinFileError::Io { path, source }),
        }
    }

    /// Adds what was said to other pins.
    pub fn add_to(&self, pins: &mut Pins) -> Result<(), PinFileError> {
        let said = self.read()?;
        let wrong = |domain: &str, reason: String| {
            let domain = domain.chars().take(80).collect();
            PinFileError::Content { path: self.path(), domain, reason }
        };
        for said in &said.pins {
            let domain: DomainName =
                said.domain.parse().map_err(|error| wrong(&said.domain, format!("{error}")))?;
            let pin = said.to_pin().map_err(|reason| wrong(&said.domain, reason))?;
            pins.add(domain, pin);
        }
        for domain in &said.also_unsealed {
            pins.note_also_unsealed(domain.parse().map_err(|error| wrong(domain, format!("{error}")))?);
        }
        Ok(())
    }

    /// Changes what was said; of two who do so at once, one waits. When this returns `Ok`, it is on disk to stay.
    pub fn change<T>(&self, change: impl FnOnce(&mut Said) -> T) -> Result<T, PinFileError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| PinFileError::Io { path, source }
        };
        let lock = self.folder.join(LOCK);
        let options = |file: &mut OpenOptions| file.mode(0o600).write(true).clone();
        let held = options(OpenOptions::new().create(true)).open(&lock).map_err(at(&lock))?;
        own_like(&self.folder, &lock).map_err(at(&lock))?;
        held.lock().map_err(at(&lock))?;

        let mut said = self.read()?;
        let result = change(&mut said);
        said.pins.sort_by(|one, other| one.domain.cmp(&other.domain));
        let mut text = serde_json::to_vec_pretty(&said)
            .map_err(|source| PinFileError::Form { path: self.path(), source })?;
        text.push(b'\n');
        let new = self.folder.join(".pins.json.new");
        let mut file =
            options(OpenOptions::new().create(true).truncate(true)).open(&new).map_err(at(&new))?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(at(&new))?;
        own_like(&self.folder, &new).map_err(at(&new))?;
        fs::rename(&new, self.path()).map_err(at(&self.path()))?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(at(&self.folder))?;
        Ok(result)
    }
}

impl SaidPin {
    fn to_pin(&self) -> Result<Pin, String> {
        let key = |key: &SaidKey| {
            let selector = key.selector.as_ref().map(|text| text.parse()).transpose();
            Ok(PinnedKey {
                selector: selector.map_err(|error| format!("{error}"))?,
                record: KeyRecord::parse(&key.record).map_err(|error| error.to_string())?,
            })
        };
        let root = |text: &String| PublicKey::from_base64url(text).map_err(|error| error.to_string());
        let told = |text: &String| text.parse::<Told>().map_err(|error| error.to_string());
        Ok(Pin {
            keys: self.keys.iter().map(key).collect::<Result<_, String>>()?,
            roots: self.roots.iter().map(root).collect::<Result<_, _>>()?,
            fingerprints: self.fingerprints.iter().map(told).collect::<Result<_, _>>()?,
            subdomains: self.subdomains,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::thread;

    use super::*;

    fn pin(domain: &str) -> SaidPin {
        SaidPin {
            domain: domain.to_owned(),
            keys: vec![SaidKey { selector: Some("gate1".to_owned()), record: "v=SEAL1; p=".to_owned() }],
            ..SaidPin::default()
        }
    }

    #[test]
    fn changes_at_once_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = PinFile::new(folder.path());
        let before = file.stamp().unwrap();
        assert_eq!(file.read().unwrap(), Said::default());
        thread::scope(|scope| {
            for n in 0..20 {
                let file = &file;
                scope.spawn(move || {
                    file.change(|said| said.pins.push(pin(&format!("d{n:02}.example")))).unwrap();
                });
            }
        });
        let said = file.read().unwrap();
        assert_eq!(said.pins.len(), 20);
        assert!(said.pins.is_sorted_by(|a, b| a.domain < b.domain));
        assert_ne!(file.stamp().unwrap(), before);
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        let mut pins = Pins::default();
        file.add_to(&mut pins).unwrap();
        assert!(pins.covers(&"d07.example".parse().unwrap()));
    }

    #[test]
    fn says_what_is_wrong_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = PinFile::new(folder.path());
        for (text, why) in [
            ("{", "EOF"),
            (r#"{"pins": [{"domain": "a b", "subdomains": true}]}"#, "is not a domain name"),
            (
                r#"{"pins": [{"domain": "a.example", "roots": ["x"], "subdomains": true}]}"#,
                "a.example: not an Ed25519",
            ),
            (
                r#"{"pins": [{"domain": "a.example", "fingerprints": ["x"], "subdomains": true}]}"#,
                "a fingerprint is",
            ),
            (r#"{"also_unsealed": ["a b"]}"#, "is not a domain name"),
            (r#"{"pin": []}"#, "unknown field"),
        ] {
            fs::write(folder.path().join(FILE), text).unwrap();
            let error = file.add_to(&mut Pins::default()).unwrap_err().to_string();
            assert!(error.contains(FILE) && error.contains(why), "{error}");
        }
    }
}
