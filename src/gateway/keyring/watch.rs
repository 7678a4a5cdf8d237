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
use crate::dns::{self, key_record_name};
use crate::gateway::Running;
use crate::gateway::post::Post;
use crate::gateway::setup::Setup;
use crate::notify::Notice;
use crate::store::{KeysFile, StateFileError};

/// Between two reads of the folders, in seconds, unless something in them changes before.
const PAUSE: u64 = 60;

/// What waits for an administrator is said again after so many seconds, and by alert after so many.
const SAID_AGAIN: u64 = 6 * 3_600;
const ALERTED_AGAIN: u64 = 24 * 3_600;

/// Who has just made a key is about to publish it, and needs no alert.
const PUBLISHING: u64 = 3_600;

/// Between two looks whether a folder has changed.
const LISTEN: Duration = Duration::from_secs(1);

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

/// What was said of a key, or of a domain. Times are Unix seconds.
#[derive(Debug, Default)]
struct Said {
    what: String,
    since: u64,
    last: u64,
    alerted: u64,
}

impl Keyrings {
    /// What was known when the gateway ran last; nothing, where that cannot be read. Without a state folder, nothing will be
    /// known after a restart.
    pub fn open(state: Option<&Path>) -> Self {
        let read = state.map(Self::read).transpose().unwrap_or_else(|error| {
            warn!(%error, "what was known of our keys is lost: new ones are waited for anew");
            None
        });
        Self { file: state.map(KeysFile::new), ..read.unwrap_or_default() }
    }

    /// What the gateway of this state folder knows, to look at.
    pub fn read(state: &Path) -> Result<Self, StateFileError> {
        let all = KeysFile::new(state).read()?;
        Ok(Self { all: Mutex::new(all), ..Self::default() })
    }

    /// Has each domain seal by what is known and what its folder held when it was read.
    pub fn settle(&self, setup: &Setup) {
        for own in setup.domains.iter().filter(|own| own.has_folder()) {
            self.advance(own, &HashMap::new());
        }
    }

    /// A domain's keyring as it is now.
    pub fn of(&self, own: &OwnDomain) -> Keyring {
        lock(&self.all).get(own.name().as_str()).cloned().unwrap_or_default()
    }

    /// Has a domain seal by what its folder holds and what was found: the keyring that comes of it. Waits for the disk, and for a
    /// token that is to vouch.
    fn advance(&self, own: &OwnDomain, looks: &HashMap<Name, Look>) -> Keyring {
        let now = unix_time().unwrap_or_default();
        let mut all = lock(&self.all);
        let ring = all.entry(own.name().to_string()).or_default();
        ring.advance(&own.held(now), looks, now);
        ring.forget(own.config.lifetime.as_secs(), now);
        let ring = ring.clone();
        // Nobody shall see a seal by a key of which a restart would know nothing.
        self.write(&all);
        own.seal_by(&ring, now);
        ring
    }

    fn write(&self, all: &All) {
        let mut written = lock(&self.written);
        let Some(file) = self.file.as_ref().filter(|_| written.as_ref() != Some(all)) else { return };
        match file.replace(all) {
            Ok(()) => *written = Some(all.clone()),
            Err(error) => warn!(%error, "after a restart, new keys will be waited for anew"),
        }
    }

    /// Reads a domain's folder, looks for the records whose time it is, and goes by what comes of it. Gives the time of the
    /// next look.
    async fn look(
        self: &Arc<Self>,
        running: &ArcSwap<Running>,
        own: &Arc<OwnDomain>,
        all_at_once: bool,
    ) -> u64 {
        let (lifetime, now) = (own.config.lifetime.as_secs(), unix_time().unwrap_or_default());
        let (keyrings, reading) = (Arc::clone(self), Arc::clone(own));
        let read = move || (reading.read_folder(), keyrings.advance(&reading, &HashMap::new()));
        let (wrong, before) = blocking(read).await;
        let due = before.next_look(lifetime, now).filter(|(_, at)| all_at_once || *at <= now);
        let settings = running.load().setup.dns.clone();
        let asked = due.map(|(key, _)| look_for(&settings, own, key));
        let looks: HashMap<Name, Look> = join_all(asked).await.into_iter().flatten().collect();
        // What a reload has put in the place of this goes by another folder, perhaps.
        if !running.load().setup.domains.iter().any(|current| Arc::ptr_eq(current, own)) {
            return now;
        }
        let (keyrings, asking) = (Arc::clone(self), Arc::clone(own));
        let ring = blocking(move || keyrings.advance(&asking, &looks)).await;
        let now = unix_time().unwrap_or_default();
        self.tell(&running.load().post, own, (&before, &ring), &wrong, now);
        ring.next_look(lifetime, now).map(|(_, at)| at).min().unwrap_or(u64::MAX).min(now + PAUSE)
    }

