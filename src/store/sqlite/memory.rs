//! What the gateway remembers, in SQLite: looked up before a message is judged, and taught by it afterwards.

use attachment_seal::domain::DomainName;
use attachment_seal::seal::key::PublicKey;
use attachment_seal::seal::remembered::{Memory, PASSES, Remembered, RememberedKey};
use attachment_seal::verdict::lesson::{Lesson, Observation};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::database::GIVES_WAY;
use crate::store::error::DatabaseError;
use crate::store::memories::{
    ACCEPTED, Bounds, DELEGATED, EVICTED, FORGOTTEN, Learned, MAX_KEYS, MAX_OFFERED, OFFERED, REVOKED,
    Sighting, organisation,
};

/// What the gateway remembers of the domains that a message names.
pub(super) fn recall(
    connection: &Connection,
    domains: &[DomainName],
    now: u64,
) -> Result<Memory, DatabaseError> {
    let mut memory = Memory { now, ..Memory::default() };
    let mut keys = connection.prepare_cached(
        "SELECT key, state, last_seen, is_root FROM key WHERE domain = ?1 AND state <> 'offered'",
    )?;
    for domain in domains {
        let Some(passes) = passes(connection, domain)? else { continue };
        let mut remembered = Remembered { passes, ..Remembered::default() };
        let mut rows = keys.query([domain.as_str()])?;
        while let Some(row) = rows.next()? {
            let key: Vec<u8> = row.get(0)?;
            // Only keys are written; what is none was damaged, and proves nothing.
            let Ok(key) = PublicKey::from_octets(&key) else { continue };
            let state: String = row.get(1)?;
            remembered.keys.push(RememberedKey {
                key,
                is_root: row.get(3)?,
                last_seen: row.get(2)?,
                delegated: state == DELEGATED,
                revoked: state == REVOKED,
            });
        }
        memory.domains.insert(domain.clone(), remembered);
    }
    Ok(memory)
}

/// When the newest passes of a domain were; `None` where nothing is remembered of it.
fn passes(connection: &Connection, domain: &DomainName) -> rusqlite::Result<Option<Vec<u64>>> {
    let times = |row: &Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?]);
    let mut query = connection.prepare_cached("SELECT pass1, pass2, pass3 FROM domain WHERE name = ?1")?;
    let found: Option<[Option<u64>; PASSES]> = query.query_row([domain.as_str()], times).optional()?;
    Ok(found.map(|times| times.into_iter().flatten().collect()))
}

/// Takes a message's lesson in. Says whether there was no room for a domain that is new.
pub(super) fn learn(
    connection: &Connection,
    observation: &Observation,
    bounds: Bounds,
) -> rusqlite::Result<Learned> {
    let Observation { at, verdict, lesson } = observation;
    match lesson {
        Lesson::Sealed { domain, selector, key, root, passed, author, pinned } => {
            if !is_remembered(connection, domain)? && !make_room(connection, domain, *at, bounds)? {
                return Ok(Learned::NoRoom);
            }
            see(connection, domain, *at, *pinned)?;
            count(connection, domain, verdict)?;
            if *passed {
                note_pass(connection, domain, *at)?;
            }
            // What a root vouched for dies with its statement, and is remembered as such.
            let state = if root.is_some() { DELEGATED } else { ACCEPTED };
            let seen = Sighting { domain, selector, key, is_root: false, at: *at, state };
            accept(connection, &seen)?;
            if let Some(root) = root {
                accept(connection, &Sighting { key: root, is_root: true, state: ACCEPTED, ..seen })?;
            }
            if let Some(author) = author {
                see_author(connection, author, *at, bounds)?;
            }
        }
        Lesson::Offered { domain, selector, key } if is_remembered(connection, domain)? => {
            count(connection, domain, verdict)?;
            offer(connection, &Sighting { domain, selector, key, is_root: false, at: *at, state: OFFERED })?;
        }
        Lesson::Revoked { domain, selector } => {
            count(connection, domain, verdict)?;
            connection.execute(
                "UPDATE key SET state = ?3 WHERE domain = ?1 AND selector = ?2 AND is_root = 0",
                params![domain.as_str(), selector.as_str(), REVOKED],
            )?;
        }
        Lesson::Counted { author: domain } | Lesson::Offered { domain, .. } => {
            count(connection, domain, verdict)?;
        }
    }
    Ok(Learned::Taken)
}

