//! Delegations (SPEC.md §9): a root's statement that a sealing key may seal for a while.

use encodify::base64;
use thiserror::Error;

use super::format::{Seal, seconds};
use super::key::{ParseKeyError, PublicKey, SealingKey, SignError};
use crate::domain::{DomainName, Selector};

/// A root's statement that a sealing key may seal for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// The key that made the statement.
    pub root: PublicKey,
    /// The sealing key.
    pub key: PublicKey,
    /// From when on it holds, in Unix seconds.
    pub not_before: u64,
    /// Until when it holds, in Unix seconds.
    pub not_after: u64,
    text: String,
    signed: Vec<u8>,
    signature: [u8; 64],
}

impl Delegation {
    /// Reads a seal's `c`, a statement for one domain and selector.
    pub fn parse(text: &str, domain: &DomainName, selector: &Selector) -> Result<Self, ParseKeyError> {
        let parts: Vec<&str> = text.split('.').collect();
        let [root, nb, na, key, signature] = parts[..] else { return Err(ParseKeyError::Delegation) };
        let signature =
            base64::URL_SAFE_NO_PAD.decode(signature).ok().and_then(|octets| octets.try_into().ok());
        Ok(Self {
            root: PublicKey::from_base64url(root)?,
            key: PublicKey::from_base64url(key)?,
            not_before: seconds(nb).ok_or(ParseKeyError::Delegation)?,
            not_after: seconds(na).ok_or(ParseKeyError::Delegation)?,
            text: text.to_owned(),
            signed: signed(domain, selector, nb, na, key),
            signature: signature.ok_or(ParseKeyError::Delegation)?,
        })
    }

    /// The statement by `root` that `key` may seal for this domain and selector from `not_before` to `not_after`.
    pub fn new(
        root: &SealingKey,
        domain: &DomainName,
        selector: &Selector,
        key: PublicKey,
        (not_before, not_after): (u64, u64),
    ) -> Result<Self, SignError> {
        let (nb, na, p) = (not_before.to_string(), not_after.to_string(), key.to_base64url());
        let signed = signed(domain, selector, &nb, &na, &p);
        let signature = root.sign(&signed)?;
        let root = root.public();
        let encoded = base64::URL_SAFE_NO_PAD.encode(signature);
        let text = format!("{}.{nb}.{na}.{p}.{encoded}", root.to_base64url());
        Ok(Self { root, key, not_before, not_after, text, signed, signature })
    }

    /// The statement as a seal carries it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the statement is its root's.
    pub fn is_signed(&self) -> bool {
        self.root.verifies(&self.signed, &self.signature)
    }

    /// Whether a seal made at `now` could be checked by it.
    pub fn covers(&self, now: u64) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// Whether the statement is its root's, and the seal's whole life lies within it: `nb` ≤ `t` < `x` ≤ `na`, so that a
    /// stolen sealing key dies with its delegation however its seals are dated.
    pub fn holds_for(&self, seal: &Seal) -> bool {
        self.not_before <= seal.statement.sealed_at
            && seal.statement.expires_at <= self.not_after
            && self.is_signed()
    }
}

fn signed(domain: &DomainName, selector: &Selector, nb: &str, na: &str, key: &str) -> Vec<u8> {
    format!("attachment-seal-delegation/1\nd={domain};s={selector};nb={nb};na={na};p={key}").into_bytes()
}

/// What the holder of a sealing key keeps of delegations to it: the newest that holds is put into each seal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delegations {
    by_root: Vec<Delegation>,
    /// For continuity alone: who remembers the earlier key believes this one. Nobody is kept from sealing when it ends.
    by_earlier_key: Vec<Delegation>,
}

/// None of a sealing key's delegations holds now, so nobody could check what it seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no delegation of the sealing key is valid now")]
pub struct NotDelegated;

/// How long a key may go on sealing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// When the last delegation ends, in Unix seconds.
    pub ends: u64,
    /// Seconds left, none if it has ended.
    pub left: u64,
    /// Whether less than a third of the last delegation's time is left.
    pub is_short: bool,
}

impl Delegations {
    /// A root's, without which the key may not seal.
    pub fn new(delegations: Vec<Delegation>) -> Self {
        Self { by_root: delegations, by_earlier_key: Vec::new() }
    }

    /// Those of the domain's earlier sealing key, which help correspondents that remember it.
    pub fn by_earlier_key(delegations: Vec<Delegation>) -> Self {
        Self { by_root: Vec::new(), by_earlier_key: delegations }
    }

    /// For a seal made at `now` that is to be valid for `lifetime` seconds: the delegation that it carries, if any, and
    /// when it ends, in Unix seconds.
    pub fn for_seal(&self, now: u64, lifetime: u64) -> Result<(Option<&Delegation>, u64), NotDelegated> {
        let ends = now.saturating_add(lifetime);
        if self.by_root.is_empty() {
            // One that the seal would outlive proves nothing, and the seal's time is not cut for it.
            let holds = |own: &&Delegation| own.covers(now) && ends <= own.not_after;
            let newest = self.by_earlier_key.iter().filter(holds).max_by_key(|own| own.not_after);
            return Ok((newest, ends));
        }
        let own = self.by_root_at(now).ok_or(NotDelegated)?;
        // A seal that outlived its delegation would not be covered by it.
        Ok((Some(own), ends.min(own.not_after)))
    }

