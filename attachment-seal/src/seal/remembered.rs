//! What is remembered of domains (SPEC.md §9.4 and §10): the keys seen, and whether a domain seals. Here are the rules; what keeps it
//! from one message to the next is an edge.

use std::collections::HashMap;

use super::format::Seal;
use super::key::PublicKey;
use super::knowledge::{Keys, ProvenKey, delegation};
use super::trust::Trust;
use crate::domain::DomainName;

/// For how long passes count, and an earlier key may vouch for the next, in seconds: 90 days.
pub const RECENT: u64 = 90 * 86_400;

/// So many passes within [`RECENT`] make a domain one that is known to seal.
pub const PASSES: usize = 3;

/// What is remembered of the domains that one message names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The time at which it was recalled, in Unix seconds.
    pub now: u64,
    /// By sealing domain; none that nothing is remembered of.
    pub domains: HashMap<DomainName, Remembered>,
    /// Whether stored mail is judged. Then a remembered key counts though DNS names it no longer, or was not asked: it may
    /// have sealed the message in its time.
    pub of_stored_mail: bool,
    /// Whether what is remembered could not be read. Then nobody can say whether an unsigned answer contradicts it.
    pub unreadable: bool,
}

/// What is remembered of one sealing domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The keys that were accepted, whatever became of them. None where nothing was seen but that a parent's seal covered
    /// the domain's mail.
    pub keys: Vec<RememberedKey>,
    /// When its newest passes were, at most [`PASSES`], in Unix seconds.
    pub passes: Vec<u64>,
}

impl Remembered {
    /// Notes a pass.
    pub fn note_pass(&mut self, at: u64) {
        self.passes.push(at);
        self.passes.sort_unstable_by(|one, other| other.cmp(one));
        self.passes.truncate(PASSES);
    }
}

/// A key that was accepted once: one that seals, or a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RememberedKey {
    /// The key.
    pub key: PublicKey,
    /// Whether it is a root, rather than a key that seals.
    pub is_root: bool,
    /// When it was last seen, in Unix seconds.
    pub last_seen: u64,
    /// Whether nothing but a root's delegation ever proved it. It dies with that: it vouches for no other key, and no
    /// unsigned answer brings it back.
    pub delegated: bool,
    /// Whether it was seen revoked since.
    pub revoked: bool,
}

impl RememberedKey {
    /// Whether the key counts by being remembered, rather than by what vouches for it.
    fn stands_alone(&self) -> bool {
        !self.revoked && !self.delegated
    }
}

impl Memory {
    /// Whether anything is remembered of the domain, or of a parent of it not above the organisational domain.
    pub fn holds(&self, domain: &DomainName) -> bool {
        domain.self_and_parents().any(|candidate| self.domains.contains_key(&candidate))
    }

    /// Whether the domain, or a parent of it not above the organisational domain, passed often enough.
    pub fn seals(&self, domain: &DomainName) -> bool {
        domain.self_and_parents().any(|candidate| {
            let passes =
                self.domains.get(&candidate).map(|known| known.passes.as_slice()).unwrap_or_default();
            passes.iter().filter(|at| self.is_recent(**at)).count() >= PASSES
        })
    }

    /// What memory makes of the keys that were looked up for a seal. A domain's first key stands as it was proved; any
    /// further one must be proved by more than an unsigned answer. So must the first one of a domain whose mail a parent
    /// sealed, else changing `d` would be a way out.
    pub fn judge(&self, seal: &Seal, looked_up: Keys) -> Keys {
        let domain = &seal.statement.domain;
        let Some(Remembered { keys, .. }) = self.domains.get(domain) else {
            return self.judge_stranger(domain, looked_up);
        };
        let judged = self.judge_known(seal, keys, looked_up);
        if self.of_stored_mail { with_earlier(judged, keys, seal) } else { judged }
    }

