//! What is known of domains and their keys when a message is judged: pins, the DNS answers that the caller fetched
//! beforehand, and what is remembered (SPEC.md §9 and §10). For a pinned domain nothing else is believed.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::delegation::Delegation;
use super::fingerprint::Told;
use super::format::Seal;
use super::key::{KeyRecord, PublicKey};
use super::policy_record::{PolicyRecord, Request};
use super::remembered::Memory;
use super::trust::{Ground, Lookup, Trust};
use crate::domain::{DomainName, Selector};

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

    /// Every pinned domain and what is pinned for it, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&DomainName, &Pin)> {
        self.pinned.iter()
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

/// What a DNS lookup came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<R> {
    /// Records of the kind that was asked for; never empty.
    Found {
        /// What they say.
        records: Vec<R>,
        /// Whether DNSSEC proved them.
        secure: bool,
    },
    /// There is none.
    NotFound {
        /// Whether DNSSEC proved that.
        secure: bool,
    },
    /// Nothing that could be believed was heard.
    Failed(Failure),
}

/// Why a lookup failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The answer's DNSSEC proof is wrong. It is not believed, and nothing is put in its place.
    Bogus,
    /// There was no answer for now.
    Unanswered,
}

impl<R> Answer<R> {
    /// What results say of it.
    pub fn lookup(&self) -> Lookup {
        match self {
            Self::Found { secure: true, .. } | Self::NotFound { secure: true } => Lookup::Secure,
            Self::Found { secure: false, .. } | Self::NotFound { secure: false } => Lookup::Insecure,
            Self::Failed(Failure::Bogus) => Lookup::Bogus,
            Self::Failed(Failure::Unanswered) => Lookup::Failed,
        }
    }

    fn records(&self) -> &[R] {
        match self {
            Self::Found { records, .. } => records,
            Self::NotFound { .. } | Self::Failed(_) => &[],
        }
    }
}

/// The DNS answers that were fetched for one message; what is not here was not looked up, and counts as not there.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Key records by sealing domain and selector.
    pub keys: HashMap<(DomainName, Selector), Answer<KeyRecord>>,
    /// Policy records by domain.
    pub policies: HashMap<DomainName, Answer<PolicyRecord>>,
}

/// All that is known when one message is judged.
#[derive(Clone, Debug)]
pub struct Knowledge<'a> {
    /// The pinned correspondents.
    pub pins: &'a Pins,
    /// What DNS said.
    pub answers: Answers,
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
    /// Some may be used.
    Found {
        /// These, in the order to try them; never empty.
        proven: Vec<ProvenKey>,
        /// Others were found that contradict what is remembered.
        contradicting: Vec<PublicKey>,
    },
    /// None.
    NotFound,
    /// The key is revoked.
    Revoked {
        /// Whether the record says `t=y` besides.
        trial: bool,
    },
    /// The lookup failed for now.
    Failed,
    /// All that was found contradicts what is remembered: these keys, or that there is none.
    Contradicting(Vec<PublicKey>),
}

impl Keys {
    /// These keys, if there are any.
    pub fn found(proven: Vec<ProvenKey>) -> Self {
        if proven.is_empty() { Self::NotFound } else { Self::Found { proven, contradicting: Vec::new() } }
    }
}

impl<'a> Knowledge<'a> {
    /// Pins and nothing else.
    pub fn pinned(pins: &'a Pins) -> Self {
        Self { pins, answers: Answers::default(), memory: Memory::default() }
    }

    /// How a domain is known to seal, if it is.
    pub fn ground(&self, domain: &DomainName) -> Option<Ground> {
        if self.pins.covers(domain) {
            return Some(Ground::Pinned);
        }
        if self.sealing_policy(domain).is_some() {
            return Some(Ground::Policy);
        }
        (self.memory.seals(domain) && !self.pins.is_also_unsealed(domain)).then_some(Ground::Memory)
    }

