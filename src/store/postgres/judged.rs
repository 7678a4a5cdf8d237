//! What was judged, in PostgreSQL.

use deadpool_postgres::GenericClient;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row as Columns};

use super::{Postgres, WRITING, execute, number, query, whole};
use crate::store::error::DatabaseError;
use crate::store::judged::{
    Count, DAY, DAYS, DayCount, Judged, JudgedId, KEPT, MAX_NAMED, Page, Period, Position, Question, Shown,
};
use crate::store::recorder::Entry;
use crate::store::search::{self, Row, Rows, Shelf, Shelves, Stretch};
use crate::store::terms::{self, Record, STRETCH, Wanted, hash};
use crate::store::written::{Alike, Written};
use crate::store::{Judgements, Messages};

/// Rows of an earlier version that get their terms at once.
const PIECE: i64 = 1_000;
/// How many stretches are searched at once: few first, since most questions are answered by the newest.
const STRETCHES: [usize; 4] = [1, 4, 16, 64];

/// Writes messages down.
pub(super) async fn record<C: GenericClient>(
    client: &C,
    gateway: &str,
    entries: &[Box<Entry>],
) -> Result<(), Error> {
    let sql = "INSERT INTO daily (day, verdict, asked, done, count) VALUES ($1, $2, $3, $4, $5)
               ON CONFLICT (day, verdict, asked, done) DO UPDATE SET count = daily.count + excluded.count";
    for (Alike { day, verdict, asked, done }, count) in Alike::all(entries) {
        execute(client, sql, &[&number(day), &verdict, &asked, &done, &number(count)]).await?;
    }
    for shelf in Shelf::BOTH {
        let mut written: Vec<Written> = Written::all(entries, shelf).collect();
        while !written.is_empty() {
            let mut stretch = open_stretch(client, shelf).await?;
            let room = usize::try_from(STRETCH - stretch.messages).unwrap_or_default();
            let rest = written.split_off(room.min(written.len()));
            put(client, shelf, gateway, &written, &mut stretch).await?;
            written = rest;
            if written.is_empty() {
                make_room(client, shelf).await?;
            }
        }
    }
    Ok(())
}

/// The terms of a message in a stretch, as PostgreSQL writes an array.
fn array(stretch: &Stretch, hashes: &[i64]) -> String {
    let numbers = hashes.iter().map(|hash| terms::number(stretch.number, *hash).to_string());
    format!("{{{}}}", numbers.collect::<Vec<_>>().join(","))
}

/// Writes messages of one table down that have room in one stretch.
async fn put<C: GenericClient>(
    client: &C,
    shelf: Shelf,
    gateway: &str,
    written: &[Written],
    stretch: &mut Stretch,
) -> Result<(), Error> {
    let at: Vec<i64> = written.iter().map(|message| message.at).collect();
    let records: Vec<&str> = written.iter().map(|message| message.record.as_str()).collect();
    let terms: Vec<String> = written.iter().map(|message| array(stretch, &message.terms)).collect();
    let sql = format!(
        "INSERT INTO {} (at, gateway, record, terms)
         SELECT at, $1, record, terms::BIGINT[]
         FROM unnest($2::BIGINT[], $3::TEXT[], $4::TEXT[]) AS new (at, record, terms) RETURNING id, at",
        shelf.table()
    );
    for row in query(client, &sql, &[&gateway, &at, &records, &terms]).await? {
        stretch.add(row.try_get(0)?, row.try_get(1)?);
    }
    note_stretch(client, shelf, stretch).await?;
    for message in written {
        let Some(findings) = &message.findings else { continue };
        let sql = "INSERT INTO finding (judged, at, delivered, total, findings)
                   SELECT $1, $2, $3, coalesce(max(total), 0) + $4, $5 FROM finding WHERE delivered = $3
                   ON CONFLICT (judged) DO NOTHING";
        let (id, is_delivered) = (message.id.as_str(), shelf.is_delivered());
        let octets = number(findings.len() as u64);
        execute(client, sql, &[&id, &message.at, &is_delivered, &octets, findings]).await?;
    }
    Ok(())
}

