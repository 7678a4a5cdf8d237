//! What was judged, in SQLite.

use rusqlite::{Connection, ToSql, params};

use super::database::Database;
use crate::store::Judgements;
use crate::store::error::DatabaseError;
use crate::store::judged::{
    Count, DAY, DAYS, Judged, KEPT, MAX_DOMAINS, MAX_KEPT, MAX_NAMED, Period, Question, escaped, is_named,
};

/// Writes a message down.
pub(super) fn record(connection: &Connection, judged: &Judged) -> rusqlite::Result<()> {
    let mut count = connection.prepare_cached(
        "INSERT INTO daily (day, verdict, asked, done, count) VALUES (?1, ?2, ?3, ?4, 1)
         ON CONFLICT (day, verdict, asked, done) DO UPDATE SET count = count + 1",
    )?;
    count.execute(params![judged.at / DAY, judged.verdict, judged.asked, judged.done])?;
    if is_named(&judged.asked, &judged.done) {
        let text = serde_json::to_string(judged).expect("a judged message is strings and numbers");
        let mut keep = connection.prepare_cached("INSERT INTO judged (at, record) VALUES (?1, ?2)")?;
        keep.execute(params![judged.at, text])?;
        // Ids only grow, so the oldest go, one for one.
        let mut drop =
            connection.prepare_cached("DELETE FROM judged WHERE id <= (SELECT max(id) FROM judged) - ?1")?;
        drop.execute([MAX_KEPT])?;
    }
    Ok(())
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
    connection.execute("DELETE FROM judged WHERE at < ?1", [now.saturating_sub(KEPT)])?;
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
            let count = |row: &rusqlite::Row<'_>| {
                Ok(Count { verdict: row.get(0)?, asked: row.get(1)?, done: row.get(2)?, count: row.get(3)? })
            };
            let counts = statement.query_map([start], count)?.collect::<Result<_, _>>()?;
            Ok(Period { counts, messages: newest(connection, "at >= ?1", &[&(start * DAY)])? })
        })
    }

    fn ask(&self, question: &Question) -> Result<Vec<Judged>, DatabaseError> {
        let until = question.until.unwrap_or(i64::MAX as u64);
        self.read(|connection| {
            let mut terms = vec!["at >= ?1 AND at < ?2".to_owned()];
            let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(question.from), Box::new(until)];
            let mut is_one_of = |keys: &[&str], wanted: Vec<String>| {
                let first = values.len() + 1;
                let places: Vec<String> = (first..first + wanted.len()).map(|at| format!("?{at}")).collect();
                values.extend(wanted.into_iter().map(|value| Box::new(value) as Box<dyn ToSql>));
                let is_in = |key: &&str| format!("{} IN ({})", indexed(key), places.join(", "));
                terms.push(format!("({})", keys.iter().map(is_in).collect::<Vec<_>>().join(" OR ")));
            };
            if let Some(forms) = question.message_ids() {
                is_one_of(&["message_id"], forms.to_vec());
            }
            if let Some(queue_id) = &question.queue_id {
                is_one_of(&["session", "queue_id", "arrived_as", "held"], vec![queue_id.clone()]);
            }
            if let Some(domain) = &question.domain {
                is_one_of(&["from_domain", "domain"], named(connection, domain)?);
            }
            let values: Vec<&dyn ToSql> = values.iter().map(|value| &**value).collect();
            Ok(newest(connection, &terms.join(" AND "), &values)?)
        })
    }
}

/// A member of a record, as the index on it has it.
fn indexed(key: &str) -> String {
    format!("json_extract(record, '$.{key}')")
}

/// The domain itself, and those below it that some message names.
fn named(connection: &Connection, domain: &str) -> rusqlite::Result<Vec<String>> {
    let mut found = vec![domain.to_owned()];
    for key in ["from_domain", "domain"].map(indexed) {
        let sql =
            format!("SELECT DISTINCT {key} FROM judged WHERE {key} LIKE ?1 ESCAPE '\\' LIMIT {MAX_DOMAINS}");
        let below = format!("%.{}", escaped(domain));
        let mut statement = connection.prepare(&sql)?;
        for below in statement.query_map([below], |row| row.get(0))? {
            found.push(below?);
        }
    }
    Ok(found)
}

/// The newest messages that fit, the oldest first.
fn newest(connection: &Connection, condition: &str, values: &[&dyn ToSql]) -> rusqlite::Result<Vec<Judged>> {
    let sql = format!("SELECT record FROM judged WHERE {condition} ORDER BY id DESC LIMIT {MAX_NAMED}");
    let mut statement = connection.prepare(&sql)?;
    let texts = statement.query_map(values, |row| row.get::<_, String>(0))?;
    let mut messages = Vec::new();
    for text in texts {
        // One that another version wrote otherwise is counted, and that has to do.
        messages.extend(serde_json::from_str(&text?).ok());
    }
    messages.reverse();
    Ok(messages)
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
        transaction.execute("UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'judged'", [MAX_KEPT]).unwrap();
        for n in 1..=MAX_NAMED + 100 {
            record(&transaction, &Judged { at: NOW + n, ..flood.clone() }).unwrap();
        }
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
        for key in ["message_id", "session", "queue_id", "arrived_as", "held", "from_domain", "domain"] {
            let sql = format!(
                "EXPLAIN QUERY PLAN SELECT record FROM judged WHERE json_extract(record, '$.{key}') = 'x'"
            );
            let plan: String = connection.query_row(&sql, [], |row| row.get(3)).unwrap();
            assert!(plan.contains(&format!("USING INDEX judged_by_{key}")), "{plan}");
        }
    }
}
