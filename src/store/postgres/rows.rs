//! The row of a held message: how it is listed and found.

use deadpool_postgres::GenericClient;
use tokio_postgres::{Error, Row};

use super::{execute, number, query};
use crate::store::held::{Held, HeldId, Listed, Listing, Releases, StoreError};
use crate::store::index::{Index, Marks, Wanted, time};

/// What is known of a message, as it is written down.
pub(super) fn facts(held: &Held) -> String {
    serde_json::to_string(held).expect("a held message's facts are strings and numbers")
}

pub(super) fn parse(id: &HeldId, facts: &str) -> Result<Held, StoreError> {
    serde_json::from_str(facts).map_err(|source| StoreError::Damaged { id: id.clone(), source })
}

/// Writes down what is known of a message whose row is there.
pub(super) async fn enter<C: GenericClient>(client: &C, id: &HeldId, held: &Held) -> Result<(), Error> {
    let Index { received, senders, recipients, domains, verdict, message_id } = Index::of(held);
    let sql =
        "UPDATE held SET size = $2, facts = $3, received = $4, senders = $5, recipients = $6, domains = $7,
                               verdict = $8, message_id = $9 WHERE id = $1";
    let (size, facts) = (number(held.size), facts(held));
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 9] =
        [&id.as_str(), &size, &facts, &received, &senders, &recipients, &domains, &verdict, &message_id];
    execute(client, sql, &values).await?;
    Ok(())
}

/// Notes how it is with a message.
pub(super) async fn mark<C: GenericClient>(
    client: &C,
    id: &HeldId,
    releases: &Releases,
) -> Result<(), Error> {
    let Marks { in_doubt, delivered, requested, keep } = Marks::of(releases);
    // Of what somebody keeps for a while, the removal is announced again.
    let sql = "UPDATE held SET in_doubt = $2, delivered = $3, requested = $4, keep = $5,
                               expires = CASE WHEN $5 THEN NULL ELSE expires END WHERE id = $1";
    execute(client, sql, &[&id.as_str(), &in_doubt, &delivered, &requested, &keep]).await?;
    Ok(())
}

const COLUMNS: &str = "id, facts, in_doubt, delivered, requested, keep, expires";

/// A row; or why its facts make no sense.
fn listed(row: &Row) -> Result<Result<Listed, StoreError>, Error> {
    let (id, facts): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
    let marks = Marks {
        in_doubt: row.try_get(2)?,
        delivered: row.try_get(3)?,
        requested: row.try_get(4)?,
        keep: row.try_get(5)?,
    };
    let expires: Option<i64> = row.try_get(6)?;
    let parsed = id.parse::<HeldId>().and_then(|id| {
        let held = parse(&id, facts)?;
        Ok(Listed { id, held, state: marks.state(), keep: marks.keep, expires: expires.map(time) })
    });
    Ok(parsed)
}

/// A page of what a filter wants.
pub(super) async fn list<C: GenericClient>(
    client: &C,
    wanted: &Wanted,
    after: Option<&HeldId>,
    limit: usize,
) -> Result<Listing, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM held
         WHERE ($1::TEXT IS NULL OR id > $1) AND ($2::TEXT IS NULL OR strpos(senders, $2) > 0)
           AND ($3::TEXT IS NULL OR strpos(recipients, $3) > 0) AND ($4::TEXT IS NULL OR strpos(domains, $4) > 0)
           AND ($5::TEXT IS NULL OR verdict = $5)
           AND ($6::BIGINT IS NULL OR received >= $6) AND ($7::BIGINT IS NULL OR received < $7)
           AND ($8::TEXT IS NULL OR message_id = $8) AND ($9::BIGINT IS NULL OR expires <= $9)
           AND CASE $10::TEXT WHEN 'in-doubt' THEN in_doubt > 0 WHEN 'partly' THEN delivered > 0
                        WHEN 'requested' THEN requested WHEN 'kept' THEN keep
                        WHEN 'held' THEN NOT (in_doubt > 0 OR delivered > 0 OR requested OR keep) ELSE TRUE END
         ORDER BY id LIMIT $11"
    );
    let page = number(u64::try_from(limit).unwrap_or(u64::MAX)).saturating_add(1);
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 11] = [
        &after.map(HeldId::as_str),
        &wanted.sender,
        &wanted.recipient,
        &wanted.domain,
        &wanted.verdict,
        &wanted.since,
        &wanted.until,
        &wanted.message_id,
        &wanted.expires,
        &wanted.state,
        &page,
    ];
    let rows = query(client, &sql, &values).await?;
    let mut listing = Listing::default();
    if rows.len() > limit
        && let Some(last) = limit.checked_sub(1).and_then(|last| rows.get(last))
    {
        listing.next = last.try_get::<_, &str>(0)?.parse().ok();
    }
    for row in rows.iter().take(limit) {
        match listed(row)? {
            Ok(listed) => listing.held.push(listed),
            Err(error) => listing.damaged.push(error),
        }
    }
    Ok(listing)
}

/// One message.
pub(super) async fn show<C: GenericClient>(
    client: &C,
    id: &HeldId,
) -> Result<Option<Result<Listed, StoreError>>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM held WHERE id = $1");
    query(client, &sql, &[&id.as_str()]).await?.first().map(listed).transpose()
}

/// Fills in what rows of an earlier version do not have.
pub(super) async fn complete<C: GenericClient>(client: &C) -> Result<u64, Error> {
    let mut completed = 0;
    let mut after = String::new();
    loop {
        let sql = "SELECT id, facts FROM held WHERE received IS NULL AND id > $1 ORDER BY id LIMIT 100";
        let rows = query(client, sql, &[&after]).await?;
        let Some(last) = rows.last() else { return Ok(completed) };
        after = last.try_get(0)?;
        for row in &rows {
            let Ok(id) = row.try_get::<_, &str>(0)?.parse::<HeldId>() else { continue };
            // One whose facts make no sense is listed as damaged.
            if let Ok(held) = parse(&id, row.try_get(1)?) {
                enter(client, &id, &held).await?;
                let releases = super::quarantine::releases(client, &id).await?;
                mark(client, &id, &releases).await?;
                completed += 1;
            }
        }
    }
}
