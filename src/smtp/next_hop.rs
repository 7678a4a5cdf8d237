//! The next hop: hands it commands verbatim and messages, one at a time, and brings its replies back to the letter.
//! Lockstep is what keeps a reply with its command, so a next hop that speaks out of turn is dropped.

use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::edits::Edits;
use crate::smtp::connection::{Connection, ConnectionError};
use crate::smtp::data;
use crate::smtp::reply::{ParseReplyError, Reply, ReplyParser};

/// Longest wait for a connection and its greeting: the client waits for ours meanwhile.
const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for the rest of a 421 that has begun, or for the reply to QUIT.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection to the next hop, with no command under way.
#[derive(Debug)]
pub struct NextHop {
    connection: Connection<TcpStream>,
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
    /// It gave a reply that makes no sense here, such as 250 to DATA.
    #[error("unexpected reply from the next hop: {0}")]
    UnexpectedReply(Reply),
    /// It does not offer XCLIENT with ADDR, and would take the client for us.
    #[error("the next hop does not offer XCLIENT, so it cannot be told who the client is")]
    NoXclient,
    /// It offers XCLIENT but answered ours with this.
    #[error("the next hop refuses XCLIENT: {0}")]
    XclientRefused(Reply),
}

/// How the next hop took a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relayed {
    /// DATA was refused with this. Its mail transaction is still open.
    DataRefused(Reply),
    /// The final dot was answered with this: taken or refused. Its mail transaction is over.
    Done(Reply),
}

impl NextHop {
    /// Connects to `address` (`host:port`), says `header` if there is one, and waits for the greeting, which may be
    /// a refusal.
    pub async fn connect(
        address: &str,
        header: Option<&str>,
        reply_timeout: Duration,
    ) -> Result<(Self, Reply), RelayError> {
        let deadline = Instant::now() + reply_timeout.min(MAX_CONNECT_TIMEOUT);
        let stream = timeout_at(deadline, TcpStream::connect(address))
            .await
            .map_err(|_| RelayError::Timeout)?
            .map_err(RelayError::Connect)?;
        stream.set_nodelay(true).map_err(RelayError::Io)?;
        let mut connection = Connection::new(stream, reply_timeout);
        connection.queue(header.unwrap_or_default().as_bytes());
        connection.flush().await?;
        let mut next_hop = Self { connection, timeout: reply_timeout };
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

    /// Sends DATA and the message with its edits. Nothing of the message goes out before the next hop's 354.
    pub async fn send_message(&mut self, message: &[u8], edits: &Edits) -> Result<Relayed, RelayError> {
        let go_ahead = self.command(b"DATA").await?;
        match go_ahead.code() {
            354 => {}
            400.. => return Ok(Relayed::DataRefused(go_ahead)),
            _ => return Err(RelayError::UnexpectedReply(go_ahead)),
        }
        self.connection.write_slices(data::stuffed(edits.pieces(message))).await?;
        let reply = self.read_reply(Instant::now() + self.timeout).await?;
        if reply.is_final() { Ok(Relayed::Done(reply)) } else { Err(RelayError::UnexpectedReply(reply)) }
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
                return self.check_turn().map(|()| reply);
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

impl From<ConnectionError> for RelayError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Closed => Self::Closed,
            ConnectionError::Timeout => Self::Timeout,
            ConnectionError::Io(error) => Self::Io(error),
        }
    }
}
