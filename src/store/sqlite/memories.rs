//! What is remembered, in SQLite, as the gateway and commands see and change it.

use attachment_seal::domain::DomainName;
use attachment_seal::seal::key::PublicKey;
use attachment_seal::seal::remembered::Memory;
use rusqlite::{Connection, TransactionBehavior, params};

use super::database::Database;
use super::{database, deeds, judged, memory, outbox};
use crate::store::Memories;
use crate::store::error::DatabaseError;
use crate::store::memories::{ACCEPTED, Bounds, DAYS_OF_WORK, DomainRecord, KeyRecord, KeyState, Learned};
use crate::store::recorder::Entry;

impl Memories for Database {
    fn recall(&self, domains: &[DomainName], now: u64) -> Result<Memory, DatabaseError> {
        self.read(|connection| memory::recall(connection, domains, now))
    }

    fn record(&self, entries: &[Box<Entry>]) -> Result<u64, DatabaseError> {
        self.write(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut refused = 0;
            for entry in entries {
                if let Some(observation) = &entry.observation {
                    let learned = memory::learn(&transaction, observation, Bounds::default())?;
                    refused += u64::from(learned == Learned::NoRoom);
                }
                outbox::put(&transaction, &entry.letters, None)?;
            }
            judged::record(&transaction, entries)?;
            transaction.commit()?;
            Ok(refused)
        })
    }

    fn forget_old(&self, now: u64) -> Result<u64, DatabaseError> {
        self.write(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if judged::days_before(&transaction, now)? < DAYS_OF_WORK {
                return Ok(0);
            }
            let forgotten = memory::forget_old(&transaction, now)?;
            judged::forget_old(&transaction, now)?;
            deeds::forget_old(&transaction, now)?;
            transaction.commit()?;
            Ok(forgotten as u64)
        })
    }

    fn is_open(&self) -> bool {
        Database::is_open(self)
    }

    fn mended(&self) -> Option<String> {
        self.news().mended.take()
    }

    fn form(&self) -> Result<(i64, i64), DatabaseError> {
        self.read(|connection| Ok((database::version(connection)?, database::VERSION)))
    }

    fn damage(&self) -> Result<Option<String>, DatabaseError> {
        self.read(database::check)
    }

    fn list(&self, only: Option<&DomainName>, now: u64) -> Result<Vec<DomainRecord>, DatabaseError> {
        self.read(|connection| {
            let mut names = connection.prepare(
                "SELECT name, first_seen, last_seen FROM domain WHERE ?1 IS NULL OR name = ?1 ORDER BY name",
            )?;
            let mut rows = names.query([only.map(DomainName::as_str)])?;
            let mut records = Vec::new();
            while let Some(row) = rows.next()? {
                let Ok(name) = DomainName::from_canonical(&row.get::<_, String>(0)?) else { continue };
                let seals = memory::recall(connection, std::slice::from_ref(&name), now)?.seals(&name);
                let (keys, counts) = (keys(connection, &name)?, counts(connection, &name)?);
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
        })
    }

    fn keys(&self, domain: &DomainName) -> Result<Vec<KeyRecord>, DatabaseError> {
        self.read(|connection| keys(connection, domain))
    }

    fn approve(&self, domain: &DomainName, key: &PublicKey, now: u64) -> Result<bool, DatabaseError> {
        // As if seen now, so that it may vouch for the next one.
        let sql = "UPDATE key SET state = ?3, last_seen = max(last_seen, ?4)
                   WHERE domain = ?1 AND key = ?2 AND state <> ?3";
        let values = params![domain.as_str(), key.as_octets(), ACCEPTED, now];
        self.write(|connection| Ok(connection.execute(sql, values)? > 0))
    }

    fn forget(&self, domain: &DomainName) -> Result<bool, DatabaseError> {
        let sql = "DELETE FROM domain WHERE name = ?1";
        self.write(|connection| Ok(connection.execute(sql, [domain.as_str()])? > 0))
    }
}

/// The keys of a domain, the newest first.
fn keys(connection: &Connection, domain: &DomainName) -> Result<Vec<KeyRecord>, DatabaseError> {
    let mut statement = connection.prepare(
        "SELECT key, selector, state, first_seen, last_seen, is_root FROM key WHERE domain = ?1
         ORDER BY last_seen DESC, state DESC, key",
    )?;
    let mut rows = statement.query([domain.as_str()])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        let Ok(key) = PublicKey::from_octets(&row.get::<_, Vec<u8>>(0)?) else { continue };
        keys.push(KeyRecord {
            key,
            selector: row.get(1)?,
            is_root: row.get(5)?,
            state: KeyState::of(&row.get::<_, String>(2)?),
            first_seen: row.get(3)?,
            last_seen: row.get(4)?,
        });
    }
    Ok(keys)
}

/// How many messages of a domain got each verdict.
fn counts(connection: &Connection, domain: &DomainName) -> Result<Vec<(String, u64)>, DatabaseError> {
    let mut statement =
        connection.prepare("SELECT verdict, count FROM tally WHERE domain = ?1 ORDER BY verdict")?;
    let counts = statement.query_map([domain.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(counts.collect::<Result<_, _>>()?)
}