    fn judge_known(&self, seal: &Seal, keys: &[RememberedKey], looked_up: Keys) -> Keys {
        match looked_up {
            // Design note: on trial (`t=y`) nothing is enforced, so whoever forges an unsigned answer would like to say
            // so. Keys on trial are not remembered; a domain of which a key is has left its trial.
            Keys::Revoked { .. } => Keys::Revoked { trial: false },
            Keys::Found { proven, mut contradicting } => {
                let mut accepted = Vec::new();
                for found in proven {
                    match self::accepted(found, keys) {
                        Some(found) => accepted.push(found),
                        None => contradicting.push(found.key),
                    }
                }
                accepted.extend(self.delegated(keys, seal));
                if accepted.is_empty() {
                    Keys::Contradicting(contradicting)
                } else {
                    Keys::Found { proven: accepted, contradicting }
                }
            }
            Keys::NotFound => match self.delegated(keys, seal) {
                Some(found) => Keys::found(vec![found]),
                None => self.judge_stranger(&seal.statement.domain, Keys::NotFound),
            },
            other => other,
        }
    }

    /// What memory makes of the keys of a domain that it holds no key of.
    fn judge_stranger(&self, domain: &DomainName, looked_up: Keys) -> Keys {
        match looked_up {
            Keys::NotFound if self.unreadable => Keys::Failed,
            Keys::Found { proven, .. } if self.unreadable => {
                let proved =
                    Keys::found(proven.into_iter().filter(|key| key.trust > Trust::Remembered).collect());
                if proved == Keys::NotFound { Keys::Failed } else { proved }
            }
            // Else changing `s` would be a way out.
            Keys::NotFound if self.seals(domain) => Keys::Contradicting(Vec::new()),
            other => other,
        }
    }

    /// The key that an earlier one vouches for, for continuity where keys rotate without DNSSEC (SPEC.md §9.3).
    fn delegated(&self, keys: &[RememberedKey], seal: &Seal) -> Option<ProvenKey> {
        let delegation = delegation(seal)?;
        let is_revoked = keys.iter().any(|known| known.key == delegation.key && known.revoked);
        let vouches = |known: &RememberedKey| {
            known.key == delegation.root && known.stands_alone() && self.is_recent(known.last_seen)
        };
        let by = keys.iter().find(|known| vouches(known))?;
        // Seen is a root by vouching, and a sealing key by sealing: else an old one could vouch for ever.
        let root = by.is_root.then_some(by.key);
        let holds = !is_revoked && delegation.holds_for(seal);
        holds.then_some(ProvenKey { key: delegation.key, trust: Trust::Remembered, root, trial: false })
    }

    fn is_recent(&self, at: u64) -> bool {
        at.saturating_add(RECENT) >= self.now
    }
}

/// What was judged, and behind it the remembered key that made the seal, if one did.
fn with_earlier(judged: Keys, keys: &[RememberedKey], seal: &Seal) -> Keys {
    let made_it = |known: &&RememberedKey| {
        known.stands_alone() && !known.is_root && known.key.verifies(&seal.signed, &seal.signature)
    };
    let Some(known) = keys.iter().find(made_it) else { return judged };
    let earlier = ProvenKey { key: known.key, trust: Trust::Remembered, root: None, trial: false };
    match judged {
        Keys::Found { mut proven, contradicting } => {
            proven.push(earlier);
            Keys::Found { proven, contradicting }
        }
        Keys::NotFound | Keys::Contradicting(_) => Keys::found(vec![earlier]),
        Keys::Revoked { .. } | Keys::Failed => judged,
    }
}

