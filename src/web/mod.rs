//! A small HTTP/1 server (RFC 9110, RFC 9112): for programs that watch the gateway, and for people who look at the console. It
//! knows connections and requests; what is answered is the routers' that it is given.
//!
//! Whoever calls is a stranger: connections, header sections and time are bounded, and one connection more than there is room for
//! takes the place of the oldest, first of one that asks for nothing at the moment.

mod answer;
mod connection;
mod host;

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tracing::{error, warn};

pub use self::answer::{no_such_page, only_reading, text};
pub use self::host::{HostError, Names, host_of, known_names};

/// Most connections at once by one socket.
const MAX_CONNECTIONS: usize = 64;
/// How long to wait after a failure to accept, such as having no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How a connection is dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// One request, in a few seconds: a program asks.
    Watching,
    /// Requests one after the other, for some minutes: a person reads.
    Reading,
}

/// Gives what the next connection is secured with; a reload may have changed it.
pub type Secure = Arc<dyn Fn() -> TlsAcceptor + Send + Sync>;

/// What is served at a socket, and how.
#[derive(Clone)]
pub struct Site {
    /// What answers.
    pub router: Router,
    /// How connections are dealt with.
    pub manners: Manners,
    /// What they are secured with; nothing for plain HTTP.
    pub secure: Option<Secure>,
}

/// Where a request came from, for those who answer: in the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client's address; none by a UNIX socket.
    pub address: Option<IpAddr>,
    /// Whether the connection is under TLS with us.
    pub is_secure: bool,
}

/// A listening socket.
#[derive(Debug)]
pub enum Socket {
    /// On a TCP port.
    Tcp(TcpListener),
    /// On a path.
    Unix(UnixListener),
}

/// Serves each site at its socket, until it is dropped.
pub async fn serve(sites: Vec<(Socket, Site)>) {
    let mut serving = JoinSet::new();
    for (socket, site) in sites {
        serving.spawn(serve_socket(socket, site));
    }
    while let Some(ended) = serving.join_next().await {
        if let Err(fault) = ended {
            error!(%fault, "metrics, health and the console are no longer served, by a fault in this program");
        }
    }
}

async fn serve_socket(socket: Socket, site: Site) {
    let mut connections = JoinSet::new();
    let mut open: Vec<Open> = Vec::new();
    loop {
        let asks = Arc::new(AtomicBool::new(false));
        let accepted = match &socket {
            Socket::Tcp(listener) => listener.accept().await.map(|(client, peer)| {
                let peer = Some(peer.ip().to_canonical());
                connections.spawn(connection::converse(client, peer, Arc::clone(&asks), site.clone()))
            }),
            Socket::Unix(listener) => listener.accept().await.map(|(client, _)| {
                connections.spawn(connection::converse(client, None, Arc::clone(&asks), site.clone()))
            }),
        };
        while connections.try_join_next().is_some() {}
        open.retain(|connection| !connection.task.is_finished());
        match accepted {
            Ok(task) => {
                if open.len() >= MAX_CONNECTIONS {
                    let idle = open.iter().position(|connection| !connection.asks.load(Ordering::Relaxed));
                    open.remove(idle.unwrap_or(0)).task.abort();
                }
                open.push(Open { task, asks });
            }
            Err(error) if is_gone(&error) => {}
            Err(error) => {
                warn!(%error, "cannot accept a connection by HTTP");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection, the oldest first in its list.
struct Open {
    task: AbortHandle,
    /// Whether a request of its is here.
    asks: Arc<AtomicBool>,
}

/// The client was gone before we took it up.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}
