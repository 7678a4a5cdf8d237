//! Who may connect and whom we connect to.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use attachment_seal::domain::DomainName;
use ipnet::{IpNet, Ipv4Net};
use serde::Deserialize;
use thiserror::Error;

use super::parsed::Parsed;

/// The prefix of a UNIX socket's path.
const UNIX: &str = "unix:";

/// One entry of `listen`. Its `Display` form is as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A local address and a port; port 0 asks the system for a free one.
    Tcp(SocketAddr),
    /// A UNIX socket, which is made there.
    Unix(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(UNIX) {
            Some(path) => socket_path(path).map(Self::Unix),
            None => text.parse().map(Self::Tcp).map_err(|_| ParseAddressError::Listen),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// Where a listener's mail goes. Its `Display` form is as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// A server by TCP.
    Server(Server),
    /// The server behind a UNIX socket.
    Unix(PathBuf),
}

impl NextHop {
    /// Whether it is not on this machine, as far as its address tells.
    pub fn is_far(&self) -> bool {
        match self {
            Self::Server(server) => match &server.host {
                Host::Ip(ip) => !(ip.to_canonical().is_loopback() || ip.is_unspecified()),
                Host::Name(name) => name.as_str() != "localhost",
            },
            Self::Unix(_) => false,
        }
    }

    /// Whether a connection to this hop would reach a socket bound to `local`.
    pub(super) fn reaches(&self, local: &ListenAddress) -> bool {
        match (self, local) {
            (Self::Server(server), ListenAddress::Tcp(local)) => server.reaches(local),
            (Self::Unix(path), ListenAddress::Unix(local)) => path == local,
            (Self::Server(_), ListenAddress::Unix(_)) | (Self::Unix(_), ListenAddress::Tcp(_)) => false,
        }
    }
}

impl FromStr for NextHop {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(UNIX) {
            Some(path) => socket_path(path).map(Self::Unix),
            None => text.parse().map(Self::Server).map_err(|_| ParseAddressError::NextHop),
        }
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(server) => server.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

fn socket_path(path: &str) -> Result<PathBuf, ParseAddressError> {
    if path.is_empty() { Err(ParseAddressError::NoPath) } else { Ok(path.into()) }
}

/// A server by TCP: an IP address or a host name, and a port.
///
/// Its `Display` form, `host:port`, is what a resolver takes; an IPv6 address is in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The host.
    pub host: Host,
    /// The port, never 0.
    pub port: u16,
}

/// A host by address or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An IP address.
    Ip(IpAddr),
    /// A name to be resolved at each connection.
    Name(DomainName),
}

/// A text that is no address of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseAddressError {
    /// Not `host:port`.
    #[error("not host:port; write it as \"127.0.0.1:10026\", \"[::1]:10026\" or \"mail.example.org:25\"")]
    Server,
    /// Neither `host:port` nor a UNIX socket.
    #[error(
        "not host:port; write it as \"127.0.0.1:10026\", \"mail.example.org:25\" or \"unix:/run/mail/in.sock\""
    )]
    NextHop,
    /// Neither an IP address and a port nor a UNIX socket.
    #[error(
        "not an IP address and a port; write it as \"127.0.0.1:10025\", \"[::]:25\" or \"unix:/run/waxseal/in.sock\""
    )]
    Listen,
    /// `unix:` and nothing after it.
    #[error("no path; write it as \"unix:/run/waxseal/in.sock\"")]
    NoPath,
    /// Neither a network nor an address.
    #[error(
        "not a network or an IP address; write it as \"192.0.2.0/24\", \"2001:db8::/32\" or \"192.0.2.1\""
    )]
    Network,
}

impl Server {
    fn checked(host: Host, port: u16) -> Result<Self, ParseAddressError> {
        if port == 0 { Err(ParseAddressError::Server) } else { Ok(Self { host, port }) }
    }

    fn reaches(&self, local: &SocketAddr) -> bool {
        let ip = match &self.host {
            Host::Ip(ip) => *ip,
            Host::Name(name) if name.as_str() == "localhost" && local.is_ipv6() => Ipv6Addr::LOCALHOST.into(),
            Host::Name(name) if name.as_str() == "localhost" => [127, 0, 0, 1].into(),
            Host::Name(_) => return false,
        };
        self.port == local.port()
            && (ip == local.ip()
                || (local.ip().is_unspecified() && (ip.is_loopback() || ip.is_unspecified())))
    }
}

impl FromStr for Server {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Self::checked(Host::Ip(address.ip()), address.port());
        }
        let (host, port) = text.rsplit_once(':').ok_or(ParseAddressError::Server)?;
        let host = host.parse().map_err(|_| ParseAddressError::Server)?;
        let port = port.parse().map_err(|_| ParseAddressError::Server)?;
        Self::checked(Host::Name(host), port)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// Networks that clients come from: those that may connect, those that are trusted. Empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Vec<Parsed<ClientNet>>")]
