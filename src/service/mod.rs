//! The running gateway: every listener bound and served, the configuration swapped on reload, an orderly end.

mod digest;
mod held_mail;
pub mod open_files;
pub mod reminders;
mod sender;
mod sockets;
pub mod systemd;
mod web_sites;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::civil::Time;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::task::{self, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use self::digest::Digester;
use self::sender::Sender;
use self::sockets::{BoundListener, BoundWeb, bind_all, bind_web, nobodys};
use self::web_sites::sites;
use crate::config::{Alerts, ListenAddress, Mode};
use crate::dns::lookup::LookupKey;
use crate::gateway::keyring::{self, Keyrings};
use crate::gateway::known::CurrentPins;
use crate::gateway::post::Post;
use crate::gateway::setup::Setup;
use crate::gateway::{Gateway, Running};
use crate::metrics::Metrics;
use crate::monitoring::{Counted, Monitoring, Reloads, Watched};
use crate::notify::{self, Alerter, Notice};
use crate::phrase::counted;
use crate::service::systemd::HandedOver;
use crate::smtp::{self, Resources};
use crate::store::{
    self, AuditTrail, DatabaseError, Location, OpenError, PinsError, Presence, Recorder, State, StoreError,
};
use crate::web;

/// How long deliveries may take to finish once the gateway is told to stop.
pub const GRACE: Duration = Duration::from_secs(30);

/// How long the last lines of memory may take to be written.
const MEMORY_GRACE: Duration = Duration::from_secs(5);

/// Between two looks whether the database can be used.
const WATCH: Duration = Duration::from_secs(1);

/// A database that comes and goes is told of no more often than this.
const TOLD_AGAIN: Duration = Duration::from_secs(3_600);

/// How long what was begun at the console may take to be finished, once the last delivery is.
const DEED_GRACE: Duration = Duration::from_secs(10);

/// How long the answer to that may take.
const LAST_ANSWER: Duration = Duration::from_millis(500);

/// How long the last alerts may take to be sent.
const ALERT_GRACE: Duration = Duration::from_secs(10);

/// Why the gateway cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("listener `{listener}`: cannot listen on {address}: {error}")]
    Listen {
        /// Whose address it is.
        listener: String,
        /// The address.
        address: ListenAddress,
        /// Why.
        error: io::Error,
    },
    /// An address of `[admin]` or `[console]` cannot be listened on.
    #[error("{section}.listen: cannot listen on {address}: {error}")]
    Web {
        /// Whose it is.
        section: &'static str,
        /// The address.
        address: ListenAddress,
        /// Why.
        error: io::Error,
    },
    /// A socket handed over is no listener's.
    #[error(
        "a socket is handed over as `{name}`, and no listener has that name: write FileDescriptorName= with one \
         of {listeners} into its .socket unit"
    )]
    NobodysSocket {
        /// The socket's name.
        name: String,
        /// The listeners' names.
        listeners: String,
    },
    /// A socket handed over cannot be used.
    #[error("listener `{listener}`: the socket handed over cannot be used: {error}")]
    HandedOver {
        /// Whose socket it is.
        listener: String,
        /// Why.
        error: io::Error,
    },
    /// A socket for the console that other machines reach, and no certificate.
    #[error(
        "the socket handed over for the console can be reached from other machines, at {0}, and passwords go over it: add \
             certificate and key to [console]"
    )]
    UnsecuredConsole(ListenAddress),
    /// Another gateway has the state folder.
    #[error(
        "another gateway runs with the state folder {0} (see gateway.json there): stop it, or give each gateway a state \
         folder of its own"
    )]
    StateInUse(String),
    /// The state folder cannot be used.
    #[error("the state folder {folder} cannot be used: {error}")]
    State {
        /// The state folder.
        folder: String,
        /// Why.
        error: String,
    },
    /// The quarantine cannot be used.
    #[error("the quarantine in {folder} cannot be used: {error}: {}", source_of(.error))]
    Quarantine {
        /// The state folder.
        folder: String,
        /// Why.
        error: StoreError,
    },
    /// The database cannot be used, and trying again would not help.
    #[error(transparent)]
    Database(DatabaseError),
    /// There is no thread for the memory.
    #[error("cannot open the memory: {0}")]
    Memory(io::Error),
    /// The pins made by command cannot be read; without them mail would be believed that must not be.
    #[error("pins made by command: {0}")]
    Pins(#[from] PinsError),
    /// An address of `[alerts]` is none.
    #[error("alerts: {0}")]
    Alerts(#[from] notify::AddressError),
}

fn source_of(error: &StoreError) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}

