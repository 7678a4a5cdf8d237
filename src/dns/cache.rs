//! What was heard, remembered for as long as the records say, and absences for as long as their zone says (RFC 2308 §5).
//! What counts is octets: names and texts are a stranger's, and so is how many there are. The oldest fall out.
//!
//! hickory's own cache is not used: it remembers no absence while it validates, and forgets the alias by which it came to
//! a record, which then cannot be told from a stranger's.

use std::time::{Duration, Instant};

use hickory_resolver::proto::rr::Name;
use moka::Expiry;
use moka::policy::EvictionPolicy;

/// Nothing is remembered longer than this, whatever its record says: a revoked key, and a domain that begins to seal,
/// want to be seen.
const MAX_TTL: Duration = Duration::from_secs(3_600);

/// What a name costs besides its octets: its entry, its place in the order of age, and what the allocator adds.
const ENTRY: usize = 512;

/// What a text costs besides its octets.
const TEXT: usize = 48;

/// The texts at a name, none if there are none, and whether DNSSEC proved that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// One for each record.
    pub(super) texts: Vec<String>,
    /// Whether they, or their absence, are proved.
    pub(super) secure: bool,
}

/// What was heard of each name, and for how long it holds.
#[derive(Debug)]
pub(super) struct Cache(moka::sync::Cache<Name, (Duration, Heard)>);

impl Cache {
    /// Remembers so many octets.
    pub(super) fn new(octets: u64) -> Self {
        let cache = moka::sync::Cache::builder()
            .max_capacity(octets)
            .weigher(|name: &Name, (_, heard): &(Duration, Heard)| weight(name, heard))
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(Ttl);
        Self(cache.build())
    }

    /// What was heard of a name, if it still holds.
    pub(super) fn get(&self, name: &Name) -> Option<Heard> {
        self.0.get(name).map(|(_, heard)| heard)
    }

    /// Remembers for `ttl` seconds.
    pub(super) fn insert(&self, name: &Name, heard: &Heard, ttl: u32) {
        let ttl = Duration::from_secs(ttl.into()).min(MAX_TTL);
        if !ttl.is_zero() {
            self.0.insert(name.clone(), (ttl, heard.clone()));
        }
    }
}

fn weight(name: &Name, heard: &Heard) -> u32 {
    let texts: usize = heard.texts.iter().map(|text| text.capacity() + TEXT).sum();
    u32::try_from(ENTRY + 2 * name.len() + texts).unwrap_or(u32::MAX)
}

struct Ttl;

impl Expiry<Name, (Duration, Heard)> for Ttl {
    fn expire_after_create(&self, _: &Name, (ttl, _): &(Duration, Heard), _: Instant) -> Option<Duration> {
        Some(*ttl)
    }

    fn expire_after_update(
        &self,
        _: &Name,
        (ttl, _): &(Duration, Heard),
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(*ttl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: usize) -> Name {
        Name::from_ascii(format!("n{n}.example.")).unwrap()
    }

    /// As much as one name can hold, for thousands of names: 64 KiB each.
    #[test]
    fn counts_octets_and_lets_the_oldest_go() {
        let limit = 1 << 20;
        let cache = Cache::new(limit);
        let heard = Heard { texts: vec!["x".repeat(4096); 16], secure: false };
        for n in 0..1_000 {
            cache.insert(&name(n), &heard, 300);
        }
        cache.0.run_pending_tasks();
        assert!(cache.0.weighted_size() <= limit, "{}", cache.0.weighted_size());
        assert_eq!(cache.get(&name(0)), None);
        assert_eq!(cache.get(&name(999)), Some(heard), "the newest is still there");
    }

    #[test]
    fn small_answers_are_remembered_by_the_thousand() {
        let cache = Cache::new(4 << 20);
        let heard = Heard { texts: vec!["v=SEAL1; p=".to_owned()], secure: true };
        for n in 0..5_000 {
            cache.insert(&name(n), &heard, 300);
        }
        cache.0.run_pending_tasks();
        assert!((0..5_000).all(|n| cache.get(&name(n)).is_some()));
    }

    #[test]
    fn forgets_in_time() {
        let cache = Cache::new(1 << 20);
        let heard = Heard { texts: Vec::new(), secure: false };
        cache.insert(&name(1), &heard, 0);
        assert_eq!(cache.get(&name(1)), None);
        cache.insert(&name(2), &heard, 1);
        assert!(cache.get(&name(2)).is_some());
        std::thread::sleep(Duration::from_millis(1_100));
        assert_eq!(cache.get(&name(2)), None);
    }
}
