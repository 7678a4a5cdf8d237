//! The next hop: hands it commands verbatim and messages, one at a time, and brings its replies back to the letter.
//! Lockstep is what keeps a reply with its command, so a next hop that speaks out of turn is dropped.

mod dial;
mod error;
pub mod hand_over;
mod secure;
pub mod visit;
mod wakefulness;

use std::time::Duration;

use attachment_seal::message::edits::Edits;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::warn;

use self::dial::Places;
use self::error::IMPLICIT_REMEDY;
pub use self::error::RelayError;
pub(super) use self::error::{IPV6_REMEDY, remedy};
use self::wakefulness::Wakefulness;
use crate::smtp::connection::Connection;
use crate::smtp::content::Content;
use crate::smtp::protocol::data::{self, Stuffer};
use crate::smtp::protocol::reply::{Reply, ReplyParser};
use crate::smtp::settings::Address;
use crate::smtp::stream::{Socket, Stream};
use crate::smtp::tls::ClientTls;

/// Longest wait for a connection. The greeting may take longer (RFC 5321 §4.5.3.2.1).
const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for the rest of a 421 that has begun, or for the reply to QUIT.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection to the next hop, with no command under way.
#[derive(Debug)]
pub struct NextHop {
    pub(crate) connection: Connection<Stream>,
    timeout: Duration,
    /// Part of a message is there: whatever we send now belongs to it.
    in_message: bool,
    /// It hung up, took leave or fell out of step: it is asked nothing more.
    is_gone: bool,
    pub(crate) wakefulness: Wakefulness,
}

/// How a message goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// DATA, dots stuffed (RFC 5321 §4.1.1.4).
    Data,
    /// One chunk of BDAT, as it is (RFC 3030).
    Chunk,
}

/// Where a message under way after the next hop's 354 has got to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passage {
    stuffer: Stuffer,
}

impl NextHop {
    /// Connects to `address`, says `header` if there is one, has TLS begin at once if there is `tls`, and waits for the
    /// greeting, which may be a refusal. Of several addresses each has a share of the time.
    pub async fn connect(
        address: &Address,
        header: Option<&str>,
        tls: Option<&ClientTls>,
        reply_timeout: Duration,
    ) -> Result<(Self, Reply), RelayError> {
        let deadline = Instant::now() + reply_timeout;
        let soon = || deadline.min(Instant::now() + MAX_CONNECT_TIMEOUT);
        let mut places = Places::of(address, soon()).await.map_err(RelayError::Connect)?;
        loop {
            let (socket, place) = places.connect(soon()).await.map_err(RelayError::Connect)?;
            let left = places.len() as u32;
            let now = Instant::now();
            let share = now + deadline.saturating_duration_since(now) / (left + 1);
            let mut greeted = std::pin::pin!(Self::greeted(socket, header, tls, reply_timeout, share));
            let greeted = match timeout(MAX_CONNECT_TIMEOUT, &mut greeted).await {
                Ok(greeted) => greeted,
                Err(_) => {
                    let hint = if tls.is_none() { IMPLICIT_REMEDY } else { "" };
                    warn!(next_hop = %address, address = %place, "the next hop has not greeted yet{hint}");
                    greeted.await
                }
            };
            match greeted {
                Err(error) if left > 0 => {
                    warn!(next_hop = %address, address = %place, "trying the next hop's other addresses: {error}");
                }
                greeted => return greeted,
            }
        }
    }