/// A key that was found, as it stands among those that are remembered.
fn accepted(found: ProvenKey, keys: &[RememberedKey]) -> Option<ProvenKey> {
    let known = keys.iter().find(|known| known.key == found.key);
    match found.trust {
        Trust::Pinned | Trust::Root | Trust::Dnssec => Some(found),
        Trust::Dns | Trust::Remembered => known.filter(|known| known.stands_alone()).map(|_| ProvenKey {
            trust: Trust::Remembered,
            // An unsigned policy may have named it; that is not enough to learn a root of a domain that is known.
            root: None,
            trial: false,
            ..found
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;
    use crate::message::header::HeaderSection;
    use crate::seal::delegation::Delegation as Vouched;
    use crate::seal::format::Statement;
    use crate::seal::key::SealingKey;

    const NOW: u64 = 1_795_392_000;

    fn key(seed: u8) -> SealingKey {
        SealingKey::from_seed(&[seed; 32])
    }

    fn domain(text: &str) -> DomainName {
        text.parse().unwrap()
    }

    /// A seal by `key`, for which `root` vouches.
    fn seal(key: &SealingKey, root: Option<&SealingKey>) -> Seal {
        let (domain, selector) = (domain("example.org"), "gate2".parse().unwrap());
        let vouch = |root: &SealingKey| {
            Vouched::new(root, &domain, &selector, key.public(), (NOW - 10, NOW + 10)).unwrap()
        };
        let nothing = HeaderSection::parse(b"");
        let statement = Statement {
            delegation: root.map(|root| vouch(root).as_str().to_owned()),
            domain,
            selector,
            sealed_at: NOW,
            expires_at: NOW + 10,
            identity: nothing.identity_hash(),
            addressing: nothing.addressing_hash(),
            structure: nothing.structure_hash(),
            body: blake3::hash(b""),
            manifest: Manifest::default(),
            parts: None,
            links: None,
        };
        let field = statement.to_field(&key.sign(&statement.signed()).unwrap());
        Seal::parse(&field["Attachment-Seal:".len()..field.len() - 2]).unwrap()
    }

    fn remembering(known: &[(u8, u64, bool)], passes: &[u64]) -> Memory {
        let remember = |&(seed, last_seen, revoked): &_| RememberedKey {
            key: key(seed).public(),
            is_root: false,
            last_seen,
            delegated: false,
            revoked,
        };
        let keys = known.iter().map(remember).collect();
        let remembered = Remembered { keys, passes: passes.to_vec() };
        let domains = HashMap::from([(domain("example.org"), remembered)]);
        Memory { now: NOW, domains, ..Memory::default() }
    }

    fn found(seed: u8, trust: Trust, trial: bool) -> Keys {
        Keys::found(vec![ProvenKey { key: key(seed).public(), trust, root: None, trial }])
    }

    #[test]
    fn a_further_key_needs_a_better_proof() {
        let plain = seal(&key(2), None);
        let known = remembering(&[(1, NOW, false)], &[]);
        let revoked = remembering(&[(1, NOW, true)], &[]);
        let changed = |seed| Keys::Contradicting(vec![key(seed).public()]);
        for (memory, looked_up, expected) in [
            // Nothing is known: the first key stands as it was proved.
            (&Memory::default(), found(2, Trust::Dns, false), found(2, Trust::Dns, false)),
            (&Memory::default(), found(2, Trust::Dns, true), found(2, Trust::Dns, true)),
            (&Memory::default(), Keys::NotFound, Keys::NotFound),
            (&Memory::default(), Keys::Revoked { trial: true }, Keys::Revoked { trial: true }),
            // A key is known.
            (&known, found(1, Trust::Dns, false), found(1, Trust::Remembered, false)),
            (&known, found(1, Trust::Dnssec, false), found(1, Trust::Dnssec, false)),
            (&known, found(2, Trust::Dnssec, false), found(2, Trust::Dnssec, false)),
            (&known, found(2, Trust::Root, false), found(2, Trust::Root, false)),
            (&known, found(2, Trust::Dns, false), changed(2)),
            (&known, Keys::Failed, Keys::Failed),
            (&known, Keys::NotFound, Keys::NotFound),
            // Whoever forges an unsigned answer cannot call enforcement off.
            (&known, found(1, Trust::Dns, true), found(1, Trust::Remembered, false)),
            (&known, found(2, Trust::Dns, true), changed(2)),
            (&known, Keys::Revoked { trial: true }, Keys::Revoked { trial: false }),
            // Once revoked, a key comes back by a better proof alone.
            (&revoked, found(1, Trust::Dns, false), changed(1)),
            (&revoked, found(1, Trust::Dnssec, false), found(1, Trust::Dnssec, false)),
        ] {
            assert_eq!(memory.judge(&plain, looked_up.clone()), expected, "{looked_up:?}");
        }
    }

    /// Nobody can say whether it contradicts what is known: the message may come again.
    #[test]
    fn an_unsigned_key_waits_for_a_memory_that_cannot_be_read() {
        let unreadable = Memory { unreadable: true, ..Memory::default() };
        let judge = |looked_up| unreadable.judge(&seal(&key(2), None), looked_up);
        for waits in [found(2, Trust::Dns, false), found(2, Trust::Dns, true), Keys::NotFound, Keys::Failed] {
            assert_eq!(judge(waits), Keys::Failed);
        }
        for proved in [found(2, Trust::Dnssec, false), Keys::Revoked { trial: false }] {
            assert_eq!(judge(proved.clone()), proved);
        }
    }

    #[test]
    fn an_earlier_key_vouches_for_the_next_for_90_days() {
        let vouched = seal(&key(2), Some(&key(1)));
        let by_earlier = found(2, Trust::Remembered, false);
        let judge = |memory: &Memory, looked_up| memory.judge(&vouched, looked_up);
        let known = remembering(&[(1, NOW - RECENT, false)], &[NOW; 3]);
        assert_eq!(judge(&known, Keys::NotFound), by_earlier);
        for named in [2, 3] {
            let Keys::Found { proven, contradicting } = judge(&known, found(named, Trust::Dns, false)) else {
                panic!("{named}")
            };
            assert_eq!((Keys::found(proven), contradicting), (by_earlier.clone(), vec![key(named).public()]));
        }
        assert_eq!(judge(&known, Keys::Revoked { trial: false }), Keys::Revoked { trial: false });
        assert_eq!(judge(&known, Keys::Failed), Keys::Failed);

        // A root is seen by vouching, which an old sealing key must not be.
        let root_of = |memory: &Memory| match judge(memory, Keys::NotFound) {
            Keys::Found { proven, .. } => proven[0].root,
            other => panic!("{other:?}"),
        };
        let mut by_root = known.clone();
        by_root.domains.get_mut(&domain("example.org")).unwrap().keys[0].is_root = true;
        assert_eq!((root_of(&known), root_of(&by_root)), (None, Some(key(1).public())));

        for memory in [
            remembering(&[(1, NOW - RECENT - 1, false)], &[NOW; 3]),
            remembering(&[(1, NOW, true)], &[NOW; 3]),
            remembering(&[(3, NOW, false)], &[NOW; 3]),
            remembering(&[(1, NOW, false), (2, NOW, true)], &[NOW; 3]),
        ] {
            assert_eq!(judge(&memory, Keys::NotFound), Keys::Contradicting(vec![]));
        }
    }

    #[test]
    fn three_passes_in_90_days_make_a_sealer() {
        let seals = |passes: &[u64], name: &str| remembering(&[], passes).seals(&domain(name));
        assert!(seals(&[NOW, NOW - 1, NOW - RECENT], "example.org"));
        assert!(seals(&[NOW; 3], "sales.example.org"), "a parent that seals speaks for the domains below");
        assert!(!seals(&[NOW; 3], "example.net"));
        assert!(!seals(&[NOW; 2], "example.org"));
        assert!(!seals(&[NOW, NOW, NOW - RECENT - 1], "example.org"));
        // A changed selector is no way out.
        let plain = seal(&key(2), None);
        assert_eq!(remembering(&[], &[NOW; 3]).judge(&plain, Keys::NotFound), Keys::Contradicting(vec![]));
    }
}
