//! Keys (SPEC.md §9): sealing keys and root keys, which are of one kind, and DNS key records.

use std::sync::Arc;

use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes, spki::der::pem::LineEnding};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use encodify::base64;
use thiserror::Error;
use zeroize::Zeroizing;

use super::fingerprint::Fingerprint;
use super::policy_record::Tags;

/// A public key that seals, roots and delegations are checked with. Small-order keys are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// A text that is no public key, key record or delegation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseKeyError {
    /// Not base64 of 32 octets, or not a point of the curve that may be a key.
    #[error("not an Ed25519 public key")]
    PublicKey,
    /// The record does not begin with `v=SEAL1`.
    #[error("not a key record: it must begin with `v=SEAL1;`")]
    Version,
    /// A key type other than `ed25519`.
    #[error("`k` is not ed25519")]
    KeyType,
    /// `p` is missing, or a tag is given twice or is not `name=value`.
    #[error("not a key record: tags are `name=value`, each given once, and `p` is needed")]
    Tags,
    /// Not PKCS#8 PEM of an Ed25519 key.
    #[error("not an Ed25519 private key in PKCS#8 PEM")]
    PrivateKey,
    /// Not of the form of SPEC.md §9.
    #[error("not a delegation: `<root>.<not-before>.<not-after>.<sealing key>.<signature>`")]
    Delegation,
}

impl PublicKey {
    /// Reads 32 octets.
    pub fn from_octets(octets: &[u8]) -> Result<Self, ParseKeyError> {
        let octets = octets.try_into().map_err(|_| ParseKeyError::PublicKey)?;
        let key = VerifyingKey::from_bytes(octets).map_err(|_| ParseKeyError::PublicKey)?;
        if key.is_weak() { Err(ParseKeyError::PublicKey) } else { Ok(Self(key)) }
    }

    /// Reads base64url without padding, as roots and delegations have it.
    pub fn from_base64url(text: &str) -> Result<Self, ParseKeyError> {
        let octets = base64::URL_SAFE_NO_PAD.decode(text).map_err(|_| ParseKeyError::PublicKey)?;
        Self::from_octets(&octets)
    }

    /// Base64url without padding.
    pub fn to_base64url(self) -> String {
        base64::URL_SAFE_NO_PAD.encode(self.0.as_bytes())
    }

    /// The octets.
    pub fn as_octets(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Whether `signature` is this key's over `signed`, by the strict rules (RFC 8032 §5.1.7, cofactorless).
    pub fn verifies(&self, signed: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(signed, &Signature::from_bytes(signature)).is_ok()
    }

    /// What people compare.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_key(self.0.as_bytes())
    }
}

/// A private sealing key: in memory, wiped when its last clone is dropped, or in a token that signs with it and never gives it
/// out.
#[derive(Clone)]
pub struct SealingKey(Place);

#[derive(Clone)]
enum Place {
    /// Shared, so that cloning the key or passing it on leaves no copies of it in memory.
    Memory(Arc<SigningKey>),
    Token(Arc<dyn TokenKey>),
}

/// A private key that a token (PKCS#11) keeps to itself.
pub trait TokenKey: Send + Sync {
    /// Its public half.
    fn public(&self) -> PublicKey;

    /// Has the token sign. Blocks until there is an answer or it is too late for one, seconds if need be.
    fn sign(&self, text: &[u8]) -> Result<[u8; 64], SignError>;
}

/// A token that did not sign. Says nothing about what was to be signed, and the next try may succeed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SignError {
    /// It is away, too slow, or refuses.
    #[error("{0}")]
    Token(String),
    /// What it gave is not the key's signature.
    #[error("the token's signature is not by the key that it was to sign with")]
    NotByKey,
}

impl SealingKey {
    /// A new key from 32 random octets.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(Place::Memory(Arc::new(SigningKey::from_bytes(seed))))
    }

    /// Reads PKCS#8 PEM.
    pub fn from_pem(text: &str) -> Result<Self, ParseKeyError> {
        let key = SigningKey::from_pkcs8_pem(text).map_err(|_| ParseKeyError::PrivateKey)?;
        Ok(Self(Place::Memory(Arc::new(key))))
    }

    /// A key that a token keeps.
    pub fn in_token(key: impl TokenKey + 'static) -> Self {
        Self(Place::Token(Arc::new(key)))
    }

    /// PKCS#8 PEM, version 1 without the public key, which every OpenSSL reads. Wiped when it is dropped. A token's key
    /// has none.
    pub fn to_pem(&self) -> Option<Zeroizing<String>> {
        let Place::Memory(key) = &self.0 else { return None };
        let pair = KeypairBytes { secret_key: key.to_bytes(), public_key: None };
        pair.to_pkcs8_pem(LineEnding::LF).ok()
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        match &self.0 {
            Place::Memory(key) => PublicKey(key.verifying_key()),
            Place::Token(key) => key.public(),
        }
    }

    /// Whether [`Self::sign`] may block: a token is asked, which takes its time.
    pub fn blocks(&self) -> bool {
        matches!(self.0, Place::Token(_))
    }

    /// Signs. A key in memory never fails to. A token's signature is checked, since nobody could check a wrong one's
    /// message: the token may be broken, or hold another key of that name by now.
    pub fn sign(&self, text: &[u8]) -> Result<[u8; 64], SignError> {
        match &self.0 {
            Place::Memory(key) => Ok(key.sign(text).to_bytes()),
            Place::Token(key) => {
                let signature = key.sign(text)?;
                if key.public().verifies(text, &signature) { Ok(signature) } else { Err(SignError::NotByKey) }
            }
        }
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealingKey({})", self.public().to_base64url())
    }
}

