//! What is remembered, in PostgreSQL, as gateways and commands see and change it.

use attachment_seal::domain::DomainName;
use attachment_seal::seal::key::PublicKey;
use attachment_seal::seal::remembered::Memory;
use deadpool_postgres::GenericClient;
use tokio_postgres::Error;

use super::{Postgres, WRITING, connect, deeds, execute, judged, memory, number, outbox, query, whole};
use crate::store::Memories;
use crate::store::error::DatabaseError;
use crate::store::memories::{ACCEPTED, Bounds, DAYS_OF_WORK, DomainRecord, KeyRecord, KeyState, Learned};
use crate::store::recorder::Entry;

impl Memories for Postgres {
    fn recall(&self, domains: &[DomainName], now: u64) -> Result<Memory, DatabaseError> {
        self.run(async |client| Ok(memory::recall(client, domains, now).await?))
    }

    fn record(&self, entries: &[Box<Entry>]) -> Result<u64, DatabaseError> {
        self.run_for(WRITING, async |client| {
            let transaction = client.transaction().await?;
            one_writer(&transaction).await?;
            let mut refused = 0;
            for entry in entries {
                if let Some(observation) = &entry.observation {
                    let learned = memory::learn(&transaction, observation, Bounds::default()).await?;
                    refused += u64::from(learned == Learned::NoRoom);
                }
                outbox::put(&transaction, &entry.letters, None).await?;
            }
            judged::record(&transaction, self.label(), entries).await?;
            transaction.commit().await?;
            Ok(refused)
        })
    }

    fn forget_old(&self, now: u64) -> Result<u64, DatabaseError> {
        self.run_for(WRITING, async |client| {
            let transaction = client.transaction().await?;
            one_writer(&transaction).await?;
            if judged::days_before(&transaction, now).await? < DAYS_OF_WORK {
                return Ok(0);
            }
            let forgotten = memory::forget_old(&transaction, now).await?;
            judged::forget_old(&transaction, now).await?;
            deeds::forget_old(&transaction, now).await?;
            transaction.commit().await?;
            Ok(forgotten)
        })
    }

    fn is_open(&self) -> bool {
        self.answers()
    }

    fn mended(&self) -> Option<String> {
        None
    }

    fn form(&self) -> Result<(i64, i64), DatabaseError> {
        self.run(async |client| Ok((connect::form(client).await?.unwrap_or_default(), connect::known())))
    }

    fn damage(&self) -> Result<Option<String>, DatabaseError> {
        // PostgreSQL finds damage when it reads, so all of it is read.
        self.run_for(WRITING, async |client| {
            const TABLES: [&str; 14] = [
                "domain",
                "key",
                "tally",
                "daily",
                "judged",
                "delivered",
                "finding",
                "held",
                "release",
                "letter",
                "deed",
                "said",
                "probe",
                "account",
            ];
            for table in TABLES {
                let sql = format!("SELECT count(*) FROM (SELECT * FROM {table} OFFSET 0) AS everything");
                client.query(&sql, &[]).await?;
            }
            Ok(None)
        })
    }

    fn list(&self, only: Option<&DomainName>, now: u64) -> Result<Vec<DomainRecord>, DatabaseError> {
        self.run_for(WRITING, async |client| {
            let sql = "SELECT name, first_seen, last_seen FROM domain WHERE $1::TEXT IS NULL OR name = $1
                       ORDER BY name";
            let mut records = Vec::new();
            for row in query(client, sql, &[&only.map(DomainName::as_str)]).await? {
                let Ok(name) = DomainName::from_canonical(&row.try_get::<_, String>(0)?) else { continue };
                let seals = memory::recall(client, std::slice::from_ref(&name), now).await?.seals(&name);
                records.push(DomainRecord {
                    first_seen: whole(row.try_get(1)?),
                    last_seen: whole(row.try_get(2)?),
                    seals,
                    keys: keys(client, &name).await?,
                    counts: counts(client, &name).await?,
                    name,
                });
            }
            Ok(records)
        })
    }

    fn keys(&self, domain: &DomainName) -> Result<Vec<KeyRecord>, DatabaseError> {
        self.run(async |client| Ok(keys(client, domain).await?))
    }

    fn approve(&self, domain: &DomainName, key: &PublicKey, now: u64) -> Result<bool, DatabaseError> {
        // As if seen now, so that it may vouch for the next one.
        let sql = "UPDATE key SET state = $3, last_seen = greatest(last_seen, $4)
                   WHERE domain = $1 AND key = $2 AND state <> $3";
        let octets = &key.as_octets()[..];
        self.run(async |client| {
            let changed = execute(client, sql, &[&domain.as_str(), &octets, &ACCEPTED, &number(now)]).await?;
            Ok(changed > 0)
        })
    }

    fn forget(&self, domain: &DomainName) -> Result<bool, DatabaseError> {
        self.run(async |client| {
            Ok(execute(client, "DELETE FROM domain WHERE name = $1", &[&domain.as_str()]).await? > 0)
        })
    }
}

/// Has one gateway at a time write what it learnt, as in SQLite: two batches that name the same domains in another order would
/// wait for each other.
pub(super) async fn one_writer<C: GenericClient>(client: &C) -> Result<(), Error> {
    execute(client, "SELECT pg_advisory_xact_lock(hashtext('waxseal memory'))", &[]).await?;
    Ok(())
}

/// The keys of a domain, the newest first.
async fn keys<C: GenericClient>(client: &C, domain: &DomainName) -> Result<Vec<KeyRecord>, Error> {
    let sql = "SELECT key, selector, state, first_seen, last_seen, is_root FROM key WHERE domain = $1
               ORDER BY last_seen DESC, state DESC, key";
    let mut keys = Vec::new();
    for row in query(client, sql, &[&domain.as_str()]).await? {
        let Ok(key) = PublicKey::from_octets(&row.try_get::<_, Vec<u8>>(0)?) else { continue };
        keys.push(KeyRecord {
            key,
            selector: row.try_get(1)?,
            is_root: row.try_get(5)?,
            state: KeyState::of(row.try_get(2)?),
            first_seen: whole(row.try_get(3)?),
            last_seen: whole(row.try_get(4)?),
        });
    }
    Ok(keys)
}

/// How many messages of a domain got each verdict.
async fn counts<C: GenericClient>(client: &C, domain: &DomainName) -> Result<Vec<(String, u64)>, Error> {
    let sql = "SELECT verdict, count FROM tally WHERE domain = $1 ORDER BY verdict";
    let rows = query(client, sql, &[&domain.as_str()]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, whole(row.try_get(1)?)))).collect()
}
