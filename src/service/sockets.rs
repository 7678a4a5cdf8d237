//! The sockets of a gateway that starts: handed over by the service manager, or bound.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use rustix::net::sockopt::set_ipv6_v6only;
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tracing::info;

use super::StartError;
use crate::config::{self, ListenAddress, Mode};
use crate::gateway::setup::Setup;
use crate::service::systemd::{HandedOver, Socket};
use crate::smtp;

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
    let of_ipv4 = ipv4_ports(&setup.config);
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
            let (socket, address) = bind(address, &of_ipv4).await.map_err(failed)?;
            sockets.push(BoundListener { name: name.clone(), mode: *mode, socket, address });
        }
    }
    Ok(sockets)
}

/// Most clients that wait to be accepted: what Tokio asks the system for elsewhere.
const MAX_WAITING: u32 = 1024;

/// What systemd calls the sockets for metrics and health, and those for the console, unless a listener has that name.
const ADMIN: &str = "admin";
const CONSOLE: &str = "console";

/// A listening socket for HTTP, and what is served there.
#[derive(Debug)]
pub(super) struct BoundWeb {
    pub(super) socket: smtp::Listener,
    pub(super) address: ListenAddress,
    /// Metrics and health.
    pub(super) is_admin: bool,
    /// The pages for people.
    pub(super) is_console: bool,
}

/// The sockets for metrics, health and the console, likewise. One address may serve all of them.
pub(super) async fn bind_web(
    config: &config::Config,
    handed_over: &mut HandedOver,
) -> Result<Vec<BoundWeb>, StartError> {
    let none = Vec::new();
    let console = config.console.as_ref();
    let mut sockets = Vec::new();
    let mut are_given = [false, false];
    for (place, name) in [ADMIN, CONSOLE].into_iter().enumerate() {
        // Without the section there is nothing to serve.
        if name == CONSOLE && console.is_none() {
            continue;
        }
        for socket in handed_over.take(name) {
            let failed = |error| StartError::HandedOver { listener: name.to_owned(), error };
            let (socket, address) = adopt(socket).map_err(failed)?;
            let lacks_tls =
                console.is_some_and(|console| console.is_secured(&address) && console.tls.is_none());
            if name == CONSOLE && lacks_tls {
                return Err(StartError::UnsecuredConsole(address));
            }
            let (is_admin, is_console) = (name == ADMIN, name == CONSOLE);
            sockets.push(BoundWeb { socket, address, is_admin, is_console });
            are_given[place] = true;
        }
    }
    if !sockets.is_empty() {
        info!(
            sockets = sockets.len(),
            "sockets handed over for HTTP, `listen` is not used for what they serve"
        );
    }
    let of_admin = if are_given[0] { &none } else { &config.admin.listen };
    let of_console = console.filter(|_| !are_given[1]).map_or(&none, |console| &console.listen);
    let of_ipv4 = ipv4_ports(config);
    for address in of_admin.iter().chain(of_console.iter().filter(|address| !of_admin.contains(address))) {
        let (is_admin, is_console) = (of_admin.contains(address), of_console.contains(address));
        let section = if is_admin { ADMIN } else { CONSOLE };
        let failed = |error| StartError::Web { section, address: address.clone(), error };
        let (socket, address) = bind(address, &of_ipv4).await.map_err(failed)?;
        sockets.push(BoundWeb { socket, address, is_admin, is_console });
    }
    Ok(sockets)
}

/// A socket was handed over that no listener has the name of.
pub(super) fn nobodys(name: &str, setup: &Setup) -> StartError {
    let listeners = setup.config.listeners.iter().map(|listener| listener.name.as_str());
    let names: Vec<_> = listeners.chain([ADMIN, CONSOLE]).map(|name| format!("`{name}`")).collect();
    StartError::NobodysSocket { name: name.to_owned(), listeners: names.join(", ") }
}

/// The ports that the configuration names an IPv4 address with.
fn ipv4_ports(config: &config::Config) -> HashSet<u16> {
    let listeners = config.listeners.iter().flat_map(|listener| &listener.listen);
    listeners
        .chain(&config.admin.listen)
        .chain(config.console.iter().flat_map(|console| &console.listen))
        .filter_map(|address| match address {
            ListenAddress::Tcp(SocketAddr::V4(address)) if address.port() != 0 => Some(address.port()),
            ListenAddress::Tcp(_) | ListenAddress::Unix(_) => None,
        })
        .collect()
}

/// The socket, and its address: with port 0, what the system chose. `[::]` takes IPv4 in as well, where no other address
/// does so on its port.
async fn bind(
    address: &ListenAddress,
    of_ipv4: &HashSet<u16>,
) -> io::Result<(smtp::Listener, ListenAddress)> {
    match address {
        ListenAddress::Tcp(address @ SocketAddr::V6(v6))
            if v6.ip().is_unspecified() && of_ipv4.contains(&v6.port()) =>
        {
            let socket = TcpSocket::new_v6()?;
            set_ipv6_v6only(&socket, true)?;
            socket.set_reuseaddr(true)?;
            socket.bind(*address)?;
            with_address(socket.listen(MAX_WAITING)?)
        }
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
