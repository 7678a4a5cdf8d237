//! Asks a gateway that runs on this machine for one of its pages, by HTTP/1.1 (RFC 9112).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::config::ListenAddress;

/// Most that is read of an answer, in octets.
const MAX_ANSWER: u64 = 1 << 20;

/// The page at `path` of the gateway that serves its pages at `address`, with status line and header section.
pub async fn page(address: &ListenAddress, path: &str) -> io::Result<String> {
    match address {
        ListenAddress::Tcp(address) => asked(TcpStream::connect(connectable(*address)).await?, path).await,
        ListenAddress::Unix(socket) => asked(UnixStream::connect(socket).await?, path).await,
    }
}

/// Where on this machine a listener at an address is reached.
pub fn connectable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

async fn asked(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// What an answer says of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// 200: what was asked for is in order.
    Good,
    /// 503: it is not, for the reason in the first line of the body.
    Bad(&'a str),
    /// 404: the gateway has no such page.
    NoPage,
    /// No answer of a gateway.
    Foreign,
}

impl<'a> Answer<'a> {
    /// Reads an answer of [`page`].
    pub fn read(answer: &'a str) -> Self {
        let status = answer.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
        let reason = || answer.split_once("\r\n\r\n").and_then(|(_, body)| body.lines().next());
        match status {
            Some("200") => Self::Good,
            Some("503") => Self::Bad(reason().unwrap_or_default()),
            Some("404") => Self::NoPage,
            _ => Self::Foreign,
        }
    }
}
