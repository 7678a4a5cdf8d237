//! How much of the quotas is taken, with what is being written, so that two messages that arrive at once do not both get the last
//! room. Others release and delete: the database is asked again before anybody is told that it is full.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::store::filling::{Filling, Level, Share, Taken, Told};
use crate::store::held::{HeldId, StoreError};
use crate::store::quota::Quotas;

/// The database is asked no more often than this while it is nearly full.
const LOOK: Duration = Duration::from_secs(1);

/// What is held, as far as it is known, and what is being written.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    held: Option<(Taken, Instant)>,
    writing: HashMap<HeldId, Share>,
    told: Told,
}

impl Ledger {
    /// Takes room for a message, or says which quota is full. What is to be told besides is `Filling`; it is told once.
    pub(super) fn reserve(
        &mut self,
        look: impl FnOnce() -> Result<Taken, StoreError>,
        quotas: &Quotas,
        id: &HeldId,
        share: Share,
    ) -> Result<Option<Filling>, (StoreError, Option<Filling>)> {
        let is_good = |ledger: &Self| {
            ledger.held.is_some_and(|(held, looked)| {
                match ledger.with_writing(held).fullest(quotas, share).0 {
                    Level::Calm => true,
                    Level::Filling => looked.elapsed() < LOOK,
                    // Somebody may just have made room.
                    Level::Full => false,
                }
            })
        };
        if !is_good(self) {
            self.held = Some((look().map_err(|error| (error, None))?, Instant::now()));
        }
        let held = self.held.map_or(Taken::NOTHING, |(held, _)| held);
        let taken = self.with_writing(held);
        let (level, filling) = taken.fullest(quotas, share);
        let event = self.told.news(quotas, taken, (level, filling));
        if level == Level::Full {
            return Err((StoreError::Full { unverified: filling.unverified }, event));
        }
        self.writing.insert(id.clone(), share);
        Ok(event)
    }

    /// It is held, so many octets of it, or it is not.
    pub(super) fn settle(&mut self, id: &HeldId, held: Option<u64>) {
        if let (Some(share), Some(message)) = (self.writing.remove(id), held)
            && let Some((taken, _)) = &mut self.held
        {
            *taken = taken.and(Share { message, ..share });
        }
    }

    fn with_writing(&self, held: Taken) -> Taken {
        self.writing.values().fold(held, |taken, share| taken.and(*share))
    }
}
