//! Where clients connect: a TCP address or a UNIX socket, whose file is ours to put there and to take away.

use std::fs::{self, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::smtp::stream::Socket;

/// As whom a client counts that comes through a UNIX socket: it is on this machine.
const UNIX_CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Who may connect to a UNIX socket: our user and our group.
const UNIX_MODE: u32 = 0o660;

/// More cannot wait for us: the length of the queue that Tokio asks the system for.
const MAX_WAITING: usize = 1024;

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// On a TCP port.
    Tcp(TcpListener),
    /// On a UNIX socket, with the file that is removed when the listener is dropped; none if it is not ours.
    Unix(UnixListener, Option<SocketFile>),
}

/// A connection that was accepted: the socket, the client's end and ours.
#[derive(Debug)]
pub struct Accepted {
    pub(super) socket: Socket,
    pub(super) peer: SocketAddr,
    pub(super) destination: io::Result<SocketAddr>,
}

impl Accepted {
    fn tcp(socket: TcpStream, peer: SocketAddr) -> Self {
        let destination = socket.set_nodelay(true).and_then(|()| socket.local_addr());
        Self { socket: Socket::Tcp(socket), peer, destination }
    }

    fn unix(socket: UnixStream) -> Self {
        Self { socket: Socket::Unix(socket), peer: UNIX_CLIENT, destination: Ok(UNIX_CLIENT) }
    }
}

impl Listener {
    /// Listens on a UNIX socket, mode 0660. A file that an earlier run left behind is replaced; a socket that somebody
    /// listens on is not, nor is a file of another kind. Needs a Tokio runtime.
    pub async fn bind_unix(path: &Path) -> io::Result<Self> {
        remove_stale(path).await?;
        let socket = UnixListener::bind(path)?;
        let file = SocketFile::of(path)?;
        fs::set_permissions(path, Permissions::from_mode(UNIX_MODE))?;
        Ok(Self::Unix(socket, Some(file)))
    }

    /// Closes the socket and gives those who had connected to it and not been accepted: the system would cut them off
    /// without a word.
    pub(super) fn into_waiting(self) -> Vec<Accepted> {
        // Not by way of the runtime, which may not know of them yet; the sockets do not block.
        match self {
            Self::Tcp(listener) => {
                let Ok(listener) = listener.into_std() else { return Vec::new() };
                std::iter::from_fn(|| take_up_tcp(&listener).ok()).take(MAX_WAITING).collect()
            }
            Self::Unix(listener, _file) => {
                let Ok(listener) = listener.into_std() else { return Vec::new() };
                std::iter::from_fn(|| take_up_unix(&listener).ok()).take(MAX_WAITING).collect()
            }
        }
    }

    /// Waits for a client. Nothing is lost if the future is dropped.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                Ok(Accepted::tcp(socket, peer))
            }
            Self::Unix(listener, _) => {
                let (socket, _) = listener.accept().await?;
                Ok(Accepted::unix(socket))
            }
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

fn take_up_tcp(listener: &std::net::TcpListener) -> io::Result<Accepted> {
    let (client, peer) = listener.accept()?;
    client.set_nonblocking(true)?;
    Ok(Accepted::tcp(TcpStream::from_std(client)?, peer))
}

fn take_up_unix(listener: &std::os::unix::net::UnixListener) -> io::Result<Accepted> {
    let (client, _) = listener.accept()?;
    client.set_nonblocking(true)?;
    Ok(Accepted::unix(UnixStream::from_std(client)?))
}

async fn remove_stale(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // Also when its queue is full, or it is not for us to connect to.
        Ok(_) | Err(_) => Err(io::Error::new(ErrorKind::AddrInUse, "another program listens there")),
    }
}

/// The file of a UNIX socket, removed when this is dropped unless somebody has put another in its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(&fs::symlink_metadata(path)?) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| identity(&file) == self.identity) {
            // One that stays is found to be stale at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind<T>(result: io::Result<T>) -> Result<(), ErrorKind> {
        result.map(drop).map_err(|error| error.kind())
    }

    #[tokio::test]
    async fn the_file_comes_and_goes_with_the_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.sock");
        let listener = Listener::bind_unix(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, UNIX_MODE);
        assert_eq!(kind(Listener::bind_unix(&path).await), Err(ErrorKind::AddrInUse));
        assert!(UnixStream::connect(&path).await.is_ok());
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn only_a_stale_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(Listener::bind_unix(&path).await.unwrap());
        fs::write(&path, "precious").unwrap();
        assert_eq!(kind(Listener::bind_unix(&path).await), Err(ErrorKind::AlreadyExists));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn another_ones_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.sock");
        let listener = Listener::bind_unix(&path).await.unwrap();
        let moved = folder.path().join("moved.sock");
        fs::rename(&path, &moved).unwrap();
        let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(listener);
        assert!(path.exists());
        drop(other);
    }
}
