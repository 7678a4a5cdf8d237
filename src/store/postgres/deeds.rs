//! What was done to held mail, in PostgreSQL.

use deadpool_postgres::GenericClient;
use jiff::Timestamp;
use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use super::quarantine::make_durable;
use super::{Postgres, WRITING, execute, number, query};
use crate::store::audit::{Deed, KEPT, MAX_READ};
use crate::store::error::DatabaseError;
use crate::store::held::HeldId;
use crate::store::index::{bare_message_id, seconds};
use crate::store::state::AuditTrail;

/// Writes a deed down.
pub(super) async fn note<C: GenericClient>(client: &C, deed: &Deed) -> Result<(), Error> {
    let text = serde_json::to_string(deed).expect("a deed is strings and times");
    let (id, message_id) =
        (deed.id.as_ref().map(HeldId::as_str), deed.message_id.as_deref().map(bare_message_id));
    let sql = "INSERT INTO deed (at, held, message_id, record) VALUES ($1, $2, $3, $4)";
    execute(client, sql, &[&seconds(deed.at), &id, &message_id, &text]).await?;
    Ok(())
}

/// The Message-ID of a message that is or was held.
pub(super) async fn message_id<C: GenericClient>(client: &C, id: &HeldId) -> Result<Option<String>, Error> {
    let sql = "SELECT message_id FROM deed WHERE held = $1 AND message_id IS NOT NULL LIMIT 1";
    query(client, sql, &[&id.as_str()]).await?.first().map(|row| row.try_get(0)).transpose()
}

/// Forgets what is old.
pub(super) async fn forget_old<C: GenericClient>(client: &C, now: u64) -> Result<(), Error> {
    execute(client, "DELETE FROM deed WHERE at < $1", &[&number(now.saturating_sub(KEPT))]).await?;
    Ok(())
}

impl Postgres {
    /// Who writes deeds.
    pub(super) fn gateway(&self) -> String {
        format!("gateway {}", self.label())
    }

    fn deeds(&self, which: &str, value: &(dyn ToSql + Sync)) -> Result<Vec<Deed>, DatabaseError> {
        let sql = format!(
            "SELECT record FROM (SELECT number, record FROM deed WHERE {which} ORDER BY number DESC LIMIT {MAX_READ}) AS newest
             ORDER BY number"
        );
        self.run_for(WRITING, async |client| {
            let mut deeds = Vec::new();
            for row in query(client, &sql, &[value]).await? {
                // One that a later version wrote otherwise cannot be told.
                deeds.extend(serde_json::from_str(row.try_get(0)?).ok());
            }
            Ok(deeds)
        })
    }
}

impl AuditTrail for Postgres {
    fn note(&self, deed: &Deed) -> Result<(), DatabaseError> {
        self.run(async |client| {
            let transaction = client.transaction().await?;
            make_durable(&transaction).await?;
            note(&transaction, deed).await?;
            Ok(transaction.commit().await?)
        })
    }

    fn of(&self, id: &HeldId) -> Result<Vec<Deed>, DatabaseError> {
        self.deeds("held = $1", &id.as_str())
    }

    fn of_message_id(&self, message_id: &str) -> Result<Vec<Deed>, DatabaseError> {
        self.deeds("message_id = $1", &bare_message_id(message_id))
    }

    fn since(&self, from: Timestamp) -> Result<Vec<Deed>, DatabaseError> {
        self.deeds("at >= $1", &seconds(from))
    }
}
