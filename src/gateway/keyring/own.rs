//! A domain that we seal for: its keys as they were read, and what seals for it now.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use attachment_seal::domain::{DomainName, Selector};
use attachment_seal::seal::delegation::{Delegation, Delegations};
use attachment_seal::seal::key::{PublicKey, SealingKey};
use attachment_seal::seal::remembered::RECENT;
use attachment_seal::seal::sign::Sealer;
use tracing::warn;

use super::{Held, Keyring, Known};
use crate::config::{Located, Mistake, SealingDomain, SealingKeys};
use crate::keys::{self, FolderKey};

/// For clocks that are behind ours, in seconds.
const CLOCKS: u64 = 3_600;

/// A domain that we seal for.
#[derive(Debug)]
pub struct OwnDomain {
    /// What the configuration says of it.
    pub config: SealingDomain,
    /// What lies in its folder, where it has one.
    folder: Mutex<Folder>,
    /// `None` while no key may seal.
    sealer: ArcSwapOption<Sealer>,
}

#[derive(Debug, Default)]
struct Folder {
    keys: Vec<FolderKey>,
    revoked: Vec<Selector>,
    /// By the domain's root.
    delegations: Vec<(Selector, Vec<Delegation>)>,
}

impl OwnDomain {
    /// Reads its keys. Those of a folder do not seal before [`Self::seal_by`].
    pub fn read(config: &SealingDomain, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let own = Self::unread(config);
        match &config.keys {
            SealingKeys::Fixed { .. } => own.sealer.store(Some(Arc::new(fixed(config, mistakes)?))),
            SealingKeys::Folder(path) => {
                let wrong = own.read_folder();
                if !wrong.is_empty() {
                    mistakes.extend(wrong.into_iter().map(|reason| path.mistake(reason)));
                    return None;
                }
            }
        }
        Some(own)
    }

    /// A domain of which no key was read yet.
    pub fn unread(config: &SealingDomain) -> Self {
        Self { config: config.clone(), folder: Mutex::default(), sealer: ArcSwapOption::empty() }
    }

    /// Its name.
    pub fn name(&self) -> &DomainName {
        &self.config.name
    }

    /// What seals now, if a key may.
    pub fn sealer(&self) -> Option<Arc<Sealer>> {
        self.sealer.load_full()
    }

    /// Whether its keys are in a folder, and may follow each other.
    pub fn has_folder(&self) -> bool {
        matches!(self.config.keys, SealingKeys::Folder(_))
    }

    /// Whether its keys lie in the folder in another way than at `before`, if it has a folder.
    pub fn stamp(&self) -> Option<[(i64, i64); 2]> {
        match &self.config.keys {
            SealingKeys::Folder(path) => keys::folder_stamp(&path.value),
            SealingKeys::Fixed { .. } => None,
        }
    }

    /// Reads the folder again. What cannot be read now stays as it was read before, and comes back as what is wrong.
    pub fn read_folder(&self) -> Vec<String> {
        let SealingKeys::Folder(path) = &self.config.keys else { return Vec::new() };
        let known = self.folder().keys.clone();
        let found = match keys::read_key_folder(&path.value, &known) {
            Ok(found) => found,
            Err(error) => return vec![error.to_string()],
        };
        let mut wrong: Vec<String> = found.mistakes.iter().map(ToString::to_string).collect();
        let mut delegations = Vec::new();
        for key in &found.keys {
            let Some(folder) = &self.config.delegation else { break };
            match keys::read_delegations(&folder.value, self.name(), &key.selector) {
                Ok(all) => {
                    let is_own = |one: &Delegation| one.key == key.key.public() && one.is_signed();
                    delegations.push((key.selector.clone(), all.into_iter().filter(is_own).collect()));
                }
                Err(error) => {
                    wrong.push(error.to_string());
                    delegations.clone_from(&self.folder().delegations);
                    break;
                }
            }
        }
        *self.folder() = Folder { keys: found.keys, revoked: found.revoked, delegations };
        wrong
    }

    /// What lies in the folder, as the keyring wants to know it.
    pub fn held(&self, now: u64) -> Vec<Held> {
        let folder = self.folder();
        let keys = folder.keys.iter().map(|own| Held {
            selector: own.selector.to_string(),
            public: own.key.public().to_base64url(),
            made: own.times.made,
            not_before: own.times.not_before,
            is_delegated: self.config.delegation.is_none()
                || folder.delegations_of(&own.selector).iter().any(|one| one.covers(now)),
            is_revoked: folder.revoked.contains(&own.selector),
        });
        let mut held: Vec<Held> = keys.collect();
        let is_copied = |selector: &Selector| folder.keys.iter().any(|own| own.selector == *selector);
        held.extend(folder.revoked.iter().filter(|selector| !is_copied(selector)).map(|selector| Held {
            selector: selector.to_string(),
            public: String::new(),
            made: None,
            not_before: None,
            is_delegated: false,
            is_revoked: true,
        }));
        held
    }

    /// All its keys that are not revoked, by their selectors: also those that do not seal now.
    pub fn keys(&self) -> Vec<(Selector, PublicKey)> {
        if !self.has_folder() {
            let sealer = self.sealer();
            return sealer.iter().map(|sealer| (sealer.selector.clone(), sealer.key.public())).collect();
        }
        let folder = self.folder();
        let usable = folder.keys.iter().filter(|own| !folder.revoked.contains(&own.selector));
        usable.map(|own| (own.selector.clone(), own.key.public())).collect()
    }

