//! What was judged, in SQLite.

use rusqlite::{Connection, OptionalExtension, Row as Columns, params};

use super::GATEWAY;
use super::database::{Database, version};
use crate::store::error::DatabaseError;
use crate::store::judged::{
    Count, DAY, DAYS, DayCount, Found, Judged, JudgedId, KEPT, MAX_NAMED, Page, Period, Position, Question,
    Shown,
};
use crate::store::recorder::Entry;
use crate::store::search::{self, Row, Rows, Shelf, Shelves, Stretch};
use crate::store::terms::{Record, STRETCH, Wanted, hash, number};
use crate::store::written::{Alike, Written};
use crate::store::{Judgements, Messages};

/// The first form that has every judged message, and terms to find it by.
const FIRST: i64 = 6;
/// Rows of the rarest term that a search goes through before it stops.
const MAX_WORK: i64 = 100_000;
/// Up to which number a term's rows are counted, to find the rarest.
const COUNTED: i64 = 1_024;

/// Writes messages down.
pub(super) fn record(connection: &Connection, entries: &[Box<Entry>]) -> rusqlite::Result<()> {
    let mut counts = connection.prepare_cached(
        "INSERT INTO daily (day, verdict, asked, done, count) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (day, verdict, asked, done) DO UPDATE SET count = count + ?5",
    )?;
    for (Alike { day, verdict, asked, done }, count) in Alike::all(entries) {
        counts.execute(params![day, verdict, asked, done, count])?;
    }
    for shelf in Shelf::BOTH {
        let written: Vec<Written> = Written::all(entries, shelf).collect();
        if !written.is_empty() {
            put(connection, shelf, &written)?;
            make_room(connection, shelf)?;
        }
    }
    Ok(())
}

/// Writes messages of one table down, with what they are found by.
fn put(connection: &Connection, shelf: Shelf, written: &[Written]) -> rusqlite::Result<()> {
    let sql = format!("INSERT INTO {} (at, gateway, record) VALUES (?1, ?2, ?3)", shelf.table());
    let mut insert = connection.prepare_cached(&sql)?;
    let mut filing = Filing::begin(connection, shelf)?;
    for message in written {
        insert.execute(params![message.at, GATEWAY, message.record])?;
        filing.add(connection.last_insert_rowid(), message.at, &message.terms)?;
        if let Some(findings) = &message.findings {
            keep_findings(connection, shelf, message, findings)?;
        }
    }
    filing.end()
}

fn keep_findings(
    connection: &Connection,
    shelf: Shelf,
    message: &Written,
    findings: &str,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO finding (judged, at, delivered, total, findings)
         VALUES (?1, ?2, ?3, (SELECT coalesce(max(total), 0) FROM finding WHERE delivered = ?3) + ?4, ?5)",
    )?;
    let octets = findings.len() as u64;
    insert.execute(params![message.id.as_str(), message.at, shelf.is_delivered(), octets, findings])?;
    Ok(())
}

/// Gives rows their terms, stretch by stretch.
struct Filing<'a> {
    connection: &'a Connection,
    shelf: Shelf,
    stretch: Stretch,
    terms: Vec<(i64, i64)>,
}

impl<'a> Filing<'a> {
    fn begin(connection: &'a Connection, shelf: Shelf) -> rusqlite::Result<Self> {
        let sql = format!(
            "SELECT {STRETCH_COLUMNS} FROM stretch WHERE delivered = ?1 ORDER BY number DESC LIMIT 1"
        );
        let mut query = connection.prepare_cached(&sql)?;
        let last = query.query_row([shelf.is_delivered()], stretch).optional()?;
        let stretch = match last.filter(|last| last.messages < STRETCH) {
            Some(last) => last,
            None => Stretch::new(next_number(connection)?),
        };
        Ok(Self { connection, shelf, stretch, terms: Vec::new() })
    }