    /// The keys to check a seal with.
    pub fn keys(&self, seal: &Seal) -> Keys {
        let domain = &seal.statement.domain;
        match self.pins.covering(domain) {
            Some((pin, true)) => match pinned_keys(pin, seal) {
                keys @ (Keys::Found { .. } | Keys::NotFound) if !pin.fingerprints.is_empty() => {
                    also(keys, self.told_keys(pin, seal))
                }
                keys => keys,
            },
            // A pin on a parent says that the domain is watched, and names no key for it.
            Some((_, false)) => Keys::NotFound,
            None => self.memory.judge(seal, self.looked_up_keys(seal)),
        }
    }

    /// Whether nothing names a key for the seal's very selector: all there is are pins for any. Then a wrong signature may be
    /// that of a key which the correspondent has made since.
    pub fn has_pins_for_any_alone(&self, seal: &Seal) -> bool {
        let Some((pin, true)) = self.pins.covering(&seal.statement.domain) else { return false };
        let is_for_one =
            |pinned: &PinnedKey, key| pinned.selector.is_some() && pinned.record.key == Some(key);
        let names = |found: &ProvenKey| {
            found.root.is_some() || pin.keys.iter().any(|pinned| is_for_one(pinned, found.key))
        };
        match self.keys(seal) {
            Keys::Found { proven, .. } => !proven.iter().any(names),
            _ => false,
        }
    }

    /// What DNS says of a domain that is not pinned: the selector's records, and whom a root of its policy delegated to.
    fn looked_up_keys(&self, seal: &Seal) -> Keys {
        let (records, trust) = match self.answer(seal) {
            // The record might say that the key is revoked, so no delegation stands in for it.
            Some(Answer::Failed(_)) => return Keys::Failed,
            Some(Answer::Found { records, secure }) => (records.as_slice(), trust(*secure)),
            Some(Answer::NotFound { .. }) | None => (&[][..], Trust::Dns),
        };
        if let Some(revoked) = records.iter().find(|record| record.key.is_none()) {
            return Keys::Revoked { trial: revoked.trial };
        }
        let named = records.iter().filter_map(|record| {
            Some(ProvenKey { key: record.key?, trust, root: None, trial: record.trial })
        });
        let named: Vec<ProvenKey> = named.collect();
        let mut found: Vec<ProvenKey> = self.key_by_published_root(seal).into_iter().collect();
        for vouched in &mut found {
            let same = |named: &&ProvenKey| named.key == vouched.key && named.trust >= vouched.trust;
            vouched.trial = named.iter().find(same).is_some_and(|named| named.trial);
        }
        // The better proof first; of two alike the root's, since it is the root that the next key comes with.
        found.extend(named);
        found.sort_by_key(|found| Reverse(found.trust));
        Keys::found(found)
    }

    /// The key that a root of the domain's own policy delegated to. It is proved no better than that policy is.
    fn key_by_published_root(&self, seal: &Seal) -> Option<ProvenKey> {
        let Some(Answer::Found { records, secure }) = self.answers.policies.get(&seal.statement.domain)
        else {
            return None;
        };
        let delegation = delegation(seal)?;
        let is_named = records.iter().any(|record| record.roots.contains(&delegation.root));
        let (key, root) = (delegation.key, Some(delegation.root));
        (is_named && delegation.holds_for(seal)).then(|| ProvenKey {
            key,
            trust: trust(*secure),
            root,
            trial: false,
        })
    }

    /// Keys that are pinned by their fingerprints: in DNS, or with the seal itself, be it that the root was told or the
    /// sealing key. Whether DNS has more to say of the key, such as that it is on trial, is not believed.
    fn told_keys(&self, pin: &Pin, seal: &Seal) -> Keys {
        let is_told = |key: &PublicKey| pin.fingerprints.iter().any(|told| told.is(&key.fingerprint()));
        let proven = |key, trust, root| ProvenKey { key, trust, root, trial: false };
        let mut found = Vec::new();
        let records = self.answer(seal).map(Answer::records).unwrap_or_default();
        let named = records.iter().filter_map(|record| record.key);
        found.extend(named.filter(is_told).map(|key| proven(key, Trust::Pinned, None)));
        if let Some(delegation) = delegation(seal) {
            if is_told(&delegation.key) {
                found.push(proven(delegation.key, Trust::Pinned, None));
            } else if is_told(&delegation.root) && delegation.holds_for(seal) {
                found.push(proven(delegation.key, Trust::Root, Some(delegation.root)));
            }
        }
        match self.answer(seal) {
            Some(Answer::Failed(_)) if found.is_empty() => Keys::Failed,
            _ => Keys::found(found),
        }
    }

