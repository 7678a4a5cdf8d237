//! A look at a server: what it says to a client that sends nothing. What the gateway does with its next hop is done
//! here in the same way, so what works here works there.

use std::net::{IpAddr, SocketAddr};

use crate::smtp::certificate::Certificate;
use crate::smtp::next_hop::{NextHop, RelayError};
use crate::smtp::protocol::capabilities;
use crate::smtp::protocol::identity::Identity;
use crate::smtp::protocol::reply::Reply;
use crate::smtp::settings::Settings;
use crate::smtp::stream::Stream;
use crate::smtp::tls::ClientTls;

/// A server that was greeted.
#[derive(Debug)]
pub struct Visit {
    pub(super) next_hop: NextHop,
    hostname: String,
    /// Its greeting.
    pub greeting: Reply,
    /// Its reply to EHLO, or to LHLO; its greeting where that is a refusal.
    pub offer: Reply,
    /// Whether it speaks LMTP (RFC 2033).
    pub is_lmtp: bool,
}

impl Visit {
    /// Calls on the next hop as the gateway does for this client: with a PROXY header and TLS as the settings say.
    pub async fn pay(settings: &Settings, client: IpAddr) -> Result<Self, RelayError> {
        let client = SocketAddr::new(client, 0);
        Self::pay_at(settings, client, client).await
    }

    /// The same for a client that has connected to this address of ours.
    pub(super) async fn pay_at(
        settings: &Settings,
        client: SocketAddr,
        destination: SocketAddr,
    ) -> Result<Self, RelayError> {
        let (next_hop, greeting) = NextHop::open(settings, client, Some(destination)).await?;
        Self::begin(next_hop, greeting, settings).await
    }

    /// Calls on a server with which TLS begins at once (RFC 8314 §3.3).
    pub async fn pay_under_tls(settings: &Settings, tls: &ClientTls) -> Result<Self, RelayError> {
        let patience = settings.limits.next_hop_timeout;
        let (next_hop, greeting) = NextHop::connect(&settings.next_hop, None, Some(tls), patience).await?;
        Self::begin(next_hop, greeting, settings).await
    }

    async fn begin(next_hop: NextHop, greeting: Reply, settings: &Settings) -> Result<Self, RelayError> {
        let hostname = settings.hostname.clone();
        let offer = greeting.clone();
        let mut visit = Self { next_hop, hostname, greeting, offer, is_lmtp: false };
        if visit.greeting.is_positive() {
            visit.hello().await?;
        }
        Ok(visit)
    }

    /// EHLO, and to a server that does not know it LHLO (RFC 2033 §4.1).
    async fn hello(&mut self) -> Result<(), RelayError> {
        self.offer = self.next_hop.command(format!("EHLO {}", self.hostname).as_bytes()).await?;
        if matches!(self.offer.code(), 500..=504) {
            let greeted = self.next_hop.command(format!("LHLO {}", self.hostname).as_bytes()).await?;
            if greeted.is_positive() {
                (self.offer, self.is_lmtp) = (greeted, true);
            }
        }
        Ok(())
    }

    /// Whether it offers this keyword.
    pub fn offers(&self, keyword: &str) -> bool {
        capabilities::offers(&self.offer, keyword)
    }

    /// Whether it offers AUTH by which a client of ours can log in.
    pub fn offers_auth(&self) -> bool {
        capabilities::offers_auth(&self.offer)
    }

    /// The largest message that it takes, if it says so.
    pub fn size(&self) -> Option<u64> {
        capabilities::next_hop_size(&self.offer)
    }

    /// The certificates that it showed, its own first; none in clear.
    pub fn certificates(&self) -> Vec<Certificate> {
        match self.next_hop.connection.stream() {
            Stream::Tls(stream) => {
                Certificate::of(stream.get_ref().1.peer_certificates().unwrap_or_default())
            }
            Stream::Clear(_) | Stream::Gone => Vec::new(),
        }
    }

    /// Whether it is spoken to under TLS.
    pub fn is_tls(&self) -> bool {
        self.next_hop.connection.stream().is_tls()
    }

    /// STARTTLS, whatever the settings say.
    pub async fn starttls(&mut self, tls: &ClientTls, settings: &Settings) -> Result<(), RelayError> {
        self.next_hop.starttls_or_fail(tls, settings).await
    }

    /// Says by XCLIENT that we are this client, and hears how it is greeted.
    pub async fn introduce(&mut self, client: IpAddr) -> Result<Reply, RelayError> {
        let offered = capabilities::xclient_attributes(&self.offer);
        let client = SocketAddr::new(client, 0);
        let identity = Identity { port: None, destination: None, ..Identity::connected(client, client) };
        let xclient = identity.xclient(&offered).ok_or(RelayError::NoXclient)?;
        let greeting = self.next_hop.command(xclient.as_bytes()).await?;
        if greeting.is_positive() {
            self.hello().await?;
        }
        Ok(greeting)
    }

    /// Its first refusal of this envelope, or what it said to RCPT. The mail transaction is ended: nothing is sent.
    pub async fn try_envelope(&mut self, from: &str, to: &str) -> Result<Reply, RelayError> {
        let mail = self.next_hop.command(format!("MAIL FROM:<{from}>").as_bytes()).await?;
        if !mail.is_positive() {
            return Ok(mail);
        }
        let rcpt = self.next_hop.command(format!("RCPT TO:<{to}>").as_bytes()).await?;
        self.next_hop.command(b"RSET").await?;
        Ok(rcpt)
    }

    /// Takes leave.
    pub async fn leave(mut self) {
        self.next_hop.quit().await;
    }
}