    fn add(&mut self, id: i64, at: i64, terms: &[i64]) -> rusqlite::Result<()> {
        if self.stretch.messages >= STRETCH {
            self.flush()?;
            self.stretch = Stretch::new(next_number(self.connection)?);
        }
        self.stretch.add(id, at);
        self.terms.extend(terms.iter().map(|term| (number(self.stretch.number, *term), id)));
        Ok(())
    }

    fn flush(&mut self) -> rusqlite::Result<()> {
        // In their order, each page of the table is looked for once.
        self.terms.sort_unstable();
        let sql = "INSERT OR IGNORE INTO term (term, id) VALUES (?1, ?2)";
        let mut insert = self.connection.prepare_cached(sql)?;
        for (term, id) in self.terms.drain(..) {
            insert.execute([term, id])?;
        }
        let Stretch { number, messages, first_id, last_id, first_at, last_at } = self.stretch;
        let mut note = self.connection.prepare_cached(
            "INSERT OR REPLACE INTO stretch (number, delivered, messages, first_id, last_id, first_at, last_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        let is_delivered = self.shelf.is_delivered();
        note.execute(params![number, is_delivered, messages, first_id, last_id, first_at, last_at])?;
        Ok(())
    }

    fn end(mut self) -> rusqlite::Result<()> {
        if self.stretch.messages > 0 { self.flush() } else { Ok(()) }
    }
}

fn next_number(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT coalesce(max(number), 0) + 1 FROM stretch";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

const STRETCH_COLUMNS: &str = "number, messages, first_id, last_id, first_at, last_at";

fn stretch(row: &Columns<'_>) -> rusqlite::Result<Stretch> {
    Ok(Stretch {
        number: row.get(0)?,
        messages: row.get(1)?,
        first_id: row.get(2)?,
        last_id: row.get(3)?,
        first_at: row.get(4)?,
        last_at: row.get(5)?,
    })
}

/// The oldest go, where there are too many.
fn make_room(connection: &Connection, shelf: Shelf) -> rusqlite::Result<()> {
    let table = shelf.table();
    // Ids only grow.
    let sql = format!("DELETE FROM {table} WHERE id <= (SELECT max(id) FROM {table}) - ?1");
    if connection.prepare_cached(&sql)?.execute([shelf.max_kept()])? > 0 {
        forget_stretches(connection, shelf)?;
    }
    let sql = "DELETE FROM finding WHERE delivered = ?1
               AND total <= (SELECT max(total) FROM finding WHERE delivered = ?1) - ?2";
    connection.prepare_cached(sql)?.execute(params![shelf.is_delivered(), shelf.max_findings()])?;
    Ok(())
}

/// Forgets the terms of messages that are gone.
fn forget_stretches(connection: &Connection, shelf: Shelf) -> rusqlite::Result<()> {
    let sql = format!(
        "SELECT number FROM stretch
         WHERE delivered = ?1 AND last_id < coalesce((SELECT min(id) FROM {}), ?2)",
        shelf.table()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let gone = statement.query_map(params![shelf.is_delivered(), i64::MAX], |row| row.get(0))?;
    for gone in gone.collect::<rusqlite::Result<Vec<i64>>>()? {
        let terms = [number(gone, 0), number(gone + 1, 0)];
        connection.execute("DELETE FROM term WHERE term >= ?1 AND term < ?2", terms)?;
        connection.execute("DELETE FROM stretch WHERE number = ?1", [gone])?;
    }
    Ok(())
}

/// Gives rows that an earlier version wrote, or that were copied here, what they are found by. Tells how many there are.
pub(super) fn complete(connection: &Connection) -> rusqlite::Result<u64> {
    let mut completed = 0;
    for shelf in Shelf::BOTH {
        let sql = "SELECT coalesce(max(last_id), 0) FROM stretch WHERE delivered = ?1";
        let last: i64 = connection.query_row(sql, [shelf.is_delivered()], |row| row.get(0))?;
        let mut filing = Filing::begin(connection, shelf)?;
        let sql = format!("SELECT id, at, record FROM {} WHERE id > ?1 ORDER BY id", shelf.table());
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([last])?;
        while let Some(row) = rows.next()? {
            let record = Record::read(&row.get::<_, String>(2)?);
            let terms: Vec<i64> = record.iter().flat_map(Record::terms).map(|term| hash(&term)).collect();
            filing.add(row.get(0)?, row.get(1)?, &terms)?;
            completed += 1;
        }
        filing.end()?;
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM finding WHERE total IS NULL)";
    if connection.query_row(sql, [], |row| row.get(0))? {
        connection.execute(
            "UPDATE finding SET total = sums.total
             FROM (SELECT number, sum(length(CAST(findings AS BLOB))) OVER (PARTITION BY delivered ORDER BY number)
                          AS total FROM finding) AS sums
             WHERE sums.number = finding.number",
            [],
        )?;
    }
    Ok(completed)
}

/// On how many of the 30 days before the one that holds `now` anything was judged.
pub(super) fn days_before(connection: &Connection, now: u64) -> rusqlite::Result<u64> {
    let today = now / DAY;
    let days = params![today.saturating_sub(30), today];
    let sql = "SELECT count(DISTINCT day) FROM daily WHERE day >= ?1 AND day < ?2";
    connection.query_row(sql, days, |row| row.get(0))
}

/// Forgets what is old.
pub(super) fn forget_old(connection: &Connection, now: u64) -> rusqlite::Result<()> {
    for shelf in Shelf::BOTH {
        let sql = format!("DELETE FROM {} WHERE at < ?1", shelf.table());
        connection.execute(&sql, [now.saturating_sub(KEPT)])?;
        forget_stretches(connection, shelf)?;
    }
    connection.execute("DELETE FROM finding WHERE at < ?1", [now.saturating_sub(KEPT)])?;
    connection.execute("DELETE FROM daily WHERE day < ?1", [(now / DAY).saturating_sub(DAYS)])?;
    Ok(())
}

impl Judgements for Database {
    fn since(&self, from: u64) -> Result<Period, DatabaseError> {
        self.read(|connection| {
            let start = from / DAY;
            let mut statement = connection.prepare(
                "SELECT verdict, asked, done, sum(count) FROM daily WHERE day >= ?1
                 GROUP BY verdict, asked, done ORDER BY verdict, asked, done",
            )?;
            let counts = statement.query_map([start], |row| count(row, 0))?.collect::<Result<_, _>>()?;
            let sql = format!("SELECT record FROM judged WHERE at >= ?1 ORDER BY id DESC LIMIT {MAX_NAMED}");
            let mut statement = connection.prepare(&sql)?;
            let texts = statement.query_map([start * DAY], |row| row.get::<_, String>(0))?;
            let mut messages: Vec<Judged> = Vec::new();
            for text in texts {
                // One that another version wrote otherwise is counted, and that has to do.
                messages.extend(serde_json::from_str(&text?).ok());
            }
            messages.reverse();
            Ok(Period { counts, messages })
        })
    }

    fn ask(&self, question: &Question) -> Result<Vec<Judged>, DatabaseError> {
        search::named(self, question)
    }
}

fn count(row: &Columns<'_>, first: usize) -> rusqlite::Result<Count> {
    Ok(Count {
        verdict: row.get(first)?,
        asked: row.get(first + 1)?,
        done: row.get(first + 2)?,
        count: row.get(first + 3)?,
    })
}

impl Messages for Database {
    fn search(
        &self,
        question: &Question,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<Page, DatabaseError> {
        search::page(self, question, after, limit)
    }

    fn show(&self, id: &JudgedId) -> Result<Option<Shown>, DatabaseError> {
        let Some(found): Option<Found> = search::one(self, id)? else { return Ok(None) };
        self.read(|connection| {
            if version(connection)? < FIRST {
                return Ok(Some(Shown { found, findings: None }));
            }
            let mut statement =
                connection.prepare_cached("SELECT findings FROM finding WHERE judged = ?1")?;
            let text: Option<String> = statement.query_row([id.as_str()], |row| row.get(0)).optional()?;
            Ok(Some(Shown { found, findings: text.and_then(|text| serde_json::from_str(&text).ok()) }))
        })
    }

    fn daily(&self, from: u64, to: u64) -> Result<Vec<DayCount>, DatabaseError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT day, verdict, asked, done, count FROM daily WHERE day >= ?1 AND day <= ?2
                 ORDER BY day, verdict, asked, done",
            )?;
            let day =
                |row: &Columns<'_>| Ok(DayCount { day: row.get::<_, u64>(0)? * DAY, count: count(row, 1)? });
            Ok(statement.query_map([from / DAY, to / DAY], day)?.collect::<Result<_, _>>()?)
        })
    }
}