/// The stretch that the next message of a table belongs to.
async fn open_stretch<C: GenericClient>(client: &C, shelf: Shelf) -> Result<Stretch, Error> {
    let sql =
        format!("SELECT {STRETCH_COLUMNS} FROM stretch WHERE delivered = $1 ORDER BY number DESC LIMIT 1");
    let rows = query(client, &sql, &[&shelf.is_delivered()]).await?;
    let last = rows.first().map(stretch).transpose()?;
    match last.filter(|last| last.messages < STRETCH) {
        Some(last) => Ok(last),
        None => {
            let rows = query(client, "SELECT coalesce(max(number), 0) + 1 FROM stretch", &[]).await?;
            let number = rows.first().map(|row| row.try_get(0)).transpose()?;
            Ok(Stretch::new(number.unwrap_or(1)))
        }
    }
}

async fn note_stretch<C: GenericClient>(client: &C, shelf: Shelf, stretch: &Stretch) -> Result<(), Error> {
    let sql = "INSERT INTO stretch (number, delivered, messages, first_id, last_id, first_at, last_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7)
               ON CONFLICT (number) DO UPDATE
               SET messages = excluded.messages, first_id = excluded.first_id, last_id = excluded.last_id,
                   first_at = excluded.first_at, last_at = excluded.last_at";
    let Stretch { number, messages, first_id, last_id, first_at, last_at } = stretch;
    let values: [&(dyn ToSql + Sync); 7] =
        [number, &shelf.is_delivered(), messages, first_id, last_id, first_at, last_at];
    execute(client, sql, &values).await?;
    Ok(())
}

const STRETCH_COLUMNS: &str = "number, messages, first_id, last_id, first_at, last_at";

fn stretch(row: &Columns) -> Result<Stretch, Error> {
    Ok(Stretch {
        number: row.try_get(0)?,
        messages: row.try_get(1)?,
        first_id: row.try_get(2)?,
        last_id: row.try_get(3)?,
        first_at: row.try_get(4)?,
        last_at: row.try_get(5)?,
    })
}

/// The oldest go, where there are too many.
async fn make_room<C: GenericClient>(client: &C, shelf: Shelf) -> Result<(), Error> {
    let table = shelf.table();
    // Ids only grow.
    let sql = format!("DELETE FROM {table} WHERE id <= (SELECT max(id) FROM {table}) - $1");
    if execute(client, &sql, &[&number(shelf.max_kept())]).await? > 0 {
        forget_stretches(client, shelf).await?;
    }
    let sql = "DELETE FROM finding WHERE delivered = $1
               AND total <= (SELECT max(total) FROM finding WHERE delivered = $1) - $2";
    execute(client, sql, &[&shelf.is_delivered(), &number(shelf.max_findings())]).await?;
    Ok(())
}

/// Forgets the stretches of messages that are gone.
async fn forget_stretches<C: GenericClient>(client: &C, shelf: Shelf) -> Result<(), Error> {
    let sql = format!(
        "DELETE FROM stretch WHERE delivered = $1 AND last_id < coalesce((SELECT min(id) FROM {}), $2)",
        shelf.table()
    );
    execute(client, &sql, &[&shelf.is_delivered(), &i64::MAX]).await?;
    Ok(())
}

/// Gives rows that an earlier version wrote, or that were copied here, what they are found by. Tells how many there are.
pub(super) async fn complete<C: GenericClient>(client: &C) -> Result<u64, Error> {
    super::memories::one_writer(client).await?;
    let mut completed = 0;
    for shelf in Shelf::BOTH {
        loop {
            let mut stretch = open_stretch(client, shelf).await?;
            let table = shelf.table();
            let sql = format!("SELECT id, at, record FROM {table} WHERE terms IS NULL ORDER BY id LIMIT $1");
            let piece = PIECE.min(STRETCH - stretch.messages);
            let rows = query(client, &sql, &[&piece]).await?;
            if rows.is_empty() {
                break;
            }
            let (mut ids, mut arrays) = (Vec::new(), Vec::new());
            for row in &rows {
                let record = Record::read(row.try_get(2)?);
                let hashes: Vec<i64> =
                    record.iter().flat_map(Record::terms).map(|term| hash(&term)).collect();
                stretch.add(row.try_get(0)?, row.try_get(1)?);
                ids.push(row.try_get::<_, i64>(0)?);
                arrays.push(array(&stretch, &hashes));
            }
            let sql = format!(
                "UPDATE {table} SET terms = new.terms::BIGINT[]
                 FROM unnest($1::BIGINT[], $2::TEXT[]) AS new (id, terms) WHERE {table}.id = new.id"
            );
            execute(client, &sql, &[&ids, &arrays]).await?;
            note_stretch(client, shelf, &stretch).await?;
            completed += ids.len() as u64;
        }
    }
    let sql = "UPDATE finding SET total = sums.total
               FROM (SELECT number, sum(octet_length(findings)) OVER (PARTITION BY delivered ORDER BY number)::BIGINT
                            AS total FROM finding) AS sums
               WHERE sums.number = finding.number AND EXISTS (SELECT 1 FROM finding WHERE total IS NULL)";
    execute(client, sql, &[]).await?;
    Ok(completed)
}

