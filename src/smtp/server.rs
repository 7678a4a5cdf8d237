//! Accepts clients of one listener, lets in whom it may, and on shutdown waits for messages under way.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, error, info, warn};

use crate::metrics::{Metrics, SessionRefusal};
use crate::smtp::admission::Admission;
use crate::smtp::connection::{Connection, ConnectionError};
use crate::smtp::handler::MessageHandler;
use crate::smtp::listener::{Accepted, Listener};
use crate::smtp::memory::{MemoryBudget, SESSION, TLS};
use crate::smtp::protocol::data::BareLineEnds;
use crate::smtp::protocol::identity::Identity;
use crate::smtp::protocol::proxy_header::{self, Origin, ParseProxyHeaderError};
use crate::smtp::protocol::reply::Reply;
use crate::smtp::session::{self, Caller, Surroundings, stopped};
use crate::smtp::settings::{Latest, Settings, holds};
use crate::smtp::spool::Spool;
use crate::smtp::stream::Stream;
use crate::smtp::tls::HANDSHAKE_TIMEOUT;
use crate::smtp::turned_away::{Because, Floods, TurnedAway};

/// How long to wait after a failure to accept, such as having no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Between two lines of the log about such failures.
const WARNING_PAUSE: Duration = Duration::from_secs(1);
/// How long a client that is not let in may take to be told so.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a proxy may take for its header, which it has at hand when it connects.
const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// What all listeners share: places for sessions, memory for messages, and files for those too large for memory.
#[derive(Clone, Debug)]
pub struct Resources {
    admission: Arc<Admission>,
    memory: Arc<MemoryBudget>,
    spool: Arc<Spool>,
    metrics: Arc<Metrics>,
    floods: Arc<Floods>,
}

impl Resources {
    /// `folder` is in whose file system large messages have their unnamed files.
    pub fn new(folder: PathBuf) -> Self {
        Self::counted(folder, Arc::default())
    }

    /// The same, with what sessions are counted by.
    pub fn counted(folder: PathBuf, metrics: Arc<Metrics>) -> Self {
        let spool = Arc::new(Spool::new(folder));
        let floods = Arc::default();
        Self { admission: Arc::default(), memory: Arc::default(), spool, metrics, floods }
    }

    /// Octets of memory that sessions and messages take now.
    pub fn memory_taken(&self) -> u64 {
        self.memory.taken()
    }

    /// Messages that are in files now.
    pub fn spooled(&self) -> usize {
        self.spool.files()
    }

    /// Octets of messages that are in files now.
    pub fn spooled_octets(&self) -> u64 {
        self.spool.octets()
    }

    /// How many sessions there are, over all listeners.
    pub fn sessions(&self) -> usize {
        self.admission.total()
    }
}

