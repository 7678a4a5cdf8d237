//! Pins made by command, in `<state>/pins.json`. It is replaced whole, so whoever reads it finds all of it; the gateway looks at it
//! before each message.

use std::path::Path;

use crate::store::SaidPins;
use crate::store::json_file::{JsonFile, Stamp};
use crate::store::pins::{PinsError, Said};

const NAME: &str = "pins";

/// The file; it need not be there.
#[derive(Clone, Debug)]
pub(super) struct PinFile(JsonFile);

impl PinFile {
    /// The file in a state folder.
    pub(super) fn new(state: &Path) -> Self {
        Self(JsonFile::new(state, NAME))
    }
}

impl SaidPins for PinFile {
    fn place(&self) -> String {
        self.0.path().display().to_string()
    }

    fn stamp(&self) -> Result<Stamp, PinsError> {
        Ok(self.0.stamp()?)
    }

    fn read(&self) -> Result<Said, PinsError> {
        Ok(self.0.read()?)
    }

    fn change(&self, change: &mut dyn FnMut(&mut Said)) -> Result<(), PinsError> {
        let changed = self.0.change(|said: &mut Said| {
            change(said);
            said.pins.sort_by(|one, other| one.domain.cmp(&other.domain));
        });
        Ok(changed?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::thread;

    use attachment_seal::seal::knowledge::Pins;

    use super::*;
    use crate::store::{SaidKey, SaidPin};

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
                    file.change(&mut |said| said.pins.push(pin(&format!("d{n:02}.example")))).unwrap();
                });
            }
        });
        let said = file.read().unwrap();
        assert_eq!(said.pins.len(), 20);
        assert!(said.pins.is_sorted_by(|a, b| a.domain < b.domain));
        assert_ne!(file.stamp().unwrap(), before);
        assert_eq!(fs::metadata(file.0.path()).unwrap().permissions().mode() & 0o777, 0o600);
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
            fs::write(file.0.path(), text).unwrap();
            let error = file.add_to(&mut Pins::default()).unwrap_err().to_string();
            assert!(error.contains("pins.json") && error.contains(why), "{error}");
        }
    }
}
