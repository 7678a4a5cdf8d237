//! Public keys as people hand them to each other: key records bare or as lines of a zone file (RFC 1035 §5.1), root keys,
//! delegations. What [`KeyRecord`] and [`PublicKey`] read in DNS and in seals is read more strictly there.

use thiserror::Error;

use super::key::{KeyRecord, ParseKeyError, PublicKey};
use crate::domain::{DomainName, Selector};

/// One public key, and what its text says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// A key record.
    Key {
        /// Whose it is and under which selector it is published, where the text is a line of a zone file.
        owner: Option<(DomainName, Selector)>,
        /// The record.
        record: KeyRecord,
    },
    /// A root key: bare, or in a line of a zone file that holds a policy record.
    Root {
        /// Whose it is, if the text says so.
        owner: Option<DomainName>,
        /// The key.
        key: PublicKey,
    },
    /// A delegation's two keys. Whether it is its root's takes knowing for whom it was made.
    Delegated {
        /// The delegating key.
        root: PublicKey,
        /// The sealing key.
        key: PublicKey,
    },
}

/// A line that holds no public key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParsePublishedError {
    /// A record or key that is not of its form.
    #[error("line {line}: {error}")]
    Key {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        error: ParseKeyError,
    },
    /// A line of a zone file under a name that is none of ours.
    #[error("line {line}: `{owner}` is not SELECTOR._attachment-seal.DOMAIN")]
    Owner {
        /// Which line, from 1.
        line: usize,
        /// The name.
        owner: String,
    },
    /// Nothing but comments.
    #[error("it holds no public key")]
    Nothing,
}

const LABEL: &str = "_attachment-seal.";

impl Published {
    /// Reads every public key of a text; lines that begin with `;` or `#` are comments.
    pub fn read(text: &str) -> Result<Vec<Self>, ParsePublishedError> {
        let mut found = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if !text.is_empty() && !text.starts_with([';', '#']) {
                found.extend(read_line(line, text)?);
            }
        }
        if found.is_empty() { Err(ParsePublishedError::Nothing) } else { Ok(found) }
    }

    /// The keys of it: one, or a delegation's two. None for a revoked record.
    pub fn keys(&self) -> impl Iterator<Item = PublicKey> {
        let (first, second) = match self {
            Self::Key { record, .. } => (record.key, None),
            Self::Root { key, .. } => (Some(*key), None),
            Self::Delegated { root, key } => (Some(*root), Some(*key)),
        };
        first.into_iter().chain(second)
    }
}

fn read_line(line: usize, text: &str) -> Result<Vec<Published>, ParsePublishedError> {
    let wrong = |error| ParsePublishedError::Key { line, error };
    if text.starts_with("v=") {
        let record = KeyRecord::parse(text).map_err(wrong)?;
        return Ok(vec![Published::Key { owner: None, record }]);
    }
    if let Some((owner, record)) = zone_line(text) {
        let bad_owner = || ParsePublishedError::Owner { line, owner: owner.chars().take(80).collect() };
        let (selector, domain) = match owner.split_once(&format!(".{LABEL}")) {
            Some((selector, domain)) => (Some(selector), domain),
            None => (None, owner.strip_prefix(LABEL).ok_or_else(bad_owner)?),
        };
        let domain: DomainName = domain.parse().map_err(|_| bad_owner())?;
        return match selector {
            Some(selector) => {
                let selector = selector.parse().map_err(|_| bad_owner())?;
                let record = KeyRecord::parse(&record).map_err(wrong)?;
                Ok(vec![Published::Key { owner: Some((domain, selector)), record }])
            }
            None => roots(&record, &domain).map_err(wrong),
        };
    }
    if let [root, _, _, key, _] = text.split('.').collect::<Vec<_>>()[..] {
        let read = |text| PublicKey::from_base64url(text).map_err(wrong);
        return Ok(vec![Published::Delegated { root: read(root)?, key: read(key)? }]);
    }
    let key = PublicKey::from_base64url(text).map_err(wrong)?;
    Ok(vec![Published::Root { owner: None, key }])
}

/// Owner and text of a TXT record: `name. 3600 IN TXT "…" "…"`.
fn zone_line(text: &str) -> Option<(&str, String)> {
    let (before, quoted) = text.split_once('"')?;
    let mut words = before.split_whitespace();
    let owner = words.next()?;
    words.last().filter(|word| word.eq_ignore_ascii_case("TXT"))?;
    // Strings of one record are one text (RFC 6376 §3.6.2.2 has it so as well).
    let strings = quoted.split('"').step_by(2).collect();
    Some((owner.strip_suffix('.').unwrap_or(owner), strings))
}

/// The root keys that a policy record names.
fn roots(record: &str, domain: &DomainName) -> Result<Vec<Published>, ParseKeyError> {
    let root = record.split(';').find_map(|tag| tag.trim().strip_prefix("root=")).unwrap_or_default();
    let keys = root.split(',').map(str::trim).filter(|key| !key.is_empty());
    let root =
        |key| Ok(Published::Root { owner: Some(domain.clone()), key: PublicKey::from_base64url(key)? });
    keys.map(root).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::key::SealingKey;

    fn key(seed: u8) -> PublicKey {
        SealingKey::from_seed(&[seed; 32]).public()
    }

    #[test]
    fn reads_what_our_commands_print() {
        let record = KeyRecord { key: Some(key(1)), trial: false };
        let owner = Some(("example.org".parse().unwrap(), "gate1".parse().unwrap()));
        let whole = Published::Key { owner, record };
        let bare = Published::Key { owner: None, record };
        let root = key(2).to_base64url();
        for (text, expected) in [
            (format!("{record}\n"), vec![bare]),
            (
                format!("; fingerprint: 1\ngate1._attachment-seal.example.org. IN TXT \"{record}\"\n; x\n"),
                vec![whole.clone()],
            ),
            (
                format!(
                    "gate1._attachment-seal.Example.ORG 3600 in txt \"{}\" \"{}\"",
                    &record.to_string()[..20],
                    &record.to_string()[20..]
                ),
                vec![whole],
            ),
            (format!("# ours\n{root}"), vec![Published::Root { owner: None, key: key(2) }]),
            (
                format!("_attachment-seal.example.org. IN TXT \"v=SEAL1; p=none; root={root}\""),
                vec![Published::Root { owner: "example.org".parse().ok(), key: key(2) }],
            ),
            (
                format!("{root}.1.2.{}.AAAA", key(1).to_base64url()),
                vec![Published::Delegated { root: key(2), key: key(1) }],
            ),
        ] {
            assert_eq!(Published::read(&text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn says_which_line_is_no_key() {
        for (text, why) in [
            ("", "it holds no public key"),
            ("; nothing", "it holds no public key"),
            ("\njunk", "line 2: not an Ed25519 public key"),
            ("v=SEAL1", "line 1: not a key record"),
            ("www.example.org. IN TXT \"v=SEAL1; p=\"", "line 1: `www.example.org` is not SELECTOR"),
            ("a.b.c.d.e", "line 1: not an Ed25519"),
        ] {
            let error = Published::read(text).unwrap_err().to_string();
            assert!(error.starts_with(why), "{text}: {error}");
        }
    }
}
