//! The probes that `doctor` sent, in PostgreSQL: any machine of the site may compare them.

use std::io;

use super::{Postgres, execute, number, query};
use crate::store::Probes;
use crate::store::state::MAX_PROBES;

impl Probes for Postgres {
    fn keep(&self, id: &str, message: &[u8]) -> io::Result<String> {
        let kept = self.run(async |client| {
            execute(client, "INSERT INTO probe (id, message) VALUES ($1, $2)", &[&id, &message]).await?;
            // Ids begin with the time.
            let sql = "DELETE FROM probe WHERE id IN (SELECT id FROM probe ORDER BY id DESC OFFSET $1)";
            execute(client, sql, &[&number(MAX_PROBES as u64)]).await?;
            Ok(format!("{id} in the database"))
        });
        kept.map_err(io::Error::other)
    }

    fn read(&self, id: &str) -> io::Result<Vec<u8>> {
        let found = self.run(async |client| {
            let rows = query(client, "SELECT message FROM probe WHERE id = $1", &[&id]).await?;
            Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
        });
        found.map_err(io::Error::other)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
