//! The next hop: hands it commands verbatim and messages, one at a time, and brings its replies back to the letter.
//! Lockstep is what keeps a reply with its command, so a next hop that speaks out of turn is dropped.

use std::io;
use std::time::Duration;

use attachment_seal::message::edits::Edits;
use thiserror::Error;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout, timeout_at};

use crate::smtp::connection::{Connection, ConnectionError, SendFileError};
use crate::smtp::content::Content;
use crate::smtp::data::{self, Stuffer};
use crate::smtp::reply::{ParseReplyError, Reply, ReplyParser};
use crate::smtp::settings::Address;
use crate::smtp::stream::{Socket, Stream};
use crate::smtp::tls::{ClientTls, HandshakeError};

/// Longest wait for a connection and its greeting: the client waits for ours meanwhile.
const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for the rest of a 421 that has begun, or for the reply to QUIT.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection to the next hop, with no command under way.
#[derive(Debug)]
pub struct NextHop {
    pub(super) connection: Connection<Stream>,
    timeout: Duration,
}

/// Why the next hop is of no use to this session any more. None of it is the client's fault.
#[derive(Debug, Error)]
pub enum RelayError {
    /// No connection could be made.
    #[error("cannot connect to the next hop")]
    Connect(#[source] io::Error),
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
    #[error("the next hop refuses XCLIENT: {0}")]
    XclientRefused(Reply),
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
    /// Connects to `address`, says `header` if there is one, and waits for the greeting, which may be
    /// a refusal.
    pub async fn connect(
        address: &Address,
        header: Option<&str>,
        reply_timeout: Duration,
    ) -> Result<(Self, Reply), RelayError> {
        let deadline = Instant::now() + reply_timeout.min(MAX_CONNECT_TIMEOUT);
        let socket = socket(address, deadline).await?;
        let mut connection = Connection::new(socket.into(), reply_timeout);
        connection.queue(header.unwrap_or_default().as_bytes());
        connection.flush().await?;
        let mut next_hop = Self { connection, timeout: reply_timeout };
        let greeting = next_hop.read_reply(deadline).await?;
        Ok((next_hop, greeting))
    }

    /// Connects to a server with which TLS begins at once, and waits for the greeting.
    pub(super) async fn connect_under_tls(
        address: &Address,
        tls: &ClientTls,
        reply_timeout: Duration,
    ) -> Result<(Self, Reply), RelayError> {
        let deadline = Instant::now() + reply_timeout.min(MAX_CONNECT_TIMEOUT);
        let socket = socket(address, deadline).await?;
        let stream = tls.connect(socket, deadline).await.map_err(RelayError::Handshake)?;
        let mut next_hop =
            Self { connection: Connection::new(stream, reply_timeout), timeout: reply_timeout };
        let greeting = next_hop.read_reply(deadline).await?;
        Ok((next_hop, greeting))
    }

    /// Sends a command line, given without its CR LF, and reads the reply.
    pub async fn command(&mut self, line: &[u8]) -> Result<Reply, RelayError> {
        if self.connection.has_input().await? {
            // A 421 may come at any time (RFC 5321 §3.8), and is as good as a reply to this command.
            return self.farewell().await;
        }
        self.connection.queue(line);
        self.connection.queue(b"\r\n");
        self.connection.flush().await?;
        self.read_reply(Instant::now() + self.timeout).await
    }

    /// Sends command lines at once and reads a reply to each (RFC 2920). What was replied before the connection was lost
    /// is lost with it: the client learns of the loss instead.
    pub async fn commands(&mut self, lines: &[Vec<u8>]) -> Result<Vec<Reply>, RelayError> {
        if self.connection.has_input().await? {
            return Ok(vec![self.farewell().await?]);
        }
        for line in lines {
            self.connection.queue(line);
            self.connection.queue(b"\r\n");
        }
        self.connection.flush().await?;
        let mut replies = Vec::with_capacity(lines.len());
        while replies.len() < lines.len() {
            let more = lines.len() - replies.len() - 1;
            let reply = self.read_reply_before(more, Instant::now() + self.timeout).await?;
            let is_farewell = reply.code() == 421;
            replies.push(reply);
            if is_farewell {
                break;
            }
        }
        Ok(replies)
    }

    /// Says DATA. A refusal leaves the mail transaction open.
    pub async fn begin_data(&mut self) -> Result<Result<Passage, Reply>, RelayError> {
        let go_ahead = self.command(b"DATA").await?;
        match go_ahead.code() {
            354 => Ok(Ok(Passage::default())),
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
        self.connection.hang_up().await;
    }

    /// Sends a message with its edits; what follows are the replies to it. Nothing of it goes out before the next
    /// hop's 354, if there is one to wait for; a refusal of DATA is given back, and leaves the mail transaction open.
    pub async fn send_message(
        &mut self,
        message: &Content,
        edits: &Edits,
        framing: Framing,
    ) -> Result<Result<(), Reply>, RelayError> {
        match framing {
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
        if reply.is_final() { Ok(reply) } else { Err(RelayError::UnexpectedReply(reply)) }
    }

    /// Resolves when the next hop speaks or hangs up without being asked. Nothing is lost if it is dropped.
    pub async fn idle_event(&mut self) {
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

    /// Takes leave; whatever the next hop says to that is of no interest any more.
    pub async fn quit(mut self) {
        let _ = timeout(FAREWELL_TIMEOUT, self.command(b"QUIT")).await;
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

async fn socket(address: &Address, deadline: Instant) -> Result<Socket, RelayError> {
    let connecting = async {
        match address {
            Address::Tcp(address) => {
                let socket = TcpStream::connect(address).await?;
                socket.set_nodelay(true)?;
                Ok(Socket::Tcp(socket))
            }
            Address::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
        }
    };
    timeout_at(deadline, connecting).await.map_err(|_| RelayError::Timeout)?.map_err(RelayError::Connect)
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    /// A 250 that was said before the message is no reply to it, by DATA or by BDAT.
    #[tokio::test]
    async fn nothing_said_beforehand_is_a_reply_to_the_message() {
        for (unasked, is_farewell) in [("250 2.0.0 taken\r\n", false), ("421 4.3.2 bye\r\n", true)] {
            for framing in [Framing::Data, Framing::Chunk] {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = Address::Tcp(listener.local_addr().unwrap().to_string());
                let connecting = NextHop::connect(&address, None, Duration::from_secs(20));
                let accepting = async {
                    let (mut peer, _) = listener.accept().await.unwrap();
                    peer.write_all(b"220 hello\r\n").await.unwrap();
                    peer
                };
                let (connected, mut peer) = tokio::join!(connecting, accepting);
                let (mut next_hop, _) = connected.unwrap();
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
}