    /// Says what is new, and again what waits for somebody.
    fn tell(
        &self,
        post: &Post,
        own: &OwnDomain,
        (before, ring): (&Keyring, &Keyring),
        wrong: &[String],
        now: u64,
    ) {
        let domain = own.name();
        let is_known = |answer: &String| before.keys().iter().any(|key| key.answers.contains(answer));
        for key in ring.keys() {
            for answer in key.answers.iter().filter(|answer| !is_known(answer)) {
                info!(%domain, selector = key.selector, answer, "asked for a key's record");
            }
        }
        let remind = |name: Name, subject: String, text: String, patience: u64| {
            let notice = Notice { subject, text: format!("{domain}: {text}") };
            self.remind(post, (domain.to_string(), name), notice, patience, now)
        };
        let statuses: Vec<_> = ring.statuses(own.config.lifetime.as_secs(), now).collect();
        for status in &statuses {
            let text = sentence(own, status);
            if status.state.needs_somebody() {
                let is_expected = status.state == State::Publish && !status.seals;
                let subject = format!("the key {} of {domain}: {}", status.key.selector, status.words());
                let patience = if is_expected { PUBLISHING } else { 0 };
                if remind(status.key.name(), subject, text.clone(), patience) {
                    warn!("{domain}: {text}");
                }
            } else {
                let mut said = lock(&self.said);
                let known = said.entry((domain.to_string(), status.key.name())).or_default();
                if known.what != text {
                    info!("{domain}: {text}");
                    *known = Said { what: text, ..Said::default() };
                }
            }
        }
        if own.sealer().is_none() {
            let todo = statuses.iter().find(|status| !status.key.revoked && status.state.needs_somebody());
            let todo = todo.map_or_else(
                || format!("make one (waxseal keygen --domain {domain})"),
                |status| sentence(own, status),
            );
            let subject = format!("no key may seal for {domain}");
            let text = format!("{subject}, so its mail is put off (451): {todo}");
            if remind(Name::default(), subject, text.clone(), 0) {
                error!("{text}");
            }
        }
        if !wrong.is_empty() {
            let name = ("a file".to_owned(), String::new());
            if remind(name, format!("a key of {domain} cannot be read"), wrong.join("; "), 0) {
                warn!("{domain}: {}", wrong.join("; "));
            }
        }
    }

    /// Whether it is time to say in the log what waits for somebody. Says it by alert as well, once it has lasted longer than
    /// `patience` seconds.
    fn remind(&self, post: &Post, name: (String, Name), notice: Notice, patience: u64, now: u64) -> bool {
        let mut said = lock(&self.said);
        let known = said.entry(name).or_default();
        if known.what != notice.text {
            *known = Said { what: notice.text.clone(), since: now, last: 0, alerted: 0 };
        }
        let is_due = known.last + SAID_AGAIN <= now;
        if is_due {
            known.last = now;
        }
        if known.since + patience <= now && known.alerted + ALERTED_AGAIN <= now {
            known.alerted = now;
            post.notice(notice);
        }
        is_due
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn look_for(settings: &dns::Settings, own: &OwnDomain, key: &Known) -> Option<(Name, Look)> {
    let selector = key.selector.parse().ok()?;
    // Of a key that was out of use when it was first seen we know no more than its selector, which is enough to see it revoked.
    let public = PublicKey::from_base64url(&key.public).ok();
    let names = (own.name(), &selector);
    Some((key.name(), look::look(settings, &own.config.name_servers, names, public).await))
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
        let now = running.load_full();
        let domains: Vec<_> = now.setup.domains.iter().filter(|own| own.has_folder()).collect();
        let stamps: Vec<_> = domains.iter().map(|own| own.stamp()).collect();
        let looks = join_all(domains.iter().map(|own| keyrings.look(&running, own, all_at_once)));
        let next = tokio::select! {
            next = looks => next.into_iter().min(),
            _ = shutdown.wait_for(|stop| *stop) => return,
        };
        let is_time = || {
            let is_changed = || !domains.iter().map(|own| own.stamp()).eq(stamps.iter().copied());
            next.is_some_and(|next| next <= unix_time().unwrap_or_default() || is_changed())
        };
        let wait = async {
            while !is_time() {
                sleep(LISTEN).await;
            }
        };
        all_at_once = tokio::select! {
            () = wait => false,
            () = reloaded.notified() => {
                lock(&keyrings.said).clear();
                true
            }
            _ = shutdown.wait_for(|stop| *stop) => return,
        };
    }
}
