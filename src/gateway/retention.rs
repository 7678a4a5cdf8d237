//! How held mail ends by age: `[quarantine] keep`. What goes is told of a week before, and never what somebody wants kept, asked to
//! be released, or may have got in part.

use std::time::Duration;

use jiff::Timestamp;

use crate::store::{By, Filter, HeldState, Listed, Quarantine, Releases, Removal, StoreError};

/// How long before its removal a message is told of.
pub const NOTICE: Duration = Duration::from_secs(7 * 86_400);

/// Messages that one look tells of, or removes. What is left is for the next one.
const MAX_AT_ONCE: usize = 1_000;

/// Messages that are read at once.
const PAGE: usize = 500;

/// Messages that are to be told of now, and when they are removed then.
#[derive(Clone, Debug)]
pub struct Going {
    /// The messages, oldest first.
    pub messages: Vec<Listed>,
    /// When all of them are removed, unless somebody wants one kept.
    pub expires: Timestamp,
}

/// The messages that reach their age within a week, and of which nobody was told yet.
pub fn going(quarantine: &dyn Quarantine, keep: Duration, now: Timestamp) -> Result<Going, StoreError> {
    let expires = now + NOTICE;
    let filter = Filter { until: expires.checked_sub(keep).ok(), ..Filter::default() };
    let is_going = |listed: &Listed| listed.expires.is_none() && may_go(listed);
    Ok(Going { messages: those(quarantine, &filter, is_going)?, expires })
}

/// Removes the messages whose time has come. Tells how many.
pub fn remove_expired(
    quarantine: &dyn Quarantine,
    keep: Duration,
    by: &By,
    now: Timestamp,
) -> Result<u64, StoreError> {
    // By the setting as it is now, which may have changed since it was told.
    let filter = Filter { until: now.checked_sub(keep).ok(), expires: Some(now), ..Filter::default() };
    let mut removed = 0;
    for listed in those(quarantine, &filter, may_go)? {
        let claim = match quarantine.claim(&listed.id, by) {
            Ok(claim) => claim,
            // Somebody deals with it at this moment, or has done so.
            Err(StoreError::Claimed(_) | StoreError::UnknownId(_)) => continue,
            Err(error) => return Err(error),
        };
        // What was read before the claim may have changed.
        let is_due = quarantine.show(&listed.id)?.expires.is_some_and(|expires| expires <= now);
        if is_due && !is_wanted(claim.releases()) {
            claim.delete(Removal::Expired)?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn may_go(listed: &Listed) -> bool {
    !listed.keep && !matches!(listed.state, HeldState::InDoubt | HeldState::Requested | HeldState::Kept)
}

/// Whether somebody wants it still, or may have got it.
fn is_wanted(releases: &Releases) -> bool {
    releases.keep || releases.request.is_some() || !releases.in_doubt.is_empty()
}

fn those(
    quarantine: &dyn Quarantine,
    filter: &Filter,
    is_meant: impl Fn(&Listed) -> bool,
) -> Result<Vec<Listed>, StoreError> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = quarantine.list(filter, after.as_ref(), PAGE)?;
        found.extend(page.held.into_iter().filter(|listed| is_meant(listed)));
        after = page.next;
        if after.is_none() || found.len() >= MAX_AT_ONCE {
            found.truncate(MAX_AT_ONCE);
            return Ok(found);
        }
    }
}
