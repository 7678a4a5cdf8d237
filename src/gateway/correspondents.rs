//! What an administrator says of correspondents' keys, by command or at the console: approved, pinned, forgotten, noted. Each deed is
//! in the audit trail.

use attachment_seal::domain::{DomainName, Selector};
use attachment_seal::seal::fingerprint::Told;
use attachment_seal::seal::key::{KeyRecord, PublicKey};
use attachment_seal::seal::published::Published;
use jiff::Timestamp;
use thiserror::Error;
use tracing::warn;

use crate::clock::unix_time;
use crate::phrase::with_causes;
use crate::store::{self, By, DatabaseError, Deed, KeyState, PinsError, SaidKey, SaidPin, State, What};

/// Why something could not be said of a correspondent.
#[derive(Debug, Error)]
pub enum CorrespondentError {
    /// The database says no.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The pins cannot be changed.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// What is to be pinned makes no sense.
    #[error("{0}")]
    Pin(String),
}

/// The keys of a domain that wait to be approved, the newest first.
pub fn waiting(state: &State, domain: &DomainName) -> Result<Vec<store::KeyRecord>, DatabaseError> {
    let is_waiting = |key: &store::KeyRecord| matches!(key.state, KeyState::Offered | KeyState::Revoked);
    Ok(state.memories.keys(domain)?.into_iter().filter(is_waiting).collect())
}

/// Accepts a key that waits. Tells whether there was such a key.
pub fn approve(
    state: &State,
    domain: &DomainName,
    key: &PublicKey,
    by: &By,
) -> Result<bool, CorrespondentError> {
    let was_there = state.memories.approve(domain, key, unix_time().unwrap_or_default())?;
    if was_there {
        note(state, What::KeyApproved, &format!("{domain}, key {}", key.fingerprint().digits()), by);
    }
    Ok(was_there)
}

/// Forgets what is remembered of a domain. Tells whether something was.
pub fn forget(state: &State, domain: &DomainName, by: &By) -> Result<bool, CorrespondentError> {
    let was_known = state.memories.forget(domain)?;
    if was_known {
        note(state, What::Forgotten, domain.as_str(), by);
    }
    Ok(was_known)
}

/// Undoes what was pinned by command. Tells whether something was.
pub fn unpin(state: &State, domain: &DomainName, by: &By) -> Result<bool, CorrespondentError> {
    let mut was_pinned = false;
    state.pins.change(&mut |said| {
        let before = said.pins.len();
        said.pins.retain(|pin| pin.domain != domain.as_str());
        was_pinned = said.pins.len() < before;
    })?;
    if was_pinned {
        note(state, What::Unpinned, domain.as_str(), by);
    }
    Ok(was_pinned)
}

/// Notes that a domain sends unsealed mail, too, or takes that back.
pub fn note_unsealed(
    state: &State,
    domain: &DomainName,
    is_so: bool,
    by: &By,
) -> Result<(), CorrespondentError> {
    state.pins.change(&mut |said| {
        said.also_unsealed.retain(|noted| noted != domain.as_str());
        if is_so {
            said.also_unsealed.push(domain.to_string());
            said.also_unsealed.sort();
        }
    })?;
    let what = if is_so { What::UnsealedNoted } else { What::UnsealedNotedNoLonger };
    note(state, what, domain.as_str(), by);
    Ok(())
}

/// Adds to what is pinned for a domain already.
pub fn pin(state: &State, pin: &SaidPin, by: &By) -> Result<(), CorrespondentError> {
    state.pins.change(&mut |said| {
        let pin = pin.clone();
        match said.pins.iter_mut().find(|known| known.domain == pin.domain) {
            Some(known) => {
                merge(&mut known.keys, pin.keys);
                merge(&mut known.roots, pin.roots);
                merge(&mut known.fingerprints, pin.fingerprints);
                known.subdomains = pin.subdomains;
            }
            None => said.pins.push(pin),
        }
    })?;
    let keys = pin.keys.iter().filter_map(|said| KeyRecord::parse(&said.record).ok()?.key);
    let roots = pin.roots.iter().filter_map(|root| PublicKey::from_base64url(root).ok());
    let mut digits: Vec<String> = keys.chain(roots).map(|key| key.fingerprint().digits()).collect();
    merge(&mut digits, pin.fingerprints.clone());
    note(state, What::Pinned, &format!("{}: {}", pin.domain, digits.join("; ")), by);
    Ok(())
}