    async fn greeted(
        socket: Socket,
        header: Option<&str>,
        tls: Option<&ClientTls>,
        reply_timeout: Duration,
        deadline: Instant,
    ) -> Result<(Self, Reply), RelayError> {
        let mut connection = Connection::new(socket.into(), reply_timeout);
        connection.queue(header.unwrap_or_default().as_bytes());
        connection.flush().await?;
        if let Some(tls) = tls {
            let by = deadline.min(Instant::now() + MAX_CONNECT_TIMEOUT);
            tls.secure(&mut connection, by).await.map_err(RelayError::Handshake)?;
        }
        let mut next_hop = Self {
            connection,
            timeout: reply_timeout,
            in_message: false,
            is_gone: false,
            wakefulness: Wakefulness::default(),
        };
        let greeting = next_hop.read_reply(deadline).await.map_err(|error| match error {
            RelayError::Timeout => RelayError::NoGreeting(""),
            RelayError::Closed | RelayError::Io(_) => RelayError::NotGreeted(""),
            error => error,
        })?;
        Ok((next_hop, greeting))
    }

    /// Sends a command line, given without its CR LF, and reads the reply.
    pub async fn command(&mut self, line: &[u8]) -> Result<Reply, RelayError> {
        if self.is_gone {
            return Err(RelayError::Closed);
        }
        if self.connection.has_input().await? {
            // A 421 may come at any time (RFC 5321 §3.8), and is as good as a reply to this command.
            return self.farewell().await;
        }
        self.queue_command(line);
        self.connection.flush().await?;
        self.read_reply(Instant::now() + self.timeout).await
    }

    fn queue_command(&mut self, line: &[u8]) {
        self.wakefulness.note(line);
        self.connection.queue(line);
        self.connection.queue(b"\r\n");
    }

    /// Sends command lines at once (RFC 2920); what follows are the replies to them. A farewell that came before is given
    /// back, and is the reply to the first of them.
    pub async fn begin_commands(&mut self, lines: &[Vec<u8>]) -> Result<Option<Reply>, RelayError> {
        if self.is_gone {
            return Err(RelayError::Closed);
        }
        if self.connection.has_input().await? {
            return self.farewell().await.map(Some);
        }
        for line in lines {
            self.queue_command(line);
        }
        self.connection.flush().await?;
        Ok(None)
    }

    /// The next of the replies to several commands, with so many more to follow.
    pub async fn next_reply(&mut self, more: usize) -> Result<Reply, RelayError> {
        self.read_reply_before(more, Instant::now() + self.timeout).await
    }

    /// Whether it hung up, took leave or spoke out of turn while it was asked nothing. Then it is asked nothing more.
    pub(crate) async fn is_lost(&mut self) -> bool {
        self.is_gone = self.is_gone || !matches!(self.connection.has_input().await, Ok(false));
        self.is_gone
    }

    /// Whether it is asked nothing more.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// It is asked nothing more.
    pub(crate) fn give_up(&mut self) {
        self.is_gone = true;
    }

    /// Whether part of a message is there.
    pub(crate) fn is_in_message(&self) -> bool {
        self.in_message
    }

    /// Says DATA. A refusal leaves the mail transaction open.
    pub async fn begin_data(&mut self) -> Result<Result<Passage, Reply>, RelayError> {
        let go_ahead = self.command(b"DATA").await?;
        match go_ahead.code() {
            354 => {
                self.in_message = true;
                Ok(Ok(Passage::default()))
            }
            400.. => Ok(Err(go_ahead)),
            _ => Err(RelayError::UnexpectedReply(go_ahead)),
        }
    }

