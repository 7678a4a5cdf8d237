//! What is to be sent, in SQLite.

use jiff::Timestamp;
use rusqlite::{Connection, Row, TransactionBehavior, params};

use super::database::Database;
use super::{GATEWAY, deeds};
use crate::clock::unix_time;
use crate::store::audit::{By, Deed, What};
use crate::store::error::DatabaseError;
use crate::store::held::HeldId;
use crate::store::index::{plain, seconds, time};
use crate::store::outbox::{
    Due, LEASE, Letter, LetterId, LetterKind, MAX_DONE, MAX_LETTERS, MAX_OCTETS, Waiting,
};
use crate::store::state::Outbox;

/// Puts letters there; those about nothing are about this. Tells how many do not fit.
pub(super) fn put(
    connection: &Connection,
    letters: &[Letter],
    about: Option<&HeldId>,
) -> rusqlite::Result<u64> {
    if letters.is_empty() {
        return Ok(0);
    }
    let (mut waiting, mut octets): (u64, u64) = connection
        .prepare_cached("SELECT count(*), coalesce(sum(octets), 0) FROM letter WHERE done = 0")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    // An expired one is no longer in the way.
    let now = letters.iter().map(|letter| seconds(letter.since)).max().unwrap_or_default();
    connection.prepare_cached("DELETE FROM letter WHERE done = 1 AND expires <= ?1")?.execute([now])?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO letter (kind, recipient, about, content, octets, since, expires, due)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?6)
         ON CONFLICT (kind, about, recipient) WHERE about IS NOT NULL DO NOTHING",
    )?;
    let mut more = 0;
    for letter in letters {
        let size = letter.octets();
        if waiting >= MAX_LETTERS || octets + size > MAX_OCTETS {
            more += 1;
            continue;
        }
        let since = seconds(letter.since);
        let about = letter.about.as_deref().map(plain).or_else(|| about.map(ToString::to_string));
        let (kind, content) = (letter.kind.as_str(), letter.content.to_string());
        let expires = seconds(letter.expires);
        if insert.execute(params![kind, plain(&letter.to), about, content, size, since, expires])? > 0 {
            waiting += 1;
            octets += size;
        }
    }
    if more > 0 {
        connection.execute(
            "INSERT INTO letter_more (is_only, count) VALUES (1, ?1)
             ON CONFLICT (is_only) DO UPDATE SET count = count + ?1",
            [more],
        )?;
    }
    Ok(more)
}

/// A gateway that starts is the only one: what an earlier one took is due again at once.
pub(super) fn end_leases(connection: &Connection) -> rusqlite::Result<usize> {
    connection.execute("UPDATE letter SET lease = NULL, leased_until = NULL WHERE lease IS NOT NULL", [])
}

/// A letter is done: remembered where it is about something, else deleted. The deed is written where it is about a held message.
fn finish(connection: &Connection, number: i64, what: What, why: Option<&str>) -> rusqlite::Result<()> {
    let mut find =
        connection.prepare_cached("SELECT recipient, about FROM letter WHERE number = ?1 AND done = 0")?;
    let mut rows = find.query([number])?;
    let Some(row) = rows.next()? else { return Ok(()) };
    let (to, about): (String, Option<String>) = (row.get(0)?, row.get(1)?);
    let Some(about) = about else {
        connection.execute("DELETE FROM letter WHERE number = ?1", [number])?;
        return Ok(());
    };
    connection.execute(
        "UPDATE letter SET done = 1, content = '', octets = 0, lease = NULL, leased_until = NULL WHERE number = ?1",
        [number],
    )?;
    if let Ok(id) = about.parse::<HeldId>() {
        let message_id = deeds::message_id(connection, &id)?;
        let by = By::user(GATEWAY);
        let mut deed = Deed::to_held(&id, message_id.as_deref(), what, &by, Timestamp::now());
        deed.recipients = vec![to];
        deed.detail = why.map(str::to_owned);
        deeds::note(connection, &deed)?;
    }
    Ok(())
}

impl Database {
    fn change_letters(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<(), DatabaseError> {
        self.write(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            change(&transaction)?;
            transaction.commit()?;
            Ok(())
        })
    }
}