fn row(row: &Columns<'_>) -> rusqlite::Result<Row> {
    Ok(Row { id: row.get(0)?, gateway: row.get(1)?, record: row.get(2)? })
}

impl Shelves for Database {
    fn find(
        &self,
        shelf: Shelf,
        wanted: &Wanted,
        below: i64,
        limit: usize,
        is_patient: bool,
    ) -> Result<Rows, DatabaseError> {
        self.read(|connection| {
            if version(connection)? < FIRST {
                return Ok(find_in_all(connection, shelf, wanted, below, limit)?);
            }
            let mut found = Rows::default();
            let mut work = 0;
            let sql = format!(
                "SELECT {STRETCH_COLUMNS} FROM stretch
                 WHERE delivered = ?1 AND first_id < ?2 AND last_at >= ?3 AND first_at < ?4
                 ORDER BY last_id DESC"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let values = params![shelf.is_delivered(), below, wanted.from, wanted.until];
            let mut stretches = statement.query_map(values, stretch)?;
            while found.rows.len() < limit
                && let Some(stretch) = stretches.next().transpose()?
            {
                if work > MAX_WORK && !is_patient {
                    found.stopped_at = Some(stretch.last_id + 1);
                    break;
                }
                let left = limit - found.rows.len();
                work += find_in_stretch(connection, shelf, wanted, &stretch, below, left, &mut found.rows)?;
            }
            Ok(found)
        })
    }
}

/// Adds what is found in a stretch, and tells how much there was to go through.
fn find_in_stretch(
    connection: &Connection,
    shelf: Shelf,
    wanted: &Wanted,
    stretch: &Stretch,
    below: i64,
    limit: usize,
    found: &mut Vec<Row>,
) -> rusqlite::Result<i64> {
    let below = below.min(stretch.last_id + 1);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut terms = Vec::new();
    let mut count =
        connection.prepare_cached("SELECT count(*) FROM (SELECT 1 FROM term WHERE term = ?1 LIMIT ?2)")?;
    for hash in &wanted.hashes {
        let term = number(stretch.number, *hash);
        match count.query_row([term, COUNTED], |row| row.get::<_, i64>(0))? {
            0 => return Ok(0),
            count => terms.push((count, term)),
        }
    }
    terms.sort_unstable();
    let (work, sql) = match terms.first() {
        None => {
            let table = shelf.table();
            let sql = format!(
                "SELECT r.id, r.gateway, r.record FROM {table} r
                 WHERE r.id < ?1 AND r.id >= ?5 AND r.at >= ?2 AND r.at < ?3 ORDER BY r.id DESC LIMIT ?4"
            );
            (stretch.messages, sql)
        }
        Some((count, _)) => {
            let work = if *count < COUNTED { *count } else { stretch.messages };
            (work, by_terms(shelf, terms.len()))
        }
    };
    let mut values = vec![below, wanted.from, wanted.until, limit];
    match terms.as_slice() {
        [] => values.push(stretch.first_id),
        terms => values.extend(terms.iter().map(|(_, term)| *term)),
    }
    let mut statement = connection.prepare_cached(&sql)?;
    for one in statement.query_map(rusqlite::params_from_iter(values), row)? {
        found.push(one?);
    }
    Ok(work)
}

/// The rows that have so many terms. CROSS JOIN keeps the order: the rarest term first, then whether each other one is there.
fn by_terms(shelf: Shelf, terms: usize) -> String {
    let joins = (1..terms)
        .map(|at| format!("CROSS JOIN term t{at} ON t{at}.term = ?{} AND t{at}.id = t0.id ", at + 5));
    format!(
        "SELECT r.id, r.gateway, r.record FROM term t0 {}CROSS JOIN {} r ON r.id = t0.id
         WHERE t0.term = ?5 AND t0.id < ?1 AND r.at >= ?2 AND r.at < ?3 ORDER BY t0.id DESC LIMIT ?4",
        joins.collect::<String>(),
        shelf.table()
    )
}

/// In a database of an earlier form, which no gateway has brought forward yet, every row is looked at.
fn find_in_all(
    connection: &Connection,
    shelf: Shelf,
    wanted: &Wanted,
    below: i64,
    limit: usize,
) -> rusqlite::Result<Rows> {
    let mut found = Rows::default();
    if shelf == Shelf::Delivered {
        return Ok(found);
    }
    let sql = "SELECT id, '', record FROM judged WHERE id < ?1 AND at >= ?2 AND at < ?3 ORDER BY id DESC";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([below, wanted.from, wanted.until])?;
    while found.rows.len() < limit
        && let Some(next) = rows.next()?
    {
        let next = row(next)?;
        if Record::read(&next.record).is_some_and(|record| wanted.is(&record)) {
            found.rows.push(next);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::database::{Access, open_or_make};
    use super::*;

    const NOW: u64 = 20_000 * DAY + 5;

    fn judged(at: u64, verdict: &str, asked: &str, done: &str) -> Judged {
        Judged {
            at,
            session: "s".into(),
            verdict: verdict.into(),
            reason: None,
            known: None,
            trust: None,
            asked: asked.into(),
            done: done.into(),
            from_domain: None,
            domain: None,
            reverse_path: String::new(),
            recipients: 1,
            message_id: None,
            attachments: vec!["altered Agenda \"2026\".pdf".into()],
            summary: String::new(),
            held: None,
            queue_id: None,
            arrived_as: None,
        }
    }

    fn record(connection: &Connection, judged: &Judged) -> rusqlite::Result<()> {
        super::record(connection, &[Box::new(Entry::of(judged.clone()))])
    }

    #[test]
    fn keeps_what_was_not_delivered_and_counts_the_rest() {
        let state = tempfile::tempdir().unwrap();
        let connection = open_or_make(state.path()).unwrap();
        let observed = judged(NOW, "fail", "quarantine", "deliver");
        let held = judged(NOW + 1, "missing", "quarantine", "quarantine");
        for judged in [
            &judged(NOW - 2 * DAY, "fail", "reject", "reject"),
            &judged(NOW, "pass", "deliver", "deliver"),
            &judged(NOW, "pass", "deliver", "deliver"),
            &observed,
            &held,
        ] {
            record(&connection, judged).unwrap();
        }
        let period = Database::new(state.path(), Access::Change).since(NOW - DAY).unwrap();
        assert_eq!(period.messages, [observed, held]);
        let counts: Vec<_> = period.counts.iter().map(|c| (c.verdict.as_str(), c.count)).collect();
        assert_eq!(counts, [("fail", 1), ("missing", 1), ("pass", 2)]);

        forget_old(&connection, NOW + 400 * DAY).unwrap();
        let period = Database::new(state.path(), Access::Change).since(0).unwrap();
        assert!(period.messages.is_empty() && period.counts.len() == 3, "{period:?}");
    }

    #[test]
    fn days_of_work_are_counted_before_today() {
        let state = tempfile::tempdir().unwrap();
        let connection = open_or_make(state.path()).unwrap();
        for ago in [0, 1, 1, 2, 30, 31, 1_000] {
            record(&connection, &judged(NOW - ago * DAY, "pass", "deliver", "deliver")).unwrap();
        }
        assert_eq!(days_before(&connection, NOW).unwrap(), 3);
        assert_eq!(days_before(&connection, NOW + 1_000 * DAY).unwrap(), 0);
    }

    #[test]
    fn a_flood_pushes_the_oldest_out() {
        let state = tempfile::tempdir().unwrap();
        let mut connection = open_or_make(state.path()).unwrap();
        let transaction = connection.transaction().unwrap();
        let flood = judged(NOW, "fail", "quarantine", "quarantine");
        // As if the first of them had been the first of a flood.
        record(&transaction, &flood).unwrap();
        transaction
            .execute("UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'judged'", [Shelf::Named.max_kept()])
            .unwrap();
        let entry = |n| Box::new(Entry::of(Judged { at: NOW + n, ..flood.clone() }));
        super::record(&transaction, &(1..=MAX_NAMED + 100).map(entry).collect::<Vec<_>>()).unwrap();
        transaction.commit().unwrap();
        let count: u64 = connection.query_row("SELECT count(*) FROM judged", [], |row| row.get(0)).unwrap();
        assert_eq!(count, MAX_NAMED + 100);
        let period = Database::new(state.path(), Access::Change).since(0).unwrap();
        assert_eq!(period.messages.len() as u64, MAX_NAMED);
        assert_eq!(period.messages[0].at, NOW + 101);
        assert_eq!(period.counts[0].count, MAX_NAMED + 101);
    }

    /// Without its index, a question reads everything.
    #[test]
    fn questions_use_the_indexes() {
        let state = tempfile::tempdir().unwrap();
        let connection = open_or_make(state.path()).unwrap();
        for shelf in Shelf::BOTH {
            for terms in 1..=8 {
                let sql = format!("EXPLAIN QUERY PLAN {}", by_terms(shelf, terms));
                let mut plan = connection.prepare(&sql).unwrap();
                let values = rusqlite::params_from_iter(vec![1_i64; terms + 4]);
                let steps = plan.query_map(values, |row| row.get::<_, String>(3)).unwrap();
                let steps: Vec<String> = steps.map(Result::unwrap).collect();
                assert!(steps[0].contains("SEARCH t0 USING PRIMARY KEY (term=? AND id<?)"), "{steps:?}");
                assert_eq!(steps.len(), terms + 1, "{steps:?}");
                assert!(steps.iter().all(|step| step.starts_with("SEARCH")), "{steps:?}");
            }
        }
    }

    /// Their terms go with messages that are forgotten.
    #[test]
    fn nothing_stays_of_messages_that_are_gone() {
        let state = tempfile::tempdir().unwrap();
        let mut connection = open_or_make(state.path()).unwrap();
        let held = judged(NOW, "fail", "quarantine", "quarantine");
        let delivered = judged(NOW, "pass", "deliver", "deliver");
        let entry = |n: u64| {
            let judged = if n.is_multiple_of(2) { &held } else { &delivered };
            Box::new(Entry::of(Judged { at: NOW + n, ..judged.clone() }))
        };
        let transaction = connection.transaction().unwrap();
        super::record(&transaction, &(0..10_000).map(entry).collect::<Vec<_>>()).unwrap();
        transaction.commit().unwrap();
        let count = |table: &str| -> u64 {
            connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
        };
        assert_eq!([count("judged"), count("delivered"), count("stretch")], [5_000, 5_000, 4]);
        assert!(count("term") >= 40_000);
        forget_old(&connection, NOW + KEPT + 9_999).unwrap();
        assert_eq!([count("judged"), count("delivered"), count("stretch")], [0, 1, 1]);
        forget_old(&connection, NOW + KEPT + 10_000).unwrap();
        assert_eq!(["delivered", "stretch", "term"].map(count), [0; 3]);
    }
}