fn is_remembered(connection: &Connection, domain: &DomainName) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM domain WHERE name = ?1")?.exists([domain.as_str()])
}

/// Whether there is room for a domain that is new; those seen for less than three days give way, the longest unseen first.
fn make_room(
    connection: &Connection,
    domain: &DomainName,
    now: u64,
    bounds: Bounds,
) -> rusqlite::Result<bool> {
    let organisation = organisation(domain);
    let of_organisation: u64 = connection.query_row(
        "SELECT count(*) FROM domain WHERE organisation = ?1",
        [organisation.as_str()],
        |row| row.get(0),
    )?;
    if of_organisation >= bounds.of_organisation {
        return Ok(false);
    }
    // Counting goes through an index of 100,000 entries at most: well under a millisecond, and only for newcomers.
    let all: u64 = connection.query_row("SELECT count(*) FROM domain", [], |row| row.get(0))?;
    if all < bounds.domains {
        return Ok(true);
    }
    let evicted = connection.execute(&evict(), params![EVICTED.min(bounds.domains / 10).max(1), now])?;
    Ok(evicted > 0)
}

fn evict() -> String {
    format!(
        "DELETE FROM domain WHERE name IN
         (SELECT name FROM domain WHERE {GIVES_WAY} AND first_seen <= ?2 ORDER BY last_seen LIMIT ?1)"
    )
}

fn see(connection: &Connection, domain: &DomainName, at: u64, pinned: bool) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO domain (name, organisation, first_seen, last_seen, pinned) VALUES (?1, ?2, ?3, ?3, ?4)
         ON CONFLICT (name) DO UPDATE SET last_seen = max(last_seen, ?3), pinned = max(pinned, ?4)",
    )?;
    statement.execute(params![domain.as_str(), organisation(domain).as_str(), at, pinned])?;
    Ok(())
}

fn note_pass(connection: &Connection, domain: &DomainName, at: u64) -> rusqlite::Result<()> {
    let passes = passes(connection, domain)?.unwrap_or_default();
    let mut remembered = Remembered { passes, ..Remembered::default() };
    remembered.note_pass(at);
    let pass = |index| remembered.passes.get(index);
    let mut statement =
        connection.prepare_cached("UPDATE domain SET pass1 = ?2, pass2 = ?3, pass3 = ?4 WHERE name = ?1")?;
    statement.execute(params![domain.as_str(), pass(0), pass(1), pass(2)])?;
    Ok(())
}

/// Remembers of a domain that a parent's seal covers its mail: no unsigned answer makes it seal for itself from then on.
/// Half of its organisation's room is left for domains that seal.
fn see_author(connection: &Connection, author: &DomainName, at: u64, bounds: Bounds) -> rusqlite::Result<()> {
    let bounds = Bounds { of_organisation: bounds.of_organisation / 2, ..bounds };
    if is_remembered(connection, author)? || make_room(connection, author, at, bounds)? {
        see(connection, author, at, false)?;
    }
    Ok(())
}

/// Counts a verdict, where the domain is remembered.
fn count(connection: &Connection, domain: &DomainName, verdict: &str) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO tally (domain, verdict, count) SELECT name, ?2, 1 FROM domain WHERE name = ?1
         ON CONFLICT (domain, verdict) DO UPDATE SET count = count + 1",
    )?;
    statement.execute(params![domain.as_str(), verdict])?;
    Ok(())
}

/// A key that was proved. A revoked one that DNSSEC, a pin or a root proves again is good again.
fn accept(connection: &Connection, seen: &Sighting<'_>) -> rusqlite::Result<()> {
    put(connection, seen)?;
    trim(connection, seen.domain, "state <> 'offered'", MAX_KEYS)
}

fn offer(connection: &Connection, seen: &Sighting<'_>) -> rusqlite::Result<()> {
    let state: Option<String> = connection
        .query_row(
            "SELECT state FROM key WHERE domain = ?1 AND key = ?2",
            params![seen.domain.as_str(), seen.key.as_octets()],
            |row| row.get(0),
        )
        .optional()?;
    // A revoked key stays one; an administrator may approve it all the same.
    if state.is_none_or(|state| state == OFFERED) {
        put(connection, seen)?;
    }
    trim(connection, seen.domain, "state = 'offered'", MAX_OFFERED)
}