    /// Seals from now on as the keyring has it.
    pub fn seal_by(&self, keyring: &Keyring, now: u64) {
        if !self.has_folder() {
            return;
        }
        let sealer = keyring.sealing().and_then(|known| self.sealer_with(known, keyring.voucher(), now));
        let is_same = |one: &Sealer, other: &Sealer| {
            (&one.selector, one.key.public(), &one.delegations)
                == (&other.selector, other.key.public(), &other.delegations)
        };
        match (self.sealer(), sealer) {
            (Some(before), Some(sealer)) if is_same(&before, &sealer) => {}
            (_, sealer) => self.sealer.store(sealer.map(Arc::new)),
        }
    }

    fn sealer_with(&self, known: &Known, voucher: Option<&Known>, now: u64) -> Option<Sealer> {
        let folder = self.folder();
        let find = |known: &Known| {
            let is_it = |own: &&FolderKey| {
                own.selector.as_str() == known.selector && own.key.public().to_base64url() == known.public
            };
            folder.keys.iter().find(is_it)
        };
        let own = find(known)?;
        let delegations = match (&self.config.delegation, voucher.and_then(find)) {
            (Some(_), _) => {
                let by_root = folder.delegations_of(&own.selector).to_vec();
                // Nobody could check a seal without one.
                (!by_root.is_empty()).then(|| Delegations::new(by_root))?
            }
            (None, Some(earlier)) => {
                let word = self.word(earlier, own, known.sealed.unwrap_or(now), now);
                Delegations::by_earlier_key(word.into_iter().collect())
            }
            (None, None) => Delegations::default(),
        };
        Some(Sealer {
            domain: self.name().clone(),
            selector: own.selector.clone(),
            key: own.key.clone(),
            lifetime: self.config.lifetime.as_secs(),
            delegations,
        })
    }

    /// What the earlier key states of the one that seals since `since`: for as long as the earlier one is remembered, and as the
    /// last seal made within that time is valid.
    fn word(&self, earlier: &FolderKey, own: &FolderKey, since: u64, now: u64) -> Option<Delegation> {
        let ends = since + RECENT + self.config.lifetime.as_secs();
        if ends <= now {
            return None;
        }
        let (key, period) = (own.key.public(), (since.saturating_sub(CLOCKS), ends));
        let is_said = |word: &&Delegation| {
            (word.root, word.key, word.not_before, word.not_after)
                == (earlier.key.public(), key, period.0, period.1)
        };
        // A token is not asked for the same again.
        if let Some(sealer) = self.sealer()
            && let Some(word) = sealer.delegations.by_earlier().iter().find(is_said)
        {
            return Some(word.clone());
        }
        match Delegation::new(&earlier.key, self.name(), &own.selector, key, period) {
            Ok(word) => Some(word),
            Err(error) => {
                warn!(domain = %self.name(), selector = %earlier.selector, %error, "an old key cannot vouch for the new one");
                None
            }
        }
    }

    fn folder(&self) -> MutexGuard<'_, Folder> {
        self.folder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Folder {
    fn delegations_of(&self, selector: &Selector) -> &[Delegation] {
        let own = self.delegations.iter().find(|(own, _)| own == selector);
        own.map(|(_, delegations)| delegations.as_slice()).unwrap_or_default()
    }
}

/// What seals with a key that stays.
fn fixed(domain: &SealingDomain, mistakes: &mut Vec<Mistake>) -> Option<Sealer> {
    let SealingKeys::Fixed { selector, key: place, succession } = &domain.keys else { return None };
    let key = place.note(keys::read_sealing_key(&place.value), mistakes)?;
    let mut read = |path| delegations(domain, selector, path, &key, mistakes);
    let delegations = match (&domain.delegation, succession) {
        (Some(path), _) => Delegations::new(read(path)?),
        (None, Some(path)) => Delegations::by_earlier_key(read(path)?),
        (None, None) => Delegations::default(),
    };
    Some(Sealer {
        domain: domain.name.clone(),
        selector: selector.clone(),
        key,
        lifetime: domain.lifetime.as_secs(),
        delegations,
    })
}

/// Those of the file or folder that are for the key. One that has ended is no mistake: the gateway starts, seals nothing
/// for the domain, and says why.
fn delegations(
    domain: &SealingDomain,
    selector: &Selector,
    path: &Located<PathBuf>,
    key: &SealingKey,
    mistakes: &mut Vec<Mistake>,
) -> Option<Vec<Delegation>> {
    let found = path.note(keys::read_delegations(&path.value, &domain.name, selector), mistakes)?;
    let own: Vec<Delegation> =
        found.iter().filter(|delegation| delegation.key == key.public()).cloned().collect();
    if own.is_empty() {
        let reason =
            if found.is_empty() { "holds no delegation" } else { "the delegation is for another key" };
        mistakes.push(path.mistake(reason));
        return None;
    }
    if !own.iter().all(Delegation::is_signed) {
        let domain = &domain.name;
        let reason = format!("the signature is not for {domain} and {selector}, or is damaged");
        mistakes.push(path.mistake(reason));
        return None;
    }
    Some(own)
}
