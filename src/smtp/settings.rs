//! What the configuration says about one listener. A session keeps the settings that it began with; after a
//! reload new sessions get new ones.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;

use crate::smtp::limits::Limits;
use crate::smtp::protocol::data::BareLineEnds;
use crate::smtp::tls::{ClientTls, ServerTls};

/// The settings of one listener.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The listener's name, for logs.
    pub listener: String,
    /// Our name in the greeting and the first line of EHLO's reply.
    pub hostname: String,
    /// The next hop.
    pub next_hop: Address,
    /// Whether the next hop is spoken to under TLS.
    pub next_hop_tls: NextHopTls,
    /// How clients get TLS.
    pub tls: Tls,
    /// Who may connect; nobody else.
    pub clients: Vec<IpNet>,
    /// How the next hop is told who the client is.
    pub introduction: Introduction,
    /// Whose XCLIENT is believed.
    pub xclient_from: Vec<IpNet>,
    /// Whose XFORWARD goes through.
    pub xforward_from: Vec<IpNet>,
    /// Whose connections begin with a PROXY header.
    pub proxy_header_from: Vec<IpNet>,
    /// Whether mail is taken only once the next hop has accepted the client's credentials.
    pub requires_auth: bool,
    /// Most octets that we add to a message.
    pub growth: u64,
    /// What is done with a message that holds a bare CR or LF, and with a command line that ends in a bare LF.
    pub bare_line_ends: BareLineEnds,
    /// Limits and time-outs.
    pub limits: Limits,
}

/// Asks for the settings now in force: a certificate that is renewed is for sessions that began before as well.
#[derive(Clone)]
pub(super) struct Latest(pub(super) Arc<dyn Fn() -> Arc<Settings> + Send + Sync>);

impl fmt::Debug for Latest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Latest")
    }
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// On a TCP port: `host:port`.
    Tcp(String),
    /// On a UNIX socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address.to_string())
    }
}

/// How clients get TLS.
#[derive(Clone, Debug, Default)]
pub enum Tls {
    /// Not at all: there is no certificate.
    #[default]
    Off,
    /// By STARTTLS, which none need say.
    StartTls(ServerTls),
    /// With the connection (RFC 8314 §3.3).
    Implicit(ServerTls),
}

impl Tls {
    /// Our certificate.
    pub(super) fn certificate(&self) -> Option<&ServerTls> {
        match self {
            Self::Off => None,
            Self::StartTls(certificate) | Self::Implicit(certificate) => Some(certificate),
        }
    }

    /// Our certificate, if TLS begins with the connection.
    pub(super) fn implicit(&self) -> Option<&ServerTls> {
        match self {
            Self::Off | Self::StartTls(_) => None,
            Self::Implicit(certificate) => Some(certificate),
        }
    }
}

/// Whether the next hop is spoken to under TLS.
#[derive(Clone, Debug, Default)]
pub enum NextHopTls {
    /// Never.
    #[default]
    Off,
    /// Where it can be had.
    May(ClientTls),
    /// Always, by STARTTLS, or not at all.
    Must(ClientTls),
    /// Always, with the connection (RFC 8314 §3.3).
    Implicit(ClientTls),
}

/// How the next hop is told who the client is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Introduction {
    /// Not at all: it takes every client for us.
    #[default]
    Nothing,
    /// By XCLIENT (`xclient = true`), before anything of the client's. A next hop that does not take it gets nothing.
    Xclient,
    /// By a PROXY header (`proxy_protocol = true`), with which each connection begins.
    ProxyHeader,
}

/// Whether one of the networks holds this address. An IPv4 address mapped into IPv6 counts as IPv4.
pub(super) fn holds(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}
