//! The sockets of a gateway that starts: handed over by the service manager, or bound.

use std::io;
use std::path::Path;

use tokio::net::{TcpListener, UnixListener};
use tracing::info;

use super::StartError;
use crate::config::{self, ListenAddress, Mode};
use crate::setup::Setup;
use crate::smtp;
use crate::systemd::{HandedOver, Socket};

/// A listening socket, and whose it is.
#[derive(Debug)]
pub(super) struct BoundListener {
    pub(super) name: String,
    pub(super) mode: Mode,
    pub(super) socket: smtp::Listener,
    pub(super) address: ListenAddress,
}

/// Every listener's sockets: those handed over for it, else its addresses.
pub(super) async fn bind_all(
    setup: &Setup,
    handed_over: &mut HandedOver,
) -> Result<Vec<BoundListener>, StartError> {
    let mut sockets = Vec::new();
    for config::Listener { name, mode, listen, .. } in &setup.config.listeners {
        let given = handed_over.take(name);
        if !given.is_empty() {
            info!(listener = name, sockets = given.len(), "sockets handed over, `listen` is not used");
        }
        let addresses = if given.is_empty() { listen.as_slice() } else { &[] };
        for socket in given {
            let failed = |error| StartError::HandedOver { listener: name.clone(), error };
            let (socket, address) = adopt(socket).map_err(failed)?;
            sockets.push(BoundListener { name: name.clone(), mode: *mode, socket, address });
        }
        for address in addresses {
            let failed =
                |error| StartError::Listen { listener: name.clone(), address: address.clone(), error };
            let (socket, address) = bind(address).await.map_err(failed)?;
            sockets.push(BoundListener { name: name.clone(), mode: *mode, socket, address });
        }
    }
    Ok(sockets)
}

/// What systemd calls the sockets for metrics and health, unless a listener has that name.
const ADMIN: &str = "admin";

/// The sockets for metrics and health, likewise.
pub(super) async fn bind_admin(
    admin: &config::Admin,
    handed_over: &mut HandedOver,
) -> Result<Vec<(smtp::Listener, ListenAddress)>, StartError> {
    let mut sockets = Vec::new();
    for socket in handed_over.take(ADMIN) {
        let failed = |error| StartError::HandedOver { listener: ADMIN.to_owned(), error };
        sockets.push(adopt(socket).map_err(failed)?);
    }
    if !sockets.is_empty() {
        info!(sockets = sockets.len(), "sockets handed over for metrics and health, `listen` is not used");
        return Ok(sockets);
    }
    for address in &admin.listen {
        let failed = |error| StartError::Admin { address: address.clone(), error };
        sockets.push(bind(address).await.map_err(failed)?);
    }
    Ok(sockets)
}

/// A socket was handed over that no listener has the name of.
pub(super) fn nobodys(name: &str, setup: &Setup) -> StartError {
    let listeners = setup.config.listeners.iter().map(|listener| listener.name.as_str());
    let names: Vec<_> = listeners.chain([ADMIN]).map(|name| format!("`{name}`")).collect();
    StartError::NobodysSocket { name: name.to_owned(), listeners: names.join(", ") }
}

/// The socket, and its address: with port 0, what the system chose.
async fn bind(address: &ListenAddress) -> io::Result<(smtp::Listener, ListenAddress)> {
    match address {
        ListenAddress::Tcp(address) => with_address(TcpListener::bind(address).await?),
        ListenAddress::Unix(path) => Ok((smtp::Listener::bind_unix(path).await?, address.clone())),
    }
}

/// A UNIX socket's file is not ours to remove: whoever made it listens on it still.
fn adopt(socket: Socket) -> io::Result<(smtp::Listener, ListenAddress)> {
    match socket {
        Socket::Tcp(socket) => with_address(TcpListener::from_std(socket)?),
        Socket::Unix(socket) => {
            let path = socket.local_addr()?.as_pathname().unwrap_or(Path::new("@")).to_owned();
            let socket = UnixListener::from_std(socket)?;
            Ok((smtp::Listener::Unix(socket, None), ListenAddress::Unix(path)))
        }
    }
}

fn with_address(socket: TcpListener) -> io::Result<(smtp::Listener, ListenAddress)> {
    let address = socket.local_addr()?;
    Ok((socket.into(), ListenAddress::Tcp(address)))
}
