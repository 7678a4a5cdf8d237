//! One connection to the next hop, and what the server behind it knows by it. A new connection knows nothing, so it is a new
//! [`Hop`].

use std::future::Future;
use std::net::SocketAddr;

use tokio::time::{Duration, Instant, timeout_at};

use super::Caller;
use super::end::End;
use crate::smtp::connection::Connection;
use crate::smtp::next_hop::{NextHop, RelayError, remedy};
use crate::smtp::protocol::capabilities;
use crate::smtp::protocol::identity::Identity;
use crate::smtp::protocol::reply::Reply;
use crate::smtp::settings::{Introduction, Settings};
use crate::smtp::stream::Stream;

/// How long the reply to one command may be kept back so that one write takes the next one's along.
pub(super) const COALESCE_TIMEOUT: Duration = Duration::from_millis(50);

/// Most commands that go to the next hop at once; its replies must fit into what the network holds.
pub(super) const MAX_BATCH: usize = 50;

/// A connection to the next hop.
#[derive(Debug)]
pub(super) struct Hop {
    pub(super) next_hop: NextHop,
    /// Whether it has been told who the client is, or need not be.
    pub(super) introduced: bool,
    /// The client's EHLO, HELO or LHLO that it has accepted.
    pub(super) accepted: Option<Accepted>,
    /// Whether it was passed anything but a greeting.
    pub(super) has_told_more: bool,
    /// It has a mail transaction open that is over for the client.
    pub(super) has_leftover: bool,
    /// Whether the client has given credentials: it knows something that we cannot tell another.
    pub(super) has_authenticated: bool,
    /// The client's last reply from it was a 421: its hanging up needs no further word.
    pub(super) took_leave: bool,
}

/// How the client greeted, and the next hop's answer.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) line: Vec<u8>,
    pub(super) is_lmtp: bool,
    pub(super) reply: Reply,
    offers: Offers,
}

impl Accepted {
    pub(super) fn new(line: Vec<u8>, is_lmtp: bool, reply: Reply) -> Self {
        let is_extended = !line[..4].eq_ignore_ascii_case(b"HELO");
        let offers = if is_extended { Offers::of(&reply) } else { Offers::default() };
        Self { line, is_lmtp, reply, offers }
    }
}

/// What the next hop offers that is between it and us.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offers {
    pub(super) pipelining: bool,
    pub(super) chunking: bool,
    pub(super) binary: bool,
    pub(super) eight_bit: bool,
    pub(super) smtputf8: bool,
    pub(super) dsn: bool,
    pub(super) size: bool,
}

impl Offers {
    /// From its reply to EHLO or LHLO.
    fn of(reply: &Reply) -> Self {
        let offers = |keyword| capabilities::offers(reply, keyword);
        let chunking = offers("CHUNKING");
        Self {
            pipelining: offers("PIPELINING"),
            chunking,
            binary: chunking && offers("BINARYMIME"),
            eight_bit: offers("8BITMIME"),
            smtputf8: offers("SMTPUTF8"),
            dsn: offers("DSN"),
            size: offers("SIZE"),
        }
    }
}

impl Hop {
    /// Connects, and tells the next hop by a PROXY header for whom if it wants to know. What comes back with the connection is
    /// the greeting, or a refusal.
    pub(super) async fn open(
        settings: &Settings,
        caller: &Caller,
        client: SocketAddr,
    ) -> Result<(Self, Reply), RelayError> {
        let opening = NextHop::open(settings, client, caller.identity.destination);
        let (next_hop, greeting) = Box::pin(opening).await?;
        let hop = Self {
            next_hop,
            introduced: settings.introduction != Introduction::Xclient,
            accepted: None,
            has_told_more: false,
            has_leftover: false,
            has_authenticated: false,
            took_leave: false,
        };
        Ok((hop, greeting))
    }