fn merge<T: PartialEq>(known: &mut Vec<T>, new: Vec<T>) {
    for item in new {
        if !known.contains(&item) {
            known.push(item);
        }
    }
}

/// Key records to be pinned, from the text that `name` calls; each with its selector: the given one, else the text's.
pub fn keys_to_pin(
    name: &str,
    text: &str,
    domain: &DomainName,
    selector: Option<&Selector>,
) -> Result<Vec<(Option<String>, KeyRecord)>, String> {
    let mut keys = Vec::new();
    for published in Published::read(text).map_err(|error| format!("{name}: {error}"))? {
        let Published::Key { owner, record } = published else {
            return Err(format!("{name}: not only key records; pin a root as a root (--root)"));
        };
        let (owner, own) = owner.unzip();
        if let Some(owner) = owner.filter(|owner| owner != domain) {
            return Err(format!("{name}: the record is {owner}'s, not {domain}'s"));
        }
        let selector = selector.cloned().or(own);
        if record.key.is_none() && selector.is_none() {
            return Err(format!("{name}: a revoked key (empty `p`) needs a selector: name it (--selector)"));
        }
        keys.push((selector.map(|selector| selector.to_string()), record));
    }
    Ok(keys)
}

/// Root keys to be pinned, likewise.
pub fn roots_to_pin(name: &str, text: &str, domain: &DomainName) -> Result<Vec<PublicKey>, String> {
    let root = |published| match published {
        Published::Root { owner: Some(owner), .. } if owner != *domain => {
            Err(format!("{name}: the root is {owner}'s, not {domain}'s"))
        }
        Published::Root { key, .. } => Ok(key),
        Published::Key { .. } | Published::Delegated { .. } => Err(format!("{name}: not only root keys")),
    };
    let found = Published::read(text).map_err(|error| format!("{name}: {error}"))?;
    found.into_iter().map(root).collect()
}

/// Adds a fingerprint to a pin. If a key with it was seen already, that is pinned, too.
pub fn add_fingerprint(
    state: &State,
    domain: &DomainName,
    told: &Told,
    pin: &mut SaidPin,
) -> Result<Option<PublicKey>, DatabaseError> {
    let seen = match state.memories.keys(domain) {
        Ok(keys) => keys.iter().map(|known| known.key).find(|key| told.is(&key.fingerprint())),
        Err(DatabaseError::None(_)) => None,
        Err(error) => return Err(error),
    };
    if let Some(key) = seen {
        let record = KeyRecord { key: Some(key), trial: false };
        pin.keys.push(SaidKey { selector: None, record: record.to_string() });
    }
    // Be it known as a key or not, it may be meant as a root, which vouches for others.
    pin.fingerprints.push(told.to_string());
    Ok(seen)
}

/// Writes down what was done. That it is done counts more than that it is written down.
fn note(state: &State, what: What, detail: &str, by: &By) {
    let deed = Deed {
        at: Timestamp::now(),
        who: by.who.clone(),
        what,
        id: None,
        message_id: None,
        recipients: Vec::new(),
        reason: by.reason.clone(),
        detail: Some(detail.to_owned()),
    };
    match state.audit.note(&deed) {
        // Before the first gateway has run, there is no trail.
        Ok(()) | Err(DatabaseError::None(_)) => {}
        Err(error) => {
            let (what, error) = (what.as_str(), with_causes(&error));
            warn!(what, detail, who = by.who, error, "what was done is not in the audit trail");
        }
    }
}