/// A gateway whose listeners are bound.
#[derive(Debug)]
pub struct Service<L> {
    running: Arc<ArcSwap<Running>>,
    sockets: Vec<BoundListener>,
    web: Vec<BoundWeb>,
    lookup: Arc<Counted<L>>,
    alerts: JoinSet<()>,
    resources: Resources,
    metrics: Arc<Metrics>,
    reloads: Arc<Reloads>,
    memory: Option<JoinHandle<()>>,
    audit: Option<Arc<dyn AuditTrail>>,
    presence: Option<Arc<Presence>>,
    reloaded: Arc<Notify>,
    /// What is shared with other gateways, if anything is.
    state: Option<State>,
}

/// Puts another configuration in force.
#[derive(Clone, Debug)]
pub struct Reloader {
    /// Not ours to keep: alerts and memory are finished when nobody runs any more.
    running: Weak<ArcSwap<Running>>,
    reloads: Arc<Reloads>,
    presence: Option<Arc<Presence>>,
    reloaded: Arc<Notify>,
}

impl<L: LookupKey> Service<L> {
    /// Binds every address of the configuration and opens the quarantine. Needs a Tokio runtime. A listener for
    /// which a socket is handed over, or several, has those instead of its addresses.
    pub async fn bind(setup: Setup, mut handed_over: HandedOver, lookup: L) -> Result<Self, StartError> {
        let sockets = bind_all(&setup, &mut handed_over).await?;
        let web = bind_web(&setup.config, &mut handed_over).await?;
        if let Some(name) = handed_over.left_over() {
            return Err(nobodys(name, &setup));
        }
        let presence = claim_state(&setup)?;
        let (place, folder) = (&setup.config.state, &setup.config.state.folder);
        let is_verifying = sockets.iter().any(|socket| socket.mode == Mode::Verify);
        let (state, quarantine, recording) = if is_verifying {
            let state = State::open_to_serve(place).map_err(|error| match error {
                OpenError::Quarantine(error) => {
                    StartError::Quarantine { folder: folder.display().to_string(), error }
                }
                OpenError::Database(error) => StartError::Database(error),
            })?;
            let recording = Recorder::start(Arc::clone(&state.memories)).map_err(StartError::Memory)?;
            (state.clone(), Some(Arc::clone(&state.quarantine)), Some(recording))
        } else {
            // It judges nothing, so it needs nothing that others share.
            (State::open(&folder.as_path().into()), None, None)
        };
        let (recorder, memory) = recording.unzip();
        let audit = quarantine.is_some().then(|| Arc::clone(&state.audit));
        let pins = CurrentPins::read(setup.pins.clone(), Arc::clone(&state.pins))?;
        let spool = spool_folder(folder);
        let mut alerts = JoinSet::new();
        let alerter = match &setup.config.alerts {
            Some(settings) => {
                let (alerter, task) = Alerter::start(&alert_settings(settings, &setup))?;
                alerts.spawn(task);
                Some(alerter)
            }
            None => None,
        };
        let administrator = setup.config.alerts.as_ref().map(|alerts| alerts.to.clone()).zip(alerter);
        let post = Post::new(administrator, quarantine.is_some().then(|| Arc::clone(&state.outbox)));
        if recorder.as_ref().is_some_and(|recorder| !recorder.is_open()) {
            post.notice(memory_notice(place));
        }
        let modes = setup.config.listeners.iter();
        let modes = modes.map(|listener| (listener.name.clone(), listener.mode.as_str()));
        let metrics = Arc::new(Metrics::new(modes));
        let keyrings = Keyrings::open(presence.is_some().then_some(folder.as_path()));
        keyrings.settle(&setup);
        announce(presence.as_ref(), false);
        let running = Arc::new(ArcSwap::from_pointee(Running {
            setup: Arc::new(setup),
            pins: Arc::new(pins),
            quarantine,
            recorder,
            post,
            keyrings: Arc::new(keyrings),
        }));
        Ok(Self {
            running,
            sockets,
            web,
            lookup: Arc::new(Counted::new(lookup, Arc::clone(&metrics))),
            alerts,
            resources: Resources::counted(spool, Arc::clone(&metrics)),
            metrics,
            reloads: Arc::default(),
            memory,
            audit,
            presence: presence.map(Arc::new),
            reloaded: Arc::new(Notify::new()),
            state: is_verifying.then_some(state),
        })
    }

