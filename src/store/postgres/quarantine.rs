//! Held mail, in PostgreSQL: a message's facts in one row, its octets in pieces, so that any gateway can release it.

use std::io::{self, Read};

use deadpool_postgres::GenericClient;
use jiff::Timestamp;
use tokio_postgres::Error;

use super::claim::Lease;
use super::rows::{self, facts};
use super::{Postgres, WRITING, deeds, execute, outbox, query, whole};
use crate::store::audit::{By, Deed};
use crate::store::filling::{Level, Share, Taken};
use crate::store::held::{
    Filter, Held, HeldId, HoldError, Incomplete, Kept, Listed, Listing, Missing, Release, Releases,
    StoreError, Usage,
};
use crate::store::index::{Wanted, seconds};
use crate::store::outbox::Letter;
use crate::store::quota::{Quota, Quotas};
use crate::store::state::{Claim, Quarantine};

/// Octets of a piece.
const PIECE: usize = 256 << 10;

/// Octets that a small message has, to see whether one could be written.
const TRIAL: [u8; 16 << 10] = [0; 16 << 10];

impl Quarantine for Postgres {
    fn hold(
        &self,
        quotas: &Quotas,
        held: &Held,
        letters: &[Letter],
        message: &mut dyn Read,
    ) -> Result<Kept, HoldError> {
        let id = HeldId::new(held.received, Some(&self.0.label))?;
        let share = |held: &Held, facts: &str| Share {
            message: held.size,
            meta: facts.len() as u64,
            verified: held.verified,
        };
        // Most of what does not fit is refused before it is written.
        let taken = self.run(async |client| Ok(taken(client).await?)).map_err(StoreError::from)?;
        let filling = self.fit(quotas, taken, share(held, &facts(held)))?;
        let written = self.run_for(WRITING, async |client| {
            let transaction = client.transaction().await?;
            make_durable(&transaction).await?;
            let sql = "INSERT INTO held (id, gateway, verified, size, facts) VALUES ($1, $2, $3, 0, '')";
            execute(&transaction, sql, &[&id.as_str(), &self.label(), &held.verified]).await?;
            let size = match write(&transaction, &id, message).await? {
                Ok(size) => size,
                Err(error) => return Ok(Err(error)),
            };
            let held = Held { size, ..held.clone() };
            let facts = facts(&held);
            rows::enter(&transaction, &id, &held).await?;
            // Of several gateways that hold at once, each sees what the others have held.
            execute(&transaction, "SELECT pg_advisory_xact_lock(hashtext('waxseal quarantine'))", &[])
                .await?;
            let others = taken_without(&transaction, &id).await?;
            let (level, filling) = others.fullest(quotas, share(&held, &facts));
            if level == Level::Full {
                return Ok(Err(StoreError::Full { unverified: filling.unverified }));
            }
            outbox::put(&transaction, letters, Some(&id)).await?;
            deeds::note(&transaction, &Deed::holding(&id, &held, &self.gateway())).await?;
            transaction.commit().await?;
            Ok(Ok(()))
        });
        match written {
            Ok(written) => written?,
            // Whether the last octet of the transaction arrived cannot be known from here.
            Err(error) => {
                if !self.is_held(&id) {
                    return Err(StoreError::from(error).into());
                }
            }
        }
        Ok(Kept { id, filling })
    }

    fn list(&self, filter: &Filter, after: Option<&HeldId>, limit: usize) -> Result<Listing, StoreError> {
        let wanted = Wanted::by(filter);
        Ok(self.run_for(WRITING, async |client| Ok(rows::list(client, &wanted, after, limit).await?))?)
    }

