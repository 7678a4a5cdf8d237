//! How much is held in the folder, counted, so that quotas can be kept.
//!
//! Others release and delete: the folder is looked at again before anybody is told that it is full.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::quarantine::{MESSAGE, META};
use crate::store::filling::{Filling, Level, Share, Taken, Told};
use crate::store::held::{Held, HeldId, StoreError, Usage};
use crate::store::quota::Quotas;

/// The folder is looked at no more often than this while it is full or nearly so.
const LOOK: Duration = Duration::from_secs(1);

/// What is held, as far as it is known, and what is being written.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    shares: HashMap<HeldId, Share>,
    writing: HashMap<HeldId, Share>,
    looked: Option<Instant>,
    told: Told,
}

impl Ledger {
    /// Takes room for a message, or says which quota is full. What is to be told besides is `Filling`; it is told once.
    pub(super) fn reserve(
        &mut self,
        folder: &Path,
        quotas: &Quotas,
        id: &HeldId,
        share: Share,
    ) -> Result<Option<Filling>, (StoreError, Option<Filling>)> {
        let is_near = |taken: Taken| taken.fullest(quotas, share).0 > Level::Calm;
        if self.looked.is_none() || (is_near(self.taken()) && !self.is_fresh()) {
            self.look(folder).map_err(|error| (error, None))?;
        }
        let taken = self.taken();
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
        if let (Some(share), Some(message)) = (self.writing.remove(id), held) {
            self.shares.insert(id.clone(), Share { message, ..share });
        }
    }

    /// What is held, by a look into the folder.
    pub(super) fn usage(&mut self, folder: &Path) -> Result<Usage, StoreError> {
        self.look(folder)?;
        let mut usage = Usage::default();
        for share in self.shares.values() {
            usage.messages += 1;
            usage.octets += share.message;
            if !share.verified {
                usage.unverified_messages += 1;
                usage.unverified_octets += share.message;
            }
        }
        Ok(usage)
    }

    fn is_fresh(&self) -> bool {
        self.looked.is_some_and(|looked| looked.elapsed() < LOOK)
    }

    fn taken(&self) -> Taken {
        let all = self.shares.values().chain(self.writing.values());
        all.fold(Taken::NOTHING, |taken, share| taken.and(*share))
    }

    /// Counts what is there. Of what was counted before only whether it still is.
    fn look(&mut self, folder: &Path) -> Result<(), StoreError> {
        let mut there = HashSet::new();
        for entry in fs::read_dir(folder).map_err(StoreError::at(folder))? {
            let entry = entry.map_err(StoreError::at(folder))?;
            let Ok(id) = entry.file_name().to_string_lossy().parse::<HeldId>() else { continue };
            if !self.shares.contains_key(&id) && !self.writing.contains_key(&id) {
                // One that is being released or deleted may be gone by now.
                let Some(share) = share(&entry.path()) else { continue };
                self.shares.insert(id.clone(), share);
            }
            there.insert(id);
        }
        self.shares.retain(|id, _| there.contains(id));
        self.looked = Some(Instant::now());
        Ok(())
    }
}

/// What a held message takes, by its folder.
fn share(folder: &Path) -> Option<Share> {
    let message = fs::metadata(folder.join(MESSAGE)).ok()?.len();
    let meta = fs::read(folder.join(META)).unwrap_or_default();
    // What cannot be read was written by nobody who verified anything.
    let verified = serde_json::from_slice::<Held>(&meta).is_ok_and(|held| held.verified);
    Some(Share { message, meta: meta.len() as u64, verified })
}