    /// The addresses that are listened on, by listener: as the sockets have them, so with port 0 in the configuration
    /// what the system chose.
    pub fn addresses(&self) -> Vec<(String, ListenAddress)> {
        self.sockets.iter().map(|socket| (socket.name.clone(), socket.address.clone())).collect()
    }

    /// Where metrics and health are told, likewise.
    pub fn admin_addresses(&self) -> Vec<ListenAddress> {
        self.web.iter().filter(|socket| socket.is_admin).map(|socket| socket.address.clone()).collect()
    }

    /// Where the console is, likewise.
    pub fn console_addresses(&self) -> Vec<ListenAddress> {
        self.web.iter().filter(|socket| socket.is_console).map(|socket| socket.address.clone()).collect()
    }

    /// What all sessions share.
    pub fn resources(&self) -> Resources {
        self.resources.clone()
    }

    /// What a reload goes through.
    pub fn reloader(&self) -> Reloader {
        Reloader {
            running: Arc::downgrade(&self.running),
            reloads: Arc::clone(&self.reloads),
            presence: self.presence.clone(),
            reloaded: Arc::clone(&self.reloaded),
        }
    }

    /// Serves until `shutdown` turns true; then sessions between messages get 421, and messages under way have
    /// [`GRACE`] to be finished.
    pub async fn run(mut self, shutdown: watch::Receiver<bool>) {
        let (mut serving, mut watched) = (JoinSet::new(), Vec::new());
        for BoundListener { name, mode, socket, .. } in self.sockets {
            let running = Arc::clone(&self.running);
            let (lookup, metrics) = (Arc::clone(&self.lookup), Arc::clone(&self.metrics));
            let gateway = Gateway::new(mode, Arc::clone(&running), lookup, metrics);
            let served = Watched::serve(&mut watched, &name, mode);
            // A listener that a later configuration lacks goes on with what it began with; the reload says so.
            let Some(first) = running.load().setup.smtp_settings(&name) else { continue };
            let settings =
                move || running.load().setup.smtp_settings(&name).unwrap_or_else(|| Arc::clone(&first));
            let serve = smtp::serve(
                socket,
                settings,
                Arc::new(gateway),
                self.resources.clone(),
                shutdown.clone(),
                GRACE,
            );
            serving.spawn(async move {
                let _served = served;
                serve.await;
            });
        }
        // To the end of the last delivery, so that whoever watches sees that we are about to go.
        let monitoring = Monitoring::new(
            Arc::clone(&self.running),
            self.resources.clone(),
            self.metrics,
            self.reloads,
            watched,
            shutdown.clone(),
        );
        let under_way = Arc::default();
        let (sites, files) =
            sites(self.web, &Arc::new(monitoring), &self.running, self.state.as_ref(), &shutdown, &under_way);
        let monitoring = tokio::spawn(async move {
            // The sockets' own files are there for as long as they are served.
            let _files = files;
            web::serve(sites).await;
        });
        let expiry = tokio::spawn(reminders::watch(Arc::clone(&self.running), shutdown.clone()));
        let memory = tokio::spawn(watch_memory(Arc::clone(&self.running), shutdown.clone()));
        let (running, stop) = (Arc::clone(&self.running), shutdown.clone());
        let held_mail = self.audit.map(|audit| tokio::spawn(held_mail::watch(running, audit, stop)));
        let (stop_sending, stopped) = watch::channel(false);
        let sender =
            Sender::of(&self.running, self.state.as_ref()).map(|sender| tokio::spawn(sender.run(stopped)));
        let digest = self.state.zip(digest_time(&self.running.load())).map(|(state, time)| {
            let (running, lookup) = (Arc::clone(&self.running), Arc::clone(&self.lookup));
            tokio::spawn(Digester { running, state, lookup, time }.run(shutdown.clone()))
        });
        let keyrings = Arc::clone(&self.running.load().keyrings);
        let keys =
            tokio::spawn(keyring::watch::watch(Arc::clone(&self.running), keyrings, self.reloaded, shutdown));
        while let Some(ended) = serving.join_next().await {
            if let Err(fault) = ended {
                error!(%fault, "a listener was ended by a fault in this program");
            }
        }
        if under_way.try_write().is_err() {
            if timeout(DEED_GRACE, under_way.write()).await.is_err() {
                warn!("something that was begun at the console is not finished");
            }
            // Whoever began it is told.
            sleep(LAST_ANSWER).await;
        }
        for task in [expiry, keys, memory, monitoring].into_iter().chain(digest).chain(held_mail) {
            task.abort();
            // Waits until it has let go of what runs.
            let _ = task.await;
        }
        stop_sending.send_replace(true);
        if let Some(sender) = sender
            && timeout(ALERT_GRACE, sender).await.is_err()
        {
            info!("mail waits in the outbox for the next start");
        }
        // The last handles to the alerter go with what runs; its task then sends what waits, and ends.
        drop(self.running);
        let told = async { while self.alerts.join_next().await.is_some() {} };
        if timeout(ALERT_GRACE, told).await.is_err() {
            warn!("alerts were still waiting to be sent");
        }
        let written = task::spawn_blocking(move || self.memory.map(JoinHandle::join));
        if timeout(MEMORY_GRACE, written).await.is_err() {
            warn!("memory was still being written");
        }
    }
}