    fn incomplete(&self) -> Result<Vec<Incomplete>, StoreError> {
        let found = self.run_for(WRITING, async |client| {
            let sql = "SELECT id, count(number) FROM held LEFT JOIN held_piece ON held = id GROUP BY id
                       HAVING coalesce(sum(octet_length(octets)), 0) <> size ORDER BY id";
            let rows = query(client, sql, &[]).await?;
            let pair = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
            Ok(rows.iter().map(pair).collect::<Result<Vec<(String, i64)>, Error>>()?)
        })?;
        let missing = |pieces| if pieces == 0 { Missing::Octets } else { Missing::Size };
        found
            .into_iter()
            .map(|(id, pieces)| Ok(Incomplete { id: id.parse()?, what: missing(pieces) }))
            .collect()
    }

    fn usage(&self) -> Result<Usage, StoreError> {
        Ok(self.run(async |client| {
            let sql = "SELECT count(*), coalesce(sum(size), 0)::BIGINT, count(*) FILTER (WHERE NOT verified),
                              coalesce(sum(size) FILTER (WHERE NOT verified), 0)::BIGINT FROM held";
            let rows = query(client, sql, &[]).await?;
            let Some(row) = rows.first() else { return Ok(Usage::default()) };
            Ok(Usage {
                messages: whole(row.try_get(0)?),
                octets: whole(row.try_get(1)?),
                unverified_messages: whole(row.try_get(2)?),
                unverified_octets: whole(row.try_get(3)?),
            })
        })?)
    }

    fn check_writable(&self) -> Result<(), StoreError> {
        Ok(self.run(async |client| {
            let transaction = client.transaction().await?;
            execute(&transaction, "INSERT INTO trial (octets) VALUES ($1)", &[&&TRIAL[..]]).await?;
            transaction.rollback().await?;
            Ok(())
        })?)
    }

    fn show(&self, id: &HeldId) -> Result<Listed, StoreError> {
        let found = self.run(async |client| Ok(rows::show(client, id).await?))?;
        found.unwrap_or_else(|| Err(StoreError::UnknownId(id.clone())))
    }

    fn open_message(&self, id: &HeldId) -> Result<Box<dyn Read + Send>, StoreError> {
        let size = self.show(id)?.held.size;
        let pieces = Pieces {
            postgres: self.clone(),
            id: id.clone(),
            next: 0,
            piece: io::Cursor::default(),
            left: size,
        };
        Ok(Box::new(pieces))
    }

    fn releases(&self, id: &HeldId) -> Result<Releases, StoreError> {
        Ok(self.run(async |client| Ok(releases(client, id).await?))?)
    }

    fn claim(&self, id: &HeldId, by: &By) -> Result<Box<dyn Claim>, StoreError> {
        Ok(Box::new(Lease::take(self, id, by)?))
    }

    fn announce(&self, ids: &[HeldId], expires: Timestamp) -> Result<(), StoreError> {
        let ids: Vec<&str> = ids.iter().map(HeldId::as_str).collect();
        Ok(self.run(async |client| {
            let sql = "UPDATE held SET expires = $2 WHERE id = ANY ($1)";
            execute(client, sql, &[&ids, &seconds(expires)]).await?;
            Ok(())
        })?)
    }

    fn adopted(&self) -> Vec<HeldId> {
        Vec::new()
    }
}

impl Postgres {
    /// What is to be told of the quotas, or why a message does not fit.
    fn fit(
        &self,
        quotas: &Quotas,
        taken: Taken,
        share: Share,
    ) -> Result<Option<crate::store::Filling>, HoldError> {
        let (level, filling) = taken.fullest(quotas, share);
        let news = self.told().news(quotas, taken, (level, filling));
        match level {
            Level::Full => {
                Err(HoldError { error: StoreError::Full { unverified: filling.unverified }, filling: news })
            }
            Level::Calm | Level::Filling => Ok(news),
        }
    }

    fn is_held(&self, id: &HeldId) -> bool {
        let found = self.run(async |client| {
            Ok(query(client, "SELECT 1 FROM held WHERE id = $1", &[&id.as_str()]).await?.len())
        });
        matches!(found, Ok(1))
    }
}