    /// Sends the next pieces of a message.
    pub async fn pass_on<'a>(
        &mut self,
        passage: &mut Passage,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), RelayError> {
        self.check_silence().await?;
        let stuffed = data::stuffed(&mut passage.stuffer, pieces);
        Ok(self.connection.write_slices(stuffed).await?)
    }

    /// Sends the last pieces of a message and the final dot, all in one.
    pub async fn end_data<'a>(
        &mut self,
        mut passage: Passage,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), RelayError> {
        self.check_silence().await?;
        let stuffed = data::stuffed_to_end(&mut passage.stuffer, pieces);
        Ok(self.connection.write_slices(stuffed).await?)
    }

    /// In the middle of a message there is nothing to say for the next hop; it may have hung up, though.
    async fn check_silence(&mut self) -> Result<(), RelayError> {
        if self.connection.has_input().await? { Err(RelayError::OutOfTurn) } else { Ok(()) }
    }

    /// Hangs up where a message must not reach its end.
    pub async fn break_off(&mut self) {
        self.is_gone = true;
        self.connection.hang_up().await;
    }

    /// Sends a message with its edits; what follows are the replies to it. Nothing of it goes out before the next
    /// hop's 354, if there is one to wait for; a refusal of DATA is given back, and leaves the mail transaction open. A message
    /// with a bare CR or LF never goes by DATA.
    pub async fn send_message(
        &mut self,
        message: &Content,
        edits: &Edits,
        framing: Framing,
    ) -> Result<Result<(), Reply>, RelayError> {
        match framing {
            Framing::Data if !message.fits_data() => {
                Ok(Err(Reply::new(554, "5.6.1 this message can be sent on by BDAT only")))
            }
            Framing::Data => {
                let mut passage = match self.begin_data().await? {
                    Ok(_) => Passage { stuffer: message.stuffer() },
                    Err(refusal) => return Ok(Err(refusal)),
                };
                let Some(mut rest) = message.rest() else {
                    return self.end_data(passage, message.start(edits)).await.map(Ok);
                };
                self.pass_on(&mut passage, message.start(edits)).await?;
                if passage.stuffer.is_idle() {
                    // To its end, which is a line's.
                    self.connection.send_file(&mut rest).await?;
                    passage.stuffer.skip_lines();
                }
                while let Some(block) = rest.next().await.map_err(RelayError::Spool)? {
                    self.pass_on(&mut passage, std::iter::once(block)).await?;
                }
                self.end_data(passage, std::iter::empty()).await.map(Ok)
            }
            Framing::Chunk => {
                // What was said before would be taken for the reply to the message.
                if self.connection.has_input().await? {
                    return self.farewell().await.map(Err);
                }
                self.in_message = true;
                let size = edits.size_after(message.size());
                self.connection.queue(format!("BDAT {size} LAST\r\n").as_bytes());
                self.connection.write_slices(message.start(edits)).await?;
                if let Some(mut rest) = message.rest() {
                    self.connection.send_file(&mut rest).await?;
                    while let Some(block) = rest.next().await.map_err(RelayError::Spool)? {
                        self.connection.write_slices(std::iter::once(block)).await?;
                    }
                }
                Ok(Ok(()))
            }
        }
    }

    /// The reply to a message's end, with so many more to follow (LMTP has one for each recipient, RFC 2033 §4.2).
    pub async fn reply_to_message(&mut self, more: usize) -> Result<Reply, RelayError> {
        let reply = self.read_reply_before(more, Instant::now() + self.timeout).await?;
        self.in_message = more > 0;
        if reply.is_positive() {
            self.wakefulness.forget_chores();
        }
        if reply.is_final() { Ok(reply) } else { Err(RelayError::UnexpectedReply(reply)) }
    }

    /// Resolves when the next hop speaks or hangs up without being asked. Nothing is lost if it is dropped.
    pub async fn idle_event(&mut self) {
        if self.is_gone {
            return std::future::pending().await;
        }
        if self.connection.buffered().is_empty() {
            // Whether it closed or broke is found again by whoever uses the connection next.
            let _ = self.connection.fill().await;
        }
    }

    /// The 421 that the next hop says unasked; anything else there is an error.
    pub async fn farewell(&mut self) -> Result<Reply, RelayError> {
        let reply = self.read_reply(Instant::now() + FAREWELL_TIMEOUT).await?;
        if reply.code() == 421 { Ok(reply) } else { Err(RelayError::OutOfTurn) }
    }

    /// Takes leave; whatever the next hop says to that is of no interest any more. In the middle of a message QUIT would
    /// be a line of it, so there we only hang up.
    pub async fn quit(&mut self) {
        if self.in_message {
            self.break_off().await;
        }
        let _ = self.goodbye(b"QUIT").await;
        self.is_gone = true;
    }

    /// The reply to a QUIT of the client's, if it comes within 2 seconds and is one.
    pub async fn goodbye(&mut self, line: &[u8]) -> Option<Reply> {
        let reply = timeout(FAREWELL_TIMEOUT, self.command(line)).await.ok()?.ok()?;
        reply.is_final().then_some(reply)
    }

    async fn read_reply(&mut self, deadline: Instant) -> Result<Reply, RelayError> {
        self.read_reply_before(0, deadline).await
    }

    /// Reads a reply that so many more are to follow.
    async fn read_reply_before(&mut self, more: usize, deadline: Instant) -> Result<Reply, RelayError> {
        let mut parser = ReplyParser::default();
        loop {
            if self.connection.buffered().is_empty() {
                timeout_at(deadline, self.connection.fill()).await.map_err(|_| RelayError::Timeout)??;
            }
            let mut rest = self.connection.buffered();
            let reply = parser.push(&mut rest).map_err(RelayError::MalformedReply)?;
            let taken = self.connection.buffered().len() - rest.len();
            self.connection.take(taken);
            if let Some(reply) = reply {
                if more == 0 {
                    self.check_turn()?;
                }
                return Ok(reply);
            }
        }
    }

    /// After a reply nothing more may come but a 421. Anything else could be taken for the reply to the client's
    /// next command, down to a 250 for a message that was never taken.
    fn check_turn(&self) -> Result<(), RelayError> {
        let rest = self.connection.buffered();
        let farewell = rest.starts_with(b"421") || b"421".starts_with(rest);
        farewell.then_some(()).ok_or(RelayError::OutOfTurn)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A next hop that has greeted, and its own end of the connection.
    async fn connected() -> (NextHop, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap().to_string());
        let connecting = NextHop::connect(&address, None, None, Duration::from_secs(20));
        let accepting = async {
            let (mut peer, _) = listener.accept().await.unwrap();
            peer.write_all(b"220 hello\r\n").await.unwrap();
            peer
        };
        let (connected, peer) = tokio::join!(connecting, accepting);
        (connected.unwrap().0, peer)
    }

    /// A 250 that was said before the message is no reply to it, by DATA or by BDAT.
    #[tokio::test]
    async fn nothing_said_beforehand_is_a_reply_to_the_message() {
        for (unasked, is_farewell) in [("250 2.0.0 taken\r\n", false), ("421 4.3.2 bye\r\n", true)] {
            for framing in [Framing::Data, Framing::Chunk] {
                let (mut next_hop, mut peer) = connected().await;
                peer.write_all(unasked.as_bytes()).await.unwrap();
                next_hop.idle_event().await;
                let message = Content::new(b"A: b\r\n\r\nc\r\n".to_vec());
                let sent = next_hop.send_message(&message, &Edits::none(), framing).await;
                match is_farewell {
                    true => assert!(matches!(&sent, Ok(Err(reply)) if reply.code() == 421), "{sent:?}"),
                    false => assert!(matches!(sent, Err(RelayError::OutOfTurn)), "{framing:?} {sent:?}"),
                }
            }
        }
    }

    /// A bare CR or LF could be the end of the message to a next hop, and a second message what follows (smuggling).
    #[tokio::test]
    async fn a_message_with_a_bare_line_end_never_goes_out_by_data() {
        let (mut next_hop, mut peer) = connected().await;
        for message in ["A: b\r\n\r\nc\n.\r\nMAIL FROM:<a@b>\r\n", "A: b\r\n\r\nc\r.\r\n"] {
            let message = Content::new(message.as_bytes().to_vec());
            let sent = next_hop.send_message(&message, &Edits::none(), Framing::Data).await;
            assert!(matches!(&sent, Ok(Err(reply)) if reply.code() == 554), "{sent:?}");
        }
        next_hop.break_off().await;
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"");
    }
}
