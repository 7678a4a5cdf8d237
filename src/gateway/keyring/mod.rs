//! Which of a domain's keys seals. Keys lie in a folder; the newest seals that everybody finds in DNS and that nobody can
//! remember as missing. This file and `state` compute alone: what lies in the folder, what name servers and resolvers answer and
//! the time come from outside (`look`, `watch`). What is known survives restarts in `<state>/keys.json`; without it a new key is
//! waited for anew, and nothing else is lost.

pub mod look;
mod own;
mod state;
pub mod watch;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

pub use self::look::{Found, Look};
pub use self::own::OwnDomain;
pub use self::state::{State, Status, day};
pub use self::watch::Keyrings;

/// A key as it lies in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its selector.
    pub selector: String,
    /// The public key in base64url; empty for one that is out of use and was never seen before.
    pub public: String,
    /// When it was made, in Unix seconds, as its file says.
    pub made: Option<u64>,
    /// From when on it may seal.
    pub not_before: Option<u64>,
    /// Whether a delegation by the domain's root holds for it now, where the domain has a root.
    pub is_delegated: bool,
    /// Whether it is out of use for good.
    pub is_revoked: bool,
}

/// What is known of one key. Times are Unix seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Known {
    /// Its selector.
    pub selector: String,
    /// The public key in base64url.
    pub public: String,
    /// When it was made, as its file says.
    pub made: Option<u64>,
    /// From when on it may seal.
    pub not_before: Option<u64>,
    /// Whether it lies in the folder.
    pub held: bool,
    /// Whether it is out of use for good.
    pub revoked: bool,
    /// Whether the domain's root vouches for it, where there is one.
    pub delegated: bool,
    /// Since when it is known.
    pub since: u64,
    /// What was found of its record when it was last looked for.
    pub record: Found,
    /// When that was.
    pub looked: Option<u64>,
    /// Who answered what then, for people.
    pub answers: Vec<String>,
    /// Since when everybody gives its record.
    pub published: Option<u64>,
    /// From when on nobody can remember that there was none.
    pub settled: Option<u64>,
    /// Since when it seals, or sealed.
    pub sealed: Option<u64>,
    /// Since when it does not any more.
    pub replaced: Option<u64>,
}

/// One domain's keys, as the gateway knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Keyring {
    keys: Vec<Known>,
}

/// What names a key: its selector and the key itself, since a file may be replaced by another.
pub type Name = (String, String);

impl Known {
    /// Its name.
    pub fn name(&self) -> Name {
        (self.selector.clone(), self.public.clone())
    }

    fn is_usable(&self) -> bool {
        self.held && !self.revoked
    }

    fn seals(&self) -> bool {
        self.is_usable() && self.sealed.is_some() && self.replaced.is_none()
    }

    /// From when on it may seal, once everybody gives its record: nobody remembers its absence, and who must be told first is.
    fn may_seal_from(&self) -> u64 {
        self.settled.unwrap_or_default().max(self.not_before.unwrap_or_default())
    }

    /// What orders keys by age. A key that must wait for its day counts from that day: keys that were made meanwhile come before
    /// it. Keys that do not say when they were made are the oldest; among them gate9 goes before gate10.
    fn age(&self) -> (u64, Vec<(&str, u64)>, &str) {
        (self.made.max(self.not_before).unwrap_or_default(), natural(&self.selector), &self.public)
    }

    fn take_look(&mut self, look: &Look, now: u64) {
        self.record = look.found;
        self.looked = Some(now);
        self.answers.clone_from(&look.answers);
        // Whoever heard once more that there is none may remember that. And a clock that was set back has told nothing.
        if look.found.is_denied() || self.published.is_some_and(|since| since > now) {
            (self.published, self.settled) = (None, None);
        }
        if look.found.is_enough() && self.published.is_none() {
            self.published = Some(now);
            self.settled = Some(now.saturating_add(look.negative_ttl.into()));
        }
    }
}

impl Keyring {
    /// All keys that are known, the oldest first.
    pub fn keys(&self) -> &[Known] {
        &self.keys
    }

    /// The key that seals, if one may.
    pub fn sealing(&self) -> Option<&Known> {
        self.keys.iter().find(|key| key.seals())
    }

