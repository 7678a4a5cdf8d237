//! What was judged: for each day how many messages got which verdict, and each message that the policy would not simply have
//! delivered. No content, and within limits.

use std::path::Path;

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::database::{self, DatabaseError};

/// Messages that are kept.
const MAX_KEPT: u64 = 20_000;
/// For how long they are kept, in seconds: 60 days.
const KEPT: u64 = 60 * 86_400;
/// For how many days counts are kept.
const DAYS: u64 = 400;
const DAY: u64 = 86_400;
/// What delivers a message as it is.
const DELIVER: &str = "deliver";
/// What was done with a message that was passed on, where the next hop put it off: the client comes again with it.
pub const DEFERRED_BY_NEXT_HOP: &str = "deferred-by-next-hop";
/// The same where the next hop refused it for good.
pub const REFUSED_BY_NEXT_HOP: &str = "refused-by-next-hop";

/// One message as it was judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// When, in Unix seconds.
    pub at: u64,
    /// The session's id in the log.
    pub session: String,
    /// SPEC.md's word.
    pub verdict: String,
    /// SPEC.md's reason, where the verdict has one.
    pub reason: Option<String>,
    /// On what ground the author's domain is known to seal.
    pub known: Option<String>,
    /// How the key was proved.
    pub trust: Option<String>,
    /// What the policy asked for: SPEC.md's word, such as `quarantine`.
    pub asked: String,
    /// What was done.
    pub done: String,
    /// The author's domain, where it is clear.
    pub from_domain: Option<String>,
    /// The sealing domain, where a seal counted.
    pub domain: Option<String>,
    /// The reverse-path without its brackets.
    pub reverse_path: String,
    /// How many recipients there were.
    pub recipients: usize,
    /// The Message-ID field's value.
    pub message_id: Option<String>,
    /// What happened to each attachment that is not intact: `altered Agenda.pdf`.
    pub attachments: Vec<String>,
    /// One line for people.
    pub summary: String,
}

/// How many messages of a period were alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// SPEC.md's word.
    pub verdict: String,
    /// What the policy asked for.
    pub asked: String,
    /// What was done.
    pub done: String,
    /// How many.
    pub count: u64,
}

impl Count {
    /// Whether these came again, or will: they are attempts at messages, and no messages of their own.
    pub fn is_of_attempts(&self) -> bool {
        self.done == DEFERRED_BY_NEXT_HOP
    }

    /// Whether each of these was kept as a message of its own.
    pub fn is_named(&self) -> bool {
        is_named(&self.asked, &self.done)
    }
}

/// What the policy simply delivers has nothing to be looked into, and what the next hop puts off comes again: a flood of neither
/// may push out what was held.
fn is_named(asked: &str, done: &str) -> bool {
    asked != DELIVER && done != DEFERRED_BY_NEXT_HOP
}

/// What was judged in a period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// Every message, counted.
    pub counts: Vec<Count>,
    /// Those that the policy would not simply have delivered, the oldest first; as many as were kept.
    pub messages: Vec<Judged>,
}

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

/// What was judged, for commands; the gateway may be running.
#[derive(Debug)]
pub struct Judgements(Connection);

impl Judgements {
    /// Opens what a gateway has made.
    pub fn open(state: &Path) -> Result<Self, DatabaseError> {
        database::open(state).map(Self)
    }

    /// What was judged from the day (UTC) that holds `from` on, in Unix seconds.
    pub fn since(&self, from: u64) -> Result<Period, DatabaseError> {
        let start = from / DAY;
        let mut statement = self.0.prepare(
            "SELECT verdict, asked, done, sum(count) FROM daily WHERE day >= ?1
             GROUP BY verdict, asked, done ORDER BY verdict, asked, done",
        )?;
        let count = |row: &rusqlite::Row<'_>| {
            Ok(Count { verdict: row.get(0)?, asked: row.get(1)?, done: row.get(2)?, count: row.get(3)? })
        };
        let counts = statement.query_map([start], count)?.collect::<Result<_, _>>()?;
        let mut statement = self.0.prepare("SELECT record FROM judged WHERE at >= ?1 ORDER BY id")?;
        let texts = statement.query_map([start * DAY], |row| row.get::<_, String>(0))?;
        let mut messages = Vec::new();
        for text in texts {
            // One that another version wrote otherwise is counted, and that has to do.
            messages.extend(serde_json::from_str(&text?).ok());
        }
        Ok(Period { counts, messages })
    }
}

#[cfg(test)]
mod tests {
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
        }
    }

    #[test]
    fn keeps_what_was_not_delivered_and_counts_the_rest() {
        let state = tempfile::tempdir().unwrap();
        let connection = database::open_or_make(state.path()).unwrap();
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
        let period = Judgements::open(state.path()).unwrap().since(NOW - DAY).unwrap();
        assert_eq!(period.messages, [observed, held]);
        let counts: Vec<_> = period.counts.iter().map(|c| (c.verdict.as_str(), c.count)).collect();
        assert_eq!(counts, [("fail", 1), ("missing", 1), ("pass", 2)]);

        forget_old(&connection, NOW + 400 * DAY).unwrap();
        let period = Judgements::open(state.path()).unwrap().since(0).unwrap();
        assert!(period.messages.is_empty() && period.counts.len() == 3, "{period:?}");
    }

    #[test]
    fn days_of_work_are_counted_before_today() {
        let state = tempfile::tempdir().unwrap();
        let connection = database::open_or_make(state.path()).unwrap();
        for ago in [0, 1, 1, 2, 30, 31, 1_000] {
            record(&connection, &judged(NOW - ago * DAY, "pass", "deliver", "deliver")).unwrap();
        }
        assert_eq!(days_before(&connection, NOW).unwrap(), 3);
        assert_eq!(days_before(&connection, NOW + 1_000 * DAY).unwrap(), 0);
    }

    #[test]
    fn a_flood_pushes_the_oldest_out() {
        let state = tempfile::tempdir().unwrap();
        let mut connection = database::open_or_make(state.path()).unwrap();
        let transaction = connection.transaction().unwrap();
        for n in 0..MAX_KEPT + 100 {
            record(&transaction, &judged(NOW + n, "fail", "quarantine", "quarantine")).unwrap();
        }
        transaction.commit().unwrap();
        let period = Judgements::open(state.path()).unwrap().since(0).unwrap();
        assert_eq!(period.messages.len() as u64, MAX_KEPT);
        assert_eq!(period.messages[0].at, NOW + 100);
        assert_eq!(period.counts[0].count, MAX_KEPT + 100);
    }
}
