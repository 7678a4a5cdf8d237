//! What the administrator says of correspondents by command.

use attachment_seal::domain::DomainName;
use attachment_seal::seal::fingerprint::Told;
use attachment_seal::seal::key::{KeyRecord, PublicKey};
use attachment_seal::seal::knowledge::{Pin, PinnedKey, Pins};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::error::DatabaseError;
use super::json_file::StateFileError;

/// Why what was said could not be read or changed.
#[derive(Debug, Error)]
pub enum PinsError {
    /// It cannot be read or written, or is not of its form.
    #[error(transparent)]
    File(#[from] StateFileError),
    /// The database that it is in says no.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A domain, key, root or fingerprint in it is none.
    #[error("{place}: {domain}: {reason}")]
    Content {
        /// Where it is.
        place: String,
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

impl Said {
    /// Adds what was said to other pins, or tells of which domain it makes no sense, and why.
    pub(super) fn add_to(&self, pins: &mut Pins) -> Result<(), (String, String)> {
        let wrong = |domain: &str, reason: String| (domain.chars().take(80).collect(), reason);
        for said in &self.pins {
            let domain: DomainName =
                said.domain.parse().map_err(|error| wrong(&said.domain, format!("{error}")))?;
            let pin = said.to_pin().map_err(|reason| wrong(&said.domain, reason))?;
            pins.add(domain, pin);
        }
        for domain in &self.also_unsealed {
            pins.note_also_unsealed(domain.parse().map_err(|error| wrong(domain, format!("{error}")))?);
        }
        Ok(())
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
