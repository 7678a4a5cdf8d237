//! What the administrator says of correspondents by command: `<state>/pins.json`. It is replaced whole, so whoever reads it
//! finds all of it; the gateway looks at it before each message, so a new pin counts from the next message on.

use std::path::{Path, PathBuf};

use attachment_seal::domain::DomainName;
use attachment_seal::seal::fingerprint::Told;
use attachment_seal::seal::key::{KeyRecord, PublicKey};
use attachment_seal::seal::knowledge::{Pin, PinnedKey, Pins};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::json_file::{JsonFile, Stamp, StateFileError};

const NAME: &str = "pins";

/// Why the file could not be read or changed.
#[derive(Debug, Error)]
pub enum PinFileError {
    /// It cannot be read or written, or is not of its form.
    #[error(transparent)]
    File(#[from] StateFileError),
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

/// The file.
#[derive(Clone, Debug)]
pub struct PinFile(JsonFile);

impl PinFile {
    /// The file in a state folder; it need not be there.
    pub fn new(state: &Path) -> Self {
        Self(JsonFile::new(state, NAME))
    }

    fn path(&self) -> PathBuf {
        self.0.path()
    }

    /// Which state the file is in.
    pub fn stamp(&self) -> Result<Stamp, PinFileError> {
        Ok(self.0.stamp()?)
    }

    /// What was said, as it is written.
    pub fn read(&self) -> Result<Said, PinFileError> {
        Ok(self.0.read()?)
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
        let changed = self.0.change(|said: &mut Said| {
            let result = change(said);
            said.pins.sort_by(|one, other| one.domain.cmp(&other.domain));
            result
        });
        Ok(changed?)
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
    use std::fs;
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
            fs::write(file.path(), text).unwrap();
            let error = file.add_to(&mut Pins::default()).unwrap_err().to_string();
            assert!(error.contains("pins.json") && error.contains(why), "{error}");
        }
    }
}
