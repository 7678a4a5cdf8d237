//! What was judged, in PostgreSQL.

use deadpool_postgres::GenericClient;
use tokio_postgres::Error;

use super::{Postgres, execute, number, query, whole};
use crate::store::Judgements;
use crate::store::error::DatabaseError;
use crate::store::judged::{Count, DAY, DAYS, Judged, KEPT, MAX_KEPT, Period, is_named};

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
        let sql = "INSERT INTO judged (at, gateway, record) VALUES ($1, $2, $3)";
        execute(client, sql, &[&number(judged.at), &gateway, &text]).await?;
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
            let sql = "SELECT record FROM judged WHERE at >= $1 ORDER BY id";
            let mut messages = Vec::new();
            for row in query(client, sql, &[&number(start * DAY)]).await? {
                // One that another version wrote otherwise is counted, and that has to do.
                messages.extend(serde_json::from_str(row.try_get(0)?).ok());
            }
            Ok(Period { counts, messages })
        })
    }
}