/// Serves the clients of one listening socket. A listener with several addresses has one call for each.
///
/// `settings` is asked for each new session and each STARTTLS. When `shutdown` turns true, or its sender is dropped, the
/// socket is closed. Clients that had connected by then, and those between messages, get 421; messages under way have
/// `grace` to be finished; then this returns.
pub async fn serve<H: MessageHandler>(
    listener: impl Into<Listener>,
    settings: impl Fn() -> Arc<Settings> + Send + Sync + 'static,
    handler: Arc<H>,
    resources: Resources,
    mut shutdown: watch::Receiver<bool>,
    grace: Duration,
) {
    let listener = listener.into();
    let latest = Latest(Arc::new(settings));
    let mut sessions = JoinSet::new();
    let stop = shutdown.clone();
    let receive = |accepted| {
        let around = Surroundings {
            settings: (latest.0)(),
            latest: latest.clone(),
            handler: Arc::clone(&handler),
            memory: Arc::clone(&resources.memory),
            spool: Arc::clone(&resources.spool),
            metrics: Arc::clone(&resources.metrics),
            shutdown: stop.clone(),
        };
        receive_client(accepted, around, Arc::clone(&resources.admission), Arc::clone(&resources.floods))
    };
    let (mut failures, mut told) = (0_u64, None::<Instant>);
    loop {
        let accepted = tokio::select! {
            () = stopped(&mut shutdown) => break,
            Some(ended) = sessions.join_next() => {
                report(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => _ = sessions.spawn(receive(accepted)),
            // The client was gone before we took it up.
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                failures += 1;
                if told.is_none_or(|told| told.elapsed() >= WARNING_PAUSE) {
                    warn!(%error, failures, "cannot accept a connection");
                    (failures, told) = (0, Some(Instant::now()));
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    for accepted in listener.into_waiting() {
        sessions.spawn(receive(accepted));
    }
    let drained = async {
        while let Some(ended) = sessions.join_next().await {
            report(ended);
        }
    };
    if timeout(grace, drained).await.is_err() {
        warn!(sessions = sessions.len(), "sessions cut off by shutdown");
        sessions.shutdown().await;
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(fault) = ended {
        error!(%fault, "session ended by a fault in this program");
    }
}

async fn receive_client<H: MessageHandler>(
    Accepted { socket, peer, destination }: Accepted,
    mut around: Surroundings<H>,
    admission: Arc<Admission>,
    floods: Arc<Floods>,
) {
    let settings = Arc::clone(&around.settings);
    let listener = &settings.listener;
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let destination = match destination {
        Ok(destination) => destination,
        Err(error) => return info!(client = %peer, %error, "client gone"),
    };
    let turn_away = |because, client, text: &str| {
        floods.log(TurnedAway { listener: listener.clone(), because, client, peer, text: text.to_owned() });
    };
    let mut client = Connection::new(Stream::from(socket), settings.limits.data_timeout);
    let is_proxy = holds(&settings.proxy_header_from, peer.ip());
    let announcing = match is_proxy.then(|| admission.await_header(&settings.limits)).transpose() {
        Ok(announcing) => announcing,
        Err(_) => {
            around.metrics.session_refused(listener, SessionRefusal::TooManyConnections);
            return warn!(%peer, listener, "connection dropped: too many others have sent no PROXY header yet");
        }
    };
    if settings.bare_line_ends == BareLineEnds::Normalize {
        client.take_bare_lf();
    }
    let origin = tokio::select! {
        biased;
        origin = Box::pin(origin(&mut client, peer, destination, &settings)) => origin,
        () = stopped(&mut around.shutdown) => return stopped_at_the_door(peer, listener),
    };
    drop(announcing);
    let (address, destination) = match origin {
        Ok(origin) => origin,
        Err(error) => {
            let text = format!("connection dropped: {error}");
            if error.is_hanging_up() {
                debug!(%peer, listener, "{text}");
            } else {
                around.metrics.session_refused(listener, SessionRefusal::ProxyHeader);
                turn_away(Because::ProxyHeader, peer, &text);
            }
            return;
        }
    };
    if !holds(&settings.clients, address.ip()) {
        turn_away(Because::NotListed, address, "client not listed");
        around.metrics.session_refused(listener, SessionRefusal::NotListed);
        let reply = Reply::new(554, &format!("5.7.1 {} no access from here", settings.hostname));
        return Box::pin(refuse(client, &settings, &admission, reply)).await;
    }
    let Ok(permit) = admission.admit(address.ip(), &settings.limits) else {
        turn_away(Because::TooManyConnections, address, "too many connections");
        around.metrics.session_refused(listener, SessionRefusal::TooManyConnections);
        let reply = Reply::new(421, &format!("4.7.0 {} too many connections", settings.hostname));
        return Box::pin(refuse(client, &settings, &admission, reply)).await;
    };
    let mut memory = around.memory.reservation();
    let needed = SESSION + if settings.tls.implicit().is_some() { TLS } else { 0 };
    if !memory.try_grow_to(needed, settings.limits.memory) {
        warn!(client = %address, peer = %peer.ip(), listener, "no memory for another session (limits.memory)");
        around.metrics.session_refused(listener, SessionRefusal::OutOfMemory);
        let reply = Reply::new(421, &format!("4.3.1 {} not enough memory now", settings.hostname));
        return Box::pin(refuse(client, &settings, &admission, reply)).await;
    }
    if let Some(tls) = settings.tls.implicit() {
        let patience = HANDSHAKE_TIMEOUT.min(settings.limits.command_timeout);
        let secured = tokio::select! {
            secured = Box::pin(tls.secure(&mut client, patience)) => secured,
            () = stopped(&mut around.shutdown) => return stopped_at_the_door(address, listener),
        };
        if let Err(error) = secured {
            around.metrics.session_refused(listener, SessionRefusal::Tls);
            return turn_away(Because::Tls, address, &format!("connection dropped: {error}"));
        }
    }
    let _counted = around.metrics.session(listener);
    let identity = Identity::connected(address, destination);
    let caller = Caller { peer: peer.ip(), speaker: address.ip(), identity, permit, memory };
    session::serve(client, caller, around).await;
}

/// Whom a connection is for, and where it was made to: as its PROXY header says, if it must begin with one.
async fn origin(
    client: &mut Connection<Stream>,
    peer: SocketAddr,
    destination: SocketAddr,
    settings: &Settings,
) -> Result<(SocketAddr, SocketAddr), ProxyHeaderError> {
    if !holds(&settings.proxy_header_from, peer.ip()) {
        return Ok((peer, destination));
    }
    let patience = settings.limits.command_timeout.min(PROXY_HEADER_TIMEOUT);
    // The octets behind the header are not all for this connection to read if TLS begins there.
    let sparing = settings.tls.implicit().is_some();
    match timeout(patience, read_proxy_header(client, sparing))
        .await
        .unwrap_or(Err(ConnectionError::Timeout.into()))?
    {
        Origin::Client { source, destination } => Ok((source, destination)),
        Origin::Peer => Ok((peer, destination)),
    }
}

/// Takes a PROXY header off the front; what stands behind it is the client's.
async fn read_proxy_header(
    client: &mut Connection<Stream>,
    sparing: bool,
) -> Result<Origin, ProxyHeaderError> {
    loop {
        let octets = client.buffered();
        let malformed = |error| ProxyHeaderError::Malformed(error, proxy_header::shown(octets));
        if let Some((origin, length)) = proxy_header::parse(octets).map_err(malformed)? {
            client.take(length);
            return Ok(origin);
        }
        if sparing { client.fill_one().await? } else { client.fill().await? }
    }
}

/// Why a connection that must begin with a PROXY header is dropped.
#[derive(Debug, Error)]
enum ProxyHeaderError {
    /// There was none in time, or the peer was gone before its end.
    #[error("waiting for a PROXY header: {0}")]
    Connection(#[from] ConnectionError),
    /// There is something else.
    #[error("{0}; it begins with {1:?}")]
    Malformed(ParseProxyHeaderError, String),
}

impl ProxyHeaderError {
    /// So it looks when a balancer checks whether we are alive.
    fn is_hanging_up(&self) -> bool {
        matches!(self, Self::Connection(ConnectionError::Closed | ConnectionError::Io(_)))
    }
}

/// The gateway stops before a client was let in.
fn stopped_at_the_door(client: SocketAddr, listener: &str) {
    info!(%client, listener, "connection dropped: shutting down");
}

async fn refuse(
    mut client: Connection<Stream>,
    settings: &Settings,
    admission: &Arc<Admission>,
    reply: Reply,
) {
    // In a flood there is no time for words.
    let Ok(_leaving) = admission.tell() else { return };
    let say = async {
        if let Some(tls) = settings.tls.implicit()
            && tls.secure(&mut client, REFUSAL_TIMEOUT).await.is_err()
        {
            return;
        }
        client.queue(reply.octets());
        client.close().await;
    };
    // One that does not listen will not hear why.
    let _ = timeout(REFUSAL_TIMEOUT, say).await;
}
