//! A next hop under TLS, as the settings say (RFC 3207, RFC 8314 §3.3). What was said before the handshake may be an
//! attacker's, so nothing of it counts after.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::{IMPLICIT_REMEDY, IPV6_REMEDY, NextHop, RelayError};
use crate::smtp::protocol::capabilities;
use crate::smtp::protocol::proxy_header;
use crate::smtp::protocol::reply::Reply;
use crate::smtp::settings::{Introduction, NextHopTls, Settings};
use crate::smtp::tls::{ClientTls, HANDSHAKE_TIMEOUT, HandshakeError};

impl NextHop {
    /// Connects as the settings say, tells by a PROXY header for whom if it wants to know, and sees to TLS. What comes back with the
    /// connection is the greeting, or a refusal. Where there is to be no TLS after all, the server is not the wiser for
    /// our EHLO: the connection is a new one.
    pub(crate) async fn open(
        settings: &Settings,
        client: SocketAddr,
        destination: Option<SocketAddr>,
    ) -> Result<(Self, Reply), RelayError> {
        let destination = destination.filter(|_| settings.introduction == Introduction::ProxyHeader);
        let header = destination.map(|destination| proxy_header::written(client, destination));
        let header = header.as_deref();
        let (tls, must) = match &settings.next_hop_tls {
            NextHopTls::Off => return Self::connect_as(settings, header, None).await,
            NextHopTls::Implicit(tls) => return Self::connect_as(settings, header, Some(tls)).await,
            NextHopTls::May(tls) => (tls, false),
            NextHopTls::Must(tls) => (tls, true),
        };
        let (mut next_hop, greeting) = Self::connect_as(settings, header, None).await?;
        if !greeting.is_positive() {
            return Ok((next_hop, greeting));
        }
        match next_hop.starttls(tls, settings).await {
            Ok(()) => return Ok((next_hop, greeting)),
            Err(Insecure::Farewell(farewell)) => return Ok((next_hop, farewell)),
            Err(Insecure::Refused(error)) => {
                next_hop.quit().await;
                if must {
                    return Err(error);
                }
                debug!(listener = settings.listener, "going on in clear: {error}");
            }
            Err(Insecure::Failed(error)) if must => return Err(RelayError::Handshake(error)),
            Err(Insecure::Failed(error)) => {
                warn!(listener = settings.listener, "next hop: {error}; going on in clear");
            }
            Err(Insecure::Lost(error)) => return Err(error),
        }
        Self::connect_as(settings, header, None).await
    }

    /// Connects, and says what may be wrong where there is no greeting.
    async fn connect_as(
        settings: &Settings,
        header: Option<&str>,
        tls: Option<&ClientTls>,
    ) -> Result<(Self, Reply), RelayError> {
        let connecting = Self::connect(&settings.next_hop, header, tls, settings.limits.next_hop_timeout);
        connecting.await.map_err(|error| match error {
            RelayError::NoGreeting(_) if tls.is_none() => RelayError::NoGreeting(IMPLICIT_REMEDY),
            RelayError::NotGreeted(_) if header.is_some_and(proxy_header::is_of_ipv6) => {
                RelayError::NotGreeted(IPV6_REMEDY)
            }
            error => error,
        })
    }

    async fn starttls(&mut self, tls: &ClientTls, settings: &Settings) -> Result<(), Insecure> {
        let patience = HANDSHAKE_TIMEOUT.min(settings.limits.next_hop_timeout);
        let mut offer = self.ask(format!("EHLO {}", settings.hostname).as_bytes(), patience).await?;
        if offer.code() >= 500 {
            // So an LMTP server answers (RFC 2033 §4.1).
            offer = self.ask(format!("LHLO {}", settings.hostname).as_bytes(), patience).await?;
        }
        if offer.code() == 421 {
            return Err(Insecure::Farewell(offer));
        }
        if !offer.is_positive() || !capabilities::offers(&offer, "STARTTLS") {
            return Err(Insecure::Refused(RelayError::NoStartTls));
        }
        let ready = match self.ask(b"STARTTLS", patience).await {
            Ok(ready) => ready,
            Err(RelayError::OutOfTurn) => return Err(RelayError::ResponseInjection.into()),
            Err(RelayError::Closed) => return Err(hung_up()),
            Err(RelayError::Io(error)) => return Err(Insecure::Failed(HandshakeError::Failed(error))),
            Err(RelayError::Timeout) => return Err(Insecure::Failed(HandshakeError::Timeout)),
            Err(error) => return Err(error.into()),
        };
        match ready.code() {
            220 => {}
            421 => return Err(Insecure::Farewell(ready)),
            _ => return Err(Insecure::Refused(RelayError::StartTlsRefused(ready))),
        }
        match self.connection.has_input().await {
            Ok(false) => {}
            Ok(true) => return Err(RelayError::ResponseInjection.into()),
            Err(_) => return Err(hung_up()),
        }
        tls.secure(&mut self.connection, Instant::now() + patience).await.map_err(Insecure::Failed)
    }

    /// STARTTLS for its own sake: whatever stands in its way is an error.
    pub(crate) async fn starttls_or_fail(
        &mut self,
        tls: &ClientTls,
        settings: &Settings,
    ) -> Result<(), RelayError> {
        self.starttls(tls, settings).await.map_err(|insecure| match insecure {
            Insecure::Farewell(reply) => RelayError::UnexpectedReply(reply),
            Insecure::Refused(error) | Insecure::Lost(error) => error,
            Insecure::Failed(error) => RelayError::Handshake(error),
        })
    }

    async fn ask(&mut self, line: &[u8], patience: Duration) -> Result<Reply, RelayError> {
        timeout(patience, self.command(line)).await.map_err(|_| RelayError::Timeout)?
    }

    /// Whether nobody on a network can read what goes to it.
    pub(crate) fn is_private(&self) -> bool {
        self.connection.stream().is_private()
    }
}

/// Why there is no TLS with the next hop.
enum Insecure {
    /// It said this 421.
    Farewell(Reply),
    /// It does not want to, and waits for another command.
    Refused(RelayError),
    /// The handshake failed, and the connection is gone.
    Failed(HandshakeError),
    /// The connection is of no use any more.
    Lost(RelayError),
}

fn hung_up() -> Insecure {
    Insecure::Failed(HandshakeError::Failed(ErrorKind::UnexpectedEof.into()))
}

impl From<RelayError> for Insecure {
    fn from(error: RelayError) -> Self {
        Self::Lost(error)
    }
}
