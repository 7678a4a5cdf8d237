//! Held mail in the database: a row for each message, by which it is listed and found.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::store::filling::Taken;
use crate::store::held::{Held, HeldId, Listed, Listing, Releases, StoreError, Usage};
use crate::store::index::{Index, Marks, Wanted, time};
use crate::store::quota::Quota;

/// What a message's facts are written as.
pub(super) fn facts(held: &Held) -> String {
    serde_json::to_string(held).expect("a held message's facts are strings and numbers")
}

/// Writes a message's row.
pub(super) fn insert(
    connection: &Connection,
    id: &HeldId,
    gateway: &str,
    held: &Held,
    releases: &Releases,
) -> rusqlite::Result<()> {
    let Index { received, senders, recipients, domains, verdict, message_id } = Index::of(held);
    let Marks { in_doubt, delivered, requested, keep } = Marks::of(releases);
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO held (id, gateway, verified, size, received, senders, recipients, domains, verdict,
                                      message_id, in_doubt, delivered, requested, keep, facts)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?;
    statement.execute(params![
        id.as_str(),
        gateway,
        held.verified,
        held.size,
        received,
        senders,
        recipients,
        domains,
        verdict,
        message_id,
        in_doubt,
        delivered,
        requested,
        keep,
        facts(held)
    ])?;
    Ok(())
}

/// Notes how it is with a message.
pub(super) fn mark(connection: &Connection, id: &HeldId, releases: &Releases) -> rusqlite::Result<()> {
    let Marks { in_doubt, delivered, requested, keep } = Marks::of(releases);
    let sql = "UPDATE held SET in_doubt = ?2, delivered = ?3, requested = ?4, keep = ?5 WHERE id = ?1";
    connection.execute(sql, params![id.as_str(), in_doubt, delivered, requested, keep])?;
    Ok(())
}

pub(super) fn remove(connection: &Connection, id: &HeldId) -> rusqlite::Result<bool> {
    Ok(connection.execute("DELETE FROM held WHERE id = ?1", [id.as_str()])? > 0)
}

const COLUMNS: &str = "id, facts, in_doubt, delivered, requested, keep, expires";

/// A row; or why its facts make no sense.
fn listed(row: &Row<'_>) -> rusqlite::Result<Result<Listed, StoreError>> {
    let (id, facts): (String, String) = (row.get(0)?, row.get(1)?);
    let marks =
        Marks { in_doubt: row.get(2)?, delivered: row.get(3)?, requested: row.get(4)?, keep: row.get(5)? };
    let expires: Option<i64> = row.get(6)?;
    let parsed = id.parse::<HeldId>().and_then(|id| match serde_json::from_str(&facts) {
        Ok(held) => {
            Ok(Listed { id, held, state: marks.state(), keep: marks.keep, expires: expires.map(time) })
        }
        Err(source) => Err(StoreError::Damaged { id, source }),
    });
    Ok(parsed)
}

/// A page of what a filter wants.
pub(super) fn list(
    connection: &Connection,
    wanted: &Wanted,
    after: Option<&HeldId>,
    limit: usize,
) -> rusqlite::Result<Listing> {
    let sql = format!(
        "SELECT {COLUMNS} FROM held
         WHERE (?1 IS NULL OR id > ?1) AND (?2 IS NULL OR instr(senders, ?2)) AND (?3 IS NULL OR instr(recipients, ?3))
           AND (?4 IS NULL OR instr(domains, ?4)) AND (?5 IS NULL OR verdict = ?5)
           AND (?6 IS NULL OR received >= ?6) AND (?7 IS NULL OR received < ?7)
           AND (?8 IS NULL OR message_id = ?8) AND (?9 IS NULL OR expires <= ?9)
           AND CASE ?10 WHEN 'in-doubt' THEN in_doubt > 0 WHEN 'partly' THEN delivered > 0
                        WHEN 'requested' THEN requested WHEN 'kept' THEN keep
                        WHEN 'held' THEN NOT (in_doubt OR delivered OR requested OR keep) ELSE 1 END
         ORDER BY id LIMIT ?11"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let page = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1).min(i64::MAX as u64);
    let mut rows = statement.query(params![
        after.map(HeldId::as_str),
        wanted.sender,
        wanted.recipient,
        wanted.domain,
        wanted.verdict,
        wanted.since,
        wanted.until,
        wanted.message_id,
        wanted.expires,
        wanted.state,
        page,
    ])?;
    let (mut listing, mut last, mut count) = (Listing::default(), None, 0);
    while let Some(row) = rows.next()? {
        if count == limit {
            listing.next = last;
            break;
        }
        last = row.get::<_, String>(0)?.parse().ok();
        count += 1;
        match listed(row)? {
            Ok(listed) => listing.held.push(listed),
            Err(error) => listing.damaged.push(error),
        }
    }
    Ok(listing)
}

/// One message.
pub(super) fn show(
    connection: &Connection,
    id: &HeldId,
) -> rusqlite::Result<Option<Result<Listed, StoreError>>> {
    let sql = format!("SELECT {COLUMNS} FROM held WHERE id = ?1");
    connection.prepare_cached(&sql)?.query_row([id.as_str()], listed).optional()
}

pub(super) fn is_there(connection: &Connection, id: &HeldId) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM held WHERE id = ?1")?.exists([id.as_str()])
}

pub(super) fn count(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT count(*) FROM held", [], |row| row.get(0))
}

/// The ids of all.
pub(super) fn ids(connection: &Connection) -> rusqlite::Result<Vec<HeldId>> {
    let mut statement = connection.prepare("SELECT id FROM held ORDER BY id")?;
    let ids = statement.query_map([], |row| row.get::<_, String>(0))?;
    Ok(ids.collect::<Result<Vec<_>, _>>()?.iter().filter_map(|id| id.parse().ok()).collect())
}

/// The ids and sizes of all.
pub(super) fn sizes(connection: &Connection) -> rusqlite::Result<Vec<(HeldId, u64)>> {
    let mut statement = connection.prepare("SELECT id, size FROM held ORDER BY id")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    Ok(rows.into_iter().filter_map(|(id, size)| Some((id.parse().ok()?, size))).collect())
}

/// Number, octets of messages and of facts; of verified mail and of other mail.
fn totals(connection: &Connection) -> rusqlite::Result<[(u64, u64, u64); 2]> {
    let mut totals = [(0, 0, 0); 2];
    let mut statement = connection.prepare_cached(
        "SELECT verified, count(*), sum(size), sum(facts_size) FROM held GROUP BY verified",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let of = &mut totals[usize::from(row.get::<_, bool>(0)?)];
        *of = (row.get(1)?, row.get(2)?, row.get(3)?);
    }
    Ok(totals)
}

/// How much is held, as people count.
pub(super) fn usage(connection: &Connection) -> rusqlite::Result<Usage> {
    let [unverified, verified] = totals(connection)?;
    Ok(Usage {
        messages: unverified.0 + verified.0,
        octets: unverified.1 + verified.1,
        unverified_messages: unverified.0,
        unverified_octets: unverified.1,
    })
}

/// How much of the quotas is taken.
pub(super) fn taken(connection: &Connection) -> rusqlite::Result<Taken> {
    let [unverified, verified] = totals(connection)?;
    let quota = |(messages, octets, facts): (u64, u64, u64)| Quota { messages, octets: octets + facts };
    let (unverified, verified) = (quota(unverified), quota(verified));
    let all = Quota {
        messages: unverified.messages + verified.messages,
        octets: unverified.octets + verified.octets,
    };
    Ok(Taken { all, unverified })
}