/// Writes the octets down in pieces, and tells how many there are.
pub(super) async fn write<C: GenericClient>(
    client: &C,
    id: &HeldId,
    message: &mut dyn Read,
) -> Result<Result<u64, StoreError>, Error> {
    let (mut size, mut number) = (0_u64, 0_i32);
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        if let Err(error) = (&mut *message).take(PIECE as u64).read_to_end(&mut piece) {
            return Ok(Err(StoreError::at(std::path::Path::new("the message"))(error)));
        }
        if piece.is_empty() {
            return Ok(Ok(size));
        }
        let sql = "INSERT INTO held_piece (held, number, octets) VALUES ($1, $2, $3)";
        execute(client, sql, &[&id.as_str(), &number, &piece]).await?;
        size += piece.len() as u64;
        number += 1;
    }
}

/// A server that was told not to wait for its disk waits all the same, where we have promised to keep something.
pub(super) async fn make_durable<C: GenericClient>(client: &C) -> Result<(), Error> {
    let sql = "SELECT set_config('synchronous_commit', 'on', TRUE)
               WHERE current_setting('synchronous_commit') = 'off'";
    execute(client, sql, &[]).await?;
    Ok(())
}

const TAKEN: &str = "SELECT count(*), coalesce(sum(size + octet_length(facts)), 0)::BIGINT,
    count(*) FILTER (WHERE NOT verified),
    coalesce(sum(size + octet_length(facts)) FILTER (WHERE NOT verified), 0)::BIGINT FROM held WHERE id <> $1";

async fn taken<C: GenericClient>(client: &C) -> Result<Taken, Error> {
    of_row(&query(client, TAKEN, &[&""]).await?)
}

async fn taken_without<C: GenericClient>(client: &C, id: &HeldId) -> Result<Taken, Error> {
    of_row(&query(client, TAKEN, &[&id.as_str()]).await?)
}

fn of_row(rows: &[tokio_postgres::Row]) -> Result<Taken, Error> {
    let Some(row) = rows.first() else { return Ok(Taken::NOTHING) };
    let quota = |messages, octets| -> Result<Quota, Error> {
        Ok(Quota { messages: whole(row.try_get(messages)?), octets: whole(row.try_get(octets)?) })
    };
    Ok(Taken { all: quota(0, 1)?, unverified: quota(2, 3)? })
}

/// The steps of releases that were written down.
pub(super) async fn releases<C: GenericClient>(client: &C, id: &HeldId) -> Result<Releases, Error> {
    let sql = "SELECT step FROM release WHERE held = $1 ORDER BY number";
    let mut releases = Releases::default();
    for row in query(client, sql, &[&id.as_str()]).await? {
        if let Ok(step) = serde_json::from_str::<Release>(row.try_get(0)?) {
            releases.take(step);
        }
    }
    Ok(releases)
}

/// A held message, read piece by piece.
struct Pieces {
    postgres: Postgres,
    id: HeldId,
    next: i32,
    piece: io::Cursor<Vec<u8>>,
    /// Octets that are still to come.
    left: u64,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.piece.read(buffer)?;
        if read > 0 || buffer.is_empty() || self.left == 0 {
            self.left = self.left.saturating_sub(read as u64);
            return Ok(read);
        }
        let (id, next) = (&self.id, self.next);
        let piece: Option<Vec<u8>> = self
            .postgres
            .run(async |client| {
                let sql = "SELECT octets FROM held_piece WHERE held = $1 AND number = $2";
                let rows = query(client, sql, &[&id.as_str(), &next]).await?;
                Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
            })
            .map_err(io::Error::other)?;
        // Somebody may have released it meanwhile; half a message is none.
        let piece = piece.filter(|piece| !piece.is_empty()).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.piece = io::Cursor::new(piece);
        self.next += 1;
        self.read(buffer)
    }
}