fn put(connection: &Connection, seen: &Sighting<'_>) -> rusqlite::Result<()> {
    let Sighting { domain, selector, key, is_root, at, state } = *seen;
    let mut statement = connection.prepare_cached(
        "INSERT INTO key (domain, key, selector, state, is_root, first_seen, last_seen) VALUES (?1, ?2, ?3, ?4, ?6, ?5, ?5)
         ON CONFLICT (domain, key) DO UPDATE
         SET selector = ?3, is_root = max(is_root, ?6), last_seen = max(last_seen, ?5),
             state = CASE WHEN state = 'accepted' AND ?4 = 'delegated' THEN state ELSE ?4 END",
    )?;
    statement.execute(params![domain.as_str(), key.as_octets(), selector.as_str(), state, at, is_root])?;
    Ok(())
}

/// Forgets the longest unseen keys of a domain beyond so many.
fn trim(connection: &Connection, domain: &DomainName, which: &str, max: u64) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(&format!(
        "DELETE FROM key WHERE domain = ?1 AND {which} AND key IN
             (SELECT key FROM key WHERE domain = ?1 AND {which} ORDER BY last_seen DESC LIMIT -1 OFFSET ?2)"
    ))?;
    statement.execute(params![domain.as_str(), max])?;
    Ok(())
}

/// Forgets what nobody has seen for long.
pub(super) fn forget_old(connection: &Connection, now: u64) -> rusqlite::Result<usize> {
    connection
        .execute("DELETE FROM domain WHERE pinned = 0 AND last_seen < ?1", [now.saturating_sub(FORGOTTEN)])
}

#[cfg(test)]
mod tests {
    use attachment_seal::domain::Selector;
    use attachment_seal::seal::key::SealingKey;
    use tempfile::TempDir;

    use super::super::database::{self, Access, Database};
    use super::*;
    use crate::store::{KeyState, Memories};

    const NOW: u64 = 1_795_392_000;
    const DAY: u64 = 86_400;

    fn made() -> (TempDir, Connection) {
        let state = tempfile::tempdir().unwrap();
        let connection = database::open_or_make(state.path()).unwrap();
        (state, connection)
    }

    fn key(seed: u8) -> PublicKey {
        SealingKey::from_seed(&[seed; 32]).public()
    }

    fn domain(text: &str) -> DomainName {
        text.parse().unwrap()
    }

    /// A root is remembered beside the key that it vouched for.
    #[test]
    fn remembers_roots_as_such() {
        let (state, connection) = made();
        let mut vouched = sealed("a.example", 1, NOW);
        if let Lesson::Sealed { root, .. } = &mut vouched.lesson {
            *root = Some(key(2));
        }
        learn_all(&connection, &[vouched]);
        let mut kinds: Vec<_> = recall(&connection, &[domain("a.example")], NOW).unwrap().domains
            [&domain("a.example")]
            .keys
            .iter()
            .map(|known| (known.is_root, known.key == key(2)))
            .collect();
        kinds.sort_unstable();
        assert_eq!(kinds, [(false, false), (true, true)]);
        drop(state);
    }

    fn sealed(name: &str, seed: u8, at: u64) -> Observation {
        let lesson = Lesson::Sealed {
            domain: domain(name),
            selector: "gate1".parse().unwrap(),
            key: key(seed),
            root: None,
            passed: true,
            author: None,
            pinned: false,
        };
        Observation { at, verdict: "pass", lesson }
    }

    fn learn_all(connection: &Connection, observations: &[Observation]) {
        for observation in observations {
            learn(connection, observation, Bounds::default()).unwrap();
        }
    }

