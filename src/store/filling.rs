//! Whether another message fits into the quotas, and when the administrator is told that they fill up. Anybody can have mail
//! held that pretends to be sealed; what that may take leaves room for what a verified seal proves to be changed.

use std::fmt;

use super::quota::{Quota, Quotas};

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

/// What held mail takes of the quotas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// All of it.
    pub(super) all: Quota,
    /// The part of it that is unverified.
    pub(super) unverified: Quota,
}

impl Taken {
    /// Nothing.
    pub(super) const NOTHING: Self =
        Self { all: Quota { octets: 0, messages: 0 }, unverified: Quota { octets: 0, messages: 0 } };

    /// With another message.
    pub(super) fn and(mut self, share: Share) -> Self {
        self.all = self.all.and(share);
        if !share.verified {
            self.unverified = self.unverified.and(share);
        }
        self
    }

    /// How far the quotas would be taken with another message, and the quota that is taken furthest.
    pub(super) fn fullest(self, quotas: &Quotas, more: Share) -> (Level, Filling) {
        let all = level(self.all, quotas.all, false, more);
        if more.verified {
            return all;
        }
        let unverified = level(self.unverified, quotas.unverified, true, more);
        if unverified.0 > all.0 { unverified } else { all }
    }
}

impl Quota {
    fn and(self, share: Share) -> Self {
        Self { octets: self.octets + share.message + share.meta, messages: self.messages + 1 }
    }
}

fn level(held: Quota, quota: Quota, unverified: bool, more: Share) -> (Level, Filling) {
    let then = held.and(more);
    let is_full = then.octets > quota.octets || then.messages > quota.messages;
    let is_filling = reaches(then, quota, WARNING);
    let level = match (is_full, is_filling) {
        (true, _) => Level::Full,
        (false, true) => Level::Filling,
        (false, false) => Level::Calm,
    };
    (level, Filling { is_full, unverified, held: if is_full { held } else { then }, quota })
}

fn reaches(held: Quota, quota: Quota, hundredths: u64) -> bool {
    let part = |whole: u64| whole / 100 * hundredths + whole % 100 * hundredths / 100;
    held.octets >= part(quota.octets).max(1) || held.messages >= part(quota.messages).max(1)
}

/// What the administrator was told of the quotas: of that for all, and of that for what is unverified.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told([Level; 2]);

impl Told {
    /// What the administrator has not been told yet, before a message comes that makes it so full.
    pub(super) fn news(
        &mut self,
        quotas: &Quotas,
        taken: Taken,
        (level, filling): (Level, Filling),
    ) -> Option<Filling> {
        for (held, quota, unverified) in
            [(taken.all, quotas.all, false), (taken.unverified, quotas.unverified, true)]
        {
            if !reaches(held, quota, CALM) {
                self.0[usize::from(unverified)] = Level::Calm;
            }
        }
        let told = &mut self.0[usize::from(filling.unverified)];
        let is_news = level > *told;
        *told = level.max(*told);
        is_news.then_some(filling)
    }
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

/// How far a quota is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    #[default]
    Calm,
    Filling,
    Full,
}