/// Has the administrator told when the database cannot be used any more.
async fn watch_memory(running: Arc<ArcSwap<Running>>, mut shutdown: watch::Receiver<bool>) {
    // What was so at the start was told then.
    let (mut was_open, mut told) = (true, Some(Instant::now()));
    if running.load().recorder.as_ref().is_some_and(Recorder::is_open) {
        told = None;
    } else {
        was_open = false;
    }
    loop {
        tokio::select! {
            () = sleep(WATCH) => {}
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
        let now = running.load_full();
        let Some(recorder) = &now.recorder else { return };
        let is_open = recorder.is_open();
        let is_due = told.is_none_or(|told| told.elapsed() >= TOLD_AGAIN);
        if was_open && !is_open && is_due {
            now.post.notice(memory_notice(&now.setup.config.state));
            told = Some(Instant::now());
        }
        was_open = is_open;
        news(&now).into_iter().for_each(|notice| now.post.notice(notice));
    }
}

/// What was found in the state and mended, and an administrator should know.
fn news(running: &Running) -> Vec<Notice> {
    let mut notices = Vec::new();
    if let Some(text) = running.recorder.as_ref().and_then(Recorder::mended) {
        let subject = "the database was damaged".to_owned();
        let text = format!(
            "{text} What could not be read is forgotten. Held mail is listed as before, by the files that are kept with it. \
             Look for the cause: the disk, its cable, its controller. If you have a backup, compare: waxseal state check."
        );
        notices.push(Notice { subject, text });
    }
    let adopted = running.quarantine.as_ref().map(|quarantine| quarantine.adopted()).unwrap_or_default();
    if !adopted.is_empty() {
        let subject = format!("{} unknown to the database", counted(adopted.len(), "held message"));
        let ids: Vec<String> = adopted.iter().take(20).map(ToString::to_string).collect();
        let more = adopted.len().saturating_sub(ids.len());
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        let text = format!(
            "These messages were held, and the database did not know them: it was lost or is an older copy, or the gateway was \
             stopped while it held them. They are listed again: {}{more}. A message may be there twice if its sender sent it again.",
            ids.join(", ")
        );
        notices.push(Notice { subject, text });
    }
    notices
}

/// Takes the state folder, for as long as this process lives. A gateway that only seals can do without one.
fn claim_state(setup: &Setup) -> Result<Option<Presence>, StartError> {
    let state = &setup.config.state.folder;
    let folder = || state.display().to_string();
    let claimed = match store::make_state_folder(state) {
        Ok(()) => Presence::claim(state).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match claimed {
        Ok(Some(presence)) => Ok(Some(presence)),
        Ok(None) => Err(StartError::StateInUse(folder())),
        Err(error) if setup.config.listeners.iter().any(|listener| listener.mode == Mode::Verify) => {
            Err(StartError::State { folder: folder(), error })
        }
        Err(error) => {
            warn!(
                state = folder(),
                error, "the state folder cannot be used: after a restart, new keys will be waited for anew"
            );
            Ok(None)
        }
    }
}

/// Lets commands on this machine know whether the last configuration is in force.
fn announce(presence: Option<&Presence>, refused: bool) {
    if let Some(Err(error)) = presence.map(|presence| presence.announce(refused)) {
        warn!(%error, "`waxseal doctor` cannot know whether the configuration is in force");
    }
}

/// Where messages have their unnamed files that are too large for memory. A gateway that only seals can do without a
/// state folder.
fn spool_folder(state: &Path) -> PathBuf {
    match tempfile::tempfile_in(state) {
        Ok(_) => state.to_owned(),
        Err(error) => {
            let folder = std::env::temp_dir();
            warn!(state = %state.display(), instead = %folder.display(), %error,
                "large messages cannot be spooled to the state folder");
            folder
        }
    }
}

/// What of the console takes a restart.
fn where_console(setup: &Setup) -> Option<(&[ListenAddress], bool)> {
    setup.config.console.as_ref().map(|console| (&*console.listen, setup.console_tls.is_some()))
}

/// When the daily digest is made, if it is.
fn digest_time(running: &Running) -> Option<Time> {
    running.setup.config.alerts.as_ref()?.digest
}

fn memory_notice(place: &Location) -> Notice {
    let state = &place.folder;
    let text = if place.server.is_some() {
        "The database that keeps held mail and what is remembered of correspondents cannot be used; the log has the reason. Until it can be used, mail that must be held is deferred (451), and so is sealed mail whose key only an unsigned DNS answer proves. The gateway tries again every second.".to_owned()
    } else {
        format!(
            "The memory of correspondents, {}, cannot be opened or written; the log has the reason. While it cannot be read, sealed mail whose key only an unsigned DNS answer proves is deferred (451). Check that the files memory.sqlite* belong to the gateway's user. The gateway tries again by itself.",
            state.display()
        )
    };
    Notice { subject: "memory cannot be used".to_owned(), text }
}

fn alert_settings(alerts: &Alerts, setup: &Setup) -> notify::Settings {
    notify::Settings::new(alerts.to.clone(), sender::route(&alerts.from, &alerts.next_hop, setup))
}

impl Reloader {
    /// Puts `setup` in force for new messages and sessions. Listeners' names, modes and addresses, the state folder,
    /// `[log]`, `[alerts]`, `[admin]` and the console's addresses keep their old values until a restart. Once the gateway has stopped, nothing is
    /// done.
    pub fn reload(&self, setup: Setup) {
        let Some(current) = self.running.upgrade() else { return };
        let old = current.load_full();
        for (what, same) in [
            ("listeners", old.setup.addresses() == setup.addresses()),
            ("state", old.setup.config.state == setup.config.state),
            ("alerts", old.setup.config.alerts == setup.config.alerts),
            ("admin", old.setup.config.admin == setup.config.admin),
            ("console", where_console(&old.setup) == where_console(&setup)),
            ("log", old.setup.config.log == setup.config.log),
        ] {
            if !same {
                warn!("a change of {what} takes effect at the next restart");
            }
        }
        let running = Running {
            pins: Arc::new(old.pins.with(setup.pins.clone())),
            setup: Arc::new(setup),
            quarantine: old.quarantine.clone(),
            recorder: old.recorder.clone(),
            post: old.post.clone(),
            keyrings: Arc::clone(&old.keyrings),
        };
        running.keyrings.settle(&running.setup);
        reminders::say(&running, true);
        current.store(Arc::new(running));
        self.reloads.note(true);
        announce(self.presence.as_deref(), false);
        self.reloaded.notify_one();
        info!("configuration reloaded");
    }

    /// The new configuration is wrong, and the old one stays in force.
    pub fn refuse(&self) {
        self.reloads.note(false);
        announce(self.presence.as_deref(), true);
    }
}
