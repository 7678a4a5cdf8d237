//! The keyrings of the running gateway: it reads the folders again and again, looks for records, seals with another key once that
//! may seal, writes down what it knows, and tells the administrator what is to be done.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use attachment_seal::seal::key::{KeyRecord, PublicKey};
use futures_util::future::join_all;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::{Keyring, Known, Look, Name, OwnDomain, State, Status, look};
use crate::blocking::blocking;
use crate::clock::unix_time;
use crate::dns::key_record_name;
use crate::gateway::Running;
use crate::notify::{Alerter, Notice};
use crate::setup::Setup;
use crate::store::{KeysFile, StateFileError};

/// Between two reads of the folders, in seconds, unless something in them changes before.
const PAUSE: u64 = 60;

/// What waits for an administrator is said again after so many seconds, and by alert after so many.
const SAID_AGAIN: u64 = 6 * 3_600;
const ALERTED_AGAIN: u64 = 24 * 3_600;

/// Who has just made a key is about to publish it, and needs no alert.
const PUBLISHING: u64 = 3_600;

/// All keyrings, by domain.
type All = BTreeMap<String, Keyring>;

/// The keyrings of all our domains whose keys are in folders.
#[derive(Debug, Default)]
pub struct Keyrings {
    file: Option<KeysFile>,
    all: Mutex<All>,
    written: Mutex<Option<All>>,
    said: Mutex<HashMap<(String, Name), Said>>,
}

/// What was said of a key.
#[derive(Clone, Copy, Debug)]
struct Said {
    state: State,
    seals: bool,
    since: u64,
    last: u64,
    alerted: Option<u64>,
}

impl Keyrings {
    /// What was known when the gateway ran last; nothing, where that cannot be read. Without a state folder, nothing will be
    /// known after a restart.
    pub fn open(state: Option<&Path>) -> Self {
        let file = state.map(KeysFile::new);
        let all = match file.as_ref().map(KeysFile::read) {
            Some(Ok(all)) => all,
            Some(Err(error)) => {
                warn!(%error, "what was known of our keys is lost: new ones are waited for anew");
                All::default()
            }
            None => All::default(),
        };
        Self { file, all: Mutex::new(all), ..Self::default() }
    }

    /// What the gateway of this state folder knows, to look at.
    pub fn read(state: &Path) -> Result<Self, StateFileError> {
        let all = KeysFile::new(state).read()?;
        Ok(Self { all: Mutex::new(all), ..Self::default() })
    }

    /// Has each domain seal by what is known and what its folder held when it was read.
    pub fn settle(&self, setup: &Setup) {
        let now = unix_time().unwrap_or_default();
        let mut all = self.all();
        for own in setup.domains.iter().filter(|own| own.has_folder()) {
            let ring = all.entry(own.name().to_string()).or_default();
            ring.advance(&own.held(now), &HashMap::new(), now);
            own.seal_by(ring, now);
        }
        self.write(&all);
    }

    /// A domain's keyring as it is now.
    pub fn of(&self, own: &OwnDomain) -> Keyring {
        self.all().get(own.name().as_str()).cloned().unwrap_or_default()
    }

    /// Reads a domain's folder, looks for the records whose time it is, and goes by what comes of it. Gives the time of the
    /// next look.
    async fn look(&self, running: &Running, own: &Arc<OwnDomain>, all_at_once: bool) -> u64 {
        let reading = Arc::clone(own);
        for reason in blocking(move || reading.read_folder()).await {
            warn!(domain = %own.name(), reason, "a key cannot be read");
        }
        let lifetime = own.config.lifetime.as_secs();
        let now = unix_time().unwrap_or_default();
        let due: Vec<Known> = {
            let mut all = self.all();
            let ring = all.entry(own.name().to_string()).or_default();
            ring.advance(&own.held(now), &HashMap::new(), now);
            own.seal_by(ring, now);
            let looks = ring.next_look(lifetime, now).filter(|(_, at)| all_at_once || *at <= now);
            looks.map(|(key, _)| key.clone()).collect()
        };
        let looks: HashMap<Name, Look> =
            join_all(due.iter().map(|key| look_for(running, own, key))).await.into_iter().flatten().collect();
        let now = unix_time().unwrap_or_default();
        let (ring, before) = {
            let mut all = self.all();
            let ring = all.entry(own.name().to_string()).or_default();
            let before = ring.clone();
            ring.advance(&own.held(now), &looks, now);
            ring.forget(lifetime, now);
            let ring = ring.clone();
            // Nobody shall see a seal by a key of which a restart would know nothing.
            self.write(&all);
            own.seal_by(&ring, now);
            (ring, before)
        };
        self.tell(running.alerter.as_ref(), own, (&before, &ring), now);
        ring.next_look(lifetime, now).map(|(_, at)| at).min().unwrap_or(u64::MAX).min(now + PAUSE)
    }