    /// The key that is to vouch for the one that seals: of the older ones that which sealed last. A revoked one vouches for
    /// nothing.
    pub fn voucher(&self) -> Option<&Known> {
        let sealing = self.keys.iter().position(Known::seals)?;
        self.keys[..sealing].iter().filter(|key| key.is_usable()).max_by_key(|key| key.sealed)
    }

    /// Takes in what lies in the folder now, and what was found of the keys that were looked for.
    pub fn advance(&mut self, held: &[Held], looks: &HashMap<Name, Look>, now: u64) {
        self.take_stock(held, now);
        self.inform(looks, now);
        if let Some(next) = self.next(looks, now) {
            for (at, key) in self.keys.iter_mut().enumerate() {
                if at == next {
                    (key.sealed, key.replaced) = (Some(now), None);
                } else if key.sealed.is_some() {
                    key.replaced.get_or_insert(now);
                }
            }
        }
    }

    /// Takes in what was found, and leaves the key in force that seals.
    pub fn inform(&mut self, looks: &HashMap<Name, Look>, now: u64) {
        for key in &mut self.keys {
            if let Some(look) = looks.get(&key.name()) {
                key.take_look(look, now);
            }
        }
    }

    /// Takes in what lies in the folder now. No other key seals by that, but a key that is gone or revoked seals no more.
    pub fn take_stock(&mut self, held: &[Held], now: u64) {
        for key in &mut self.keys {
            key.held = false;
        }
        for one in held {
            let is_same = |key: &&mut Known| {
                key.selector == one.selector && (key.public == one.public || one.public.is_empty())
            };
            let known = match self.keys.iter_mut().find(is_same) {
                Some(known) => known,
                None => {
                    let Held { selector, public, .. } = one.clone();
                    self.keys.push(Known { selector, public, since: now, ..Known::default() });
                    self.keys.last_mut().expect("pushed above")
                }
            };
            known.held = true;
            (known.made, known.not_before) = (one.made, one.not_before);
            known.delegated = one.is_delegated;
            // For good, whatever becomes of the file.
            known.revoked |= one.is_revoked;
        }
        for key in &mut self.keys {
            if key.sealed.is_some() && !key.is_usable() {
                key.replaced.get_or_insert(now);
            }
        }
        self.keys.sort_by(|a, b| a.age().cmp(&b.age()));
    }

    /// The place of the key that is to seal in the place of the one that does, or of none.
    fn next(&self, looks: &HashMap<Name, Look>, now: u64) -> Option<usize> {
        let sealing = self.keys.iter().position(Known::seals);
        // What was found at another time may be true no more.
        let found = |key: &Known| looks.get(&key.name()).map(|look| look.found);
        let may_begin =
            |key: &Known| key.is_usable() && key.delegated && key.not_before.is_none_or(|from| from <= now);
        let is_ready = |key: &Known| {
            may_begin(key) && found(key).is_some_and(Found::is_enough) && key.may_seal_from() <= now
        };
        let newer = sealing.map_or(0, |at| at + 1);
        let ready = (newer..self.keys.len()).rev().find(|at| is_ready(&self.keys[*at]));
        if ready.is_some() || sealing.is_some() {
            return ready;
        }
        // Without any, every minute costs all mail of the domain. The oldest that everybody gives now was most likely there
        // before as well, if we have lost what we knew.
        let is_given = |key: &Known| may_begin(key) && found(key).is_some_and(Found::is_given);
        if let Some(given) = self.keys.iter().position(is_given) {
            return Some(given);
        }
        // A domain's first key seals from the beginning: there is nothing better.
        match self.keys.as_slice() {
            [first] if may_begin(first) && first.sealed.is_none() => Some(0),
            _ => None,
        }
    }

    /// Drops what there is nothing more to say of.
    pub fn forget(&mut self, lifetime: u64, now: u64) {
        let done: Vec<bool> =
            self.statuses(lifetime, now).map(|status| status.state == State::Done).collect();
        let mut done = done.into_iter();
        self.keys.retain(|key| !done.next().unwrap_or_default() || key.held);
    }
}

/// A selector in pieces that order as people count: words, and the numbers behind them.
fn natural(selector: &str) -> Vec<(&str, u64)> {
    let (mut pieces, mut rest) = (Vec::new(), selector);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (word, number) = rest.split_at(digits);
        let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
        pieces.push((word, number[..end].parse().unwrap_or(u64::MAX)));
        rest = &number[end..];
    }
    pieces
}

#[cfg(test)]
mod tests;
