//! Looks at the database every second for as long as a gateway uses it: whether it answers, and whether pins have changed.

use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, info};

use super::{Postgres, Shared, WRITING, connect, query};
use crate::store::error::{DatabaseError, Fault};

const PAUSE: Duration = Duration::from_secs(1);
/// How long the database may take to answer before it counts as away.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn watch(shared: Weak<Shared>) {
    loop {
        sleep(PAUSE).await;
        let Some(postgres) = shared.upgrade().map(Postgres) else { return };
        let health = &postgres.0.health;
        match look(&postgres).await {
            Ok(version) => {
                if !health.note(version) {
                    info!("the database can be used again");
                }
            }
            Err(error) => {
                if health.answers.swap(false, Ordering::Relaxed) {
                    error!(%error, "the database is away: mail that needs it is deferred (451), all other mail goes on");
                    // Else each of them would be waited for.
                    if let Ok(pool) = &postgres.0.pool {
                        pool.retain(|_, _| false);
                    }
                }
            }
        }
    }
}

/// The version of the pins, after the tables are made or brought forward: one that was away may have been replaced.
pub(super) async fn look(postgres: &Postgres) -> Result<i64, DatabaseError> {
    if !postgres.answers() {
        Postgres::with_one_of(&postgres.0.watching, WRITING, connect::migrate).await?;
    }
    let read = async |client: &mut deadpool_postgres::Object| {
        let rows = query(client, "SELECT version FROM said", &[]).await?;
        let row = rows.first().ok_or_else(|| DatabaseError::failed(Fault::Damaged, "table said is empty"))?;
        Ok(row.try_get(0)?)
    };
    Postgres::with_one_of(&postgres.0.watching, PATIENCE, read).await
}
