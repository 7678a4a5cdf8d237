//! What was judged, in PostgreSQL.

use deadpool_postgres::GenericClient;
use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use super::{Postgres, execute, number, query, whole};
use crate::store::Judgements;
use crate::store::error::DatabaseError;
use crate::store::judged::{
    Count, DAY, DAYS, Judged, KEPT, MAX_DOMAINS, MAX_KEPT, MAX_NAMED, Period, Question, escaped, is_named,
};

/// Writes a message down.
pub(super) async fn record<C: GenericClient>(
    client: &C,
    gateway: &str,
    judged: &Judged,
) -> Result<(), Error> {
    let sql = "INSERT INTO daily (day, verdict, asked, done, count) VALUES ($1, $2, $3, $4, 1)
               ON CONFLICT (day, verdict, asked, done) DO UPDATE SET count = daily.count + 1";
    let day = number(judged.at / DAY);
    execute(client, sql, &[&day, &judged.verdict, &judged.asked, &judged.done]).await?;
    if is_named(&judged.asked, &judged.done) {
        let text = serde_json::to_string(judged).expect("a judged message is strings and numbers");
        // PostgreSQL has no NUL in a text.
        let plain = |text: &Option<String>| text.as_ref().map(|text| text.replace('\0', ""));
        let Judged { message_id, queue_id, arrived_as, held, from_domain, domain, .. } = judged;
        let [message_id, queue_id, arrived_as] = [message_id, queue_id, arrived_as].map(plain);
        let sql = "INSERT INTO judged (at, gateway, record, message_id, session, queue_id, arrived_as, held,
                                       from_domain, domain)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        let values: [&(dyn ToSql + Sync); 10] = [
            &number(judged.at),
            &gateway,
            &text,
            &message_id,
            &judged.session,
            &queue_id,
            &arrived_as,
            held,
            from_domain,
            domain,
        ];
        execute(client, sql, &values).await?;
        // Ids only grow, so the oldest go.
        let sql = "DELETE FROM judged WHERE id <= (SELECT max(id) FROM judged) - $1";
        execute(client, sql, &[&number(MAX_KEPT)]).await?;
    }
    Ok(())
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
    execute(client, "DELETE FROM judged WHERE at < $1", &[&number(now.saturating_sub(KEPT))]).await?;
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
            let mut counts = Vec::new();
            for row in query(client, sql, &[&number(start)]).await? {
                let count = whole(row.try_get(3)?);
                let (verdict, asked, done) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
                counts.push(Count { verdict, asked, done, count });
            }
            Ok(Period { counts, messages: newest(client, "at >= $1", &[&number(start * DAY)]).await? })
        })
    }

    fn ask(&self, question: &Question) -> Result<Vec<Judged>, DatabaseError> {
        self.run(async |client| {
            let (from, until) = (number(question.from), question.until.map_or(i64::MAX, number));
            let message_ids = question.message_ids().map(Vec::from);
            let domains = match &question.domain {
                Some(domain) => Some(named(client, domain).await?),
                None => None,
            };
            let mut terms = vec!["at >= $1 AND at < $2".to_owned()];
            let mut values: Vec<&(dyn ToSql + Sync)> = vec![&from, &until];
            let mut is_one_of = |columns: &[&str], wanted| {
                values.push(wanted);
                let is_in = |column: &&str| format!("{column} = ANY(${})", values.len());
                terms.push(format!("({})", columns.iter().map(is_in).collect::<Vec<_>>().join(" OR ")));
            };
            let queue_ids = question.queue_id.as_ref().map(|id| vec![id.clone()]);
            if let Some(message_ids) = &message_ids {
                is_one_of(&["message_id"], message_ids);
            }
            if let Some(queue_ids) = &queue_ids {
                is_one_of(&["session", "queue_id", "arrived_as", "held"], queue_ids);
            }
            if let Some(domains) = &domains {
                is_one_of(&["from_domain", "domain"], domains);
            }
            Ok(newest(client, &terms.join(" AND "), &values).await?)
        })
    }
}

/// The newest messages that fit, the oldest first.
async fn newest<C: GenericClient>(
    client: &C,
    condition: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Judged>, Error> {
    let sql = format!("SELECT record FROM judged WHERE {condition} ORDER BY id DESC LIMIT {MAX_NAMED}");
    let mut messages = Vec::new();
    for row in query(client, &sql, values).await? {
        // One that another version wrote otherwise is counted, and that has to do.
        messages.extend(serde_json::from_str(row.try_get(0)?).ok());
    }
    messages.reverse();
    Ok(messages)
}

/// The domain itself, and those below it that some message names.
async fn named<C: GenericClient>(client: &C, domain: &str) -> Result<Vec<String>, Error> {
    let mut found = vec![domain.to_owned()];
    for column in ["from_domain", "domain"] {
        let sql = format!("SELECT DISTINCT {column} FROM judged WHERE {column} LIKE $1 LIMIT {MAX_DOMAINS}");
        for row in query(client, &sql, &[&format!("%.{}", escaped(domain))]).await? {
            found.push(row.try_get(0)?);
        }
    }
    Ok(found)
}
