//! What was heard, remembered for as long as the records say, and absences for as long as their zone says (RFC 2308 §5).
//!
//! hickory's own cache is not used: it remembers no absence while it validates, and forgets the alias by which it came to
//! a record, which then cannot be told from a stranger's.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hickory_resolver::proto::rr::Name;

/// Names that are remembered.
const MAX_NAMES: usize = 10_000;

/// Nothing is remembered longer than this, whatever its record says: a revoked key, and a domain that begins to seal,
/// want to be seen.
const MAX_TTL: Duration = Duration::from_secs(3_600);

/// The texts at a name, none if there are none, and whether DNSSEC proved that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// One for each record.
    pub(super) texts: Vec<String>,
    /// Whether they, or their absence, are proved.
    pub(super) secure: bool,
}

/// What was heard of each name, and until when it holds.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<HashMap<Name, (Instant, Heard)>>);

impl Cache {
    /// What was heard of a name, if it still holds.
    pub(super) fn get(&self, name: &Name) -> Option<Heard> {
        let names = self.names();
        names.get(name).filter(|(until, _)| Instant::now() < *until).map(|(_, heard)| heard.clone())
    }

    /// Remembers for `ttl` seconds.
    pub(super) fn insert(&self, name: &Name, heard: &Heard, ttl: u32) {
        let now = Instant::now();
        let mut names = self.names();
        if names.len() >= MAX_NAMES {
            names.retain(|_, (until, _)| now < *until);
        }
        if names.len() >= MAX_NAMES {
            names.clear();
        }
        let until = now + Duration::from_secs(ttl.into()).min(MAX_TTL);
        names.insert(name.clone(), (until, heard.clone()));
    }

    fn names(&self) -> MutexGuard<'_, HashMap<Name, (Instant, Heard)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