/// On how many of the 30 days before the one that holds `now` anything was judged.
pub(super) async fn days_before<C: GenericClient>(client: &C, now: u64) -> Result<u64, Error> {
    let today = now / DAY;
    let sql = "SELECT count(DISTINCT day) FROM daily WHERE day >= $1 AND day < $2";
    let found = query(client, sql, &[&number(today.saturating_sub(30)), &number(today)]).await?;
    Ok(found.first().map(|row| row.try_get(0)).transpose()?.map_or(0, whole))
}

/// Forgets what is old.
pub(super) async fn forget_old<C: GenericClient>(client: &C, now: u64) -> Result<(), Error> {
    let oldest = number(now.saturating_sub(KEPT));
    for shelf in Shelf::BOTH {
        execute(client, &format!("DELETE FROM {} WHERE at < $1", shelf.table()), &[&oldest]).await?;
        forget_stretches(client, shelf).await?;
    }
    execute(client, "DELETE FROM finding WHERE at < $1", &[&oldest]).await?;
    let day = number((now / DAY).saturating_sub(DAYS));
    execute(client, "DELETE FROM daily WHERE day < $1", &[&day]).await?;
    Ok(())
}

impl Judgements for Postgres {
    fn since(&self, from: u64) -> Result<Period, DatabaseError> {
        let start = from / DAY;
        self.run(async |client| {
            let sql = "SELECT verdict, asked, done, sum(count)::BIGINT FROM daily WHERE day >= $1
                       GROUP BY verdict, asked, done ORDER BY verdict, asked, done";
            let rows = query(client, sql, &[&number(start)]).await?;
            let counts = rows.iter().map(|row| count(row, 0)).collect::<Result<_, _>>()?;
            let sql = format!("SELECT record FROM judged WHERE at >= $1 ORDER BY id DESC LIMIT {MAX_NAMED}");
            let mut messages: Vec<Judged> = Vec::new();
            for row in query(client, &sql, &[&number(start * DAY)]).await? {
                // One that another version wrote otherwise is counted, and that has to do.
                messages.extend(serde_json::from_str(row.try_get(0)?).ok());
            }
            messages.reverse();
            Ok(Period { counts, messages })
        })
    }

    fn ask(&self, question: &Question) -> Result<Vec<Judged>, DatabaseError> {
        search::named(self, question)
    }
}

fn count(row: &Columns, first: usize) -> Result<Count, Error> {
    Ok(Count {
        verdict: row.try_get(first)?,
        asked: row.try_get(first + 1)?,
        done: row.try_get(first + 2)?,
        count: whole(row.try_get(first + 3)?),
    })
}

