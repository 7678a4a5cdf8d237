//! Pins made by command, in PostgreSQL: one row with a version. A gateway keeps a copy in its folder, so that it can start while the
//! database is away.

use std::sync::atomic::Ordering;

use tracing::warn;

use super::{Access, Postgres, execute, query};
use crate::store::SaidPins;
use crate::store::error::{DatabaseError, Fault};
use crate::store::json_file::{JsonFile, Stamp};
use crate::store::pins::{PinsError, Said};

/// The copy, in the folder.
const COPY: &str = "pins-copy";

impl SaidPins for Postgres {
    fn place(&self) -> String {
        "the pins in the database".to_owned()
    }

    /// A second old at most: it is looked up every second, so that no message waits for it.
    fn stamp(&self) -> Result<Stamp, PinsError> {
        Ok(Stamp::numbered(self.0.health.pins.load(Ordering::Relaxed)))
    }

    fn read(&self) -> Result<Said, PinsError> {
        let found = self.run(async |client| {
            let rows = query(client, "SELECT content FROM said", &[]).await?;
            let row =
                rows.first().ok_or_else(|| DatabaseError::failed(Fault::Damaged, "table said is empty"))?;
            Ok(row.try_get::<_, String>(0)?)
        });
        let copy = JsonFile::new(&self.0.folder, COPY);
        match found {
            Ok(content) => {
                let said = self.parse(&content)?;
                if self.0.access == Access::Serve
                    && copy.read().ok().as_ref() != Some(&said)
                    && let Err(error) = copy.replace(&said)
                {
                    warn!(%error, "the gateway cannot start while the database is away: the pins made by command cannot be copied");
                }
                Ok(said)
            }
            Err(error @ DatabaseError::Failed { fault: Fault::Away, .. })
                if self.0.access == Access::Serve && copy.path().exists() =>
            {
                warn!(%error, "the pins made by command are those of the copy in the folder, until the database answers");
                Ok(copy.read()?)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn change(&self, change: &mut dyn FnMut(&mut Said)) -> Result<(), PinsError> {
        self.run(async |client| {
            let transaction = client.transaction().await?;
            let rows = query(&transaction, "SELECT content FROM said FOR UPDATE", &[]).await?;
            let content: String = rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
            let mut said = match self.parse(&content) {
                Ok(said) => said,
                Err(error) => return Ok(Err(error)),
            };
            change(&mut said);
            said.pins.sort_by(|one, other| one.domain.cmp(&other.domain));
            let content = serde_json::to_string(&said).expect("pins are strings and booleans");
            execute(&transaction, "UPDATE said SET version = version + 1, content = $1", &[&content]).await?;
            transaction.commit().await?;
            Ok(Ok(()))
        })?
    }
}

impl Postgres {
    fn parse(&self, content: &str) -> Result<Said, PinsError> {
        serde_json::from_str(content).map_err(|error| PinsError::Content {
            place: self.place(),
            domain: "all".to_owned(),
            reason: error.to_string(),
        })
    }
}