    fn answer(&self, seal: &Seal) -> Option<&Answer<KeyRecord>> {
        self.answers.keys.get(&(seal.statement.domain.clone(), seal.statement.selector.clone()))
    }

    /// The nearest policy, of the domain or of a parent not above the organisational domain, which states that all mail
    /// is sealed.
    fn sealing_policy(&self, domain: &DomainName) -> Option<&Answer<PolicyRecord>> {
        self.policies_for(domain).find(|answer| answer.records().iter().any(PolicyRecord::states_sealing))
    }

    /// What was heard of the policies of a domain and of its parents, the nearest first.
    fn policies_for(&self, domain: &DomainName) -> impl Iterator<Item = &Answer<PolicyRecord>> {
        domain.self_and_parents().filter_map(|domain| self.answers.policies.get(&domain))
    }

    /// What looking up a seal's key came to; `None` where DNS was not asked.
    pub fn key_lookup(&self, domain: &DomainName, selector: &Selector) -> Option<Lookup> {
        self.answers.keys.get(&(domain.clone(), selector.clone())).map(Answer::lookup)
    }

    /// What looking up the policies for any of these authors came to: of the one that states sealing, else the worst
    /// of all, since a policy that could not be had may state it.
    pub fn policy_lookup(&self, authors: &[DomainName]) -> Option<Lookup> {
        let sealing = authors.iter().find_map(|author| self.sealing_policy(author));
        sealing
            .map(Answer::lookup)
            .or_else(|| authors.iter().flat_map(|author| self.policies_for(author)).map(Answer::lookup).min())
    }

    /// What the nearest policy asks about mail of `domain`. Of a pinned domain nothing is believed but the pin; where the
    /// author's domain is known to seal, or the sealing one is remembered, an unproved policy may ask for more, but is not
    /// heard where it asks for nothing.
    pub fn request(&self, domain: &DomainName, known: Option<Ground>) -> Option<Request> {
        if self.pins.covers(domain) {
            return None;
        }
        let is_known = known.is_some() || self.memory.holds(domain);
        self.policies_for(domain).find_map(|answer| {
            // Of several records, the order of which says nothing, the strictest counts.
            let request = answer.records().iter().map(|record| record.request).max()?;
            let may_be_forged = is_known && answer.lookup() != Lookup::Secure;
            (request != Request::None || !may_be_forged).then_some(request)
        })
    }
}

fn trust(secure: bool) -> Trust {
    if secure { Trust::Dnssec } else { Trust::Dns }
}

/// Both, those first that are pinned whole.
fn also(pinned: Keys, told: Keys) -> Keys {
    match (pinned, told) {
        (Keys::Found { mut proven, contradicting }, Keys::Found { proven: told, .. }) => {
            proven.extend(told);
            Keys::Found { proven, contradicting }
        }
        (Keys::NotFound, told) => told,
        (pinned, _) => pinned,
    }
}

/// A revoked record beats a delegation; a pinned key is tried before one (SPEC.md §9).
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
    Keys::found(pinned.chain(delegated).collect())
}

/// What a seal says of who vouches for its key. A delegation that is not of its form, or does not hold, is as if it were not
/// there.
pub(super) fn delegation(seal: &Seal) -> Option<Delegation> {
    let statement = &seal.statement;
    Delegation::parse(statement.delegation.as_deref()?, &statement.domain, &statement.selector).ok()
}
