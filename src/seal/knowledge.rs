//! What is known of domains and their keys when a message is judged: pins, and the DNS answers that the caller fetched
//! beforehand (SEAL.md §7 and §8). For a pinned domain nothing else is believed.

use std::collections::HashMap;

use super::delegation::Delegation;
use super::format::Seal;
use super::key::{KeyRecord, PublicKey};
use crate::domain::{DomainName, Selector};
use crate::verdict::{Ground, Trust};

/// A key that the administrator named for a correspondent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedKey {
    /// The selector that it is for; `None` for any.
    pub selector: Option<Selector>,
    /// The record.
    pub record: KeyRecord,
}

/// A pinned correspondent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pin {
    /// Keys that seal.
    pub keys: Vec<PinnedKey>,
    /// Root keys, which delegate to keys that seal.
    pub roots: Vec<PublicKey>,
    /// Whether the pin is for the domains below as well.
    pub subdomains: bool,
}

/// All pinned correspondents.
#[derive(Clone, Debug, Default)]
pub struct Pins(HashMap<DomainName, Pin>);

impl Pins {
    /// Pins a domain; what is already pinned for it stays, and either entry may cover its subdomains.
    pub fn add(&mut self, domain: DomainName, pin: Pin) {
        let known = self.0.entry(domain).or_default();
        known.keys.extend(pin.keys);
        known.roots.extend(pin.roots);
        known.subdomains |= pin.subdomains;
    }

    /// The pin for a domain: its own, or that of the nearest parent which covers its subdomains. The flag says whether
    /// it is its own.
    fn covering(&self, domain: &DomainName) -> Option<(&Pin, bool)> {
        domain.self_and_parents().find_map(|candidate| {
            let own = candidate == *domain;
            self.0.get(&candidate).filter(|pin| own || pin.subdomains).map(|pin| (pin, own))
        })
    }

    /// Whether nothing but a pin is believed of a domain.
    pub fn covers(&self, domain: &DomainName) -> bool {
        self.covering(domain).is_some()
    }
}

/// The outcome of a DNS lookup of a key record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "at most eight for a message, and they are not kept")]
pub enum Answer {
    /// A record.
    Found {
        /// What it says.
        record: KeyRecord,
        /// Whether DNSSEC proved it.
        secure: bool,
    },
    /// There is none.
    NotFound,
    /// The lookup failed for now.
    Failed,
}

/// All that is known when one message is judged.
#[derive(Clone, Debug)]
pub struct Knowledge<'a> {
    /// The pinned correspondents.
    pub pins: &'a Pins,
    /// DNS answers by domain and selector; what is not here was not looked up and counts as not found.
    pub answers: HashMap<(DomainName, Selector), Answer>,
}

/// A key that a seal may be checked with, and how it was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvenKey {
    /// The key.
    pub key: PublicKey,
    /// How it was proved.
    pub trust: Trust,
    /// Whether its record says `t=y`.
    pub trial: bool,
}

/// The keys to check one seal with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// These, in the order to try them; never empty.
    Found(Vec<ProvenKey>),
    /// None.
    NotFound,
    /// The key is revoked.
    Revoked {
        /// Whether the record says `t=y` besides.
        trial: bool,
    },
    /// The lookup failed for now.
    Failed,
}

impl<'a> Knowledge<'a> {
    /// Pins and nothing else.
    pub fn pinned(pins: &'a Pins) -> Self {
        Self { pins, answers: HashMap::new() }
    }

    /// How a domain is known to seal, if it is.
    pub fn ground(&self, domain: &DomainName) -> Option<Ground> {
        self.pins.covers(domain).then_some(Ground::Pinned)
    }

    /// The keys to check a seal with.
    pub fn keys(&self, seal: &Seal) -> Keys {
        let (domain, selector) = (&seal.statement.domain, &seal.statement.selector);
        match self.pins.covering(domain) {
            Some((pin, true)) => pinned_keys(pin, seal),
            // A pin on a parent says that the domain is watched, and names no key for it.
            Some((_, false)) => Keys::NotFound,
            None => match self.answers.get(&(domain.clone(), selector.clone())) {
                Some(Answer::Found { record: KeyRecord { key: Some(key), trial }, secure }) => {
                    let trust = if *secure { Trust::Dnssec } else { Trust::Dns };
                    Keys::Found(vec![ProvenKey { key: *key, trust, trial: *trial }])
                }
                Some(Answer::Found { record: KeyRecord { key: None, trial }, .. }) => {
                    Keys::Revoked { trial: *trial }
                }
                Some(Answer::Failed) => Keys::Failed,
                Some(Answer::NotFound) | None => Keys::NotFound,
            },
        }
    }
}

/// A revoked record beats a delegation; a pinned key is tried before one (SEAL.md §7).
fn pinned_keys(pin: &Pin, seal: &Seal) -> Keys {
    let selector = &seal.statement.selector;
    let records = || {
        let fits = |key: &&PinnedKey| key.selector.as_ref().is_none_or(|own| own == selector);
        pin.keys.iter().filter(fits).map(|key| key.record)
    };
    if let Some(revoked) = records().find(|record| record.key.is_none()) {
        return Keys::Revoked { trial: revoked.trial };
    }
    let pinned = records()
        .filter_map(|record| Some(ProvenKey { key: record.key?, trust: Trust::Pinned, trial: record.trial }));
    let delegated = delegated_key(pin, seal).map(|key| ProvenKey { key, trust: Trust::Root, trial: false });
    let found: Vec<ProvenKey> = pinned.chain(delegated).collect();
    if found.is_empty() { Keys::NotFound } else { Keys::Found(found) }
}

/// A delegation that does not hold, or is not of its form, is as if it were not there.
fn delegated_key(pin: &Pin, seal: &Seal) -> Option<PublicKey> {
    let statement = &seal.statement;
    let delegation =
        Delegation::parse(statement.delegation.as_deref()?, &statement.domain, &statement.selector).ok()?;
    (pin.roots.contains(&delegation.root) && delegation.holds_for(seal)).then_some(delegation.key)
}