impl Outbox for Database {
    fn put(&self, letters: &[Letter]) -> Result<u64, DatabaseError> {
        self.write(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let more = put(&transaction, letters, None)?;
            transaction.commit()?;
            Ok(more)
        })
    }

    fn take(&self, now: Timestamp, limit: usize) -> Result<Vec<Due>, DatabaseError> {
        let clock = unix_time().unwrap_or_default();
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| DatabaseError::Unfit(error.to_string()))?;
        let lease = i64::from_ne_bytes(random);
        let kinds = LetterKind::ALL.map(|kind| format!("'{}'", kind.as_str())).join(", ");
        let sql = format!(
            "UPDATE letter SET lease = ?1, leased_until = ?2 WHERE number IN
             (SELECT number FROM letter WHERE done = 0 AND due <= ?3 AND kind IN ({kinds})
              AND (lease IS NULL OR leased_until <= ?4) ORDER BY due, number LIMIT ?5)
             RETURNING number, kind, recipient, about, content, since, expires, attempts"
        );
        let due = |row: &Row<'_>| -> rusqlite::Result<Option<Due>> {
            let (kind, content): (String, String) = (row.get(1)?, row.get(4)?);
            let Ok(kind) = kind.parse() else { return Ok(None) };
            let letter = Letter {
                kind,
                to: row.get(2)?,
                about: row.get(3)?,
                content: serde_json::from_str(&content).unwrap_or_default(),
                since: time(row.get(5)?),
                expires: time(row.get(6)?),
            };
            let id = LetterId { number: row.get(0)?, lease };
            Ok(Some(Due { id, letter, attempts: row.get(7)? }))
        };
        self.write(|connection| {
            let mut taken = connection.prepare_cached(&sql)?;
            let until = clock + LEASE.as_secs();
            let rows = taken.query_map(params![lease, until, seconds(now), clock, limit as u64], due)?;
            let mut all = rows.filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()?;
            all.sort_by_key(|due| due.id.number);
            Ok(all)
        })
    }

    fn sent(&self, letters: &[LetterId]) -> Result<(), DatabaseError> {
        self.change_letters(|connection| {
            letters.iter().try_for_each(|letter| finish(connection, letter.number, What::Told, None))?;
            let old = "DELETE FROM letter WHERE done = 1 AND number <= (SELECT max(number) FROM letter) - ?1";
            connection.execute(old, [MAX_DONE])?;
            Ok(())
        })
    }

    fn postpone(&self, letters: &[LetterId], until: Timestamp) -> Result<(), DatabaseError> {
        self.change_letters(|connection| {
            let sql = "UPDATE letter SET due = ?3, attempts = attempts + 1, lease = NULL, leased_until = NULL
                       WHERE number = ?1 AND lease = ?2";
            letters.iter().try_for_each(|letter| {
                connection.execute(sql, params![letter.number, letter.lease, seconds(until)]).map(drop)
            })
        })
    }

    fn give_up(&self, letters: &[LetterId], why: &str) -> Result<(), DatabaseError> {
        self.change_letters(|connection| {
            let mut ours =
                connection.prepare_cached("SELECT 1 FROM letter WHERE number = ?1 AND lease = ?2")?;
            for letter in letters {
                if ours.exists(params![letter.number, letter.lease])? {
                    finish(connection, letter.number, What::NotTold, Some(why))?;
                }
            }
            Ok(())
        })
    }

    fn waiting(&self) -> Result<Waiting, DatabaseError> {
        self.read(|connection| {
            let sql = "SELECT count(*), coalesce(sum(octets), 0), min(since),
                              coalesce((SELECT count FROM letter_more), 0) FROM letter WHERE done = 0";
            let waiting = |row: &Row<'_>| {
                Ok(Waiting {
                    letters: row.get(0)?,
                    octets: row.get(1)?,
                    oldest: row.get::<_, Option<i64>>(2)?.map(time),
                    more: row.get(3)?,
                })
            };
            Ok(connection.query_row(sql, [], waiting)?)
        })
    }

    fn told_more(&self, count: u64) -> Result<(), DatabaseError> {
        self.change_letters(|connection| {
            connection.execute("UPDATE letter_more SET count = max(0, count - ?1)", [count]).map(drop)
        })
    }
}