/// A key record, as DNS or a pin gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key; `None` for a revoked one (an empty `p`).
    pub key: Option<PublicKey>,
    /// `t=y`: verdicts are reported, no action is taken.
    pub trial: bool,
}

impl KeyRecord {
    /// Reads `v=SEAL1; k=ed25519; p=…`. Unknown tags are ignored.
    pub fn parse(text: &str) -> Result<Self, ParseKeyError> {
        let tags = Tags::parse(text)?;
        if tags.get("k").unwrap_or("ed25519") != "ed25519" {
            return Err(ParseKeyError::KeyType);
        }
        let key = match tags.get("p").ok_or(ParseKeyError::Tags)? {
            "" => None,
            text => {
                let octets = base64::LENIENT.decode(text).map_err(|_| ParseKeyError::PublicKey)?;
                Some(PublicKey::from_octets(&octets)?)
            }
        };
        Ok(Self { key, trial: tags.get("t") == Some("y") })
    }
}

impl std::fmt::Display for KeyRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = self.key.map(|key| base64::STANDARD.encode(key.as_octets())).unwrap_or_default();
        write!(f, "v=SEAL1; k=ed25519; p={key}{}", if self.trial { "; t=y" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_records() {
        let key = SealingKey::from_seed(&[1; 32]).public();
        for record in [
            KeyRecord { key: Some(key), trial: false },
            KeyRecord { key: Some(key), trial: true },
            KeyRecord { key: None, trial: false },
        ] {
            assert_eq!(KeyRecord::parse(&record.to_string()), Ok(record));
        }
        let text = KeyRecord { key: Some(key), trial: false }.to_string().replace("; ", ";");
        assert!(KeyRecord::parse(&format!("{text};x=unknown;")).is_ok());
        for bad in [
            "",
            "v=SEAL2; p=",
            "p=; v=SEAL1",
            "v=SEAL1",
            "v=SEAL1; k=rsa; p=",
            "v=SEAL1; p=; p=",
            "v=SEAL1; p=AAAA",
            "v=SEAL1; junk",
        ] {
            assert!(KeyRecord::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn refuses_a_small_order_key() {
        let mut octets = [0; 32];
        octets[0] = 1;
        assert_eq!(PublicKey::from_octets(&octets), Err(ParseKeyError::PublicKey));
    }

    #[test]
    fn reads_its_own_pem() {
        let key = SealingKey::from_seed(&[2; 32]);
        assert_eq!(SealingKey::from_pem(&key.to_pem().unwrap()).unwrap().public(), key.public());
        let noted = format!("Made: 2026-11-28T06:30:00Z\n{}", *key.to_pem().unwrap());
        assert_eq!(SealingKey::from_pem(&noted).unwrap().public(), key.public());
        assert!(SealingKey::from_pem("-----BEGIN JUNK-----").is_err());
    }

    /// Signs with the one key and shows the other.
    struct Token(SealingKey, SealingKey);

    impl TokenKey for Token {
        fn public(&self) -> PublicKey {
            self.1.public()
        }

        fn sign(&self, text: &[u8]) -> Result<[u8; 64], SignError> {
            self.0.sign(text)
        }
    }

    #[test]
    fn a_tokens_signature_is_believed_only_if_it_is_the_keys() {
        let token = |signs, shows| {
            SealingKey::in_token(Token(
                SealingKey::from_seed(&[signs; 32]),
                SealingKey::from_seed(&[shows; 32]),
            ))
        };
        let key = token(3, 3);
        assert!(key.public().verifies(b"text", &key.sign(b"text").unwrap()));
        assert!(key.to_pem().is_none() && key.blocks());
        assert_eq!(token(3, 4).sign(b"text"), Err(SignError::NotByKey));
    }
}