    /// What it has offered to this client.
    pub(super) fn offers(&self) -> Offers {
        self.accepted.as_ref().map_or_else(Offers::default, |accepted| accepted.offers)
    }

    /// Sends a line, and meanwhile to the client what waits for it.
    pub(super) async fn exchange(
        &mut self,
        client: &mut Connection<Stream>,
        line: &[u8],
    ) -> Result<Reply, End> {
        meanwhile_flushing(client, self.next_hop.command(line)).await
    }

    /// Tells it by XCLIENT who the client is, before anything of the client's goes there. One that does
    /// not take it must not have the client's commands: to it they would be ours, and it may trust us.
    pub(super) async fn introduce(
        &mut self,
        client: &mut Connection<Stream>,
        identity: &Identity,
        hello: &str,
    ) -> Result<(), End> {
        let offer = self.exchange(client, hello.as_bytes()).await?;
        if offer.code() == 421 {
            return Err(End::Refused(offer));
        }
        if !offer.is_positive() {
            return Err(RelayError::UnexpectedReply(offer).into());
        }
        let offered = capabilities::xclient_attributes(&offer);
        let xclient = identity.xclient(&offered).ok_or(RelayError::NoXclient)?;
        let greeting = self.exchange(client, xclient.as_bytes()).await?;
        match greeting.code() {
            // 220 to greet the client; 250 before Postfix 2.3.
            220 | 250 => {
                self.introduced = true;
                Ok(())
            }
            // How servers greet a client that they don't want (RFC 5321 §3.1, RFC 7504). Every other code may as well
            // be a refusal of XCLIENT.
            421 | 521 | 554 => Err(End::Refused(greeting)),
            _ => Err(RelayError::XclientRefused(greeting, remedy(identity.address)).into()),
        }
    }

    /// Says these commands once more. What it answers otherwise than with yes comes back, with its command; the first of them.
    pub(super) async fn repeat<'a>(
        &mut self,
        lines: &'a [Vec<u8>],
    ) -> Result<Option<(&'a [u8], Reply)>, End> {
        let at_once = if self.offers().pipelining { MAX_BATCH } else { 1 };
        let mut differing = None;
        for lines in lines.chunks(at_once) {
            if let Some(farewell) = self.next_hop.begin_commands(lines).await? {
                return Err(End::Refused(farewell));
            }
            for (at, line) in lines.iter().enumerate() {
                let reply = self.next_hop.next_reply(lines.len() - at - 1).await?;
                match reply.code() {
                    421 => return Err(End::Refused(reply)),
                    _ if reply.is_positive() => {}
                    _ => _ = differing.get_or_insert((line.as_slice(), reply)),
                }
            }
        }
        Ok(differing)
    }
}

/// Waits for the next hop, and meanwhile sends the client what waits for it.
pub(super) async fn meanwhile_flushing<T>(
    client: &mut Connection<Stream>,
    asking: impl Future<Output = Result<T, RelayError>>,
) -> Result<T, End> {
    meanwhile_flushing_by(client, Instant::now() + COALESCE_TIMEOUT, asking).await
}

/// The same, with what waits for the client sent at this time at the latest.
pub(super) async fn meanwhile_flushing_by<T>(
    client: &mut Connection<Stream>,
    flush_by: Instant,
    asking: impl Future<Output = Result<T, RelayError>>,
) -> Result<T, End> {
    let mut asking = std::pin::pin!(asking);
    if client.has_queued() {
        match timeout_at(flush_by, &mut asking).await {
            Ok(answer) => return Ok(answer?),
            Err(_) => client.flush().await?,
        }
    }
    Ok(asking.await?)
}

/// A 3yz would have the next hop wait for something that the client never sends.
pub(super) fn final_reply(reply: &Reply) -> Result<&[u8], RelayError> {
    if reply.is_final() { Ok(reply.octets()) } else { Err(RelayError::UnexpectedReply(reply.clone())) }
}
