//! What was done to held mail, in SQLite.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, params};

use super::database::{Database, version};
use crate::store::audit::{Deed, KEPT, MAX_READ};
use crate::store::error::DatabaseError;
use crate::store::held::HeldId;
use crate::store::index::{bare_message_id, seconds};
use crate::store::state::AuditTrail;

/// Writes a deed down.
pub(super) fn note(connection: &Connection, deed: &Deed) -> rusqlite::Result<()> {
    let text = serde_json::to_string(deed).expect("a deed is strings and times");
    let mut insert = connection
        .prepare_cached("INSERT INTO deed (at, held, message_id, record) VALUES (?1, ?2, ?3, ?4)")?;
    let id = deed.id.as_ref().map(HeldId::as_str);
    insert.execute(params![seconds(deed.at), id, deed.message_id.as_deref().map(bare_message_id), text])?;
    Ok(())
}

/// The Message-ID of a message that is or was held.
pub(super) fn message_id(connection: &Connection, id: &HeldId) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT message_id FROM deed WHERE held = ?1 AND message_id IS NOT NULL LIMIT 1";
    connection.prepare_cached(sql)?.query_row([id.as_str()], |row| row.get(0)).optional()
}

/// Forgets what is old.
pub(super) fn forget_old(connection: &Connection, now: u64) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM deed WHERE at < ?1", [now.saturating_sub(KEPT)])?;
    Ok(())
}

/// The first form that has deeds.
const FIRST: i64 = 3;

impl Database {
    fn deeds(&self, which: &str, values: impl Params) -> Result<Vec<Deed>, DatabaseError> {
        let sql = format!(
            "SELECT record FROM (SELECT number, record FROM deed WHERE {which} ORDER BY number DESC LIMIT {MAX_READ})
             ORDER BY number"
        );
        self.read(|connection| {
            // Of an earlier form, which no gateway has brought forward yet.
            if version(connection)? < FIRST {
                return Ok(Vec::new());
            }
            let mut statement = connection.prepare_cached(&sql)?;
            let texts = statement.query_map(values, |row| row.get::<_, String>(0))?;
            let mut deeds = Vec::new();
            for text in texts {
                // One that a later version wrote otherwise cannot be told.
                deeds.extend(serde_json::from_str(&text?).ok());
            }
            Ok(deeds)
        })
    }
}

impl AuditTrail for Database {
    fn note(&self, deed: &Deed) -> Result<(), DatabaseError> {
        self.write(|connection| Ok(note(connection, deed)?))
    }

    fn of(&self, id: &HeldId) -> Result<Vec<Deed>, DatabaseError> {
        self.deeds("held = ?1", [id.as_str()])
    }

    fn of_message_id(&self, message_id: &str) -> Result<Vec<Deed>, DatabaseError> {
        self.deeds("message_id = ?1", [bare_message_id(message_id)])
    }

    fn since(&self, from: Timestamp) -> Result<Vec<Deed>, DatabaseError> {
        self.deeds("at >= ?1", [seconds(from)])
    }
}