    /// Of a root's delegations that hold at `now` the one that ends last, which is put into seals.
    pub fn by_root_at(&self, now: u64) -> Option<&Delegation> {
        self.by_root.iter().filter(|own| own.covers(now)).max_by_key(|own| own.not_after)
    }

    /// Those of the domain's earlier sealing key.
    pub fn by_earlier(&self) -> &[Delegation] {
        &self.by_earlier_key
    }

    /// Whether there was an earlier key's word, and it is of no use to any seal from `now` on.
    pub fn has_lapsed(&self, now: u64) -> bool {
        self.by_root.is_empty()
            && !self.by_earlier_key.is_empty()
            && self.by_earlier_key.iter().all(|own| own.not_after <= now)
    }

    /// How long the key may go on sealing without a pause from `now` on; `None` where it needs no root's delegation.
    pub fn life(&self, now: u64) -> Option<Life> {
        let mut by_start: Vec<&Delegation> = self.by_root.iter().collect();
        by_start.sort_by_key(|delegation| delegation.not_before);
        let mut ends = now;
        let mut last = *by_start.first()?;
        for delegation in by_start {
            if delegation.not_before <= ends && delegation.not_after > ends {
                (ends, last) = (delegation.not_after, delegation);
            }
        }
        let left = ends - now;
        let ends = if left == 0 { self.by_root.iter().map(|d| d.not_after).max()? } else { ends };
        Some(Life {
            ends,
            left,
            is_short: left < (last.not_after - last.not_before.min(last.not_after)) / 3 || left == 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn delegation(from: u64, to: u64) -> Delegation {
        let (root, key) = (SealingKey::from_seed(&[1; 32]), SealingKey::from_seed(&[2; 32]));
        let (domain, selector) = ("example.org".parse().unwrap(), "gate1".parse().unwrap());
        Delegation::new(&root, &domain, &selector, key.public(), (from * DAY, to * DAY)).unwrap()
    }

    #[test]
    fn what_a_root_writes_is_read_back() {
        let written = delegation(10, 40);
        let (domain, selector) = ("example.org".parse().unwrap(), "gate1".parse().unwrap());
        let read = Delegation::parse(written.as_str(), &domain, &selector).unwrap();
        assert_eq!(read, written);
        assert!(read.is_signed());
        let other = Delegation::parse(written.as_str(), &"example.net".parse().unwrap(), &selector).unwrap();
        assert!(!other.is_signed());
    }

    #[test]
    fn the_newest_that_holds_is_taken() {
        let all = Delegations::new(vec![delegation(10, 40), delegation(30, 60), delegation(50, 80)]);
        let ends = |day: u64| all.for_seal(day * DAY, DAY).map(|(own, _)| own.unwrap().not_after / DAY);
        assert_eq!(ends(9), Err(NotDelegated));
        assert_eq!(ends(10), Ok(40));
        assert_eq!(ends(30), Ok(60));
        assert_eq!(ends(55), Ok(80));
        assert_eq!(ends(80), Err(NotDelegated));
        assert_eq!(Delegations::default().for_seal(0, DAY), Ok((None, DAY)));
    }

    /// A seal ends with its root's delegation, and carries an earlier key's only where that covers all of its life.
    #[test]
    fn an_earlier_key_shortens_no_seal_and_stops_none() {
        let by_root = Delegations::new(vec![delegation(10, 40)]);
        let earlier = Delegations::by_earlier_key(vec![delegation(10, 40)]);
        let sealed = |delegations: &Delegations, day: u64| {
            delegations.for_seal(day * DAY, 14 * DAY).map(|(own, ends)| (own.is_some(), ends / DAY))
        };
        for (day, root, key) in [
            (9, Err(NotDelegated), (false, 23)),
            (10, Ok((true, 24)), (true, 24)),
            (26, Ok((true, 40)), (true, 40)),
            (27, Ok((true, 40)), (false, 41)),
            (40, Err(NotDelegated), (false, 54)),
        ] {
            assert_eq!(sealed(&by_root, day), root, "{day}");
            assert_eq!(sealed(&earlier, day), Ok(key), "{day}");
        }
        assert_eq!(earlier.life(39 * DAY), None);
        assert_eq!([39, 40].map(|day| earlier.has_lapsed(day * DAY)), [false, true]);
        assert!(!by_root.has_lapsed(40 * DAY) && !Delegations::default().has_lapsed(40 * DAY));
    }

    #[test]
    fn the_last_third_is_short() {
        let life = |delegations: Vec<Delegation>, day: u64| {
            let life = Delegations::new(delegations).life(day * DAY).unwrap();
            (life.ends / DAY, life.left / DAY, life.is_short)
        };
        assert_eq!(life(vec![delegation(10, 40)], 29), (40, 11, false));
        assert_eq!(life(vec![delegation(10, 40)], 31), (40, 9, true));
        assert_eq!(life(vec![delegation(10, 40)], 41), (40, 0, true));
        assert_eq!(life(vec![delegation(10, 40), delegation(35, 65)], 39), (65, 26, false));
        // A gap is an end.
        assert_eq!(life(vec![delegation(10, 40), delegation(45, 65)], 39), (40, 1, true));
        assert_eq!(Delegations::default().life(0), None);
    }
}
