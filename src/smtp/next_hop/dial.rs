//! Connects to a server by any of its addresses: IPv6 and IPv4 in turn, each begun a moment after the one before, so that
//! no dead address takes the time of the others (RFC 8305).

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use thiserror::Error;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, sleep, timeout_at};

use crate::smtp::settings::Address;
use crate::smtp::stream::Socket;

/// When the next address is tried as well (RFC 8305 §5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// Where one server can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why there is no connection: what each address came to.
#[derive(Debug, Error)]
#[error("{}", .0.iter().map(|(place, error)| format!("{place}: {error}")).collect::<Vec<_>>().join("; "))]
pub struct DialError(Vec<(String, io::Error)>);

impl DialError {
    fn one(place: impl fmt::Display, error: io::Error) -> Self {
        Self(vec![(place.to_string(), error)])
    }

    /// What the last of the addresses came to.
    pub fn kind(&self) -> ErrorKind {
        self.0.last().map_or(ErrorKind::NotFound, |(_, error)| error.kind())
    }
}

/// The places of a server that are left to try.
#[derive(Debug)]
pub(crate) struct Places(VecDeque<Place>);

impl Places {
    /// Those of this address. A name is looked up.
    pub(crate) async fn of(address: &Address, deadline: Instant) -> Result<Self, DialError> {
        let host = match address {
            Address::Tcp(host) => host,
            Address::Unix(path) => return Ok(Self([Place::Unix(path.clone())].into())),
        };
        let found = timeout_at(deadline, lookup_host(host.as_str())).await;
        let found = found.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()));
        let places = in_turn(found.map_err(|error| DialError::one(host, error))?);
        if places.is_empty() {
            let nothing = io::Error::new(ErrorKind::NotFound, "the name has no address");
            return Err(DialError::one(host, nothing));
        }
        Ok(Self(places.into_iter().take(MAX_ADDRESSES).map(Place::Tcp).collect()))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Connects to one of them, and leaves those that may be tried after it.
    pub(crate) async fn connect(&mut self, deadline: Instant) -> Result<(Socket, Place), DialError> {
        let mut waiting = self.0.clone();
        let mut attempts = FuturesUnordered::new();
        let mut failures = Vec::new();
        loop {
            attempts.extend(waiting.pop_front().map(|place| attempt(place, deadline)));
            let next = async {
                if waiting.is_empty() { std::future::pending().await } else { sleep(ATTEMPT_DELAY).await }
            };
            let (place, outcome) = tokio::select! {
                Some(ended) = attempts.next() => ended,
                () = next => continue,
                else => return Err(DialError(failures)),
            };
            self.0.retain(|other| *other != place);
            match outcome {
                Ok(socket) => return Ok((socket, place)),
                Err(error) => failures.push((place.to_string(), error)),
            }
            if attempts.is_empty() && waiting.is_empty() {
                return Err(DialError(failures));
            }
        }
    }
}

async fn attempt(place: Place, deadline: Instant) -> (Place, io::Result<Socket>) {
    let connecting = async {
        match &place {
            Place::Tcp(address) => {
                let socket = TcpStream::connect(address).await?;
                socket.set_nodelay(true)?;
                Ok(Socket::Tcp(socket))
            }
            Place::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
        }
    };
    let outcome = timeout_at(deadline, connecting).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()));
    (place, outcome)
}

/// The families in turn, the first one's first, no address twice (RFC 8305 §4).
fn in_turn(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = found.collect();
    let mut seen = Vec::new();
    found.retain(|address| {
        let is_new = !seen.contains(address);
        seen.push(*address);
        is_new
    });
    let is_v6_first = found.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|address| address.is_ipv6() == is_v6_first);
    let longest = first.len().max(second.len());
    (0..longest).flat_map(|at| [first.get(at), second.get(at)]).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    #[test]
    fn families_take_turns() {
        let parse = |addresses: &[&str]| {
            addresses.iter().map(|address| address.parse().unwrap()).collect::<Vec<SocketAddr>>()
        };
        let found = ["[2001:db8::1]:25", "[2001:db8::2]:25", "[2001:db8::1]:25", "192.0.2.1:25"];
        let tried = ["[2001:db8::1]:25", "192.0.2.1:25", "[2001:db8::2]:25"];
        assert_eq!(in_turn(parse(&found).into_iter()), parse(&tried));
        assert_eq!(in_turn(parse(&["192.0.2.1:25"]).into_iter()), parse(&["192.0.2.1:25"]));
    }

    /// An address whose packets go nowhere, as a host behind a firewall: its queue of connections is full.
    async fn dead() -> (TcpSocketGuard, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut held = Vec::new();
        while let Ok(Ok(stream)) =
            tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
        {
            held.push(stream);
        }
        (TcpSocketGuard { _listener: listener, _held: held }, address)
    }

    struct TcpSocketGuard {
        _listener: TcpListener,
        _held: Vec<TcpStream>,
    }

    #[tokio::test]
    async fn a_dead_address_takes_no_time_of_the_others() {
        let (_guard, dead) = dead().await;
        let alive = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = alive.local_addr().unwrap();
        let mut places = Places([Place::Tcp(dead), Place::Tcp(address)].into());
        let start = Instant::now();
        let (_, place) = places.connect(start + Duration::from_secs(30)).await.unwrap();
        assert_eq!(place, Place::Tcp(address));
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn says_what_each_address_came_to() {
        let (_guard, dead) = dead().await;
        let deaf = TcpSocket::new_v4().unwrap();
        deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let deaf = deaf.local_addr().unwrap();
        let mut places = Places([Place::Tcp(dead), Place::Tcp(deaf)].into());
        let error = places.connect(Instant::now() + Duration::from_secs(1)).await.unwrap_err().to_string();
        assert!(error.contains(&format!("{deaf}: Connection refused")), "{error}");
        assert!(error.contains(&format!("{dead}: timed out")), "{error}");
    }
}
