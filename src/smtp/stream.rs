//! What octets travel through: TCP or a UNIX socket, in clear or under TLS. Everything above sees one stream.

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

/// The octets of a connection, in clear or under TLS.
#[derive(Debug)]
pub enum Stream {
    /// In clear.
    Clear(Socket),
    /// Under TLS. Boxed, so that a session without it stays small.
    Tls(Box<TlsStream<Socket>>),
    /// Nothing any more: the socket went into a handshake and did not come back.
    Gone,
}

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A UNIX socket.
    Unix(UnixStream),
}

impl Stream {
    /// Whether it is under TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The socket, where octets go through it as they are.
    pub(super) fn clear(&self) -> Option<&Socket> {
        match self {
            Self::Clear(socket) => Some(socket),
            Self::Tls(_) | Self::Gone => None,
        }
    }

    /// Whether nobody on a network can read along.
    pub fn is_private(&self) -> bool {
        match self {
            Self::Clear(socket) => socket.is_local(),
            Self::Tls(_) => true,
            Self::Gone => false,
        }
    }
}

impl From<Socket> for Stream {
    fn from(socket: Socket) -> Self {
        Self::Clear(socket)
    }
}

impl From<TlsStream<Socket>> for Stream {
    fn from(stream: TlsStream<Socket>) -> Self {
        Self::Tls(Box::new(stream))
    }
}

impl Socket {
    /// Whether what goes through it stays on this machine.
    fn is_local(&self) -> bool {
        match self {
            Self::Tcp(socket) => socket.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback()),
            Self::Unix(_) => true,
        }
    }
}

impl Socket {
    /// Waits until it takes more octets.
    pub(super) async fn wait_for_room(&self) -> io::Result<()> {
        // What tokio believes is put to the test: it does not see what a thread sends.
        let look = || {
            let mut sockets = [PollFd::new(self, PollFlags::OUT)];
            let ready = poll(&mut sockets, Some(&Timespec::default()))?;
            if ready > 0 { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) }
        };
        match self {
            Self::Tcp(socket) => socket.async_io(Interest::WRITABLE, look).await,
            Self::Unix(socket) => socket.async_io(Interest::WRITABLE, look).await,
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(inner) => Pin::new(inner).poll_read(cx, buffer),
            Self::Tls(inner) => Pin::new(inner).poll_read(cx, buffer),
            // The end.
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(inner) => Pin::new(inner).poll_write(cx, octets),
            Self::Tls(inner) => Pin::new(inner).poll_write(cx, octets),
            Self::Gone => Poll::Ready(Err(ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(inner) => Pin::new(inner).poll_write_vectored(cx, slices),
            Self::Tls(inner) => Pin::new(inner).poll_write_vectored(cx, slices),
            Self::Gone => Poll::Ready(Err(ErrorKind::BrokenPipe.into())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(inner) => Pin::new(inner).poll_flush(cx),
            Self::Tls(inner) => Pin::new(inner).poll_flush(cx),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(inner) => Pin::new(inner).poll_shutdown(cx),
            Self::Tls(inner) => Pin::new(inner).poll_shutdown(cx),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(inner) => Pin::new(inner).poll_read(cx, buffer),
            Self::Unix(inner) => Pin::new(inner).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(inner) => Pin::new(inner).poll_write(cx, octets),
            Self::Unix(inner) => Pin::new(inner).poll_write(cx, octets),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(inner) => Pin::new(inner).poll_write_vectored(cx, slices),
            Self::Unix(inner) => Pin::new(inner).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(inner) => Pin::new(inner).poll_flush(cx),
            Self::Unix(inner) => Pin::new(inner).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(inner) => Pin::new(inner).poll_shutdown(cx),
            Self::Unix(inner) => Pin::new(inner).poll_shutdown(cx),
        }
    }
}
