//! STARTTLS (RFC 3207): ours for clients, and the next hop's. What was said before the handshake may be an
//! attacker's, so on neither side does anything of it count after.

use std::fmt;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use crate::smtp::capabilities;
use crate::smtp::connection::Connection;
use crate::smtp::end::End;
use crate::smtp::handler::MessageHandler;
use crate::smtp::introduction::IPV6_REMEDY;
use crate::smtp::memory::{SESSION, TLS};
use crate::smtp::next_hop::{IMPLICIT_REMEDY, NextHop, RelayError};
use crate::smtp::proxy_header;
use crate::smtp::reply::Reply;
use crate::smtp::session::{Session, stopped};
use crate::smtp::settings::{NextHopTls, Settings};
use crate::smtp::stream::{Socket, Stream};
use crate::smtp::tls::{ClientTls, HandshakeError, ServerTls};

/// How long a handshake may take, and each reply on the way to it. `command_timeout` or `next_hop_timeout` may
/// make it shorter.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Asks for the settings now in force: a certificate that is renewed is for sessions that began before as well.
#[derive(Clone)]
pub(super) struct Latest(pub(super) Arc<dyn Fn() -> Arc<Settings> + Send + Sync>);

impl fmt::Debug for Latest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Latest")
    }
}

impl<H: MessageHandler> Session<H> {
    /// Whether STARTTLS would be of use.
    pub(super) fn offers_starttls(&self) -> bool {
        self.around.settings.tls.certificate().is_some() && !self.client.stream().is_tls()
    }

    /// STARTTLS: our 220, the handshake, and a session that begins anew.
    pub(super) async fn starttls(&mut self) -> Result<(), End> {
        if self.client.stream().is_tls() {
            return self.answer_bad(&Reply::new(503, "5.5.1 TLS is in use already"));
        }
        let Some(tls) = self.server_tls() else {
            return self.answer_bad(&Reply::new(502, "5.5.1 command not implemented"));
        };
        if self.has_authenticated {
            // The next hop cannot be made to forget that.
            return self.answer_bad(&Reply::new(503, "5.5.1 too late, after AUTH"));
        }
        if self.client.has_input().await? {
            return Err(End::CommandInjection);
        }
        let limit = self.around.settings.limits.memory;
        if !self.caller.memory.try_grow_to(SESSION + TLS, limit) {
            let reply = Reply::new(454, "4.3.1 not enough memory for TLS now, try again later");
            self.client.queue(reply.octets());
            return Ok(());
        }
        self.forget().await?;
        self.client.queue(Reply::new(220, "2.0.0 ready to start TLS").octets());
        self.client.flush().await?;
        let patience = HANDSHAKE_TIMEOUT.min(self.around.settings.limits.command_timeout);
        tokio::select! {
            secured = accept(&mut self.client, &tls, patience) => secured.map_err(End::Handshake)?,
            () = stopped(&mut self.around.shutdown) => return Err(End::Shutdown),
        }
        debug!(session = %self.info.id, client = %self.info.client, "client under TLS");
        Ok(())
    }

    /// The certificate in force; without one any more, that with which the session began.
    fn server_tls(&self) -> Option<ServerTls> {
        let begun = self.around.settings.tls.certificate()?;
        Some((self.around.latest.0)().tls.certificate().unwrap_or(begun).clone())
    }

    /// Forgets what the client has said, and has the next hop forget it (RFC 3207 §4.2): where it was told more than a
    /// greeting, by a new connection. Whom a believed peer has announced stays: without that the client would count as
    /// the peer itself, which may be allowed more.
    async fn forget(&mut self) -> Result<(), End> {
        self.reset();
        self.info.helo.clear();
        (self.caller.identity.helo, self.caller.identity.protocol) = (None, None);
        (self.offers_auth, self.offers_xforward) = (false, false);
        if self.has_told_more {
            self.begin_anew().await?;
        }
        self.needs_hello = true;
        Ok(())
    }
}

/// The handshake with a client, of whom nothing may have been read that belongs to it.
pub(super) async fn accept(
    client: &mut Connection<Stream>,
    tls: &ServerTls,
    patience: Duration,
) -> Result<(), HandshakeError> {
    let deadline = Instant::now() + patience;
    client.secure(async |socket: Socket| tls.accept(socket, deadline).await).await
}

impl NextHop {
    /// Connects as the settings say, says `header` if there is one, and sees to TLS. What comes back with the
    /// connection is the greeting, or a refusal. Where there is to be no TLS after all, the server is not the wiser for
    /// our EHLO: the connection is a new one.
    pub(super) async fn open(settings: &Settings, header: Option<&str>) -> Result<(Self, Reply), RelayError> {
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
        let deadline = Instant::now() + patience;
        let handshake = async |socket: Socket| tls.connect(socket, deadline).await;
        self.connection.secure(handshake).await.map_err(Insecure::Failed)
    }

    /// STARTTLS for its own sake: whatever stands in its way is an error.
    pub(super) async fn starttls_or_fail(
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
    pub(super) fn is_private(&self) -> bool {
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