    fn write(&self, all: &All) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = self.file.as_ref().filter(|_| written.as_ref() != Some(all)) else { return };
        match file.replace(all) {
            Ok(()) => *written = Some(all.clone()),
            Err(error) => warn!(%error, "after a restart, new keys will be waited for anew"),
        }
    }

    /// Says what is new, and again what waits for somebody.
    fn tell(
        &self,
        alerter: Option<&Alerter>,
        own: &OwnDomain,
        (before, ring): (&Keyring, &Keyring),
        now: u64,
    ) {
        let domain = own.name();
        for key in ring.keys() {
            let known = before.keys().iter().find(|known| known.name() == key.name());
            let is_new = |answer: &&String| known.is_none_or(|known| !known.answers.contains(answer));
            for answer in key.answers.iter().filter(is_new) {
                info!(%domain, selector = key.selector, answer, "asked for a key's record");
            }
        }
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        for status in ring.statuses(own.config.lifetime.as_secs(), now) {
            let name = (domain.to_string(), status.key.name());
            let known = said
                .get(&name)
                .copied()
                .filter(|said| (said.state, said.seals) == (status.state, status.seals));
            let is_due = |last: Option<u64>, pause| last.is_none_or(|last| last + pause <= now);
            let mut new = known.unwrap_or(Said {
                state: status.state,
                seals: status.seals,
                since: now,
                last: now,
                alerted: None,
            });
            let text = sentence(own, &status);
            if status.state.needs_somebody() {
                if known.is_none() || is_due(Some(new.last), SAID_AGAIN) {
                    warn!("{domain}: {text}");
                    new.last = now;
                }
                let is_expected =
                    status.state == State::Publish && !status.seals && now < new.since + PUBLISHING;
                if !is_expected && is_due(new.alerted, ALERTED_AGAIN) {
                    new.alerted = Some(now);
                    if let Some(alerter) = alerter {
                        let subject =
                            format!("the key {} of {domain}: {}", status.key.selector, status.words());
                        alerter.notice(Notice { subject, text: format!("{domain}: {text}") });
                    }
                }
            } else if known.is_none() {
                info!("{domain}: {text}");
            }
            said.insert(name, new);
        }
        self.tell_of_none(alerter, own, ring, &mut said, now);
    }

    /// Says that no key may seal, as long as that is so.
    fn tell_of_none(
        &self,
        alerter: Option<&Alerter>,
        own: &OwnDomain,
        ring: &Keyring,
        said: &mut HashMap<(String, Name), Said>,
        now: u64,
    ) {
        let (domain, name) = (own.name(), (own.name().to_string(), Name::default()));
        if own.sealer().is_some() {
            said.remove(&name);
            return;
        }
        let is_due = said.get(&name).is_none_or(|said| said.last + SAID_AGAIN <= now);
        if !is_due {
            return;
        }
        let todo =
            match ring.statuses(0, now).find(|status| !status.key.revoked && status.state.needs_somebody()) {
                Some(status) => sentence(own, &status),
                None => format!("make one (waxseal keygen --domain {domain})"),
            };
        let text = format!("no key may seal for {domain}, so its mail is put off (451): {todo}");
        error!("{text}");
        if let Some(alerter) = alerter {
            alerter.notice(Notice { subject: format!("no key may seal for {domain}"), text });
        }
        let state = State::Done;
        said.insert(name, Said { state, seals: false, since: now, last: now, alerted: Some(now) });
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn look_for(running: &Running, own: &OwnDomain, key: &Known) -> Option<(Name, Look)> {
    let selector = key.selector.parse().ok()?;
    // Of a key that was out of use when it was first seen we know no more than its selector, which is enough to see it revoked.
    let public = PublicKey::from_base64url(&key.public).ok();
    let names = (own.name(), &selector);
    Some((key.name(), look::look(&running.setup.dns, &own.config.name_servers, names, public).await))
}

/// What is to be done about a key.
pub fn sentence(own: &OwnDomain, status: &Status<'_>) -> String {
    status.next(&record_name(own, status.key), &record(status.key))
}

/// Where a key's record is to be.
pub fn record_name(own: &OwnDomain, key: &Known) -> String {
    key.selector
        .parse()
        .map_or_else(|_| key.selector.clone(), |selector| key_record_name(own.name(), &selector))
}

/// A key's record.
pub fn record(key: &Known) -> String {
    let key = PublicKey::from_base64url(&key.public).ok();
    KeyRecord { key, trial: false }.to_string()
}

/// Watches the keys of whatever runs, until `shutdown` turns true. After a reload all is looked at and said anew.
pub async fn watch(
    running: Arc<ArcSwap<Running>>,
    keyrings: Arc<Keyrings>,
    reloaded: Arc<Notify>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut all_at_once = false;
    loop {
        let (next, stamps) = {
            let now = running.load_full();
            let domains: Vec<_> = now.setup.domains.iter().filter(|own| own.has_folder()).collect();
            let stamps: Vec<_> = domains.iter().map(|own| own.stamp()).collect();
            let looks = join_all(domains.iter().map(|own| keyrings.look(&now, own, all_at_once)));
            let next = tokio::select! {
                next = looks => next.into_iter().min(),
                _ = shutdown.wait_for(|stop| *stop) => return,
            };
            (next, stamps)
        };
        let changed = async {
            loop {
                sleep(Duration::from_secs(1)).await;
                let now = running.load();
                let domains = now.setup.domains.iter().filter(|own| own.has_folder());
                let is_time = next.is_some_and(|next| next <= unix_time().unwrap_or_default());
                if is_time || !domains.map(|own| own.stamp()).eq(stamps.iter().copied()) {
                    return;
                }
            }
        };
        all_at_once = tokio::select! {
            () = changed => false,
            () = reloaded.notified() => {
                keyrings.said.lock().unwrap_or_else(PoisonError::into_inner).clear();
                true
            }
            _ = shutdown.wait_for(|stop| *stop) => return,
        };
    }
}
