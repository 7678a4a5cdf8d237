//! What is to be sent, in PostgreSQL: any gateway of the site sends it. A lease is by the database's clock.

use deadpool_postgres::GenericClient;
use jiff::Timestamp;
use tokio_postgres::Row;

use super::quarantine::make_durable;
use super::{Postgres, WRITING, deeds, execute, number, query, whole};
use crate::store::audit::{By, Deed, What};
use crate::store::error::DatabaseError;
use crate::store::held::HeldId;
use crate::store::index::{plain, seconds, time};
use crate::store::outbox::{
    Due, LEASE, Letter, LetterId, LetterKind, MAX_DONE, MAX_LETTERS, MAX_OCTETS, Waiting,
};
use crate::store::state::Outbox;

/// Puts letters there; those about nothing are about this. Tells how many do not fit.
pub(super) async fn put<C: GenericClient>(
    client: &C,
    letters: &[Letter],
    about: Option<&HeldId>,
) -> Result<u64, tokio_postgres::Error> {
    if letters.is_empty() {
        return Ok(0);
    }
    let sql = "SELECT count(*), coalesce(sum(octets), 0)::BIGINT FROM letter WHERE NOT done";
    let (mut waiting, mut octets) = match query(client, sql, &[]).await?.first() {
        Some(row) => (whole(row.try_get(0)?), whole(row.try_get(1)?)),
        None => (0, 0),
    };
    // An expired one is no longer in the way.
    let now = letters.iter().map(|letter| seconds(letter.since)).max().unwrap_or_default();
    execute(client, "DELETE FROM letter WHERE done AND expires <= $1", &[&now]).await?;
    let mut more = 0;
    for letter in letters {
        let size = letter.octets();
        if waiting >= MAX_LETTERS || octets + size > MAX_OCTETS {
            more += 1;
            continue;
        }
        let (since, expires) = (seconds(letter.since), seconds(letter.expires));
        let about = letter.about.as_deref().map(plain).or_else(|| about.map(ToString::to_string));
        let (kind, to, content) = (letter.kind.as_str(), plain(&letter.to), letter.content.to_string());
        let sql = "INSERT INTO letter (kind, recipient, about, content, octets, since, expires, due)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $6)
                   ON CONFLICT (kind, about, recipient) WHERE about IS NOT NULL DO NOTHING";
        if execute(client, sql, &[&kind, &to, &about, &content, &number(size), &since, &expires]).await? > 0 {
            waiting += 1;
            octets += size;
        }
    }
    if more > 0 {
        let sql = "INSERT INTO letter_more (is_only, count) VALUES (TRUE, $1)
                   ON CONFLICT (is_only) DO UPDATE SET count = letter_more.count + $1";
        execute(client, sql, &[&number(more)]).await?;
    }
    Ok(more)
}

/// A letter is done: remembered where it is about something, else deleted. The deed is written where it is about a held message.
async fn finish<C: GenericClient>(
    client: &C,
    letter: i64,
    gateway: &str,
    what: What,
    why: Option<&str>,
) -> Result<(), tokio_postgres::Error> {
    let sql = "SELECT recipient, about FROM letter WHERE number = $1 AND NOT done FOR UPDATE";
    let found = query(client, sql, &[&letter]).await?;
    let Some(row) = found.first() else { return Ok(()) };
    let (to, about): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
    let Some(about) = about else {
        execute(client, "DELETE FROM letter WHERE number = $1", &[&letter]).await?;
        return Ok(());
    };
    let sql = "UPDATE letter SET done = TRUE, content = '', octets = 0, lease = NULL, leased_until = NULL
               WHERE number = $1";
    execute(client, sql, &[&letter]).await?;
    if let Ok(id) = about.parse::<HeldId>() {
        let message_id = deeds::message_id(client, &id).await?;
        let mut deed = Deed::to_held(&id, message_id.as_deref(), what, &By::user(gateway), Timestamp::now());
        deed.recipients = vec![to];
        deed.detail = why.map(str::to_owned);
        deeds::note(client, &deed).await?;
    }
    Ok(())
}

/// A row that was taken; nothing where a later version wrote it otherwise.
fn due(row: &Row, lease: i64) -> Result<Option<Due>, tokio_postgres::Error> {
    let Ok(kind) = row.try_get::<_, &str>(1)?.parse() else { return Ok(None) };
    let letter = Letter {
        kind,
        to: row.try_get(2)?,
        about: row.try_get(3)?,
        content: serde_json::from_str(row.try_get(4)?).unwrap_or_default(),
        since: time(row.try_get(5)?),
        expires: time(row.try_get(6)?),
    };
    let attempts = u32::try_from(row.try_get::<_, i64>(7)?).unwrap_or(u32::MAX);
    Ok(Some(Due { id: LetterId { number: row.try_get(0)?, lease }, letter, attempts }))
}

