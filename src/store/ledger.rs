//! How much is held, counted, so that quotas can be kept. Anybody can have mail held that pretends to be sealed; what that
//! may take leaves room for what a verified seal proves to be changed.
//!
//! Others release and delete: the folder is looked at again before anybody is told that it is full.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::quarantine::{Held, HeldId, MESSAGE, META, StoreError, Usage};
use crate::store::{Quota, Quotas};

/// The folder is looked at no more often than this while it is full or nearly so.
const LOOK: Duration = Duration::from_secs(1);

/// From this part of a quota on the administrator is warned, in hundredths.
const WARNING: u64 = 80;

/// Below this part a warning is due again.
const CALM: u64 = 70;

/// What one held message takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// Octets of the message.
    pub(super) message: u64,
    /// Octets of what is known of it.
    pub(super) meta: u64,
    /// Whether a verified seal of a pinned correspondent is the reason.
    pub(super) verified: bool,
}

/// A quota is filling up, or full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filling {
    /// Whether it is full.
    pub is_full: bool,
    /// Whether it is the quota of what unverified seals cause.
    pub unverified: bool,
    /// What is held: with the message that was taken, without the one that was refused.
    pub held: Quota,
    /// What may be held.
    pub quota: Quota,
}

impl fmt::Display for Filling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.is_full { "full" } else { "filling up" };
        let part =
            if self.unverified { "the part of the quarantine for unverified mail" } else { "the quarantine" };
        let octets = |octets: u64| bytesize::ByteSize(octets).display().iec().to_string();
        write!(
            f,
            "{part} is {how}: {} of {} messages, {} of {}",
            self.held.messages,
            self.quota.messages,
            octets(self.held.octets),
            octets(self.quota.octets)
        )
    }
}

/// What was said of a quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    #[default]
    Calm,
    Filling,
    Full,
}

/// What is held, as far as it is known, and what is being written.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    shares: HashMap<HeldId, Share>,
    writing: HashMap<HeldId, Share>,
    looked: Option<Instant>,
    /// Of all, and of what is unverified.
    said: [Level; 2],
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
        if self.looked.is_none() || (self.fullest(quotas, share).0 > Level::Calm && !self.is_fresh()) {
            self.look(folder).map_err(|error| (error, None))?;
        }
        let (level, filling) = self.fullest(quotas, share);
        let event = self.news(quotas, level, filling);
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

    /// The level that another message would lead to, and of which quota.
    fn fullest(&self, quotas: &Quotas, more: Share) -> (Level, Filling) {
        let all = self.level(quotas.all, false, more);
        if more.verified {
            return all;
        }
        let unverified = self.level(quotas.unverified, true, more);
        if unverified.0 > all.0 { unverified } else { all }
    }

    /// What is held of all, or of what is unverified.
    fn held(&self, unverified: bool) -> Quota {
        let counts = |share: &&Share| !unverified || !share.verified;
        let all = self.shares.values().chain(self.writing.values()).filter(counts);
        all.fold(Quota { octets: 0, messages: 0 }, |held, share| Quota {
            octets: held.octets + share.message + share.meta,
            messages: held.messages + 1,
        })
    }

    fn level(&self, quota: Quota, unverified: bool, more: Share) -> (Level, Filling) {
        let held = self.held(unverified);
        let then = Quota { octets: held.octets + more.message + more.meta, messages: held.messages + 1 };
        let is_full = then.octets > quota.octets || then.messages > quota.messages;
        let is_filling = reaches(then, quota, WARNING);
        let level = match (is_full, is_filling) {
            (true, _) => Level::Full,
            (false, true) => Level::Filling,
            (false, false) => Level::Calm,
        };
        (level, Filling { is_full, unverified, held: if is_full { held } else { then }, quota })
    }

    /// What the administrator has not been told yet.
    fn news(&mut self, quotas: &Quotas, level: Level, filling: Filling) -> Option<Filling> {
        for (quota, unverified) in [(quotas.all, false), (quotas.unverified, true)] {
            if !reaches(self.held(unverified), quota, CALM) {
                self.said[usize::from(unverified)] = Level::Calm;
            }
        }
        let said = &mut self.said[usize::from(filling.unverified)];
        let is_news = level > *said;
        *said = level.max(*said);
        is_news.then_some(filling)
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

fn reaches(held: Quota, quota: Quota, hundredths: u64) -> bool {
    let part = |whole: u64| whole / 100 * hundredths + whole % 100 * hundredths / 100;
    held.octets >= part(quota.octets).max(1) || held.messages >= part(quota.messages).max(1)
}

/// What a held message takes, by its folder.
fn share(folder: &Path) -> Option<Share> {
    let message = fs::metadata(folder.join(MESSAGE)).ok()?.len();
    let meta = fs::read(folder.join(META)).unwrap_or_default();
    // What cannot be read was written by nobody who verified anything.
    let verified = serde_json::from_slice::<Held>(&meta).is_ok_and(|held| held.verified);
    Some(Share { message, meta: meta.len() as u64, verified })
}