    #[test]
    fn remembers_across_a_restart() {
        let (state, connection) = made();
        let offered =
            Lesson::Offered { domain: domain("a.example"), selector: "x".parse().unwrap(), key: key(2) };
        let counted = |name| Lesson::Counted { author: domain(name) };
        learn_all(
            &connection,
            &[
                sealed("a.example", 1, NOW),
                sealed("a.example", 1, NOW + 1),
                sealed("a.example", 1, NOW + 2),
                sealed("a.example", 1, NOW + 3),
                Observation { at: NOW + 4, verdict: "key-changed", lesson: offered },
                Observation { at: NOW + 5, verdict: "missing", lesson: counted("a.example") },
                Observation { at: NOW + 5, verdict: "none", lesson: counted("stranger.example") },
            ],
        );
        drop(connection);
        let memories = Database::new(state.path(), Access::Change);
        let [record] = memories.list(None, NOW).unwrap().try_into().unwrap();
        assert_eq!(
            (record.name.as_str(), record.first_seen, record.last_seen, record.seals),
            ("a.example", NOW, NOW + 3, true)
        );
        let counts: Vec<_> =
            record.counts.iter().map(|(verdict, count)| (verdict.as_str(), *count)).collect();
        assert_eq!(counts, [("key-changed", 1), ("missing", 1), ("pass", 4)]);
        let keys: Vec<_> = record.keys.iter().map(|key| (key.key, key.state, key.first_seen)).collect();
        assert_eq!(keys, [(key(2), KeyState::Offered, NOW + 4), (key(1), KeyState::Accepted, NOW)]);

        let recalled = |memories: &dyn Memories| {
            let memory = memories.recall(&[domain("a.example")], NOW).unwrap();
            let mut keys: Vec<_> =
                memory.domains[&domain("a.example")].keys.iter().map(|known| known.key).collect();
            keys.sort_by_key(|key| key.to_base64url());
            (keys.contains(&key(1)), keys.contains(&key(2)))
        };
        assert_eq!(recalled(&memories), (true, false), "what is only offered does not count");
        assert!(memories.approve(&domain("a.example"), &key(2), NOW).unwrap());
        assert_eq!(recalled(&memories), (true, true));
        assert!(!memories.approve(&domain("a.example"), &key(3), NOW).unwrap());
        assert!(memories.forget(&domain("a.example")).unwrap());
        assert!(memories.list(None, NOW).unwrap().is_empty());
    }

    #[test]
    fn a_revoked_key_stays_one_until_it_is_proved_or_approved() {
        let (_state, connection) = made();
        let (a, selector): (_, Selector) = (domain("a.example"), "gate1".parse().unwrap());
        let state = || {
            let memory = recall(&connection, std::slice::from_ref(&a), NOW).unwrap();
            memory.domains[&a].keys.first().map(|known| known.revoked)
        };
        let revoked = Lesson::Revoked { domain: a.clone(), selector: selector.clone() };
        let offered = Lesson::Offered { domain: a.clone(), selector, key: key(1) };
        learn_all(&connection, &[sealed("a.example", 1, NOW)]);
        assert_eq!(state(), Some(false));
        learn_all(
            &connection,
            &[
                Observation { at: NOW, verdict: "fail", lesson: revoked },
                Observation { at: NOW, verdict: "key-changed", lesson: offered },
            ],
        );
        assert_eq!(state(), Some(true));
        learn_all(&connection, &[sealed("a.example", 1, NOW)]);
        assert_eq!(state(), Some(false));
    }

    #[test]
    fn what_is_old_is_forgotten_unless_it_was_pinned() {
        let (_state, connection) = made();
        let mut pinned = sealed("pinned.example", 1, NOW);
        if let Lesson::Sealed { pinned, .. } = &mut pinned.lesson {
            *pinned = true;
        }
        learn_all(&connection, &[sealed("old.example", 1, NOW), sealed("new.example", 1, NOW + DAY), pinned]);
        assert_eq!(forget_old(&connection, NOW + 400 * DAY + 1).unwrap(), 1);
        for (name, remains) in [("old.example", false), ("new.example", true), ("pinned.example", true)] {
            assert_eq!(is_remembered(&connection, &domain(name)).unwrap(), remains, "{name}");
        }
        let keys: u64 = connection.query_row("SELECT count(*) FROM key", [], |row| row.get(0)).unwrap();
        assert_eq!(keys, 2, "keys go with their domain");
    }

