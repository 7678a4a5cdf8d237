//! Listening sockets that systemd hands over (sd_listen_fds(3)), known by the `FileDescriptorName=` of their unit.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::{env, io};

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use thiserror::Error;

/// A listening socket, non-blocking.
#[derive(Debug)]
pub enum Socket {
    /// Of an IP address and a port.
    Tcp(TcpListener),
    /// Of a path.
    Unix(UnixListener),
}

/// Why the sockets handed over cannot be used.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Not as many names as sockets.
    #[error("systemd hands over {sockets} sockets and {names} names: LISTEN_FDNAMES does not fit LISTEN_FDS")]
    Names {
        /// How many sockets there are.
        sockets: usize,
        /// How many names.
        names: usize,
    },
    /// Something else, such as the connection that Accept=yes hands over.
    #[error(
        "what systemd hands over as `{name}` does not listen: the unit needs ListenStream= and Accept=no"
    )]
    NotListening {
        /// Its name.
        name: String,
    },
    /// It is a listening socket, but not to be had.
    #[error("the socket that systemd hands over as `{name}` cannot be used: {error}")]
    Unusable {
        /// Its name.
        name: String,
        /// Why.
        error: io::Error,
    },
}

/// The sockets handed over, each until somebody takes it. Several may have one name.
#[derive(Debug, Default)]
pub struct HandedOver(Vec<(String, Socket)>);

impl HandedOver {
    /// What systemd has for this process. To be asked once, before there are threads: the variables that tell of it
    /// are taken out of the environment.
    pub fn receive() -> Result<Self, SocketError> {
        // A service manager always says whom it means; whoever does not may have meant another process.
        if env::var_os("LISTEN_PID").is_none() {
            return Ok(Self::default());
        }
        let mut sockets = ListenFd::from_env();
        let names = names(env::var("LISTEN_FDNAMES").ok(), sockets.len())?;
        let mut found = Vec::new();
        for (index, name) in names.into_iter().enumerate() {
            let socket = socket(&mut sockets, index, &name)?;
            found.push((name, socket));
        }
        Ok(Self(found))
    }

    /// Those with this name.
    pub fn take(&mut self, name: &str) -> Vec<Socket> {
        let is_wanted = |entry: &mut (String, Socket)| entry.0 == name;
        self.0.extract_if(.., is_wanted).map(|(_, socket)| socket).collect()
    }

    /// The name of one that nobody has taken.
    pub fn left_over(&self) -> Option<&str> {
        self.0.first().map(|(name, _)| name.as_str())
    }
}

fn names(text: Option<String>, sockets: usize) -> Result<Vec<String>, SocketError> {
    let names: Vec<String> = match text {
        _ if sockets == 0 => Vec::new(),
        Some(text) => text.split(':').map(str::to_owned).collect(),
        // As sd_listen_fds_with_names(3) calls them.
        None => vec!["unknown".to_owned(); sockets],
    };
    if names.len() == sockets { Ok(names) } else { Err(SocketError::Names { sockets, names: names.len() }) }
}

fn socket(sockets: &mut ListenFd, index: usize, name: &str) -> Result<Socket, SocketError> {
    let unusable = |error| SocketError::Unusable { name: name.to_owned(), error };
    let not_listening = || SocketError::NotListening { name: name.to_owned() };
    let (listens, socket) = match sockets.take_tcp_listener(index) {
        Ok(Some(socket)) => (socket_acceptconn(&socket), Socket::Tcp(socket)),
        _ => match sockets.take_unix_listener(index) {
            Ok(Some(socket)) => (socket_acceptconn(&socket), Socket::Unix(socket)),
            _ => return Err(not_listening()),
        },
    };
    if !listens.map_err(|error| unusable(error.into()))? {
        return Err(not_listening());
    }
    match &socket {
        Socket::Tcp(socket) => socket.set_nonblocking(true),
        Socket::Unix(socket) => socket.set_nonblocking(true),
    }
    .map_err(unusable)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_sockets_by_name() {
        let socket = || Socket::Tcp(TcpListener::bind("127.0.0.1:0").unwrap());
        let mut sockets =
            HandedOver(["a", "b", "a"].map(|name| (name.to_owned(), socket())).into_iter().collect());
        assert_eq!(sockets.take("c").len(), 0);
        assert_eq!(sockets.take("a").len(), 2);
        assert_eq!(sockets.take("a").len(), 0);
        assert_eq!(sockets.left_over(), Some("b"));
    }

    #[test]
    fn counts_names() {
        let read = |text: Option<&str>, sockets| names(text.map(str::to_owned), sockets).ok();
        assert_eq!(read(Some("a:b"), 2).unwrap(), ["a", "b"]);
        assert_eq!(read(Some("a"), 2), None);
        assert_eq!(read(None, 1).unwrap(), ["unknown"]);
        assert_eq!(read(Some("left over"), 0).unwrap().len(), 0);
    }
}
