//! What the gateways remember, in PostgreSQL: looked up before a message is judged, and taught by it afterwards. The rules are
//! those of the adapter `sqlite`, and the conformance suite holds both to them.

use attachment_seal::domain::DomainName;
use attachment_seal::seal::key::PublicKey;
use attachment_seal::seal::remembered::{Memory, PASSES, Remembered, RememberedKey};
use attachment_seal::verdict::lesson::{Lesson, Observation};
use deadpool_postgres::GenericClient;
use tokio_postgres::{Error, Row};

use super::{execute, number, query, whole};
use crate::store::memories::{
    ACCEPTED, Bounds, DELEGATED, EVICTED, FORGOTTEN, Learned, MAX_KEYS, MAX_OFFERED, OFFERED, REVOKED,
    Sighting, organisation,
};

/// What is remembered of these domains.
pub(super) async fn recall<C: GenericClient>(
    client: &C,
    domains: &[DomainName],
    now: u64,
) -> Result<Memory, Error> {
    let mut memory = Memory { now, ..Memory::default() };
    let names: Vec<&str> = domains.iter().map(DomainName::as_str).collect();
    let sql = "SELECT domain.name, pass1, pass2, pass3, key.key, key.state, key.last_seen, key.is_root
               FROM domain LEFT JOIN key ON key.domain = domain.name AND key.state <> 'offered'
               WHERE domain.name = ANY ($1)";
    for row in query(client, sql, &[&names]).await? {
        let Ok(name) = DomainName::from_canonical(&row.try_get::<_, String>(0)?) else { continue };
        let remembered = match memory.domains.entry(name) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(Remembered { passes: passes(&row, 1)?, ..Remembered::default() })
            }
        };
        let Some(key) = row.try_get::<_, Option<Vec<u8>>>(4)? else { continue };
        // Only keys are written; what is none was damaged, and proves nothing.
        let Ok(key) = PublicKey::from_octets(&key) else { continue };
        let state: String = row.try_get(5)?;
        remembered.keys.push(RememberedKey {
            key,
            is_root: row.try_get(7)?,
            last_seen: whole(row.try_get(6)?),
            delegated: state == DELEGATED,
            revoked: state == REVOKED,
        });
    }
    Ok(memory)
}

/// When a domain passed, from the first of these columns on.
fn passes(row: &Row, first: usize) -> Result<Vec<u64>, Error> {
    let passes = (first..first + PASSES).map(|column| row.try_get::<_, Option<i64>>(column));
    passes.filter_map(Result::transpose).map(|pass| pass.map(whole)).collect()
}

/// Takes a message's lesson in. Tells whether there was no room for a domain that is new.
pub(super) async fn learn<C: GenericClient>(
    client: &C,
    observation: &Observation,
    bounds: Bounds,
) -> Result<Learned, Error> {
    let Observation { at, verdict, lesson } = observation;
    match lesson {
        Lesson::Sealed { domain, selector, key, root, passed, author, pinned } => {
            if !is_remembered(client, domain).await? && !make_room(client, domain, *at, bounds).await? {
                return Ok(Learned::NoRoom);
            }
            see(client, domain, *at, *pinned).await?;
            count(client, domain, verdict).await?;
            if *passed {
                note_pass(client, domain, *at).await?;
            }
            // What a root vouched for dies with its statement, and is remembered as such.
            let state = if root.is_some() { DELEGATED } else { ACCEPTED };
            let seen = Sighting { domain, selector, key, is_root: false, at: *at, state };
            accept(client, &seen).await?;
            if let Some(root) = root {
                accept(client, &Sighting { key: root, is_root: true, state: ACCEPTED, ..seen }).await?;
            }
            if let Some(author) = author {
                see_author(client, author, *at, bounds).await?;
            }
        }
        Lesson::Offered { domain, selector, key } if is_remembered(client, domain).await? => {
            count(client, domain, verdict).await?;
            offer(client, &Sighting { domain, selector, key, is_root: false, at: *at, state: OFFERED })
                .await?;
        }
        Lesson::Revoked { domain, selector } => {
            count(client, domain, verdict).await?;
            let sql = "UPDATE key SET state = $3 WHERE domain = $1 AND selector = $2 AND NOT is_root";
            execute(client, sql, &[&domain.as_str(), &selector.as_str(), &REVOKED]).await?;
        }
        Lesson::Counted { author: domain } | Lesson::Offered { domain, .. } => {
            count(client, domain, verdict).await?;
        }
    }
    Ok(Learned::Taken)
}

async fn is_remembered<C: GenericClient>(client: &C, domain: &DomainName) -> Result<bool, Error> {
    let found = query(client, "SELECT 1 FROM domain WHERE name = $1", &[&domain.as_str()]).await?;
    Ok(!found.is_empty())
}

/// Whether there is room for a domain that is new; those seen for less than three days give way, the longest unseen first.
async fn make_room<C: GenericClient>(
    client: &C,
    domain: &DomainName,
    now: u64,
    bounds: Bounds,
) -> Result<bool, Error> {
    let organisation = organisation(domain);
    let sql = "SELECT (SELECT count(*) FROM domain WHERE organisation = $1), (SELECT count(*) FROM domain)";
    let counts = query(client, sql, &[&organisation.as_str()]).await?;
    let (of_organisation, all) = match counts.first() {
        Some(row) => (whole(row.try_get(0)?), whole(row.try_get(1)?)),
        None => (0, 0),
    };
    if of_organisation >= bounds.of_organisation {
        return Ok(false);
    }
    if all < bounds.domains {
        return Ok(true);
    }
    let sql = "DELETE FROM domain WHERE name IN
               (SELECT name FROM domain WHERE NOT pinned AND last_seen - first_seen < 259200 AND first_seen <= $2
                ORDER BY last_seen LIMIT $1)";
    let most = number(EVICTED.min(bounds.domains / 10).max(1));
    Ok(execute(client, sql, &[&most, &number(now)]).await? > 0)
}