    #[test]
    fn a_flood_of_domains_takes_no_room_from_those_known_for_days() {
        let (_state, connection) = made();
        let bounds = Bounds { domains: 50, of_organisation: 5 };
        let learn = |observation: &Observation| learn(&connection, observation, bounds).unwrap();
        for at in [NOW, NOW + 4 * DAY] {
            learn(&sealed("friend.example", 1, at));
        }
        for n in 0..500 {
            learn(&sealed(&format!("evil{n}.example"), 1, NOW + 5 * DAY + n));
        }
        // Wildcards in one organisation's DNS.
        let below: Vec<_> =
            (0..20).map(|n| learn(&sealed(&format!("d{n}.evil.example"), 1, NOW + 6 * DAY))).collect();
        assert_eq!(below.iter().filter(|learned| **learned == Learned::Taken).count(), 5);
        let all: u64 = connection.query_row("SELECT count(*) FROM domain", [], |row| row.get(0)).unwrap();
        assert!(all <= 50, "{all}");
        assert!(is_remembered(&connection, &domain("friend.example")).unwrap());

        // Nor do unsealed mail and forged seals leave anything.
        let before: u64 = connection.query_row("SELECT count(*) FROM tally", [], |row| row.get(0)).unwrap();
        for n in 0..100 {
            let lesson = Lesson::Counted { author: domain(&format!("none{n}.example")) };
            learn(&Observation { at: NOW, verdict: "none", lesson });
            let (domain, selector) = (domain(&format!("key{n}.example")), "x".parse().unwrap());
            let lesson = Lesson::Offered { domain, selector, key: key(1) };
            learn(&Observation { at: NOW, verdict: "key-changed", lesson });
        }
        let after: u64 = connection.query_row("SELECT count(*) FROM tally", [], |row| row.get(0)).unwrap();
        assert_eq!(after, before);
    }

    /// Hosts whose mail their organisation's gateway seals are many; they leave room for domains that seal.
    #[test]
    fn authors_below_take_half_of_the_room() {
        let (_state, connection) = made();
        let bounds = Bounds { domains: 50, of_organisation: 10 };
        let by = |name: &str, author: Option<String>| {
            let mut sealed = sealed(name, 1, NOW);
            if let Lesson::Sealed { author: below, .. } = &mut sealed.lesson {
                *below = author.map(|name| domain(&name));
            }
            learn(&connection, &sealed, bounds).unwrap()
        };
        for n in 0..20 {
            assert_eq!(by("a.example", Some(format!("h{n}.a.example"))), Learned::Taken);
        }
        let all: u64 = connection.query_row("SELECT count(*) FROM domain", [], |row| row.get(0)).unwrap();
        assert_eq!(all, 5);
        assert_eq!(by("sales.a.example", None), Learned::Taken);
        let of_host =
            &recall(&connection, &[domain("h0.a.example")], NOW).unwrap().domains[&domain("h0.a.example")];
        assert!(of_host.keys.is_empty() && of_host.passes.is_empty());
    }

    /// A memory full of domains that do not give way costs a newcomer no more than an empty one.
    #[test]
    fn who_gives_way_is_found_without_a_search() {
        let (_state, connection) = made();
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", evict())).unwrap();
        let steps = plan.query_map(params![1, NOW], |row| row.get::<_, String>(3)).unwrap();
        let steps: Vec<String> = steps.map(Result::unwrap).collect();
        assert!(steps.iter().any(|step| step.contains("domain_giving_way")), "{steps:?}");
    }

    #[test]
    fn keys_of_one_domain_are_limited() {
        let (_state, connection) = made();
        for seed in 0..40 {
            learn_all(&connection, &[sealed("a.example", seed, NOW + u64::from(seed))]);
            let (domain, selector) = (domain("a.example"), "x".parse().unwrap());
            let lesson = Lesson::Offered { domain, selector, key: key(100 + seed) };
            learn_all(
                &connection,
                &[Observation { at: NOW + u64::from(seed), verdict: "key-changed", lesson }],
            );
        }
        let count = |state: &str| -> u64 {
            let sql = "SELECT count(*) FROM key WHERE state = ?1";
            connection.query_row(sql, [state], |row| row.get(0)).unwrap()
        };
        assert_eq!((count(ACCEPTED), count(OFFERED)), (MAX_KEYS, MAX_OFFERED));
    }
}
