//! Why a session ends, and what the client is told then.

use std::error::Error as _;

use thiserror::Error;
use tracing::{debug, info, warn};

use super::LOG;
use crate::metrics::NextHopFailure;
use crate::phrase::with_causes;
use crate::smtp::connection::ConnectionError;
use crate::smtp::handler::SessionInfo;
use crate::smtp::next_hop::{IPV6_REMEDY, RelayError};
use crate::smtp::protocol::reply::Reply;
use crate::smtp::settings::{Introduction, Settings};
use crate::smtp::tls::HandshakeError;

/// Why a session ends.
#[derive(Debug, Error)]
pub(super) enum End {
    /// The client said QUIT and was answered.
    #[error("client quit")]
    Quit,
    /// The client hung up, or the connection to it broke.
    #[error("client gone")]
    ClientGone,
    /// The client was silent for too long.
    #[error("client timed out")]
    ClientTimeout,
    /// The client hung up or was silent within a mail transaction, after so many octets of the message.
    #[error("{} {error}", size.map_or("before the first octet:".to_owned(), |size| format!("after {size} octets:")))]
    CutOff {
        /// Octets of the message; `None` where it had not begun.
        size: Option<u64>,
        /// What happened to the connection.
        error: ConnectionError,
    },
    /// The client gave more bad commands than allowed.
    #[error("too many bad commands")]
    TooManyBadCommands,
    /// The client, as it was announced, has too many sessions already.
    #[error("too many connections")]
    TooManySessions,
    /// The client speaks HTTP.
    #[error("client speaks HTTP")]
    Http,
    /// A chunk of BDAT came without its size: nobody knows where the next command begins.
    #[error("chunk without a size")]
    ChunkWithoutSize,
    /// The next hop greeted us, or the client that we announced, with this, which is no 2yz.
    #[error("next hop refuses the session: {0}")]
    Refused(Reply),
    /// The next hop said this 421 while we waited for the client.
    #[error("next hop took leave: {0}")]
    Farewell(Reply),
    /// The next hop hung up after a 421 that the client has got already.
    #[error("next hop took leave")]
    FarewellSaid,
    /// The next hop hung up or talked nonsense while we waited for the client.
    #[error("{0} while waiting for the client")]
    LostWhileIdle(#[source] RelayError),
    /// The next hop is of no use any more.
    #[error(transparent)]
    NextHop(#[from] RelayError),
    /// A message was refused whose start the next hop had got, and no new session with it can take this one's place.
    #[error("message broken off")]
    MessageBrokenOff,
    /// The client sent more behind STARTTLS, which somebody else may have put there.
    #[error("client sent more after STARTTLS before the handshake: perhaps commands that are not its own")]
    CommandInjection,
    /// There is no TLS with the client.
    #[error("no TLS with the client: {0}")]
    Handshake(#[source] HandshakeError),
    /// The gateway is being stopped.
    #[error("shutting down")]
    Shutdown,
}

impl End {
    /// What the client is told, if it still listens and was not told yet.
    pub(super) fn reply(&self) -> Option<Reply> {
        let own = |text| Some(Reply::new(421, text));
        match self {
            Self::Quit | Self::ClientGone | Self::FarewellSaid | Self::Handshake(_) => None,
            Self::CutOff { error: ConnectionError::Closed | ConnectionError::Io(_), .. } => None,
            Self::ClientTimeout | Self::CutOff { error: ConnectionError::Timeout, .. } => {
                own("4.4.2 timed out, closing connection")
            }
            Self::TooManyBadCommands => own("4.7.0 too many bad commands, closing connection"),
            Self::TooManySessions => own("4.7.0 too many connections"),
            Self::CommandInjection => own("4.7.0 nothing may follow STARTTLS, closing connection"),
            Self::Http => own("4.7.0 this is SMTP, closing connection"),
            Self::ChunkWithoutSize => own("4.5.4 closing connection"),
            Self::Refused(reply) | Self::Farewell(reply) => Some(reply.clone()),
            // Not 451, whatever happened: unasked, only a 421 is not taken for the next command's reply.
            Self::LostWhileIdle(_) => own("4.4.2 connection to mail server lost, try again later"),
            Self::NextHop(error) => Some(error.into()),
            Self::MessageBrokenOff => own("4.3.0 message broken off, closing connection"),
            Self::Shutdown => own("4.3.2 service shutting down, closing connection"),
        }
    }

    /// One line in the log, where somebody may want to know.
    pub(super) fn log(&self, info: &SessionInfo, settings: &Settings) {
        let next_hop = &settings.next_hop;
        let (session, client, listener) = (&info.id, info.client, &info.listener);
        match self {
            // Of a message that was cut off the session has said more.
            Self::Quit | Self::ClientGone | Self::FarewellSaid | Self::CutOff { .. } => {
                debug!(%session, %client, "session ends: {self}");
            }
            Self::ClientTimeout
            | Self::TooManyBadCommands
            | Self::TooManySessions
            | Self::Http
            | Self::ChunkWithoutSize
            | Self::Farewell(_)
            | Self::MessageBrokenOff
            | Self::Handshake(_)
            | Self::Shutdown => {
                info!(target: LOG, %session, %client, listener, "session ends: {self}");
            }
            Self::CommandInjection => warn!(target: LOG, %session, %client, listener, "session ends: {self}"),
            Self::Refused(_) => {
                // So a Postfix greets that cannot read the header.
                let is_unread = settings.introduction == Introduction::ProxyHeader && client.is_ipv6();
                let remedy = if is_unread { IPV6_REMEDY } else { "" };
                warn!(target: LOG, %session, %client, listener, %next_hop, "session ends: {self}{remedy}");
            }
            Self::LostWhileIdle(error) | Self::NextHop(error) => {
                let cause = error.source().map(ToString::to_string);
                warn!(target: LOG, %session, %client, listener, %next_hop, cause, "session ends: {self}");
            }
        }
    }

    /// In one line, with what caused it.
    pub(super) fn with_cause(&self) -> String {
        match self {
            Self::NextHop(error) => with_causes(error),
            end => end.to_string(),
        }
    }

    /// Why, for counting, if it is for want of a next hop that works.
    pub(super) fn next_hop_failure(&self) -> Option<NextHopFailure> {
        match self {
            Self::NextHop(error) | Self::LostWhileIdle(error) => match error {
                RelayError::Connect(_) => Some(NextHopFailure::Connect),
                RelayError::Timeout | RelayError::NoGreeting(_) => Some(NextHopFailure::Timeout),
                RelayError::Closed
                | RelayError::Io(_)
                | RelayError::NotGreeted(_)
                | RelayError::NotReplaced(_) => Some(NextHopFailure::Lost),
                RelayError::MalformedReply(_) | RelayError::OutOfTurn | RelayError::UnexpectedReply(_) => {
                    Some(NextHopFailure::Protocol)
                }
                RelayError::NoXclient | RelayError::XclientRefused(..) => Some(NextHopFailure::Xclient),
                RelayError::NoStartTls
                | RelayError::StartTlsRefused(_)
                | RelayError::ResponseInjection
                | RelayError::Handshake(_) => Some(NextHopFailure::Tls),
                // Our own disk.
                RelayError::Spool(_) => None,
            },
            Self::Refused(_) => Some(NextHopFailure::Refused),
            Self::Quit
            | Self::ClientGone
            | Self::ClientTimeout
            | Self::CutOff { .. }
            | Self::TooManyBadCommands
            | Self::TooManySessions
            | Self::Http
            | Self::ChunkWithoutSize
            | Self::Farewell(_)
            | Self::FarewellSaid
            | Self::MessageBrokenOff
            | Self::CommandInjection
            | Self::Handshake(_)
            | Self::Shutdown => None,
        }
    }

    /// Whether the next hop is in a state in which it can be told QUIT.
    pub(super) fn leaves_next_hop_waiting(&self) -> bool {
        match self {
            Self::ClientGone
            | Self::ClientTimeout
            | Self::CutOff { .. }
            | Self::TooManyBadCommands
            | Self::TooManySessions
            | Self::Http
            | Self::ChunkWithoutSize
            | Self::Refused(_)
            | Self::CommandInjection
            | Self::Handshake(_)
            | Self::Shutdown => true,
            Self::Quit
            | Self::Farewell(_)
            | Self::FarewellSaid
            | Self::LostWhileIdle(_)
            | Self::MessageBrokenOff
            | Self::NextHop(_) => false,
        }
    }
}

impl From<ConnectionError> for End {
    /// For the client's connection.
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Closed | ConnectionError::Io(_) => Self::ClientGone,
            ConnectionError::Timeout => Self::ClientTimeout,
        }
    }
}

impl From<&RelayError> for Reply {
    /// Always 4yz: the client shall come back with its message (and a 5yz would be a lie). Where the next hop
    /// runs, and what is wrong with it, is for the log.
    fn from(error: &RelayError) -> Self {
        match error {
            RelayError::Connect(_) => Self::new(421, "4.3.0 mail server not available, try again later"),
            RelayError::Timeout | RelayError::NoGreeting(_) => {
                Self::new(421, "4.4.2 mail server timed out, try again later")
            }
            RelayError::NotReplaced(_) => {
                Self::new(451, "4.4.2 connection to mail server lost, try again later")
            }
            RelayError::Closed | RelayError::Io(_) | RelayError::NotGreeted(_) => {
                Self::new(421, "4.4.2 connection to mail server lost, try again later")
            }
            RelayError::NoXclient
            | RelayError::XclientRefused(..)
            | RelayError::NoStartTls
            | RelayError::StartTlsRefused(_)
            | RelayError::ResponseInjection
            | RelayError::Handshake(_) => Self::new(421, "4.3.0 mail server not available, try again later"),
            RelayError::Spool(_) => Self::new(451, "4.3.0 cannot read the message back, try again later"),
            RelayError::MalformedReply(_) | RelayError::OutOfTurn | RelayError::UnexpectedReply(_) => {
                Self::new(451, "4.3.0 mail server error, try again later")
            }
        }
    }
}