impl Messages for Postgres {
    fn search(
        &self,
        question: &Question,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<Page, DatabaseError> {
        search::page(self, question, after, limit)
    }

    fn show(&self, id: &JudgedId) -> Result<Option<Shown>, DatabaseError> {
        let Some(found) = search::one(self, id)? else { return Ok(None) };
        self.run(async |client| {
            let rows =
                query(client, "SELECT findings FROM finding WHERE judged = $1", &[&id.as_str()]).await?;
            let text: Option<&str> = rows.first().map(|row| row.try_get(0)).transpose()?;
            Ok(Some(Shown { found, findings: text.and_then(|text| serde_json::from_str(text).ok()) }))
        })
    }

    fn daily(&self, from: u64, to: u64) -> Result<Vec<DayCount>, DatabaseError> {
        self.run(async |client| {
            let sql = "SELECT day, verdict, asked, done, count FROM daily WHERE day >= $1 AND day <= $2
                       ORDER BY day, verdict, asked, done";
            let rows = query(client, sql, &[&number(from / DAY), &number(to / DAY)]).await?;
            let day = |row: &Columns| {
                Ok::<_, Error>(DayCount { day: whole(row.try_get(0)?) * DAY, count: count(row, 1)? })
            };
            Ok(rows.iter().map(day).collect::<Result<_, _>>()?)
        })
    }
}

impl Shelves for Postgres {
    fn find(
        &self,
        shelf: Shelf,
        wanted: &Wanted,
        below: i64,
        limit: usize,
        is_patient: bool,
    ) -> Result<Rows, DatabaseError> {
        let work = async |client: &mut deadpool_postgres::Object| {
            let sql = format!(
                "SELECT {STRETCH_COLUMNS} FROM stretch
                 WHERE delivered = $1 AND first_id < $2 AND last_at >= $3 AND first_at < $4 ORDER BY last_id DESC"
            );
            let values: [&(dyn ToSql + Sync); 4] =
                [&shelf.is_delivered(), &below, &wanted.from, &wanted.until];
            let rows = query(client, &sql, &values).await?;
            let stretches = rows.iter().map(stretch).collect::<Result<Vec<_>, _>>()?;
            let (mut found, mut rest) = (Rows::default(), &stretches[..]);
            let mut sizes = STRETCHES.into_iter();
            while found.rows.len() < limit && !rest.is_empty() {
                let size = sizes.next().unwrap_or(usize::MAX).min(rest.len());
                let (these, others) = rest.split_at(size);
                let left = limit - found.rows.len();
                find_in(&*client, shelf, wanted, these, below, left, &mut found.rows).await?;
                rest = others;
            }
            Ok(found)
        };
        if is_patient { self.run_for(WRITING, work) } else { self.run(work) }
    }
}

/// Adds what is found in some stretches.
async fn find_in<C: GenericClient>(
    client: &C,
    shelf: Shelf,
    wanted: &Wanted,
    stretches: &[Stretch],
    below: i64,
    limit: usize,
    found: &mut Vec<Row>,
) -> Result<(), Error> {
    let table = shelf.table();
    let numbers: Vec<i64> = stretches.iter().map(|stretch| stretch.number).collect();
    let first: Vec<i64> = stretches.iter().map(|stretch| stretch.first_id).collect();
    let last: Vec<i64> = stretches.iter().map(|stretch| stretch.last_id).collect();
    let limit = number(limit as u64);
    // The ids of each stretch apart: else the planner may go through all rows backwards instead of asking the index.
    let sql = if wanted.hashes.is_empty() {
        format!(
            "SELECT r.id, r.gateway, r.record
             FROM (SELECT f.id FROM unnest($1::BIGINT[], $2::BIGINT[], $3::BIGINT[]) AS s (number, first, last)
                   CROSS JOIN LATERAL (SELECT id FROM {table}
                       WHERE id >= s.first AND id <= s.last AND id < $4 AND at >= $5 AND at < $6
                       ORDER BY id DESC LIMIT $7) AS f
                   WHERE $8::BIGINT[] IS NOT NULL
                   ORDER BY f.id DESC LIMIT $7) AS ids
             JOIN {table} r ON r.id = ids.id ORDER BY r.id DESC"
        )
    } else {
        format!(
            "SELECT r.id, r.gateway, r.record
             FROM (SELECT f.id FROM unnest($1::BIGINT[], $2::BIGINT[], $3::BIGINT[]) AS s (number, first, last)
                   CROSS JOIN LATERAL (
                       WITH those AS MATERIALIZED (
                           SELECT id, at FROM {table}
                           WHERE terms @> (SELECT array_agg((s.number << 40) | hash) FROM unnest($8::BIGINT[]) AS hash))
                       SELECT id FROM those WHERE id < $4 AND at >= $5 AND at < $6 ORDER BY id DESC LIMIT $7) AS f
                   ORDER BY f.id DESC LIMIT $7) AS ids
             JOIN {table} r ON r.id = ids.id ORDER BY r.id DESC"
        )
    };
    let values: [&(dyn ToSql + Sync); 8] =
        [&numbers, &first, &last, &below, &wanted.from, &wanted.until, &limit, &wanted.hashes];
    for row in query(client, &sql, &values).await? {
        found.push(Row { id: row.try_get(0)?, gateway: row.try_get(1)?, record: row.try_get(2)? });
    }
    Ok(())
}