async fn see<C: GenericClient>(client: &C, domain: &DomainName, at: u64, pinned: bool) -> Result<(), Error> {
    let sql =
        "INSERT INTO domain (name, organisation, first_seen, last_seen, pinned) VALUES ($1, $2, $3, $3, $4)
               ON CONFLICT (name) DO UPDATE SET last_seen = greatest(domain.last_seen, excluded.last_seen),
                                                pinned = domain.pinned OR excluded.pinned";
    let organisation = organisation(domain);
    execute(client, sql, &[&domain.as_str(), &organisation.as_str(), &number(at), &pinned]).await?;
    Ok(())
}

async fn note_pass<C: GenericClient>(client: &C, domain: &DomainName, at: u64) -> Result<(), Error> {
    let sql = "SELECT pass1, pass2, pass3 FROM domain WHERE name = $1";
    let Some(row) = query(client, sql, &[&domain.as_str()]).await?.pop() else { return Ok(()) };
    let mut remembered = Remembered { passes: passes(&row, 0)?, ..Remembered::default() };
    remembered.note_pass(at);
    let pass = |index: usize| remembered.passes.get(index).copied().map(number);
    let sql = "UPDATE domain SET pass1 = $2, pass2 = $3, pass3 = $4 WHERE name = $1";
    execute(client, sql, &[&domain.as_str(), &pass(0), &pass(1), &pass(2)]).await?;
    Ok(())
}

/// Remembers of a domain that a parent's seal covers its mail: no unsigned answer makes it seal for itself from then on.
/// Half of its organisation's room is left for domains that seal.
async fn see_author<C: GenericClient>(
    client: &C,
    author: &DomainName,
    at: u64,
    bounds: Bounds,
) -> Result<(), Error> {
    let bounds = Bounds { of_organisation: bounds.of_organisation / 2, ..bounds };
    if is_remembered(client, author).await? || make_room(client, author, at, bounds).await? {
        see(client, author, at, false).await?;
    }
    Ok(())
}

/// Counts a verdict, where the domain is remembered.
async fn count<C: GenericClient>(client: &C, domain: &DomainName, verdict: &str) -> Result<(), Error> {
    let sql = "INSERT INTO tally (domain, verdict, count) SELECT name, $2, 1 FROM domain WHERE name = $1
               ON CONFLICT (domain, verdict) DO UPDATE SET count = tally.count + 1";
    execute(client, sql, &[&domain.as_str(), &verdict]).await?;
    Ok(())
}

/// A key that was proved. A revoked one that DNSSEC, a pin or a root proves again is good again.
async fn accept<C: GenericClient>(client: &C, seen: &Sighting<'_>) -> Result<(), Error> {
    put(client, seen).await?;
    trim(client, seen.domain, "state <> 'offered'", MAX_KEYS).await
}

async fn offer<C: GenericClient>(client: &C, seen: &Sighting<'_>) -> Result<(), Error> {
    let sql = "SELECT state FROM key WHERE domain = $1 AND key = $2";
    let known = query(client, sql, &[&seen.domain.as_str(), &&seen.key.as_octets()[..]]).await?;
    let state: Option<String> = known.first().map(|row| row.try_get(0)).transpose()?;
    // A revoked key stays one; an administrator may approve it all the same.
    if state.is_none_or(|state| state == OFFERED) {
        put(client, seen).await?;
    }
    trim(client, seen.domain, "state = 'offered'", MAX_OFFERED).await
}

async fn put<C: GenericClient>(client: &C, seen: &Sighting<'_>) -> Result<(), Error> {
    let sql = "INSERT INTO key (domain, key, selector, state, is_root, first_seen, last_seen)
               VALUES ($1, $2, $3, $4, $6, $5, $5)
               ON CONFLICT (domain, key) DO UPDATE
               SET selector = excluded.selector, is_root = key.is_root OR excluded.is_root,
                   last_seen = greatest(key.last_seen, excluded.last_seen),
                   state = CASE WHEN key.state = 'accepted' AND excluded.state = 'delegated' THEN key.state
                                ELSE excluded.state END";
    let Sighting { domain, selector, key, is_root, at, state } = *seen;
    let octets = &key.as_octets()[..];
    let (domain, selector, at) = (domain.as_str(), selector.as_str(), number(at));
    execute(client, sql, &[&domain, &octets, &selector, &state, &at, &is_root]).await?;
    Ok(())
}

/// Forgets the longest unseen keys of a domain beyond so many.
async fn trim<C: GenericClient>(client: &C, domain: &DomainName, which: &str, max: u64) -> Result<(), Error> {
    let sql = format!(
        "DELETE FROM key WHERE domain = $1 AND {which} AND key IN
         (SELECT key FROM key WHERE domain = $1 AND {which} ORDER BY last_seen DESC OFFSET $2)"
    );
    execute(client, &sql, &[&domain.as_str(), &number(max)]).await?;
    Ok(())
}

/// Forgets what nobody has seen for long.
pub(super) async fn forget_old<C: GenericClient>(client: &C, now: u64) -> Result<u64, Error> {
    let sql = "DELETE FROM domain WHERE NOT pinned AND last_seen < $1";
    execute(client, sql, &[&number(now.saturating_sub(FORGOTTEN))]).await
}
