//! What is served by HTTP at which socket: metrics and health, the console, or both.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{RwLock, watch};
use tracing::error;

use super::sockets::BoundWeb;
use crate::config::ListenAddress;
#[cfg(feature = "console")]
use crate::console::{self, Console};
use crate::gateway::Running;
use crate::monitoring::{self, Monitoring};
use crate::smtp::{self, listener::SocketFile};
use crate::store::State;
use crate::web::{Manners, Secure, Site, Socket};

/// Each socket with its site, and the files of those that are UNIX sockets.
pub(super) fn sites(
    sockets: Vec<BoundWeb>,
    monitoring: &Arc<Monitoring>,
    running: &Arc<ArcSwap<Running>>,
    state: Option<&State>,
    shutdown: &watch::Receiver<bool>,
    under_way: &Arc<RwLock<()>>,
) -> (Vec<(Socket, Site)>, Vec<SocketFile>) {
    let (mut sites, mut files) = (Vec::new(), Vec::new());
    let is_wanted = sockets.iter().any(|socket| socket.is_console);
    let console =
        state.filter(|_| is_wanted).map(|state| console_router(running, state, shutdown, under_way));
    for BoundWeb { socket, address, is_admin, is_console } in sockets {
        let console = console.clone().flatten().filter(|_| is_console);
        let site = match console.map(|console| (console, security(running, &address))) {
            None => Site {
                router: monitoring::router(Arc::clone(monitoring), true),
                manners: Manners::Watching,
                secure: None,
            },
            Some((console, Ok(secure))) => {
                let watching = is_admin.then(|| monitoring::router(Arc::clone(monitoring), false));
                let router = watching.unwrap_or_default().merge(console);
                Site { router, manners: Manners::Reading, secure }
            }
            Some((_, Err(NoCertificate))) => {
                error!(%address, "the console is not served here: other machines reach it, and there is no certificate");
                continue;
            }
        };
        match socket {
            smtp::Listener::Tcp(listener) => sites.push((Socket::Tcp(listener), site)),
            smtp::Listener::Unix(listener, file) => {
                sites.push((Socket::Unix(listener), site));
                files.extend(file);
            }
        }
    }
    (sites, files)
}

#[cfg(feature = "console")]
fn console_router(
    running: &Arc<ArcSwap<Running>>,
    state: &State,
    shutdown: &watch::Receiver<bool>,
    under_way: &Arc<RwLock<()>>,
) -> Option<axum::Router> {
    let (running, state) = (Arc::clone(running), state.clone());
    let console = Console::new(running, state, shutdown.clone(), Arc::clone(under_way));
    Some(console::router(Arc::new(console)))
}

/// The configuration of such a build has no console.
#[cfg(not(feature = "console"))]
fn console_router(
    _: &Arc<ArcSwap<Running>>,
    _: &State,
    _: &watch::Receiver<bool>,
    _: &Arc<RwLock<()>>,
) -> Option<axum::Router> {
    None
}

/// Passwords never go over a network in clear.
struct NoCertificate;

/// What the console's connections at an address are secured with: the certificate in force. If a reload takes it away, the last one
/// stays.
fn security(
    running: &Arc<ArcSwap<Running>>,
    address: &ListenAddress,
) -> Result<Option<Secure>, NoCertificate> {
    let now = running.load();
    if !now.setup.config.console.as_ref().is_some_and(|console| console.is_secured(address)) {
        return Ok(None);
    }
    let first = now.setup.console_tls.clone().ok_or(NoCertificate)?;
    let running = Arc::clone(running);
    Ok(Some(Arc::new(move || running.load().setup.console_tls.as_ref().unwrap_or(&first).acceptor())))
}