impl Outbox for Postgres {
    fn put(&self, letters: &[Letter]) -> Result<u64, DatabaseError> {
        self.run_for(WRITING, async |client| {
            let transaction = client.transaction().await?;
            make_durable(&transaction).await?;
            let more = put(&transaction, letters, None).await?;
            transaction.commit().await?;
            Ok(more)
        })
    }

    fn take(&self, now: Timestamp, limit: usize) -> Result<Vec<Due>, DatabaseError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| DatabaseError::Unfit(error.to_string()))?;
        let lease = i64::from_ne_bytes(random);
        let kinds = LetterKind::ALL.map(|kind| format!("'{}'", kind.as_str())).join(", ");
        let sql = format!(
            "UPDATE letter SET lease = $1, leased_until = now() + interval '{} seconds' WHERE number IN
             (SELECT number FROM letter WHERE NOT done AND due <= $2 AND kind IN ({kinds})
              AND (lease IS NULL OR leased_until <= now()) ORDER BY due, number LIMIT $3 FOR UPDATE SKIP LOCKED)
             RETURNING number, kind, recipient, about, content, since, expires, attempts",
            LEASE.as_secs()
        );
        self.run(async |client| {
            let rows = query(client, &sql, &[&lease, &seconds(now), &number(limit as u64)]).await?;
            let taken = rows.iter().filter_map(|row| due(row, lease).transpose());
            let mut taken = taken.collect::<Result<Vec<_>, _>>()?;
            taken.sort_by_key(|due| due.id.number);
            Ok(taken)
        })
    }

    fn sent(&self, letters: &[LetterId]) -> Result<(), DatabaseError> {
        self.run(async |client| {
            let transaction = client.transaction().await?;
            make_durable(&transaction).await?;
            for letter in letters {
                finish(&transaction, letter.number, &self.gateway(), What::Told, None).await?;
            }
            let old = "DELETE FROM letter WHERE done AND number <= (SELECT max(number) FROM letter) - $1";
            execute(&transaction, old, &[&number(MAX_DONE)]).await?;
            Ok(transaction.commit().await?)
        })
    }

    fn postpone(&self, letters: &[LetterId], until: Timestamp) -> Result<(), DatabaseError> {
        let sql = "UPDATE letter SET due = $3, attempts = attempts + 1, lease = NULL, leased_until = NULL
                   WHERE number = $1 AND lease = $2";
        self.run(async |client| {
            let transaction = client.transaction().await?;
            for letter in letters {
                execute(&transaction, sql, &[&letter.number, &letter.lease, &seconds(until)]).await?;
            }
            Ok(transaction.commit().await?)
        })
    }

    fn give_up(&self, letters: &[LetterId], why: &str) -> Result<(), DatabaseError> {
        self.run(async |client| {
            let transaction = client.transaction().await?;
            make_durable(&transaction).await?;
            for letter in letters {
                let sql = "SELECT 1 FROM letter WHERE number = $1 AND lease = $2 FOR UPDATE";
                if !query(&transaction, sql, &[&letter.number, &letter.lease]).await?.is_empty() {
                    finish(&transaction, letter.number, &self.gateway(), What::NotTold, Some(why)).await?;
                }
            }
            Ok(transaction.commit().await?)
        })
    }

    fn waiting(&self) -> Result<Waiting, DatabaseError> {
        self.run(async |client| {
            let sql = "SELECT count(*), coalesce(sum(octets), 0)::BIGINT, min(since),
                              coalesce((SELECT count FROM letter_more), 0) FROM letter WHERE NOT done";
            let rows = query(client, sql, &[]).await?;
            let Some(row) = rows.first() else { return Ok(Waiting::default()) };
            Ok(Waiting {
                letters: whole(row.try_get(0)?),
                octets: whole(row.try_get(1)?),
                oldest: row.try_get::<_, Option<i64>>(2)?.map(time),
                more: whole(row.try_get(3)?),
            })
        })
    }

    fn told_more(&self, count: u64) -> Result<(), DatabaseError> {
        self.run(async |client| {
            let sql = "UPDATE letter_more SET count = greatest(0, count - $1)";
            execute(client, sql, &[&number(count)]).await?;
            Ok(())
        })
    }
}
