//! What is remembered, as commands see and change it; the gateway may be running.

use std::path::Path;

use attachment_seal::domain::DomainName;
use attachment_seal::seal::key::PublicKey;
use attachment_seal::seal::remembered::Memory;
use rusqlite::{Connection, params};

use super::database::{self, DatabaseError};
use super::memory::{ACCEPTED, DELEGATED, OFFERED, REVOKED, recall};

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It was proved, and counts.
    Accepted,
    /// A root vouched for it, for as long as its statement says.
    Delegated,
    /// It contradicts what is known, and waits for an administrator.
    Offered,
    /// It was revoked.
    Revoked,
}

impl KeyState {
    /// The word that the database and lists use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => ACCEPTED,
            Self::Delegated => DELEGATED,
            Self::Offered => OFFERED,
            Self::Revoked => REVOKED,
        }
    }
}

/// A key as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key: one that seals, or a root.
    pub key: PublicKey,
    /// The selector of the seal that it was last seen with.
    pub selector: String,
    /// Whether it is a root.
    pub is_root: bool,
    /// What became of it.
    pub state: KeyState,
    /// When it was first seen, in Unix seconds.
    pub first_seen: u64,
    /// When it was last seen, in Unix seconds.
    pub last_seen: u64,
}

/// A domain as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainRecord {
    /// The sealing domain.
    pub name: DomainName,
    /// When it was first seen, in Unix seconds.
    pub first_seen: u64,
    /// When it was last seen, in Unix seconds.
    pub last_seen: u64,
    /// Whether it passed often enough to be known to seal.
    pub seals: bool,
    /// Its keys, the newest first.
    pub keys: Vec<KeyRecord>,
    /// How many messages got each verdict.
    pub counts: Vec<(String, u64)>,
}

/// What is remembered, for commands; the gateway may be running.
#[derive(Debug)]
pub struct Memories(pub(super) Connection);

impl Memories {
    /// Opens what a gateway has made.
    pub fn open(state: &Path) -> Result<Self, DatabaseError> {
        database::open(state).map(Self)
    }

    /// Opens what a gateway has made, and changes nothing.
    pub fn open_to_read(state: &Path) -> Result<Self, DatabaseError> {
        let path = database::path(state);
        if !path.exists() {
            return Err(DatabaseError::None(path));
        }
        database::open_to_read(&path).map(Self)
    }

    /// What is remembered of these domains, for judging a message.
    pub fn recall(&self, domains: &[DomainName], now: u64) -> Result<Memory, DatabaseError> {
        recall(&self.0, domains, now)
    }

    /// What is wrong with the file, by SQLite's own check; `None` if it is sound.
    pub fn damage(&self) -> Result<Option<String>, DatabaseError> {
        let found: String = self.0.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        Ok((found != "ok").then_some(found))
    }

    /// Everything, in the order of names; or one domain.
    pub fn list(&self, only: Option<&DomainName>, now: u64) -> Result<Vec<DomainRecord>, DatabaseError> {
        let mut names = self.0.prepare(
            "SELECT name, first_seen, last_seen FROM domain WHERE ?1 IS NULL OR name = ?1 ORDER BY name",
        )?;
        let mut rows = names.query([only.map(DomainName::as_str)])?;
        let mut records = Vec::new();
        while let Some(row) = rows.next()? {
            let Ok(name) = DomainName::from_canonical(&row.get::<_, String>(0)?) else { continue };
            let seals = recall(&self.0, std::slice::from_ref(&name), now)?.seals(&name);
            let (keys, counts) = (self.keys(&name)?, self.counts(&name)?);
            records.push(DomainRecord {
                name,
                first_seen: row.get(1)?,
                last_seen: row.get(2)?,
                seals,
                keys,
                counts,
            });
        }
        Ok(records)
    }

    /// The keys of a domain, the newest first.
    pub fn keys(&self, domain: &DomainName) -> Result<Vec<KeyRecord>, DatabaseError> {
        let mut statement = self.0.prepare(
            "SELECT key, selector, state, first_seen, last_seen, is_root FROM key WHERE domain = ?1
             ORDER BY last_seen DESC, state DESC, key",
        )?;
        let mut rows = statement.query([domain.as_str()])?;
        let mut keys = Vec::new();
        while let Some(row) = rows.next()? {
            let Ok(key) = PublicKey::from_octets(&row.get::<_, Vec<u8>>(0)?) else { continue };
            let state = match row.get::<_, String>(2)?.as_str() {
                DELEGATED => KeyState::Delegated,
                OFFERED => KeyState::Offered,
                REVOKED => KeyState::Revoked,
                _ => KeyState::Accepted,
            };
            keys.push(KeyRecord {
                key,
                selector: row.get(1)?,
                is_root: row.get(5)?,
                state,
                first_seen: row.get(3)?,
                last_seen: row.get(4)?,
            });
        }
        Ok(keys)
    }

    fn counts(&self, domain: &DomainName) -> Result<Vec<(String, u64)>, DatabaseError> {
        let mut statement =
            self.0.prepare("SELECT verdict, count FROM tally WHERE domain = ?1 ORDER BY verdict")?;
        let counts = statement.query_map([domain.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(counts.collect::<Result<_, _>>()?)
    }

    /// Accepts a key that was offered or revoked. Says whether there was such a key.
    pub fn approve(&self, domain: &DomainName, key: &PublicKey, now: u64) -> Result<bool, DatabaseError> {
        // As if seen now, so that it may vouch for the next one.
        let changed = self.0.execute(
            "UPDATE key SET state = ?3, last_seen = max(last_seen, ?4) WHERE domain = ?1 AND key = ?2 AND state <> ?3",
            params![domain.as_str(), key.as_octets(), ACCEPTED, now],
        )?;
        Ok(changed > 0)
    }

    /// Forgets a domain, keys and all. Says whether it was remembered.
    pub fn forget(&self, domain: &DomainName) -> Result<bool, DatabaseError> {
        Ok(self.0.execute("DELETE FROM domain WHERE name = ?1", [domain.as_str()])? > 0)
    }
}
