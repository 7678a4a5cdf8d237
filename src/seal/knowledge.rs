//! What is known of domains and their keys when a message is judged: pins, the DNS answers that the caller fetched
//! beforehand, and what is remembered (SEAL.md §7 and §8). For a pinned domain nothing else is believed.

use std::collections::{HashMap, HashSet};

use super::delegation::Delegation;
use super::fingerprint::Told;
use super::format::Seal;
use super::key::{KeyRecord, PublicKey};
use super::remembered::Memory;
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
    /// Fingerprints of keys or roots, as somebody told them; the keys themselves come from DNS or with the seal.
    pub fingerprints: Vec<Told>,
    /// Whether the pin is for the domains below as well.
    pub subdomains: bool,
}

/// What the administrator says of correspondents.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    pinned: HashMap<DomainName, Pin>,
    also_unsealed: HashSet<DomainName>,
}

impl Pins {
    /// Pins a domain; what is already pinned for it stays, and either entry may cover its subdomains.
    pub fn add(&mut self, domain: DomainName, pin: Pin) {
        let known = self.pinned.entry(domain).or_default();
        known.keys.extend(pin.keys);
        known.roots.extend(pin.roots);
        known.fingerprints.extend(pin.fingerprints);
        known.subdomains |= pin.subdomains;
    }

    /// Adds all that is said elsewhere.
    pub fn extend(&mut self, more: &Pins) {
        for (domain, pin) in &more.pinned {
            self.add(domain.clone(), pin.clone());
        }
        self.also_unsealed.extend(more.also_unsealed.iter().cloned());
    }

    /// The pin for a domain: its own, or that of the nearest parent which covers its subdomains. The flag says whether
    /// it is its own.
    fn covering(&self, domain: &DomainName) -> Option<(&Pin, bool)> {
        domain.self_and_parents().find_map(|candidate| {
            let own = candidate == *domain;
            self.pinned.get(&candidate).filter(|pin| own || pin.subdomains).map(|pin| (pin, own))
        })
    }

    /// Whether nothing but a pin is believed of a domain.
    pub fn covers(&self, domain: &DomainName) -> bool {
        self.covering(domain).is_some()
    }

    /// Whether no answer of DNS could be of use for a domain: it is pinned, and not by a mere fingerprint.
    pub fn need_no_lookup(&self, domain: &DomainName) -> bool {
        self.covering(domain).is_some_and(|(pin, _)| pin.fingerprints.is_empty())
    }

    /// Notes that a domain, and those below it, send unsealed mail besides: memory alone misses no seal of it then.
    pub fn note_also_unsealed(&mut self, domain: DomainName) {
        self.also_unsealed.insert(domain);
    }

    fn is_also_unsealed(&self, domain: &DomainName) -> bool {
        domain.self_and_parents().any(|candidate| self.also_unsealed.contains(&candidate))
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
    /// What is remembered of the domains that the message names.
    pub memory: Memory,
}

/// A key that a seal may be checked with, and how it was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvenKey {
    /// The key.
    pub key: PublicKey,
    /// How it was proved.
    pub trust: Trust,
    /// The root that vouched for it, where that was the proof.
    pub root: Option<PublicKey>,
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
    /// What was found contradicts what is remembered: this key, or that there is none.
    Contradicting(Option<PublicKey>),
}

impl<'a> Knowledge<'a> {
    /// Pins and nothing else.
    pub fn pinned(pins: &'a Pins) -> Self {
        Self { pins, answers: HashMap::new(), memory: Memory::default() }
    }

    /// How a domain is known to seal, if it is.
    pub fn ground(&self, domain: &DomainName) -> Option<Ground> {
        if self.pins.covers(domain) {
            return Some(Ground::Pinned);
        }
        (self.memory.seals(domain) && !self.pins.is_also_unsealed(domain)).then_some(Ground::Memory)
    }

    /// The keys to check a seal with.
    pub fn keys(&self, seal: &Seal) -> Keys {
        let domain = &seal.statement.domain;
        match self.pins.covering(domain) {
            Some((pin, true)) => match pinned_keys(pin, seal) {
                Keys::NotFound if !pin.fingerprints.is_empty() => self.told_keys(pin, seal),
                keys => keys,
            },
            // A pin on a parent says that the domain is watched, and names no key for it.
            Some((_, false)) => Keys::NotFound,
            None => self.memory.judge(seal, self.looked_up_keys(seal)),
        }
    }

    /// What DNS says of a domain that is not pinned.
    fn looked_up_keys(&self, seal: &Seal) -> Keys {
        match self.answer(seal) {
            Some(Answer::Found { record: KeyRecord { key: Some(key), trial }, secure }) => {
                let trust = if *secure { Trust::Dnssec } else { Trust::Dns };
                Keys::Found(vec![ProvenKey { key: *key, trust, root: None, trial: *trial }])
            }
            Some(Answer::Found { record: KeyRecord { key: None, trial }, .. }) => {
                Keys::Revoked { trial: *trial }
            }
            Some(Answer::Failed) => Keys::Failed,
            Some(Answer::NotFound) | None => Keys::NotFound,
        }
    }

    /// Keys that are pinned by their fingerprints: in DNS, or with the seal itself, be it that the root was told or the
    /// sealing key. Whether DNS has more to say of the key, such as that it is on trial, is not believed.
    fn told_keys(&self, pin: &Pin, seal: &Seal) -> Keys {
        let is_told = |key: &PublicKey| pin.fingerprints.iter().any(|told| told.is(&key.fingerprint()));
        let proven = |key, trust, root| ProvenKey { key, trust, root, trial: false };
        let mut found = Vec::new();
        if let Some(Answer::Found { record: KeyRecord { key: Some(key), .. }, .. }) = self.answer(seal) {
            found.extend(is_told(key).then(|| proven(*key, Trust::Pinned, None)));
        }
        if let Some(delegation) = delegation(seal) {
            if is_told(&delegation.key) {
                found.push(proven(delegation.key, Trust::Pinned, None));
            } else if is_told(&delegation.root) && delegation.holds_for(seal) {
                found.push(proven(delegation.key, Trust::Root, Some(delegation.root)));
            }
        }
        match self.answer(seal) {
            Some(Answer::Failed) if found.is_empty() => Keys::Failed,
            _ if found.is_empty() => Keys::NotFound,
            _ => Keys::Found(found),
        }
    }

    fn answer(&self, seal: &Seal) -> Option<&Answer> {
        self.answers.get(&(seal.statement.domain.clone(), seal.statement.selector.clone()))
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
    let pinned = records().filter_map(|record| {
        Some(ProvenKey { key: record.key?, trust: Trust::Pinned, root: None, trial: record.trial })
    });
    let delegated = delegation(seal)
        .filter(|delegation| pin.roots.contains(&delegation.root) && delegation.holds_for(seal))
        .map(|by| ProvenKey { key: by.key, trust: Trust::Root, root: Some(by.root), trial: false });
    let found: Vec<ProvenKey> = pinned.chain(delegated).collect();
    if found.is_empty() { Keys::NotFound } else { Keys::Found(found) }
}

/// What a seal says of who vouches for its key. A delegation that is not of its form, or does not hold, is as if it were not
/// there.
pub(super) fn delegation(seal: &Seal) -> Option<Delegation> {
    let statement = &seal.statement;
    Delegation::parse(statement.delegation.as_deref()?, &statement.domain, &statement.selector).ok()
}
