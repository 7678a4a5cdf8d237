//! Why the next hop is of no use, and what may help.

use std::io;
use std::net::IpAddr;

use thiserror::Error;

use super::dial::DialError;
use crate::smtp::connection::{ConnectionError, SendFileError};
use crate::smtp::protocol::reply::{ParseReplyError, Reply};
use crate::smtp::tls::HandshakeError;

/// What may be wrong where there is no greeting in clear.
pub(super) const IMPLICIT_REMEDY: &str =
    "; if TLS begins with the connection there, as at port 465, set next_hop_tls = \"implicit\"";

/// What to do about a Postfix that knows no IPv6 client.
pub(in crate::smtp) const IPV6_REMEDY: &str = "; the client has an IPv6 address, which a Postfix with inet_protocols = ipv4 does not take: set -o \
     inet_protocols=all for that smtpd in its master.cf";

/// What may help where XCLIENT with a client of this address is refused.
pub(in crate::smtp) fn remedy(client: Option<IpAddr>) -> &'static str {
    if client.is_some_and(|address| address.to_canonical().is_ipv6()) { IPV6_REMEDY } else { "" }
}

/// Why the next hop is of no use to this session any more. None of it is the client's fault.
#[derive(Debug, Error)]
pub enum RelayError {
    /// No connection could be made.
    #[error("cannot connect to the next hop")]
    Connect(#[source] DialError),
    /// It took the connection and did not greet in time.
    #[error("the next hop sent no greeting in time{0}")]
    NoGreeting(&'static str),
    /// It hung up before it greeted.
    #[error("the next hop closed the connection before its greeting{0}")]
    NotGreeted(&'static str),
    /// It was lost while the client sent a message, and no new connection could take the place of the old one.
    #[error("the next hop was lost while the client sent, and {0}")]
    NotReplaced(String),
    /// It did not connect, reply or take what we sent in time.
    #[error("the next hop timed out")]
    Timeout,
    /// It hung up.
    #[error("the next hop closed the connection")]
    Closed,
    /// The connection broke.
    #[error("the connection to the next hop broke")]
    Io(#[source] io::Error),
    /// What it said is no reply.
    #[error("malformed reply from the next hop")]
    MalformedReply(#[source] ParseReplyError),
    /// It spoke when it was not asked.
    #[error("the next hop spoke out of turn")]
    OutOfTurn,
    /// Our own copy of the message cannot be read back from its file.
    #[error("cannot read a message back from its file")]
    Spool(#[source] io::Error),
    /// It gave a reply that makes no sense here, such as 250 to DATA.
    #[error("unexpected reply from the next hop: {0}")]
    UnexpectedReply(Reply),
    /// It does not offer XCLIENT with ADDR, and would take the client for us.
    #[error("the next hop does not offer XCLIENT, so it cannot be told who the client is")]
    NoXclient,
    /// It offers XCLIENT but answered ours with this.
    #[error("the next hop refuses XCLIENT: {0}{1}")]
    XclientRefused(Reply, &'static str),
    /// It does not offer STARTTLS, without which it gets nothing.
    #[error("the next hop does not offer STARTTLS, and `next_hop_tls` forbids to go on in clear")]
    NoStartTls,
    /// It offers STARTTLS but answered ours with this.
    #[error("the next hop refuses STARTTLS: {0}")]
    StartTlsRefused(Reply),
    /// More came behind its reply to STARTTLS, which somebody else may have put there.
    #[error("more came behind the next hop's reply to STARTTLS: perhaps replies that are not its own")]
    ResponseInjection,
    /// There is no TLS with it.
    #[error("no TLS with the next hop")]
    Handshake(#[source] HandshakeError),
}

impl From<SendFileError> for RelayError {
    fn from(error: SendFileError) -> Self {
        match error {
            SendFileError::Connection(error) => error.into(),
            SendFileError::File(error) => Self::Spool(error),
        }
    }
}

impl From<ConnectionError> for RelayError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Closed => Self::Closed,
            ConnectionError::Timeout => Self::Timeout,
            ConnectionError::Io(error) => Self::Io(error),
        }
    }
}