pub struct Clients(Vec<IpNet>);

impl Clients {
    /// The networks.
    pub fn networks(&self) -> &[IpNet] {
        &self.0
    }

    /// The loopback networks of both families.
    pub fn loopback() -> Self {
        Self(vec![
            IpNet::new_assert([127, 0, 0, 0].into(), 8),
            IpNet::new_assert(Ipv6Addr::LOCALHOST.into(), 128),
        ])
    }

    /// Every address.
    pub fn everyone() -> Self {
        Self(vec![
            IpNet::new_assert([0, 0, 0, 0].into(), 0),
            IpNet::new_assert(Ipv6Addr::UNSPECIFIED.into(), 0),
        ])
    }

    /// Whether `client` is among them. An IPv4 address inside an IPv6 one, as dual-stack sockets report
    /// it, counts as the IPv4 address.
    pub fn allows(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.0.iter().any(|net| net.contains(&client))
    }

    /// Whether there is an address in both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let overlap = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
        self.0.iter().any(|ours| other.0.iter().any(|theirs| overlap(ours, theirs)))
    }
}

impl FromIterator<ClientNet> for Clients {
    fn from_iter<I: IntoIterator<Item = ClientNet>>(nets: I) -> Self {
        Self(nets.into_iter().map(|net| net.0).collect())
    }
}

impl From<Vec<Parsed<ClientNet>>> for Clients {
    fn from(nets: Vec<Parsed<ClientNet>>) -> Self {
        nets.into_iter().map(|net| net.0).collect()
    }
}

/// One entry of `clients`: a network, or an address standing for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientNet(IpNet);

impl FromStr for ClientNet {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = || text.parse::<IpAddr>().map(IpNet::from).ok();
        let net = text.parse::<IpNet>().ok().or_else(address).ok_or(ParseAddressError::Network)?;
        Ok(Self(canonical(net)))
    }
}

/// `::ffff:192.0.2.0/120` is `192.0.2.0/24`: peers are compared in that form.
fn canonical(net: IpNet) -> IpNet {
    match (net.addr().to_canonical(), net.prefix_len().checked_sub(96)) {
        (IpAddr::V4(ip), Some(prefix)) if matches!(net, IpNet::V6(_)) => {
            Ipv4Net::new_assert(ip, prefix).into()
        }
        _ => net,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_next_hops() {
        for text in
            ["127.0.0.1:25", "[::1]:10026", "mail.example.org:587", "unix:/run/in.sock", "unix:in.sock"]
        {
            assert_eq!(text.parse::<NextHop>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "127.0.0.1",
            "::1:25",
            "mail.example.org",
            "a:0",
            "a:99999",
            "a b:25",
            "smtp://a:25",
            "unix:",
        ] {
            assert!(text.parse::<NextHop>().is_err(), "{text}");
        }
    }

    #[test]
    fn sees_when_a_next_hop_leads_back() {
        let reaches =
            |hop: &str, local: &str| hop.parse::<NextHop>().unwrap().reaches(&local.parse().unwrap());
        assert!(reaches("127.0.0.1:25", "127.0.0.1:25"));
        assert!(reaches("127.0.0.1:25", "0.0.0.0:25"));
        assert!(reaches("localhost:25", "127.0.0.1:25"));
        assert!(reaches("localhost:25", "[::1]:25"));
        assert!(!reaches("127.0.0.1:26", "0.0.0.0:25"));
        assert!(!reaches("192.0.2.1:25", "0.0.0.0:25"));
        assert!(reaches("unix:/run/a/in.sock", "unix:/run/a//in.sock"));
        assert!(!reaches("unix:/run/a/in.sock", "unix:/run/b/in.sock"));
        assert!(!reaches("unix:/run/a/in.sock", "127.0.0.1:25"));
    }

    #[test]
    fn admits_clients_in_either_form() {
        let clients: Clients = ["10.0.0.0/8", "::ffff:192.0.2.0/120", "2001:db8::1"]
            .iter()
            .map(|n| n.parse().unwrap())
            .collect();
        for (client, admitted) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("192.0.2.9", true),
            ("192.0.3.9", false),
            ("2001:db8::1", true),
            ("2001:db8::2", false),
        ] {
            assert_eq!(clients.allows(client.parse().unwrap()), admitted, "{client}");
        }
        assert!(Clients::loopback().allows("::ffff:127.0.0.1".parse().unwrap()));
        assert!(Clients::everyone().allows("203.0.113.7".parse().unwrap()));
        assert!("10.0.0.0/33".parse::<ClientNet>().is_err());
    }
}
