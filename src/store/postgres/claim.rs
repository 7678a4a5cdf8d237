//! A claim on a held message in PostgreSQL: a lease on its row, by the database's clock. Who has it renews it. When a gateway dies,
//! its lease ends by itself. A step of a release is written down only by who has the lease still.

use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::warn;

use super::quarantine::{make_durable, releases};
use super::{Postgres, connect, deeds, execute, query, rows};
use crate::store::audit::{By, Deed};
use crate::store::held::{Held, HeldId, Release, Releases, Removal, StoreError};
use crate::store::state::{Claim, Quarantine};

/// How long a lease lasts unless it is renewed, as PostgreSQL writes it.
const LEASE: &str = "30 seconds";
/// Between two renewals: two may fail.
const RENEWAL: Duration = Duration::from_secs(8);

/// The lease on one message.
#[derive(Debug)]
pub(super) struct Lease {
    postgres: Postgres,
    id: HeldId,
    /// What tells this lease from another one.
    number: i64,
    releases: Releases,
    held: Held,
    by: By,
    renewal: JoinHandle<()>,
}

impl Lease {
    pub(super) fn take(postgres: &Postgres, id: &HeldId, by: &By) -> Result<Self, StoreError> {
        let held = postgres.show(id)?.held;
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|_| StoreError::NoRandomness)?;
        let number = i64::from_ne_bytes(random);
        let found = postgres.run(async |client| {
            connect::check_not_moved(client).await?;
            let sql = format!(
                "UPDATE held SET lease = $2, leased_by = $3, leased_until = now() + interval '{LEASE}'
                 WHERE id = $1 AND (lease IS NULL OR leased_until < now())"
            );
            if execute(client, &sql, &[&id.as_str(), &number, &postgres.label()]).await? > 0 {
                return Ok(Some(Some(releases(client, id).await?)));
            }
            let known = query(client, "SELECT 1 FROM held WHERE id = $1", &[&id.as_str()]).await?;
            Ok((!known.is_empty()).then_some(None))
        })?;
        let releases = match found {
            Some(Some(releases)) => releases,
            Some(None) => return Err(StoreError::Claimed(id.clone())),
            None => return Err(StoreError::UnknownId(id.clone())),
        };
        let renewal = postgres.spawn(renew(postgres.clone(), id.clone(), number));
        let (postgres, id, by) = (postgres.clone(), id.clone(), by.clone());
        Ok(Self { postgres, id, number, releases, held, by, renewal })
    }
}

impl Claim for Lease {
    fn releases(&self) -> &Releases {
        &self.releases
    }

    fn note(&mut self, step: Release) -> Result<(), StoreError> {
        let text = serde_json::to_string(&step)
            .map_err(|source| StoreError::Damaged { id: self.id.clone(), source })?;
        let (id, number, label) = (self.id.as_str(), self.number, self.postgres.label());
        let mut releases = self.releases.clone();
        releases.take(step.clone());
        let deeds = Deed::of_step(&step, &self.id, &self.held, &self.by);
        let written = self.postgres.run(async |client| {
            let transaction = client.transaction().await?;
            make_durable(&transaction).await?;
            let sql = "INSERT INTO release (held, gateway, step)
                       SELECT id, $3, $4 FROM held WHERE id = $1 AND lease = $2 AND leased_until > now() FOR UPDATE";
            let written = execute(&transaction, sql, &[&id, &number, &label, &text]).await?;
            if written > 0 {
                rows::mark(&transaction, &self.id, &releases).await?;
                for deed in &deeds {
                    deeds::note(&transaction, deed).await?;
                }
            }
            transaction.commit().await?;
            Ok(written)
        })?;
        if written == 0 {
            return Err(StoreError::Claimed(self.id.clone()));
        }
        self.releases = releases;
        Ok(())
    }

    fn delete(self: Box<Self>, why: Removal) -> Result<(), StoreError> {
        let deed = Deed::removing(&self.id, &self.held, why, &self.by);
        let deleted = self.postgres.run(async |client| {
            let transaction = client.transaction().await?;
            make_durable(&transaction).await?;
            let sql = "DELETE FROM held WHERE id = $1 AND lease = $2";
            let deleted = execute(&transaction, sql, &[&self.id.as_str(), &self.number]).await?;
            if let (Some(deed), 1..) = (&deed, deleted) {
                deeds::note(&transaction, deed).await?;
            }
            transaction.commit().await?;
            Ok(deleted)
        })?;
        if deleted > 0 { Ok(()) } else { Err(StoreError::UnknownId(self.id.clone())) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewal.abort();
        let given_back = self.postgres.run(async |client| {
            let sql = "UPDATE held SET lease = NULL, leased_by = NULL, leased_until = NULL
                       WHERE id = $1 AND lease = $2";
            Ok(execute(client, sql, &[&self.id.as_str(), &self.number]).await?)
        });
        if let Err(error) = given_back {
            warn!(id = %self.id, %error, "nobody can release this message for {LEASE}");
        }
    }
}

/// Renews a lease for as long as it is had.
async fn renew(postgres: Postgres, id: HeldId, number: i64) {
    loop {
        tokio::time::sleep(RENEWAL).await;
        let renewed = postgres
            .with(RENEWAL, async |client| {
                let sql = format!(
                    "UPDATE held SET leased_until = now() + interval '{LEASE}' WHERE id = $1 AND lease = $2"
                );
                Ok(execute(client, &sql, &[&id.as_str(), &number]).await?)
            })
            .await;
        match renewed {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => warn!(%id, %error, "the lease on a held message cannot be renewed"),
        }
    }
}
